//! Planes of light-absorbing matter and what can be drawn on them: discs, strokes, cell patterns.

use crate::noise::Stream;
use crate::view::View;

/// Smooth step from 0 at `low` to 1 at `high`.
pub(crate) fn ramp(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A point with the half-width of the stroke there.
pub(crate) type Knot = [f32; 3];

/// Fills what is within `softness` (in units) of the disc; overlapping marks do not add up.
pub(crate) fn disc(plane: &mut [f32], view: &View, centre: [f32; 2], radius: f32, softness: f32, strength: f32) {
    let soft = softness * view.radius;
    capsule(plane, view, [centre[0], centre[1], radius], [centre[0], centre[1], radius], soft, strength);
}

/// A line through the knots, with a hard edge.
pub(crate) fn stroke(plane: &mut [f32], view: &View, knots: &[Knot], strength: f32) {
    soft_stroke(plane, view, knots, 0.0, strength);
}

/// A line through the knots that fades over `softness` (in units) to each side.
pub(crate) fn soft_stroke(plane: &mut [f32], view: &View, knots: &[Knot], softness: f32, strength: f32) {
    for pair in knots.windows(2) {
        capsule(plane, view, pair[0], pair[1], softness * view.radius, strength);
    }
}

/// Moves what is drawn by `amount` (in units) times the two planes of noise, so that nothing stays straight or round.
pub(crate) fn displace(plane: &[f32], view: &View, [across, down]: [&[f32]; 2], amount: f32) -> Vec<f32> {
    let reach = amount * view.radius;
    let (right, bottom) = (view.width as f32 - 1.001, view.height as f32 - 1.001);
    let mut moved = vec![0.0; plane.len()];
    if right <= 0.0 || bottom <= 0.0 {
        return moved;
    }
    for y in view.rows() {
        for x in view.columns() {
            let i = y * view.width + x;
            let from_x = (x as f32 + reach * across[i]).clamp(0.0, right);
            let from_y = (y as f32 + reach * down[i]).clamp(0.0, bottom);
            let (column, row) = (from_x as usize, from_y as usize);
            let (s, t) = (from_x - column as f32, from_y - row as f32);
            let corner = row * view.width + column;
            let top = plane[corner] + s * (plane[corner + 1] - plane[corner]);
            let below = corner + view.width;
            let low = plane[below] + s * (plane[below + 1] - plane[below]);
            moved[i] = top + t * (low - top);
        }
    }
    moved
}

/// One piece of a stroke. What is thinner than a pixel becomes fainter instead, as under a lens.
fn capsule(plane: &mut [f32], view: &View, from: Knot, to: Knot, soft: f32, strength: f32) {
    let (start, end) = (view.pixel([from[0], from[1]]), view.pixel([to[0], to[1]]));
    let (wide, narrow) = (from[2] * view.radius, to[2] * view.radius);
    let widest = wide.max(narrow).max(0.5);
    let strength = strength * (wide.max(narrow) / 0.5).min(1.0);
    let margin = widest + soft + 1.0;
    let span = |a: f32, b: f32, limit: usize| {
        let low = (a.min(b) - margin).floor().clamp(0.0, limit as f32) as usize;
        let high = (a.max(b) + margin).ceil().clamp(0.0, limit as f32) as usize;
        low..high
    };
    let along = [end[0] - start[0], end[1] - start[1]];
    let squared = (along[0] * along[0] + along[1] * along[1]).max(1e-6);
    let inverse = 1.0 / (soft + 1.0);
    let columns = span(start[0], end[0], view.width);
    for y in span(start[1], end[1], view.height) {
        let down = y as f32 + 0.5 - start[1];
        let line = &mut plane[y * view.width..][..view.width];
        for x in columns.clone() {
            let right = x as f32 + 0.5 - start[0];
            let t = ((right * along[0] + down * along[1]) / squared).clamp(0.0, 1.0);
            let (dx, dy) = (right - t * along[0], down - t * along[1]);
            let reach = (wide + t * (narrow - wide)).max(0.5) + 0.5 * soft + 0.5;
            let cover = ((reach - (dx * dx + dy * dy).sqrt()) * inverse).clamp(0.0, 1.0);
            line[x] = line[x].max(strength * cover);
        }
    }
}

/// A jittered honeycomb in lesion units: walls between cells make a pigment network or the septa of lacunae.
pub(crate) struct Honeycomb {
    spacing: f32,
    columns: i32,
    rows: i32,
    seeds: Vec<[f32; 2]>,
}

/// The honeycomb covers the square of this half side.
pub(crate) const REACH: f32 = 1.8;

impl Honeycomb {
    pub(crate) fn new(spacing: f32, jitter: f32, stream: &mut Stream) -> Self {
        let columns = (2.0 * REACH / spacing).ceil() as i32 + 4;
        let rows = (2.0 * REACH / (spacing * 0.866)).ceil() as i32 + 4;
        let mut seeds = Vec::with_capacity((columns * rows) as usize);
        for row in 0..rows {
            for column in 0..columns {
                let shift = if row % 2 == 0 { 0.25 } else { 0.75 };
                let x = column as f32 + shift + jitter * stream.range(-0.5, 0.5);
                let y = row as f32 + 0.5 + jitter * stream.range(-0.5, 0.5);
                seeds.push([x, y * 0.866]);
            }
        }
        Self { spacing, columns, rows, seeds }
    }

    /// Cell centres in lesion units.
    pub(crate) fn centres(&self) -> impl Iterator<Item = [f32; 2]> + '_ {
        let place =
            |seed: &[f32; 2]| [(seed[0] - 2.0) * self.spacing - REACH, (seed[1] - 2.0 * 0.866) * self.spacing - REACH];
        self.seeds.iter().map(place)
    }

    /// Distance from the nearest wall, in spacings: 0 on a wall, about 0.5 in the middle of a cell.
    pub(crate) fn wall_distance(&self, u: f32, v: f32) -> f32 {
        let (x, y) = ((u + REACH) / self.spacing + 2.0, (v + REACH) / self.spacing + 2.0 * 0.866);
        let (row, column) = ((y / 0.866).floor() as i32, x.floor() as i32);
        let row = row.clamp(1, self.rows - 2);
        let column = column.clamp(1, self.columns - 2);
        let (mut nearest, mut second) = (f32::MAX, f32::MAX);
        for neighbour in row - 1..=row + 1 {
            let from = (neighbour * self.columns + column - 1) as usize;
            for seed in &self.seeds[from..from + 3] {
                let (dx, dy) = (seed[0] - x, seed[1] - y);
                let squared = dx * dx + dy * dy;
                second = second.min(squared.max(nearest));
                nearest = nearest.min(squared);
            }
        }
        (second.sqrt() - nearest.sqrt()) * 0.5
    }
}
