use serde::{Deserialize, Serialize};

/// The instrument that a picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// A camera at some distance.
    Clinical,
    /// A dermatoscope on the skin.
    Dermoscopic,
}

impl Modality {
    /// Both, in the order in which they are named everywhere.
    pub const BOTH: [Self; 2] = [Self::Clinical, Self::Dermoscopic];
}
