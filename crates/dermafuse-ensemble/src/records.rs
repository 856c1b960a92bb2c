use dermafuse_schema::{Cohort, Predictions, SchemaError};
use ndarray::{Array2, Axis, concatenate};

use crate::error::{EnsembleError, Result};

/// The records of the second stage (`F_comb` of the thesis): the first stage's probabilities in the order of the tasks,
/// then the metadata.
///
/// # Shapes
/// `[N, Σ_t K_t + M]`; on the official data 24 + 20 = 44 columns.
///
/// # Errors
/// Predictions and a cohort of different cases.
pub fn records(first_stage: &Predictions, cohort: &Cohort) -> Result<Array2<f64>> {
    check_cases(first_stage, cohort)?;
    let mut parts: Vec<_> = first_stage.probabilities.iter().map(Array2::view).collect();
    parts.push(cohort.metadata.view());
    concatenate(Axis(1), &parts).map_err(|_| {
        let what = "rows of the probabilities and the metadata".to_owned();
        let found = parts.iter().map(|part| part.nrows()).collect();
        EnsembleError::Schema(SchemaError::Shape { what, expected: vec![cohort.len(); parts.len()], found })
    })
}

/// The records of a second stage that looks at the metadata alone (`F_meta` of the thesis).
///
/// # Shapes
/// `[N, M]`; on the official data 20 columns.
///
/// # Errors
/// As [`records`].
pub(crate) fn metadata_records(first_stage: &Predictions, cohort: &Cohort) -> Result<Array2<f64>> {
    check_cases(first_stage, cohort)?;
    if cohort.metadata.nrows() != cohort.len() {
        let (expected, found) = (vec![cohort.len()], vec![cohort.metadata.nrows()]);
        return Err(SchemaError::Shape { what: "rows of the metadata".into(), expected, found }.into());
    }
    Ok(cohort.metadata.clone())
}

fn check_cases(predictions: &Predictions, cohort: &Cohort) -> Result<()> {
    if predictions.len() != cohort.len() {
        let what = "cases of the predictions (as in the cohort)".to_owned();
        let (expected, found) = (vec![cohort.len()], vec![predictions.len()]);
        return Err(SchemaError::Shape { what, expected, found }.into());
    }
    match (0..cohort.len()).find(|&row| predictions.ids[row] != cohort.ids[row]) {
        None => Ok(()),
        Some(row) => Err(EnsembleError::Schema(SchemaError::Misaligned {
            left: "the predictions".into(),
            right: "the cohort".into(),
            row,
            left_case: predictions.ids[row].to_string(),
            right_case: cohort.ids[row].to_string(),
        })),
    }
}
