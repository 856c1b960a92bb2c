//! All that is in a picture besides the lesion: skin, light, hairs, and what each instrument leaves behind.

use dermafuse_data::Modality;

use crate::body::Layers;
use crate::canvas::{Knot, disc, ramp, stroke};
use crate::noise::{Stream, derive, fractal, fractal_stretched};
use crate::view::View;

/// What the camera adds on top of the layers.
pub(crate) struct Scene {
    /// Colour of the light.
    pub(crate) tint: [f32; 3],
    /// Brightness of the light, per pixel.
    pub(crate) light: Vec<f32>,
    /// Reflections, added.
    pub(crate) gloss: Vec<f32>,
    /// Coverage by hairs and marks, which are nearly black.
    pub(crate) dark: Vec<f32>,
    /// How far the lens spreads a point, in picture heights.
    pub(crate) blur: f32,
}

/// Adds the skin's own pigment and blood to the layers and returns the rest.
pub(crate) fn set(seed: u64, modality: Modality, view: &View, layers: &mut Layers) -> Scene {
    let frame = view.frame();
    let mut stream = Stream::new(seed, "skin");
    let tones = [0.04, 0.12, 0.24, 0.42, 0.75];
    let tone = tones[stream.weighted(&[3.0, 3.0, 2.0, 1.0, 0.5])] * stream.range(0.85, 1.2);
    let flush = stream.range(0.02, 0.15);
    let mottle = fractal(&frame, 2.5, 4, derive(seed, "mottle"));
    let flushes = fractal(&frame, 1.4, 2, derive(seed, "flush"));
    for i in 0..view.len() {
        layers.melanin[i] += tone * (1.0 + 0.16 * mottle[i]) + 0.015;
        layers.blood[i] += flush * (1.0 + 0.5 * flushes[i]) + 0.03 * mottle[i].max(0.0);
    }
    match modality {
        Modality::Clinical => clinical(seed, view, &frame, layers),
        Modality::Dermoscopic => dermoscopic(seed, view, &frame),
    }
}

fn clinical(seed: u64, view: &View, frame: &View, layers: &mut Layers) -> Scene {
    let mut stream = Stream::new(seed, "clinical scene");
    let mut freckles = vec![0.0; view.len()];
    for _ in 0..stream.weighted(&[3.0, 2.0, 2.0, 1.0, 1.0, 1.0]) {
        let at = [stream.range(-0.66, 0.66), stream.range(-0.5, 0.5)];
        disc(&mut freckles, frame, at, stream.range(0.006, 0.016), 0.012, stream.range(0.3, 0.9));
    }
    layers.melanin.iter_mut().zip(&freckles).for_each(|(melanin, freckle)| *melanin += freckle);

    // Furrows of the skin: the zero lines of noise, in two directions.
    let grain = stream.range(20.0, 32.0);
    let one = fractal_stretched(frame, [grain, 0.45 * grain], 2, derive(seed, "furrow"));
    let two = fractal_stretched(frame, [0.5 * grain, grain], 2, derive(seed, "cross furrow"));
    let relief = stream.range(0.05, 0.15);
    let warmth = stream.range(-0.08, 0.10);
    let tint = [1.0 + warmth, 1.0 + 0.25 * warmth + stream.range(-0.03, 0.03), 1.0 - warmth];
    let from = stream.angle();
    let from = [from.cos(), from.sin()];
    let (slope, dome) = (stream.range(0.08, 0.42), stream.range(0.0, 0.30));
    let exposure = stream.range(0.72, 1.0);
    let mut light = vec![0.0; view.len()];
    let mut gloss = vec![0.0; view.len()];
    let shine = stream.range(0.0, 0.06);
    for y in 0..view.height {
        for x in 0..view.width {
            let i = y * view.width + x;
            let (u, v) = (frame.u(x), frame.v(y));
            let side = u * from[0] + v * from[1];
            let raised = layers.inside[i] * (view.u(x) * from[0] + view.v(y) * from[1]).clamp(-1.0, 1.0);
            let furrow = (1.0 - ramp(0.0, 0.22, one[i].abs())).max(1.0 - ramp(0.0, 0.22, two[i].abs()));
            let falloff = 1.0 - 0.22 * (u * u + v * v);
            light[i] = exposure * falloff * (1.0 + slope * side + dome * raised) * (1.0 - relief * furrow);
            gloss[i] = shine * ramp(0.25, 0.9, one[i] + two[i] + side);
        }
    }
    let mut dark = vec![0.0; view.len()];
    if stream.chance(0.45) {
        let count = stream.count(6, 40);
        hairs(&mut stream, frame, &mut dark, count, [0.10, 0.22], [0.0012, 0.0022]);
    }
    Scene { tint, light, gloss, dark, blur: stream.range(0.0045, 0.0085) }
}

fn dermoscopic(seed: u64, view: &View, frame: &View) -> Scene {
    let mut stream = Stream::new(seed, "dermoscopic scene");
    let warmth = stream.range(-0.12, 0.02);
    let tint = [1.0 + warmth, 1.0, 1.0 - warmth];
    let exposure = stream.range(0.95, 1.12);
    let tube = stream.chance(0.25).then(|| stream.range(0.56, 0.66));
    let mut light = vec![0.0; view.len()];
    for y in 0..view.height {
        for x in 0..view.width {
            let (u, v) = (frame.u(x), frame.v(y));
            let far = (u * u + v * v).sqrt();
            let edge = tube.map_or(1.0, |tube| 1.0 - 0.96 * ramp(tube - 0.03, tube + 0.02, far));
            light[y * view.width + x] = exposure * edge * (1.0 - 0.28 * far * far);
        }
    }
    let mut dark = vec![0.0; view.len()];
    if stream.chance(0.4) {
        let count = stream.count(2, 9);
        hairs(&mut stream, frame, &mut dark, count, [0.35, 0.9], [0.0025, 0.0045]);
    }
    if stream.chance(0.07) {
        for tick in 0..24 {
            let x = -0.6 + tick as f32 * 0.05;
            let length = if tick % 5 == 0 { 0.05 } else { 0.025 };
            stroke(&mut dark, frame, &[[x, 0.48, 0.003], [x, 0.48 - length, 0.003]], 0.9);
        }
    }
    let mut gloss = vec![0.0; view.len()];
    if stream.chance(0.25) {
        for _ in 0..stream.count(1, 6) {
            bubble(&mut stream, frame, &mut light, &mut gloss);
        }
    }
    Scene { tint, light, gloss, dark, blur: stream.range(0.0018, 0.0032) }
}

/// An air bubble in the immersion gel: a darker rim, a bright crescent.
fn bubble(stream: &mut Stream, frame: &View, light: &mut [f32], gloss: &mut [f32]) {
    let centre = [stream.range(-0.62, 0.62), stream.range(-0.45, 0.45)];
    let size = stream.range(0.012, 0.05);
    let mut outer = vec![0.0; light.len()];
    disc(&mut outer, frame, centre, size, 0.004, 1.0);
    let mut inner = vec![0.0; light.len()];
    disc(&mut inner, frame, centre, 0.82 * size, 0.004, 1.0);
    for ((light, outer), inner) in light.iter_mut().zip(&outer).zip(&inner) {
        *light *= 1.0 - 0.3 * (outer - inner).max(0.0);
    }
    let arc: Vec<Knot> = (0..5)
        .map(|step| {
            let angle = 3.4 + 0.28 * step as f32;
            [centre[0] + 0.7 * size * angle.cos(), centre[1] + 0.7 * size * angle.sin(), 0.1 * size]
        })
        .collect();
    stroke(gloss, frame, &arc, 0.5);
}

/// Curved lines that roughly share a direction.
fn hairs(stream: &mut Stream, frame: &View, dark: &mut [f32], count: usize, length: [f32; 2], width: [f32; 2]) {
    let grain = stream.angle();
    let strength = stream.range(0.4, 0.85);
    for _ in 0..count {
        let mut heading = grain + 0.45 * stream.normal();
        let bend = 0.10 * stream.normal();
        let step = stream.range(length[0], length[1]) / 8.0;
        let thick = stream.range(width[0], width[1]);
        let mut at = [stream.range(-0.75, 0.75), stream.range(-0.55, 0.55), thick];
        let mut knots = vec![at];
        for part in 0..8 {
            heading += bend;
            at = [at[0] + step * heading.cos(), at[1] + step * heading.sin(), thick * (1.0 - 0.08 * part as f32)];
            knots.push(at);
        }
        stroke(dark, frame, &knots, strength);
    }
}
