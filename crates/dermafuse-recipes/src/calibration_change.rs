use dermafuse_ensemble::TwoStage;
use dermafuse_eval::{CalibrationChange, Evaluation};

/// What calibration and prevalence changed in the answer, the last row; `None` where it is neither calibrated nor corrected.
#[must_use]
pub fn calibration_change(rows: &[(String, Evaluation)]) -> Option<CalibrationChange> {
    let (name, after) = rows.last()?;
    let first = TwoStage::first_name(name);
    let (before_name, before) = rows.iter().find(|(other, _)| other == first).filter(|_| first != name)?;
    Some(CalibrationChange::new((before_name, before), (name, after)))
}
