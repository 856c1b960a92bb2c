//! Convolutions with a 3×3 kernel and stride 1 by Winograd's F(2×2, 3×3): tiles of 2 by 2 outputs with 16 multiplications for each pair of
//! channels in place of 36.
//!
//! A tile sees 4 by 4 pixels `d`. With `u = G g Gᵀ` of the kernel and `v = Bᵀ d B` of the pixels, the outputs are `Aᵀ (Σ u ⊙ v) A`, where the
//! sum is over channels: 16 matrix products, one for each place in `u` and `v`. (Lavin and Gray, Fast Algorithms for Convolutional Neural
//! Networks, 2016, section 4.1.) `B` and `A` have zeros and ones alone, so that rounding is about that of the products themselves.
//!
//! Each number is made in one order, whatever else is in the batch and however tiles are shared out among threads.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::activation::{Function, Identity};
use super::geometry::Geometry;
use super::panels::with_scratch;
use super::products::{Part, add_product, matrix, whole};
use super::tiles::{self, Rows, Start, finish, panel_pitch, row_of};
use super::vectorized;

/// Pixels that a tile sees, and numbers in which the channels are summed.
const PLACES: usize = 16;
/// Pixels of a kernel.
const TAPS: usize = 9;
/// Numbers of the longest vectors.
const LINE: usize = 16;
/// Outputs whose products are made before they are put together.
const OUTPUTS: usize = 32;
/// Numbers of the transformed pixels of a block: they stay in the second cache.
const BLOCK: usize = 5 << 16;
/// Tiles whose pixels and gradients are transformed together.
const TILES: usize = 224;
/// Channels that a thread transforms.
const CHANNELS_AT_ONCE: usize = 64;

/// The least of a map's sides and of channels with which a convolution is computed so.
#[derive(Clone, Copy)]
pub(super) struct Least {
    side: usize,
    channels: usize,
}

/// On smaller maps transforming the kernels costs a single image more than it gains.
pub(super) const LEAST_OF_OUTPUTS: Least = Least { side: 28, channels: 32 };
/// For gradients of what is seen, which belong to batches.
pub(super) const LEAST_OF_INPUTS: Least = Least { side: 14, channels: 32 };
/// For gradients of weights: with fewer channels, both transformations take longer than what they save.
pub(super) const LEAST_OF_WEIGHTS: Least = Least { side: 14, channels: 96 };

/// Whether a convolution is computed so. That hangs on the shape of a case, not on the batch.
pub(super) fn suits(geometry: &Geometry, channels: [usize; 2], output: [usize; 2], least: Least) -> bool {
    geometry.kernel == [3, 3]
        && geometry.stride == [1, 1]
        && output.iter().all(|side| *side >= least.side)
        && channels.iter().all(|count| *count >= least.channels)
}

/// Images with the tiles that are made of them.
pub(super) struct Tiled<'a> {
    pub(super) x: &'a [f32],
    pub(super) channels: usize,
    pub(super) size: [usize; 2],
    pub(super) geometry: Geometry,
}

/// Neighbouring rows of tiles of one image.
struct Strip {
    image: usize,
    rows: Range<usize>,
}

/// Where numbers of tiles lie: for each place rows of channels, in them a number for each tile.
#[derive(Clone, Copy)]
struct Layout {
    /// Numbers from one place to the next. A vector may be written beyond the last row of a place.
    plane: usize,
    /// Numbers from one row to the next.
    pitch: usize,
}

impl Layout {
    /// For so many rows and tiles.
    fn new(rows: usize, tiles: usize) -> Self {
        let pitch = panel_pitch(tiles);
        Self { plane: rows * pitch + LINE, pitch }
    }

    /// Some rows of a place.
    fn rows<'a>(&self, values: &'a [f32], place: usize, count: usize) -> &'a [f32] {
        &values[place * self.plane..][..count * self.pitch]
    }

    /// Of all places.
    fn len(&self) -> usize {
        PLACES * self.plane
    }
}

/// Strips that are computed together, and the parts of the result that they are, `[C', positions]` each.
struct Block<'a> {
    strips: Vec<Strip>,
    parts: Vec<Part<'a>>,
}

impl Tiled<'_> {
    fn output(&self) -> [usize; 2] {
        self.geometry.output(self.size)
    }

    /// Rows and columns of tiles of one image.
    fn tiles(&self) -> [usize; 2] {
        self.output().map(|side| side.div_ceil(2))
    }

    /// `F(bias + kernels · images)`, weight `[C', C·9]`, result `[B, C', H', W']`.
    pub(super) fn convolve<F: Function>(&self, weight: &[f32], bias: Option<&[f32]>, result: &mut [f32]) {
        let [height, width] = self.output();
        let positions = height * width;
        let channels_out = weight.len() / (self.channels * TAPS);
        let kernels = transformed_kernels(weight, [channels_out, self.channels]);
        let blocks = self
            .blocks(result.chunks_mut(channels_out * positions).map(|image| whole(image, [channels_out, positions])));
        let work = |block: Block<'_>| self.convolve_block::<F>(&kernels, bias, channels_out, block);
        // On a thread of the pool: else each step would wait for one to wake.
        rayon::scope(|_| blocks.into_par_iter().for_each(work));
    }

    /// Cuts results, one of each image, into blocks of whole rows of tiles.
    fn blocks<'r>(&self, results: impl Iterator<Item = Part<'r>>) -> Vec<Block<'r>> {
        let ([height, width], [tile_rows, _]) = (self.output(), self.tiles());
        let results: Vec<Part<'r>> = results.collect();
        let size = self.rows_of_a_block(results.len() * tile_rows);
        let mut blocks: Vec<Block<'r>> = Vec::new();
        let mut room = 0;
        for (image, mut rest) in results.into_iter().enumerate() {
            let mut row = 0;
            while row < tile_rows {
                if room == 0 {
                    blocks.push(Block { strips: Vec::new(), parts: Vec::new() });
                    room = size;
                }
                let end = tile_rows.min(row + room);
                let (part, others) = rest.split_at_col_mut((height.min(2 * end) - 2 * row) * width);
                let block = blocks.last_mut().expect("one was added if there was none");
                block.strips.push(Strip { image, rows: row..end });
                block.parts.push(part);
                (room, row, rest) = (room - (end - row), end, others);
            }
        }
        blocks
    }

    /// How many rows of tiles, of so many in all, make a block: as fill vectors and threads best.
    fn rows_of_a_block(&self, all: usize) -> usize {
        let [_, columns] = self.tiles();
        let threads = rayon::current_num_threads();
        let fits = |rows: &usize| PLACES * self.channels * panel_pitch(rows * columns) <= BLOCK;
        // What a block costs beside its vectors, in vectors: kernels are read anew.
        const BESIDE: usize = 1;
        let time = |rows: &usize| all.div_ceil(*rows).div_ceil(threads) * ((rows * columns).div_ceil(LINE) + BESIDE);
        (1..=all).take_while(fits).min_by_key(time).unwrap_or(1)
    }

    fn convolve_block<F: Function>(
        &self,
        kernels: &[f32],
        bias: Option<&[f32]>,
        channels_out: usize,
        block: Block<'_>,
    ) {
        let Block { strips, mut parts } = block;
        let [_, columns] = self.tiles();
        let rows: usize = strips.iter().map(|strip| strip.rows.len()).sum();
        let count = rows * columns;
        let shown = count.next_multiple_of(LINE);
        let (layout, sums) = (Layout::new(self.channels, count), Layout::new(OUTPUTS, count));
        with_scratch(layout.len(), |pixels| {
            self.transform_pixels(&strips, 0..self.channels, pixels, layout);
            for first in (0..channels_out).step_by(OUTPUTS) {
                let outputs = first..channels_out.min(first + OUTPUTS);
                with_scratch(sums.len(), |products| {
                    for (place, products) in products.chunks_exact_mut(sums.plane).enumerate() {
                        let kernels = &kernels[(place * channels_out + first) * self.channels..];
                        let left = Rows::new(&kernels[..outputs.len() * self.channels], [outputs.len(), self.channels]);
                        let (values, pitch) = (layout.rows(pixels, place, self.channels), layout.pitch);
                        let right = Rows { values, shape: [self.channels, shown], pitch };
                        let products = whole(&mut products[..outputs.len() * pitch], [outputs.len(), pitch]);
                        let (part, _) = products.split_at_col_mut(shown);
                        tiles::multiply::<Identity>(left, right, Start::Zero, &mut [part]);
                    }
                    self.put_together::<F>(products, sums, bias, outputs.clone(), &strips, &mut parts);
                });
            }
        });
    }

    /// `v = Bᵀ d B` of the tiles of some channels.
    fn transform_pixels(&self, strips: &[Strip], channels: Range<usize>, target: &mut [f32], layout: Layout) {
        let planes = Planes { values: self.x, count: self.channels, size: self.size, before: self.geometry.padding };
        planes.take_apart(strips, channels, self.tiles()[1], 2, |channel, first, tiles| {
            let target = &mut target[channel * layout.pitch + first..];
            Arch::new().dispatch(TransformPixels { tiles, target, plane: layout.plane });
        });
    }

    /// `A dy Aᵀ` of the gradients `dy` of some outputs.
    fn transform_gradients(
        &self,
        gradient: &[f32],
        channels_out: usize,
        strips: &[Strip],
        channels: Range<usize>,
        target: &mut [f32],
        layout: Layout,
    ) {
        let planes = Planes { values: gradient, count: channels_out, size: self.output(), before: [0, 0] };
        planes.take_apart(strips, channels, self.tiles()[1], 0, |channel, first, tiles| {
            let target = &mut target[channel * layout.pitch + first..];
            Arch::new().dispatch(TransformGradients { tiles, target, plane: layout.plane });
        });
    }

    /// The gradient of the kernels, `[C', C·9]`: `Gᵀ (Σ (A dy Aᵀ) ⊙ (Bᵀ d B)) G`, summed over tiles.
    pub(super) fn weight_gradient(&self, gradient: &[f32], result: &mut [f32]) {
        let [tile_rows, columns] = self.tiles();
        let channels_out = result.len() / (self.channels * TAPS);
        let batch = self.x.len() / (self.channels * self.size[0] * self.size[1]);
        let rows_at_once = (TILES / columns).clamp(1, batch * tile_rows);
        let layout = Layout::new(CHANNELS_AT_ONCE, rows_at_once * columns);

        // Transformed pixels and gradients of some channels each.
        let chunks = |count: usize| {
            (0..count).step_by(CHANNELS_AT_ONCE).map(move |first| first..count.min(first + CHANNELS_AT_ONCE))
        };
        let mut seen: Vec<(Range<usize>, Vec<f32>)> =
            chunks(self.channels).map(|channels| (channels, vec![0.0; layout.len()])).collect();
        let mut gradients: Vec<(Range<usize>, Vec<f32>)> =
            chunks(channels_out).map(|channels| (channels, vec![0.0; layout.len()])).collect();
        let mut sums = super::zeros(PLACES * channels_out * self.channels);

        let all: Vec<(usize, usize)> =
            (0..batch).flat_map(|image| (0..tile_rows).map(move |row| (image, row))).collect();
        rayon::scope(|_| {
            for rows in all.chunks(rows_at_once) {
                let strips: Vec<Strip> = rows
                    .chunk_by(|left, right| left.0 == right.0)
                    .map(|rows| Strip { image: rows[0].0, rows: rows[0].1..rows[rows.len() - 1].1 + 1 })
                    .collect();
                rayon::join(
                    || {
                        seen.par_iter_mut().for_each(|(channels, target)| {
                            self.transform_pixels(&strips, channels.clone(), target, layout);
                        });
                    },
                    || {
                        gradients.par_iter_mut().for_each(|(channels, target)| {
                            let channels = channels.clone();
                            self.transform_gradients(gradient, channels_out, &strips, channels, target, layout);
                        });
                    },
                );
                let count = rows.len() * columns;
                sums.par_chunks_exact_mut(channels_out * self.channels).enumerate().for_each(|(place, sums)| {
                    let mut rest = whole(sums, [channels_out, self.channels]);
                    for (outputs, gradients) in &gradients {
                        let (mut here, below) = rest.split_at_row_mut(outputs.len());
                        let left = layout.rows(gradients, place, outputs.len());
                        let left = matrix(left, [outputs.len(), count], layout.pitch);
                        for (channels, seen) in &seen {
                            let (part, beside) = here.split_at_col_mut(channels.len());
                            let right = layout.rows(seen, place, channels.len());
                            let right = matrix(right, [channels.len(), count], layout.pitch);
                            add_product(part, left, right.transpose());
                            here = beside;
                        }
                        rest = below;
                    }
                });
            }
        });
        kernels_of_places(&sums, [channels_out, self.channels], result);
    }

    /// `F(bias + Aᵀ m A)` of the summed products `m` of some outputs.
    fn put_together<F: Function>(
        &self,
        products: &[f32],
        Layout { plane, pitch }: Layout,
        bias: Option<&[f32]>,
        outputs: Range<usize>,
        strips: &[Strip],
        parts: &mut [Part<'_>],
    ) {
        let ([_, width], [_, columns]) = (self.output(), self.tiles());
        let half = 2 * pitch + LINE;
        with_scratch(2 * half, |scratch| {
            let (left, right) = scratch.split_at_mut(half);
            for (next, output) in outputs.enumerate() {
                let bias = bias.map_or(0.0, |bias| bias[output]);
                let mut first = next * pitch;
                for (strip, part) in strips.iter().zip(parts.iter_mut()) {
                    let (rows, target) = (strip.rows.len(), row_of(part, output));
                    let (left, right) = (&mut *left, &mut *right);
                    let products = &products[first..];
                    Arch::new().dispatch(PutTogether::<F> {
                        products,
                        plane,
                        rows,
                        columns,
                        width,
                        bias,
                        left,
                        right,
                        target,
                        function: PhantomData,
                    });
                    first += rows * columns;
                }
            }
        });
    }
}

/// Planes of several images, with zeros before them, above and to the left.
struct Planes<'a> {
    values: &'a [f32],
    /// Of each image.
    count: usize,
    size: [usize; 2],
    before: [usize; 2],
}

impl Planes<'_> {
    /// Calls `work` for each of the channels and each strip, in this order, with the channel's place among the given ones, and how many tiles
    /// come before the strip. The lines of pixels that tiles see are two for each row of tiles, and `more`.
    fn take_apart(
        &self,
        strips: &[Strip],
        channels: Range<usize>,
        columns: usize,
        more: usize,
        mut work: impl FnMut(usize, usize, Tiles<'_>),
    ) {
        let ([height, width], [top, left]) = (self.size, self.before);
        // Lines with a border of zeros, as long as whole vectors of tiles see.
        let line = (2 * columns.next_multiple_of(LINE) + more).max((left + width).next_multiple_of(2));
        let lines = strips.iter().map(|strip| 2 * strip.rows.len() + more).max().unwrap_or(0);
        with_scratch(2 * lines * line, |scratch| {
            let (padded, apart) = scratch.split_at_mut(lines * line);
            padded.fill(0.0);
            for (place, channel) in channels.enumerate() {
                let mut first = 0;
                for Strip { image, rows } in strips {
                    let count = (2 * rows.len() + more) * line;
                    let padded = &mut padded[..count];
                    let (even, odd) = apart[..count].split_at_mut(count / 2);
                    let pixels = &self.values[(image * self.count + channel) * height * width..][..height * width];
                    for (index, line) in padded.chunks_exact_mut(line).enumerate() {
                        let row = (2 * rows.start + index).checked_sub(top).filter(|row| *row < height);
                        match row {
                            Some(row) => line[left..left + width].copy_from_slice(&pixels[row * width..][..width]),
                            // Pixels of another strip may be left.
                            None => line.fill(0.0),
                        }
                    }
                    vectorized(
                        #[inline(always)]
                        || {
                            let pairs = padded.as_chunks::<2>().0.iter();
                            for ((pair, even), odd) in pairs.zip(&mut *even).zip(&mut *odd) {
                                (*even, *odd) = (pair[0], pair[1]);
                            }
                        },
                    );
                    work(place, first, Tiles { even, odd, pitch: line / 2, rows: rows.len(), columns });
                    first += rows.len() * columns;
                }
            }
        });
    }
}

/// Lines of pixels whose even and odd columns are taken apart, and the tiles that see them.
#[derive(Clone, Copy)]
struct Tiles<'a> {
    even: &'a [f32],
    odd: &'a [f32],
    /// Numbers of a line in each half.
    pitch: usize,
    rows: usize,
    columns: usize,
}

/// `v = Bᵀ d B` of the tiles of one channel, into places `plane` numbers apart.
struct TransformPixels<'a> {
    tiles: Tiles<'a>,
    target: &'a mut [f32],
    plane: usize,
}

impl WithSimd for TransformPixels<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tiles: Tiles { even, odd, pitch, rows, columns }, target, plane } = self;
        for row in 0..rows {
            for column in (0..columns).step_by(S::F32_LANES) {
                let mut down = [[simd.splat_f32s(0.0); 4]; 4];
                let at = 2 * row * pitch + column;
                for across in 0..4 {
                    let (half, at) = (if across % 2 == 0 { even } else { odd }, at + across / 2);
                    let line = |line: usize| load::<S>(half, at + line * pitch);
                    let column = differences(simd, line(0), line(1), line(2), line(3));
                    down.iter_mut().zip(column).for_each(|(down, value)| down[across] = value);
                }
                // What is beyond the last tile is written over by what comes next: the next row, strip or channel.
                let from = row * columns + column;
                for (line, [first, second, third, fourth]) in down.into_iter().enumerate() {
                    let across = differences(simd, first, second, third, fourth);
                    for (column, values) in across.into_iter().enumerate() {
                        store::<S>(target, (4 * line + column) * plane + from, values);
                    }
                }
            }
        }
    }
}

/// `A dy Aᵀ` of the tiles of one output, into places `plane` numbers apart.
struct TransformGradients<'a> {
    tiles: Tiles<'a>,
    target: &'a mut [f32],
    plane: usize,
}

impl WithSimd for TransformGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tiles: Tiles { even, odd, pitch, rows, columns }, target, plane } = self;
        for row in 0..rows {
            for column in (0..columns).step_by(S::F32_LANES) {
                let at = 2 * row * pitch + column;
                let left = spread(simd, load::<S>(even, at), load::<S>(even, at + pitch));
                let right = spread(simd, load::<S>(odd, at), load::<S>(odd, at + pitch));
                let from = row * columns + column;
                for line in 0..4 {
                    for (column, values) in spread(simd, left[line], right[line]).into_iter().enumerate() {
                        store::<S>(target, (4 * line + column) * plane + from, values);
                    }
                }
            }
        }
    }
}

/// `A dy` of two numbers.
#[inline(always)]
fn spread<S: Simd>(simd: S, first: S::f32s, second: S::f32s) -> [S::f32s; 4] {
    let (sum, difference) = (simd.add_f32s(first, second), simd.sub_f32s(first, second));
    [first, sum, difference, simd.sub_f32s(simd.splat_f32s(0.0), second)]
}

/// `F(bias + Aᵀ m A)` of the tiles of one output.
struct PutTogether<'a, F> {
    products: &'a [f32],
    plane: usize,
    rows: usize,
    columns: usize,
    /// Of a row of the result, which may end with half a tile.
    width: usize,
    bias: f32,
    left: &'a mut [f32],
    right: &'a mut [f32],
    target: &'a mut [f32],
    function: PhantomData<F>,
}

impl<F: Function> WithSimd for PutTogether<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products, plane, rows, columns, width, bias, left, right, target, .. } = self;
        let bias = simd.splat_f32s(bias);
        for row in 0..rows {
            for lower in [false, true] {
                for column in (0..columns).step_by(S::F32_LANES) {
                    let from = row * columns + column;
                    let mut down = [simd.splat_f32s(0.0); 4];
                    for (across, down) in down.iter_mut().enumerate() {
                        let line = |line: usize| load::<S>(products, (4 * line + across) * plane + from);
                        *down = match lower {
                            false => simd.add_f32s(simd.add_f32s(line(0), line(1)), line(2)),
                            true => simd.sub_f32s(simd.sub_f32s(line(1), line(2)), line(3)),
                        };
                    }
                    let first = simd.add_f32s(simd.add_f32s(down[0], down[1]), down[2]);
                    let second = simd.sub_f32s(simd.sub_f32s(down[1], down[2]), down[3]);
                    // What is beyond the last tile is written over by the next row.
                    let at = (2 * row + usize::from(lower)) * columns + column;
                    store::<S>(left, at, simd.add_f32s(bias, first));
                    store::<S>(right, at, simd.add_f32s(bias, second));
                }
            }
        }
        if width % 2 == 0 {
            put_side_by_side(left, right, target);
        } else {
            for (row, target) in target.chunks_exact_mut(width).enumerate() {
                let (left, right) = (&left[row * columns..], &right[row * columns..]);
                put_side_by_side(left, right, target);
                target[width - 1] = left[columns - 1];
            }
        }
        finish::<F>(target);
    }
}

#[inline(always)]
fn load<S: Simd>(values: &[f32], first: usize) -> S::f32s {
    S::as_simd_f32s(&values[first..first + S::F32_LANES]).0[0]
}

#[inline(always)]
fn store<S: Simd>(values: &mut [f32], first: usize, vector: S::f32s) {
    S::as_mut_simd_f32s(&mut values[first..first + S::F32_LANES]).0[0] = vector;
}

/// `Bᵀ d` of four numbers.
#[inline(always)]
fn differences<S: Simd>(simd: S, first: S::f32s, second: S::f32s, third: S::f32s, fourth: S::f32s) -> [S::f32s; 4] {
    [
        simd.sub_f32s(first, third),
        simd.add_f32s(second, third),
        simd.sub_f32s(third, second),
        simd.sub_f32s(second, fourth),
    ]
}

/// Pairs of numbers, as many as have room.
#[inline(always)]
fn put_side_by_side(left: &[f32], right: &[f32], target: &mut [f32]) {
    for ((pair, left), right) in target.as_chunks_mut::<2>().0.iter_mut().zip(left).zip(right) {
        *pair = [*left, *right];
    }
}

/// `u = G g Gᵀ` of kernels `[C', C·9]`: `[C', C]` for each place.
fn transformed_kernels(weight: &[f32], [channels_out, channels]: [usize; 2]) -> Vec<f32> {
    let mut transformed = super::zeros(PLACES * channels_out * channels);
    let mut rows: Vec<Vec<&mut [f32]>> = (0..channels_out).map(|_| Vec::with_capacity(PLACES)).collect();
    for place in transformed.chunks_exact_mut(channels_out * channels) {
        rows.iter_mut().zip(place.chunks_exact_mut(channels)).for_each(|(row, place)| row.push(place));
    }
    let kernels = weight.par_chunks_exact(channels * TAPS);
    rows.into_par_iter().zip(kernels).with_min_len(8).for_each(|(mut places, kernels)| {
        Arch::new().dispatch(TransformKernels { kernels, places: &mut places });
    });
    transformed
}

/// `u = G g Gᵀ` of the kernels of one output: for each place a number for each channel.
struct TransformKernels<'a, 'b> {
    kernels: &'a [f32],
    places: &'a mut [&'b mut [f32]],
}

impl WithSimd for TransformKernels<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernels, places } = self;
        let mut taps = [[0.0; LINE]; TAPS];
        for (index, kernels) in kernels.chunks(TAPS * S::F32_LANES).enumerate() {
            for (channel, kernel) in kernels.as_chunks::<TAPS>().0.iter().enumerate() {
                for (taps, value) in taps.iter_mut().zip(kernel) {
                    taps[channel] = *value;
                }
            }
            let mut down = [[simd.splat_f32s(0.0); 4]; 3];
            for (column, down) in down.iter_mut().enumerate() {
                let tap = |row: usize| load::<S>(&taps[3 * row + column], 0);
                *down = halves(simd, tap(0), tap(1), tap(2));
            }
            let (from, count) = (index * S::F32_LANES, kernels.len() / TAPS);
            for row in 0..4 {
                let across = halves(simd, down[0][row], down[1][row], down[2][row]);
                for (column, values) in across.into_iter().enumerate() {
                    let mut numbers = [0.0; LINE];
                    store::<S>(&mut numbers, 0, values);
                    places[4 * row + column][from..][..count].copy_from_slice(&numbers[..count]);
                }
            }
        }
    }
}

/// `G g` of three numbers.
#[inline(always)]
fn halves<S: Simd>(simd: S, first: S::f32s, second: S::f32s, third: S::f32s) -> [S::f32s; 4] {
    let (half, outer) = (simd.splat_f32s(0.5), simd.add_f32s(first, third));
    let inner = [simd.add_f32s(outer, second), simd.sub_f32s(outer, second)].map(|sum| simd.mul_f32s(half, sum));
    [first, inner[0], inner[1], third]
}

/// `g = Gᵀ u G` of numbers `[C', C]` for each place: kernels `[C', C·9]`.
fn kernels_of_places(places: &[f32], [channels_out, channels]: [usize; 2], result: &mut [f32]) {
    result.par_chunks_exact_mut(channels * TAPS).enumerate().with_min_len(8).for_each(|(output, kernels)| {
        let rows = std::array::from_fn(|place| &places[(place * channels_out + output) * channels..][..channels]);
        Arch::new().dispatch(TransformBack { places: rows, kernels });
    });
}

/// `g = Gᵀ u G` of the kernels of one output.
struct TransformBack<'a> {
    places: [&'a [f32]; PLACES],
    kernels: &'a mut [f32],
}

impl WithSimd for TransformBack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { places, kernels } = self;
        let mut numbers = [[0.0; LINE]; PLACES];
        for (index, kernels) in kernels.chunks_mut(TAPS * S::F32_LANES).enumerate() {
            let (from, count) = (index * S::F32_LANES, kernels.len() / TAPS);
            for (numbers, place) in numbers.iter_mut().zip(&places) {
                numbers[..count].copy_from_slice(&place[from..][..count]);
            }
            let mut down = [[simd.splat_f32s(0.0); 3]; 4];
            for (across, down) in down.iter_mut().enumerate() {
                let place = |row: usize| load::<S>(&numbers[4 * row + across], 0);
                *down = gathered(simd, place(0), place(1), place(2), place(3));
            }
            let mut taps = [[0.0; LINE]; TAPS];
            for row in 0..3 {
                let across = gathered(simd, down[0][row], down[1][row], down[2][row], down[3][row]);
                for (column, values) in across.into_iter().enumerate() {
                    store::<S>(&mut taps[3 * row + column], 0, values);
                }
            }
            for (channel, kernel) in kernels.as_chunks_mut::<TAPS>().0.iter_mut().enumerate() {
                for (value, taps) in kernel.iter_mut().zip(&taps) {
                    *value = taps[channel];
                }
            }
        }
    }
}

/// `Gᵀ u` of four numbers.
#[inline(always)]
fn gathered<S: Simd>(simd: S, first: S::f32s, second: S::f32s, third: S::f32s, fourth: S::f32s) -> [S::f32s; 3] {
    let half = simd.splat_f32s(0.5);
    let even = simd.mul_f32s(half, simd.add_f32s(second, third));
    let odd = simd.mul_f32s(half, simd.sub_f32s(second, third));
    [simd.add_f32s(first, even), odd, simd.add_f32s(even, fourth)]
}
