//! The outline of a lesion.

use std::f32::consts::TAU;

use crate::noise::{Stream, derive, fractal};
use crate::view::View;
use crate::{Diagnosis, Lesion};

const STEPS: usize = 256;

/// A closed outline around the origin: its distance for each direction, in units of the mean radius.
pub(crate) struct Shape {
    radii: Vec<f32>,
    /// How much fine noise frays the border.
    frayed: f32,
}

/// The direction of a vector as a part of a turn in `[0, 1)`. A polynomial: exact to 1e-3 turns, and free of calls.
fn turn(u: f32, v: f32) -> f32 {
    let (a, b) = (u.abs(), v.abs());
    let ratio = a.min(b) / a.max(b).max(1e-9);
    let squared = ratio * ratio;
    let octant = ratio * (0.158_96 + squared * (-0.050_84 + squared * 0.016_89));
    let quarter = if b > a { 0.25 - octant } else { octant };
    let half = if u < 0.0 { 0.5 - quarter } else { quarter };
    (if v < 0.0 { 1.0 - half } else { half }).clamp(0.0, 0.999_999)
}

impl Shape {
    pub(crate) fn of(lesion: &Lesion) -> Self {
        let mut stream = Stream::new(lesion.seed, "outline");
        let (stretch, irregular, frayed) = match (lesion.diagnosis, lesion.subtype) {
            (Diagnosis::Nevus, _) => (0.14, 0.018, 0.07),
            (Diagnosis::Melanoma, _) => (0.20, 0.062, 0.12),
            (Diagnosis::BasalCellCarcinoma, _) => (0.15, 0.045, 0.06),
            (Diagnosis::SeborrheicKeratosis, _) => (0.15, 0.03, 0.025),
            (Diagnosis::Miscellaneous, "lentigo" | "melanosis") => (0.15, 0.05, 0.11),
            (Diagnosis::Miscellaneous, _) => (0.10, 0.025, 0.05),
        };
        let stretch = stretch * stream.range(0.3, 1.0);
        let irregular = irregular * stream.range(0.5, 1.3);
        let axis = stream.angle();
        let waves: Vec<(f32, f32, f32)> = (1..=9)
            .map(|order| {
                let order = order as f32;
                (order, irregular * 1.6 / order.powf(0.65) * stream.normal(), stream.angle())
            })
            .collect();
        let radius = |step: usize| {
            let angle = step as f32 / STEPS as f32 * TAU;
            let oval = 1.0 + stretch * (2.0 * (angle - axis)).cos();
            let bumps: f32 = waves.iter().map(|(order, size, phase)| size * (order * angle + phase).cos()).sum();
            (oval + bumps).clamp(0.55, 1.4)
        };
        let radii: Vec<f32> = (0..STEPS).map(radius).collect();
        let mean = radii.iter().sum::<f32>() / STEPS as f32;
        let mut radii: Vec<f32> = radii.into_iter().map(|radius| radius / mean).collect();
        radii.push(radii[0]);
        Self { radii, frayed }
    }

    /// The outline's distance from the origin in a direction (radians).
    pub(crate) fn radius(&self, angle: f32) -> f32 {
        self.at(turn(angle.cos(), angle.sin()))
    }

    fn at(&self, turn: f32) -> f32 {
        let place = turn * STEPS as f32;
        let step = place as usize;
        self.radii[step] + (place - step as f32) * (self.radii[step + 1] - self.radii[step])
    }

    /// How deep each pixel lies inside: 1 in the centre, 0 on the outline, negative outside.
    pub(crate) fn depth(&self, view: &View, seed: u64) -> Vec<f32> {
        let frays = fractal(view, 3.2, 4, derive(seed, "border"));
        let mut plane = vec![-1.0; view.len()];
        for y in view.rows() {
            let v = view.v(y);
            for x in view.columns() {
                let (i, u) = (y * view.width + x, view.u(x));
                plane[i] = 1.0 - (u * u + v * v).sqrt() / self.at(turn(u, v)) + self.frayed * frays[i];
            }
        }
        plane
    }

    /// How deep a point lies inside, without the fraying.
    pub(crate) fn depth_at(&self, point: [f32; 2]) -> f32 {
        1.0 - (point[0] * point[0] + point[1] * point[1]).sqrt() / self.at(turn(point[0], point[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_goes_round_once() {
        for step in 0..64 {
            let angle = step as f32 / 64.0 * TAU;
            let found = turn(angle.cos(), angle.sin());
            let off = (found - step as f32 / 64.0).abs();
            assert!(off.min(1.0 - off) < 2e-3, "{step}: {found}");
        }
    }
}
