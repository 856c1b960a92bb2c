//! Which training cases an epoch shows, and in which order.

use dermafuse_schema::{SettingFault, TaskSet};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::shuffle::{stream, uniform};
use crate::{CaseSet, CaseView, DataError, shuffled};

/// The purposes "balanced", "labels" and "weighted" of random streams.
const BALANCED: u64 = 0x62_616c_616e;
const LABELS: u64 = 0x6c_6162_656c;
const WEIGHTED: u64 = 0x77_6569_6768;

/// How an epoch is drawn from the training cases. Where classes matter, they are those of the first task, but for
/// [`LabelBalanced`](Self::LabelBalanced), which knows those of all tasks.
///
/// ```
/// use dermafuse_data::{CaseSet, EpochLength, Sampling};
/// use dermafuse_schema::{Case, Task, TaskSet};
///
/// // Eight cases of one class, two of the other.
/// let case = |n: usize| Case { labels: vec![Some(usize::from(n >= 8))], ..Case::new(n.to_string()) };
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let cases = (0..10).map(case).collect();
/// let set = CaseSet { name: "a".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
/// let balanced = Sampling::ClassBalanced { per_class: 1, length: EpochLength::AllCases };
/// assert_eq!(balanced.order(&set.whole(), 7, 0)?.len(), 10);
/// assert_eq!(balanced.shown(&set.whole(), 7, 3)?, [15, 15]); // in three epochs
/// assert_eq!(Sampling::EachOnce.shown(&set.whole(), 7, 3)?, [24, 6]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampling {
    /// Every case once, shuffled.
    #[default]
    EachOnce,
    /// Every batch has so many cases of every class, so that rare classes come again and again. A class goes through
    /// its cases in random order before it starts anew. Cases without a label are left out.
    ClassBalanced {
        /// Cases of each class in a batch; the batch has this times the number of classes.
        per_class: usize,
        /// How many batches make an epoch.
        #[serde(default)]
        length: EpochLength,
    },
    /// Every batch has so many cases for every label of every task (Kawahara et al., IEEE J-BHI 2018: 24 labels of eight
    /// tasks). A label goes through its cases in random order before it starts anew. A case has a label of each task, so a
    /// batch has *at least* so many cases of each label, and a case may be drawn for several of its labels;
    /// `ClassBalancing::BalancedInBatch` of the training evens out what is left. Cases without any label are left out.
    LabelBalanced {
        /// Cases for each label in a batch; the batch has this times the number of labels of all tasks.
        per_label: usize,
        /// How many batches make an epoch.
        #[serde(default)]
        length: EpochLength,
    },
    /// As many draws as there are cases, with replacement; a case of a class with `n` cases weighs `n^-power`. Cases
    /// without a label are left out.
    Weighted {
        /// 0 weighs all cases alike, 0.5 rarer classes more, 1 draws every class equally often.
        power: f64,
    },
}

/// How many batches an epoch of balanced batches has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochLength {
    /// As many as show as many cases as there are.
    #[default]
    AllCases,
    /// As many as show the cases of the largest class (or label) once.
    LargestClass,
}

impl Sampling {
    /// Checks the settings.
    ///
    /// # Errors
    /// No case of a class in a batch; a power that is negative or not finite.
    pub fn check(self) -> Result<(), SettingFault> {
        match self {
            Self::EachOnce => Ok(()),
            Self::ClassBalanced { per_class: number, .. } => {
                SettingFault::unless(number > 0, "per_class", "1 or more", number)
            }
            Self::LabelBalanced { per_label: number, .. } => {
                SettingFault::unless(number > 0, "per_label", "1 or more", number)
            }
            Self::Weighted { power } => {
                SettingFault::unless(power.is_finite() && power >= 0.0, "power", "0 or more", power)
            }
        }
    }

    /// The size of a batch, where the sampling decides it: so many cases of each class of the first task, or for each label
    /// of all tasks.
    #[must_use]
    pub fn batch_size(self, tasks: &TaskSet) -> Option<usize> {
        let mut classes = tasks.iter().map(|task| task.classes.len());
        match self {
            Self::ClassBalanced { per_class, .. } => Some(per_class * classes.next().unwrap_or(0)),
            Self::LabelBalanced { per_label, .. } => Some(per_label * classes.sum::<usize>()),
            Self::EachOnce | Self::Weighted { .. } => None,
        }
    }

    /// The rows of one epoch, in order; it depends on `seed` and `epoch` only.
    ///
    /// # Errors
    /// What [`Sampling::check`] refuses; a class without a case, where batches are balanced; no labelled case.
    pub fn order(self, cases: &CaseView<'_>, seed: u64, epoch: u64) -> Result<Vec<usize>, DataError> {
        self.check()?;
        match self {
            Self::EachOnce => Ok(shuffled(cases.rows(), seed, epoch)),
            Self::ClassBalanced { per_class, length } => {
                let classes = by_class(cases, 0)?;
                require_cases(cases, 0, &classes)?;
                let labelled = classes.iter().map(Vec::len).sum();
                let batches = length.batches(&classes, labelled, per_class);
                Ok(balanced(&classes, per_class, batches, [seed, epoch, BALANCED]))
            }
            Self::LabelBalanced { per_label, length } => {
                let mut labels = Vec::new();
                for task in 0..cases.set().tasks.len() {
                    let classes = by_class(cases, task)?;
                    require_cases(cases, task, &classes)?;
                    labels.extend(classes);
                }
                let labelled = cases.cases().filter(|case| case.labels.iter().any(Option::is_some)).count();
                let batches = length.batches(&labels, labelled, per_label);
                Ok(balanced(&labels, per_label, batches, [seed, epoch, LABELS]))
            }
            Self::Weighted { power } => weighted(&by_class(cases, 0)?, power, cases.set(), seed, epoch),
        }
    }

    /// How often cases of each class of the first task are shown in the first `epochs` epochs.
    ///
    /// # Errors
    /// Those of [`Sampling::order`].
    pub fn shown(self, cases: &CaseView<'_>, seed: u64, epochs: usize) -> Result<Vec<usize>, DataError> {
        Ok(self.shown_by_task(cases, seed, epochs)?.swap_remove(0))
    }

    /// How often cases of each class `[T][K_t]` of each task are shown in the first `epochs` epochs.
    ///
    /// # Errors
    /// Those of [`Sampling::order`].
    pub fn shown_by_task(self, cases: &CaseView<'_>, seed: u64, epochs: usize) -> Result<Vec<Vec<usize>>, DataError> {
        let set = cases.set();
        let mut shown: Vec<Vec<usize>> = set.tasks.iter().map(|task| vec![0; task.classes.len()]).collect();
        for epoch in 0..epochs {
            let order = set.view(self.order(cases, seed, epoch as u64)?)?;
            for (task, sums) in shown.iter_mut().enumerate() {
                for (sum, count) in sums.iter_mut().zip(order.class_counts(task)?) {
                    *sum += count;
                }
            }
        }
        Ok(shown)
    }
}

impl EpochLength {
    /// How many batches an epoch has, with `each` cases of each of these classes in a batch and `cases` cases in all.
    fn batches(self, classes: &[Vec<usize>], cases: usize, each: usize) -> usize {
        match self {
            Self::AllCases => cases.div_ceil(each * classes.len()),
            Self::LargestClass => classes.iter().map(Vec::len).max().unwrap_or(0).div_ceil(each),
        }
    }
}

/// The rows of each class of a task.
fn by_class(cases: &CaseView<'_>, task: usize) -> Result<Vec<Vec<usize>>, DataError> {
    let counts = cases.class_counts(task)?; // the labels are classes
    let mut classes = vec![Vec::new(); counts.len()];
    for (row, case) in cases.iter() {
        if let Some(label) = case.labels[task] {
            classes[label].push(row);
        }
    }
    Ok(classes)
}

/// Refuses a class without a case.
fn require_cases(cases: &CaseView<'_>, task: usize, classes: &[Vec<usize>]) -> Result<(), DataError> {
    let Some(class) = classes.iter().position(Vec::is_empty) else { return Ok(()) };
    let task = &cases.set().tasks[task];
    let (name, class) = (task.name.clone(), task.classes[class].clone());
    Err(DataError::ClassAbsent { task: name, class, part: "training", cases: cases.len() })
}

/// Batches with so many rows of each class; `[seed, epoch, purpose]` address the draws.
fn balanced(classes: &[Vec<usize>], per_class: usize, batches: usize, address: [u64; 3]) -> Vec<usize> {
    let [seed, epoch, purpose] = address;
    let mut columns: Vec<_> = classes
        .iter()
        .enumerate()
        .map(|(class, rows)| {
            let mut rng = stream(seed, epoch, class as u64, purpose);
            let rounds = (batches * per_class).div_ceil(rows.len());
            let column: Vec<usize> = (0..rounds).flat_map(|_| permuted(rows, &mut rng)).collect();
            column.into_iter()
        })
        .collect();
    let mut rng = stream(seed, epoch, classes.len() as u64, purpose);
    let mut order = Vec::with_capacity(batches * per_class * classes.len());
    for _ in 0..batches {
        let batch: Vec<usize> = columns.iter_mut().flat_map(|column| column.by_ref().take(per_class)).collect();
        order.extend(permuted(&batch, &mut rng)); // parts of a batch are mixed too
    }
    order
}

fn weighted(classes: &[Vec<usize>], power: f64, set: &CaseSet, seed: u64, epoch: u64) -> Result<Vec<usize>, DataError> {
    let draws: usize = classes.iter().map(Vec::len).sum();
    if draws == 0 {
        return Err(DataError::EmptySet { name: set.name.clone() });
    }
    // A class first, by the sum of its weights, then one of its cases.
    let weight = |rows: &Vec<usize>| if rows.is_empty() { 0.0 } else { (rows.len() as f64).powf(1.0 - power) };
    let total: f64 = classes.iter().map(weight).sum();
    let mut rng = stream(seed, epoch, draws as u64, WEIGHTED);
    let mut draw = || {
        let mut left = uniform(&mut rng, 0.0, total);
        let class = classes.iter().position(|rows| {
            left -= weight(rows);
            left < 0.0
        });
        // Rounding may leave nothing: then it is the last class that has cases.
        let rows = class.or_else(|| classes.iter().rposition(|rows| !rows.is_empty())).map(|class| &classes[class]);
        let rows = rows.expect("there is a labelled case");
        rows[pick(&mut rng, rows.len())]
    };
    Ok((0..draws).map(|_| draw()).collect())
}

/// One of `0..count`.
fn pick(rng: &mut ChaCha8Rng, count: usize) -> usize {
    (uniform(rng, 0.0, count as f64) as usize).min(count - 1)
}

fn permuted(rows: &[usize], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order = rows.to_vec();
    for last in (1..order.len()).rev() {
        order.swap(last, pick(rng, last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Case, Task, TaskSet};

    /// Classes of 40, 9 and 3 cases, and two cases without a label.
    fn set() -> CaseSet {
        let label = |row: usize| match row {
            0..40 => Some(0),
            40..49 => Some(1),
            49..52 => Some(2),
            _ => None,
        };
        let case = |row: usize| Case { labels: vec![label(row)], ..Case::new(row.to_string()) };
        let tasks = TaskSet::new(vec![Task::new("t", "T", ["a", "b", "c"])]).unwrap();
        let cases = (0..54).map(case).collect();
        CaseSet { name: "s".into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] }
    }

    #[test]
    fn balanced_batches_have_every_class_and_use_all_cases_evenly() {
        let set = set();
        let sampling = Sampling::ClassBalanced { per_class: 2, length: EpochLength::AllCases };
        assert_eq!(sampling.batch_size(&set.tasks), Some(6));
        let order = sampling.order(&set.whole(), 1, 0).unwrap();
        assert_eq!(order.len(), 6 * 52_usize.div_ceil(6));
        for batch in order.chunks(6) {
            assert_eq!(set.view(batch).unwrap().class_counts(0).unwrap(), [2, 2, 2]);
        }
        // 18 draws from each class: of nine cases twice each, of three six times each, of forty some once.
        let times = |row: usize| order.iter().filter(|&&other| other == row).count();
        assert!((40..49).all(|row| times(row) == 2) && (49..52).all(|row| times(row) == 6));
        assert!((0..40).all(|row| times(row) <= 1) && times(52) + times(53) == 0);
        assert_eq!(order, sampling.order(&set.whole(), 1, 0).unwrap());
        assert_ne!(order, sampling.order(&set.whole(), 1, 1).unwrap());
        assert_ne!(order, sampling.order(&set.whole(), 2, 0).unwrap());

        let long = Sampling::ClassBalanced { per_class: 2, length: EpochLength::LargestClass };
        assert_eq!(long.shown(&set.whole(), 1, 1).unwrap(), [40, 40, 40]);
    }

    /// Two tasks of three and two classes; the rare classes go together, and the last case has no label.
    fn set_of_two_tasks() -> CaseSet {
        let mut set = set();
        set.tasks =
            TaskSet::new(vec![Task::new("t", "T", ["a", "b", "c"]), Task::new("u", "U", ["no", "yes"])]).unwrap();
        for (row, case) in set.cases.iter_mut().enumerate() {
            case.labels.push(if row < 53 { Some(usize::from(row >= 45)) } else { None });
        }
        set
    }

    #[test]
    fn batches_balanced_by_label_have_cases_for_each_label_of_all_tasks() {
        let set = set_of_two_tasks();
        for per_label in [1, 2] {
            let sampling = Sampling::LabelBalanced { per_label, length: EpochLength::AllCases };
            let batch = sampling.batch_size(&set.tasks).unwrap();
            assert_eq!(batch, 5 * per_label);
            let order = sampling.order(&set.whole(), 1, 0).unwrap();
            // 53 cases have a label, one of them of the second task alone.
            assert_eq!(order.len(), batch * 53_usize.div_ceil(batch));
            assert!(!order.contains(&53));
            for batch in order.chunks(batch) {
                let counts = [0, 1].map(|task| set.view(batch).unwrap().class_counts(task).unwrap());
                assert!(counts.concat().iter().all(|&count| count >= per_label), "{counts:?}");
            }
            assert_eq!(order, sampling.order(&set.whole(), 1, 0).unwrap());
            assert_ne!(order, sampling.order(&set.whole(), 1, 1).unwrap());
            assert_ne!(order, sampling.order(&set.whole(), 2, 0).unwrap());
        }
        // The rarest label is drawn for in every batch, however long the epoch is: three cases take turns.
        let long = Sampling::LabelBalanced { per_label: 1, length: EpochLength::LargestClass };
        let order = long.order(&set.whole(), 1, 0).unwrap();
        assert_eq!(order.len(), 5 * 45);
        let times: Vec<usize> = (49..52).map(|row| order.iter().filter(|&&other| other == row).count()).collect();
        assert!(times.iter().all(|&times| times >= 15), "{times:?}");
        let shown = long.shown_by_task(&set.whole(), 1, 1).unwrap();
        assert_eq!(shown[0], long.shown(&set.whole(), 1, 1).unwrap());
        assert!(shown[0].iter().all(|&count| count >= 45) && shown[1].iter().all(|&count| count >= 45), "{shown:?}");
        assert_eq!(shown[1].iter().sum::<usize>(), order.len());
    }

    #[test]
    fn of_one_task_labels_are_its_classes() {
        let set = set();
        let labels = Sampling::LabelBalanced { per_label: 2, length: EpochLength::AllCases };
        let order = labels.order(&set.whole(), 1, 0).unwrap();
        assert!(order.chunks(6).all(|batch| set.view(batch).unwrap().class_counts(0).unwrap() == [2, 2, 2]));
    }

    #[test]
    fn a_label_without_training_cases_is_named() {
        let set = set_of_two_tasks();
        let sampling = Sampling::LabelBalanced { per_label: 1, length: EpochLength::AllCases };
        // All classes of the first task, none that says yes.
        let mut without = set.clone();
        without.cases.iter_mut().for_each(|case| case.labels[1] = Some(0));
        let error = sampling.order(&without.whole(), 0, 0).unwrap_err().to_string();
        assert!(error.contains("`u`") && error.contains("`yes`"), "{error}");
        let none = Sampling::LabelBalanced { per_label: 0, length: EpochLength::AllCases };
        let error = none.order(&set.view(&[0]).unwrap(), 0, 0).unwrap_err().to_string();
        assert_eq!(error, "`per_label` must be 1 or more, found 0");
    }

    #[test]
    fn weights_move_the_shares_of_the_classes() {
        let set = set();
        let shares = |power| {
            let shown = Sampling::Weighted { power }.shown(&set.whole(), 3, 200).unwrap();
            shown.iter().map(|&count| count as f64 / (52.0 * 200.0)).collect::<Vec<_>>()
        };
        for (power, expected) in [(0.0, [40.0, 9.0, 3.0]), (1.0, [1.0, 1.0, 1.0]), (0.5, [6.3246, 3.0, 1.7321])] {
            let total: f64 = expected.iter().sum();
            for (share, expected) in shares(power).iter().zip(expected) {
                assert!((share - expected / total).abs() < 0.02, "{power}: {share} for {}", expected / total);
            }
        }
    }

    #[test]
    fn settings_and_sets_that_cannot_be_sampled_are_refused() {
        let set = set();
        let balanced = |per_class| Sampling::ClassBalanced { per_class, length: EpochLength::AllCases };
        let error = |sampling: Sampling, rows: &[usize]| {
            sampling.order(&set.view(rows).unwrap(), 0, 0).unwrap_err().to_string()
        };
        assert_eq!(error(balanced(0), &[0]), "`per_class` must be 1 or more, found 0");
        assert_eq!(error(Sampling::Weighted { power: -1.0 }, &[0]), "`power` must be 0 or more, found -1");
        assert!(error(balanced(1), &[0, 1, 40]).contains("`c`"));
        assert!(error(Sampling::Weighted { power: 1.0 }, &[52]).contains("no cases"));
    }

    #[test]
    fn it_is_written_and_read() {
        let sampling = Sampling::ClassBalanced { per_class: 1, length: EpochLength::LargestClass };
        let text = serde_json::to_string(&sampling).unwrap();
        assert_eq!(text, r#"{"kind":"class_balanced","per_class":1,"length":"largest_class"}"#);
        assert_eq!(serde_json::from_str::<Sampling>(&text).unwrap(), sampling);
        let short = toml::from_str::<Sampling>("kind = \"class_balanced\"\nper_class = 3").unwrap();
        assert_eq!(short, Sampling::ClassBalanced { per_class: 3, length: EpochLength::AllCases });
    }
}
