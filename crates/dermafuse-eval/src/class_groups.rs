use std::collections::HashSet;
use std::fmt;

use dermafuse_schema::{Aim, CaseId, FittedGroup, Predictions};
use serde::{Deserialize, Serialize};

use crate::metrics::check;
use crate::significance::AucEstimate;
use crate::{EvalError, Interval, Proportion, auc};

/// How well a group of classes is told from the rest: see [`ClassGroup`](dermafuse_schema::ClassGroup).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupEvaluation {
    /// Name of the group.
    pub name: String,
    /// Name of its task.
    pub task: String,
    /// The members that answer with "yes".
    pub positive: Vec<String>,
    /// What its operating point was to reach on the validation cases.
    pub aim: Aim,
    /// Cases with a label of the task.
    pub cases: usize,
    /// The area under the ROC curve of the probability of "yes".
    pub auc: GroupAuc,
    /// Each member against the rest, by name.
    pub members: Vec<MemberEvaluation>,
    /// What the operating point is worth here; `None` where there is none.
    pub operating_point: Option<PointEvaluation>,
}

/// An area under a ROC curve, with DeLong's 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupAuc {
    /// The area; `None` where one kind of cases is missing.
    pub value: Option<f64>,
    /// Its interval; `None` with fewer than two cases of a kind, and where a case was predicted several times.
    pub interval: Option<Interval>,
}

/// A member of a group against the rest of the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberEvaluation {
    /// Its name.
    pub name: String,
    /// Its classes.
    pub classes: Vec<String>,
    /// Cases that are truly of one of them.
    pub support: usize,
    /// The area under the ROC curve of its probability.
    pub auc: GroupAuc,
}

/// What an operating point is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointEvaluation {
    /// The probability from which on it says "yes": that of each round.
    pub thresholds: Vec<f64>,
    /// The share of the positive cases that are answered with "yes".
    pub sensitivity: Proportion,
    /// The share of the others that are answered with "no".
    pub specificity: Proportion,
    /// The share of the positive cases among those answered with "yes".
    pub positive_predictive_value: Proportion,
    /// The share of the others among those answered with "no".
    pub negative_predictive_value: Proportion,
    /// The share of all cases that are answered with "yes", labelled or not.
    pub said_yes: Proportion,
}

/// A case as a question with two answers sees it.
struct Answered<'a> {
    id: &'a CaseId,
    score: f64,
    truth: Option<bool>,
    yes: Option<bool>,
}

impl GroupEvaluation {
    /// The numbers of a group over one or several rounds, each with the operating point that its validation cases chose. The first
    /// round says the group.
    ///
    /// # Errors
    /// No round, predictions that cannot be evaluated, a group of other tasks.
    pub fn of(rounds: &[(&Predictions, &FittedGroup)]) -> Result<Self, EvalError> {
        let Some(&(first, FittedGroup { group, aim, .. })) = rounds.first() else {
            return Err(EvalError::TooFew { what: "rounds of a group of classes", found: 0, least: 1 });
        };
        let members = group.members(&first.tasks[group.task_of(&first.tasks)?])?;
        let mut answered = Vec::new();
        // For each member score and truth of every case.
        let mut of_members = vec![Vec::new(); members.len()];
        for &(predictions, fitted) in rounds {
            check(predictions)?;
            let task = fitted.group.task_of(&predictions.tasks)?;
            let (scores, truths) = (fitted.group.scores(predictions)?, fitted.group.truths(predictions)?);
            for ((id, score), truth) in predictions.ids.iter().zip(scores).zip(truths) {
                let yes = fitted.operating_point.map(|point| point.says_yes(score));
                answered.push(Answered { id, score, truth, yes });
            }
            let probabilities = fitted.group.probabilities(predictions)?;
            for (member, (_, classes)) in members.iter().enumerate() {
                let labels = predictions.labels.iter().map(|labels| labels[task]);
                let truths = labels.map(|label| label.map(|label| classes.contains(&label)));
                of_members[member].extend(probabilities.column(member).iter().copied().zip(truths));
            }
        }
        let ids: Vec<&CaseId> = answered.iter().map(|case| case.id).collect();
        let task = &first.tasks[group.task_of(&first.tasks)?];
        let members = members.into_iter().zip(of_members).map(|((name, classes), cases)| MemberEvaluation {
            name,
            classes: classes.into_iter().map(|class| task.classes[class].clone()).collect(),
            support: different(
                cases.iter().zip(&ids).filter(|((_, truth), _)| *truth == Some(true)).map(|(_, id)| *id),
            ),
            auc: GroupAuc::of(&ids, &cases),
        });
        let scores: Vec<(f64, Option<bool>)> = answered.iter().map(|case| (case.score, case.truth)).collect();
        Ok(Self {
            name: group.name().to_owned(),
            task: group.task().to_owned(),
            positive: group.positive().to_vec(),
            aim: *aim,
            cases: different(answered.iter().filter(|case| case.truth.is_some()).map(|case| case.id)),
            auc: GroupAuc::of(&ids, &scores),
            members: members.collect(),
            operating_point: PointEvaluation::of(rounds, &answered),
        })
    }
}

impl GroupAuc {
    fn of(ids: &[&CaseId], cases: &[(f64, Option<bool>)]) -> Self {
        let labelled: Vec<(f64, bool)> = cases.iter().filter_map(|&(score, truth)| Some((score, truth?))).collect();
        let once = different(ids.iter().copied()) == ids.len();
        let interval = || AucEstimate::of(&labelled).ok().map(|estimate| estimate.interval);
        Self { value: auc(&labelled), interval: once.then(interval).flatten() }
    }
}

impl PointEvaluation {
    fn of(rounds: &[(&Predictions, &FittedGroup)], answered: &[Answered<'_>]) -> Option<Self> {
        let points = rounds.iter().map(|(_, fitted)| fitted.operating_point.map(|point| point.threshold));
        let thresholds = points.collect::<Option<Vec<f64>>>()?;
        let known = || answered.iter().filter_map(|case| Some((case.id, case.truth?, case.yes?)));
        let share = |of: &dyn Fn(bool, bool) -> bool, hit: &dyn Fn(bool, bool) -> bool| {
            Proportion::of_cases(
                known().filter(|&(_, truth, yes)| of(truth, yes)).map(|(id, truth, yes)| (id, hit(truth, yes))),
            )
        };
        Some(Self {
            thresholds,
            sensitivity: share(&|truth, _| truth, &|_, yes| yes),
            specificity: share(&|truth, _| !truth, &|_, yes| !yes),
            positive_predictive_value: share(&|_, yes| yes, &|truth, _| truth),
            negative_predictive_value: share(&|_, yes| !yes, &|truth, _| !truth),
            said_yes: Proportion::of_cases(answered.iter().filter_map(|case| Some((case.id, case.yes?)))),
        })
    }
}

/// How many different cases there are.
fn different<'a>(ids: impl Iterator<Item = &'a CaseId>) -> usize {
    ids.collect::<HashSet<_>>().len()
}

impl fmt::Display for GroupEvaluation {
    /// A sentence for the terminal, in per cent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, positive, cases, auc, operating_point, .. } = self;
        write!(formatter, "{name} ({}), {cases} cases: AUC {auc}", positive.join(" or "))?;
        match operating_point {
            Some(PointEvaluation { sensitivity, specificity, said_yes, .. }) => write!(
                formatter,
                "; at the operating point for {} {}: sensitivity {sensitivity}, specificity {specificity}, yes to {said_yes}",
                self.aim.name(),
                self.aim.share()
            ),
            None => formatter.write_str("; no operating point, since the validation cases are of one kind"),
        }
    }
}

impl fmt::Display for GroupAuc {
    /// In per cent: `93.1 (88.0–98.2)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.interval) {
            (Some(value), Some(Interval { lower, upper })) => {
                write!(formatter, "{:.1} ({:.1}–{:.1})", 100.0 * value, 100.0 * lower, 100.0 * upper)
            }
            (Some(value), None) => write!(formatter, "{:.1}", 100.0 * value),
            (None, _) => formatter.write_str("n/a"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{ClassGroup, OperatingPoint, Task, TaskSet};
    use ndarray::Array2;

    /// Ten cases: MEL is 1 of the classes, its probabilities fall from 0.9 to 0; cases 0, 1, 2 and 5 are melanomas, 9 has no label.
    fn predictions() -> Predictions {
        let p = Array2::from_shape_fn((10, 3), |(case, class)| match class {
            1 => 0.9 - 0.1 * case as f64,
            0 => 0.1 * case as f64,
            _ => 0.1,
        });
        Predictions {
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"])]).unwrap(),
            ids: (0..10).map(|case| case.to_string().into()).collect(),
            labels: (0..10).map(|case| vec![(case < 9).then(|| usize::from([0, 1, 2, 5].contains(&case)))]).collect(),
            basis: vec!["clinical".into(); 10],
            probabilities: vec![p],
        }
    }

    fn fitted(threshold: Option<f64>) -> FittedGroup {
        let members = [("melanoma", vec!["MEL"]), ("carcinoma", vec!["BCC"])];
        let group = ClassGroup::new("referral", "diagnosis", members, ["melanoma"]).unwrap();
        let operating_point = threshold.map(|threshold| OperatingPoint {
            threshold,
            positives: 4,
            negatives: 5,
            sensitivity: 1.0,
            specificity: 0.5,
        });
        FittedGroup { group, aim: Aim::Sensitivity(0.9), operating_point }
    }

    #[test]
    fn a_group_is_evaluated_at_its_operating_point() {
        let predictions = predictions();
        let evaluation = GroupEvaluation::of(&[(&predictions, &fitted(Some(0.55)))]).unwrap();
        assert_eq!(evaluation.cases, 9);
        // Of 4 · 5 pairs the fifth case is behind two negatives: 18 are in order.
        assert_eq!(evaluation.auc.value, Some(0.9));
        let interval = evaluation.auc.interval.unwrap();
        assert!(interval.lower < 0.9 && interval.upper > 0.9);
        let names: Vec<(&str, usize)> =
            evaluation.members.iter().map(|member| (member.name.as_str(), member.support)).collect();
        assert_eq!(names, [("carcinoma", 0), ("melanoma", 4), ("rest", 5)]);
        assert_eq!(evaluation.members[0].auc, GroupAuc { value: None, interval: None });
        let point = evaluation.operating_point.as_ref().unwrap();
        // Yes to the first four.
        assert_eq!((point.sensitivity.value, point.sensitivity.cases), (Some(0.75), 4));
        assert_eq!((point.specificity.value, point.specificity.cases), (Some(0.8), 5));
        assert_eq!(point.positive_predictive_value.value, Some(0.75));
        assert_eq!(point.negative_predictive_value.value, Some(0.8));
        assert_eq!((point.said_yes.value, point.said_yes.cases), (Some(0.4), 10));
        let text = evaluation.to_string();
        assert!(
            text.starts_with("referral (melanoma), 9 cases: AUC 90.0 (") && text.contains("sensitivity 75.0 ("),
            "{text}"
        );
    }

    #[test]
    fn rounds_have_thresholds_of_their_own_and_cases_count_once() {
        let predictions = predictions();
        let (first, second) = (fitted(Some(0.55)), fitted(Some(0.0)));
        let evaluation = GroupEvaluation::of(&[(&predictions, &first), (&predictions, &second)]).unwrap();
        let point = evaluation.operating_point.unwrap();
        assert_eq!(point.thresholds, [0.55, 0.0]);
        assert_eq!((point.sensitivity.value, point.sensitivity.cases), (Some(0.875), 4));
        assert_eq!((evaluation.auc.value, evaluation.auc.interval), (Some(0.9), None));
        let none = GroupEvaluation::of(&[(&predictions, &fitted(None))]).unwrap();
        assert!(none.operating_point.is_none() && none.to_string().contains("no operating point"));
        assert!(GroupEvaluation::of(&[]).is_err());
    }
}
