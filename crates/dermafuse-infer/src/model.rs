use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse_data::{CaseImages, CaseSet, OutsideModel, RowFault, UnseenCategory};
use dermafuse_networks::{AnyNetwork, Modalities, MultimodalInput, Network};
use dermafuse_schema::{
    BranchLogits, Case, FieldKind, FieldRole, FieldValue, Modality, SchemaError, SevenPointScore, SeveralImages,
    TaskSet,
};

use crate::patient::RecordValue;
use crate::predictor::Collected;
use crate::{
    Answer, Basis, Bundle, BundleDescription, Engine, Evidence, GroupAnswer, InferError, ModelCard, ModelField, Note,
    Patient, PatientError, Predictor, TaskAnswer, kinds_of,
};

/// A trained model that answers for one patient after the other: what a program of one's own calls.
///
/// It is cheap to clone and can be asked from any number of threads at once; the same question has the same answer, to the bit
/// on the CPU, whoever else asks. A call makes no thread and waits for no other, but for one thing: all images that a process
/// decodes at one time share [`DECODING_BUDGET`](dermafuse_data::DECODING_BUDGET) bytes, and one that would exceed them waits. Images
/// are decoded on the calling thread, from files and memory by the same functions as those of [`Bundle::predict`], so that the answers
/// are the same, too.
///
/// ```
/// # use burn::tensor::Device;
/// # use dermafuse_backbones::BackboneKind;
/// # use dermafuse_data::{Preprocess, RgbPixels, encode_png};
/// # use dermafuse_ensemble::TwoStage;
/// # use dermafuse_infer::{Bundle, BundleDescription};
/// # use dermafuse_networks::{FusionNetConfig, Network, NetworkConfig};
/// # use dermafuse_schema::{BranchWeights, FuseSpace, Task, TaskSet};
/// use dermafuse_infer::{Model, Patient};
///
/// # let config = FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]);
/// # let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// # let description = BundleDescription::new(tasks, NetworkConfig::FusionNet(config), Preprocess::imagenet(32));
/// # let network = description.network.init_seeded(3, &Device::flex())?;
/// # let branch_weights = BranchWeights::new(network.branches().iter().map(|branch| (branch.name, 1.0)))?;
/// # let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0)?;
/// # let file = Bundle::new(description, network, two_stage).to_bytes()?;
/// # let jpeg = encode_png(&RgbPixels::new(40, 30, vec![180; 3600])?);
/// let model = Model::from_bytes(&file, &Device::flex())?; // or `Model::open("skin.safetensors", …)`
/// let answer = model.predict(&Patient::new().clinical(jpeg))?;
/// let top = answer.task("diagnosis")?.top();
/// println!("{} {:.2}, from {}", top.class, top.probability, answer.basis);
/// assert_eq!(answer.basis.to_string(), "clinical image");
/// assert!(answer.notes.iter().any(|note| note.to_string() == "There is no dermoscopic image, which the model looks at."));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bundle: Bundle,
    predictor: Predictor<AnyNetwork>,
    /// Those of the encoder, in its order.
    fields: Vec<ModelField>,
    /// Whether any part of the model looks at them.
    uses_record: bool,
}

/// A patient as a case of the model: the only one of a set, with its images.
pub(crate) struct Asked<'a> {
    pub(crate) set: CaseSet,
    pub(crate) images: CaseImages,
    patient: &'a Patient,
    notes: Vec<Note>,
}

impl Model {
    /// Reads a model's file, or that of the folder of the run that made it, and puts its network on a device.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, InferError> {
        Self::new(Bundle::load(path, device)?)
    }

    /// Reads a model from the bytes of its file.
    ///
    /// # Errors
    /// As [`Bundle::from_bytes`].
    pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Self, InferError> {
        Self::new(Bundle::from_bytes(bytes, device)?)
    }

    /// A model of a bundle, such as one that was just trained.
    ///
    /// # Errors
    /// Parts that do not fit together.
    pub fn new(bundle: Bundle) -> Result<Self, InferError> {
        bundle.check()?;
        bundle.engine.as_ref().map_or(Ok(()), |engine| engine.ready())?;
        let mut predictor = bundle.predictor();
        predictor.measure = true;
        let encoder = &bundle.description.encoder;
        let outside = &bundle.description.outside;
        let said = outside.iter().flat_map(OutsideModel::fields);
        let fields = encoder.fields().cloned().chain(said).map(|field| ModelField::of(encoder, &field)).collect();
        let uses_record =
            bundle.network.modalities().metadata || bundle.two_stage.second_stage.is_some() || !outside.is_empty();
        Ok(Self { inner: Arc::new(Inner { bundle, predictor, fields, uses_record }) })
    }

    /// The same model for a place where classes are as frequent as is stated, as (task, class, share); the other classes of a task
    /// share what is left. Every answer then says so.
    ///
    /// # Errors
    /// As [`Bundle::assume_prevalence`].
    pub fn at_prevalence(&self, shares: &[(String, String, f64)]) -> Result<Self, InferError> {
        let mut bundle = self.bundle().clone();
        bundle.assume_prevalence(shares)?;
        Self::new(bundle)
    }

    /// The same model with an engine that runs its network: a library of the machine, which is several times faster on a CPU. The
    /// network becomes ONNX in memory and is handed to it; the second stage, and whatever needs gradients, stays where it is.
    ///
    /// # Errors
    /// As [`Bundle::with_engine`].
    pub fn engine(&self, engine: &Engine) -> Result<Self, InferError> {
        Self::new(self.bundle().clone().with_engine(engine)?)
    }

    /// The parts of the model.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.inner.bundle
    }

    /// What it predicts.
    #[must_use]
    pub fn tasks(&self) -> &TaskSet {
        &self.bundle().description.tasks
    }

    /// The fields of the record that it looks at; none for a model that looks at images alone.
    #[must_use]
    pub fn fields(&self) -> &[ModelField] {
        if self.inner.uses_record { &self.inner.fields } else { &[] }
    }

    /// What its file says of it to people; `None` if it says nothing.
    #[must_use]
    pub fn card(&self) -> Option<&ModelCard> {
        self.bundle().description.card.as_ref()
    }

    /// The kinds of images that it looks at.
    pub fn images(&self) -> impl Iterator<Item = Modality> + use<> {
        kinds_of(self.bundle().network.modalities())
    }

    /// What the model says of a patient's lesion.
    ///
    /// A field that is set twice, that the model does not have, or to a value that it cannot have is an error. A number that no
    /// training case reached, a category that none had, and whatever is missing is a [note](Answer::notes). A field that the model
    /// has in its description and does not look at is accepted, and noted.
    ///
    /// # Errors
    /// The first thing in the patient that does not fit; an image that cannot be read, by its name; too little for any answer.
    pub fn predict(&self, patient: &Patient) -> Result<Answer, PatientError> {
        self.answer(self.asked(patient)?)
    }

    /// What the model says of many patients, one after the other, as the iterator that is returned is asked: one patient is in
    /// memory at a time, the order is kept, and one who cannot be answered is an error in that place. A program with several
    /// threads may as well call [`Model::predict`] from each.
    ///
    /// ```
    /// use dermafuse_infer::{Answer, Model, Patient, PatientError};
    ///
    /// fn malignant(model: &Model, photos: Vec<Vec<u8>>) -> Result<Vec<f64>, PatientError> {
    ///     let patients = photos.into_iter().map(|jpeg| Patient::new().clinical(jpeg));
    ///     let of = |answer: Answer| Ok(answer.task("diagnosis")?.probability("malignant").unwrap_or(0.0));
    ///     model.predict_many(patients).map(|answer| of(answer?)).collect()
    /// }
    /// ```
    pub fn predict_many<I>(&self, patients: I) -> impl Iterator<Item = Result<Answer, PatientError>> + use<I>
    where
        I: IntoIterator<Item: Borrow<Patient>>,
    {
        let model = self.clone();
        patients.into_iter().map(move |patient| model.predict(patient.borrow()))
    }

    /// The patient as the only case of a set, with the record's values found by name.
    pub(crate) fn asked<'a>(&self, patient: &'a Patient) -> Result<Asked<'a>, PatientError> {
        let description = &self.bundle().description;
        let mut notes = Vec::new();
        let metadata = self.metadata(patient, &mut notes)?;
        let named = |modality: Modality| {
            let images = patient.images().of(modality).iter().enumerate();
            images.map(move |(at, image)| match (image.has_name(), at) {
                (true, _) => image.clone(),
                (false, 0) => image.clone().named(format!("{modality} image")),
                (false, _) => image.clone().named(format!("{modality} image {}", at + 1)),
            })
        };
        let images = CaseImages {
            clinical: named(Modality::Clinical).collect(),
            dermoscopic: named(Modality::Dermoscopic).collect(),
        };
        let names = |modality| images.of(modality).iter().map(|image| image.name().into_owned().into()).collect();
        let case = Case {
            clinical: names(Modality::Clinical),
            dermoscopic: names(Modality::Dermoscopic),
            metadata,
            labels: vec![None; description.tasks.len()],
            ..Case::new("patient")
        };
        let set = CaseSet {
            name: "a patient".into(),
            synthetic: false,
            tasks: description.tasks.clone(),
            fields: description
                .encoder
                .fields()
                .cloned()
                .chain(description.outside.iter().flat_map(OutsideModel::fields))
                .collect(),
            cases: vec![case],
            split: None,
            notes: Vec::new(),
        };
        Ok(Asked { set, images, patient, notes })
    }

    /// One value for each field of the encoder.
    fn metadata(&self, patient: &Patient, notes: &mut Vec<Note>) -> Result<Vec<FieldValue>, PatientError> {
        let encoder = &self.bundle().description.encoder;
        let Inner { fields, uses_record, .. } = &*self.inner;
        let mut values = vec![FieldValue::Missing; fields.len()];
        for (at, (name, value)) in patient.record().iter().enumerate() {
            let Some(place) = fields.iter().position(|field| field.name == *name) else {
                let known = self.fields().iter().map(|field| field.name.clone()).collect();
                return Err(PatientError::UnknownField { field: name.clone(), known });
            };
            if let Some((_, first)) = patient.record()[..at].iter().find(|(earlier, _)| earlier == name) {
                let (first, second) = (first.to_string(), value.to_string());
                return Err(PatientError::FieldTwice { field: name.clone(), first, second });
            }
            let field = &fields[place];
            values[place] = value_of(field, value)?;
            if !uses_record {
                notes.push(Note::FieldNotUsed { field: name.clone() });
                continue;
            }
            match (values[place], field.training) {
                (FieldValue::Category(index), _) if field.never_seen.contains(&field.categories()[index]) => {
                    let category = field.categories()[index].clone();
                    if encoder.config().unseen == UnseenCategory::Refuse {
                        let seen = field.categories().iter().filter(|category| !field.never_seen.contains(category));
                        let seen: Vec<&str> = seen.map(String::as_str).collect();
                        let expected = format!("one of {}, which training cases had", seen.join(", "));
                        return Err(PatientError::FieldValue { field: name.clone(), found: category, expected });
                    }
                    notes.push(Note::NeverSeen { field: name.clone(), category });
                }
                (FieldValue::Number(value), Some(training)) if !training.contains(value) => {
                    let (field, unit) = (name.clone(), field.unit.clone());
                    notes.push(Note::OutOfRange { field, value, unit, training });
                }
                _ => {}
            }
            let is_late = !field.is_known_before_diagnosis() && field.role != FieldRole::ModelOutput;
            if values[place] != FieldValue::Missing && is_late {
                notes.push(Note::KnownAfterDiagnosis { field: name.clone() });
            }
        }
        if *uses_record {
            let missing = fields.iter().zip(&values).filter(|(_, value)| **value == FieldValue::Missing);
            let missing: Vec<String> = missing.map(|(field, _)| field.name.clone()).collect();
            if !missing.is_empty() {
                notes.push(Note::NotRecorded { fields: missing });
            }
        }
        Ok(values)
    }

    fn answer(&self, asked: Asked<'_>) -> Result<Answer, PatientError> {
        let bundle = self.bundle();
        let encoder = &bundle.description.encoder;
        let Collected { logits, accepted, measures, distances, .. } = self
            .inner
            .predictor
            .collect_of_images(&asked.set, &asked.images, encoder)
            .map_err(|error| self.told(error))?;
        let stages = bundle.stages_of(&logits)?;
        let (_, last) = stages.last().expect("a model has a stage");
        let tasks = &bundle.description.tasks;
        let BundleDescription { groups, prediction_sets, performance, .. } = &bundle.description;
        let of_task = |(at, (task, table)): (usize, (_, &dermafuse_schema::ndarray::Array2<f64>))| {
            let probabilities = table.row(0).to_vec();
            let decision = prediction_sets.as_ref().map(|sets| sets.decide(at, &probabilities));
            TaskAnswer::new(task, probabilities).decided(decision)
        };
        let groups = groups.iter().map(|fitted| GroupAnswer::of(fitted, last)).collect::<Result<_, _>>();
        let (fields, values) = (&asked.set.fields, &asked.set.cases[0].metadata);
        let evidence = performance.as_ref().map(|performance| Evidence::of(performance, fields, values));
        let classes = tasks.iter().enumerate().map(|(at, task)| (task, last.predicted(0, at)));
        let basis = self.basis(&asked.set, &logits)?;
        let mut notes = self.notes(asked, &logits, accepted);
        notes.extend(bundle.calibration_notes(&stages)?.into_iter().map(|text| Note::OfModel { text }));
        Ok(Answer {
            tasks: tasks.iter().zip(&last.probabilities).enumerate().map(of_task).collect(),
            groups: groups.map_err(InferError::from)?,
            evidence,
            basis,
            seven_point: SevenPointScore::of(classes),
            findings: measures.iter().flat_map(|of_patient| bundle.findings(of_patient)).collect(),
            out_of_distribution: distances.into_iter().flatten().find_map(|score| bundle.training_distance(score)),
            notes,
            probabilities: bundle.two_stage.facts(),
            engine: bundle.engine_facts(),
        })
    }

    /// What the answer to the logits stands on.
    fn basis(&self, set: &CaseSet, logits: &BranchLogits) -> Result<Basis, PatientError> {
        let Bundle { description, network, two_stage, .. } = self.bundle();
        let case = &set.cases[0];
        let used = logits.used_branches(0, &two_stage.branch_weights).map_err(InferError::from)?;
        let needs = network.branches().into_iter().filter(|branch| used.contains(&branch.name));
        let seen = needs.fold(Modalities::default(), |all, branch| all.and(branch.needs));
        let second_stage = two_stage.second_stage.is_some() && logits.cohort.has_metadata[0];
        let images = |modality| match (description.several_images, case.images(modality).len()) {
            (SeveralImages::First, given) => given.min(1),
            (SeveralImages::MeanOfProbabilities, given) => given,
        };
        let fields = match seen.metadata || (second_stage && two_stage.mix < 1.0) {
            true => self.known_fields(set)?,
            false => Vec::new(),
        };
        Ok(Basis {
            clinical: if seen.clinical { images(Modality::Clinical) } else { 0 },
            dermoscopic: if seen.dermoscopic { images(Modality::Dermoscopic) } else { 0 },
            fields,
            branches: used.into_iter().map(str::to_owned).collect(),
            second_stage,
        })
    }

    /// The fields with a value that the model knows.
    fn known_fields(&self, set: &CaseSet) -> Result<Vec<String>, PatientError> {
        let recorded = self.fields().iter().zip(&set.cases[0].metadata);
        let known = recorded.filter(|(field, value)| match value {
            FieldValue::Missing => false,
            FieldValue::Number(_) => true,
            FieldValue::Category(index) => !field.never_seen.contains(&field.categories()[*index]),
        });
        Ok(known.map(|(field, _)| field.name.clone()).collect())
    }

    fn notes(&self, asked: Asked<'_>, logits: &BranchLogits, accepted: Vec<RowFault>) -> Vec<Note> {
        let Bundle { description, network, two_stage, .. } = self.bundle();
        let mut notes = Vec::new();
        let looked_at: Vec<Modality> = kinds_of(network.modalities()).collect();
        for image in Modality::BOTH {
            match (looked_at.contains(&image), asked.patient.images().of(image).len()) {
                (true, 0) => notes.push(Note::ImageMissing { image }),
                (false, 1..) => notes.push(Note::ImageNotUsed { image }),
                (true, given @ 2..) if description.several_images == SeveralImages::First => {
                    notes.push(Note::FirstImageAnswers { image, given });
                }
                _ => {}
            }
        }
        for image in looked_at {
            let given = asked.patient.images().of(image);
            let seen =
                if description.several_images == SeveralImages::First { given.len().min(1) } else { given.len() };
            let boxed = given[..seen].iter().filter(|image| image.lesion().is_some()).count();
            match description.preprocess.box_margin {
                Some(_) if boxed < seen => notes.push(Note::TakenWhole { image }),
                None if boxed > 0 => notes.push(Note::BoxNotUsed { image }),
                _ => {}
            }
        }
        if let looks @ 2.. = logits.looks_of(0) {
            notes.push(Note::MeanOfLooks { looks });
        }
        notes.extend(accepted.into_iter().map(|fault| Note::DamageAccepted { reason: fault.error.to_string() }));
        notes.extend(asked.notes);
        if two_stage.second_stage.is_some() && !logits.cohort.has_metadata[0] {
            notes.push(Note::FirstStageAnswers);
        }
        if description.synthetic {
            notes.push(Note::SyntheticTraining);
        }
        notes.extend(self.bundle().notes().into_iter().map(|text| Note::OfModel { text }));
        notes.extend(self.bundle().engine_note().map(|engine| Note::RunBy { engine }));
        // One that answers are corrected to is among the model's own notes, with all tasks.
        let uncorrected = two_stage.prevalence.as_ref().filter(|prevalence| prevalence.assumed.is_none());
        if let Some(prevalence) = uncorrected {
            notes.push(Note::OfModel { text: prevalence.sentence_of(&description.tasks[0].name) });
        }
        notes
    }

    /// The looks at the patient as the network sees them.
    pub(crate) fn inputs(&self, asked: &Asked<'_>) -> Result<Vec<MultimodalInput>, InferError> {
        self.bundle().inputs_of_images(&asked.set, &asked.images)
    }

    /// An error of the network in the words of who asked.
    fn told(&self, error: InferError) -> PatientError {
        match error {
            InferError::Schema(SchemaError::NoBranch { .. }) => {
                let network = &self.bundle().network;
                let branches = network.branches();
                let needs_less = |needs: Modalities| {
                    branches.iter().any(|other| other.needs != needs && other.needs.are_among(needs))
                };
                let parts = |needs: Modalities| {
                    let images = kinds_of(needs).map(|modality| format!("a {modality} image"));
                    let record = needs.metadata && network.answers_by_subset();
                    let record = record.then(|| "something of its record".to_owned());
                    images.chain(record).collect::<Vec<_>>().join(" and ")
                };
                let mut enough: Vec<String> = Vec::new();
                for needs in branches.iter().map(|branch| branch.needs).filter(|needs| !needs_less(*needs)) {
                    let needed = parts(needs);
                    if !enough.contains(&needed) {
                        enough.push(needed);
                    }
                }
                PatientError::NotEnough { enough }
            }
            other => other.into(),
        }
    }
}

/// A value as the field holds it.
fn value_of(field: &ModelField, value: &RecordValue) -> Result<FieldValue, PatientError> {
    let refused = |expected: String| {
        Err(PatientError::FieldValue { field: field.name.clone(), found: value.to_string(), expected })
    };
    match (&field.kind, value) {
        (_, RecordValue::NotRecorded) => Ok(FieldValue::Missing),
        (FieldKind::Categorical { categories }, _) => {
            let text = value.to_string();
            match categories.iter().position(|category| *category == text) {
                Some(index) => Ok(FieldValue::Category(index)),
                None => refused(format!("one of {}", categories.join(", "))),
            }
        }
        (FieldKind::Numeric, _) => {
            let number = match value {
                RecordValue::Number(number) => Some(*number),
                _ => value.to_string().parse().ok(),
            };
            match number.filter(|number: &f64| number.is_finite()) {
                Some(number) => Ok(FieldValue::Number(number)),
                None => refused("a number".to_owned()),
            }
        }
    }
}
