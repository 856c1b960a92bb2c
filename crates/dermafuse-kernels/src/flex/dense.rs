//! Dense convolutions as matrix products: the pixels that each output sees are laid out as a column.

use std::borrow::Cow;
use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::with_function;
use super::columns::Images;
use super::geometry::Geometry;
use super::panels::{self, Table};
use super::products::{Part, ReborrowMut, add_product, column_parts, in_row_parts, matrix, pieces, set_product, whole};
use super::tiles::{Rows, Start};
use super::winograd::{self, Tiled};
use super::{filled, values};
use crate::activation::Activation;

/// Rows of pixels and taps that are laid out together where all positions are needed at once.
const ROWS: usize = 128;

/// The weight `[C', C, K, K']` as `[C', C·K·K']`: of a 1×1 kernel in the layout it has, others made contiguous.
struct Weight {
    tensor: FlexTensor,
    shape: [usize; 2],
    pitch: usize,
    turned: bool,
}

impl Weight {
    fn new(tensor: FlexTensor) -> Self {
        let [channels_out, channels, rows, columns] = tensor.shape().dims();
        let shape = [channels_out, channels * rows * columns];
        // The strides of sides that are 1 long say nothing.
        let [down, across] = [tensor.layout().strides()[0], tensor.layout().strides()[1]];
        let is_plain = [rows, columns] == [1, 1] && shape[0] > 1 && shape[1] > 1;
        match is_plain {
            true if across == 1 && down >= shape[1] as isize => {
                Self { tensor, shape, pitch: down as usize, turned: false }
            }
            true if down == 1 && across >= shape[0] as isize => {
                Self { tensor, shape, pitch: across as usize, turned: true }
            }
            _ => Self { tensor: tensor.to_contiguous(), shape, pitch: shape[1], turned: false },
        }
    }

    fn table(&self) -> Table<'_> {
        let values = &self.tensor.storage::<f32>()[self.tensor.layout().start_offset()..];
        Table { values, pitch: self.pitch, turned: self.turned }
    }

    /// Row after row.
    fn rows(&self) -> Cow<'_, [f32]> {
        match self.table() {
            Table { values, turned: false, pitch } if pitch == self.shape[1] => Cow::Borrowed(values),
            table => Cow::Owned(laid_out(table, self.shape)),
        }
    }

    /// The rows of its transpose, `[C·K·K', C']`.
    fn transposed_rows(&self) -> Vec<f32> {
        let [channels_out, columns] = self.shape;
        laid_out(self.table().transposed(), [columns, channels_out])
    }
}

fn laid_out(table: Table<'_>, [rows, columns]: [usize; 2]) -> Vec<f32> {
    let mut target = vec![0.0; rows * columns];
    table.lay_out(0..rows, 0..columns, &mut target, columns);
    target
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
    correlate(
        x,
        Rows::new(&weight.rows(), weight.shape),
        bias.as_ref().map(values),
        geometry,
        activation,
        winograd::SIDE,
    )
}

/// `activation(weight · columns + bias)`, weight `[C', C·K·K']`. A panel goes on from one image to the next. Maps of at least
/// `least_side` are computed [in tiles](winograd) if they suit.
fn correlate(
    x: FlexTensor,
    weight: Rows<'_>,
    bias: Option<&[f32]>,
    geometry: Geometry,
    activation: Activation,
    least_side: usize,
) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let x = x.to_contiguous();
    let images = Images::new(values(&x), channels, [height, width], geometry);
    let ([channels_out, _], positions, [out_height, out_width]) = (weight.shape, images.positions(), images.output);
    let start = bias.map_or(Start::Zero, Start::OfRows);
    if winograd::suits(&geometry, [channels, channels_out], images.output, least_side) {
        let tiled = Tiled { x: values(&x), channels, size: [height, width], geometry };
        return filled([batch, channels_out, out_height, out_width], |result| {
            with_function!(activation, F => tiled.convolve::<F>(weight.values, bias, result));
        });
    }

    filled([batch, channels_out, out_height, out_width], |result| {
        let results = result.chunks_mut(channels_out * positions);
        let results = results.map(|result| whole(result, [channels_out, positions])).collect();
        let lay_out = |rows: Range<usize>, positions: Range<usize>, target: &mut [f32], pitch: usize| {
            images.lay_out(rows, positions, target, pitch);
        };
        with_function!(activation, F => panels::multiply::<F>(weight, start, results, lay_out));
    })
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
    let [channels_out, channels, _, _] = weight.shape().dims();
    let taps = rows * columns;
    let turned = match taps {
        1 => Weight::new(weight).transposed_rows(),
        _ => turned_around(&weight.to_contiguous()),
    };
    correlate(
        gradient,
        Rows::new(&turned, [channels, channels_out * taps]),
        None,
        geometry,
        Activation::Identity,
        winograd::SIDE_OF_GRADIENTS,
    )
}

/// `[C', C, K, K']` → `[C, C'·K·K']`, each kernel from its last tap to its first.
fn turned_around(weight: &FlexTensor) -> Vec<f32> {
    let [channels_out, channels, rows, columns] = weight.shape().dims();
    let (weight, taps) = (values(weight), rows * columns);
    let mut turned = vec![0.0; weight.len()];
    turned.par_chunks_mut(channels_out * taps).enumerate().for_each(|(channel, turned)| {
        for (channel_out, turned) in turned.chunks_exact_mut(taps).enumerate() {
            let kernel = &weight[(channel_out * channels + channel) * taps..][..taps];
            turned.iter_mut().zip(kernel.iter().rev()).for_each(|(turned, tap)| *turned = *tap);
        }
    });
    turned
}

/// Each output hands its gradient, times the weight, to the pixels that it has seen.
fn strided_input_gradient(x: &FlexTensor, weight: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, _, _] = gradient.shape().dims();
    let (weight, gradient) = (Weight::new(weight), gradient.to_contiguous());
    let ([_, columns], rows) = (weight.shape, weight.rows());
    let (weight, gradient) = (matrix(&rows, weight.shape, columns), values(&gradient));
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
            buffer.resize(rows * positions, 0.0);
            let gradient = &gradient[image * channels_out * positions..][..channels_out * positions];
            let gradient = matrix(gradient, [channels_out, positions], positions);
            let seen_by = weight.subcols(channel * taps, rows).transpose();
            set_product(whole(buffer, [rows, positions]), seen_by, gradient);
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
    if winograd::suits(&geometry, [channels, channels_out], [out_height, out_width], winograd::SIDE_OF_GRADIENTS) {
        let tiled = Tiled { x: values(&x), channels, size: [height, width], geometry };
        return filled([channels_out, channels, 3, 3], |result| tiled.weight_gradient(values(&gradient), result));
    }
    let (gradient, images) = (values(&gradient), Images::new(values(&x), channels, [height, width], geometry));
    let (taps, positions) = (images.taps(), images.positions());
    let together = ROWS.div_ceil(taps);

    let lay_out = |image: usize, rows: Range<usize>, buffer: &mut Vec<f32>| {
        buffer.resize(rows.len() * positions, 0.0);
        images.lay_out(rows, image * positions..(image + 1) * positions, buffer, positions);
    };
    let pieces = pieces(channels_out, positions * together * taps);
    let add_image = |image: usize, seen: &[f32], part: &mut Part<'_>| {
        let seen = matrix(seen, [part.ncols(), positions], positions); // [C·K·K', P]
        let gradient = &gradient[image * channels_out * positions..][..channels_out * positions];
        let gradient = matrix(gradient, [channels_out, positions], positions);
        in_row_parts(part.rb_mut(), pieces, |first, part| {
            let gradient = gradient.subrows(first, part.nrows());
            add_product(part, gradient, seen.transpose());
        });
    };

    let [kernel_rows, kernel_columns] = geometry.kernel;
    filled([channels_out, channels, kernel_rows, kernel_columns], |result| {
        let mut tasks = column_parts(whole(result, [channels_out, channels * taps]), together * taps);
        if let [(_, part)] = tasks.as_mut_slice()
            && batch > 0
            && images.plain_rows(0, 0..channels).is_none()
        {
            // Another thread lays out the next image.
            let (rows, mut seen, mut next) = (0..channels * taps, Vec::new(), Vec::new());
            lay_out(0, rows.clone(), &mut seen);
            for image in 0..batch {
                let lay_out_next = || {
                    if image + 1 < batch {
                        lay_out(image + 1, rows.clone(), &mut next);
                    }
                };
                rayon::join(|| add_image(image, &seen, part), lay_out_next);
                std::mem::swap(&mut seen, &mut next);
            }
            return;
        }
        tasks.into_par_iter().for_each_init(Vec::new, |buffer: &mut Vec<f32>, (column, mut part)| {
            let rows = column..column + part.ncols();
            for image in 0..batch {
                match images.plain_rows(image, rows.clone()) {
                    Some(planes) => add_image(image, planes, &mut part),
                    None => {
                        lay_out(image, rows.clone(), buffer);
                        add_image(image, buffer, &mut part);
                    }
                }
            }
        });
    })
}
