//! What the outputs of a convolution see, laid out as the columns of a matrix.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::Geometry;
use super::panels::{Left, transpose, with_scratch};
use super::tiles::Rows;
use super::vectorized;

/// Numbers that make a task.
const TASK: usize = 1 << 14;
/// Positions of an image from which on its planes are rows of a product as they are. Of smaller images several make a row, which is
/// laid out.
const IN_PLACE: usize = 128;
/// Rows that are laid out before they are turned: what is then read of a column is a line of the cache.
const TURNED: usize = 16;

/// Images with the way a kernel walks over them. Its outputs, the positions, are counted through all images.
pub(super) struct Images<'a> {
    x: &'a [f32],
    channels: usize,
    size: [usize; 2],
    pub(super) output: [usize; 2],
    geometry: Geometry,
}

/// Neighbouring positions of one row of one image.
#[derive(Clone)]
struct Segment {
    image: usize,
    row: usize,
    columns: Range<usize>,
}

/// Neighbouring positions of one image.
#[derive(Clone)]
struct Run {
    image: usize,
    positions: Range<usize>,
}

/// A place in the kernel.
struct Tap {
    down: usize,
    across: usize,
    /// The outputs of a row that see a pixel here.
    inside: Range<usize>,
}

impl<'a> Images<'a> {
    pub(super) fn new(x: &'a [f32], channels: usize, size: [usize; 2], geometry: Geometry) -> Self {
        Self { x, channels, size, output: geometry.output(size), geometry }
    }

    pub(super) fn taps(&self) -> usize {
        self.geometry.kernel[0] * self.geometry.kernel[1]
    }

    /// Of one image.
    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Channels and taps.
    pub(super) fn rows(&self) -> usize {
        self.channels * self.taps()
    }

    /// Each output sees exactly the pixel at its place.
    pub(super) fn is_plain(&self) -> bool {
        let Geometry { kernel, stride, padding, end } = self.geometry;
        kernel == [1, 1] && stride == [1, 1] && padding == [0, 0] && end == [0, 0]
    }

    /// Of all images.
    fn all_positions(&self) -> usize {
        self.x.len() / (self.channels * self.size[0] * self.size[1]) * self.positions()
    }

    /// What some positions see, a row for each of them, `pitch` numbers apart, in it a number for each channel and tap of the given ones.
    pub(super) fn lay_out_turned(&self, positions: Range<usize>, rows: Range<usize>, target: &mut [f32], pitch: usize) {
        // Some positions at a time, so that what is laid out for them stays in the first cache.
        const POSITIONS: usize = 256;
        let blocks = target.par_chunks_mut(POSITIONS * pitch).take(positions.len().div_ceil(POSITIONS)).enumerate();
        blocks.with_min_len((TASK / (POSITIONS * rows.len().max(1))).max(1)).for_each(|(block, target)| {
            let first = positions.start + block * POSITIONS;
            let positions = first..positions.end.min(first + POSITIONS);
            let count = positions.len();
            with_scratch(TURNED * count, |laid_out| {
                for first in rows.clone().step_by(TURNED) {
                    let here = first..rows.end.min(first + TURNED);
                    let target = &mut target[first - rows.start..];
                    match Left::in_place(self, here.clone(), positions.clone()) {
                        Some(Rows { values, pitch: source, .. }) => {
                            transpose(values, source, [count, here.len()], target, pitch);
                        }
                        None => {
                            Left::lay_out(self, here.clone(), positions.clone(), laid_out, count);
                            transpose(laid_out, count, [count, here.len()], target, pitch);
                        }
                    }
                }
            });
        });
    }

    fn plane(&self, image: usize, channel: usize) -> &'a [f32] {
        let pixels = self.size[0] * self.size[1];
        &self.x[(image * self.channels + channel) * pixels..][..pixels]
    }

    /// What some positions see: a row for each channel and tap of the given ones, `pitch` numbers apart, in it a number for each
    /// position.
    pub(super) fn lay_out(&self, rows: Range<usize>, positions: Range<usize>, target: &mut [f32], pitch: usize) {
        let taps = self.taps();
        let targets = target.par_chunks_mut(pitch).zip(rows).with_min_len((TASK / pitch.max(1)).max(1));
        if self.is_plain() {
            let pixels = self.positions();
            targets.for_each(|(mut target, channel)| {
                let mut first = positions.start;
                while first < positions.end {
                    let (image, pixel) = (first / pixels, first % pixels);
                    let count = (pixels - pixel).min(positions.end - first);
                    let (here, rest) = target.split_at_mut(count);
                    here.copy_from_slice(&self.plane(image, channel)[pixel..pixel + count]);
                    target = rest;
                    first += count;
                }
            });
            return;
        }
        let taps: Vec<Tap> = (0..taps).map(|tap| self.tap(tap)).collect();
        if self.geometry.stride == [1, 1] && self.output[1] == self.size[1] {
            let runs = self.runs(positions);
            targets.for_each(|(target, row)| {
                let (channel, tap) = (row / taps.len(), &taps[row % taps.len()]);
                in_pieces(target, runs.iter().map(|run| (run, run.positions.len())), |run, target| {
                    self.lay_out_run(run, channel, tap, target);
                });
            });
            return;
        }
        let segments = self.segments(positions);
        targets.for_each(|(target, row)| {
            let (channel, tap) = (row / taps.len(), &taps[row % taps.len()]);
            in_pieces(target, segments.iter().map(|segment| (segment, segment.columns.len())), |segment, target| {
                self.lay_out_segment(segment, channel, tap, target);
            });
        });
    }

    fn segments(&self, positions: Range<usize>) -> Vec<Segment> {
        let [height, width] = self.output;
        let rows = positions.start / width..positions.end.div_ceil(width);
        rows.map(|row| Segment {
            image: row / height,
            row: row % height,
            columns: positions.start.saturating_sub(row * width)..width.min(positions.end - row * width),
        })
        .collect()
    }

    fn runs(&self, positions: Range<usize>) -> Vec<Run> {
        let pixels = self.positions();
        let images = positions.start / pixels..positions.end.div_ceil(pixels);
        images
            .map(|image| Run {
                image,
                positions: positions.start.saturating_sub(image * pixels)..pixels.min(positions.end - image * pixels),
            })
            .collect()
    }

    fn tap(&self, tap: usize) -> Tap {
        let (down, across) = (tap / self.geometry.kernel[1], tap % self.geometry.kernel[1]);
        Tap { down, across, inside: self.columns_inside(across) }
    }

    /// Where rows of outputs are as long as rows of pixels, a tap sees the pixels in their order, shifted: they are copied at
    /// once, and what the edges then see of the next row is cleared.
    #[inline(always)]
    fn lay_out_run(&self, run: &Run, channel: usize, tap: &Tap, target: &mut [f32]) {
        let Range { start, end } = run.positions;
        let [height, width] = self.size;
        let [top, left] = self.geometry.padding;
        let plane = self.plane(run.image, channel);
        // Rows that see a row of the image.
        let from = (top.saturating_sub(tap.down) * width).clamp(start, end);
        let to = ((height + top).saturating_sub(tap.down) * width).clamp(from, end);
        target[..from - start].fill(0.0);
        target[to - start..].fill(0.0);
        if from == to {
            return;
        }
        // The first and the last pixel may be before and after the image, where an edge sees them.
        let (ahead, behind) = (tap.down * width + tap.across, top * width + left);
        let skipped = behind.saturating_sub(from + ahead);
        let over = (to + ahead).saturating_sub(behind + plane.len());
        if from + skipped < to - over {
            let source = &plane[from + skipped + ahead - behind..to - over + ahead - behind];
            copy(source, &mut target[from + skipped - start..to - over - start]);
        }
        let first_row = from - from % width;
        for column in (0..tap.inside.start).chain(tap.inside.end..width) {
            let mut position = first_row + column;
            while position < to {
                if position >= from {
                    target[position - start] = 0.0;
                }
                position += width;
            }
        }
    }

    #[inline(always)]
    fn lay_out_segment(&self, segment: &Segment, channel: usize, tap: &Tap, target: &mut [f32]) {
        let Segment { image, row, columns } = segment;
        let inside = &tap.inside;
        let inside = inside.start.clamp(columns.start, columns.end)..inside.end.clamp(columns.start, columns.end);
        match self.pixels_seen(*row, tap.down, tap.across, inside.clone()) {
            None => target.fill(0.0),
            Some(first) => {
                let plane = self.plane(*image, channel);
                let (from, to) = (inside.start - columns.start, inside.end - columns.start);
                target[..from].fill(0.0);
                target[to..].fill(0.0);
                let target = &mut target[from..to];
                match self.geometry.stride[1] {
                    1 => copy(&plane[first..first + target.len()], target),
                    2 => copy_strided::<2>(&plane[first..], target),
                    step => {
                        for (target, pixel) in target.iter_mut().zip(plane[first..].iter().step_by(step)) {
                            *target = *pixel;
                        }
                    }
                }
            }
        }
    }

    /// The reverse for one channel of one image: adds each number to the pixel that it came from. Numbers of a tap are `pitch` after those of
    /// the tap before.
    pub(super) fn add_back(&self, laid_out: &[f32], pitch: usize, plane: &mut [f32]) {
        let [height, width] = self.output;
        for tap in 0..self.taps() {
            let source = &laid_out[tap * pitch..][..height * width];
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

/// Rows are channels and taps, columns are positions.
impl Left for Images<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.rows(), self.all_positions()]
    }

    fn reach(&self, depth: Range<usize>) -> usize {
        let positions = self.positions();
        match self.is_plain() && positions >= IN_PLACE {
            true => depth.end.min((depth.start / positions + 1) * positions),
            false => depth.end,
        }
    }

    fn in_place(&self, rows: Range<usize>, depth: Range<usize>) -> Option<Rows<'_>> {
        let pixels = self.positions();
        let (image, pixel) = (depth.start / pixels, depth.start % pixels);
        (self.is_plain() && pixel + depth.len() <= pixels).then(|| Rows {
            values: &self.x[(image * self.channels + rows.start) * pixels + pixel..],
            shape: [rows.len(), depth.len()],
            pitch: pixels,
        })
    }

    fn lay_out(&self, rows: Range<usize>, depth: Range<usize>, target: &mut [f32], pitch: usize) {
        Images::lay_out(self, rows, depth, target, pitch);
    }
}

/// Does the work on each piece of a row, compiled for this machine's vector units.
#[inline(always)]
fn in_pieces<T>(target: &mut [f32], pieces: impl Iterator<Item = (T, usize)>, work: impl Fn(T, &mut [f32])) {
    vectorized(
        #[inline(always)]
        || {
            let mut rest = target;
            for (piece, length) in pieces {
                let (here, others) = rest.split_at_mut(length);
                work(piece, here);
                rest = others;
            }
        },
    );
}

/// Copies rows of an image, most of which are too short for a call of the system's function.
#[inline(always)]
fn copy(source: &[f32], target: &mut [f32]) {
    let length = target.len();
    let source = &source[..length];
    if length >= 16 {
        // The last piece overlaps the one before it.
        for (target, source) in target.chunks_exact_mut(16).zip(source.chunks_exact(16)) {
            target.copy_from_slice(source);
        }
        target[length - 16..].copy_from_slice(&source[length - 16..]);
    } else if length >= 8 {
        target[..8].copy_from_slice(&source[..8]);
        target[length - 8..].copy_from_slice(&source[length - 8..]);
    } else if length >= 4 {
        target[..4].copy_from_slice(&source[..4]);
        target[length - 4..].copy_from_slice(&source[length - 4..]);
    } else {
        target.iter_mut().zip(source).for_each(|(target, source)| *target = *source);
    }
}

/// Every `STEP`th pixel.
#[inline(always)]
fn copy_strided<const STEP: usize>(source: &[f32], target: &mut [f32]) {
    let (groups, _) = source.as_chunks::<STEP>();
    let whole = groups.len().min(target.len());
    for (target, group) in target[..whole].iter_mut().zip(&groups[..whole]) {
        *target = group[0];
    }
    // The last group may end with the image.
    for (index, target) in target.iter_mut().enumerate().skip(whole) {
        *target = source[index * STEP];
    }
}
