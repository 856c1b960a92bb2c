use dermafuse_schema::{CaseId, Predictions};
use serde::{Deserialize, Serialize};

use crate::metrics::check;
use crate::{EvalError, ReportTable};

/// What a model gets wrong: the mistakes that it is surest of, and which classes it takes for which.
///
/// A confident mistake is where to look first: a label that is wrong, an image of something else, a kind of lesion that was never shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mistakes {
    /// The surest mistakes, those with the largest probability of what was said first.
    pub surest: Vec<Mistake>,
    /// Which classes are taken for which, the most frequent first.
    pub confusions: Vec<Confusion>,
}

/// A case that was answered wrongly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The case.
    pub case: CaseId,
    /// The task.
    pub task: String,
    /// The true class.
    pub truth: String,
    /// What was said.
    pub said: String,
    /// The probability of what was said.
    pub probability: f64,
    /// The probability of the truth.
    pub of_truth: f64,
}

/// A class that is taken for another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// The task.
    pub task: String,
    /// The true class.
    pub truth: String,
    /// What was said.
    pub said: String,
    /// How often.
    pub count: usize,
    /// Cases that are truly of the class.
    pub of: usize,
}

impl Mistakes {
    /// The `most` surest mistakes and the `most` most frequent confusions.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    pub fn of(predictions: &Predictions, most: usize) -> Result<Self, EvalError> {
        check(predictions)?;
        let (mut surest, mut confusions) = (Vec::new(), Vec::new());
        for (index, task) in predictions.tasks.iter().enumerate() {
            let classes = task.classes.len();
            let mut counts = vec![vec![0_usize; classes]; classes];
            for case in 0..predictions.len() {
                let Some(truth) = predictions.labels[case][index] else { continue };
                let said = predictions.predicted(case, index);
                counts[truth][said] += 1;
                if said != truth {
                    let row = predictions.probabilities[index].row(case);
                    surest.push(Mistake {
                        case: predictions.ids[case].clone(),
                        task: task.name.clone(),
                        truth: task.classes[truth].clone(),
                        said: task.classes[said].clone(),
                        probability: row[said],
                        of_truth: row[truth],
                    });
                }
            }
            for (truth, row) in counts.iter().enumerate() {
                for (said, &count) in row.iter().enumerate().filter(|(said, count)| *said != truth && **count > 0) {
                    confusions.push(Confusion {
                        task: task.name.clone(),
                        truth: task.classes[truth].clone(),
                        said: task.classes[said].clone(),
                        count,
                        of: row.iter().sum(),
                    });
                }
            }
        }
        // Stable, so that equals stay in the order of the cases.
        surest.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.count));
        surest.truncate(most);
        confusions.truncate(most);
        Ok(Self { surest, confusions })
    }

    /// Both as tables for a report.
    #[must_use]
    pub fn tables(&self) -> [ReportTable; 2] {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let mut surest = ReportTable::new(
            "The surest mistakes",
            ["case", "task", "truth", "said", "probability of it, per cent", "of the truth"],
            "Look at these first: a wrong label, another lesion, or something that the model was never shown.",
        );
        for mistake in &self.surest {
            let Mistake { case, task, truth, said, probability, of_truth } = mistake;
            surest.push([
                case.to_string(),
                task.clone(),
                truth.clone(),
                said.clone(),
                percent(*probability),
                percent(*of_truth),
            ]);
        }
        let mut confusions = ReportTable::new(
            "What is taken for what",
            ["truth", "task", "said", "cases", "of", "per cent"],
            "Of the cases of a class, how many were called another.",
        );
        for Confusion { task, truth, said, count, of } in &self.confusions {
            let share = percent(*count as f64 / *of as f64);
            confusions.push([truth.clone(), task.clone(), said.clone(), count.to_string(), of.to_string(), share]);
        }
        [surest, confusions]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::array;

    #[test]
    fn the_surest_mistake_and_the_most_frequent_confusion_come_first() {
        let predictions = Predictions {
            tasks: TaskSet::new(vec![Task::new("d", "D", ["NEV", "BCC", "MEL"])]).unwrap(),
            ids: ["a", "b", "c", "e", "f"].map(Into::into).into(),
            labels: vec![vec![Some(2)], vec![Some(2)], vec![Some(0)], vec![Some(0)], vec![None]],
            probabilities: vec![array![
                [0.6, 0.1, 0.3],
                [0.9, 0.05, 0.05],
                [0.2, 0.8, 0.0],
                [0.7, 0.2, 0.1],
                [0.1, 0.1, 0.8]
            ]],
            basis: vec!["clinical".into(); 5],
        };
        let mistakes = Mistakes::of(&predictions, 2).unwrap();
        let cases: Vec<&str> = mistakes.surest.iter().map(|mistake| mistake.case.as_str()).collect();
        assert_eq!(cases, ["b", "c"]);
        assert_eq!((mistakes.surest[0].probability, mistakes.surest[0].of_truth), (0.9, 0.05));
        let Confusion { truth, said, count, of, .. } = &mistakes.confusions[0];
        assert_eq!((truth.as_str(), said.as_str(), *count, *of), ("MEL", "NEV", 2, 2));
        let [surest, confusions] = mistakes.tables();
        assert!(surest.to_string().contains("b") && confusions.to_string().contains("100.0"));
    }
}
