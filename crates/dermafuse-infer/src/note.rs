use std::fmt;

use dermafuse_data::NumberRange;
use dermafuse_schema::{EngineFacts, Modality};
use serde::Serialize;

/// Something that must be known of an answer: what is missing, unknown to the model, or assumed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// The model looks at an image that was not given.
    ImageMissing {
        /// The kind of image.
        image: Modality,
    },
    /// An image was given that the model does not look at.
    ImageNotUsed {
        /// The kind of image.
        image: Modality,
    },
    /// The model was trained on images that were cut to the lesion, and nothing says where it is in this one: it was taken whole.
    TakenWhole {
        /// The kind of image.
        image: Modality,
    },
    /// The model takes images whole, so that what says where the lesion is was not used.
    BoxNotUsed {
        /// The kind of image.
        image: Modality,
    },
    /// Of several images of a kind the first answers.
    FirstImageAnswers {
        /// The kind of image.
        image: Modality,
        /// The number of images that were given.
        given: usize,
    },
    /// The probabilities are the mean over several looks at the images.
    MeanOfLooks {
        /// The number of looks.
        looks: usize,
    },
    /// A damaged image was read as far as it goes, as the model's settings allow.
    DamageAccepted {
        /// What is wrong, with the image's name.
        reason: String,
    },
    /// Fields of the model that were not given.
    NotRecorded {
        /// The fields.
        fields: Vec<String>,
    },
    /// A field that the model has and does not look at.
    FieldNotUsed {
        /// The field.
        field: String,
    },
    /// A category that no training case had: it counts as not recorded.
    NeverSeen {
        /// The field.
        field: String,
        /// The category.
        category: String,
    },
    /// A number outside those of the training cases: the answer is an extrapolation.
    OutOfRange {
        /// The field.
        field: String,
        /// The number.
        value: f64,
        /// Its unit, if it is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// The training cases' numbers.
        training: NumberRange,
    },
    /// A field that is only known after somebody has judged the lesion: an answer that uses it leaks.
    KnownAfterDiagnosis {
        /// The field.
        field: String,
    },
    /// Nothing that the model's second stage looks at is recorded, so its first stage answers.
    FirstStageAnswers,
    /// The model was trained on drawn images.
    SyntheticTraining,
    /// Another engine than the one that the model was trained and tested with ran its network.
    RunBy {
        /// What ran it.
        engine: EngineFacts,
    },
    /// What must be said of the model whatever it is asked.
    OfModel {
        /// A sentence.
        text: String,
    },
}

impl fmt::Display for Note {
    /// A sentence.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImageMissing { image } => write!(formatter, "There is no {image} image, which the model looks at."),
            Self::ImageNotUsed { image } => write!(formatter, "The model does not look at {image} images."),
            Self::TakenWhole { image } => write!(
                formatter,
                "Nothing says where the lesion is in the {image} image: it was taken whole, and the model was trained on images that were \
                 cut to their lesions."
            ),
            Self::BoxNotUsed { image } => write!(
                formatter,
                "The model was trained on whole images: the {image} image was taken whole, and not cut to its lesion."
            ),
            Self::FirstImageAnswers { image, given } => {
                write!(formatter, "The first of {given} {image} images answers.")
            }
            Self::MeanOfLooks { looks } => {
                write!(formatter, "The probabilities are the mean over {looks} looks at the images.")
            }
            Self::DamageAccepted { reason } => write!(formatter, "A damaged image was read as far as it goes: {reason}."),
            Self::NotRecorded { fields } => write!(formatter, "Not recorded: {}.", fields.join(", ")),
            Self::FieldNotUsed { field } => write!(formatter, "The model does not look at `{field}`."),
            Self::NeverSeen { field, category } => write!(
                formatter,
                "No training case had `{field}` = `{category}`: it counts as not recorded."
            ),
            Self::OutOfRange { field, value, unit, training } => {
                let unit = unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
                let NumberRange { lowest, highest } = training;
                write!(
                    formatter,
                    "`{field}` = {value}{unit} is outside the training cases, which have {lowest} to {highest}: the answer is an \
                     extrapolation."
                )
            }
            Self::KnownAfterDiagnosis { field } => write!(
                formatter,
                "`{field}` is known only after somebody has judged the lesion: the answer stands on that judgement."
            ),
            Self::FirstStageAnswers => formatter.write_str(
                "Nothing is recorded of the patient that the model knows: its first stage answers, from the images alone.",
            ),
            Self::SyntheticTraining => {
                formatter.write_str("The model was trained on drawn images: it knows nothing of skin.")
            }
            Self::RunBy { engine } if engine.precision == "f32" => write!(formatter, "{engine} ran the network."),
            Self::RunBy { engine } => write!(
                formatter,
                "{engine} ran the network: probabilities differ from those of f32, with which the model was tested; `dermafuse \
                 check-engine` measures by how much."
            ),
            Self::OfModel { text } => formatter.write_str(text),
        }
    }
}
