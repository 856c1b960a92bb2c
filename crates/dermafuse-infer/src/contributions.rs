use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_data::{CaseSet, DataError};
use dermafuse_networks::{Modalities, MultimodalInput, Network};
use dermafuse_schema::{Branch, BranchLogits, Case, CaseId, Cohort, FieldValue, Modality, Predictions};
use ndarray::{Array2, Array3, Axis};

use crate::bundle::Bundle;
use crate::{ImageBaseline, InferError, shapley_values};

/// The most inputs whose every combination is asked about: 4,096 combinations.
pub const MAX_INPUTS: usize = 12;

/// Something that a prediction is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The clinical photo.
    Clinical,
    /// The dermoscopic image.
    Dermoscopic,
    /// A recorded value of the patient's record, by its field's name.
    Field(String),
}

/// What each input of a case adds to the model's answer.
///
/// An input that is taken away is replaced by its baseline: an image by one colour ([`ImageBaseline`]), a recorded value by
/// "not recorded", which the encoder knows. The answer to nothing but baselines is `baseline`. Inputs that the case does not
/// have, or the model does not look at, are not listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    /// The inputs.
    pub inputs: Vec<Input>,
    /// One entry for each task.
    pub tasks: Vec<TaskContributions>,
}

/// What each input of a case adds to the probability of the class that the model predicts.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskContributions {
    /// The predicted class.
    pub class: usize,
    /// Its probability from all inputs.
    pub probability: f64,
    /// Its probability from baselines alone.
    pub baseline: f64,
    /// Exact Shapley values, one for each input: they add up to `probability − baseline`.
    pub shapley: Vec<f64>,
    /// Its probability when a single input is left out, as the model answers to a case that never had it: without an image
    /// from the branches that do not need it, without a recorded value from the rest of the record. `None` where no branch is
    /// left.
    pub without: Vec<Option<f64>>,
}

impl fmt::Display for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Clinical => "clinical image",
            Self::Dermoscopic => "dermoscopic image",
            Self::Field(name) => name,
        })
    }
}

/// An input with what is needed to take it away.
enum Player {
    Clinical,
    Dermoscopic,
    /// Place in the case's metadata.
    Field(usize),
}

/// A combination of inputs that the model is asked about.
struct Question {
    case: Case,
    clinical: Shown,
    dermoscopic: Shown,
    /// Whether the record counts as there, though it may say nothing.
    has_record: bool,
}

impl Question {
    /// What is there; a baseline is.
    fn there(&self) -> Modalities {
        let [clinical, dermoscopic] = [self.clinical, self.dermoscopic].map(|image| image != Shown::Missing);
        Modalities { clinical, dermoscopic, metadata: self.has_record }
    }
}

/// What of an image is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Image,
    Baseline,
    /// It is not there: branches that need it do not count.
    Missing,
}

impl Bundle {
    /// What each input of the case at `row` adds to the bundle's last answer (its second stage included), for every task.
    ///
    /// # Errors
    /// A data set with other tasks, an image that cannot be read, metadata that does not fit the encoder, more than
    /// [`MAX_INPUTS`] inputs, logits that are not finite.
    pub fn contributions(
        &self,
        set: &CaseSet,
        row: usize,
        baseline: ImageBaseline,
    ) -> Result<Contributions, InferError> {
        self.contributions_of(set, row, || self.inputs(set, row), baseline)
    }

    /// The same for a case whose looks are given by `looks`, once all else has been checked.
    pub(crate) fn contributions_of(
        &self,
        set: &CaseSet,
        row: usize,
        looks: impl FnOnce() -> Result<Vec<MultimodalInput>, InferError>,
        baseline: ImageBaseline,
    ) -> Result<Contributions, InferError> {
        let set = self.in_model_tasks(set)?;
        let set = &*set;
        let case = set.cases.get(row).ok_or(DataError::Row { row, cases: set.len() })?;
        let (inputs, players) = self.players(set, case);
        if players.len() > MAX_INPUTS {
            return Err(InferError::TooManyInputs { found: players.len(), most: MAX_INPUTS });
        }
        let matched = self.description.encoder.matched(&set.fields)?;
        let has_record = matched.has_metadata(case)?;
        let sets = 1_usize << players.len();
        let own = |shown: bool, there: bool| match (there, shown) {
            (false, _) => Shown::Missing,
            (true, true) => Shown::Image,
            (true, false) => Shown::Baseline,
        };
        let mut questions: Vec<Question> = (0..sets)
            .map(|subset| {
                let mut question = Question {
                    case: Case { id: CaseId::from(format!("{}/{subset}", case.id)), ..case.clone() },
                    clinical: own(true, case.has(Modality::Clinical)),
                    dermoscopic: own(true, case.has(Modality::Dermoscopic)),
                    has_record,
                };
                for (index, player) in players.iter().enumerate() {
                    let there = subset & (1 << index) != 0;
                    match player {
                        Player::Clinical => question.clinical = own(there, true),
                        Player::Dermoscopic => question.dermoscopic = own(there, true),
                        Player::Field(place) if !there => question.case.metadata[*place] = FieldValue::Missing,
                        Player::Field(_) => {}
                    }
                }
                question
            })
            .collect();
        // Without an input altogether.
        let whole = sets - 1;
        let mut alone = vec![None; players.len()];
        for (index, player) in players.iter().enumerate() {
            let full = &questions[whole];
            let mut without = Question { case: full.case.clone(), ..*full };
            match player {
                Player::Clinical => without.clinical = Shown::Missing,
                Player::Dermoscopic => without.dermoscopic = Shown::Missing,
                Player::Field(place) => {
                    without.case.metadata[*place] = FieldValue::Missing;
                    without.has_record = matched.has_metadata(&without.case)?;
                    if without.has_record || !self.network.answers_by_subset() {
                        alone[index] = Some(whole & !(1 << index));
                        continue;
                    }
                }
            }
            if self.answering(without.there()).contains(&true) {
                alone[index] = Some(questions.len());
                without.case.id = CaseId::from(format!("{} without an input", case.id));
                questions.push(without);
            }
        }

        let predictions = self.answers(set, &looks()?, &questions, baseline)?;
        let tasks = (0..predictions.tasks.len()).map(|task| {
            let class = predictions.predicted(whole, task);
            let of = |question: usize| predictions.probabilities[task][[question, class]];
            let values: Vec<f64> = (0..sets).map(of).collect();
            TaskContributions {
                class,
                probability: values[whole],
                baseline: values[0],
                shapley: shapley_values(players.len(), &values),
                without: alone.iter().map(|question| question.map(of)).collect(),
            }
        });
        Ok(Contributions { inputs, tasks: tasks.collect() })
    }

    /// The inputs that the case has and the model looks at.
    fn players(&self, set: &CaseSet, case: &Case) -> (Vec<Input>, Vec<Player>) {
        let modalities = self.network.modalities();
        let mut players = Vec::new();
        if modalities.clinical && case.has(Modality::Clinical) {
            players.push((Input::Clinical, Player::Clinical));
        }
        if modalities.dermoscopic && case.has(Modality::Dermoscopic) {
            players.push((Input::Dermoscopic, Player::Dermoscopic));
        }
        if modalities.metadata || self.two_stage.second_stage.is_some() {
            let used = self.description.encoder.field_names();
            for (place, (field, value)) in set.fields.iter().zip(&case.metadata).enumerate() {
                if *value != FieldValue::Missing && used.contains(&field.name.as_str()) {
                    players.push((Input::Field(field.name.clone()), Player::Field(place)));
                }
            }
        }
        players.into_iter().unzip()
    }

    /// The bundle's last answer to each question.
    fn answers(
        &self,
        set: &CaseSet,
        looks: &[MultimodalInput],
        questions: &[Question],
        baseline: ImageBaseline,
    ) -> Result<Predictions, InferError> {
        let (predictor, network) = (self.predictor(), &self.network);
        let (batch, classes) = (predictor.batch_size, set.tasks.class_counts());
        let device = self.device();
        let encoder = &self.description.encoder;
        let asked = CaseSet {
            name: set.name.clone(),
            synthetic: set.synthetic,
            tasks: set.tasks.clone(),
            fields: set.fields.clone(),
            cases: questions.iter().map(|question| question.case.clone()).collect(),
            split: None,
            notes: Vec::new(),
        };
        let cohort: Cohort = asked.whole().cohort(encoder)?;

        // Questions that differ only in what the network does not look at are one to it.
        let mut distinct: Vec<usize> = Vec::new();
        let same = |a: usize, b: usize| {
            let (first, second) = (&questions[a], &questions[b]);
            (first.clinical, first.dermoscopic) == (second.clinical, second.dermoscopic)
                && (!network.modalities().metadata || cohort.metadata.row(a) == cohort.metadata.row(b))
        };
        let group: Vec<usize> = (0..questions.len())
            .map(|question| {
                distinct.iter().position(|&other| same(other, question)).unwrap_or_else(|| {
                    distinct.push(question);
                    distinct.len() - 1
                })
            })
            .collect();

        let views = self.description.augmentation.views();
        let answering: Vec<Vec<bool>> = questions.iter().map(|question| self.answering(question.there())).collect();
        let mut branches: Vec<Branch> = network
            .branches()
            .iter()
            .enumerate()
            .map(|(index, info)| Branch {
                name: info.name.to_owned(),
                available: answering.iter().map(|branches| branches[index]).collect(),
                logits: set
                    .tasks
                    .iter()
                    .map(|task| Array3::zeros((looks.len() * views.len(), questions.len(), task.classes.len())))
                    .collect(),
            })
            .collect();
        let shown = |image: &Option<Tensor<4>>, asked: &[usize], how: fn(&Question) -> Shown| {
            image.as_ref().map(|image| {
                let blank = baseline.colors(image).expand(image.dims()); // [1, 3, S, S]
                let forms = asked.iter().map(|&question| match how(&questions[question]) {
                    Shown::Image => image.clone(),
                    Shown::Baseline => blank.clone(),
                    Shown::Missing => image.zeros_like(),
                });
                Tensor::cat(forms.collect(), 0) // [Q, 3, S, S]
            })
        };
        let looks_and_chunks = looks
            .iter()
            .enumerate()
            .flat_map(|look| distinct.chunks(batch).enumerate().map(move |chunk| (look, chunk)));
        for ((look, images), (chunk, asked)) in looks_and_chunks {
            let clinical = shown(&images.clinical, asked, |question| question.clinical);
            let dermoscopic = shown(&images.dermoscopic, asked, |question| question.dermoscopic);
            let metadata = network.modalities().metadata.then(|| rows_tensor(&cohort.metadata, asked, &device));
            for (view, transform) in views.iter().enumerate() {
                let turned = |image: &Option<Tensor<4>>| image.clone().map(|image| transform.apply(image));
                let input = MultimodalInput {
                    clinical: turned(&clinical),
                    dermoscopic: turned(&dermoscopic),
                    metadata: metadata.clone(),
                };
                let output = predictor.run(input, false, asked.len(), &classes)?;
                for (branch, output) in branches.iter_mut().zip(&output.logits) {
                    for (logits, values) in branch.logits.iter_mut().zip(output) {
                        let mut view = logits.index_axis_mut(Axis(0), look * views.len() + view); // [questions, K_t]
                        for (question, &group) in group.iter().enumerate() {
                            if let Some(at) = group.checked_sub(chunk * batch).filter(|&at| at < asked.len()) {
                                view.row_mut(question).assign(&values.row(at));
                            }
                        }
                    }
                }
            }
        }
        let looks = if looks.len() > 1 { vec![looks.len(); questions.len()] } else { Vec::new() };
        let logits = BranchLogits { tasks: set.tasks.clone(), cohort, branches, looks };
        let (_, last) = self.stages_of(&logits)?.pop().expect("the answer of at least one stage");
        Ok(last)
    }
}

/// Rows of encoded metadata as a tensor.
fn rows_tensor(metadata: &Array2<f64>, rows: &[usize], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = rows.iter().flat_map(|&row| metadata.row(row).to_vec()).map(|value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), metadata.ncols()]), device)
}
