//! What the API says, as it is in JSON. `openapi.json` describes the same.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a model is: the answer of `GET /v1/model`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelBody {
    /// SHA-256 of the model file, in hexadecimal.
    pub id: String,
    /// The data set that it was trained on.
    pub data_set: String,
    /// Whether that is of drawn images.
    pub synthetic: bool,
    /// What it answers.
    pub tasks: Vec<TaskModelBody>,
    /// The kinds of images that it looks at, `clinical` and `dermoscopic`.
    pub images: Vec<String>,
    /// What may be said of the patient.
    pub fields: Vec<FieldBody>,
    /// What must be said of it whatever it is asked.
    pub notes: Vec<String>,
    /// The model card as text, a line each; empty where the model has none.
    pub card: Vec<String>,
    /// The largest body of a request, in bytes; 0 where the server has no say in it.
    pub max_body_bytes: usize,
    /// Whether the server keeps answers (never images or fields), so that a diagnosis can be added.
    pub stores_answers: bool,
    /// Always [`RESEARCH_USE`](crate::RESEARCH_USE).
    pub research_use: String,
}

/// A task of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskModelBody {
    /// Its name.
    pub name: String,
    /// A short heading.
    pub label: String,
    /// Its classes.
    pub classes: Vec<String>,
}

/// A field of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldBody {
    /// Its name; requests call it `fields.NAME`.
    pub name: String,
    /// `category` or `number`.
    pub kind: String,
    /// The categories, where it has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// The unit of the number, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The least and the greatest number among the training cases, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// Whether it is known before anybody judges the lesion. One that is not leaks the diagnosis.
    pub known_before_diagnosis: bool,
}

/// What a model says of a case: the answer of `POST /v1/predict`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerBody {
    /// Of this answer alone; with it a diagnosis is added later. The server gives it.
    #[serde(default)]
    pub id: String,
    /// The [`ModelBody::id`] of the model.
    pub model: String,
    /// An entry for each task.
    pub tasks: Vec<TaskBody>,
    /// The questions of the model's groups of classes, such as whether to refer the patient.
    pub groups: Vec<GroupBody>,
    /// How well the model did on test cases, and on those like this patient, a sentence each; empty where it does not say.
    pub evidence: Vec<String>,
    /// What it stands on.
    pub basis: BasisBody,
    /// What was left out, assumed or unknown.
    pub notes: Vec<NoteBody>,
    /// What the images look like before anybody judges them.
    pub findings: Vec<FindingBody>,
    /// The seven-point checklist, where the model has its tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seven_point: Option<SevenPointBody>,
    /// Whether the server has kept it.
    #[serde(default)]
    pub stored: bool,
    /// Always [`RESEARCH_USE`](crate::RESEARCH_USE).
    pub research_use: String,
}

/// Something that must be known of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoteBody {
    /// A stable word, such as `image_missing`.
    pub kind: String,
    /// A sentence in English.
    pub message: String,
    /// What the sentence names, such as `image` or `field`, by the words of [`Note`](dermafuse_infer::Note).
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

impl NoteBody {
    /// A note that names nothing.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), details: Map::new() }
    }
}

/// The answer to one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskBody {
    /// The task.
    pub name: String,
    /// Its short heading.
    pub label: String,
    /// All classes, the most probable first.
    pub classes: Vec<ClassBody>,
    /// The classes that remain possible for the error rate that the model was made with: one is an answer, several or none are an
    /// abstention. Only where the model has such sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub possible: Option<Vec<String>>,
}

/// The answer to the question of a group of classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupBody {
    /// The group, such as `referral`.
    pub name: String,
    /// The task whose classes it unites.
    pub task: String,
    /// The probability of "yes", 0 to 1.
    pub probability: f64,
    /// From which probability on the answer is "yes", where the model has chosen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The answer, where there is a threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yes: Option<bool>,
}

/// A class with its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassBody {
    /// The class.
    pub name: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
}

/// What an answer stands on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasisBody {
    /// The kinds of images.
    pub images: Vec<String>,
    /// The fields.
    pub fields: Vec<String>,
    /// The branches of the model that answered, such as `clinical+dermoscopic+fusion`.
    pub branches: String,
}

/// Something about an image that an answer may suffer from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingBody {
    /// The kind of image; of none, where it is about several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A stable word, such as `blurred`.
    pub kind: String,
    /// A sentence.
    pub message: String,
}

/// The seven-point checklist of the predicted classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SevenPointBody {
    /// 0 to 10.
    pub points: u32,
    /// From how many points on the checklist calls a lesion suspicious.
    pub suspicious_from: u32,
    /// The criteria that are met, by the heading of their tasks.
    pub met: Vec<String>,
}

/// Where an answer comes from: the answer of `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplanationBody {
    /// The task that the heat maps are about.
    pub task: String,
    /// Its most probable class, which the heat maps explain.
    pub class: String,
    /// One for each image that the model looked at.
    pub heat: Vec<HeatBody>,
    /// What each input adds to the probability of each task's most probable class; none where there are too many inputs to ask
    /// about all their combinations, which the notes say.
    pub contributions: Vec<TaskContributionBody>,
    /// What was left out.
    pub notes: Vec<String>,
}

/// An image with what spoke for a class in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeatBody {
    /// The kind of image.
    pub image: String,
    /// How the heat was found.
    pub method: String,
    /// Whether there is none: nothing in the image spoke for the class.
    pub cold: bool,
    /// The image, reduced, as a `data:` URL of a JPEG.
    pub photo: String,
    /// The same under its heat, as a `data:` URL of a PNG.
    pub overlay: String,
}

/// What each input adds to the probability of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskContributionBody {
    /// The task.
    pub task: String,
    /// Its most probable class.
    pub class: String,
    /// The probability of the class from all inputs.
    pub probability: f64,
    /// Its probability from nothing but baselines: images of one colour, a record that says nothing.
    pub baseline: f64,
    /// Exact Shapley values: they add up to `probability − baseline`.
    pub inputs: Vec<ContributionBody>,
}

/// What one input adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContributionBody {
    /// `clinical`, `dermoscopic`, or `fields.NAME`.
    pub input: String,
    /// What it adds to the probability, −1 to 1.
    pub adds: f64,
}
