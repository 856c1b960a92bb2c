use dermafuse_data::{CaseSet, FoldConfig, Folds};
use dermafuse_ensemble::{
    AnswerCalibration, AnswerPattern, AssumedPrevalence, CalibrationMethod, CalibrationOrigin, ModelPrevalence,
    Prevalence, PrevalenceOrigin, TwoStage, fit_operating_point, fit_prediction_sets,
};
use dermafuse_eval::{CalibrationChange, Evaluation};
use dermafuse_infer::{Bundle, KnownCases, answer_patterns_beside};
use dermafuse_schema::{BranchLogits, FailedCase, Predictions, Task};

use crate::learnt_prevalence::prevalence_of;
use crate::{Progress, RecipeError};

/// Fewer labelled cases adapt no model.
const FEWEST_CASES: usize = 50;

/// Fits a model to a place on labelled cases of it, some hundred of them: a temperature for each task and each way to answer, and the
/// prevalence that the answers are corrected to; and where the model has them, operating points of groups of classes and sets of
/// classes. Network, branch weights and classifiers stay as they are.
///
/// ```
/// use dermafuse_recipes::Adaptation;
///
/// let adaptation = Adaptation { seed: 1, ..Adaptation::default() };
/// assert_eq!((adaptation.folds, adaptation.least_per_class), (5, 3));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptation {
    /// The folds in which it is estimated how well this works on cases that it was not fitted on; two or more.
    pub folds: usize,
    /// Deals the folds.
    pub seed: u64,
    /// How many cases of each class there have to be.
    pub least_per_class: usize,
    /// Whether classes of which there are fewer are accepted.
    pub allow_rare: bool,
    /// How frequent classes are at the place.
    pub prevalence: LocalPrevalence,
}

/// How frequent classes are at the place that a model is adapted to.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalPrevalence {
    /// As among its labelled cases, which have to be drawn as patients come. As many cases as a task has classes are added, shared out
    /// as the model learnt them, so that a class that none of a hundred cases has is not ruled out.
    OfCases,
    /// As the model assumes anyway.
    Unchanged,
    /// As is stated, as (task, class, share); see [`Prevalence::stated`].
    Stated(Vec<(String, String, f64)>),
}

/// What an adaptation gives.
#[derive(Clone, Debug)]
pub struct AdaptationOutcome {
    /// The adapted model, which says of itself that it is.
    pub bundle: Bundle,
    /// The model's answers to the local cases before.
    pub before: Predictions,
    /// Its answers after: of each fold by a model that was adapted to the others.
    pub after: Predictions,
    /// Cases that could not be answered.
    pub failed: Vec<FailedCase>,
    /// What must be said of it.
    pub notes: Vec<String>,
}

impl Default for Adaptation {
    fn default() -> Self {
        Self { folds: 5, seed: 0, least_per_class: 3, allow_rare: false, prevalence: LocalPrevalence::OfCases }
    }
}

/// What is fitted and tested.
struct Local<'a> {
    adaptation: &'a Adaptation,
    /// The cases that have a label and could be answered, in the model's tasks.
    set: CaseSet,
    /// Their logits, in the same order.
    logits: BranchLogits,
    /// The model without calibration and correction.
    plain: TwoStage,
    /// What its probabilities stand on, if it says so.
    source: Option<Prevalence>,
    /// What it assumed before.
    assumed: Option<AssumedPrevalence>,
    patterns: Vec<AnswerPattern>,
}

impl Adaptation {
    /// Adapts a model to the labelled cases of a set.
    ///
    /// # Errors
    /// Fewer than 50 labelled cases, or of a class fewer than are asked for; a set of other tasks; a stated prevalence that is none;
    /// images of which none can be read.
    pub fn run(
        &self,
        bundle: &Bundle,
        set: &CaseSet,
        progress: &mut dyn Progress,
    ) -> Result<AdaptationOutcome, RecipeError> {
        let labelled: Vec<usize> =
            (0..set.len()).filter(|&row| set.cases[row].labels.iter().any(Option::is_some)).collect();
        self.check(set, &labelled)?;
        progress.step(&format!("predicting {} cases of {}", labelled.len(), set.name));
        let (logits, rows, failed) =
            bundle.readable_logits(&set.view(&labelled)?, None, |done| progress.predicted(done, labelled.len()))?;
        let own = bundle.two_stage.prevalence.as_ref();
        let plain = TwoStage { calibration: None, prevalence: None, point: None, ..bundle.two_stage.clone() };
        let mut cases: Vec<_> = rows.iter().map(|&row| set.cases[row].clone()).collect();
        for (case, labels) in cases.iter_mut().zip(&logits.cohort.labels) {
            case.labels.clone_from(labels);
        }
        let tasks = bundle.description.tasks.clone();
        let outside: Vec<String> = bundle.description.outside.iter().map(|model| model.name.clone()).collect();
        let local = Local {
            adaptation: self,
            set: CaseSet { cases, tasks, split: None, ..set.clone() },
            logits,
            plain,
            source: own.map(|own| own.uncalibrated().clone()),
            assumed: own.and_then(|own| own.assumed.clone()),
            patterns: answer_patterns_beside(&bundle.network, &outside),
        };
        self.check(&local.set, &(0..local.set.len()).collect::<Vec<_>>())?;
        let mut notes = Vec::new();
        if local.source.is_none() {
            notes.push(
                "The model is of an earlier version and does not say how frequent the classes were that it learnt: only its \
                 temperatures are adapted."
                    .to_owned(),
            );
        }
        let rare = rare_classes(&local.set, self.least_per_class);
        if !rare.is_empty() {
            notes.push(format!("Classes with fewer than {} local cases: {}.", self.least_per_class, rare.join(", ")));
        }
        let (before, after) = local.estimated(&bundle.two_stage)?;

        let mut adapted = bundle.clone();
        adapted.two_stage = local.fitted(&(0..local.set.len()).collect::<Vec<_>>())?;
        if let (Some(new), Some(own)) = (&mut adapted.two_stage.prevalence, own) {
            new.training.clone_from(&own.training);
            new.learnt.clone_from(&own.learnt);
        }
        // Thresholds and sets of classes stand on probabilities: they are fitted to the new ones, of cases that those had not seen.
        let description = &mut adapted.description;
        for fitted in &mut description.groups {
            *fitted = fit_operating_point(fitted.group.clone(), fitted.aim, &after)?;
        }
        if let Some(sets) = &mut description.prediction_sets {
            *sets = fit_prediction_sets(sets.error_rate, sets.coverage, &after)?;
        }
        let expected = description.card.as_mut().and_then(|card| card.expected.take());
        if description.performance.take().is_some() || expected.is_some() {
            notes.push("What the model said of its test cases was of its answers before, and is left out.".to_owned());
        }
        let ids = local.set.cases.iter().map(|case| case.id.clone());
        adapted.description.known_cases.add(&KnownCases::new(&set.name, [], ids, []));
        adapted.check()?;
        notes.extend(adapted.notes());
        Ok(AdaptationOutcome { bundle: adapted, before, after, failed, notes })
    }

    /// Whether there are cases enough.
    fn check(&self, set: &CaseSet, rows: &[usize]) -> Result<(), RecipeError> {
        if rows.len() < FEWEST_CASES {
            return Err(RecipeError::TooFewToAdapt { found: rows.len(), needed: FEWEST_CASES });
        }
        let cases = rows.iter().map(|&row| set.cases[row].clone()).collect();
        let rare = rare_classes(&CaseSet { cases, split: None, ..set.clone() }, self.least_per_class);
        match rare.is_empty() || self.allow_rare {
            true => Ok(()),
            false => Err(RecipeError::RareClasses { needed: self.least_per_class, found: rare }),
        }
    }
}

impl Local<'_> {
    /// The second stage as it is fitted on cases at these rows of the local set.
    fn fitted(&self, rows: &[usize]) -> Result<TwoStage, RecipeError> {
        let assumed = self.assumed(rows)?;
        let prevalence = match (&self.source, &assumed) {
            (Some(source), Some(assumed)) => Some((source, &assumed.prevalence)),
            _ => None,
        };
        let origin = CalibrationOrigin::Local { data_set: self.set.name.clone() };
        let (method, logits) = (CalibrationMethod::Temperature, self.logits.select(rows));
        let calibration = AnswerCalibration::fit(method, origin, &self.plain, &logits, &self.patterns, prevalence)?;
        let prevalence =
            self.source.clone().map(|source| ModelPrevalence { assumed, ..ModelPrevalence::of_training(source) });
        Ok(TwoStage { calibration: Some(calibration), prevalence, ..self.plain.clone() })
    }

    /// What the answers are corrected to.
    fn assumed(&self, rows: &[usize]) -> Result<Option<AssumedPrevalence>, RecipeError> {
        let Some(source) = &self.source else { return Ok(None) };
        Ok(match &self.adaptation.prevalence {
            LocalPrevalence::Unchanged => self.assumed.clone(),
            LocalPrevalence::Stated(shares) => {
                Some(AssumedPrevalence { prevalence: source.stated(shares)?, origin: PrevalenceOrigin::Stated })
            }
            LocalPrevalence::OfCases => {
                let prevalence = prevalence_of(&self.set.view(rows)?, source, |task: &Task| task.classes.len() as f64)?;
                let origin = PrevalenceOrigin::Local { data_set: self.set.name.clone(), cases: rows.len() };
                Some(AssumedPrevalence { prevalence, origin })
            }
        })
    }

    /// The answers before, and those of each fold after a fit on the others, in the same order.
    fn estimated(&self, before: &TwoStage) -> Result<(Predictions, Predictions), RecipeError> {
        let answers = |stage: &TwoStage, rows: &[usize]| -> Result<Predictions, RecipeError> {
            Ok(stage.apply(&self.logits.select(rows))?.pop().expect("a model has a row").1)
        };
        let Adaptation { folds, seed, .. } = *self.adaptation;
        let folds = Folds::new(&self.set, &FoldConfig::new(folds, seed))?;
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for fold in 0..folds.len() {
            let tested = folds.rows(fold);
            let fitted: Vec<usize> = (0..self.set.len()).filter(|row| !tested.contains(row)).collect();
            old.push(answers(before, tested)?);
            new.push(answers(&self.fitted(&fitted)?, tested)?);
        }
        Ok((Predictions::concatenate(old)?, Predictions::concatenate(new)?))
    }
}

impl AdaptationOutcome {
    /// How well the probabilities came true before, and come true on cases that the adaptation did not see.
    ///
    /// # Errors
    /// Never for predictions that a model gave.
    pub fn change(&self) -> Result<CalibrationChange, RecipeError> {
        let [before, after] = [&self.before, &self.after].map(Evaluation::of);
        Ok(CalibrationChange::new(("before", &before?), ("after", &after?)))
    }
}

/// The classes of all tasks of which a set has fewer cases, with their number.
fn rare_classes(set: &CaseSet, least: usize) -> Vec<String> {
    let mut rare = Vec::new();
    for (index, task) in set.tasks.iter().enumerate() {
        for (class, name) in task.classes.iter().enumerate() {
            let found = set.cases.iter().filter(|case| case.labels[index] == Some(class)).count();
            if found < least {
                rare.push(format!("{}.{name} ({found})", task.name));
            }
        }
    }
    rare
}
