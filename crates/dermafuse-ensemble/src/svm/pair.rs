//! The machine of one pair of classes and its calibration.

use std::collections::BTreeSet;

use ndarray::Array2;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use super::{Calibration, SvmParams};
use crate::calibration_note::{CalibrationOutcome, PairCalibration};
use crate::error::Result;
use crate::folds;
use crate::platt::Sigmoid;
use crate::solver::{Problem, Solution};
use crate::training::Training;

/// What all pairs of classes share while they are fitted.
pub(super) struct PairFit<'a> {
    pub(super) params: &'a SvmParams,
    pub(super) training: &'a Training<'a>,
    pub(super) gram: Option<&'a Array2<f64>>,
    pub(super) gamma: f64,
    pub(super) weights: &'a [f64],
}

pub(super) struct FittedPair {
    pub(super) solution: Solution,
    pub(super) sigmoid: Sigmoid,
    pub(super) calibration: PairCalibration,
}

/// The rows of a pair of classes, those of the first before those of the second.
struct Pair {
    classes: (usize, usize),
    rows: Vec<usize>,
    positive: Vec<bool>,
}

/// How records are divided into calibration folds.
#[derive(Clone, Copy, PartialEq)]
enum Division {
    /// Into equal pieces; a fold that leaves one class is answered with that class, as in libsvm.
    Plain,
    /// Stratified, with groups kept together.
    Grouped,
    /// Stratified, each record on its own.
    Single,
}

impl PairFit<'_> {
    /// The machine of a pair, the first class on the positive side, and its sigmoid.
    pub(super) fn pair(&self, classes: (usize, usize)) -> Result<FittedPair> {
        let labels = &self.training.labels;
        let of = |class: usize| (0..labels.len()).filter(move |&row| labels[row] == class);
        let rows: Vec<usize> = of(classes.0).chain(of(classes.1)).collect();
        let positive: Vec<bool> = rows.iter().map(|&row| labels[row] == classes.0).collect();
        let pair = Pair { classes, rows, positive };
        let problem = self.problem(&pair, &pair.rows, &pair.positive);
        let solution = self.params.solver.choose(false, pair.rows.len()).solve(&problem)?;
        let (sigmoid, outcome) = self.calibrate(&pair, &problem, &solution)?;

        let calibration = PairCalibration {
            first: classes.0,
            second: classes.1,
            records: [true, false].map(|side| self.units(&pair, Division::Single, side)),
            groups: [true, false].map(|side| self.units(&pair, Division::Grouped, side)),
            outcome,
        };
        Ok(FittedPair { solution, sigmoid, calibration })
    }

    fn problem<'b>(&'b self, pair: &Pair, rows: &'b [usize], positive: &'b [bool]) -> Problem<'b> {
        Problem {
            records: self.training.records.view(),
            gram: self.gram,
            rows,
            positive,
            c_positive: self.params.c * self.weights[pair.classes.0],
            c_negative: self.params.c * self.weights[pair.classes.1],
            gamma: self.gamma,
            tolerance: self.params.tolerance,
        }
    }

    /// The sigmoid of a pair: the one asked for, if it rises; else the best that the records allow.
    fn calibrate(
        &self,
        pair: &Pair,
        problem: &Problem<'_>,
        solution: &Solution,
    ) -> Result<(Sigmoid, CalibrationOutcome)> {
        let asked = match self.params.calibration {
            Calibration::Paper => Division::Plain,
            Calibration::Stratified { .. } => Division::Grouped,
        };
        let decisions: Vec<f64> = pair.rows.iter().map(|&row| solution.decision(problem, row)).collect();
        let uncalibrated = Sigmoid::uncalibrated(&decisions, &pair.positive);
        if let Some(sigmoid) = self.sigmoid(pair, asked, uncalibrated)? {
            return Ok((sigmoid, CalibrationOutcome::AsAsked));
        }
        let grouped = [true, false].map(|side| self.units(pair, Division::Grouped, side));
        let single = [true, false].map(|side| self.units(pair, Division::Single, side));
        let may_differ = asked == Division::Plain || grouped != single;
        if may_differ && let Some(sigmoid) = self.sigmoid(pair, Division::Single, uncalibrated)? {
            return Ok((sigmoid, CalibrationOutcome::WithoutGroups));
        }
        Ok((uncalibrated, CalibrationOutcome::NotCalibrated))
    }

    /// What a division deals out of a side: groups or records.
    fn units(&self, pair: &Pair, division: Division, side: bool) -> usize {
        let of_side = pair.rows.iter().zip(&pair.positive).filter(|(_, positive)| **positive == side);
        match division {
            Division::Grouped => of_side.map(|(&row, _)| self.training.groups[row]).collect::<BTreeSet<_>>().len(),
            Division::Plain | Division::Single => of_side.count(),
        }
    }

    /// The sigmoid that a division gives, if it can be trusted: it must rise, no stratified fold may leave one class only to
    /// fit on, and where there are fewer units of a side than folds, it must be as steep as without calibration. (So few
    /// records seldom tell how much a machine is worth; a flat sigmoid would leave the class to what is said of the others.)
    fn sigmoid(&self, pair: &Pair, division: Division, uncalibrated: Sigmoid) -> Result<Option<Sigmoid>> {
        let repeats = self.params.calibration.repeats();
        // no more folds than records: the others would hold nothing out
        let folds = self.params.calibration.folds().min(pair.rows.len().max(2));
        let divisions: Vec<Vec<usize>> =
            (0..repeats).map(|repeat| self.divide(pair, division, folds, repeat)).collect();
        if division != Division::Plain && divisions.iter().any(|fold_of| leaves_one_class(fold_of, &pair.positive)) {
            return Ok(None);
        }
        let held_out = divisions
            .par_iter()
            .map(|fold_of| self.held_out_decisions(pair, fold_of, folds))
            .collect::<Result<Vec<_>>>()?;
        let sigmoid = Sigmoid::fit(&held_out.concat(), &pair.positive.repeat(repeats), repeats);
        let few = [true, false].into_iter().any(|side| self.units(pair, division, side) < folds);
        Ok((sigmoid.rises() && (!few || sigmoid.a <= uncalibrated.a)).then_some(sigmoid))
    }

    /// The fold of each row.
    fn divide(&self, pair: &Pair, division: Division, folds: usize, repeat: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.params.seed);
        let classes = self.training.classes as u64;
        let place = pair.classes.0 as u64 * classes + pair.classes.1 as u64;
        rng.set_stream(place << 24 | repeat as u64);
        match division {
            Division::Plain => folds::plain(pair.rows.len(), folds, &mut rng),
            Division::Grouped => {
                let groups: Vec<&str> = pair.rows.iter().map(|&row| self.training.groups[row]).collect();
                folds::stratified(&pair.positive, &groups, folds, &mut rng)
            }
            Division::Single => folds::stratified(&pair.positive, &pair.rows, folds, &mut rng),
        }
    }

    /// Decision values of all rows from machines that were fitted without them; a fold that leaves only one class to fit on
    /// is answered with that class, as in libsvm.
    fn held_out_decisions(&self, pair: &Pair, fold_of: &[usize], folds: usize) -> Result<Vec<f64>> {
        let Pair { rows, positive, .. } = pair;
        let mut decisions = vec![0.0; rows.len()];
        for fold in 0..folds {
            let kept: Vec<usize> = (0..rows.len()).filter(|&index| fold_of[index] != fold).collect();
            let held: Vec<usize> = (0..rows.len()).filter(|&index| fold_of[index] == fold).collect();
            if held.is_empty() {
                continue;
            }
            let kept_positive: Vec<bool> = kept.iter().map(|&index| positive[index]).collect();
            let positives = kept_positive.iter().filter(|is| **is).count();
            if positives == 0 || positives == kept.len() {
                let decision = if kept.is_empty() { 0.0 } else { 2.0 * f64::from(positives > 0) - 1.0 };
                held.iter().for_each(|&index| decisions[index] = decision);
                continue;
            }
            let kept_rows: Vec<usize> = kept.iter().map(|&index| rows[index]).collect();
            let problem = self.problem(pair, &kept_rows, &kept_positive);
            let solution = self.params.solver.choose(true, kept_rows.len()).solve(&problem)?;
            held.iter().for_each(|&index| decisions[index] = solution.decision(&problem, rows[index]));
        }
        Ok(decisions)
    }
}

/// Whether all records of a side are held out by one fold.
fn leaves_one_class(fold_of: &[usize], positive: &[bool]) -> bool {
    [true, false].into_iter().any(|side| {
        let mut folds = fold_of.iter().zip(positive).filter(|(_, positive)| **positive == side).map(|(fold, _)| fold);
        folds.next().is_none_or(|first| folds.all(|fold| fold == first))
    })
}
