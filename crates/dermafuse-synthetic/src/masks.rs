//! Where in a picture the lesion and each of its structures are: what an explanation should point at.

use dermafuse_data::Modality;
use dermafuse_schema::ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::body::Layers;
use crate::render::{clarity_in, place};
use crate::shape::Shape;
use crate::{Lesion, Pattern, Regression, Vessels, structures, vessels};

/// A pixel belongs to a structure that changes its optical density or its coverage by more than this.
const VISIBLE: f32 = 0.05;

/// One of the seven criteria, as a structure that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// The pigment network.
    Network,
    /// Radial streaks at the border.
    Streaks,
    /// Dark structureless areas.
    Pigmentation,
    /// Signs of regression.
    Regression,
    /// Dots and globules.
    Dots,
    /// The blue-whitish veil.
    Veil,
    /// Vessels.
    Vessels,
}

impl Structure {
    /// All of them, in the order of the published tasks.
    pub const ALL: [Self; 7] =
        [Self::Network, Self::Streaks, Self::Pigmentation, Self::Regression, Self::Dots, Self::Veil, Self::Vessels];

    /// The lesion without the structure.
    fn removed_from(self, lesion: &Lesion) -> Lesion {
        let mut lesion = lesion.clone();
        match self {
            Self::Network => lesion.network = Pattern::Absent,
            Self::Streaks => lesion.streaks = Pattern::Absent,
            Self::Pigmentation => lesion.pigmentation = Pattern::Absent,
            Self::Regression => lesion.regression = Regression::Absent,
            Self::Dots => lesion.dots = Pattern::Absent,
            Self::Veil => lesion.veil = false,
            Self::Vessels => lesion.vessels = Vessels::Absent,
        }
        lesion
    }
}

/// Which pixels of the picture that [`render`](crate::render()) draws are lesion: `[height, width]`.
///
/// # Panics
/// If a side of the picture is zero.
#[must_use]
pub fn lesion_mask(lesion: &Lesion, modality: Modality, size: (u32, u32)) -> Array2<bool> {
    assert!(size.0 > 0 && size.1 > 0, "a picture has at least one pixel");
    let view = place(lesion, modality, size);
    let depth = Shape::of(lesion).depth(&view, lesion.seed);
    mask(size, |at| depth[at] > 0.0)
}

/// Which pixels of the picture a structure changes: `[height, width]`, nowhere if the lesion does not have it. What only the
/// lens, the sensor, hairs and light do to a picture does not count.
///
/// # Panics
/// If a side of the picture is zero.
#[must_use]
pub fn structure_mask(lesion: &Lesion, structure: Structure, modality: Modality, size: (u32, u32)) -> Array2<bool> {
    assert!(size.0 > 0 && size.1 > 0, "a picture has at least one pixel");
    let (with, without) = (matter(lesion, modality, size), matter(&structure.removed_from(lesion), modality, size));
    let planes = |layers: Layers| [layers.melanin, layers.blood, layers.blue, layers.white];
    let (with, without) = (planes(with), planes(without));
    mask(size, |at| with.iter().zip(&without).any(|(with, without)| (with[at] - without[at]).abs() > VISIBLE))
}

fn matter(lesion: &Lesion, modality: Modality, size: (u32, u32)) -> Layers {
    let (view, shape, clarity) = (place(lesion, modality, size), Shape::of(lesion), clarity_in(lesion, modality));
    let mut layers = Layers::of(lesion, &shape, &view, clarity);
    structures::draw(lesion, &shape, &view, clarity, &mut layers);
    vessels::draw(lesion, &shape, &view, clarity, &mut layers);
    layers
}

fn mask((width, height): (u32, u32), belongs: impl Fn(usize) -> bool) -> Array2<bool> {
    let (width, height) = (width as usize, height as usize);
    Array2::from_shape_fn((height, width), |(row, column)| belongs(row * width + column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Diagnosis, render};

    const SIZE: (u32, u32) = (96, 64);

    fn share(mask: &Array2<bool>) -> f64 {
        mask.iter().filter(|&&inside| inside).count() as f64 / mask.len() as f64
    }

    #[test]
    fn the_lesion_is_where_the_picture_is_dark() {
        for seed in 0..6 {
            let lesion = Lesion::plain(Diagnosis::Nevus, seed);
            for modality in [Modality::Clinical, Modality::Dermoscopic] {
                let (picture, mask) = (render(&lesion, modality, SIZE), lesion_mask(&lesion, modality, SIZE));
                let (mut inside, mut outside) = ((0.0, 0.0), (0.0, 0.0));
                for (x, y, pixel) in picture.enumerate_pixels() {
                    let side = if mask[[y as usize, x as usize]] { &mut inside } else { &mut outside };
                    *side = (side.0 + f64::from(pixel[1]), side.1 + 1.0);
                }
                assert!(inside.0 / inside.1 + 20.0 < outside.0 / outside.1, "{seed} {modality:?}");
            }
            let [clinical, dermoscopic] = [Modality::Clinical, Modality::Dermoscopic]
                .map(|modality| share(&lesion_mask(&lesion, modality, SIZE)));
            assert!(clinical < dermoscopic && (0.02..0.25).contains(&clinical), "{clinical} {dermoscopic}");
        }
    }

    #[test]
    fn a_structure_is_somewhere_if_and_only_if_the_lesion_has_it() {
        let plain = Lesion::plain(Diagnosis::Melanoma, 4);
        let full = Lesion {
            network: Pattern::Irregular,
            streaks: Pattern::Irregular,
            pigmentation: Pattern::Irregular,
            regression: Regression::WhiteAreas,
            dots: Pattern::Irregular,
            veil: true,
            vessels: Vessels::Dotted,
            ..plain.clone()
        };
        let near = lesion_mask(&full, Modality::Dermoscopic, SIZE);
        for structure in Structure::ALL {
            let of = |lesion| structure_mask(lesion, structure, Modality::Dermoscopic, SIZE);
            assert_eq!(share(&of(&plain)), 0.0, "{structure:?}");
            let mask = of(&full);
            let inside = mask.iter().zip(&near).filter(|(structure, lesion)| **structure && **lesion).count();
            let all = mask.iter().filter(|&&structure| structure).count();
            assert!(all > 10, "{structure:?}: {all}");
            // Streaks reach across the border.
            assert!(2 * inside > all, "{structure:?}: {inside} of {all}");
        }
    }
}
