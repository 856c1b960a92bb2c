use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CaseImage, FieldValue, Modality, Name};

/// The identity of a case: unique in its data set, stable across runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaseId(Name);

impl CaseId {
    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity as a name, which shares its text.
    #[must_use]
    pub fn name(&self) -> Name {
        self.0.clone()
    }
}

impl<S: Into<Name>> From<S> for CaseId {
    fn from(id: S) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One lesion at one visit: its images, what is known of the patient, and the labels.
///
/// A case may have several images of a kind. It is then looked at several times: the first [look](Case::image) is at the first
/// image of each kind, the second at the second, and the shorter list begins anew where the other goes on.
///
/// ```
/// use dermafuse_schema::Case;
///
/// let case = Case { labels: vec![Some(2)], ..Case::new("ISIC_0000001") };
/// assert_eq!(case.group, "ISIC_0000001"); // of nobody known: a group of its own
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Unique identity.
    pub id: CaseId,
    /// Cases of one group (a patient where the data set says, else a lesion) never stand on both sides of a split.
    pub group: Name,
    /// The patient, where the data set tells patients apart.
    pub patient: Option<Name>,
    /// The lesion, where the data set tells lesions apart.
    pub lesion: Option<Name>,
    /// The clinical close-up photos. The first stands for them where a single one is wanted.
    pub clinical: Vec<CaseImage>,
    /// The dermoscopic images. The first stands for them where a single one is wanted.
    pub dermoscopic: Vec<CaseImage>,
    /// One value for each field of the case set.
    pub metadata: Vec<FieldValue>,
    /// One label for each task of the case set; `None` where the task is not annotated.
    pub labels: Vec<Option<usize>>,
}

impl Case {
    /// A case of which nothing but the identity is known, in a group of its own.
    #[must_use]
    pub fn new(id: impl Into<CaseId>) -> Self {
        let id = id.into();
        Self {
            group: id.name(),
            id,
            patient: None,
            lesion: None,
            clinical: Vec::new(),
            dermoscopic: Vec::new(),
            metadata: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// The images of a kind, in order.
    #[must_use]
    pub fn images(&self, modality: Modality) -> &[CaseImage] {
        match modality {
            Modality::Clinical => &self.clinical,
            Modality::Dermoscopic => &self.dermoscopic,
        }
    }

    /// The images of a kind, to be changed.
    #[must_use]
    pub fn images_mut(&mut self, modality: Modality) -> &mut Vec<CaseImage> {
        match modality {
            Modality::Clinical => &mut self.clinical,
            Modality::Dermoscopic => &mut self.dermoscopic,
        }
    }

    /// Whether there is an image of a kind.
    #[must_use]
    pub fn has(&self, modality: Modality) -> bool {
        !self.images(modality).is_empty()
    }

    /// How many looks at these kinds of images there are: as many as the longest of their lists is long, and one at least.
    #[must_use]
    pub fn looks(&self, at: impl IntoIterator<Item = Modality>) -> usize {
        at.into_iter().map(|modality| self.images(modality).len()).max().unwrap_or(0).max(1)
    }

    /// The image of a kind at a look, counted from 0; a list that is at its end begins anew.
    ///
    /// ```
    /// use dermafuse_schema::{Case, Modality};
    ///
    /// let case = Case { clinical: vec!["a".into(), "b".into()], dermoscopic: vec!["c".into()], ..Case::new("1") };
    /// assert_eq!(case.looks(Modality::BOTH), 2);
    /// let second = Modality::BOTH.map(|modality| case.image(modality, 1).unwrap().path.to_str().unwrap());
    /// assert_eq!(second, ["b", "c"]);
    /// ```
    #[must_use]
    pub fn image(&self, modality: Modality, look: usize) -> Option<&CaseImage> {
        Some(&self.images(modality)[self.place(modality, look)?])
    }

    /// Whether it is said of any of its images where the lesion is.
    pub fn has_lesion_area(&self) -> bool {
        Modality::BOTH.into_iter().flat_map(|modality| self.images(modality)).any(|image| image.lesion.is_some())
    }

    /// Where the image of a kind at a look stands among those of its kind; see [`Case::image`].
    #[must_use]
    pub fn place(&self, modality: Modality, look: usize) -> Option<usize> {
        look.checked_rem(self.images(modality).len())
    }

    /// Whether any metadata value is recorded.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        self.metadata.iter().any(|value| *value != FieldValue::Missing)
    }
}
