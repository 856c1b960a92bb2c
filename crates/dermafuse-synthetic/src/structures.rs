//! Six of the seven criteria: network, streaks, pigmentation, regression, dots and globules, veil.

use std::f32::consts::TAU;

use crate::body::Layers;
use crate::canvas::{Honeycomb, Knot, disc, ramp, soft_stroke};
use crate::noise::{Stream, derive, fractal};
use crate::shape::Shape;
use crate::view::View;
use crate::{Lesion, Pattern, Regression};

/// Draws all of them, the deepest last. `clarity` scales their contrast.
pub(crate) fn draw(lesion: &Lesion, shape: &Shape, view: &View, clarity: f32, layers: &mut Layers) {
    network(lesion, view, clarity, layers);
    pigmentation(lesion, view, clarity, layers);
    dots(lesion, shape, view, clarity, layers);
    streaks(lesion, shape, view, clarity, layers);
    regression(lesion, view, clarity, layers);
    veil(lesion, view, clarity, layers);
}

/// Brown lines around pale holes: even and fine, or broken, thick and in patches.
fn network(lesion: &Lesion, view: &View, clarity: f32, layers: &mut Layers) {
    let irregular = match lesion.network {
        Pattern::Absent => return,
        Pattern::Regular => false,
        Pattern::Irregular => true,
    };
    let mut stream = Stream::new(lesion.seed, "network");
    let (spacing, jitter) = if irregular { (0.31, 1.0) } else { (0.225, 0.38) };
    let cells = Honeycomb::new(spacing, jitter, &mut stream);
    let [bend, skew] = layers.bends.each_ref();
    let weight = fractal(view, 1.7, 2, derive(lesion.seed, "network weight"));
    let warp = if irregular { 0.10 } else { 0.035 };
    for y in view.rows() {
        for x in view.columns() {
            let i = y * view.width + x;
            let mut there = layers.inside[i] * ramp(-0.02, if irregular { 0.08 } else { 0.25 }, layers.depth[i]);
            let mut width = 0.02;
            if irregular {
                there *= ramp(-0.5, -0.1, weight[i]);
                width = (0.06 + 0.18 * weight[i] + 0.08 * bend[i]).clamp(0.0, 0.22);
            }
            if there <= 0.0 {
                continue;
            }
            let wall = cells.wall_distance(view.u(x) + warp * bend[i], view.v(y) + warp * skew[i]);
            let line = (1.0 - ramp(width - 0.04, width + 0.2, wall)) * (1.0 + 0.4 * layers.grain[i] + 0.2 * weight[i]);
            let melanin = &mut layers.melanin[i];
            *melanin *= 1.0 - 0.5 * clarity * there * (1.0 - line.min(1.0));
            *melanin += clarity * there * line * if irregular { 2.0 } else { 1.55 };
        }
    }
}

/// Dark areas without structure: one in the middle, or several off it.
fn pigmentation(lesion: &Lesion, view: &View, clarity: f32, layers: &mut Layers) {
    if lesion.pigmentation == Pattern::Absent {
        return;
    }
    let regular = lesion.pigmentation == Pattern::Regular;
    let mut stream = Stream::new(lesion.seed, "pigmentation");
    let blobs: Vec<Knot> = match (regular, lesion.localized) {
        (true, false) => vec![[0.0, 0.0, 0.62]],
        (true, true) => vec![[0.0, 0.0, 0.34]],
        (false, localized) => {
            let angle = stream.angle();
            let count = if localized { 1 } else { 3 };
            let part = |index: usize| {
                let angle = angle + index as f32 * stream.range(0.8, 1.5);
                let far = stream.range(0.42, 0.68);
                [far * angle.cos(), far * angle.sin(), stream.range(0.26, 0.42)]
            };
            (0..count).map(part).collect()
        }
    };
    let rough = fractal(view, 2.6, 3, derive(lesion.seed, "blotch"));
    let (amount, soft) = if regular { (0.08, 0.22) } else { (0.30, 0.13) };
    for_each_blob(view, &blobs, &rough, amount, soft, |i, cover| {
        layers.melanin[i] += 1.9 * clarity * cover * layers.inside[i] * (1.0 + 0.25 * rough[i] + 0.2 * layers.grain[i]);
    });
}

/// Calls with the coverage of every pixel that a rough-edged blob (a centre and a radius) covers.
fn for_each_blob(
    view: &View,
    blobs: &[Knot],
    rough: &[f32],
    amount: f32,
    soft: f32,
    mut paint: impl FnMut(usize, f32),
) {
    for y in view.rows() {
        for x in view.columns() {
            let i = y * view.width + x;
            let (u, v) = (view.u(x), view.v(y));
            let near = |blob: &Knot| {
                let (dx, dy) = (u - blob[0], v - blob[1]);
                blob[2] - (dx * dx + dy * dy).sqrt()
            };
            let depth = blobs.iter().map(near).fold(f32::MIN, f32::max) + amount * rough[i];
            let cover = ramp(-soft, soft, depth);
            if cover > 0.0 {
                paint(i, cover);
            }
        }
    }
}

/// Round brown marks: alike and evenly spread, or of all sizes and crowded to a side.
fn dots(lesion: &Lesion, shape: &Shape, view: &View, clarity: f32, layers: &mut Layers) {
    let mut stream = Stream::new(lesion.seed, "dots");
    let mut marks: Vec<Knot> = Vec::new();
    match lesion.dots {
        Pattern::Absent => return,
        Pattern::Regular => {
            let grid = Honeycomb::new(0.265, 0.45, &mut stream);
            let size = stream.range(0.058, 0.07);
            let placed = grid.centres().filter(|&at| shape.depth_at(at) > 0.1);
            marks.extend(placed.map(|at| [at[0], at[1], size * stream.range(0.88, 1.12)]));
        }
        Pattern::Irregular => {
            let (angle, lean) = (stream.angle(), stream.range(0.2, 0.5));
            let wanted = stream.count(18, 30);
            while marks.len() < wanted {
                let (far, around) = (stream.unit().sqrt() * 0.75, stream.angle());
                let at = [far * around.cos() + lean * angle.cos(), far * around.sin() + lean * angle.sin()];
                let large = stream.chance(0.3);
                let size = if large { stream.range(0.10, 0.16) } else { stream.range(0.03, 0.07) };
                if shape.depth_at(at) > -0.03 {
                    marks.push([at[0], at[1], size]);
                }
            }
        }
    }
    let mut plane = vec![0.0; view.len()];
    for mark in &marks {
        disc(&mut plane, view, [mark[0], mark[1]], mark[2], 0.045, 0.75 + 0.25 * (31.0 * mark[0]).sin());
    }
    let plane = layers.settle(view, &plane, 0.04);
    for (melanin, cover) in layers.melanin.iter_mut().zip(&plane) {
        *melanin += 2.0 * clarity * cover;
    }
}

/// Dark spokes across the border: all around, or on one side and uneven.
fn streaks(lesion: &Lesion, shape: &Shape, view: &View, clarity: f32, layers: &mut Layers) {
    let mut stream = Stream::new(lesion.seed, "streaks");
    let mut plane = vec![0.0; view.len()];
    let mut spoke = |angle: f32, inner: f32, outer: f32, width: f32, bend: f32, bulb: bool| {
        let border = shape.radius(angle);
        let point = |part: f32| {
            let far = border * (1.0 + inner + (outer - inner) * part);
            let angle = angle + bend * part * part;
            [far * angle.cos(), far * angle.sin()]
        };
        let knots: Vec<Knot> = (0..=4)
            .map(|step| {
                let part = step as f32 / 4.0;
                let [u, v] = point(part);
                [u, v, width * if bulb { 0.9 } else { 1.25 - 0.95 * part }]
            })
            .collect();
        soft_stroke(&mut plane, view, &knots, 0.03, 1.0);
        if bulb {
            disc(&mut plane, view, point(1.0), 1.45 * width, 0.03, 1.0);
        }
    };
    match lesion.streaks {
        Pattern::Absent => return,
        Pattern::Regular => {
            let count = stream.count(26, 32);
            let start = stream.angle();
            for index in 0..count {
                let angle = start + (index as f32 + stream.range(-0.18, 0.18)) * TAU / count as f32;
                let (outer, bend) = (stream.range(0.07, 0.15), stream.range(-0.03, 0.03));
                spoke(angle, -0.26, outer, 0.038, bend, false);
            }
        }
        Pattern::Irregular => {
            let (start, arc) = (stream.angle(), stream.range(1.5, 2.7));
            for _ in 0..stream.count(9, 13) {
                let angle = start + arc * stream.unit();
                let outer = stream.range(0.06, 0.32);
                let (width, bend) = (stream.range(0.024, 0.055), stream.range(-0.15, 0.15));
                spoke(angle, -0.2, outer, width, bend, stream.chance(0.4));
            }
        }
    }
    let plane = layers.settle(view, &plane, 0.035);
    for (melanin, cover) in layers.melanin.iter_mut().zip(&plane) {
        *melanin += 2.1 * clarity * cover;
    }
}

/// Where the lesion regresses; vessels within regression keep to the same place.
pub(crate) fn regression_blobs(seed: u64) -> Vec<Knot> {
    let mut stream = Stream::new(seed, "regression");
    let (angle, far) = (stream.angle(), stream.range(0.2, 0.45));
    let second = angle + stream.range(0.7, 1.3);
    vec![
        [far * angle.cos(), far * angle.sin(), stream.range(0.34, 0.44)],
        [0.55 * second.cos(), 0.55 * second.sin(), stream.range(0.18, 0.28)],
    ]
}

/// Scar-like white where pigment is gone, blue-grey peppering where it sank.
fn regression(lesion: &Lesion, view: &View, clarity: f32, layers: &mut Layers) {
    let (white, blue) = match lesion.regression {
        Regression::Absent => return,
        Regression::BlueAreas => (0.0, 1.0),
        Regression::WhiteAreas => (1.0, 0.0),
        Regression::Combinations => (0.8, 0.8),
    };
    let blobs = regression_blobs(lesion.seed);
    let rough = fractal(view, 2.4, 3, derive(lesion.seed, "regression edge"));
    let mut pepper = vec![0.0; view.len()];
    let mut stream = Stream::new(lesion.seed, "pepper");
    for blob in &blobs {
        for _ in 0..(260.0 * blob[2] * blob[2]) as usize {
            let (far, angle) = (blob[2] * 1.05 * stream.unit().sqrt(), stream.angle());
            let at = [blob[0] + far * angle.cos(), blob[1] + far * angle.sin()];
            disc(&mut pepper, view, at, stream.range(0.018, 0.034), 0.02, 1.0);
        }
    }
    let pepper = layers.settle(view, &pepper, 0.03);
    for_each_blob(view, &blobs, &rough, 0.24, 0.13, |i, cover| {
        let cover = cover * clarity * layers.inside[i];
        let gone = cover * f32::max(0.92 * white, 0.62 * blue);
        layers.melanin[i] *= 1.0 - gone;
        layers.blood[i] *= 1.0 - 0.6 * gone;
        layers.white[i] = layers.white[i].max(cover * white * (0.6 + 0.2 * rough[i] + 0.12 * layers.grain[i]));
        layers.blue[i] = layers.blue[i].max(cover * blue * (0.22 + 0.62 * pepper[i]));
    });
}

/// A confluent blue area under a whitish film, off the centre.
fn veil(lesion: &Lesion, view: &View, clarity: f32, layers: &mut Layers) {
    if !lesion.veil {
        return;
    }
    let mut stream = Stream::new(lesion.seed, "veil");
    let (angle, far) = (stream.angle(), stream.range(0.15, 0.4));
    let beside = angle + stream.range(-0.9, 0.9);
    let blobs = [
        [far * angle.cos(), far * angle.sin(), stream.range(0.42, 0.56)],
        [0.6 * beside.cos(), 0.6 * beside.sin(), stream.range(0.2, 0.32)],
    ];
    let rough = fractal(view, 2.0, 4, derive(lesion.seed, "veil edge"));
    for_each_blob(view, &blobs, &rough, 0.25, 0.24, |i, cover| {
        let cover = cover * clarity * layers.inside[i];
        layers.melanin[i] += cover * (0.9 - 0.3 * layers.melanin[i]);
        layers.blue[i] = layers.blue[i].max(cover * (0.74 + 0.2 * rough[i] + 0.08 * layers.grain[i]).clamp(0.4, 0.92));
        layers.white[i] = layers.white[i].max(0.16 * cover * (1.0 + 1.6 * rough[i]).max(0.0));
    });
}
