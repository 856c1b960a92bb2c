use dermafuse_schema::{AnswerBasis, BranchLogits, BranchWeights, FuseSpace, Predictions, SchemaError, TaskSet};
use serde::{Deserialize, Serialize};

use crate::calibration::AnswerCalibration;
use crate::cluster::{SecondStage, SecondStageInputs};
use crate::decision_point::DecisionPoint;
use crate::error::{EnsembleError, Result};
use crate::mix_search::{is_probabilities, probabilities};
use crate::model_prevalence::ModelPrevalence;
use crate::probability_facts::{CalibrationFact, ProbabilityFacts};

/// How the name of a row ends that is another one, calibrated.
pub(crate) const CALIBRATED: &str = " calibrated";
/// What stands in the name of a row that is another one, decided at a point, before the point's name.
pub(crate) const AT_POINT: &str = " at point ";
/// How the name of a row ends that is another one, corrected to the prevalence of a place.
pub(crate) const AT_PREVALENCE: &str = " at local prevalence";

/// Everything that turns a network's logits into the rows of the paper's tables: branch weights, cluster and mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredTwoStage")]
pub struct TwoStage {
    /// Weights of the branches, from [`WeightSearch`](crate::WeightSearch).
    pub branch_weights: BranchWeights,
    /// The space in which branches are averaged.
    pub fuse_space: FuseSpace,
    /// The cluster. `None`: a method without metadata, which stops at `P_1`.
    pub second_stage: Option<SecondStage>,
    /// The weight `W_1` of `P_1` in `P_3`, from [`MixSearch`](crate::MixSearch); 0 where the cluster sees the metadata alone.
    pub mix: f64,
    /// Whether `P_3` is a mean of probabilities, as in files of earlier versions, or of their logarithms.
    #[serde(default = "probabilities", skip_serializing_if = "is_probabilities")]
    pub mix_space: FuseSpace,
    /// How the last row's probabilities are calibrated; they stay as they are without it, as in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<AnswerCalibration>,
    /// The class frequencies that the probabilities stand on, and those that the answers are corrected to; nothing is known of them
    /// in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prevalence: Option<ModelPrevalence>,
    /// Ways to decide that were chosen on validation cases, each for an objective; see [`DecisionPoint`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<DecisionPoint>,
    /// The name of the point at which answers are given; without one the most probable class is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
}

/// A [`TwoStage`] as it was stored, before it is known to be one.
#[derive(Deserialize)]
struct StoredTwoStage {
    branch_weights: BranchWeights,
    fuse_space: FuseSpace,
    second_stage: Option<SecondStage>,
    mix: f64,
    #[serde(default = "probabilities")]
    mix_space: FuseSpace,
    #[serde(default)]
    calibration: Option<AnswerCalibration>,
    #[serde(default)]
    prevalence: Option<ModelPrevalence>,
    #[serde(default)]
    points: Vec<DecisionPoint>,
    #[serde(default)]
    point: Option<String>,
}

impl TryFrom<StoredTwoStage> for TwoStage {
    type Error = EnsembleError;

    fn try_from(stored: StoredTwoStage) -> Result<Self> {
        let StoredTwoStage { branch_weights, fuse_space, second_stage, mix, mix_space, .. } = stored;
        let StoredTwoStage { calibration, prevalence, points, point, .. } = stored;
        let two_stage = Self::new(branch_weights, fuse_space, second_stage, mix)?;
        let two_stage = Self { mix_space, calibration, prevalence, points, point, ..two_stage };
        two_stage.check_point()?;
        Ok(two_stage)
    }
}

impl TwoStage {
    /// Puts the parts together. Nothing is calibrated or corrected.
    ///
    /// # Errors
    /// A mix outside 0..=1.
    pub fn new(
        branch_weights: BranchWeights,
        fuse_space: FuseSpace,
        second_stage: Option<SecondStage>,
        mix: f64,
    ) -> Result<Self> {
        let two_stage = Self {
            branch_weights,
            fuse_space,
            second_stage,
            mix,
            mix_space: FuseSpace::Probabilities,
            calibration: None,
            prevalence: None,
            points: Vec::new(),
            point: None,
        };
        two_stage.check_mix()?;
        Ok(two_stage)
    }

    /// Checks that this is for a model of these tasks, branches and encoded metadata, so that [`apply`](Self::apply) takes
    /// what the model gives.
    ///
    /// # Errors
    /// Weights of a branch that is not among `branches`, a cluster for other tasks, classes or another number of features, a
    /// mix outside 0..=1; a calibration or a prevalence of other tasks, classes or branches, or with numbers that are none.
    pub fn check(&self, tasks: &TaskSet, branches: &[&str], metadata_width: usize) -> Result<()> {
        self.check_mix()?;
        if let Some(name) = self.branch_weights.names().iter().find(|name| !branches.contains(&name.as_str())) {
            let known = branches.iter().map(ToString::to_string).collect();
            return Err(SchemaError::Unknown { what: "branch", name: name.clone(), known }.into());
        }
        if let Some(second_stage) = &self.second_stage {
            second_stage.check(tasks, metadata_width)?;
        }
        if let Some(calibration) = &self.calibration {
            calibration.check(tasks, branches)?;
        }
        self.points.iter().try_for_each(|point| point.check(tasks))?;
        self.check_point()?;
        match &self.prevalence {
            Some(prevalence) => prevalence.check(tasks),
            None => Ok(()),
        }
    }

    /// What a reader of the predictions should know of the fit, a sentence each: see [`SecondStage::notes`]; how probabilities were
    /// calibrated; the prevalence that they were corrected to.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.second_stage.as_ref().map(SecondStage::notes).unwrap_or_default();
        notes.extend(self.calibration.as_ref().map(AnswerCalibration::sentence));
        notes.extend(self.chosen_point().map(DecisionPoint::sentence));
        let corrected = self.prevalence.as_ref().filter(|prevalence| prevalence.assumed.is_some());
        notes.extend(corrected.map(ModelPrevalence::sentence));
        notes
    }

    /// What must be said of the calibration of these answers: of how many cases the probabilities stayed as they were, since nothing
    /// was fitted to what they were answered from.
    ///
    /// # Errors
    /// Answers to other classes than those of the calibration.
    pub fn calibration_notes(&self, answers: &Predictions) -> Result<Vec<String>> {
        let Some(calibration) = &self.calibration else { return Ok(Vec::new()) };
        let uncalibrated = calibration.apply(answers)?.uncalibrated;
        let note = |(basis, count): (AnswerBasis, usize)| uncalibrated_note(count, answers.len(), &basis);
        Ok(uncalibrated.into_iter().map(note).collect())
    }

    /// The name of the row that a calibrated or corrected row is made from: `P_3` of `P_3 calibrated at local prevalence`; other names
    /// are their own.
    #[must_use]
    pub fn first_name(row: &str) -> &str {
        let row = row.strip_suffix(AT_PREVALENCE).unwrap_or(row);
        let row = row.split_once(AT_POINT).map_or(row, |(row, _)| row);
        row.strip_suffix(CALIBRATED).unwrap_or(row)
    }

    /// The same model answering at a point of its own, or without one.
    ///
    /// # Errors
    /// A point that it does not have; a point of a model whose answers are corrected to a prevalence.
    pub fn with_point(mut self, point: Option<&str>) -> Result<Self> {
        self.point = point.map(str::to_owned);
        self.check_point()?;
        Ok(self)
    }

    /// The point at which answers are given.
    #[must_use]
    pub fn chosen_point(&self) -> Option<&DecisionPoint> {
        let chosen = self.point.as_deref()?;
        self.points.iter().find(|point| point.name == chosen)
    }

    fn check_point(&self) -> Result<()> {
        for (at, point) in self.points.iter().enumerate() {
            if self.points[..at].iter().any(|earlier| earlier.name == point.name) {
                return Err(SchemaError::Twice { what: "point", name: point.name.clone() }.into());
            }
        }
        let Some(chosen) = &self.point else { return Ok(()) };
        if self.chosen_point().is_none() {
            let known = self.points.iter().map(|point| point.name.clone()).collect();
            return Err(SchemaError::Unknown { what: "point", name: chosen.clone(), known }.into());
        }
        match self.prevalence.as_ref().is_some_and(|prevalence| prevalence.assumed.is_some()) {
            true => Err(EnsembleError::PointAtPrevalence { point: chosen.clone() }),
            false => Ok(()),
        }
    }

    /// The answers at every point, by its name, whatever is chosen; of rows that [`apply`](Self::apply) gave.
    ///
    /// # Errors
    /// Rows of other tasks or classes.
    pub fn at_points(&self, rows: &[(String, Predictions)]) -> Result<Vec<(String, Predictions)>> {
        let undecided =
            |(name, _): &&(String, Predictions)| !(name.contains(AT_POINT) || name.ends_with(AT_PREVALENCE));
        let Some((_, answers)) = rows.iter().rev().find(undecided) else { return Ok(Vec::new()) };
        self.points.iter().map(|point| Ok((point.name.clone(), point.apply(answers)?))).collect()
    }

    fn check_mix(&self) -> Result<()> {
        let expected = match self.is_of_metadata_alone() {
            true if self.mix == 0.0 => return Ok(()),
            true => "0, since the second stage looks at the metadata alone",
            false if (0.0..=1.0).contains(&self.mix) => return Ok(()),
            false => "within 0..=1",
        };
        Err(SchemaError::Number { what: "mixing weight".into(), value: self.mix, expected }.into())
    }

    /// The predictions of every row of the tables, in their order and by name: `P_<branch>` for each branch,
    /// `P_1 averaged` (equal branch weights), `P_1`, and with a cluster `P_2`, `P_3 averaged` (half and half) and `P_3`. With
    /// a single branch, which is `P_1`, the rows begin there. With a cluster that sees the metadata alone there is no first
    /// stage, and `P_2` is the only row.
    ///
    /// A case without metadata stops at `P_1`: its rows of `P_2` and `P_3` are those of `P_1`.
    ///
    /// Where the model is calibrated, the last of them follows once more as `… calibrated`, where it answers at a point, as
    /// `… at point NAME`, and where answers are corrected to another prevalence, as `… at local prevalence`. The last row is the answer.
    ///
    /// # Errors
    /// Inconsistent logits, an unknown branch among the weights, other tasks or another number of features than the
    /// cluster's, a mix outside 0..=1.
    pub fn apply(&self, logits: &BranchLogits) -> Result<Vec<(String, Predictions)>> {
        let mut rows = self.rows(logits)?;
        let (name, last) = rows.last().expect("a model has a row");
        if let Some(calibration) = &self.calibration {
            let calibrated = (format!("{name}{CALIBRATED}"), calibration.apply(last)?.predictions);
            rows.push(calibrated);
        }
        if let (Some(point), Some((name, answers))) = (self.chosen_point(), rows.last()) {
            let decided = (format!("{name}{AT_POINT}{}", point.name), point.apply(answers)?);
            rows.push(decided);
        }
        if let Some(prevalence) = &self.prevalence {
            Self::correct(&mut rows, prevalence)?;
        }
        Ok(rows)
    }

    /// Corrects the last of rows to the prevalence that is assumed, as [`apply`](Self::apply) does: the result is one more row. One
    /// that was corrected before is taken away first; nothing is added where none is assumed.
    ///
    /// # Errors
    /// Rows of other tasks or classes; rows that were decided at a point, whose offsets stand on the prevalence of validation cases.
    pub fn correct(rows: &mut Vec<(String, Predictions)>, prevalence: &ModelPrevalence) -> Result<()> {
        if rows.last().is_some_and(|(name, _)| name.ends_with(AT_PREVALENCE)) {
            rows.pop();
        }
        if let (Some(assumed), Some((name, answers))) = (&prevalence.assumed, rows.last()) {
            if let Some((_, point)) = name.split_once(AT_POINT) {
                return Err(EnsembleError::PointAtPrevalence { point: point.to_owned() });
            }
            let corrected = prevalence.source().correct(&assumed.prevalence, answers)?;
            rows.push((format!("{name}{AT_PREVALENCE}"), corrected));
        }
        Ok(())
    }

    /// What the probabilities of the answer are.
    #[must_use]
    pub fn facts(&self) -> ProbabilityFacts {
        ProbabilityFacts {
            // What a point moves does not come true any more.
            calibration: self.calibration.as_ref().filter(|_| self.point.is_none()).map(|calibration| {
                CalibrationFact {
                    method: calibration.method,
                    origin: calibration.origin.clone(),
                    cases: calibration.cases(),
                }
            }),
            prevalence: self.prevalence.as_ref().map(|prevalence| prevalence.of_answers().clone()),
            corrected: self
                .prevalence
                .as_ref()
                .and_then(|prevalence| Some(prevalence.assumed.as_ref()?.origin.clone())),
        }
    }

    /// The answers before they are calibrated and corrected.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn uncalibrated(&self, logits: &BranchLogits) -> Result<Predictions> {
        Ok(self.rows(logits)?.pop().expect("a model has a row").1)
    }

    /// The rows without calibration and correction.
    fn rows(&self, logits: &BranchLogits) -> Result<Vec<(String, Predictions)>> {
        logits.check()?;
        if let Some(second_stage) = self.second_stage.as_ref().filter(|_| self.is_of_metadata_alone()) {
            let first = logits.fuse(&self.branch_weights, self.fuse_space)?;
            return Ok(vec![("P_2".into(), second_stage.apply(&first, &logits.cohort)?)]);
        }
        let mut rows = Vec::with_capacity(logits.branches.len() + 5);
        if logits.branches.len() > 1 {
            for branch in &logits.branches {
                rows.push((format!("P_{}", branch.name), logits.branch(&branch.name)?));
            }
            rows.push(("P_1 averaged".into(), logits.fuse(&logits.equal_weights(), self.fuse_space)?));
        }
        let first = logits.fuse(&self.branch_weights, self.fuse_space)?;
        match &self.second_stage {
            None => rows.push(("P_1".into(), first)),
            Some(second_stage) => {
                let second = second_stage.apply(&first, &logits.cohort)?;
                let averaged = self.mixed(&first, &second, 0.5, logits)?;
                let third = self.mixed(&first, &second, self.mix, logits)?;
                rows.push(("P_1".into(), first));
                rows.push(("P_2".into(), second));
                rows.push(("P_3 averaged".into(), averaged));
                rows.push(("P_3".into(), third));
            }
        }
        Ok(rows)
    }

    /// Whether the cluster answers by itself, from the metadata.
    #[must_use]
    pub fn is_of_metadata_alone(&self) -> bool {
        self.second_stage.as_ref().is_some_and(|stage| stage.inputs == SecondStageInputs::Metadata)
    }

    /// `weight · P_1 + (1 − weight) · P_2`, or the product; to the bit `P_1` where there is no metadata.
    fn mixed(
        &self,
        first: &Predictions,
        second: &Predictions,
        weight: f64,
        logits: &BranchLogits,
    ) -> Result<Predictions> {
        let mut mixed = first.mix_in(self.mix_space, second, weight)?;
        for case in (0..mixed.len()).filter(|&case| !logits.cohort.has_metadata[case]) {
            for (to, from) in mixed.probabilities.iter_mut().zip(&first.probabilities) {
                to.row_mut(case).assign(&from.row(case));
            }
        }
        Ok(mixed)
    }
}

/// Says that a basis of answers was not calibrated, or not for all tasks.
pub(crate) fn uncalibrated_note(count: usize, cases: usize, basis: &AnswerBasis) -> String {
    format!(
        "{count} of {cases} cases were answered from {basis}, for which not all was calibrated: there the probabilities are as the model \
         gives them."
    )
}
