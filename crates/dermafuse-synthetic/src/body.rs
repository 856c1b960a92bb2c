//! The lesion without its seven criteria: what its diagnosis looks like.

use crate::canvas::{Honeycomb, disc, displace, ramp};
use crate::noise::{Stream, derive, fractal};
use crate::shape::Shape;
use crate::view::View;
use crate::{Diagnosis, Lesion};

/// What absorbs or scatters light, per pixel, from the surface down.
pub(crate) struct Layers {
    /// Brown pigment, as optical density.
    pub(crate) melanin: Vec<f32>,
    /// Blood, as optical density.
    pub(crate) blood: Vec<f32>,
    /// Pigment so deep that it looks blue, as coverage.
    pub(crate) blue: Vec<f32>,
    /// Scar or keratin, as coverage.
    pub(crate) white: Vec<f32>,
    /// 1 inside the lesion, 0 outside, soft between.
    pub(crate) inside: Vec<f32>,
    /// 1 in the centre, 0 on the outline, negative outside.
    pub(crate) depth: Vec<f32>,
    /// Noise that bends what is drawn, across and down.
    pub(crate) bends: [Vec<f32>; 2],
    /// Fine noise that mottles what is drawn.
    pub(crate) grain: Vec<f32>,
}

impl Layers {
    pub(crate) fn of(lesion: &Lesion, shape: &Shape, view: &View, clarity: f32) -> Self {
        let depth = shape.depth(view, lesion.seed);
        let softness = match (lesion.diagnosis, lesion.subtype) {
            (Diagnosis::SeborrheicKeratosis, _) | (_, "vascular lesion") => 0.035,
            (Diagnosis::Melanoma | Diagnosis::Miscellaneous, _) => 0.09,
            _ => 0.13,
        };
        let inside: Vec<f32> = depth.iter().map(|&depth| ramp(-softness, softness, depth)).collect();
        let empty = || vec![0.0; view.len()];
        let bends = ["across", "down"].map(|tag| fractal(view, 3.4, 3, derive(lesion.seed, tag)));
        let grain = fractal(view, 9.0, 3, derive(lesion.seed, "grain"));
        let mut layers =
            Self { melanin: empty(), blood: empty(), blue: empty(), white: empty(), inside, depth, bends, grain };
        layers.paint(lesion, shape, view, clarity);
        layers
    }

    /// What was drawn with clean edges, as it looks in tissue: displaced by `amount` and mottled.
    pub(crate) fn settle(&self, view: &View, plane: &[f32], amount: f32) -> Vec<f32> {
        let mut settled = displace(plane, view, [&self.bends[0], &self.bends[1]], amount);
        settled.iter_mut().zip(&self.grain).for_each(|(value, grain)| *value *= 1.0 + 0.4 * grain);
        settled
    }

    fn paint(&mut self, lesion: &Lesion, shape: &Shape, view: &View, clarity: f32) {
        let mut stream = Stream::new(lesion.seed, "body");
        let coarse = fractal(view, 1.3, 3, derive(lesion.seed, "coarse"));
        let fine = fractal(view, 5.0, 4, derive(lesion.seed, "fine"));
        let base = stream.range(0.65, 1.4);
        let ruddy = stream.range(0.05, 0.35);
        // What sets the diagnosis apart fades with the structures, but not as far.
        let telling = (0.3 + 0.7 * clarity).min(1.0) * stream.range(0.35, 1.0);
        let lean = stream.angle();
        let lean = [lean.cos(), lean.sin()];
        let mark = |plane: &mut Vec<f32>, value: &dyn Fn(usize) -> f32| {
            plane.iter_mut().enumerate().for_each(|(i, pixel)| *pixel = value(i));
        };
        let Self { melanin, blood, blue, white, inside, depth, bends, grain } = self;
        match (lesion.diagnosis, lesion.subtype) {
            (Diagnosis::Nevus, "blue nevus") => {
                mark(melanin, &|i| inside[i] * (0.75 + 0.2 * coarse[i]));
                mark(blue, &|i| inside[i] * (0.5 + 0.15 * coarse[i] + 0.1 * fine[i]).clamp(0.0, 0.8));
            }
            (Diagnosis::Nevus, "dermal nevus") => {
                mark(melanin, &|i| inside[i] * base * (0.5 + 0.12 * coarse[i] + 0.15 * fine[i]));
                mark(blood, &|i| inside[i] * (0.3 + 0.1 * coarse[i]));
            }
            (Diagnosis::Nevus, _) => {
                mark(melanin, &|i| {
                    let centre = ramp(0.0, 0.8, depth[i]);
                    inside[i]
                        * base
                        * (0.72 + 0.5 * centre + 0.16 * coarse[i] + 0.2 * fine[i] + 0.12 * grain[i]).max(0.1)
                });
                mark(blood, &|i| inside[i] * ruddy);
            }
            (Diagnosis::Melanoma, _) => {
                let patches = fractal(view, 1.6, 2, derive(lesion.seed, "patches"));
                mark(melanin, &|i| {
                    let (x, y) = (i % view.width, i / view.width);
                    let slope = view.u(x) * lean[0] + view.v(y) * lean[1];
                    let tone = 1.0 + telling * (0.35 + 0.75 * slope + 1.2 * coarse[i] + 0.45 * fine[i]);
                    inside[i] * base * tone.clamp(0.25, 2.9)
                });
                mark(blood, &|i| inside[i] * (0.15 + 0.75 * telling * ramp(-0.05, 0.8, patches[i] + 0.15 * fine[i])));
                mark(blue, &|i| inside[i] * 0.2 * telling * ramp(0.1, 0.8, -patches[i]));
            }
            (Diagnosis::BasalCellCarcinoma, _) => {
                mark(melanin, &|i| inside[i] * (0.08 + 0.6 * (1.0 - telling)) * (1.0 + fine[i]));
                mark(blood, &|i| inside[i] * (0.5 + 0.25 * coarse[i] + 0.1 * fine[i]).max(0.0));
                mark(white, &|i| inside[i] * telling * (0.18 + 0.2 * coarse[i]).max(0.0));
                let mut nests = vec![0.0; view.len()];
                for _ in 0..stream.count(4, 8) {
                    let (angle, size) = (stream.angle(), stream.range(0.06, 0.13));
                    let far = shape.radius(angle) * stream.range(0.35, 0.9);
                    for _ in 0..4 {
                        let centre =
                            [far * angle.cos() + size * stream.normal(), far * angle.sin() + size * stream.normal()];
                        disc(&mut nests, view, centre, size * stream.range(0.6, 1.2), 0.08, 1.0);
                    }
                }
                let nests = displace(&nests, view, [&bends[0], &bends[1]], 0.11);
                for (i, nest) in nests.iter().enumerate() {
                    let nest = nest * (0.85 + 0.35 * fine[i]);
                    blue[i] = nest * (0.15 + 0.6 * clarity).min(0.85);
                    melanin[i] += nest * (0.35 + 0.75 * clarity);
                }
                if stream.chance(0.4) {
                    let centre = [stream.range(-0.3, 0.3), stream.range(-0.3, 0.3)];
                    disc(blood, view, centre, stream.range(0.12, 0.2), 0.08, 0.6 + telling);
                }
            }
            (Diagnosis::SeborrheicKeratosis, _) => {
                mark(melanin, &|i| {
                    let furrow = 1.0 - ramp(0.0, 0.24, (coarse[i] + 0.4 * fine[i]).abs());
                    inside[i] * base * (0.72 + 0.25 * fine[i] + 0.15 * grain[i] + 0.55 * clarity * furrow).max(0.1)
                });
                mark(white, &|i| inside[i] * telling * (0.12 + 0.1 * fine[i]).clamp(0.0, 0.3));
                let spots = |stream: &mut Stream, plane: &mut Vec<f32>, count: usize, size: [f32; 2], strength| {
                    for _ in 0..count {
                        let (angle, part) = (stream.angle(), stream.unit().sqrt() * 0.85);
                        let far = part * shape.radius(angle);
                        let centre = [far * angle.cos(), far * angle.sin()];
                        disc(plane, view, centre, stream.range(size[0], size[1]), 0.035, strength);
                    }
                    *plane = displace(plane, view, [&bends[0], &bends[1]], 0.035);
                };
                let (cysts, openings) = (stream.count(9, 17), stream.count(4, 9));
                spots(&mut stream, white, cysts, [0.035, 0.075], (0.15 + 0.65 * clarity).min(0.85));
                spots(&mut stream, melanin, openings, [0.045, 0.09], 0.6 + 1.9 * clarity);
            }
            (Diagnosis::Miscellaneous, "vascular lesion") => {
                let cells = Honeycomb::new(0.42, 0.7, &mut Stream::new(lesion.seed, "lacunae"));
                let purple = stream.range(0.0, 0.35);
                for y in 0..view.height {
                    for x in 0..view.width {
                        let i = y * view.width + x;
                        if inside[i] > 0.0 {
                            let wall =
                                cells.wall_distance(view.u(x) + 0.12 * bends[0][i], view.v(y) + 0.12 * bends[1][i]);
                            let pool = ramp(0.0, 0.2, wall);
                            blood[i] = inside[i] * (0.75 + (0.5 + 0.9 * clarity) * pool * (1.0 + 0.3 * coarse[i]));
                            blue[i] = inside[i] * purple * pool;
                            white[i] = inside[i] * 0.2 * (1.0 - pool) * clarity;
                        }
                    }
                }
            }
            (Diagnosis::Miscellaneous, "dermatofibroma") => {
                mark(melanin, &|i| inside[i] * (0.62 + 0.15 * fine[i]) * (1.0 - 0.8 * ramp(0.35, 0.75, depth[i])));
                mark(blood, &|i| inside[i] * 0.28);
                mark(white, &|i| 0.55 * telling * ramp(0.35, 0.8, depth[i] + 0.1 * coarse[i]) * (0.85 + 0.3 * fine[i]));
            }
            (Diagnosis::Miscellaneous, "melanosis") => {
                mark(melanin, &|i| inside[i] * base * (0.6 + 0.35 * coarse[i] + 0.2 * fine[i]).max(0.08));
                mark(blue, &|i| inside[i] * (0.2 + 0.15 * coarse[i]).clamp(0.0, 0.4));
            }
            (Diagnosis::Miscellaneous, "lentigo") => {
                mark(melanin, &|i| inside[i] * base * (0.62 + 0.08 * coarse[i] + 0.12 * fine[i]));
            }
            (Diagnosis::Miscellaneous, _) => {
                mark(melanin, &|i| inside[i] * (0.35 + 0.2 * fine[i]).max(0.0));
                mark(blood, &|i| inside[i] * (0.55 + 0.3 * coarse[i]).max(0.0));
                mark(white, &|i| inside[i] * 0.5 * ramp(0.2, 0.6, fine[i]));
            }
        }
    }
}
