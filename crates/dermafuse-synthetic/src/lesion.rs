//! What a synthetic lesion is: its diagnosis, the seven criteria, and what the table says of the patient.

use serde::{Deserialize, Serialize};

/// The five groups of the published task, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnosis {
    /// Symmetric, brown, softly bordered.
    Nevus,
    /// Pink and translucent, with blue-grey nests.
    BasalCellCarcinoma,
    /// Asymmetric, of several colours, with an uneven outline.
    Melanoma,
    /// Dermatofibroma, lentigo, melanosis, vascular lesion and the rest.
    Miscellaneous,
    /// Waxy and sharply bordered, with milia-like cysts and comedo-like openings.
    SeborrheicKeratosis,
}

impl Diagnosis {
    /// Every diagnosis, in the published order.
    pub const ALL: [Self; 5] =
        [Self::Nevus, Self::BasalCellCarcinoma, Self::Melanoma, Self::Miscellaneous, Self::SeborrheicKeratosis];
}

/// How a structure is arranged; each of four criteria takes one of these values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Not there.
    Absent,
    /// Even and symmetric: the typical network, regular streaks, dots or pigmentation.
    Regular,
    /// Uneven: the atypical network, irregular streaks, dots or pigmentation.
    Irregular,
}

/// Signs of regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regression {
    /// None.
    Absent,
    /// Blue-grey peppering.
    BlueAreas,
    /// Scar-like white.
    WhiteAreas,
    /// Blue-grey peppering and scar-like white.
    Combinations,
}

/// The shape of the vessels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vessels {
    /// None.
    Absent,
    /// Thick branching trees.
    Arborizing,
    /// Short thick arcs.
    Comma,
    /// Narrow loops in a pale halo.
    Hairpin,
    /// Fine lines inside a pale area.
    WithinRegression,
    /// A crown of arcs along the border.
    Wreath,
    /// Red points.
    Dotted,
    /// Winding lines of uneven length.
    LinearIrregular,
}

impl Vessels {
    /// Whether the checklist counts the shape as irregular.
    #[must_use]
    pub fn is_irregular(self) -> bool {
        matches!(self, Self::Dotted | Self::LinearIrregular)
    }
}

/// A lesion as it can be drawn. Pictures of the same lesion in both modalities show the same structures.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesion {
    /// Decides all that the other fields leave open: outline, skin, light, the place of each mark.
    pub seed: u64,
    /// The diagnosis group.
    pub diagnosis: Diagnosis,
    /// The diagnosis as the published table spells it, such as `clark nevus`; some have a look of their own.
    pub subtype: &'static str,
    /// The pigment network.
    pub network: Pattern,
    /// Radial streaks at the border.
    pub streaks: Pattern,
    /// Dark structureless areas.
    pub pigmentation: Pattern,
    /// Whether the pigmentation is confined to a part of the lesion.
    pub localized: bool,
    /// Signs of regression.
    pub regression: Regression,
    /// Dots and globules.
    pub dots: Pattern,
    /// The blue-whitish veil.
    pub veil: bool,
    /// Vessels.
    pub vessels: Vessels,
    /// The contrast of the structures: 1 is clear, 0 is invisible.
    pub clarity: f32,
    /// What of that contrast is left in the clinical picture.
    pub clinical_clarity: f32,
}

impl Lesion {
    /// A lesion of that diagnosis with none of the seven criteria.
    #[must_use]
    pub fn plain(diagnosis: Diagnosis, seed: u64) -> Self {
        let subtype = match diagnosis {
            Diagnosis::Nevus => "clark nevus",
            Diagnosis::BasalCellCarcinoma => "basal cell carcinoma",
            Diagnosis::Melanoma => "melanoma (in situ)",
            Diagnosis::Miscellaneous => "lentigo",
            Diagnosis::SeborrheicKeratosis => "seborrheic keratosis",
        };
        Self {
            seed,
            diagnosis,
            subtype,
            network: Pattern::Absent,
            streaks: Pattern::Absent,
            pigmentation: Pattern::Absent,
            localized: false,
            regression: Regression::Absent,
            dots: Pattern::Absent,
            veil: false,
            vessels: Vessels::Absent,
            clarity: 1.0,
            clinical_clarity: 0.35,
        }
    }

    /// The seven-point score: two for each major criterion, one for each minor one.
    #[must_use]
    pub fn seven_point_score(&self) -> u32 {
        let major = [self.network == Pattern::Irregular, self.veil, self.vessels.is_irregular()];
        let minor = [
            self.pigmentation == Pattern::Irregular,
            self.streaks == Pattern::Irregular,
            self.dots == Pattern::Irregular,
            self.regression != Regression::Absent,
        ];
        let count = |criteria: &[bool]| criteria.iter().map(|present| u32::from(*present)).sum::<u32>();
        2 * count(&major) + count(&minor)
    }
}

/// A lesion with what the table says of it; the texts are the published categories.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticCase {
    /// What the pictures show.
    pub lesion: Lesion,
    /// `low`, `medium` or `high`.
    pub difficulty: &'static str,
    /// `flat`, `palpable` or `nodular`.
    pub elevation: &'static str,
    /// Where on the body.
    pub location: &'static str,
    /// `female` or `male`.
    pub sex: &'static str,
    /// What was decided.
    pub management: &'static str,
}
