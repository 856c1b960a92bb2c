use std::fmt;

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::{Predictions, SchemaError, TaskSet};
use serde::{Deserialize, Serialize};

use crate::error::{EnsembleError, Result};
#[cfg(feature = "onnx")]
use crate::graph_terms::constant;

/// By how much shares may miss a sum of 1: numbers rounded to three decimals are read.
const ROUNDED: f64 = 1e-3;
/// The fewest cases that a prevalence is estimated from.
const FEWEST_CASES: usize = 50;
/// Most steps of the estimation.
const MOST_STEPS: usize = 20_000;
/// A step that changes no share by more ends the estimation.
const SMALL_STEP: f64 = 1e-9;

/// How frequent the classes of every task are.
///
/// ```
/// use dermafuse_ensemble::Prevalence;
/// use dermafuse_schema::{Predictions, Task, TaskSet, ndarray::array};
///
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let training = Prevalence::of_counts(&tasks, &[vec![50.0, 50.0]])?;
/// let clinic = training.stated(&[("diagnosis".into(), "MEL".into(), 0.1)])?;
/// assert_eq!(clinic.share("diagnosis", "NEV"), Some(0.9));
///
/// let answers = Predictions {
///     tasks,
///     ids: vec!["a".into()],
///     labels: vec![vec![None]],
///     probabilities: vec![array![[0.5, 0.5]]],
///     basis: vec!["clinical".into()],
/// };
/// // A photo that says nothing leaves what is known of the clinic.
/// let corrected = training.correct(&clinic, &answers)?;
/// assert!((corrected.probabilities[0][[0, 1]] - 0.1).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<TaskPrevalence>", into = "Vec<TaskPrevalence>")]
pub struct Prevalence {
    tasks: Vec<TaskPrevalence>,
}

/// How frequent the classes of one task are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskPrevalence {
    /// The task's name.
    pub task: String,
    /// Its classes with their shares, which sum to 1.
    pub classes: Vec<ClassShare>,
}

/// The share of a class among all cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassShare {
    /// The class's name.
    pub class: String,
    /// Its share, from 0 to 1.
    pub share: f64,
}

/// A prevalence that was estimated from cases without labels.
#[derive(Clone, Debug, PartialEq)]
pub struct PrevalenceEstimate {
    /// The shares.
    pub prevalence: Prevalence,
    /// The cases that they were estimated from.
    pub cases: usize,
    /// Steps of the slowest task.
    pub steps: usize,
}

impl Prevalence {
    /// Shares by task.
    ///
    /// # Errors
    /// A task or class that is there twice; a share that is not from 0 to 1; shares that do not sum to 1 but for rounding to three
    /// decimals (what is left is shared out in proportion).
    pub fn new(mut tasks: Vec<TaskPrevalence>) -> Result<Self> {
        for (at, task) in tasks.iter().enumerate() {
            if tasks[..at].iter().any(|earlier| earlier.task == task.task) {
                return Err(SchemaError::Twice { what: "task", name: task.task.clone() }.into());
            }
            for (at, share) in task.classes.iter().enumerate() {
                if task.classes[..at].iter().any(|earlier| earlier.class == share.class) {
                    return Err(SchemaError::Twice { what: "class", name: share.class.clone() }.into());
                }
                check_share(&task.task, &share.class, share.share)?;
            }
            let sum: f64 = task.classes.iter().map(|share| share.share).sum();
            if (sum - 1.0).abs() > ROUNDED {
                let what = format!("sum of the prevalences of task `{}`", task.task);
                return Err(SchemaError::Number { what, value: sum, expected: "1" }.into());
            }
        }
        for task in &mut tasks {
            let sum: f64 = task.classes.iter().map(|share| share.share).sum();
            // To the bit as it is where it sums to 1 but for the last digits, so that what was written is read again.
            if (sum - 1.0).abs() > 1e-12 {
                task.classes.iter_mut().for_each(|share| share.share /= sum);
            }
        }
        Ok(Self { tasks })
    }

    /// The shares of counted (or weighed) cases, `[T][K_t]`.
    ///
    /// # Errors
    /// Counts of other tasks or classes; a count that is negative or not finite; a task without cases.
    pub fn of_counts(tasks: &TaskSet, counts: &[Vec<f64>]) -> Result<Self> {
        let found: Vec<usize> = counts.iter().map(Vec::len).collect();
        if found != tasks.class_counts() {
            return Err(
                SchemaError::Shape { what: "counts of classes".into(), expected: tasks.class_counts(), found }.into()
            );
        }
        let of_task = |(task, counts): (&dermafuse_schema::Task, &Vec<f64>)| {
            if let Some(&value) = counts.iter().find(|count| !(count.is_finite() && **count >= 0.0)) {
                let what = format!("number of cases of task `{}`", task.name);
                return Err(EnsembleError::from(SchemaError::Number { what, value, expected: "0 or more" }));
            }
            let sum: f64 = counts.iter().sum();
            if sum <= 0.0 {
                return Err(EnsembleError::NoLabels);
            }
            let shares = task.classes.iter().zip(counts);
            let classes = shares.map(|(class, count)| ClassShare { class: class.clone(), share: count / sum });
            Ok(TaskPrevalence { task: task.name.clone(), classes: classes.collect() })
        };
        Self::new(tasks.iter().zip(counts).map(of_task).collect::<Result<_>>()?)
    }

    /// The tasks with their shares.
    #[must_use]
    pub fn tasks(&self) -> &[TaskPrevalence] {
        &self.tasks
    }

    /// The share of a class; `None` for a task or class that is not there.
    #[must_use]
    pub fn share(&self, task: &str, class: &str) -> Option<f64> {
        let task = self.tasks.iter().find(|other| other.task == task)?;
        task.classes.iter().find(|other| other.class == class).map(|share| share.share)
    }

    /// Checks that this is of these tasks and classes, by name.
    ///
    /// # Errors
    /// The first task or class that one of both lacks.
    pub fn check(&self, tasks: &TaskSet) -> Result<()> {
        let unknown = |what, name: &str, known: Vec<String>| {
            Err(SchemaError::Unknown { what, name: name.to_owned(), known }.into())
        };
        let names = |own: &TaskPrevalence| own.classes.iter().map(|share| share.class.clone()).collect::<Vec<_>>();
        for own in &self.tasks {
            let Some(at) = tasks.index_of(&own.task) else {
                return unknown(
                    "task of a prevalence",
                    &own.task,
                    tasks.iter().map(|task| task.name.clone()).collect(),
                );
            };
            let classes = &tasks[at].classes;
            if let Some(share) = own.classes.iter().find(|share| !classes.contains(&share.class)) {
                return unknown("class of a prevalence", &share.class, classes.clone());
            }
            if let Some(class) = classes.iter().find(|class| self.share(&own.task, class).is_none()) {
                return unknown("class without a prevalence", class, names(own));
            }
        }
        match tasks.iter().find(|task| self.tasks.iter().all(|own| own.task != task.name)) {
            Some(task) => {
                let known = self.tasks.iter().map(|own| own.task.clone()).collect();
                unknown("task without a prevalence", &task.name, known)
            }
            None => Ok(()),
        }
    }

    /// The same with stated shares, as (task, class, share). The classes of a task that are not stated share what is left in the
    /// proportions that they have here.
    ///
    /// # Errors
    /// A task or class that is not here, or that is stated twice; a share that is not from 0 to 1; stated shares of a task that
    /// sum to more than 1, or to less where all classes are stated; a share for a class that has none here, since nothing was
    /// learnt of it.
    pub fn stated(&self, shares: &[(String, String, f64)]) -> Result<Self> {
        for (at, (task, class, share)) in shares.iter().enumerate() {
            let Some(own) = self.tasks.iter().find(|own| own.task == *task) else {
                let known = self.tasks.iter().map(|own| own.task.clone()).collect();
                return Err(SchemaError::Unknown { what: "task of a prevalence", name: task.clone(), known }.into());
            };
            let Some(here) = self.share(task, class) else {
                let known = own.classes.iter().map(|share| share.class.clone()).collect();
                let name = format!("{task}.{class}");
                return Err(SchemaError::Unknown { what: "class of a prevalence", name, known }.into());
            };
            if shares[..at].iter().any(|(other, named, _)| (other, named) == (task, class)) {
                return Err(SchemaError::Twice { what: "prevalence of", name: format!("{task}.{class}") }.into());
            }
            check_share(task, class, *share)?;
            if here <= 0.0 && *share > 0.0 {
                return Err(EnsembleError::NeverLearnt { task: task.clone(), class: class.clone() });
            }
        }
        let tasks = self.tasks.iter().map(|own| {
            let stated = |class: &str| {
                shares.iter().find(|(task, named, _)| *task == own.task && named == class).map(|(_, _, share)| *share)
            };
            let sum: f64 = own.classes.iter().filter_map(|share| stated(&share.class)).sum();
            let open = own.classes.iter().filter(|share| stated(&share.class).is_none());
            let rest: f64 = open.map(|share| share.share).sum();
            let number = |expected| {
                let what = format!("sum of the stated prevalences of task `{}`", own.task);
                Err(EnsembleError::from(SchemaError::Number { what, value: sum, expected }))
            };
            if sum > 1.0 + ROUNDED {
                return number("at most 1");
            }
            if rest <= 0.0 && (sum - 1.0).abs() > ROUNDED {
                return number("1, and no class is left that could have the rest");
            }
            let left = (1.0 - sum).max(0.0);
            let classes = own.classes.iter().map(|share| ClassShare {
                class: share.class.clone(),
                share: stated(&share.class).unwrap_or_else(|| if left > 0.0 { share.share / rest * left } else { 0.0 }),
            });
            Ok(TaskPrevalence { task: own.task.clone(), classes: classes.collect() })
        });
        Self::new(tasks.collect::<Result<_>>()?)
    }

    /// The answers as they would be where classes are as frequent as `local` says, if the probabilities stand on this prevalence:
    /// `p'_c ∝ p_c · local_c / own_c` (Saerens et al., Neural Computation 14, 2002, Eq. 2.4). Images of a class are taken to look
    /// the same in both places.
    ///
    /// A class that has no share here has no probability there. Where nothing is left of a case, it gets the local shares.
    ///
    /// # Errors
    /// Predictions or a prevalence of other tasks or classes.
    pub fn correct(&self, local: &Self, answers: &Predictions) -> Result<Predictions> {
        self.check(&answers.tasks)?;
        local.check(&answers.tasks)?;
        let mut corrected = answers.clone();
        for (task, table) in answers.tasks.iter().zip(&mut corrected.probabilities) {
            let (from, to) = (self.shares_of(task), local.shares_of(task));
            for mut row in table.rows_mut() {
                for (class, p) in row.iter_mut().enumerate() {
                    *p = if from[class] > 0.0 { *p * to[class] / from[class] } else { 0.0 };
                }
                let sum = row.sum();
                match sum > 0.0 && sum.is_finite() {
                    true => row.mapv_inplace(|p| p / sum),
                    false => row.iter_mut().zip(&to).for_each(|(p, share)| *p = *share),
                }
            }
        }
        Ok(corrected)
    }

    /// The same in ONNX, of one task: `[N, K]` probabilities of 64-bit floats to corrected ones.
    #[cfg(feature = "onnx")]
    pub(crate) fn add_correction_to(
        &self,
        graph: &mut Graph,
        local: &Self,
        task: &dermafuse_schema::Task,
        probabilities: Value,
    ) -> Value {
        let (from, to) = (self.shares_of(task), local.shares_of(task));
        // As there: `p · to / from`, and nothing of a class that there was none of.
        let factors: Vec<f64> = from.iter().zip(&to).map(|(from, to)| if *from > 0.0 { *to } else { 0.0 }).collect();
        let divisors: Vec<f64> = from.iter().map(|from| if *from > 0.0 { *from } else { 1.0 }).collect();
        let [factors, divisors, to] = [&factors, &divisors, &to].map(|row| constant(graph, row, &[1, row.len()]));
        let product = graph.multiply(probabilities, factors);
        let product = graph.divide(product, divisors);
        let sum = graph.reduce("ReduceSum", product, &[1]);
        let zero = graph.scalar_like(sum, 0.0);
        let is_some = graph.compare("Greater", sum, zero);
        let scaled = graph.divide(product, sum);
        graph.choose(is_some, scaled, to)
    }

    /// The natural logarithms of `local_c / own_c` of a task, in its order of classes: what a correction adds to log-probabilities.
    /// A class without a share in one of both has a very small number.
    pub(crate) fn log_ratios(&self, local: &Self, task: &dermafuse_schema::Task) -> Vec<f64> {
        let pairs = self.shares_of(task).into_iter().zip(local.shares_of(task));
        pairs.map(|(from, to)| if from > 0.0 { (to / from).max(1e-12).ln() } else { 1e-12_f64.ln() }).collect()
    }

    /// The prevalence of a place, estimated from the answers to its cases, which need no labels: expectation and maximisation
    /// (Saerens et al. 2002, Eq. 2.9), begun at this prevalence, which is the mean of the answers where the model was calibrated. As
    /// many cases as there are classes are added, shared out as here: a rare class whose probabilities are a little too large would
    /// otherwise take all others' place, step by step. It is as good as the probabilities are calibrated.
    ///
    /// # Errors
    /// Fewer than 50 cases; predictions of other tasks or classes.
    pub fn estimate(&self, answers: &Predictions) -> Result<PrevalenceEstimate> {
        self.check(&answers.tasks)?;
        let cases = answers.len();
        if cases < FEWEST_CASES {
            return Err(EnsembleError::TooFewToEstimate { found: cases, needed: FEWEST_CASES });
        }
        let mut most = 0;
        let tasks = answers.tasks.iter().zip(&answers.probabilities).map(|(task, table)| {
            let from = self.shares_of(task);
            let more = from.len() as f64;
            let mut shares = from.clone();
            for step in 1..=MOST_STEPS {
                most = most.max(step);
                let weights: Vec<f64> =
                    shares.iter().zip(&from).map(|(to, from)| if *from > 0.0 { to / from } else { 0.0 }).collect();
                let mut sums = vec![0.0; shares.len()];
                for row in table.rows() {
                    let total: f64 = row.iter().zip(&weights).map(|(p, weight)| p * weight).sum();
                    for ((sum, p), (weight, share)) in sums.iter_mut().zip(row).zip(weights.iter().zip(&shares)) {
                        *sum += if total > 0.0 { p * weight / total } else { *share };
                    }
                }
                let total = cases as f64 + more;
                let next: Vec<f64> = sums.iter().zip(&from).map(|(sum, from)| (sum + more * from) / total).collect();
                let change = next.iter().zip(&shares).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                shares = next;
                if change < SMALL_STEP {
                    break;
                }
            }
            let classes = task.classes.iter().zip(shares);
            let classes = classes.map(|(class, share)| ClassShare { class: class.clone(), share });
            TaskPrevalence { task: task.name.clone(), classes: classes.collect() }
        });
        Ok(PrevalenceEstimate { prevalence: Self::new(tasks.collect())?, cases, steps: most })
    }

    /// The mean probabilities of answers.
    ///
    /// # Errors
    /// No answer; numbers that are no probabilities.
    pub fn of_answers(answers: &Predictions) -> Result<Self> {
        let sums =
            answers.probabilities.iter().map(|table| table.columns().into_iter().map(|column| column.sum()).collect());
        Self::of_counts(&answers.tasks, &sums.collect::<Vec<_>>())
    }

    /// The shares in a task's own order of classes; 0 for what is not here.
    pub(crate) fn shares_of(&self, task: &dermafuse_schema::Task) -> Vec<f64> {
        task.classes.iter().map(|class| self.share(&task.name, class).unwrap_or(0.0)).collect()
    }
}

impl TryFrom<Vec<TaskPrevalence>> for Prevalence {
    type Error = EnsembleError;

    fn try_from(tasks: Vec<TaskPrevalence>) -> Result<Self> {
        Self::new(tasks)
    }
}

impl From<Prevalence> for Vec<TaskPrevalence> {
    fn from(prevalence: Prevalence) -> Self {
        prevalence.tasks
    }
}

impl fmt::Display for Prevalence {
    /// `diagnosis: NEV 60.0 %, MEL 40.0 %; streaks: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }
}

impl fmt::Display for TaskPrevalence {
    /// `diagnosis: NEV 60.0 %, MEL 40.0 %`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.classes.iter().map(|share| format!("{} {:.1} %", share.class, 100.0 * share.share));
        write!(f, "{}: {}", self.task, shares.collect::<Vec<_>>().join(", "))
    }
}

fn check_share(task: &str, class: &str, share: f64) -> Result<()> {
    match (0.0..=1.0).contains(&share) {
        true => Ok(()),
        false => {
            let what = format!("prevalence of `{task}.{class}`");
            Err(SchemaError::Number { what, value: share, expected: "within 0..=1" }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;
    use ndarray::Array2;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    fn tasks() -> TaskSet {
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"])]).unwrap()
    }

    fn counted(counts: [f64; 3]) -> Prevalence {
        Prevalence::of_counts(&tasks(), &[counts.to_vec()]).unwrap()
    }

    fn shares(prevalence: &Prevalence) -> Vec<f64> {
        prevalence.shares_of(&tasks()[0])
    }

    fn uniform(rng: &mut ChaCha8Rng) -> f64 {
        (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Cases drawn with these shares from three classes whose pictures are a number around -1.5, 0 and 1.5, and the true
    /// probabilities of a model that learnt where all classes are equally frequent.
    fn drawn(shares: [f64; 3], cases: usize, seed: u64) -> Predictions {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut probabilities = Array2::zeros((cases, 3));
        let mut labels = Vec::new();
        for mut row in probabilities.rows_mut() {
            let at = uniform(&mut rng);
            let label = if at < shares[0] {
                0
            } else if at < shares[0] + shares[1] {
                1
            } else {
                2
            };
            let normal =
                (-2.0 * (1.0 - uniform(&mut rng)).ln()).sqrt() * (std::f64::consts::TAU * uniform(&mut rng)).cos();
            let x = 1.5 * (label as f64 - 1.0) + normal;
            let logits: Vec<f64> = [-1.5, 0.0, 1.5].iter().map(|mean| -0.5 * (x - mean) * (x - mean)).collect();
            row.iter_mut().zip(dermafuse_schema::softmax(&logits)).for_each(|(to, p)| *to = p);
            labels.push(vec![Some(label)]);
        }
        Predictions {
            tasks: tasks(),
            ids: (0..cases).map(|case| case.to_string().into()).collect(),
            labels,
            probabilities: vec![probabilities],
            basis: vec!["clinical".into(); cases],
        }
    }

    fn log_loss(predictions: &Predictions) -> f64 {
        let rows = predictions.probabilities[0].rows().into_iter().zip(&predictions.labels);
        rows.map(|(row, labels)| -row[labels[0].unwrap()].ln()).sum::<f64>() / predictions.len() as f64
    }

    #[test]
    fn the_stated_rest_keeps_its_proportions() {
        let training = counted([60.0, 10.0, 30.0]);
        let stated = training.stated(&[("diagnosis".into(), "MEL".into(), 0.4)]).unwrap();
        let expected = [0.4, 0.4, 0.2];
        assert!(shares(&stated).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{stated}");
        assert_eq!(stated.to_string(), "diagnosis: NEV 40.0 %, MEL 40.0 %, BCC 20.0 %");
        assert_eq!(training.stated(&[]).unwrap(), training);
        let all = |a, b, c| {
            let named = [("NEV", a), ("MEL", b), ("BCC", c)];
            training.stated(&named.map(|(class, share)| ("diagnosis".into(), class.into(), share)))
        };
        // Rounded to three decimals.
        assert!((shares(&all(0.333, 0.333, 0.333).unwrap()).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let error = |result: Result<Prevalence>| result.unwrap_err().to_string();
        assert!(error(all(0.5, 0.3, 0.1)).contains("is not 1, and no class is left"));
        assert!(error(all(0.5, 0.6, 0.1)).contains("is not at most 1"));
        let one = |task: &str, class: &str, share| training.stated(&[(task.into(), class.into(), share)]);
        assert_eq!(error(one("diag", "MEL", 0.1)), "unknown task of a prevalence `diag`; known: diagnosis");
        assert!(error(one("diagnosis", "SK", 0.1)).contains("`diagnosis.SK`; known: NEV, MEL, BCC"));
        assert_eq!(error(one("diagnosis", "MEL", 1.5)), "prevalence of `diagnosis.MEL`: 1.5 is not within 0..=1");
        let twice = ["MEL", "MEL"].map(|class| ("diagnosis".to_owned(), class.to_owned(), 0.1));
        assert!(error(training.stated(&twice)).contains("`diagnosis.MEL` appears twice"));
        let never = counted([60.0, 0.0, 30.0]).stated(&[("diagnosis".into(), "MEL".into(), 0.1)]);
        assert!(error(never).contains("`MEL`"));
    }

    #[test]
    fn a_correction_is_bayes_rule_with_another_prior() {
        // A picture whose likelihoods are 0.2, 0.5 and 0.3 of their sum.
        let likelihoods = [0.2, 0.5, 0.3];
        let posterior = |prior: [f64; 3]| {
            let products: Vec<f64> = likelihoods.iter().zip(prior).map(|(a, b)| a * b).collect();
            let sum: f64 = products.iter().sum();
            products.into_iter().map(|product| product / sum).collect::<Vec<_>>()
        };
        let (learnt, local) = ([0.6, 0.1, 0.3], [0.2, 0.2, 0.6]);
        let mut answers = drawn([1.0, 0.0, 0.0], 1, 0);
        answers.probabilities[0].row_mut(0).iter_mut().zip(posterior(learnt)).for_each(|(to, p)| *to = p);
        let corrected = counted(learnt).correct(&counted(local), &answers).unwrap();
        let found = corrected.probabilities[0].row(0);
        assert!(found.iter().zip(posterior(local)).all(|(a, b)| (a - b).abs() < 1e-12), "{found}");
        // There and back again.
        let back = counted(local).correct(&counted(learnt), &corrected).unwrap();
        assert!((&back.probabilities[0] - &answers.probabilities[0]).iter().all(|gap| gap.abs() < 1e-12));
    }

    #[test]
    fn an_estimate_finds_shares_that_are_known() {
        let (learnt, truth) = (counted([1.0, 1.0, 1.0]), [0.75, 0.05, 0.2]);
        let answers = drawn(truth, 20_000, 7);
        let found = learnt.estimate(&answers).unwrap();
        // Three standard errors, by the Fisher information of shares of classes that overlap as these do: 20,000 cases leave 0.0055,
        // 0.0072 and 0.0043.
        let near = |found: &Prevalence, errors: f64| {
            let gaps = shares(found).into_iter().zip(truth).map(|(a, b)| (a - b).abs());
            gaps.zip([0.0055, 0.0072, 0.0043]).all(|(gap, error)| gap < errors * error)
        };
        assert!(near(&found.prevalence, 3.0), "{}", found.prevalence);
        // It helps, and as much as what is true does. What is lost is the sample's: half of the squared error by the information, which is
        // below 0.0023 in 95 of 100 draws; with ten times as many cases, a tenth.
        let losses = |found: &Prevalence, answers: &Predictions| {
            let corrected = |to: &Prevalence| log_loss(&learnt.correct(to, answers).unwrap());
            (log_loss(answers), corrected(found), corrected(&counted(truth)))
        };
        let (before, estimated, known) = losses(&found.prevalence, &answers);
        assert!(before - known > 0.1 && (estimated - known).abs() < 0.005, "{before} {estimated} {known}");
        let many = drawn(truth, 200_000, 7);
        let of_many = learnt.estimate(&many).unwrap();
        assert!(near(&of_many.prevalence, 3.0 / 10.0_f64.sqrt()), "{}", of_many.prevalence);
        let (_, estimated, known) = losses(&of_many.prevalence, &many);
        assert!((estimated - known).abs() < 0.0005, "{estimated} {known}");
        // Neither where it starts nor where it stops decides: the corrected answers have the shares that were found, but for the cases
        // that are added.
        let again = Prevalence::of_answers(&learnt.correct(&of_many.prevalence, &many).unwrap()).unwrap();
        let gap = |(a, b): (f64, f64)| (a - b).abs();
        let gaps = shares(&again).into_iter().zip(shares(&of_many.prevalence)).map(gap);
        assert!(gaps.fold(0.0, f64::max) < 3.0 / 200_000.0 + 1e-6, "{again}");
        // Where nothing has changed, it says so.
        let same = learnt.estimate(&drawn([1.0 / 3.0; 3], 20_000, 8)).unwrap();
        assert!(shares(&same.prevalence).iter().all(|share| (share - 1.0 / 3.0).abs() < 0.02), "{}", same.prevalence);
        let few = learnt.estimate(&drawn(truth, 49, 7)).unwrap_err().to_string();
        assert!(few.contains("49") && few.contains("50"), "{few}");
    }

    /// Answers that know next to nothing: logarithms of shares with noise of deviation 1. Half as much again is said of the rare class
    /// as was learnt.
    fn vague(cases: usize, seed: u64) -> Predictions {
        let mut answers = drawn([0.6, 0.002, 0.398], cases, seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed + 1000);
        for mut row in answers.probabilities[0].rows_mut() {
            let logits = [0.6_f64, 0.003, 0.397].map(|share| {
                let normal =
                    (-2.0 * (1.0 - uniform(&mut rng)).ln()).sqrt() * (std::f64::consts::TAU * uniform(&mut rng)).cos();
                share.ln() + normal
            });
            row.iter_mut().zip(dermafuse_schema::softmax(&logits)).for_each(|(to, p)| *to = p);
        }
        answers
    }

    #[test]
    fn a_rare_class_that_is_said_a_little_too_often_does_not_run_away() {
        let validation = Prevalence::of_answers(&vague(3_000, 20)).unwrap();
        for seed in 1..6 {
            let found = validation.estimate(&vague(500, seed)).unwrap().prevalence;
            assert!(found.share("diagnosis", "MEL").unwrap() < 0.1, "{found}");
            // Begun at what was learnt, where every step multiplies its share, it has most of all cases: why a model corrects from the
            // mean of its calibrated answers.
            let from_training = counted([0.6, 0.002, 0.398]).estimate(&vague(500, seed)).unwrap().prevalence;
            assert!(from_training.share("diagnosis", "MEL").unwrap() > 0.3, "{from_training}");
        }
    }

    #[test]
    fn what_is_left_of_nothing_is_the_local_prevalence() {
        let mut answers = drawn([1.0, 0.0, 0.0], 1, 0);
        answers.probabilities[0] = ndarray::array![[0.0, 1.0, 0.0]];
        let local = counted([3.0, 0.0, 1.0]);
        let corrected = counted([1.0, 1.0, 1.0]).correct(&local, &answers).unwrap();
        assert_eq!(corrected.probabilities[0], ndarray::array![[0.75, 0.0, 0.25]]);
    }

    #[test]
    fn what_is_read_is_checked() {
        let prevalence = counted([60.0, 10.0, 30.0]);
        let text = serde_json::to_string(&prevalence).unwrap();
        assert_eq!(serde_json::from_str::<Prevalence>(&text).unwrap(), prevalence);
        assert!(text.starts_with(r#"[{"task":"diagnosis","classes":[{"class":"NEV","share":0.6}"#), "{text}");
        let error = |text: String| serde_json::from_str::<Prevalence>(&text).unwrap_err().to_string();
        assert!(error(text.replace("0.6", "0.7")).contains("sum of the prevalences of task `diagnosis`"));
        assert!(error(text.replace("0.6", "-0.6")).contains("prevalence of `diagnosis.NEV`: -0.6"));
        assert!(error(text.replace("MEL", "NEV")).contains("class `NEV` appears twice"));
        let other = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let text = prevalence.check(&other).unwrap_err().to_string();
        assert_eq!(text, "unknown class of a prevalence `BCC`; known: NEV, MEL");
        let more = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC", "SK"])]).unwrap();
        assert!(prevalence.check(&more).unwrap_err().to_string().contains("class without a prevalence `SK`"));
        let two = TaskSet::new(vec![tasks()[0].clone(), Task::new("t", "T", ["a", "b"])]).unwrap();
        assert!(prevalence.check(&two).unwrap_err().to_string().contains("task without a prevalence `t`"));
    }
}
