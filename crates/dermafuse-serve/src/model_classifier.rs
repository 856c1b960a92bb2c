use dermafuse_data::{DataError, PatientImage};
use dermafuse_infer::{
    Answer, Contributions, Evidence, ExplanationRequest, GroupAnswer, ImageHeat, InferError, Input, Model, ModelField,
    Note, Patient, PatientError, sha256_hex,
};
use dermafuse_schema::{
    Decision, FieldKind, Modality, PatientGroup, PatientRange, PerformanceRow, SUSPICIOUS_SCORE, SevenPointScore,
};
use serde_json::{Map, Value};

use crate::heat_pictures::pictures;
use crate::{
    AnswerBody, ApiError, BasisBody, CaseInput, ClassBody, Classifier, ContributionBody, ExplanationBody, FieldBody,
    FindingBody, GroupBody, HeatBody, ModelBody, NoteBody, RESEARCH_USE, SevenPointBody, TaskBody,
    TaskContributionBody, TaskModelBody,
};

/// A saved model behind the page and the API.
#[derive(Clone, Debug)]
pub struct ModelClassifier {
    model: Model,
    body: ModelBody,
}

impl ModelClassifier {
    /// A model to be served.
    ///
    /// # Errors
    /// Parts that do not fit together.
    pub fn new(model: Model) -> Result<Self, InferError> {
        let description = &model.bundle().description;
        let body = ModelBody {
            // The same model gives the same bytes, wherever it was read from.
            id: sha256_hex(&model.bundle().to_bytes()?),
            data_set: description.data_set.clone(),
            synthetic: description.synthetic,
            tasks: model
                .tasks()
                .iter()
                .map(|task| TaskModelBody {
                    name: task.name.clone(),
                    label: task.label.clone(),
                    classes: task.classes.clone(),
                })
                .collect(),
            images: model.images().map(|image| image.name().to_owned()).collect(),
            fields: model.fields().iter().map(field_body).collect(),
            notes: model.bundle().notes(),
            card: card_lines(&model),
            max_body_bytes: 0,
            stores_answers: false,
            research_use: RESEARCH_USE.into(),
        };
        Ok(Self { model, body })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What a model's error is to a client.
    fn told(&self, case: &CaseInput, error: PatientError) -> ApiError {
        let message = error.to_string();
        let field = |name: String| format!("fields.{name}");
        match error {
            PatientError::UnknownField { field: name, .. } => ApiError::input("unknown_field", field(name), message),
            PatientError::FieldTwice { field: name, .. } => ApiError::input("given_twice", field(name), message),
            PatientError::FieldValue { field: name, .. } => ApiError::input("field_value", field(name), message),
            PatientError::UnknownTask { .. } => ApiError::input("unknown_task", "task", message),
            PatientError::NotEnough { .. } => ApiError::case("not_enough", message),
            // The image is called by its kind.
            PatientError::Image(DataError::LesionArea { image, .. }) => {
                ApiError::input("lesion_box", format!("{}_box", image.display()), message)
            }
            PatientError::Image(_) => match self.unreadable(case) {
                Some(image) => ApiError::input("image", image.name(), message),
                None => ApiError::case("image", message),
            },
            _ => ApiError::internal_because(message),
        }
    }

    /// The image that cannot be read.
    fn unreadable(&self, case: &CaseInput) -> Option<Modality> {
        let strictness = self.model.bundle().description.preprocess.decoding;
        Modality::BOTH.into_iter().find(|&image| {
            case.image(image).is_some_and(|bytes| PatientImage::from(&bytes[..]).decode(strictness).is_err())
        })
    }

    fn heat_body(&self, patient: &Patient, heat: &ImageHeat) -> Result<HeatBody, ApiError> {
        let preprocess = &self.model.bundle().description.preprocess;
        let image = patient.images().of(heat.image).get(heat.place).ok_or_else(ApiError::internal)?;
        // The heat is of what the network sees of the photo.
        let pixels = preprocess.seen(image).map_err(|_| ApiError::internal())?;
        let [photo, overlay] = pictures(&pixels, heat.map.values.view())?;
        Ok(HeatBody {
            image: heat.image.name().to_owned(),
            method: match heat.stage {
                Some(stage) => format!("Grad-CAM of stage {}", stage + 1),
                None => "occlusion".to_owned(),
            },
            cold: heat.map.values.iter().all(|&value| value == 0.0),
            photo,
            overlay,
        })
    }
}

impl Classifier for ModelClassifier {
    fn model(&self) -> &ModelBody {
        &self.body
    }

    fn answer(&self, case: &CaseInput) -> Result<AnswerBody, ApiError> {
        let answer = self.model.predict(&patient(case)).map_err(|error| self.told(case, error))?;
        Ok(answer_body(&self.body.id, &answer))
    }

    fn explain(&self, case: &CaseInput) -> Result<ExplanationBody, ApiError> {
        let patient = patient(case);
        let mut request = ExplanationRequest { task: case.task.clone(), ..ExplanationRequest::default() };
        let mut notes = Vec::new();
        let explanation = match self.model.explain(&patient, &request) {
            Err(PatientError::Model(error @ InferError::TooManyInputs { .. })) => {
                notes.push(format!("No contributions: {error}."));
                request.contributions = false;
                self.model.explain(&patient, &request)
            }
            explanation => explanation,
        };
        let explanation = explanation.map_err(|error| self.told(case, error))?;
        let contributions = explanation.contributions.iter().flat_map(|found| self.contribution_bodies(found));
        Ok(ExplanationBody {
            contributions: contributions.collect(),
            heat: explanation.heat.iter().map(|heat| self.heat_body(&patient, heat)).collect::<Result<_, _>>()?,
            task: explanation.task,
            class: explanation.class,
            notes,
        })
    }
}

impl ModelClassifier {
    fn contribution_bodies<'a>(&'a self, found: &'a Contributions) -> impl Iterator<Item = TaskContributionBody> + 'a {
        self.model.tasks().iter().zip(&found.tasks).map(|(task, shares)| TaskContributionBody {
            task: task.name.clone(),
            class: task.classes[shares.class].clone(),
            probability: shares.probability,
            baseline: shares.baseline,
            inputs: found
                .inputs
                .iter()
                .zip(&shares.shapley)
                .map(|(input, &adds)| ContributionBody {
                    input: match input {
                        Input::Clinical => Modality::Clinical.name().to_owned(),
                        Input::Dermoscopic => Modality::Dermoscopic.name().to_owned(),
                        Input::Field(name) => format!("fields.{name}"),
                    },
                    adds,
                })
                .collect(),
        })
    }
}

/// The case as the model is asked about it. An image is called by its kind.
fn patient(case: &CaseInput) -> Patient {
    let images = Modality::BOTH.into_iter().filter_map(|image| Some((image, case.image(image)?)));
    let patient = images.fold(Patient::new(), |patient, (kind, bytes)| {
        let image = PatientImage::from(&bytes[..]).named(kind.name());
        let boxed = case.lesion_box(kind).map(|lesion| image.clone().with_lesion(lesion));
        patient.image(kind, boxed.unwrap_or(image))
    });
    case.fields.iter().fold(patient, |patient, (name, value)| patient.set(name.as_str(), value.as_str()))
}

fn field_body(field: &ModelField) -> FieldBody {
    FieldBody {
        name: field.name.clone(),
        kind: match field.kind {
            FieldKind::Categorical { .. } => "category",
            FieldKind::Numeric => "number",
        }
        .to_owned(),
        categories: field.categories().to_vec(),
        unit: field.unit.clone(),
        range: field.training.map(|range| [range.lowest, range.highest]),
        known_before_diagnosis: field.is_known_before_diagnosis(),
    }
}

fn answer_body(model: &str, answer: &Answer) -> AnswerBody {
    let basis = &answer.basis;
    let images = Modality::BOTH.into_iter().filter(|&image| basis.has(image));
    let mut branches = basis.branches.join("+");
    if basis.second_stage {
        branches += ", second stage";
    }
    AnswerBody {
        id: String::new(),
        model: model.to_owned(),
        tasks: answer
            .tasks()
            .iter()
            .map(|task| TaskBody {
                name: task.name.clone(),
                label: task.label.clone(),
                classes: task
                    .ranked()
                    .iter()
                    .map(|ranked| ClassBody { name: ranked.class.clone(), probability: ranked.probability })
                    .collect(),
                possible: task.decision().map(possible),
            })
            .collect(),
        basis: BasisBody {
            images: images.map(|image| image.name().to_owned()).collect(),
            fields: basis.fields.clone(),
            branches,
        },
        notes: answer.notes.iter().map(note_body).collect(),
        findings: finding_bodies(answer),
        groups: answer.groups.iter().map(group_body).collect(),
        evidence: answer.evidence.as_ref().map(sentences).unwrap_or_default(),
        seven_point: answer.seven_point.as_ref().map(seven_point_body),
        stored: false,
        research_use: RESEARCH_USE.into(),
    }
}

/// What is wrong with the images, and whether they are unlike those of the training.
fn finding_bodies(answer: &Answer) -> Vec<FindingBody> {
    let of_images = answer.findings.iter().map(|finding| FindingBody {
        image: finding.image.map(|image| image.name().to_owned()),
        kind: finding.kind.name().to_owned(),
        message: sentence(&finding.to_string()),
    });
    let unlike =
        answer.out_of_distribution.as_ref().filter(|distance| distance.is_unlike).map(|distance| FindingBody {
            image: None,
            kind: "unlike_training".to_owned(),
            message: format!("The case is unlike those of the training: {distance}."),
        });
    of_images.chain(unlike).collect()
}

/// The classes that a decision leaves.
fn possible(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Label(class) => vec![class.clone()],
        Decision::Abstain { set } => set.clone(),
    }
}

fn group_body(group: &GroupAnswer) -> GroupBody {
    GroupBody {
        name: group.name.clone(),
        task: group.task.clone(),
        probability: group.probability,
        threshold: group.threshold,
        yes: group.yes,
    }
}

/// What is known of how well the model does, for all and for patients like this one.
fn sentences(evidence: &Evidence) -> Vec<String> {
    let row = |of: &str, row: &PerformanceRow| {
        let questions = row.questions.iter().map(|question| {
            let (sensitivity, specificity) = (question.sensitivity, question.specificity);
            format!("; {}: sensitivity {sensitivity}, specificity {specificity}", question.name)
        });
        let accuracy = row.accuracy;
        format!("{of}: accuracy in per cent {accuracy}{}.", questions.collect::<String>())
    };
    let all = row(&format!("Test cases, {}", evidence.task), &evidence.all);
    let like = evidence.like_this.iter().map(|group| row(&group_name(group), &group.numbers));
    [all].into_iter().chain(like).chain(evidence.not_known.iter().cloned()).collect()
}

/// A group of patients, such as `sex female`.
fn group_name(group: &PatientGroup) -> String {
    let field = &group.field;
    match &group.of {
        PatientRange::Category(category) => format!("{field} {category}"),
        PatientRange::Numbers { from, below: Some(below) } => format!("{field} from {from} to below {below}"),
        PatientRange::Numbers { from, below: None } => format!("{field} from {from}"),
        PatientRange::NotRecorded => format!("{field} not recorded"),
    }
}

/// A sentence of words that begin small and lack their full stop.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

fn note_body(note: &Note) -> NoteBody {
    let mut details = match serde_json::to_value(note) {
        Ok(Value::Object(details)) => details,
        _ => Map::new(),
    };
    let kind = details.remove("kind").and_then(|kind| kind.as_str().map(str::to_owned));
    NoteBody { kind: kind.unwrap_or_default(), message: note.to_string(), details }
}

fn seven_point_body(score: &SevenPointScore) -> SevenPointBody {
    let met = score.criteria.iter().filter(|criterion| criterion.met);
    SevenPointBody {
        points: score.points(),
        suspicious_from: SUSPICIOUS_SCORE,
        met: met.map(|criterion| criterion.task.clone()).collect(),
    }
}

/// The model card, a line each.
fn card_lines(model: &Model) -> Vec<String> {
    let Some(card) = model.card() else { return Vec::new() };
    let experiment = (!card.experiment.is_empty()).then(|| format!("experiment: {}", card.experiment));
    let training = card.training.as_ref().map(|training| format!("training: {training}"));
    let expected = card.expected.as_ref().map(|expected| format!("expected: {expected}"));
    let texts = card.texts.named().map(|(name, text)| format!("{}: {text}", name.replace('_', " ")));
    experiment.into_iter().chain(training).chain(expected).chain(texts).collect()
}
