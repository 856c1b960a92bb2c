//! From a lesion to pixels: layers of matter, light through them, lens and sensor.

use dermafuse_data::Modality;
use image::RgbImage;

use crate::body::Layers;
use crate::canvas::REACH;
use crate::noise::Stream;
use crate::scene::Scene;
use crate::shape::Shape;
use crate::view::View;
use crate::{Lesion, scene, structures, vessels};

/// Linear reflectance of skin without pigment or blood.
const DERMIS: [f32; 3] = [0.86, 0.73, 0.64];
/// Absorption of brown pigment in red, green, blue.
const MELANIN: [f32; 3] = [0.62, 1.05, 1.38];
/// Absorption of blood.
const BLOOD: [f32; 3] = [0.28, 1.15, 0.95];
/// Linear colour of pigment deep in the dermis.
const DEEP: [f32; 3] = [0.105, 0.145, 0.235];
/// Linear colour of scar and keratin.
const SCAR: [f32; 3] = [0.86, 0.74, 0.69];
/// Linear colour of hairs and ruler marks.
const INK: [f32; 3] = [0.035, 0.025, 0.02];

/// Draws a lesion as the camera or the dermatoscope sees it; `size` is width and height in pixels.
///
/// The dermoscopic view fills the frame with the lesion; the clinical view stands back, and its structures are fainter
/// by [`Lesion::clinical_clarity`]. The same arguments give the same pixels.
///
/// # Panics
/// If a side of the picture is zero.
#[must_use]
pub fn render(lesion: &Lesion, modality: Modality, size: (u32, u32)) -> RgbImage {
    assert!(size.0 > 0 && size.1 > 0, "a picture has at least one pixel");
    let view = place(lesion, modality, size);
    let clarity = clarity_in(lesion, modality);
    let shape = Shape::of(lesion);
    let mut layers = Layers::of(lesion, &shape, &view, clarity);
    structures::draw(lesion, &shape, &view, clarity, &mut layers);
    vessels::draw(lesion, &shape, &view, clarity, &mut layers);
    let scene = scene::set(lesion.seed, modality, &view, &mut layers);
    let mut channels = [0, 1, 2].map(|channel| shine_through(&layers, &scene, channel));
    for channel in &mut channels {
        blur(channel, &view, scene.blur * view.height as f32);
    }
    develop(&channels, lesion.seed, modality, size)
}

/// The contrast of the structures in a picture.
pub(crate) fn clarity_in(lesion: &Lesion, modality: Modality) -> f32 {
    match modality {
        Modality::Clinical => lesion.clarity * lesion.clinical_clarity,
        Modality::Dermoscopic => lesion.clarity,
    }
}

pub(crate) fn place(lesion: &Lesion, modality: Modality, (width, height): (u32, u32)) -> View {
    let mut stream = Stream::new(lesion.seed, "place");
    let [clinical, dermoscopic] = [stream.range(0.15, 0.25), stream.range(0.37, 0.45)];
    let mut shift = |most: f32| stream.range(-most, most);
    let (radius, off) = match modality {
        Modality::Clinical => (clinical, [shift(0.12), shift(0.10)]),
        Modality::Dermoscopic => (dermoscopic, [shift(0.06), shift(0.03)]),
    };
    // A portrait picture is limited by its width; lesion and frame scale with the shorter side.
    let (width, height) = (width as usize, height as usize);
    let short = width.min(height) as f32;
    let centre = [width as f32 / 2.0 + off[0] * short, height as f32 / 2.0 + off[1] * short];
    View { width, height, centre, radius: radius * short, reach: REACH }
}

/// `exp(-density)`, by repeated squaring so that it vectorises.
fn transmission(density: f32) -> f32 {
    let mut value = (1.0 - density / 64.0).max(0.0);
    for _ in 0..6 {
        value *= value;
    }
    value
}

/// Linear light of one channel: through melanin and blood to the dermis and back, under what is deep, white and dark.
fn shine_through(layers: &Layers, scene: &Scene, channel: usize) -> Vec<f32> {
    let (melanin, blood) = (MELANIN[channel], BLOOD[channel]);
    let tint = scene.tint[channel];
    let mut plane = vec![0.0; layers.melanin.len()];
    for (i, pixel) in plane.iter_mut().enumerate() {
        let through = DERMIS[channel] * transmission(melanin * layers.melanin[i] + blood * layers.blood[i]);
        let deep = through + layers.blue[i] * (DEEP[channel] - through);
        let scarred = deep + layers.white[i] * (SCAR[channel] - deep);
        let lit = (scarred + scene.dark[i] * (INK[channel] - scarred)) * scene.light[i] * tint;
        *pixel = lit + scene.gloss[i];
    }
    plane
}

/// Spreads by repeated `[1, 2, 1] / 4` across and down; each pass adds a variance of 1/2.
fn blur(plane: &mut [f32], view: &View, sigma: f32) {
    let passes = (2.0 * sigma * sigma).round().clamp(0.0, 16.0) as usize;
    let width = view.width;
    let mut above = vec![0.0; width];
    let mut line = vec![0.0; width];
    for _ in 0..passes {
        for row in plane.chunks_exact_mut(width) {
            line.copy_from_slice(row);
            for (pixel, three) in row.iter_mut().skip(1).zip(line.windows(3)) {
                *pixel = 0.25 * (three[0] + three[2]) + 0.5 * three[1];
            }
        }
        above.copy_from_slice(&plane[..width]);
        for y in 1..view.height.saturating_sub(1) {
            let (head, tail) = plane.split_at_mut((y + 1) * width);
            let row = &mut head[y * width..];
            line.copy_from_slice(row);
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = 0.25 * (above[x] + tail[x]) + 0.5 * line[x];
            }
            std::mem::swap(&mut above, &mut line);
        }
    }
}

/// Adds sensor noise and encodes as sRGB bytes.
fn develop(channels: &[Vec<f32>; 3], seed: u64, modality: Modality, (width, height): (u32, u32)) -> RgbImage {
    const LEVELS: usize = 4096;
    let encode = |level: usize| {
        let linear = level as f32 / (LEVELS - 1) as f32;
        let encoded = if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        255.0 * encoded
    };
    let curve: Vec<f32> = (0..LEVELS).map(encode).collect();
    let (tag, amount) = match modality {
        Modality::Clinical => ("clinical sensor", 5.0),
        Modality::Dermoscopic => ("dermoscopic sensor", 3.0),
    };
    let mut stream = Stream::new(seed, tag);
    let mut bytes = Vec::with_capacity(3 * channels[0].len());
    for i in 0..channels[0].len() {
        let draw = stream.next();
        for (channel, plane) in channels.iter().enumerate() {
            let noise = ((draw >> (16 * channel)) & 0xffff) as f32 / 65_535.0 - 0.5;
            let level = (plane[i].clamp(0.0, 1.0) * (LEVELS - 1) as f32) as usize;
            bytes.push((curve[level] + amount * noise + 0.5).clamp(0.0, 255.0) as u8);
        }
    }
    RgbImage::from_raw(width, height, bytes).expect("three bytes for each pixel")
}
