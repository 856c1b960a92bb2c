//! Tests of whether methods differ by more than chance.
//!
//! Two ways to ask. Over several runs (folds, seeds, backbones): [`Friedman`] says whether any of the methods differs,
//! [`WilcoxonSignedRank`] with [`holm`] or [`Nemenyi`] which; [`Comparison`](crate::Comparison) does all of it. Over
//! the cases of one test set: [`McNemar`] compares hits, [`DeLong`] areas under ROC curves. [`NonInferiority`] asks the other way round,
//! whether a method is as good but for a stated margin.
//!
//! All p-values are two-sided and those of SciPy and statsmodels, also far out in the tail (`tests/golden`); Wilcoxon's are
//! those of SciPy up to version 1.8 where scores tie.
//!
//! # Sources
//! Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006, for the tests over runs.

mod delong;
mod distributions;
mod friedman;
mod holm;
mod mcnemar;
mod nemenyi;
mod non_inferiority;
mod ranks;
mod studentized_range;
mod wilcoxon;

pub use delong::{AucEstimate, DeLong};
pub use friedman::Friedman;
pub use holm::holm;
pub use mcnemar::McNemar;
pub use nemenyi::Nemenyi;
pub use non_inferiority::NonInferiority;
pub use studentized_range::{studentized_range_quantile, studentized_range_survival};
pub use wilcoxon::WilcoxonSignedRank;

use dermafuse_schema::SchemaError;

use crate::EvalError;

/// That all values are finite.
fn check_finite<'a>(what: &str, values: impl IntoIterator<Item = &'a f64>) -> Result<(), EvalError> {
    match values.into_iter().find(|value| !value.is_finite()) {
        Some(&value) => Err(SchemaError::Number { what: what.into(), value, expected: "finite" }.into()),
        None => Ok(()),
    }
}

/// That a probability such as a significance level lies strictly between 0 and 1.
fn check_level(level: f64) -> Result<(), EvalError> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    let what = "significance level".into();
    Err(SchemaError::Number { what, value: level, expected: "between 0 and 1" }.into())
}

/// That two columns of the same cases have the same length.
fn check_paired(what: &str, first: usize, second: usize) -> Result<(), EvalError> {
    if first == second {
        return Ok(());
    }
    Err(SchemaError::Shape { what: what.into(), expected: vec![first], found: vec![second] }.into())
}

/// That there is enough to test.
fn check_enough(what: &'static str, found: usize, least: usize) -> Result<(), EvalError> {
    if found < least { Err(EvalError::TooFew { what, found, least }) } else { Ok(()) }
}
