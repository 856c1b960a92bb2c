//! Dense convolutions as matrix products: the pixels that each output sees are laid out as a column.

use std::borrow::Cow;
use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::activation::{Identity, with_function};
use super::columns::Images;
use super::depth::sum_over_depth;
use super::geometry::Geometry;
use super::panels::{self, ColumnsOf, Left, Table, transpose, with_scratch};
use super::products::whole;
use super::tiles::{self, Rows, Start, panel_pitch};
use super::winograd::{self, Least, Tiled};
use super::{filled, planes_per_task, values, zeros};
use crate::activation::Activation;

/// Rows of pixels and taps whose gradients are made together before they are handed to the pixels.
const ROWS: usize = 128;
/// Rows of a turned weight that are written together.
const TOGETHER: usize = 8;
/// Panels that read a weight fewer times than turning it as a whole costs.
const FEW_PANELS: usize = 4;
/// Positions of images whose gradients are made together.
const POSITIONS: usize = 480;

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

    /// Its transpose, `[C·K·K', C']`.
    fn transposed(&self) -> ColumnsOf<'_> {
        ColumnsOf { table: self.table(), shape: self.shape }
    }

    /// The rows of its transpose.
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
        winograd::LEAST_OF_OUTPUTS,
    )
}

/// `activation(weight · columns + bias)`, weight `[C', C·K·K']`. A panel goes on from one image to the next. Maps and channels
/// of at least `least` are computed [in tiles](winograd).
fn correlate(
    x: FlexTensor,
    weight: Rows<'_>,
    bias: Option<&[f32]>,
    geometry: Geometry,
    activation: Activation,
    least: Least,
) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let output = geometry.output([height, width]);
    let [channels_out, _] = weight.shape;
    if !winograd::suits(&geometry, [channels, channels_out], output, least) {
        return correlate_by_panels(x, &weight, bias, geometry, activation);
    }
    let x = x.to_contiguous();
    let tiled = Tiled { x: values(&x), channels, size: [height, width], geometry };
    filled([batch, channels_out, output[0], output[1]], |result| {
        with_function!(activation, F => tiled.convolve::<F>(weight.values, bias, result));
    })
}

/// The same of every kernel and map.
fn correlate_by_panels(
    x: FlexTensor,
    weight: &impl Left,
    bias: Option<&[f32]>,
    geometry: Geometry,
    activation: Activation,
) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let x = x.to_contiguous();
    let images = Images::new(values(&x), channels, [height, width], geometry);
    let ([channels_out, _], positions, [out_height, out_width]) = (weight.shape(), images.positions(), images.output);
    let start = bias.map_or(Start::Zero, Start::OfRows);
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
        return match geometry.kernel {
            [1, 1] => spread(x, input_gradient(x, weight, gradient, Geometry::POINTWISE), geometry),
            _ => strided_input_gradient(x, weight, gradient, geometry),
        };
    }
    // The gradient convolved with the kernel turned around, from outputs to inputs.
    let geometry = geometry.turned();
    let [channels_out, channels, _, _] = weight.shape().dims();
    let [batch, _, height, width] = gradient.shape().dims();
    let identity = Activation::Identity;
    // Where few panels read the weight, it is turned in the cache, for each anew.
    let is_read_by_few = batch * height * width <= FEW_PANELS * panels::WIDEST;
    if [rows, columns] == [1, 1] {
        let weight = Weight::new(weight);
        if is_read_by_few {
            return correlate_by_panels(gradient, &weight.transposed(), None, geometry, identity);
        }
        let (turned, shape) = (weight.transposed_rows(), [channels, channels_out]);
        return correlate_by_panels(gradient, &Rows::new(&turned, shape), None, geometry, identity);
    }
    let weight = weight.to_contiguous();
    let turned = TurnedAround { weight: values(&weight), channels: [channels_out, channels], taps: rows * columns };
    let output = geometry.output([height, width]);
    let is_tiled = winograd::suits(&geometry, [channels_out, channels], output, winograd::LEAST_OF_INPUTS);
    if is_read_by_few && !is_tiled {
        return correlate_by_panels(gradient, &turned, None, geometry, identity);
    }
    let (rows, shape) = (turned.rows(), turned.shape());
    correlate(gradient, Rows::new(&rows, shape), None, geometry, identity, winograd::LEAST_OF_INPUTS)
}

/// The weight `[C', C, K, K']` as `[C, C'·K·K']`, each kernel from its last tap to its first.
struct TurnedAround<'a> {
    weight: &'a [f32],
    /// C' and C.
    channels: [usize; 2],
    taps: usize,
}

impl TurnedAround<'_> {
    /// Row after row.
    fn rows(&self) -> Vec<f32> {
        let [rows, columns] = self.shape();
        let mut turned = zeros(rows * columns);
        turned.par_chunks_mut(TOGETHER * columns).enumerate().for_each(|(block, turned)| {
            let first = block * TOGETHER;
            self.lay_out(first..rows.min(first + TOGETHER), 0..columns, turned, columns);
        });
        turned
    }
}

impl Left for TurnedAround<'_> {
    fn shape(&self) -> [usize; 2] {
        let [channels_out, channels] = self.channels;
        [channels, channels_out * self.taps]
    }

    fn in_place(&self, _: Range<usize>, _: Range<usize>) -> Option<Rows<'_>> {
        None
    }

    fn lay_out(&self, rows: Range<usize>, depth: Range<usize>, target: &mut [f32], pitch: usize) {
        let ([_, channels], taps) = (self.channels, self.taps);
        for channel_out in depth.start / taps..depth.end.div_ceil(taps) {
            let first = channel_out * taps;
            let columns = depth.start.max(first)..depth.end.min(first + taps);
            let from = columns.start - depth.start;
            let kernels = &self.weight[(channel_out * channels + rows.start) * taps..];
            for (kernel, target) in kernels.chunks_exact(taps).zip(target.chunks_mut(pitch)).take(rows.len()) {
                let seen = kernel[first + taps - columns.end..first + taps - columns.start].iter().rev();
                target[from..].iter_mut().zip(seen).for_each(|(target, tap)| *target = *tap);
            }
        }
    }
}

/// Gradients of what the outputs of a 1×1 kernel have seen, at the pixels where it was.
fn spread(x: &FlexTensor, seen: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let images = Images::new(&[], channels, [height, width], geometry);
    let (seen, positions) = (values(&seen), images.positions());
    filled([batch, channels, height, width], |result| {
        let planes = result.par_chunks_mut(height * width).zip(seen.par_chunks(positions));
        planes
            .with_min_len(planes_per_task(height * width))
            .for_each(|(plane, seen)| images.add_back(seen, positions, plane));
    })
}

/// Each output hands its gradient, times the weight, to the pixels that it has seen.
fn strided_input_gradient(x: &FlexTensor, weight: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [batch, channels, height, width] = x.shape().dims();
    let [_, channels_out, out_height, out_width] = gradient.shape().dims();
    let (seen_by, gradient) = (Weight::new(weight).transposed_rows(), gradient.to_contiguous());
    let images = Images::new(&[], channels, [height, width], geometry);
    let (taps, positions, pixels) = (images.taps(), images.positions(), height * width);
    let seen_by = Rows::new(&seen_by, [channels * taps, channels_out]);
    let given = Images::new(values(&gradient), channels_out, [out_height, out_width], Geometry::POINTWISE);
    let images_at_once = (POSITIONS / positions).max(1);
    let channels_at_once = ROWS.div_ceil(taps);

    let hand_back = |group: usize, result: &mut [f32]| {
        let count = result.len() / (channels * pixels);
        let (first, columns) = (group * images_at_once * positions, count * positions);
        let pitch = panel_pitch(columns);
        // Some channels of each image.
        let mut tasks: Vec<Vec<&mut [f32]>> = (0..channels.div_ceil(channels_at_once)).map(|_| Vec::new()).collect();
        for image in result.chunks_mut(channels * pixels) {
            let parts = image.chunks_mut(channels_at_once * pixels);
            tasks.iter_mut().zip(parts).for_each(|(task, part)| task.push(part));
        }
        with_scratch(channels_out * pitch, |panel| {
            given.lay_out(0..channels_out, first..first + columns, panel, pitch);
            let right = Rows { values: panel, shape: [channels_out, columns], pitch };
            tasks.into_par_iter().enumerate().for_each(|(task, parts)| {
                let rows = parts[0].len() / pixels * taps;
                with_scratch(rows * pitch, |seen| {
                    let left = seen_by.subrows(task * channels_at_once * taps, rows);
                    let (part, _) = whole(seen, [rows, pitch]).split_at_col_mut(columns);
                    tiles::multiply::<Identity>(left, right, Start::Zero, &mut [part]);
                    for (image, part) in parts.into_iter().enumerate() {
                        let seen = seen.chunks_exact(taps * pitch);
                        for (plane, seen) in part.chunks_exact_mut(pixels).zip(seen) {
                            images.add_back(&seen[image * positions..], pitch, plane);
                        }
                    }
                });
            });
        });
    };
    filled([batch, channels, height, width], |result| {
        let groups = result.par_chunks_mut(images_at_once * channels * pixels).enumerate();
        groups.for_each(|(group, result)| hand_back(group, result));
    })
}

/// The gradient times what its outputs see, `[C', P] · [P, C·K·K']`, where P counts the positions of all images.
pub(super) fn weight_gradient(x: FlexTensor, gradient: FlexTensor, geometry: Geometry) -> FlexTensor {
    let [_, channels, height, width] = x.shape().dims();
    let [_, channels_out, out_height, out_width] = gradient.shape().dims();
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let output = [out_height, out_width];
    if winograd::suits(&geometry, [channels, channels_out], output, winograd::LEAST_OF_WEIGHTS) {
        let tiled = Tiled { x: values(&x), channels, size: [height, width], geometry };
        return filled([channels_out, channels, 3, 3], |result| tiled.weight_gradient(values(&gradient), result));
    }
    let given = Images::new(values(&gradient), channels_out, output, Geometry::POINTWISE);
    let seen = Images::new(values(&x), channels, [height, width], geometry);
    let columns = channels * seen.taps();
    let positions = gradient.shape().num_elements() / channels_out;

    let [kernel_rows, kernel_columns] = geometry.kernel;
    filled([channels_out, channels, kernel_rows, kernel_columns], |result| {
        let straight = cost(&given, &seen);
        let turned = cost(&seen, &given) + TURNING * (channels_out * columns).div_ceil(positions);
        if straight <= turned {
            sum_over_depth(&given, columns, result, |positions, columns, target, pitch| {
                seen.lay_out_turned(positions, columns, target, pitch);
            });
            return;
        }
        let mut sums = zeros(channels_out * columns);
        sum_over_depth(&seen, channels_out, &mut sums, |positions, columns, target, pitch| {
            given.lay_out_turned(positions, columns, target, pitch);
        });
        result.par_chunks_mut(16 * columns).enumerate().for_each(|(block, result)| {
            let count = result.len() / columns;
            transpose(&sums[block * 16..], channels_out, [count, columns], result, columns);
        });
    })
}

/// Multiplications that take as long as laying out a number.
const LAYING: usize = 12;
/// Multiplications that take as long as turning one.
const TURNING: usize = 32;

/// About what the sums of products of two images' rows cost for each position, in multiplications, where the right rows are turned.
fn cost(left: &Images<'_>, right: &Images<'_>) -> usize {
    const VECTOR: usize = 16;
    let [rows, columns] = [left.rows(), right.rows()];
    // A lone vector of columns takes as long as two: rows are read for each anew.
    let vectors = columns.div_ceil(VECTOR).max(2);
    let panels = columns.div_ceil(panels::WIDEST);
    let laid_out = if left.is_plain() { 0 } else { panels * rows };
    let laid_out = if right.is_plain() { laid_out } else { laid_out + columns };
    rows.next_multiple_of(tiles::TILE_ROWS) * vectors * VECTOR + LAYING * laid_out + TURNING * columns
}
