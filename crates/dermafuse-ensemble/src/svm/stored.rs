//! What is checked of a machine, whether it was fitted or read.

use ndarray::Array2;
use serde::Deserialize;

use super::{Machine, SvmClassifier, SvmReport, positive};
use crate::error::{EnsembleError, Result};
use crate::logistic::check_stored;

/// An [`SvmClassifier`] as it was stored, before it is known to be consistent.
#[derive(Deserialize)]
pub(super) struct StoredSvm {
    classes: usize,
    gamma: f64,
    present: Vec<usize>,
    support: Array2<f64>,
    machines: Vec<Machine>,
    report: SvmReport,
}

impl TryFrom<StoredSvm> for SvmClassifier {
    type Error = EnsembleError;

    fn try_from(stored: StoredSvm) -> Result<Self> {
        let StoredSvm { classes, gamma, present, support, machines, report } = stored;
        Self { classes, gamma, present, support, machines, report }.checked()
    }
}

impl SvmClassifier {
    /// The machine, if all its parts fit together and decision values can be no other than finite.
    pub(super) fn checked(self) -> Result<Self> {
        const WHAT: &str = "support vector machine";
        let Self { classes, gamma, present, support, machines, report } = &self;
        let fail = |why: &str| Err(EnsembleError::Stored { what: WHAT, why: why.into() });
        check_stored(WHAT, *classes, present, &[])?;
        positive("gamma", *gamma)?;
        let all_pairs = (0..present.len()).flat_map(|i| (i + 1..present.len()).map(move |j| (i, j)));
        let all_pairs = all_pairs.map(|(i, j)| (present[i], present[j]));
        if !self.pairs().eq(all_pairs) {
            return fail("its machines are not one for each pair of classes");
        }
        for machine in machines {
            if machine.support.len() != machine.coefficients.len()
                || machine.support.iter().any(|&row| row >= support.nrows())
            {
                return fail("a machine refers to support vectors that are not there");
            }
            // a kernel is at most 1, so no sum of terms exceeds this
            let most = machine.coefficients.iter().map(|alpha| alpha.abs()).sum::<f64>() + machine.rho.abs();
            if !most.is_finite() || !machine.sigmoid.a.is_finite() || !machine.sigmoid.b.is_finite() {
                return fail("a coefficient is not finite");
            }
        }
        if support.nrows() > machines.iter().map(|machine| machine.support.len()).sum::<usize>() {
            return fail("it has support vectors that no machine refers to");
        }
        if support.iter().any(|value| !value.is_finite()) {
            return fail("a support vector is not finite");
        }
        let absent = (0..*classes).filter(|class| present.binary_search(class).is_err());
        if !report.absent.iter().copied().eq(absent) || report.constant != (present.len() == 1).then(|| present[0]) {
            return fail("its report is of other classes");
        }
        // files of versions that did not say how pairs were calibrated may hold sigmoids that fall
        if !report.calibration.is_empty() {
            if !report.calibration.iter().map(|pair| (pair.first, pair.second)).eq(self.pairs()) {
                return fail("its report is of other pairs of classes");
            }
            if machines.iter().any(|machine| !machine.sigmoid.rises()) {
                return fail("a probability does not rise with its decision value");
            }
        }
        Ok(self)
    }
}
