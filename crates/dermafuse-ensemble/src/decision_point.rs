//! Operating points of the whole classification: which class is said, for an objective.

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::{Predictions, SchemaError, SettingFault, Task, TaskSet};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};
use crate::folds::{members, stratified_by_class};
#[cfg(feature = "onnx")]
use crate::graph_terms::constant;
use crate::objective::{Objective, Scorer};
use crate::training::check_rows;

/// No probability counts as less where its logarithm is moved.
const LEAST: f64 = 1e-12;
/// Exponents on the prior that are tried, in twentieths: from −1.5 to 1.5.
const EXPONENTS: std::ops::RangeInclusive<i32> = -30..=30;
/// How far the offset of a class is moved at once, in tenths: from −2 to 2.
const MOVES: std::ops::RangeInclusive<i32> = -20..=20;
/// Rounds over the classes.
const MOST_ROUNDS: usize = 20;
/// What must be gained, so that rounding decides nothing.
const GAIN: f64 = 1e-12;
/// More than any offset that was fitted.
const MOST_OFFSET: f64 = 1e6;

/// A way to decide: every class's log-probability is moved by an offset before the largest is taken. Offsets that divide by the
/// prior say rare classes more often, which balanced accuracy wants; others serve other aims. A model can have several, of which
/// one is chosen when it is asked.
///
/// The probabilities of answers at a point are moved too, `p' ∝ p · exp(offset)`: they say what is decided and do not come true as those
/// of a calibrated model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionPoint {
    /// The name of the point.
    pub name: String,
    /// What it was chosen for.
    pub objective: Objective,
    /// The offsets of each task.
    pub tasks: Vec<TaskOffsets>,
    /// What it gained on the validation cases.
    pub validation: PointValidation,
}

/// The offsets of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOffsets {
    /// The task's name.
    pub task: String,
    /// Its classes with what is added to the logarithm of their probability.
    pub offsets: Vec<ClassOffset>,
    /// The exponent that made the offsets, if one did: probabilities are divided by the class's share among the validation cases, to
    /// this power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior_exponent: Option<f64>,
}

/// What is added to the logarithm of a class's probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassOffset {
    /// The class's name.
    pub class: String,
    /// The offset.
    pub offset: f64,
}

/// The objective on validation cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointValidation {
    /// Validation cases.
    pub cases: usize,
    /// Without offsets.
    pub before: f64,
    /// With the offsets that were chosen on these very cases, which flatters them.
    pub fitted: f64,
    /// With offsets that were chosen without the case that is decided: each fold by those of the others. What to expect.
    pub nested: f64,
}

/// Which offsets are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetForm {
    /// None, an exponent or one for each class, whichever does best on cases that did not choose the offsets.
    #[default]
    Best,
    /// One exponent on the classes' shares.
    PriorExponent,
    /// One for each class: the exponent's first, then moved class by class.
    Classes,
}

/// The search for the offsets of a [`DecisionPoint`].
///
/// ```
/// use dermafuse_ensemble::{Objective, PointSearch};
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::Array2};
///
/// // One case in five is a melanoma; those have 0.4, the others 0.2.
/// let valid = Predictions {
///     tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?,
///     ids: (0..100).map(|case| case.to_string().into()).collect(),
///     labels: (0..100).map(|case| vec![Some(usize::from(case % 5 == 0))]).collect(),
///     probabilities: vec![Array2::from_shape_fn((100, 2), |(case, class)| {
///         let melanoma = if case % 5 == 0 { 0.4 } else { 0.2 };
///         if class == 1 { melanoma } else { 1.0 - melanoma }
///     })],
///     basis: vec!["clinical".into(); 100],
/// };
/// let patients: Vec<String> = (0..100).map(|case| case.to_string()).collect();
/// let search = PointSearch { objective: Objective::BalancedAccuracy, ..PointSearch::default() };
/// let point = search.fit("balanced", &valid, &patients)?;
/// assert_eq!((point.validation.before, point.validation.nested), (0.5, 1.0));
/// assert_eq!(point.apply(&valid)?.mean_accuracy(), Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PointSearch {
    /// What is made as good as possible: what depends on the class that is said.
    pub objective: Objective,
    /// Which offsets are looked at.
    pub form: OffsetForm,
    /// Folds of the validation cases that keep groups together, for what to expect.
    pub folds: usize,
    /// Seed of the folds.
    pub seed: u64,
}

impl Default for PointSearch {
    /// Balanced accuracy, any form, five folds.
    fn default() -> Self {
        Self { objective: Objective::BalancedAccuracy, form: OffsetForm::default(), folds: 5, seed: 0 }
    }
}

/// The labelled cases of a task.
struct TaskCases<'a> {
    task: usize,
    classes: usize,
    /// Logarithms of the probabilities, and the label.
    cases: Vec<(Vec<f64>, usize)>,
    groups: Vec<&'a str>,
}

/// The offsets of a task, and the exponent that made them.
#[derive(Clone)]
struct Offsets {
    of_classes: Vec<f64>,
    exponent: Option<f64>,
}

impl PointSearch {
    /// Checks what can be told without cases; [`fit`](Self::fit) looks at the rest.
    ///
    /// # Errors
    /// Fewer than two folds.
    pub fn check(&self) -> std::result::Result<(), SettingFault> {
        SettingFault::unless(self.folds >= 2, "folds", "at least 2", self.folds)
    }

    /// Chooses the offsets on the answers for validation cases, whose groups `[N]` (patients, else lesions) are kept together in folds.
    ///
    /// # Errors
    /// An objective that does not depend on decisions, costs that do not fit the tasks, another number of groups, no label, folds
    /// fewer than two or more than there are groups with labels of a task.
    pub fn fit(&self, name: impl Into<String>, valid: &Predictions, groups: &[String]) -> Result<DecisionPoint> {
        valid.check()?;
        check_rows("groups", valid.len(), groups.len())?;
        let scorer = Scorer::new(&self.objective, &valid.tasks)?;
        if !scorer.is_of_decisions() {
            return Err(EnsembleError::NoDecision { objective: self.objective.name() });
        }
        let (mut tasks, mut scores) = (Vec::new(), Vec::new());
        for (index, task) in valid.tasks.iter().enumerate() {
            let of_task = TaskCases::new(valid, index, groups);
            let found = match of_task.cases.is_empty() {
                true => Offsets { of_classes: vec![0.0; task.classes.len()], exponent: None },
                false => {
                    let most = members(&of_task.groups).len();
                    if !(2..=most).contains(&self.folds) {
                        let (parameter, value) =
                            (format!("folds of a point of task `{}`", task.name), self.folds as f64);
                        let expected = "from 2 to the number of groups with a label";
                        return Err(EnsembleError::Parameter { parameter, value, expected });
                    }
                    let all: Vec<usize> = (0..of_task.cases.len()).collect();
                    let found = self.chosen(&of_task, &scorer, &all);
                    let none = vec![0.0; of_task.classes];
                    let before = of_task.score(&scorer, &all, |_| &none);
                    let fitted = of_task.score(&scorer, &all, |_| &found.of_classes);
                    let nested = self.nested(&of_task, &scorer, &all, |rows| self.chosen(&of_task, &scorer, rows));
                    scores.push([before, fitted, nested]);
                    found
                }
            };
            let offsets = task.classes.iter().zip(&found.of_classes);
            let offsets = offsets.map(|(class, &offset)| ClassOffset { class: class.clone(), offset });
            tasks.push(TaskOffsets {
                task: task.name.clone(),
                offsets: offsets.collect(),
                prior_exponent: found.exponent,
            });
        }
        if scores.is_empty() {
            return Err(EnsembleError::NoLabels);
        }
        let [before, fitted, nested] =
            [0, 1, 2].map(|at| scores.iter().map(|scores| scores[at]).sum::<f64>() / scores.len() as f64);
        let validation = PointValidation { cases: valid.len(), before, fitted, nested };
        Ok(DecisionPoint { name: name.into(), objective: self.objective.clone(), tasks, validation })
    }

    /// The offsets that these cases choose.
    fn chosen(&self, cases: &TaskCases<'_>, scorer: &Scorer<'_>, rows: &[usize]) -> Offsets {
        match self.form {
            OffsetForm::PriorExponent => cases.exponent(scorer, rows),
            OffsetForm::Classes => cases.by_class(scorer, rows),
            OffsetForm::Best => {
                let none = || Offsets { of_classes: vec![0.0; cases.classes], exponent: None };
                if cases.groups_of(rows) < self.folds {
                    return none();
                }
                let scores = [
                    self.nested(cases, scorer, rows, |_| none()),
                    self.nested(cases, scorer, rows, |rows| cases.exponent(scorer, rows)),
                    self.nested(cases, scorer, rows, |rows| cases.by_class(scorer, rows)),
                ];
                // The simplest of equals.
                if scores[2] > scores[0].max(scores[1]) + GAIN {
                    cases.by_class(scorer, rows)
                } else if scores[1] > scores[0] + GAIN {
                    cases.exponent(scorer, rows)
                } else {
                    none()
                }
            }
        }
    }

    /// The objective on these cases where each fold is decided with offsets that the others chose.
    fn nested(
        &self,
        cases: &TaskCases<'_>,
        scorer: &Scorer<'_>,
        rows: &[usize],
        choose: impl Fn(&[usize]) -> Offsets,
    ) -> f64 {
        let labels: Vec<usize> = rows.iter().map(|&row| cases.cases[row].1).collect();
        let groups: Vec<&str> = rows.iter().map(|&row| cases.groups[row]).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let fold_of = stratified_by_class(&labels, cases.classes, &groups, self.folds, &mut random);
        let of_folds: Vec<Vec<f64>> = (0..self.folds)
            .map(|fold| {
                let others = rows.iter().zip(&fold_of).filter(|(_, of)| **of != fold);
                choose(&others.map(|(row, _)| *row).collect::<Vec<_>>()).of_classes
            })
            .collect();
        cases.score(scorer, rows, |at| &of_folds[fold_of[at]])
    }
}

impl<'a> TaskCases<'a> {
    fn new(valid: &Predictions, task: usize, groups: &'a [String]) -> Self {
        let labelled = (0..valid.len()).filter_map(|case| Some((case, valid.labels[case][task]?)));
        let (mut cases, mut of_cases) = (Vec::new(), Vec::new());
        for (case, label) in labelled {
            cases.push((valid.probabilities[task].row(case).iter().map(|p| p.max(LEAST).ln()).collect(), label));
            of_cases.push(groups[case].as_str());
        }
        Self { task, classes: valid.tasks[task].classes.len(), cases, groups: of_cases }
    }

    fn groups_of(&self, rows: &[usize]) -> usize {
        members(&rows.iter().map(|&row| self.groups[row]).collect::<Vec<_>>()).len()
    }

    /// The objective on the cases at `rows`, decided with the offsets of each place among them.
    fn score<'b>(&self, scorer: &Scorer<'_>, rows: &[usize], offsets: impl Fn(usize) -> &'b [f64]) -> f64 {
        let said = rows.iter().enumerate().map(|(at, &row)| {
            let (logs, label) = &self.cases[row];
            let mut best = (0, f64::NEG_INFINITY);
            for (class, (log, offset)) in logs.iter().zip(offsets(at)).enumerate() {
                if log + offset > best.1 {
                    best = (class, log + offset);
                }
            }
            (*label, best.0, 1)
        });
        scorer.of_counts(self.task, self.classes, said)
    }

    /// The best exponent on the classes' shares among these cases, of equals the nearest to 0. Every class counts one case more, so that
    /// one without any has a share.
    fn exponent(&self, scorer: &Scorer<'_>, rows: &[usize]) -> Offsets {
        let mut counts = vec![1.0; self.classes];
        rows.iter().for_each(|&row| counts[self.cases[row].1] += 1.0);
        let all: f64 = counts.iter().sum();
        let of = |exponent: f64| -> Vec<f64> { counts.iter().map(|count| -exponent * (count / all).ln()).collect() };
        let mut tried: Vec<f64> = EXPONENTS.map(|twentieths| f64::from(twentieths) / 20.0).collect();
        tried.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let mut best = (0.0, f64::NEG_INFINITY);
        for exponent in tried {
            let offsets = of(exponent);
            let score = self.score(scorer, rows, |_| &offsets);
            if score > best.1 + GAIN {
                best = (exponent, score);
            }
        }
        Offsets { of_classes: centred(of(best.0)), exponent: Some(best.0) }
    }

    /// The exponent's offsets, each moved as long as that helps.
    fn by_class(&self, scorer: &Scorer<'_>, rows: &[usize]) -> Offsets {
        let mut offsets = self.exponent(scorer, rows).of_classes;
        let mut best = self.score(scorer, rows, |_| &offsets);
        let mut moves: Vec<f64> = MOVES.map(|tenths| f64::from(tenths) / 10.0).collect();
        moves.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        for _ in 0..MOST_ROUNDS {
            let before = best;
            for class in 0..self.classes {
                let from = offsets[class];
                let mut to = from;
                for by in &moves {
                    offsets[class] = from + by;
                    let score = self.score(scorer, rows, |_| &offsets);
                    if score > best + GAIN {
                        (best, to) = (score, from + by);
                    }
                }
                offsets[class] = to;
            }
            if best <= before {
                break;
            }
        }
        Offsets { of_classes: centred(offsets), exponent: None }
    }
}

/// The same decisions with a mean of 0.
fn centred(mut offsets: Vec<f64>) -> Vec<f64> {
    let mean = offsets.iter().sum::<f64>() / offsets.len() as f64;
    offsets.iter_mut().for_each(|offset| *offset -= mean);
    offsets
}

impl DecisionPoint {
    /// The answers as they are decided here: `p' ∝ p · exp(offset)`. A class without probability stays without.
    ///
    /// # Errors
    /// Answers to other tasks or classes.
    pub fn apply(&self, answers: &Predictions) -> Result<Predictions> {
        self.check(&answers.tasks)?;
        let mut decided = answers.clone();
        for (task, table) in answers.tasks.iter().zip(&mut decided.probabilities) {
            let offsets = self.offsets_of(task);
            for mut row in table.rows_mut() {
                let moved = row.iter().zip(&offsets).map(|(p, offset)| p.ln() + offset);
                let moved = dermafuse_schema::softmax(&moved.collect::<Vec<_>>());
                // Rows of zeros are no probabilities, and none is made of them.
                if moved.iter().all(|p| p.is_finite()) {
                    row.iter_mut().zip(moved).for_each(|(to, p)| *to = p);
                }
            }
        }
        Ok(decided)
    }

    /// The offsets of a task's classes, in their order.
    ///
    /// # Panics
    /// If the task is none of the point's (see [`check`](Self::check)).
    fn offsets_of(&self, task: &Task) -> Vec<f64> {
        let own = self.tasks.iter().find(|own| own.task == task.name).expect("it was checked");
        let of_class = |class: &String| own.offsets.iter().find(|offset| offset.class == *class);
        task.classes.iter().map(|class| of_class(class).map_or(0.0, |offset| offset.offset)).collect()
    }

    /// [`apply`](Self::apply) in a graph, to `[N, K]` probabilities of a task.
    #[cfg(feature = "onnx")]
    pub(crate) fn add_to(&self, graph: &mut Graph, task: &Task, probabilities: Value) -> Value {
        let offsets = self.offsets_of(task);
        let offsets = constant(graph, &offsets, &[1, offsets.len()]);
        let logs = graph.unary("Log", probabilities);
        let moved = graph.add(logs, offsets);
        graph.softmax(moved, 1)
    }

    /// Checks that it is for these tasks and classes, by name.
    ///
    /// # Errors
    /// The first task or class that one of both lacks; an offset that is none.
    pub fn check(&self, tasks: &TaskSet) -> Result<()> {
        let unknown = |what, name: &str, known: Vec<String>| {
            Err(SchemaError::Unknown { what, name: name.to_owned(), known }.into())
        };
        for task in tasks.iter() {
            let Some(own) = self.tasks.iter().find(|own| own.task == task.name) else {
                let known = self.tasks.iter().map(|own| own.task.clone()).collect();
                return unknown("task of a point", &task.name, known);
            };
            let names = || own.offsets.iter().map(|offset| offset.class.clone()).collect::<Vec<_>>();
            if let Some(class) = task.classes.iter().find(|class| !names().contains(class)) {
                return unknown("class of a point", class, names());
            }
            if let Some(offset) = own.offsets.iter().find(|offset| !task.classes.contains(&offset.class)) {
                return unknown("class of a point", &offset.class, task.classes.clone());
            }
            if let Some(ClassOffset { class, offset }) =
                own.offsets.iter().find(|offset| !(-MOST_OFFSET..=MOST_OFFSET).contains(&offset.offset))
            {
                let what = format!("offset of class `{class}` of the point `{}`", self.name);
                return Err(
                    SchemaError::Number { what, value: *offset, expected: "within -1,000,000..=1,000,000" }.into()
                );
            }
        }
        Ok(())
    }

    /// What a reader of answers at this point should know.
    #[must_use]
    pub fn sentence(&self) -> String {
        let PointValidation { cases, before, nested, .. } = self.validation;
        format!(
            "Classes are decided at the point `{}`, chosen for {} on {cases} validation cases: {before:.3} without it, {nested:.3} on \
             folds that did not choose it. Its probabilities are moved with it and are not those that come true.",
            self.name,
            self.objective.name().replace('_', " ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// Cases of three classes, of which two are rare; true probabilities of classes that overlap.
    fn drawn(cases: usize, seed: u64) -> (Predictions, Vec<String>) {
        use rand_chacha::rand_core::Rng;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let shares = [0.85, 0.1, 0.05];
        let (mut probabilities, mut labels) = (Array2::zeros((cases, 3)), Vec::new());
        for mut row in probabilities.rows_mut() {
            let at = uniform();
            let label = if at < 0.85 { 0 } else { 1 + usize::from(at >= 0.95) };
            let noise: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            let seen = label as f64 * 1.5 + noise;
            let weights = [0, 1, 2].map(|class| {
                let gap = seen - f64::from(class) * 1.5;
                shares[class as usize] * (-0.5 * gap * gap).exp()
            });
            let sum: f64 = weights.iter().sum();
            row.iter_mut().zip(weights).for_each(|(to, weight)| *to = weight / sum);
            labels.push(vec![Some(label)]);
        }
        let predictions = Predictions {
            tasks: TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "BCC", "MEL"])]).unwrap(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            labels,
            probabilities: vec![probabilities],
            basis: vec!["clinical".into(); cases],
        };
        (predictions, (0..cases).map(|case| format!("patient {}", case / 2)).collect())
    }

    #[test]
    fn balanced_accuracy_wants_the_prior_away_and_the_gain_is_there_on_other_cases() {
        let (valid, groups) = drawn(1500, 1);
        let (test, _) = drawn(4000, 2);
        let score = |predictions: &Predictions| Objective::BalancedAccuracy.score(predictions).unwrap().unwrap();
        for form in [OffsetForm::PriorExponent, OffsetForm::Classes, OffsetForm::Best] {
            let point = PointSearch { form, ..PointSearch::default() }.fit("balanced", &valid, &groups).unwrap();
            let PointValidation { cases, before, fitted, nested } = point.validation;
            assert_eq!((cases, before), (1500, score(&valid)));
            assert!((fitted - score(&point.apply(&valid).unwrap())).abs() < 1e-12);
            assert!(fitted >= nested - 0.01 && nested > before + 0.05, "{form:?}: {before} {fitted} {nested}");
            let gained = score(&point.apply(&test).unwrap());
            assert!((gained - nested).abs() < 0.06, "{form:?}: {nested} expected, {gained} found");
            // Bayes' rule for equal classes is an exponent of 1.
            if let Some(exponent) = point.tasks[0].prior_exponent {
                assert!((exponent - 1.0).abs() < 0.6, "{exponent}");
            }
        }
    }

    #[test]
    fn accuracy_wants_the_probabilities_as_they_are() {
        let (valid, groups) = drawn(1500, 1);
        let search = PointSearch { objective: Objective::Accuracy, ..PointSearch::default() };
        let point = search.fit("accurate", &valid, &groups).unwrap();
        let PointValidation { before, nested, .. } = point.validation;
        assert!((nested - before).abs() < 0.01, "{before} {nested}");
        let offsets: Vec<f64> = point.tasks[0].offsets.iter().map(|offset| offset.offset).collect();
        assert!(offsets.iter().all(|offset| offset.abs() < 0.6), "{offsets:?}");
    }

    #[test]
    fn noise_gives_no_gain_and_says_so() {
        // Labels that have nothing to do with what is said: all that is fitted is by heart.
        let (mut valid, groups) = drawn(60, 3);
        valid.labels.iter_mut().enumerate().for_each(|(case, labels)| labels[0] = Some(case * 7 % 11 % 3));
        let search = PointSearch { form: OffsetForm::Classes, ..PointSearch::default() };
        let PointValidation { before, fitted, nested, .. } = search.fit("noise", &valid, &groups).unwrap().validation;
        assert!(fitted > before && nested < fitted - 0.02, "{before} {fitted} {nested}");
    }

    #[test]
    fn costs_move_decisions_to_what_is_cheap() {
        let (valid, groups) = drawn(1500, 1);
        let missed = [("NEV".to_owned(), 50.0), ("BCC".to_owned(), 50.0)];
        let costs = [("MEL".to_owned(), missed.into_iter().collect())].into_iter().collect();
        let objective = Objective::Cost([("diagnosis".to_owned(), costs)].into_iter().collect());
        let point = PointSearch { objective, ..PointSearch::default() }.fit("safe", &valid, &groups).unwrap();
        let recall = |predictions: &Predictions| {
            let melanomas = (0..valid.len()).filter(|&case| valid.labels[case][0] == Some(2));
            melanomas.filter(|&case| predictions.predicted(case, 0) == 2).count()
        };
        let (before, after) = (recall(&valid), recall(&point.apply(&valid).unwrap()));
        assert!(after > before + 10, "{before} {after}");
        assert!(point.validation.nested > point.validation.before);
    }

    #[test]
    fn what_is_stored_is_checked_by_name() {
        let (valid, groups) = drawn(100, 1);
        let point = PointSearch::default().fit("balanced", &valid, &groups).unwrap();
        let text = serde_json::to_string(&point).unwrap();
        assert_eq!(serde_json::from_str::<DecisionPoint>(&text).unwrap(), point);
        let mut other = valid.clone();
        other.tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "BCC", "SK"])]).unwrap();
        assert!(point.apply(&other).unwrap_err().to_string().contains("unknown class of a point `SK`"));
        let mut broken = point.clone();
        broken.tasks[0].offsets[1].offset = f64::NAN;
        assert!(broken.check(&valid.tasks).unwrap_err().to_string().contains("offset of class `BCC`"));
        let loss = PointSearch { objective: Objective::LogLoss, ..PointSearch::default() };
        assert!(loss.fit("loss", &valid, &groups).unwrap_err().to_string().contains("calibrate them"));
        let folds = PointSearch { folds: 51, ..PointSearch::default() }.fit("x", &valid, &groups).unwrap_err();
        assert!(folds.to_string().contains("folds of a point of task `diagnosis` is 51"), "{folds}");
    }
}
