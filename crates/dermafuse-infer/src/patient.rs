use std::fmt;

use dermafuse_data::{CaseImages, PatientImage};
use dermafuse_schema::Modality;

/// One patient's lesion as a [`Model`](crate::Model) is asked about it: images, in memory or in files, and what is known of the
/// patient, by the names of the model's [fields](crate::Model::fields). Nothing is read before the model is asked; whatever does
/// not fit is then an error that names it.
///
/// An image of a kind may be given several times, for a lesion with several photos. What is not set is not recorded.
///
/// ```
/// use dermafuse_infer::Patient;
///
/// let patient = Patient::new().clinical("close-up.jpg").set("sex", "female").set("age", 61).set("weight", None::<f64>);
/// assert_eq!(patient.images().clinical.len(), 1);
/// let values: Vec<String> = patient.record().iter().map(|(name, value)| format!("{name} {value}")).collect();
/// assert_eq!(values, ["sex female", "age 61", "weight not recorded"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Patient {
    images: CaseImages,
    record: Vec<(String, RecordValue)>,
}

/// A value of a patient's record as it was given.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordValue {
    /// A category; for a field of numbers, a number as text.
    Text(String),
    /// A number; for a field of categories, the category that is written like it.
    Number(f64),
    /// Nothing: the same as a field that is not set.
    NotRecorded,
}

impl Patient {
    /// A patient of whom nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more clinical photo.
    #[must_use]
    pub fn clinical(self, image: impl Into<PatientImage>) -> Self {
        self.image(Modality::Clinical, image)
    }

    /// The same with one more dermoscopic image.
    #[must_use]
    pub fn dermoscopic(self, image: impl Into<PatientImage>) -> Self {
        self.image(Modality::Dermoscopic, image)
    }

    /// The same with one more image of a kind.
    #[must_use]
    pub fn image(mut self, modality: Modality, image: impl Into<PatientImage>) -> Self {
        match modality {
            Modality::Clinical => self.images.clinical.push(image.into()),
            Modality::Dermoscopic => self.images.dermoscopic.push(image.into()),
        }
        self
    }

    /// The same with a value of a field of the model: text, a number, or `None` for one that is not recorded.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: impl Into<RecordValue>) -> Self {
        self.record.push((field.into(), value.into()));
        self
    }

    /// The images, in the order in which they were given.
    #[must_use]
    pub fn images(&self) -> &CaseImages {
        &self.images
    }

    /// The names of fields with their values, in the order in which they were given.
    #[must_use]
    pub fn record(&self) -> &[(String, RecordValue)] {
        &self.record
    }
}

impl fmt::Display for RecordValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(text),
            Self::Number(number) => number.fmt(formatter),
            Self::NotRecorded => formatter.write_str("not recorded"),
        }
    }
}

impl From<&str> for RecordValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for RecordValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for RecordValue {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

/// Numbers that a 64-bit float holds exactly.
macro_rules! from_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for RecordValue {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        }
    )*};
}

from_numbers!(f64, f32, i8, i16, i32, u8, u16, u32);

impl<V: Into<Self>> From<Option<V>> for RecordValue {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::NotRecorded, Into::into)
    }
}
