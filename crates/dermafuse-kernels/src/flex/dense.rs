//! Dense convolutions as matrix products: the pixels that each output sees are laid out as a column.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Function, apply, with_function};
use super::geometry::Geometry;
use super::products::{
    Matrix, Part, ReborrowMut, add_product, column_parts, for_each_row, in_row_parts, matrix, pieces, whole,
};
use super::{filled, values};
use crate::activation::Activation;

/// Positions that are laid out together: many enough for a fast product, few enough to stay in the cache.
const POSITIONS: usize = 256;
/// Rows of pixels and taps that are laid out together where all positions are needed at once.
const ROWS: usize = 128;

/// Images with the way a kernel walks over them.
struct Images<'a> {
    x: &'a [f32],
    channels: usize,
    size: [usize; 2],
    output: [usize; 2],
    geometry: Geometry,
}

impl<'a> Images<'a> {
    fn new(x: &'a [f32], channels: usize, size: [usize; 2], geometry: Geometry) -> Self {
        Self { x, channels, size, output: geometry.output(size), geometry }
    }

    fn taps(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1]
    }

    fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Each output sees exactly the pixel at its place.
    fn is_plain(&self) -> bool {
        let Geometry { kernel, stride, padding, end } = self.geometry;
        kernel == [1, 1] && stride == [1, 1] && padding == [0, 0] && end == [0, 0]
    }

    fn plane(&self, image: usize, channel: usize) -> &'a [f32] {
        let pixels = self.size[0] * self.size[1];
        &self.x[(image * self.channels + channel) * pixels..][..pixels]
    }

    /// What the outputs of some rows see of some channels, `[channels · taps, positions]`: the image itself or, laid out in
    /// the buffer, a row for each channel and tap.
    fn columns<'b>(
        &self,
        image: usize,
        channels: Range<usize>,
        rows: Range<usize>,
        buffer: &'b mut Vec<f32>,
    ) -> Matrix<'b>
    where
        'a: 'b,
    {
        let count = rows.len() * self.output[1];
        if self.is_plain() {
            let pixels = self.positions();
            let first = (image * self.channels + channels.start) * pixels + rows.start * self.output[1];
            let length = (channels.len() - 1) * pixels + count;
            return matrix(&self.x[first..first + length], [channels.len(), count], pixels);
        }
        let taps = self.taps();
        buffer.resize(channels.len() * taps * count, 0.0);
        let laid_out = buffer.par_chunks_mut(taps * count).zip(channels.clone().into_par_iter());
        laid_out.with_min_len(PLANES_PER_TASK).for_each(|(target, channel)| {
            self.lay_out(self.plane(image, channel), rows.clone(), target);
        });
        matrix(buffer, [channels.len() * taps, count], count)
    }

    /// A row of `target` for each tap, a number for each output of the given rows.
    fn lay_out(&self, plane: &[f32], rows: Range<usize>, target: &mut [f32]) {
        let width = self.output[1];
        let count = rows.len() * width;
        for (tap, target) in target.chunks_exact_mut(count).enumerate() {
            let (down, across) = (tap / self.geometry.kernel[1], tap % self.geometry.kernel[1]);
            let inside = self.columns_inside(across);
            for (row, target) in rows.clone().zip(target.chunks_exact_mut(width)) {
                match self.pixels_seen(row, down, across, inside.clone()) {
                    None => target.fill(0.0),
                    Some(first) => {
                        target[..inside.start].fill(0.0);
                        target[inside.end..].fill(0.0);
                        let target = &mut target[inside.clone()];
                        match self.geometry.stride[1] {
                            1 => target.copy_from_slice(&plane[first..first + target.len()]),
                            step => {
                                let seen = plane[first..].iter().step_by(step);
                                target.iter_mut().zip(seen).for_each(|(target, pixel)| *target = *pixel);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The reverse of [`lay_out`](Self::lay_out) for all rows: adds each number to the pixel that it came from.
    fn add_back(&self, laid_out: &[f32], plane: &mut [f32]) {
        let [height, width] = self.output;
        for (tap, source) in laid_out.chunks_exact(height * width).enumerate() {
            let (down, across) = (tap / self.geometry.kernel[1], tap % self.geometry.kernel[1]);
            let inside = self.columns_inside(across);
            for (row, source) in source.chunks_exact(width).enumerate() {
                if let Some(first) = self.pixels_seen(row, down, across, inside.clone()) {
                    let pixels = plane[first..].iter_mut().step_by(self.geometry.stride[1]);
                    pixels.zip(&source[inside.clone()]).for_each(|(pixel, value)| *pixel += *value);
                }
            }
        }
    }

    /// The outputs of a row whose tap in this column of the kernel is on the image.
    fn columns_inside(&self, across: usize) -> Range<usize> {
        let (step, left) = (self.geometry.stride[1], self.geometry.padding[1]);
        let first = left.saturating_sub(across).div_ceil(step);
        let end = (self.size[1] + left).saturating_sub(across).div_ceil(step).min(self.output[1]);
        first.min(end)..end
    }

    /// Where in its plane the first output inside sees its pixel; `None` if the row is beyond the image.
    fn pixels_seen(&self, row: usize, down: usize, across: usize, inside: Range<usize>) -> Option<usize> {
        let [step_down, step_across] = self.geometry.stride;
        let seen = (row * step_down + down).checked_sub(self.geometry.padding[0])?;
        let on_image = seen < self.size[0] && !inside.is_empty();
        on_image.then(|| seen * self.size[1] + inside.start * step_across + across - self.geometry.padding[1])
    }
}

/// Planes below which laying out is not worth a second thread.
const PLANES_PER_TASK: usize = 32;

/// The weight `[C', C, K, K']` as `[C', C·K·K']`: of a 1×1 kernel in the layout it has, others made contiguous.
struct Weight {
    tensor: FlexTensor,
    shape: [usize; 2],
}

impl Weight {
    fn new(tensor: FlexTensor) -> Self {
        let [channels_out, channels, rows, columns] = tensor.shape().dims();
        let strides = tensor.layout().strides();
        let turned = [rows, columns] == [1, 1] && strides[0] == 1 && strides[1] as usize >= channels_out;
        let tensor = if turned || tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        Self { tensor, shape: [channels_out, channels * rows * columns] }
    }

    fn matrix(&self) -> Matrix<'_> {
        let [rows, columns] = self.shape;
        match self.tensor.is_contiguous() {
            true => matrix(values(&self.tensor), self.shape, columns),
            false => {
                let layout = self.tensor.layout();
                let pitch = layout.strides()[1] as usize;
                let storage = &self.tensor.storage::<f32>()[layout.start_offset()..];
                matrix(&storage[..(columns - 1) * pitch + rows], [columns, rows], pitch).transpose()
            }
        }
    }
}

pub(super) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    geometry: Geometry,
    activation: Activation,
) -> FlexTensor {
    let weight = Weight::new(weight);
    let bias = bias.map(|bias| bias.to_contiguous());
    correlate(x, weight.matrix(), bias.as_ref().map(values), geometry, activation)
}

/// `activation(weight · columns + bias)`, weight `[C', C·K·K']`.
fn correlate(
    x: FlexTensor,
    weight: Matrix<'_>,
    bias: Option<&[f32]>,
    geometry: Geometry,
    activation: Activation,
) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let x = x.to_contiguous();
    let images = Images::new(values(&x), channels, [height, width], geometry);
    let (channels_out, positions, [out_height, out_width]) = (weight.nrows(), images.positions(), images.output);
    let rows = POSITIONS.div_ceil(out_width);

    filled([batch, channels_out, out_height, out_width], |result| {
        let results = result.chunks_mut(channels_out * positions).enumerate();
        let tasks: Vec<(usize, usize, Part<'_>)> = results
            .flat_map(|(image, result)| {
                let parts = column_parts(whole(result, [channels_out, positions]), rows * out_width);
                parts.into_iter().map(move |(first, part)| (image, first / out_width, part))
            })
            .collect();
        let pieces = pieces(channels_out, weight.ncols() * positions.min(rows * out_width));
        with_function!(activation, F => tasks.into_par_iter().for_each_init(Vec::new, |buffer, (image, row, part)| {
            let columns = images.columns(image, 0..channels, row..(row + rows).min(out_height), buffer);
            in_row_parts(part, pieces, |first, part| {
                let weight = weight.subrows(first, part.nrows());
                multiply::<F>(part, weight, columns, bias.map(|bias| &bias[first..]));
            });
        }));
    })
}

/// `part = F(left · right + bias)`, with a bias for each row.
fn multiply<F: Function>(mut part: Part<'_>, left: Matrix<'_>, right: Matrix<'_>, bias: Option<&[f32]>) {
    if let Some(bias) = bias {
        for_each_row(&mut part, |index, row| row.fill(bias[index]));
    }
    add_product(part.rb_mut(), left, right);
    if !F::IS_IDENTITY {
        for_each_row(&mut part, |_, row| apply::<F>(row));
    }
}

pub(super) fn input_gradient(
    x: &FlexTensor,
    weight: FlexTensor,
    gradient: FlexTensor,
    geometry: Geometry,
) -> FlexTensor {
    let [rows, columns] = geometry.kernel;
    if geometry.stride != [1, 1] {
        return strided_input_gradient(x, weight, gradient, geometry);
    }
    // The gradient convolved with the kernel turned around, from outputs to inputs.
    let geometry = geometry.turned();
    if [rows, columns] == [1, 1] {
        let weight = Weight::new(weight);
        return correlate(gradient, weight.matrix().transpose(), None, geometry, Activation::Identity);
    }
    let [channels_out, channels, _, _] = weight.shape().dims();
    let taps = rows * columns;
    let weight = weight.to_contiguous();
    let weight = values(&weight);
    let turned = filled([channels, channels_out * taps], |turned| {
        turned.par_chunks_mut(channels_out * taps).enumerate().for_each(|(channel, turned)| {
            for (channel_out, turned) in turned.chunks_exact_mut(taps).enumerate() {
                let kernel = &weight[(channel_out * channels + channel) * taps..][..taps];
                turned.iter_mut().zip(kernel.iter().rev()).for_each(|(turned, tap)| *turned = *tap);
            }
        });
    });
    let turned = matrix(values(&turned), [channels, channels_out * taps], channels_out * taps);
    correlate(gradient, turned, None, geometry, Activation::Identity)
}

/// Each output hands its gradient, times the weight, to the pixels that it has seen.
fn strided_input_gradient(x: &FlexTensor, weight: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, _, _] = gradient.shape().dims();
    let (weight, gradient) = (Weight::new(weight), gradient.to_contiguous());
    let (weight, gradient) = (weight.matrix(), values(&gradient));
    let images = Images::new(&[], channels, [height, width], geometry);
    let (taps, positions) = (images.taps(), images.positions());
    let together = ROWS.div_ceil(taps);

    filled([batch, channels, height, width], |result| {
        let results = result.chunks_mut(channels * height * width).enumerate();
        let tasks: Vec<(usize, usize, &mut [f32])> = results
            .flat_map(|(image, result)| {
                let parts = result.chunks_mut(together * height * width).enumerate();
                parts.map(move |(index, part)| (image, index * together, part))
            })
            .collect();
        tasks.into_par_iter().for_each_init(Vec::new, |buffer, (image, channel, part)| {
            let rows = part.len() / (height * width) * taps;
            buffer.clear();
            buffer.resize(rows * positions, 0.0);
            let gradient = &gradient[image * channels_out * positions..][..channels_out * positions];
            let gradient = matrix(gradient, [channels_out, positions], positions);
            let seen_by = weight.subcols(channel * taps, rows).transpose();
            add_product(whole(buffer, [rows, positions]), seen_by, gradient);
            let planes = part.chunks_exact_mut(height * width).zip(buffer.chunks_exact(taps * positions));
            planes.for_each(|(plane, laid_out)| images.add_back(laid_out, plane));
        });
    })
}

/// The gradient times what its outputs see, `[C', P] · [P, C·K·K']`, summed over images.
pub(super) fn weight_gradient(x: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, out_height, out_width] = gradient.shape().dims();
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (gradient, images) = (values(&gradient), Images::new(values(&x), channels, [height, width], geometry));
    let (taps, positions) = (images.taps(), images.positions());
    let together = ROWS.div_ceil(taps);

    let [kernel_rows, kernel_columns] = geometry.kernel;
    filled([channels_out, channels, kernel_rows, kernel_columns], |result| {
        let tasks = column_parts(whole(result, [channels_out, channels * taps]), together * taps);
        let pieces = pieces(channels_out, positions * together * taps);
        tasks.into_par_iter().for_each_init(Vec::new, |buffer, (column, mut part)| {
            let first = column / taps;
            let channels = first..first + part.ncols() / taps;
            for image in 0..batch {
                let seen = images.columns(image, channels.clone(), 0..out_height, buffer); // [C·K·K', P]
                let gradient = &gradient[image * channels_out * positions..][..channels_out * positions];
                let gradient = matrix(gradient, [channels_out, out_height * out_width], positions);
                in_row_parts(part.rb_mut(), pieces, |first, part| {
                    let gradient = gradient.subrows(first, part.nrows());
                    add_product(part, gradient, seen.transpose());
                });
            }
        });
    })
}
