//! Random cut-outs, flips, shifts, scalings, rotations and changes of light, drawn for each case from
//! (seed, epoch, row) alone and applied in a single resampling.
//!
//! Order, probabilities and ranges are those of the code released with FusionM4Net, which uses Albumentations;
//! [`Augmentation::amfam`] has those of AMFAM.

mod histogram;
mod random_corruption;

use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use self::histogram::{Histograms, times};
pub use self::random_corruption::RandomCorruption;
use crate::RgbPixels;
use crate::images::corruption::{Corruption, Severity};
use crate::images::preprocess::Preprocess;
use crate::images::sampler::{Affine, Interpolation, Outside, sample};
use crate::shuffle::{stream, uniform};

/// What the dermoscopic image of a case receives when the clinical image is augmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DermoscopicMode {
    /// The same geometry with the nearest pixel instead of interpolation, and no change of light: the released code
    /// passes the image as a segmentation mask.
    #[default]
    AsMask,
    /// The same geometry and the same change of light, both interpolated.
    Paired,
    /// A draw of its own.
    Independent,
}

/// What a change of contrast leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContrastAbout {
    /// Black: all bytes are multiplied, as in Albumentations. More contrast makes skin lighter, and the lightest of it white.
    #[default]
    Black,
    /// The mean of each colour of the image: what is not mean moves away from it or towards it, as in torchvision (there the mean of the
    /// grey image).
    Mean,
}

/// The ranges and probabilities of the training augmentation; [`Default`] is as released.
///
/// A case is augmented at all with probability `p`; if so, each step happens with its own probability, in the order of
/// the fields, but for the cut-out, which comes first.
///
/// ```
/// use dermafuse_data::Augmentation;
///
/// let augmentation = Augmentation { rotate_degrees: 180.0, ..Augmentation::default() };
/// assert_eq!(augmentation.p, 0.5);
/// assert!(augmentation.check().is_ok());
/// let error = Augmentation { p: 1.5, ..augmentation }.check().unwrap_err().to_string();
/// assert_eq!(error, "`p` must be from 0 to 1, found 1.5");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Probability that a case is augmented at all.
    pub p: f64,
    /// Probability of turning upside down.
    pub vertical_flip: f64,
    /// Probability of mirroring left and right.
    pub horizontal_flip: f64,
    /// Probability of shifting, scaling and rotating, all three at once.
    pub shift_scale_rotate: f64,
    /// The shift along each axis is uniform in ± this share of the side.
    pub shift_limit: f64,
    /// Whether images are shifted up and down too; otherwise left and right only.
    pub shift_down: bool,
    /// The scale is uniform in `scale_centre` ± this.
    pub scale_limit: f64,
    /// The middle of the range of the scale; 1 enlarges as often as it reduces. 1.33 ± 0.33 only enlarges, as crops of 36 to 100 % of
    /// the area do.
    pub scale_centre: f64,
    /// Whether each axis has a scale of its own.
    pub scale_axes: bool,
    /// The angle is uniform in ± this, in degrees.
    pub rotate_degrees: f64,
    /// The smallest angle, in either direction, in degrees: the range leaves out what is below.
    pub rotate_at_least: f64,
    /// Probability of 0, 1, 2 or 3 quarter turns.
    pub quarter_turns: f64,
    /// Probability of changing brightness and contrast.
    pub brightness_contrast: f64,
    /// The added brightness is uniform in ± this share of 255.
    pub brightness_limit: f64,
    /// The contrast factor is uniform in `contrast_centre` ± this.
    pub contrast_limit: f64,
    /// The middle of the range of the contrast factor; 1 darkens as often as it brightens. The factor is on all bytes,
    /// so 0.5 ± 0.3 is Keras' `brightness_range=(0.2, 0.8)`.
    pub contrast_centre: f64,
    /// What a change of contrast leaves as it is.
    pub contrast_about: ContrastAbout,
    /// Whether contrast and brightness are two steps, contrast first, each with the probability `brightness_contrast`; otherwise
    /// they change together.
    pub light_apart: bool,
    /// Probability of changing gamma, after brightness and contrast.
    pub gamma: f64,
    /// The gamma is uniform in 1 ± this.
    pub gamma_limit: f64,
    /// Probability of changing colours, after all other light.
    pub colour: f64,
    /// What is added to red, green and blue, each for itself, is uniform in ± this share of 255.
    pub colour_limit: f64,
    /// Probability of showing the image as in neutral light, before all other changes of light: each colour is multiplied so that the
    /// image's light, estimated as Shades of Gray with the sixth power, is grey (Finlayson and Trezzi, CIC 2004; for dermoscopy Barata et
    /// al., IEEE JBHI 2015). Lamps and cameras then matter less to what is learnt.
    pub colour_constancy: f64,
    /// Probability and kinds of things that lie on the skin or spoil the image (hair, marks of a ruler); `None` leaves images clean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruption: Option<RandomCorruption>,
    /// What the dermoscopic image receives.
    pub dermoscopic: DermoscopicMode,
    /// Every image that is augmented is padded with black by this share of its side, and as much is cut out again at a
    /// random place; 0 leaves it. It comes before all other steps.
    pub padded_crop: f64,
    /// What is seen where a moved image has no pixels.
    pub outside: Outside,
    /// Images that are to be augmented are prepared with this many times the side, and moved in one step to the side that the network
    /// takes: so what is enlarged has the detail that the photo has of it. With 1, as in the published methods, an image is made small
    /// first, and what is enlarged of it is blurred. Memory of decoded images grows with its square.
    pub oversize: f64,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            p: 0.5,
            vertical_flip: 0.5,
            horizontal_flip: 0.5,
            shift_scale_rotate: 0.5,
            shift_limit: 0.0625,
            shift_down: true,
            scale_limit: 0.5,
            scale_centre: 1.0,
            scale_axes: false,
            rotate_degrees: 45.0,
            rotate_at_least: 0.0,
            quarter_turns: 0.5,
            brightness_contrast: 0.5,
            brightness_limit: 0.2,
            contrast_limit: 0.2,
            contrast_centre: 1.0,
            contrast_about: ContrastAbout::Black,
            light_apart: false,
            gamma: 0.0,
            gamma_limit: 0.2,
            colour: 0.0,
            colour_limit: 0.05,
            colour_constancy: 0.0,
            corruption: None,
            dermoscopic: DermoscopicMode::AsMask,
            padded_crop: 0.0,
            outside: Outside::Reflection,
            oversize: 1.0,
        }
    }
}

impl Augmentation {
    /// The augmentation of FusionM4Net's code as it was released in August 2021: contrast, brightness and gamma (0.8 to 1.2) are three
    /// steps, each every second time. The later code, which is the default, changes contrast and brightness together and leaves gamma.
    #[must_use]
    pub fn fusionm4net_2021_08() -> Self {
        Self { light_apart: true, gamma: 0.5, ..Self::default() }
    }

    /// The augmentation of AMFAM (Wang et al. 2022): 20 of 299 pixels of padding and a random cut-out, rotation by up to 45°,
    /// upside down every second time; both images on their own. What lies outside is black.
    #[must_use]
    pub fn amfam() -> Self {
        Self {
            p: 1.0,
            vertical_flip: 0.5,
            horizontal_flip: 0.0,
            shift_scale_rotate: 1.0,
            shift_limit: 0.0,
            scale_limit: 0.0,
            rotate_degrees: 45.0,
            quarter_turns: 0.0,
            brightness_contrast: 0.0,
            dermoscopic: DermoscopicMode::Independent,
            padded_crop: 20.0 / 299.0,
            outside: Outside::Black,
            ..Self::default()
        }
    }

    /// The augmentation of Nedelcu et al., with the meaning that Keras gives to these settings: rotation by 1° to 30°
    /// in either direction, mirroring left and right, each axis scaled by 0.8 to 1.2, a shift to the side by up to a
    /// tenth, all bytes times 0.2 to 0.8, the border pixel outside.
    #[must_use]
    pub fn nedelcu() -> Self {
        Self {
            p: 1.0,
            vertical_flip: 0.0,
            horizontal_flip: 0.5,
            shift_scale_rotate: 1.0,
            shift_limit: 0.1,
            shift_down: false,
            scale_limit: 0.2,
            scale_axes: true,
            rotate_degrees: 30.0,
            rotate_at_least: 1.0,
            quarter_turns: 0.0,
            brightness_contrast: 1.0,
            brightness_limit: 0.0,
            contrast_limit: 0.3,
            contrast_centre: 0.5,
            dermoscopic: DermoscopicMode::Paired,
            outside: Outside::Border,
            ..Self::default()
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// A probability outside 0..=1, a range that is negative, not finite, or (scale, contrast) not below its middle; a
    /// smallest angle above the largest; corruptions that make no choice.
    pub fn check(&self) -> Result<(), SettingFault> {
        let shares = [
            ("p", self.p),
            ("vertical_flip", self.vertical_flip),
            ("horizontal_flip", self.horizontal_flip),
            ("shift_scale_rotate", self.shift_scale_rotate),
            ("quarter_turns", self.quarter_turns),
            ("brightness_contrast", self.brightness_contrast),
            ("gamma", self.gamma),
            ("colour", self.colour),
            ("colour_constancy", self.colour_constancy),
            ("shift_limit", self.shift_limit),
            ("brightness_limit", self.brightness_limit),
            ("colour_limit", self.colour_limit),
            ("padded_crop", self.padded_crop),
        ];
        for (key, share) in shares {
            SettingFault::unless((0.0..=1.0).contains(&share), key, "from 0 to 1", share)?;
        }
        for (key, centre) in [("scale_centre", self.scale_centre), ("contrast_centre", self.contrast_centre)] {
            SettingFault::unless(centre.is_finite() && centre > 0.0, key, "above 0", centre)?;
        }
        let limits = [
            ("scale_limit", self.scale_limit, self.scale_centre, "from 0 and below scale_centre (1 unless set)"),
            ("gamma_limit", self.gamma_limit, 1.0, "from 0 and below 1"),
            (
                "contrast_limit",
                self.contrast_limit,
                self.contrast_centre,
                "from 0 and below contrast_centre (1 unless set)",
            ),
        ];
        for (key, limit, below, expected) in limits {
            SettingFault::unless((0.0..below).contains(&limit), key, expected, limit)?;
        }
        if let Some(corruption) = &self.corruption {
            corruption.check().map_err(|fault| fault.under("corruption"))?;
        }
        let oversize = self.oversize;
        SettingFault::unless((1.0..=4.0).contains(&oversize), "oversize", "from 1 to 4", oversize)?;
        let (most, least) = (self.rotate_degrees, self.rotate_at_least);
        SettingFault::unless((0.0..=360.0).contains(&most), "rotate_degrees", "from 0 to 360", most)?;
        SettingFault::unless((0.0..=most).contains(&least), "rotate_at_least", "from 0 to rotate_degrees", least)
    }

    /// How images of a case that may be augmented are prepared for a network that takes images like that.
    pub(crate) fn prepared(&self, preprocess: &Preprocess) -> Preprocess {
        Preprocess { size: (preprocess.size as f64 * self.oversize).round() as usize, ..preprocess.clone() }
    }

    /// The draw for one case of one epoch, the `time`-th time (from 0) that it is seen in it. All numbers are drawn
    /// whether used or not, so that changing one probability does not change the others' draws.
    pub(crate) fn draw(&self, seed: u64, epoch: u64, row: usize, time: usize, image: Stream) -> Draw {
        let mut rng = stream(seed, epoch, row as u64, (time as u64) << 32 | image as u64);
        let mut number = |low: f64, high: f64| uniform(&mut rng, low, high);
        let any = number(0.0, 1.0) < self.p;
        let happens = |p: f64, number: &mut dyn FnMut(f64, f64) -> f64| number(0.0, 1.0) < p && any;
        let vertical_flip = happens(self.vertical_flip, &mut number);
        let horizontal_flip = happens(self.horizontal_flip, &mut number);
        let warped = happens(self.shift_scale_rotate, &mut number);
        let angle = number(-self.rotate_degrees, self.rotate_degrees);
        let beyond = if self.rotate_degrees > 0.0 { 1.0 - angle.abs() / self.rotate_degrees } else { 0.0 };
        let mut warp = Warp {
            degrees: angle + (self.rotate_at_least * beyond).copysign(angle),
            scale: [self.scale_centre + number(-self.scale_limit, self.scale_limit); 2],
            shift_x: number(-self.shift_limit, self.shift_limit),
            shift_y: number(-self.shift_limit, self.shift_limit),
        };
        let turned = happens(self.quarter_turns, &mut number);
        let turns = number(0.0, 4.0) as u8;
        let lit = happens(self.brightness_contrast, &mut number);
        let light = Light {
            contrast: self.contrast_centre as f32 + number(-self.contrast_limit, self.contrast_limit) as f32,
            brightness: number(-self.brightness_limit, self.brightness_limit) as f32,
        };
        let place = [number(0.0, 1.0), number(0.0, 1.0)];
        let cut = Cut { padding: self.padded_crop, place };
        let scale_down = self.scale_centre + number(-self.scale_limit, self.scale_limit);
        if self.scale_axes {
            warp.scale[1] = scale_down;
        }
        if !self.shift_down {
            warp.shift_y = 0.0;
        }
        let brightened = happens(self.brightness_contrast, &mut number);
        let gamma_changed = happens(self.gamma, &mut number);
        let gamma = 1.0 + number(-self.gamma_limit, self.gamma_limit);
        let coloured = happens(self.colour, &mut number);
        let colour: [f32; 3] = std::array::from_fn(|_| number(-self.colour_limit, self.colour_limit) as f32);
        let neutral = happens(self.colour_constancy, &mut number);
        let chosen = [(); 4].map(|()| number(0.0, 1.0));
        let corruption = self.corruption.as_ref().filter(|_| any).and_then(|corruption| corruption.of(chosen));
        let contrast_alone = Light { brightness: 0.0, ..light };
        Draw {
            vertical_flip,
            horizontal_flip,
            warp: warped.then_some(warp),
            quarter_turns: if turned { turns % 4 } else { 0 },
            contrast_about: self.contrast_about,
            light: lit.then_some(if self.light_apart { contrast_alone } else { light }),
            brightness: (self.light_apart && brightened).then_some(light.brightness),
            gamma: gamma_changed.then_some(gamma),
            colour: coloured.then_some(colour),
            neutral,
            corruption,
            cut: (any && self.padded_crop > 0.0).then_some(cut),
            outside: self.outside,
        }
    }
}

/// Which image of a case a draw is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// The clinical image, or both.
    Case = 1,
    /// The dermoscopic image, where it has its own.
    Dermoscopic = 2,
    /// Which of several images of a kind it is.
    Look = 3,
}

/// A scaling of each axis and a rotation by `degrees` (counter-clockwise) about the centre, then a shift in shares of
/// the side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Warp {
    pub(crate) degrees: f64,
    /// Across and down.
    pub(crate) scale: [f64; 2],
    pub(crate) shift_x: f64,
    pub(crate) shift_y: f64,
}

/// `clamp(contrast · (x − centre) + centre + brightness · 255)`, cut to a byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Light {
    pub(crate) contrast: f32,
    pub(crate) brightness: f32,
}

impl Light {
    fn apply(self, byte: u8, centre: f32) -> u8 {
        let kept = centre * (1.0 - self.contrast);
        (f32::from(byte) * self.contrast + kept + self.brightness * 255.0).clamp(0.0, 255.0) as u8
    }
}

/// A cut-out of the padded image: the padding as a share of the side, and where in it the cut-out lies, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    pub(crate) padding: f64,
    pub(crate) place: [f64; 2],
}

impl Cut {
    /// Where the upper left pixel of the cut-out lies in an image of that side, in whole pixels.
    fn corner(self, size: usize) -> [f64; 2] {
        let padding = (self.padding * size as f64).round();
        self.place.map(|place| (place * (2.0 * padding + 1.0)).floor().min(2.0 * padding) - padding)
    }
}

/// What happens to one image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Draw {
    pub(crate) vertical_flip: bool,
    pub(crate) horizontal_flip: bool,
    pub(crate) warp: Option<Warp>,
    /// Counter-clockwise, after the warp.
    pub(crate) quarter_turns: u8,
    pub(crate) light: Option<Light>,
    pub(crate) contrast_about: ContrastAbout,
    /// Brightness that is added after `light`, where it is a step of its own.
    pub(crate) brightness: Option<f32>,
    /// `255 · (x / 255)^gamma`, cut to a byte, after brightness and contrast.
    pub(crate) gamma: Option<f64>,
    /// What is added to red, green and blue last, in shares of 255.
    pub(crate) colour: Option<[f32; 3]>,
    /// Whether the image is shown in neutral light, before all other changes of light.
    pub(crate) neutral: bool,
    /// What spoils the image, before everything else, and the seed of its draws.
    pub(crate) corruption: Option<(Corruption, Severity, u64)>,
    pub(crate) cut: Option<Cut>,
    pub(crate) outside: Outside,
}

impl Draw {
    /// Writes the augmented and normalized planes of a square image, `[3, S, S]`; its own side may be another.
    pub(crate) fn render(
        &self,
        pixels: &RgbPixels,
        interpolation: Interpolation,
        preprocess: &Preprocess,
        planes: &mut [f32],
    ) {
        let spoilt = self.corruption.map(|(kind, severity, seed)| kind.apply(pixels, severity, seed));
        let pixels = spoilt.as_ref().unwrap_or(pixels);
        let about_mean = self.light.is_some() && self.contrast_about == ContrastAbout::Mean;
        let histograms = (about_mean || self.neutral).then(|| Histograms::of(pixels));
        let gains = match (&histograms, self.neutral) {
            (Some(histograms), true) => histograms.neutral_gains(),
            _ => [1.0; 3],
        };
        let centres = match &histograms {
            Some(histograms) if about_mean => histograms.means(gains),
            _ => [0.0; 3],
        };
        let curves = [0, 1, 2].map(|colour| self.photometric(colour, gains[colour], centres[colour]));
        let tables = preprocess.tables(&curves);
        let (size, side) = (preprocess.size, pixels.width());
        let moved = match side == size {
            true => self.output_to_source(side),
            false => enlarged(size, side).then(&self.output_to_source(side)),
        };
        let corner = self.cut.map_or([0.0; 2], |cut| cut.corner(side));
        let cut = Affine([1.0, 0.0, corner[0], 0.0, 1.0, corner[1]]);
        let map = if self.cut.is_some() { moved.then(&cut) } else { moved };
        let between = self.warp.is_some() || side != size;
        let interpolation = if between { interpolation } else { Interpolation::Nearest };
        sample(pixels, size, &map, interpolation, self.outside, preprocess.sources(), &tables, planes);
        // The padding is black; what is moved in from outside the cut-out is too, if it is to be.
        let visible: Vec<&Affine> = [(self.cut.is_some(), &map), (self.outside == Outside::Black, &moved)]
            .into_iter()
            .filter_map(|(matters, map)| matters.then_some(map))
            .collect();
        if visible.is_empty() {
            return;
        }
        let black = preprocess.tables(&[std::array::from_fn(|byte| byte as u8); 3]).map(|table| table[0]);
        for at in 0..size * size {
            let point = ((at % size) as f64, (at / size) as f64);
            if visible.iter().any(|map| !map.leads_inside(point, side)) {
                (0..3).for_each(|plane| planes[plane * size * size + at] = black[plane]);
            }
        }
    }

    /// The same movements without any change of light, and nothing on the image.
    pub(crate) fn without_light(self) -> Self {
        Self { light: None, brightness: None, gamma: None, colour: None, neutral: false, corruption: None, ..self }
    }

    /// What each byte of red, green or blue becomes; it is multiplied by `gain` first, and contrast is about `centre`.
    fn photometric(&self, colour: usize, gain: f32, centre: f32) -> [u8; 256] {
        let brighter = self.brightness.map(|brightness| Light { contrast: 1.0, brightness });
        let steps = [self.light, brighter];
        let lit = |byte: u8| steps.into_iter().flatten().fold(byte, |byte, light| light.apply(byte, centre));
        let curve = |byte: u8| match self.gamma {
            Some(gamma) => (255.0 * (f64::from(byte) / 255.0).powf(gamma)) as u8,
            None => byte,
        };
        let tint = self.colour.map(|shifts| Light { contrast: 1.0, brightness: shifts[colour] });
        let tinted = |byte: u8| tint.map_or(byte, |tint| tint.apply(byte, 0.0));
        std::array::from_fn(|byte| tinted(curve(lit(times(byte as u8, gain)))))
    }

    /// Where in the source image each output pixel lies: the inverses of the steps, last step first.
    fn output_to_source(&self, size: usize) -> Affine {
        let last = (size - 1) as f64;
        let mut map = Affine::IDENTITY;
        for _ in 0..self.quarter_turns {
            // Counter-clockwise: output (x, y) is source (last − y, x).
            map = map.then(&Affine([0.0, -1.0, last, 1.0, 0.0, 0.0]));
        }
        if let Some(warp) = self.warp {
            map = map.then(&warp.inverse(size));
        }
        if self.horizontal_flip {
            map = map.then(&Affine([-1.0, 0.0, last, 0.0, 1.0, 0.0]));
        }
        if self.vertical_flip {
            map = map.then(&Affine([1.0, 0.0, 0.0, 0.0, -1.0, last]));
        }
        map
    }
}

/// From the pixels of an image of a side to the places that they have in the same image of another side.
fn enlarged(from: usize, to: usize) -> Affine {
    let scale = to as f64 / from as f64;
    let corner = (scale - 1.0) / 2.0;
    Affine([scale, 0.0, corner, 0.0, scale, corner])
}

impl Affine {
    /// Whether a point comes to lie on a pixel of an image of that side.
    fn leads_inside(&self, (x, y): (f64, f64), size: usize) -> bool {
        let [a, b, c, d, e, f] = self.0;
        let within = |place: f64| (-0.5..size as f64 - 0.5).contains(&place);
        within(a * x + b * y + c) && within(d * x + e * y + f)
    }
}

impl Warp {
    /// The inverse of `x ↦ R(degrees) scale (x − c) + c + shift · size`, `c` the centre of the pixel grid.
    fn inverse(&self, size: usize) -> Affine {
        let centre = (size - 1) as f64 / 2.0;
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let [across, down] = self.scale;
        let (a, b, d, e) = (cos / across, -sin / across, sin / down, cos / down);
        let (x, y) = (centre + self.shift_x * size as f64, centre + self.shift_y * size as f64);
        Affine([a, b, centre - a * x - b * y, d, e, centre - d * x - e * y])
    }
}

#[cfg(test)]
mod tests;
