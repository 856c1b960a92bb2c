use serde::{Deserialize, Serialize};

use crate::{Evaluation, ReportTable};

/// How well a model answers from each subset of what it looks at: the cases are those that have all of the subset, and whatever else they
/// have is taken away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubsetEvaluation {
    /// The subsets, the single ones first and everything last.
    pub subsets: Vec<EvaluatedSubset>,
}

/// A subset of what a model looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedSubset {
    /// What is in it: `clinical`, `dermoscopic`, `metadata`.
    pub modalities: Vec<String>,
    /// Cases that have all of it.
    pub cases: usize,
    /// The numbers; `None` where no case has it, or no branch answers from it.
    pub evaluation: Option<Evaluation>,
}

impl SubsetEvaluation {
    /// Cases and scores of each subset, in per cent.
    #[must_use]
    pub fn table(&self) -> ReportTable {
        let percent = |value: Option<f64>| value.map_or("n/a".to_owned(), |value| format!("{:.1}", 100.0 * value));
        let caption = "Cases that have all of the subset, answered from it alone. Means over the tasks, per cent; intervals: 95 %, \
                       bootstrap over cases. –: no branch of the model answers from it.";
        let head = ["inputs", "cases", "AVG ACC", "95 %", "AVG BAC", "95 %", "AUC", "answered by"];
        let mut table = ReportTable::new("Missing inputs", head, caption);
        for EvaluatedSubset { modalities, cases, evaluation } in &self.subsets {
            let inputs = modalities.join(" + ");
            let none = || "–".to_owned();
            let Some(evaluation) = evaluation else {
                table.push([inputs, cases.to_string(), none(), none(), none(), none(), none(), none()]);
                continue;
            };
            let overall = &evaluation.overall;
            let interval = |interval: Option<crate::Interval>| {
                interval.map_or_else(none, |interval| {
                    format!("{:.1}–{:.1}", 100.0 * interval.lower, 100.0 * interval.upper)
                })
            };
            let answered_by: Vec<&str> = evaluation.basis.keys().map(String::as_str).collect();
            table.push([
                inputs,
                evaluation.cases.to_string(),
                percent(overall.accuracy),
                interval(overall.accuracy_interval),
                percent(overall.balanced_accuracy),
                interval(overall.balanced_accuracy_interval),
                percent(overall.auc),
                answered_by.join(", "),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Predictions, Task, TaskSet};
    use ndarray::array;

    #[test]
    fn a_subset_that_nobody_answers_from_is_a_row() {
        let predictions = Predictions {
            tasks: TaskSet::new(vec![Task::new("t", "T", ["a", "b"])]).unwrap(),
            ids: vec!["1".into(), "2".into()],
            labels: vec![vec![Some(0)], vec![Some(0)]],
            probabilities: vec![array![[0.75, 0.25], [0.25, 0.75]]],
            basis: vec!["clinical".into(); 2],
        };
        let subset = |modalities: &[&str], evaluation| EvaluatedSubset {
            modalities: modalities.iter().map(|&name| name.to_owned()).collect(),
            cases: 2,
            evaluation,
        };
        let evaluated = Evaluation::of(&predictions).unwrap();
        let subsets = vec![subset(&["metadata"], None), subset(&["clinical", "metadata"], Some(evaluated))];
        let text = SubsetEvaluation { subsets }.table().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("metadata") && lines[1].contains('–'), "{text}");
        assert!(lines[2].contains("clinical + metadata") && lines[2].contains("50.0"), "{text}");
    }
}
