//! What the trials of a sweep gave.

use std::fmt::Write as _;
use std::path::Path;

use dermafuse_eval::{Report, csv_field};
use dermafuse_schema::write_whole_file;

use super::{Sweep, SweepScore};
use crate::selection::overall;
use crate::{Experiment, RecipeError, RoundResult};

/// What a sweep chose.
#[derive(Clone, Debug)]
pub struct SweepOutcome {
    /// The trials, in order.
    pub trials: Vec<TriedSettings>,
    /// The place of the chosen one: the first of those with the best score.
    pub best: usize,
    /// By which score.
    pub score: SweepScore,
    /// The chosen experiment.
    pub experiment: Experiment,
}

/// A trial and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct TriedSettings {
    /// Its name.
    pub name: String,
    /// Settings and their values.
    pub settings: Vec<(String, String)>,
    /// The score of its validation cases in each round, from 0 to 1.
    pub rounds: Vec<f64>,
    /// Their mean; `None` where a round has no score.
    pub score: Option<f64>,
    /// Cases that a round's score is of.
    pub cases: usize,
}

impl SweepOutcome {
    pub(super) fn new(sweep: &Sweep, results: &[Vec<RoundResult>]) -> Result<Self, RecipeError> {
        let tried = sweep.trials.iter().zip(results).map(|(trial, results)| {
            let rounds = results.iter().map(|result| {
                // The cases of these are those that validate.
                let answer = result.rows()?.pop().expect("there is an answer").1;
                Ok(sweep.score.of(&overall(&answer)?).unwrap_or(f64::NAN))
            });
            let rounds = rounds.collect::<Result<Vec<f64>, RecipeError>>()?;
            let mean = rounds.iter().sum::<f64>() / rounds.len() as f64;
            Ok(TriedSettings {
                name: trial.name.clone(),
                settings: trial.settings.clone(),
                score: mean.is_finite().then_some(mean),
                cases: results.first().map_or(0, |result| result.test.cohort.len()),
                rounds,
            })
        });
        let trials = tried.collect::<Result<Vec<_>, RecipeError>>()?;
        let best = trials.iter().filter_map(|trial| trial.score).max_by(f64::total_cmp).ok_or(RecipeError::NoScore)?;
        let best = trials.iter().position(|trial| trial.score == Some(best)).expect("a trial has the best score");
        Ok(Self { trials, best, score: sweep.score, experiment: sweep.trials[best].experiment.clone() })
    }

    /// The chosen trial.
    #[must_use]
    pub fn chosen(&self) -> &TriedSettings {
        &self.trials[self.best]
    }

    /// What was done, in sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let TriedSettings { name, settings, score, cases, .. } = self.chosen();
        let settings = settings.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>().join(", ");
        let percent = 100.0 * score.unwrap_or(f64::NAN);
        let mut sentences = vec![
            format!(
                "{name} of {} is chosen by the {} of the {cases} validation cases ({percent:.1} per cent): {settings}.",
                self.trials.len(),
                self.score
            ),
            "No trial saw a test case. The score of the chosen one is the best of several and so optimistic; the test of the chosen \
             experiment is not."
                .to_owned(),
        ];
        if self.chosen().settings.iter().any(|(key, _)| key.starts_with("second_stage")) {
            let fitted = "Branch weights and the weight of the second stage are fitted on the same validation cases, which favours \
                          settings that fit more.";
            sentences.push(fitted.to_owned());
        }
        sentences
    }

    /// The trials as CSV: name, settings, score, whether it is chosen.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = String::from("trial");
        for (key, _) in self.trials.first().map_or(&[][..], |trial| &trial.settings) {
            write!(text, ",{}", csv_field(key)).expect("writing to a string does not fail");
        }
        text += ",validation_score,chosen\n";
        for (index, trial) in self.trials.iter().enumerate() {
            text += &csv_field(&trial.name);
            trial.settings.iter().for_each(|(_, value)| text += &format!(",{}", csv_field(value)));
            let score = trial.score.map_or_else(String::new, |score| score.to_string());
            text += &format!(",{score},{}\n", if index == self.best { "yes" } else { "" });
        }
        text
    }

    /// Writes `sweep.csv` and `sweep.html`.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), RecipeError> {
        let mut report = Report::new(format!("{}: sweep", self.experiment.title));
        for sentence in self.sentences() {
            report = report.note(sentence);
        }
        let pairs = self.trials.iter().map(|trial| {
            let settings = trial.settings.iter().map(|(key, value)| format!("{key} = {value}"));
            let score = trial.score.map_or_else(|| "no score".to_owned(), |score| format!("{:.2}", 100.0 * score));
            (trial.name.clone(), format!("{score}: {}", settings.collect::<Vec<_>>().join(", ")))
        });
        report.config_pairs(pairs).write(folder.join("sweep.html"))?;
        write_whole_file(&folder.join("sweep.csv"), self.to_csv().as_bytes())?;
        Ok(())
    }
}
