//! Reproducible random draws and smooth noise. In-house, so that a picture of a given seed does not change when a
//! random-number crate does.

use crate::view::View;

/// A stream of draws (SplitMix64), named by a seed and a tag: streams with different tags are independent, so that
/// switching one structure off leaves all the others where they were.
#[derive(Clone, Debug)]
pub(crate) struct Stream(u64);

fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The seed of a part of something that has a seed.
pub(crate) fn derive(seed: u64, tag: &str) -> u64 {
    let fold = |state: u64, byte: u8| scramble(state.wrapping_add(u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    tag.bytes().fold(scramble(seed ^ 0x5851_f42d_4c95_7f2d), fold)
}

impl Stream {
    pub(crate) fn new(seed: u64, tag: &str) -> Self {
        Self(derive(seed, tag))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform integer in `low..=high`.
    pub(crate) fn count(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Close to a standard normal: the sum of twelve uniforms, centred.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    /// An angle in radians.
    pub(crate) fn angle(&mut self) -> f32 {
        self.range(0.0, std::f32::consts::TAU)
    }

    /// An index drawn in proportion to the weights.
    pub(crate) fn weighted(&mut self, weights: &[f32]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f32>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.count(0, last));
        }
    }
}

/// The slope at a lattice point: two numbers in `[-1, 1)`.
fn slope(column: i32, row: i32, seed: u64) -> [f32; 2] {
    let cell = (u64::from(column as u32) << 32) | u64::from(row as u32);
    let bits = scramble(scramble(cell ^ seed).wrapping_add(seed));
    [bits >> 40, (bits >> 8) & 0xff_ffff].map(|part| part as f32 / (1 << 23) as f32 - 1.0)
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

/// Fractal gradient noise over the view, roughly within `[-1, 1]`: `octaves` layers, the first with `frequency` cells
/// for each unit of the view, each next one twice as fine and half as strong.
pub(crate) fn fractal(view: &View, frequency: f32, octaves: u32, seed: u64) -> Vec<f32> {
    fractal_stretched(view, [frequency, frequency], octaves, seed)
}

/// As [`fractal`], with one frequency across and another down.
pub(crate) fn fractal_stretched(view: &View, frequency: [f32; 2], octaves: u32, seed: u64) -> Vec<f32> {
    let mut plane = vec![0.0; view.len()];
    let (mut gain, mut scale) = (1.0f32, 1.0f32);
    for octave in 0..octaves {
        let layer = scramble(seed.wrapping_add(u64::from(octave)));
        add_layer(view, &mut plane, [frequency[0] * scale, frequency[1] * scale], gain, layer);
        (gain, scale) = (gain * 0.5, scale * 2.03);
    }
    plane
}

/// Gradient noise is linear in the place across, given the place down: the rows above and below are joined once, and
/// the inner loop runs over the pixels of one cell, where nothing else changes.
fn add_layer(view: &View, plane: &mut [f32], frequency: [f32; 2], gain: f32, seed: u64) {
    let columns = view.columns();
    if columns.is_empty() || frequency[0].max(frequency[1]) > view.radius {
        return; // cells smaller than a pixel
    }
    let places: Vec<f32> = columns.clone().map(|x| view.u(x) * frequency[0]).collect();
    let right: Vec<f32> = places.iter().map(|place| place - place.floor()).collect();
    let across: Vec<f32> = right.iter().map(|right| fade(*right)).collect();
    let cell_of = |place: f32| place.floor() as i32;
    let runs: Vec<usize> = places.chunk_by(|a, b| cell_of(*a) == cell_of(*b)).map(<[f32]>::len).collect();
    let first = cell_of(places[0]);
    let row_of = |row: i32| (0..=runs.len() as i32).map(|cell| slope(first + cell, row, seed)).collect::<Vec<_>>();
    let mut current = None;
    let (mut above, mut below) = (Vec::new(), Vec::new());
    // For each column of the lattice: the slope across, and the height at the lattice point's own place across.
    let mut joined = vec![[0.0; 2]; runs.len() + 1];
    // Brings the usual range of the sum to about [-1, 1].
    let gain = 1.7 * gain;
    for y in view.rows() {
        let position = view.v(y) * frequency[1];
        let row = position.floor() as i32;
        if current != Some(row) {
            (above, below, current) = (row_of(row), row_of(row + 1), Some(row));
        }
        let down = position - position.floor();
        let t = fade(down);
        for ((joined, top), bottom) in joined.iter_mut().zip(&above).zip(&below) {
            let blend = |top: f32, bottom: f32| gain * (top + t * (bottom - top));
            *joined = [blend(top[0], bottom[0]), blend(top[1] * down, bottom[1] * (down - 1.0))];
        }
        let line = &mut plane[y * view.width..][columns.clone()];
        let mut start = 0;
        for (pair, run) in joined.windows(2).zip(&runs) {
            let run = start..start + run;
            start = run.end;
            for ((pixel, right), t) in line[run.clone()].iter_mut().zip(&right[run.clone()]).zip(&across[run]) {
                let (here, there) = (pair[0][0] * right + pair[0][1], pair[1][0] * (right - 1.0) + pair[1][1]);
                *pixel += here + t * (there - here);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_smooth_centred_and_a_function_of_the_seed() {
        let view = View { width: 96, height: 64, centre: [48.0, 32.0], radius: 32.0, reach: f32::INFINITY };
        let plane = fractal(&view, 2.0, 3, 5);
        assert_eq!(plane, fractal(&view, 2.0, 3, 5));
        assert_ne!(plane, fractal(&view, 2.0, 3, 6));
        let mean = plane.iter().sum::<f32>() / plane.len() as f32;
        assert!(mean.abs() < 0.3, "{mean}");
        let steepest = plane.windows(2).enumerate().filter(|(i, _)| i % 96 != 95).map(|(_, w)| (w[1] - w[0]).abs());
        assert!(steepest.fold(0.0, f32::max) < 0.6);
    }

    #[test]
    fn draws_follow_their_weights() {
        let mut stream = Stream::new(1, "weights");
        let mut counts = [0; 3];
        (0..4000).for_each(|_| counts[stream.weighted(&[1.0, 0.0, 3.0])] += 1);
        assert_eq!(counts[1], 0);
        assert!((900..1100).contains(&counts[0]), "{counts:?}");
    }
}
