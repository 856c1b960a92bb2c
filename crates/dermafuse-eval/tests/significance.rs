//! Tests of significance equal those of SciPy and statsmodels; `tests/golden/significance.py` wrote them.

use dermafuse_eval::significance::{
    AucEstimate, DeLong, Friedman, McNemar, Nemenyi, WilcoxonSignedRank, holm, studentized_range_quantile,
    studentized_range_survival,
};
use dermafuse_schema::ndarray::Array2;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    friedman: Vec<GoldenFriedman>,
    wilcoxon: Vec<GoldenWilcoxon>,
    holm: Vec<GoldenHolm>,
    studentized_range: Vec<GoldenQuantile>,
    range_survival: Vec<GoldenSurvival>,
    nemenyi: Vec<GoldenNemenyi>,
    delong: Vec<GoldenDeLong>,
    mcnemar: Vec<GoldenMcNemar>,
}

#[derive(Deserialize)]
struct GoldenFriedman {
    name: String,
    scores: Vec<Vec<f64>>,
    mean_ranks: Vec<f64>,
    statistic: f64,
    p: f64,
}

#[derive(Deserialize)]
struct GoldenWilcoxon {
    name: String,
    first: Vec<f64>,
    second: Vec<f64>,
    statistic: f64,
    p: f64,
    exact: bool,
}

#[derive(Deserialize)]
struct GoldenHolm {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

#[derive(Deserialize)]
struct GoldenQuantile {
    k: usize,
    level: f64,
    q: f64,
}

#[derive(Deserialize)]
struct GoldenSurvival {
    k: usize,
    q: f64,
    p: f64,
}

#[derive(Deserialize)]
struct GoldenNemenyi {
    mean_ranks: Vec<f64>,
    blocks: usize,
    critical_difference: f64,
    p: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct GoldenDeLong {
    first: Vec<f64>,
    second: Vec<f64>,
    positive: Vec<bool>,
    aucs: [f64; 2],
    variances: [f64; 2],
    covariance: f64,
    intervals: [[f64; 2]; 2],
    z: f64,
    p: f64,
}

#[derive(Deserialize)]
struct GoldenMcNemar {
    first_only: usize,
    second_only: usize,
    exact: bool,
    statistic: f64,
    p: f64,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/significance.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Equal to a part of the value itself, however small that is.
#[track_caller]
fn assert_close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs(), "{what}: ours {ours:e}, theirs {theirs:e}");
}

#[test]
fn friedman_equals_scipy() {
    let cases = golden().friedman;
    assert!(cases.iter().any(|case| case.p < 1e-20) && cases.iter().any(|case| case.p > 0.1));
    for case in cases {
        let (n, k) = (case.scores.len(), case.scores[0].len());
        let scores = Array2::from_shape_fn((n, k), |(block, method)| case.scores[block][method]);
        let friedman = Friedman::of(&scores.view()).unwrap();
        assert_eq!((friedman.blocks, friedman.degrees_of_freedom), (n, k - 1), "{}", case.name);
        assert_close(&case.name, friedman.statistic, case.statistic, 1e-12);
        assert_close(&case.name, friedman.p, case.p, 1e-10);
        for (ours, theirs) in friedman.mean_ranks.iter().zip(&case.mean_ranks) {
            assert_close(&case.name, *ours, *theirs, 1e-14);
        }
    }
}

#[test]
fn wilcoxon_equals_scipy() {
    let cases = golden().wilcoxon;
    assert_eq!(cases.len(), 7);
    for case in cases {
        let wilcoxon = WilcoxonSignedRank::of(&case.first, &case.second).unwrap();
        assert_eq!((wilcoxon.statistic, wilcoxon.exact), (case.statistic, case.exact), "{}", case.name);
        assert_close(&case.name, wilcoxon.p, case.p, if case.exact { 1e-14 } else { 1e-12 });
    }
}

#[test]
fn holm_equals_statsmodels() {
    for case in golden().holm {
        let adjusted = holm(&case.p).unwrap();
        assert_eq!(adjusted.len(), case.adjusted.len());
        for (ours, theirs) in adjusted.iter().zip(&case.adjusted) {
            assert_close("holm", *ours, *theirs, 1e-14);
        }
    }
}

#[test]
fn the_studentized_range_equals_scipy_and_a_quadrature_of_40_digits() {
    for case in golden().studentized_range {
        let ours = studentized_range_quantile(case.k, case.level).unwrap();
        assert_close(&format!("{} at {}", case.k, case.level), ours, case.q, 1e-6);
    }
    let survival = golden().range_survival;
    assert!(survival.iter().any(|case| case.p < 1e-8));
    for case in survival {
        let ours = studentized_range_survival(case.q, case.k).unwrap();
        assert_close(&format!("{} of {}", case.q, case.k), ours, case.p, 1e-10);
    }
}

#[test]
fn nemenyi_equals_scipys_studentized_range() {
    for case in golden().nemenyi {
        let nemenyi = Nemenyi::of(&case.mean_ranks, case.blocks, 0.05).unwrap();
        assert_close("critical difference", nemenyi.critical_difference, case.critical_difference, 1e-6);
        for (ours, theirs) in nemenyi.p.iter().flatten().zip(case.p.iter().flatten()) {
            // SciPy has one minus a number near 1.
            assert!((ours - theirs).abs() <= 1e-6 * theirs + 1e-11, "ours {ours:e}, theirs {theirs:e}");
        }
    }
}

#[test]
fn delong_equals_its_definition() {
    for case in golden().delong {
        let delong = DeLong::of(&case.first, &case.second, &case.positive).unwrap();
        for (index, estimate) in [delong.first, delong.second].into_iter().enumerate() {
            assert_close("area", estimate.auc, case.aucs[index], 1e-13);
            assert_close("variance", estimate.variance, case.variances[index], 1e-12);
            assert_close("lower end", estimate.interval.lower, case.intervals[index][0], 1e-12);
            assert_close("upper end", estimate.interval.upper, case.intervals[index][1], 1e-12);
        }
        assert_close("covariance", delong.covariance, case.covariance, 1e-12);
        assert_close("z", delong.z, case.z, 1e-10);
        assert_close("p", delong.p, case.p, 1e-9);
        let pairs: Vec<(f64, bool)> = case.first.iter().copied().zip(case.positive.iter().copied()).collect();
        assert_eq!(AucEstimate::of(&pairs).unwrap(), delong.first);
    }
}

#[test]
fn mcnemar_equals_statsmodels() {
    let cases = golden().mcnemar;
    assert_eq!(cases.len(), 14);
    for case in cases {
        let test = if case.exact { McNemar::exact } else { McNemar::chi_squared };
        let ours = test(case.first_only, case.second_only);
        let what = format!("{} and {}, exact: {}", case.first_only, case.second_only, case.exact);
        assert_eq!(ours.exact, case.exact);
        assert_close(&what, ours.statistic, case.statistic, 1e-14);
        assert_close(&what, ours.p, case.p, 1e-11);
    }
}
