use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The instrument that a picture comes from.
///
/// ```
/// use dermafuse_schema::Modality;
///
/// assert_eq!("dermoscopic".parse(), Ok(Modality::Dermoscopic));
/// assert_eq!(Modality::Clinical.to_string(), "clinical");
/// let error = "x-ray".parse::<Modality>().unwrap_err().to_string();
/// assert_eq!(error, "there is no image `x-ray`; the images are clinical and dermoscopic");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// A camera at some distance.
    Clinical,
    /// A dermatoscope on the skin.
    Dermoscopic,
}

/// A name that no image has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no image `{name}`; the images are clinical and dermoscopic")]
pub struct UnknownModality {
    /// The name.
    pub name: String,
}

impl Modality {
    /// Both, in the order in which they are named everywhere.
    pub const BOTH: [Self; 2] = [Self::Clinical, Self::Dermoscopic];

    /// The name, also of the branch that looks at it alone.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clinical => "clinical",
            Self::Dermoscopic => "dermoscopic",
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Modality {
    type Err = UnknownModality;

    fn from_str(name: &str) -> Result<Self, UnknownModality> {
        let named = Self::BOTH.into_iter().find(|modality| modality.name() == name);
        named.ok_or_else(|| UnknownModality { name: name.to_owned() })
    }
}
