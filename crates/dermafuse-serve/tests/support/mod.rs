//! A classifier for tests: its answers are known, and it can be made to wait, to fail and to panic.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod http;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use dermafuse_serve::{
    AnswerBody, ApiError, App, AuditLine, AuditSink, BasisBody, CaseInput, ClassBody, Classifier, ContributionBody,
    ExplanationBody, FieldBody, FindingBody, GroupBody, HeatBody, ModelBody, NoteBody, RESEARCH_USE, ServeConfig,
    SevenPointBody, TaskBody, TaskContributionBody, TaskModelBody,
};

/// Where the tests' server is, by its name.
pub(crate) const HOST: &str = "127.0.0.1:8377";

/// A classifier of two classes with the fields `sex` and `age`. A clinical image `wait` waits for the gate, `panic` panics.
pub(crate) struct Known {
    model: ModelBody,
    gate: Mutex<Receiver<()>>,
    entered: Sender<()>,
}

/// The other side of the gate.
pub(crate) struct Gate {
    /// Lets one case through for each message.
    pub(crate) open: Sender<()>,
    /// A message for each case that waits.
    pub(crate) entered: Receiver<()>,
}

impl Known {
    /// The classifier and its gate.
    pub(crate) fn new() -> (Arc<Self>, Gate) {
        let ((open, gate), (entered, told)) = (channel(), channel());
        let model = ModelBody {
            id: "0".repeat(64),
            data_set: "drawn".into(),
            synthetic: true,
            tasks: vec![TaskModelBody {
                name: "diagnosis".into(),
                label: "DIAG".into(),
                classes: vec!["NEV".into(), "MEL".into()],
            }],
            images: vec!["clinical".into(), "dermoscopic".into()],
            fields: vec![
                FieldBody {
                    name: "sex".into(),
                    kind: "category".into(),
                    categories: vec!["female".into(), "male".into()],
                    unit: None,
                    range: None,
                    known_before_diagnosis: true,
                },
                FieldBody {
                    name: "age".into(),
                    kind: "number".into(),
                    categories: Vec::new(),
                    unit: Some("years".into()),
                    range: Some([5.0, 90.0]),
                    known_before_diagnosis: true,
                },
            ],
            notes: Vec::new(),
            card: vec!["A card.".into()],
            max_body_bytes: 0,
            stores_answers: false,
            research_use: RESEARCH_USE.into(),
        };
        (Arc::new(Self { model, gate: Mutex::new(gate), entered }), Gate { open, entered: told })
    }

    fn look(&self, case: &CaseInput) -> Result<(), ApiError> {
        match case.clinical.as_deref() {
            Some(b"wait") => {
                let _ = self.entered.send(());
                self.gate.lock().unwrap().recv().map_err(|_| ApiError::internal())
            }
            Some(b"panic") => panic!("asked to"),
            _ => Ok(()),
        }?;
        match case.fields.iter().find(|(name, _)| !self.model.fields.iter().any(|field| field.name == *name)) {
            Some((name, _)) => {
                Err(ApiError::input("unknown_field", format!("fields.{name}"), "the model has no such field"))
            }
            None => Ok(()),
        }
    }
}

impl Classifier for Known {
    fn model(&self) -> &ModelBody {
        &self.model
    }

    fn answer(&self, case: &CaseInput) -> Result<AnswerBody, ApiError> {
        self.look(case)?;
        let class = |name: &str, probability| ClassBody { name: name.into(), probability };
        Ok(AnswerBody {
            id: String::new(),
            model: self.model.id.clone(),
            tasks: vec![TaskBody {
                name: "diagnosis".into(),
                label: "DIAG".into(),
                classes: vec![class("MEL", 0.75), class("NEV", 0.25)],
                possible: Some(vec!["MEL".into(), "NEV".into()]),
            }],
            groups: vec![GroupBody {
                name: "referral".into(),
                task: "diagnosis".into(),
                probability: 0.75,
                threshold: Some(0.3),
                yes: Some(true),
            }],
            evidence: vec!["Test cases: 80 %.".into()],
            basis: BasisBody {
                images: vec!["clinical".into()],
                fields: vec!["sex".into()],
                branches: "clinical".into(),
            },
            notes: vec![NoteBody::new("synthetic_training", "Drawn.")],
            findings: vec![FindingBody {
                image: Some("clinical".into()),
                kind: "blurred".into(),
                message: "Blurred.".into(),
            }],
            seven_point: Some(SevenPointBody { points: 3, suspicious_from: 3, met: vec!["PN".into()] }),
            stored: false,
            research_use: RESEARCH_USE.into(),
        })
    }

    fn explain(&self, case: &CaseInput) -> Result<ExplanationBody, ApiError> {
        self.look(case)?;
        Ok(ExplanationBody {
            task: "diagnosis".into(),
            class: "MEL".into(),
            heat: vec![HeatBody {
                image: "clinical".into(),
                method: "Grad-CAM of stage 4".into(),
                cold: false,
                photo: "data:image/jpeg;base64,".into(),
                overlay: "data:image/png;base64,".into(),
            }],
            contributions: vec![TaskContributionBody {
                task: "diagnosis".into(),
                class: "MEL".into(),
                probability: 0.75,
                baseline: 0.5,
                inputs: vec![ContributionBody { input: "clinical".into(), adds: 0.25 }],
            }],
            notes: vec!["A note.".into()],
        })
    }
}

/// A sink that keeps the lines.
pub(crate) fn sink() -> (AuditSink, Arc<Mutex<Vec<AuditLine>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    (Arc::new(move |line: &AuditLine| kept.lock().unwrap().push(line.clone())), lines)
}

/// An app of the classifier at [`HOST`].
pub(crate) fn app(config: ServeConfig) -> (App, Gate, Arc<Mutex<Vec<AuditLine>>>) {
    let ((classifier, gate), (sink, lines)) = (Known::new(), sink());
    (App::new(classifier, HOST.parse().unwrap(), config, None, sink).unwrap(), gate, lines)
}
