//! What an experiment gives, and the files that say it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use dermafuse_data::{CaseSet, Folds, Split};
use dermafuse_eval::published::PublishedTable;
use dermafuse_eval::{
    EvalError, Evaluation, GroupEvaluation, MeanDeviation, SearchedWeight, SetEvaluation, SubsetEvaluation,
};
use dermafuse_infer::{Bundle, ExpectedPerformance, MODEL_FILE};
use dermafuse_schema::{Predictions, SeenCases, TaskSet, write_whole_file};
use dermafuse_train::EpochReport;

use crate::final_fit::{FINAL_FIT, expected_performance};
use crate::printed_rows::{Wanted, names_in_tables, printed_rows};
use crate::results::{class_groups, prediction_sets};
use crate::round::known_before;
use crate::searched_weights::searched_weights;
use crate::selection::overall;
use crate::{Experiment, Features, FittedToAnswers, Plan, RecipeError, Results, RoundResult, majority};

/// The name of the row that always says the most frequent class of the training cases.
pub const MAJORITY: &str = "majority";

/// What an experiment gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The experiment.
    pub experiment: Experiment,
    /// What each round gave, by the names of the rounds.
    pub rounds: Vec<(String, RoundResult)>,
    /// What a reader of the numbers should know.
    pub notes: Vec<String>,
    set: Arc<CaseSet>,
    /// The test cases of each round, in the order of its answers.
    tested: Vec<Vec<usize>>,
    majorities: Vec<Predictions>,
    /// The parts of each round, and tables of folds by file name.
    splits: Vec<Split>,
    folds: Vec<(String, Folds)>,
    /// How many of the test cases made the model; `None` where there are several.
    seen: Option<SeenCases>,
    /// What the last model gave that learnt from all cases, if one was asked for.
    final_fit: Option<FinalFit>,
    /// Printed numbers, and the name that the answer has there.
    published: Vec<PublishedTable>,
    published_row: Option<String>,
}

/// A model that learnt from all cases.
#[derive(Clone, Debug)]
struct FinalFit {
    result: RoundResult,
    split: Split,
    expected: ExpectedPerformance,
}

/// A row of results over the rounds, in per cent.
#[derive(Clone, Debug, PartialEq)]
pub struct OutcomeRow {
    /// Its name, such as `P_3`.
    pub name: String,
    /// Mean accuracy over the tasks, of each round.
    pub accuracy: Vec<f64>,
    /// Mean balanced accuracy over the tasks, of each round.
    pub balanced_accuracy: Vec<f64>,
    /// Mean AUC over the tasks, of each round.
    pub auc: Vec<f64>,
}

impl Outcome {
    pub(crate) fn new(
        plan: &Plan,
        results: Vec<RoundResult>,
        final_fit: Option<RoundResult>,
    ) -> Result<Self, RecipeError> {
        let mut notes = plan.notes.clone();
        let (mut tested, mut majorities, mut seen) = (Vec::new(), Vec::new(), None);
        for (round, result) in plan.rounds.iter().zip(&results) {
            let training = round.stages.last().expect("a round has a training");
            let ids: HashSet<_> = result.test.cohort.ids.iter().collect();
            let rows = training.split.test.iter().copied();
            let rows: Vec<usize> = rows.filter(|&row| ids.contains(&training.set.cases[row].id)).collect();
            let tested_cases = training.set.view(&rows)?;
            majorities.push(majority(&training.set.view(&training.split.train)?, &tested_cases)?);
            if plan.rounds.len() == 1 {
                // Those of earlier stages too.
                let mut known = training.known_cases();
                known.add(&known_before(round, round.stages.len() - 1));
                seen = Some(known.among(&tested_cases));
            }
            tested.push(rows);
            notes.extend(result.earlier.iter().flat_map(|(_, earlier)| earlier.notes.iter().cloned()));
            notes.extend(result.notes.iter().cloned());
        }
        let of_final_fit = final_fit.iter().flat_map(|result| &result.notes).filter(|note| !notes.contains(note));
        let of_final_fit: Vec<String> = of_final_fit.map(|note| format!("{FINAL_FIT}: {note}")).collect();
        notes.extend(of_final_fit);
        let final_fit = match (final_fit, &plan.final_fit) {
            (Some(result), Some(round)) => {
                let split = round.stages.last().expect("a round has a training").split.clone();
                Some(FinalFit { result, split, expected: expected_performance(&results)? })
            }
            _ => None,
        };
        let mut said = Vec::new();
        notes.retain(|note| {
            !said.contains(note) && {
                said.push(note.clone());
                true
            }
        });
        let set = plan.rounds[0].stages.last().expect("a round has a training").set.clone();
        let names = plan.rounds.iter().map(|round| round.name.clone());
        let rounds = names.zip(results).collect();
        let splits = plan.rounds.iter().map(|round| round.stages.last().expect("a round has a training").split.clone());
        let (splits, folds, experiment) = (splits.collect(), plan.folds.clone(), plan.experiment.clone());
        let (published, published_row) = (plan.published.clone(), plan.published_row.clone());
        Ok(Self {
            experiment,
            rounds,
            notes,
            set,
            tested,
            majorities,
            splits,
            folds,
            seen,
            final_fit,
            published,
            published_row,
        })
    }

    /// The data set that was tested.
    #[must_use]
    pub fn set(&self) -> &CaseSet {
        &self.set
    }

    /// How many cases were tested, those of all rounds together.
    #[must_use]
    pub fn test_cases(&self) -> usize {
        self.tested.iter().map(Vec::len).sum()
    }

    /// The model of the only round or of the final fit, if it is not in a file.
    #[must_use]
    pub fn bundle(&self) -> Option<&Bundle> {
        match (&self.rounds[..], &self.final_fit) {
            (_, Some(FinalFit { result, .. })) => result.model.0.as_ref(),
            ([(_, round)], None) => round.model.0.as_ref(),
            _ => None,
        }
    }

    /// In a sentence what can be expected of the model that learnt from all cases; `None` where there is none.
    #[must_use]
    pub fn final_fit_sentence(&self) -> Option<String> {
        let FinalFit { expected, .. } = self.final_fit.as_ref()?;
        Some(format!("The model of the final fit, {MODEL_FILE}: {expected}."))
    }

    /// Test predictions of every stage by name, the majority's first, those of all rounds one after the other; the last is the
    /// answer.
    ///
    /// # Errors
    /// Logits that do not fit together.
    pub fn predictions(&self) -> Result<Vec<(String, Predictions)>, RecipeError> {
        let mut all = vec![(MAJORITY.to_owned(), Predictions::concatenate(self.majorities.clone())?)];
        let rounds = self.rounds.iter().map(|(_, round)| round.rows()).collect::<Result<Vec<_>, _>>()?;
        all.extend(of_all_rounds(&rounds)?);
        Ok(all)
    }

    /// The same for each look at the test cases, as if it were a case: without the majority, and empty where no test case has
    /// several images of a kind.
    ///
    /// # Errors
    /// Logits that do not fit together.
    pub fn predictions_of_looks(&self) -> Result<Vec<(String, Predictions)>, RecipeError> {
        if self.rounds.iter().all(|(_, round)| round.looks.is_none()) {
            return Ok(Vec::new());
        }
        let rounds = self.rounds.iter().map(|(_, round)| round.rows_of_looks()).collect::<Result<Vec<_>, _>>()?;
        of_all_rounds(&rounds)
    }

    /// The scores of every stage in every round.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn rows(&self) -> Result<Vec<OutcomeRow>, RecipeError> {
        let mut rows: Vec<OutcomeRow> = Vec::new();
        for ((_, round), majority) in self.rounds.iter().zip(&self.majorities) {
            let stages = std::iter::once((MAJORITY.to_owned(), majority.clone())).chain(round.rows()?);
            for (name, predictions) in stages {
                let overall = overall(&predictions)?;
                let percent = |value: Option<f64>| 100.0 * value.unwrap_or(f64::NAN);
                let at = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                    let (accuracy, balanced_accuracy, auc) = (Vec::new(), Vec::new(), Vec::new());
                    rows.push(OutcomeRow { name: name.clone(), accuracy, balanced_accuracy, auc });
                    rows.len() - 1
                });
                rows[at].accuracy.push(percent(overall.accuracy));
                rows[at].balanced_accuracy.push(percent(overall.balanced_accuracy));
                rows[at].auc.push(percent(overall.auc));
            }
        }
        Ok(rows)
    }

    /// The weights that the validation cases chose, of all rounds: `W_clinical`, `W_dermoscopic`, `W_fusion`, `W_1`, `W_2`. None where
    /// nothing was searched.
    #[must_use]
    pub fn searched_weights(&self) -> Vec<SearchedWeight> {
        searched_weights(self.rounds.iter().map(|(_, round)| round))
    }

    /// The answers of each round, with what was fitted to those for its validation cases.
    fn fitted(&self) -> Result<Vec<(Predictions, FittedToAnswers<'_>)>, RecipeError> {
        let fitted = self.rounds.iter().map(|(_, round)| {
            let (_, answers) = round.rows()?.pop().expect("a round has a stage");
            let prediction_sets = round.prediction_sets.as_ref();
            Ok((answers, FittedToAnswers { groups: &round.groups, prediction_sets }))
        });
        fitted.collect()
    }

    /// The answers at each operating point of the whole classification, those of all rounds one after the other, each with the offsets that
    /// its own validation cases chose; none where no points are asked for.
    ///
    /// # Errors
    /// Logits that do not fit together.
    pub fn at_points(&self) -> Result<Vec<(String, Predictions)>, RecipeError> {
        let of_round = |(_, round): &(String, RoundResult)| Ok(round.two_stage.at_points(&round.rows()?)?);
        let rounds = self.rounds.iter().map(of_round).collect::<Result<Vec<_>, RecipeError>>()?;
        match rounds.iter().all(Vec::is_empty) {
            true => Ok(Vec::new()),
            false => of_all_rounds(&rounds),
        }
    }

    /// The groups of classes on the answers of all rounds, each with the operating point that its own validation cases chose; none where
    /// none are asked for.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn class_groups(&self) -> Result<Vec<GroupEvaluation>, RecipeError> {
        Ok(class_groups(&self.fitted()?)?)
    }

    /// The sets of classes on the answers of all rounds, each with the quantiles of its own validation cases; `None` where none are
    /// asked for.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn prediction_sets(&self) -> Result<Option<SetEvaluation>, RecipeError> {
        Ok(prediction_sets(&self.fitted()?)?)
    }

    /// What the models were trained on, in sentences.
    fn trained_on(&self) -> Vec<String> {
        let set = &self.set;
        let drawn = if set.synthetic { ", whose images are generated," } else { "" };
        let parts = |split: &Split| {
            format!(
                "{} cases of {}{drawn} trained it, {} chose its settings",
                split.train.len(),
                set.name,
                split.valid.len()
            )
        };
        let first = parts(&self.splits[0]);
        let mut sentences = vec![match self.rounds.len() {
            1 => format!("{first}; {} others tested it.", self.test_cases()),
            rounds => format!("{rounds} models in turn. {first}, in the first round; others tested it."),
        }];
        let stages = self.rounds[0].1.earlier.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        if !stages.is_empty() {
            sentences.push(format!("Before that it was trained in the stages {}.", stages.join(", ")));
        }
        sentences.push(classes_sentence(&set.tasks));
        sentences
    }

    /// The numbers of the test cases from each subset of their inputs, where they are asked for; of several rounds the first one's.
    #[must_use]
    pub fn subsets(&self) -> Option<&SubsetEvaluation> {
        self.rounds[0].1.subsets.as_ref()
    }

    /// The training curves of all rounds, those of earlier stages first, by name.
    fn curves(&self) -> Vec<(String, &Vec<EpochReport>)> {
        let mut curves = Vec::new();
        for (round, result) in &self.rounds {
            for (stage, earlier) in &result.earlier {
                let named =
                    earlier.curves.iter().map(|curve| (format!("{round} {stage}: {}", curve.name), &curve.history));
                curves.extend(named);
            }
            curves.extend(result.curves.iter().map(|curve| (format!("{round} {}", curve.name), &curve.history)));
        }
        if let Some(FinalFit { result, .. }) = &self.final_fit {
            curves.extend(result.curves.iter().map(|curve| (format!("{FINAL_FIT} {}", curve.name), &curve.history)));
        }
        curves.into_iter().map(|(name, history)| (name.trim_start().to_owned(), history)).collect()
    }

    /// What was printed of the stages on this data set: a table that has their names, or the row that is run, as the answer.
    fn published(&self, stages: &[(String, Predictions)]) -> Option<PublishedTable> {
        let names: Vec<Wanted<'_>> = stages.iter().map(|(name, _)| Wanted::named(name)).collect();
        printed_rows(&self.published, &self.set.name, &names).or_else(|| {
            let (printed, (answer, _)) = (self.published_row.as_deref()?, stages.last()?);
            let names = names_in_tables(printed, &self.experiment.method.network);
            let table = printed_rows(&self.published, &self.set.name, &[Wanted { name: answer, printed: names }])?;
            Some(PublishedTable { source: format!("{}, {printed}", table.source), ..table })
        })
    }

    /// Writes `report.html`, `metrics.json`, `predictions.csv` (a line for each test case), `stages.csv` (the predictions of all
    /// stages), `history.csv` (a line for each epoch), the parts of the data (`split.json`, `folds.csv`, or both with a final fit) and `experiment.toml`, with which the same numbers come again. Gives the
    /// evaluations of all stages back.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated, files that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<Vec<(String, Evaluation)>, RecipeError> {
        let rows = self.predictions()?;
        let cases: Vec<usize> = self.tested.iter().flatten().copied().collect();
        let several = self.rounds.len() > 1;
        let curves = self.curves();
        let first = &self.rounds[0].1;
        let mut notes = self.notes.clone();
        if several {
            notes.extend(self.rows()?.iter().map(OutcomeRow::sentence));
        }
        notes.extend(self.final_fit_sentence());
        if several && self.subsets().is_some() {
            notes.push(format!("The numbers from each subset of the inputs are those of {} alone.", self.rounds[0].0));
        }
        let weights = self.searched_weights();
        notes.extend(SearchedWeight::sentence(&weights));
        let published = self.published(&rows);
        let results = Results {
            title: &self.experiment.title,
            cases: self.set.view(&cases)?,
            rows: &rows,
            images: &self.predictions_of_looks()?,
            config: serde_json::to_value(&self.experiment).map_err(EvalError::from)?,
            published: published.as_ref(),
            leaky_inputs: first.leaky_inputs.clone(),
            curves: curves.iter().map(|(name, history)| (name.as_str(), history.as_slice())).collect(),
            weights: &weights,
            notes,
            failed: &[],
            seen: self.seen,
            engine: None,
            trained_on: self.trained_on(),
            fitted: &self.fitted()?,
            points: &self.at_points()?,
            subsets: self.subsets().cloned(),
            corruptions: None,
            features: first.features.as_ref().map(|values| Features {
                title: if several { &self.rounds[0].0 } else { "test cases" },
                of: &first.test,
                values,
            }),
        };
        let evaluations = results.write(folder)?;
        let histories: Vec<_> = curves.iter().map(|(name, history)| (name.as_str(), history.as_slice())).collect();
        write_whole_file(&folder.join("history.csv"), history_csv(&histories).as_bytes())?;
        write_whole_file(&folder.join("experiment.toml"), self.experiment.to_toml().as_bytes())?;
        match &self.folds[..] {
            [] => self.splits[0].save(folder.join("split.json"), &self.set)?,
            folds => {
                let dealt = self.experiment.split.dealt(&self.set)?;
                folds.iter().try_for_each(|(name, table)| table.save(folder.join(name), &dealt))?;
            }
        }
        if let Some(FinalFit { split, .. }) = &self.final_fit {
            split.save(folder.join("split.json"), &self.set)?;
        }
        if let Some(bundle) = self.bundle() {
            bundle.save(folder.join(MODEL_FILE))?;
        }
        Ok(evaluations)
    }
}

/// What a model tells apart, in a sentence.
#[must_use]
pub fn classes_sentence(tasks: &TaskSet) -> String {
    let first = &tasks[0];
    let more = match tasks.len() {
        1 => String::new(),
        2 => ", and one more task".to_owned(),
        tasks => format!(", and {} more tasks", tasks - 1),
    };
    format!("It knows these classes of {} and no others: {}{more}.", first.name, first.classes.join(", "))
}

/// The predictions of the stages of several rounds, those of all rounds one after the other.
fn of_all_rounds(rounds: &[Vec<(String, Predictions)>]) -> Result<Vec<(String, Predictions)>, RecipeError> {
    let mut all = Vec::new();
    // A round that a class or branch is missing from may have fewer stages; what all have is shown.
    for (name, _) in &rounds[0] {
        let tables = rounds.iter().map(|rows| rows.iter().find(|(other, _)| other == name));
        if let Some(tables) = tables.map(|row| row.map(|(_, table)| table.clone())).collect::<Option<Vec<_>>>() {
            all.push((name.clone(), Predictions::concatenate(tables)?));
        }
    }
    Ok(all)
}

/// The training curves as CSV, a line for each epoch.
fn history_csv(curves: &[(&str, &[EpochReport])]) -> String {
    let mut text = String::from("training,epoch,learning_rate,train_loss,valid_loss,valid_score\n");
    for (name, history) in curves {
        for report in *history {
            let EpochReport { epoch, learning_rate, train_loss, valid_loss, valid_score } = report;
            let name = name.replace('"', "\"\"");
            let [valid_loss, valid_score] =
                [valid_loss, valid_score].map(|value| value.map_or_else(String::new, |value| value.to_string()));
            text += &format!("\"{name}\",{epoch},{learning_rate},{train_loss},{valid_loss},{valid_score}\n");
        }
    }
    text
}

impl OutcomeRow {
    /// The row in a sentence: means and deviations over the rounds.
    #[must_use]
    pub fn sentence(&self) -> String {
        let cell = |values: &[f64]| MeanDeviation::of(values).map_or_else(|| "n/a".to_owned(), |mean| mean.to_string());
        let [accuracy, balanced, auc] = [&self.accuracy, &self.balanced_accuracy, &self.auc].map(|values| cell(values));
        format!(
            "{} over {} rounds: accuracy {accuracy}, balanced accuracy {balanced}, AUC {auc} per cent.",
            self.name,
            self.accuracy.len()
        )
    }
}
