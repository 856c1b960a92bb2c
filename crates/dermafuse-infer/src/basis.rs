use std::fmt;

use dermafuse_schema::Modality;
use serde::Serialize;

/// What an answer stands on: the images that were looked at and the recorded values that were used, no others.
///
/// ```
/// use dermafuse_infer::Basis;
/// use dermafuse_schema::Modality;
///
/// let mut basis = Basis::default();
/// (basis.clinical, basis.fields) = (2, vec!["sex".into()]);
/// assert_eq!(basis.to_string(), "2 clinical images, sex");
/// assert!(basis.has(Modality::Clinical) && !basis.has(Modality::Dermoscopic));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Basis {
    /// How many clinical photos.
    pub clinical: usize,
    /// How many dermoscopic images.
    pub dermoscopic: usize,
    /// The fields of the record.
    pub fields: Vec<String>,
    /// The branches of the network that answered, in its order.
    pub branches: Vec<String>,
    /// Whether the second stage answered too.
    pub second_stage: bool,
}

impl Basis {
    /// How many images of a kind.
    #[must_use]
    pub fn images(&self, modality: Modality) -> usize {
        match modality {
            Modality::Clinical => self.clinical,
            Modality::Dermoscopic => self.dermoscopic,
        }
    }

    /// Whether there is an image of a kind.
    #[must_use]
    pub fn has(&self, modality: Modality) -> bool {
        self.images(modality) > 0
    }
}

impl fmt::Display for Basis {
    /// The images and the fields, such as `clinical image, dermoscopic image, sex, age`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let images = Modality::BOTH.into_iter().filter_map(|modality| match self.images(modality) {
            0 => None,
            1 => Some(format!("{modality} image")),
            several => Some(format!("{several} {modality} images")),
        });
        let parts: Vec<String> = images.chain(self.fields.iter().cloned()).collect();
        formatter.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        formatter.write_str(&parts.join(", "))
    }
}
