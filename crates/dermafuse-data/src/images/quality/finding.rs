use std::fmt;

use dermafuse_schema::Modality;
use serde::{Deserialize, Serialize};

/// What can be wrong with the pictures of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// The shorter side has few pixels.
    TooSmall,
    /// Nothing in it is bright.
    Black,
    /// Nothing in it is dark.
    White,
    /// It has one colour, or too little contrast.
    OneColour,
    /// Most of it is dark.
    TooDark,
    /// Most of it is white.
    TooBright,
    /// It has no fine detail.
    Blurred,
    /// Too little of it has a colour of skin.
    NoSkin,
    /// A picture of one kind alone looks like one of the other kind.
    OtherKind,
    /// The clinical picture looks dermoscopic, and the dermoscopic one clinical.
    Exchanged,
    /// The clinical and the dermoscopic picture are the same.
    SamePicture,
}

impl FindingKind {
    /// All kinds, in the order in which they are found.
    pub const ALL: [Self; 11] = [
        Self::TooSmall,
        Self::Black,
        Self::White,
        Self::OneColour,
        Self::TooDark,
        Self::TooBright,
        Self::Blurred,
        Self::NoSkin,
        Self::OtherKind,
        Self::Exchanged,
        Self::SamePicture,
    ];

    /// The name, e.g. `too_dark`, as in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooSmall => "too_small",
            Self::Black => "black",
            Self::White => "white",
            Self::OneColour => "one_colour",
            Self::TooDark => "too_dark",
            Self::TooBright => "too_bright",
            Self::Blurred => "blurred",
            Self::NoSkin => "no_skin",
            Self::OtherKind => "other_kind",
            Self::Exchanged => "exchanged",
            Self::SamePicture => "same_picture",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Something that is wrong with the pictures of a case; as text a sentence without its full stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityFinding {
    /// The kind of the finding.
    pub kind: FindingKind,
    /// The kind of the picture; `None` if it is about both.
    pub image: Option<Modality>,
    /// Which picture of that kind, from 0.
    pub look: usize,
    /// What was measured.
    pub value: f64,
    /// The [threshold](crate::QualityThresholds) that it is beyond.
    pub threshold: f64,
}

impl fmt::Display for QualityFinding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self { kind, image, look, value, threshold } = self;
        if let Some(image) = image {
            write!(formatter, "the {image} image ")?;
            if look > 0 {
                write!(formatter, "{} ", look + 1)?;
            }
        }
        let other = match image {
            Some(Modality::Clinical) => Modality::Dermoscopic,
            _ => Modality::Clinical,
        };
        match kind {
            FindingKind::TooSmall => {
                write!(formatter, "is too small (its shorter side has {value} pixels, at least {threshold} are needed)")
            }
            FindingKind::Black => {
                write!(formatter, "is black (its brightest parts have a luminance of {value} of 255)")
            }
            FindingKind::White => write!(formatter, "is white (its darkest parts have a luminance of {value} of 255)"),
            FindingKind::OneColour => {
                write!(
                    formatter,
                    "has one colour (its values differ by {value} of 255, at least {threshold} are needed)"
                )
            }
            FindingKind::TooDark => {
                write!(formatter, "is too dark (median luminance {value} of 255, at least {threshold} is needed)")
            }
            FindingKind::TooBright => {
                write!(formatter, "is too bright (median luminance {value} of 255, at most {threshold} is wanted)")
            }
            FindingKind::Blurred => {
                write!(formatter, "is blurred (sharpness {value:.1}, at least {threshold} is needed)")
            }
            FindingKind::NoSkin => {
                let (share, least) = (100.0 * value, 100.0 * threshold);
                write!(
                    formatter,
                    "shows no skin ({share:.0} % of it has a colour of skin, at least {least} % are needed)"
                )
            }
            FindingKind::OtherKind => {
                write!(formatter, "looks like a {other} one (log odds {value:.1}, at most {threshold} are wanted)")
            }
            FindingKind::Exchanged => {
                write!(
                    formatter,
                    "the clinical and the dermoscopic image look exchanged (log odds {value:.1}, at most {threshold} are wanted)"
                )
            }
            FindingKind::SamePicture => {
                write!(
                    formatter,
                    "the clinical and the dermoscopic image are the same picture (they differ by {value:.1} of 255)"
                )
            }
        }
    }
}
