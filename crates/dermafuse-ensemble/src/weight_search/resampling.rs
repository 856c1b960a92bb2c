//! Samples of a cohort that the weights are found on when they are to be averaged.

use dermafuse_schema::Cohort;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Smoothing;
use crate::error::{EnsembleError, Result};
use crate::folds;
use crate::shares::shares;

/// More draws than an average needs.
pub(super) const MOST_RESAMPLES: usize = 100_000;

/// A draw of cases.
pub(super) struct Sample {
    /// `[N]` how often each case was drawn.
    pub(super) counts: Vec<u32>,
}

/// What hits are counted as: each as a share of the cases of its task, or of its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HitValue {
    /// The mean of them is the accuracy.
    OfTask,
    /// The mean of them is the balanced accuracy.
    OfClass,
}

impl HitValue {
    /// The sets of cases in which a hit is worth the same, as (task, class): a class is `None` where it does not matter.
    pub(super) fn strata(self, classes: &[usize]) -> Vec<(usize, Option<usize>)> {
        let of_task = |(task, &classes): (usize, &usize)| -> Vec<(usize, Option<usize>)> {
            match self {
                Self::OfTask => vec![(task, None)],
                Self::OfClass => (0..classes).map(|class| (task, Some(class))).collect(),
            }
        };
        classes.iter().enumerate().flat_map(of_task).collect()
    }

    /// What a hit of each of the [`strata`](Self::strata) is worth in a sample, as multiples of one common fraction; see [`shares`].
    pub(super) fn worths(self, cohort: &Cohort, sample: &Sample, classes: &[usize]) -> Vec<u128> {
        let mut totals: Vec<Vec<usize>> = classes.iter().map(|&classes| vec![0; classes]).collect();
        for (labels, &count) in cohort.labels.iter().zip(&sample.counts) {
            for (totals, label) in totals.iter_mut().zip(labels) {
                if let &Some(label) = label {
                    totals[label] += count as usize;
                }
            }
        }
        let of_stratum = |(task, class): (usize, Option<usize>)| match class {
            None => totals[task].iter().sum(),
            // The mean over the classes that occur of the hits by the cases of each.
            Some(class) => totals[task].iter().filter(|total| **total > 0).count() * totals[task][class],
        };
        shares(&self.strata(classes).into_iter().map(of_stratum).collect::<Vec<usize>>())
    }
}

impl Sample {
    /// `[T]` how many of the drawn cases are labelled for each task.
    pub(super) fn labelled(&self, cohort: &Cohort) -> Vec<u32> {
        let tasks = cohort.labels.first().map_or(0, Vec::len);
        let drawn =
            |task: usize| cohort.labels.iter().zip(&self.counts).filter(move |(labels, _)| labels[task].is_some());
        (0..tasks).map(|task| drawn(task).map(|(_, count)| count).sum()).collect()
    }
}

impl Smoothing {
    /// The samples of a cohort that have a label; a bootstrap draws as many groups as there are.
    pub(super) fn samples(self, cohort: &Cohort) -> Result<Vec<Sample>> {
        let mut samples = match self {
            Self::None => vec![Sample { counts: vec![1; cohort.len()] }],
            Self::Bootstrap { resamples, seed } => bootstrap(cohort, resamples, seed)?,
            Self::Folds { folds, seed } => complements(cohort, folds, seed)?,
        };
        samples.retain(|sample| sample.labelled(cohort).iter().any(|labelled| *labelled > 0));
        if samples.is_empty() { Err(EnsembleError::NoLabels) } else { Ok(samples) }
    }
}

fn bootstrap(cohort: &Cohort, resamples: usize, seed: u64) -> Result<Vec<Sample>> {
    if resamples == 0 {
        let parameter = "resamples of the weight search".to_owned();
        return Err(EnsembleError::Parameter { parameter, value: 0.0, expected: "at least 1" });
    }
    if resamples > MOST_RESAMPLES {
        let (parameter, value) = ("resamples of the weight search".to_owned(), resamples as f64);
        return Err(EnsembleError::Parameter { parameter, value, expected: "at most 100000" });
    }
    let members = folds::members(&cohort.groups);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let draw = |_| Sample { counts: folds::draw_groups(&members, cohort.len(), &mut rng) };
    Ok((0..resamples).map(draw).collect())
}

/// All cases but those of one fold, for each fold.
fn complements(cohort: &Cohort, folds: usize, seed: u64) -> Result<Vec<Sample>> {
    let mut groups: Vec<&str> = cohort.groups.iter().map(String::as_str).collect();
    let fold_of = |folds: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        folds::stratified(&vec![false; groups.len()], &groups, folds, &mut rng)
    };
    let fold_of = if folds >= 2 { fold_of(folds) } else { Vec::new() };
    groups.sort_unstable();
    groups.dedup();
    if !(2..=groups.len()).contains(&folds) {
        let (parameter, value) = ("folds of the weight search".to_owned(), folds as f64);
        return Err(EnsembleError::Parameter { parameter, value, expected: "from 2 to the number of groups" });
    }
    let without = |fold: usize| Sample { counts: fold_of.iter().map(|of| u32::from(*of != fold)).collect() };
    Ok((0..folds).map(without).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weight_search::tests::problem;

    /// 30 cases of ten groups, one of which has eight.
    fn cohort() -> Cohort {
        let mut cohort = problem(&["clinical"], &[2], 30, 1, 0, 0).cohort;
        cohort.groups = (0..30_usize).map(|case| format!("patient {}", case.saturating_sub(7) * 9 / 22)).collect();
        cohort
    }

    fn together(cohort: &Cohort, sample: &Sample) -> bool {
        let of = |case: usize| (&cohort.groups[case], sample.counts[case]);
        (0..30).all(|a| (0..30).all(|b| of(a).0 != of(b).0 || of(a).1 == of(b).1))
    }

    #[test]
    fn a_bootstrap_draws_as_many_groups_as_there_are() {
        let cohort = cohort();
        let draw = |seed| Smoothing::Bootstrap { resamples: 50, seed }.samples(&cohort).unwrap();
        let samples = draw(3);
        assert_eq!(samples.len(), 50);
        let counts: Vec<&Vec<u32>> = samples.iter().map(|sample| &sample.counts).collect();
        let firsts: Vec<usize> =
            (0..30).filter(|&case| !cohort.groups[..case].contains(&cohort.groups[case])).collect();
        assert_eq!(firsts.len(), 10);
        for sample in &samples {
            assert!(together(&cohort, sample));
            assert_eq!(firsts.iter().map(|&case| sample.counts[case]).sum::<u32>(), 10);
        }
        assert!(counts.iter().any(|sample| sample[0] != counts[0][0]), "draws differ");
        assert!(draw(3).iter().zip(&samples).all(|(a, b)| a.counts == b.counts));
        assert!(draw(4).iter().zip(&samples).any(|(a, b)| a.counts != b.counts));
    }

    #[test]
    fn each_group_is_in_one_fold() {
        let cohort = cohort();
        let samples = Smoothing::Folds { folds: 3, seed: 1 }.samples(&cohort).unwrap();
        assert!(samples.iter().all(|sample| together(&cohort, sample)));
        let held_out = |case: usize| samples.iter().filter(|sample| sample.counts[case] == 0).count();
        assert!((0..30).all(|case| held_out(case) == 1));
        let sizes: Vec<u32> = samples.iter().map(|sample| sample.counts.iter().sum()).collect();
        assert!(sizes.iter().all(|size| (18..=22).contains(size)), "{sizes:?}");
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let message = |smoothing: Smoothing| smoothing.samples(&cohort()).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            message(Smoothing::Bootstrap { resamples: 0, seed: 0 }),
            "resamples of the weight search is 0; it must be at least 1"
        );
        for folds in [0, 1, 11] {
            assert_eq!(
                message(Smoothing::Folds { folds, seed: 0 }),
                format!("folds of the weight search is {folds}; it must be from 2 to the number of groups")
            );
        }
    }
}
