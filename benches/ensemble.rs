//! The second stage at the size of the official validation and training sets.

use criterion::{Criterion, criterion_group, criterion_main};
use dermafuse::ensemble::{ClassifierCluster, ClassifierKind, Smoothing, WeightSearch, WeightSearchMethod};
use dermafuse::schema::{Branch, BranchLogits, Cohort, FuseSpace, Task, TaskSet};
use ndarray::{Array2, Array3};

/// Classes of the seven-point checklist and the diagnosis.
const CLASSES: [usize; 8] = [5, 3, 3, 3, 2, 3, 2, 3];
const VIEWS: usize = 6;

/// Numbers within ±1 that look random and are the same everywhere.
fn noise(index: usize) -> f64 {
    (index as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9) as f64
        / 2.0_f64.powi(63)
        - 1.0
}

fn tasks() -> TaskSet {
    let task = |(index, count): (usize, &usize)| {
        Task::new(format!("task {index}"), "T", (0..*count).map(|class| format!("class {class}")))
    };
    TaskSet::new(CLASSES.iter().enumerate().map(task).collect()).expect("tasks of two or more classes")
}

fn label(case: usize, task: usize) -> usize {
    (noise(case * 8 + task).abs() * CLASSES[task] as f64) as usize
}

/// Three branches that agree with the label two times out of three and whose views differ a little.
fn logits(cases: usize) -> BranchLogits {
    let cohort = Cohort {
        ids: (0..cases).map(|case| format!("case {case}").into()).collect(),
        groups: (0..cases).map(|case| format!("patient {case}")).collect(),
        labels: (0..cases).map(|case| (0..8).map(|task| Some(label(case, task))).collect()).collect(),
        metadata: Array2::zeros((cases, 0)),
        has_metadata: vec![false; cases],
    };
    let branch = |(index, name): (usize, &str)| Branch {
        name: name.into(),
        available: vec![true; cases],
        logits: (0..8)
            .map(|task| {
                Array3::from_shape_fn((VIEWS, cases, CLASSES[task]), |(view, case, class)| {
                    let own = noise(((index * 8 + task) * cases + case) * 8 + class);
                    let jitter = noise((((index * 8 + task) * cases + case) * 8 + class) * VIEWS + view + 7_000_000);
                    (2.0 * own + 0.5 * jitter + if label(case, task) == class { 1.5 } else { 0.0 }) as f32
                })
            })
            .collect(),
    };
    let branches = ["dermoscopic", "clinical", "fusion"].into_iter().enumerate().map(branch).collect();
    BranchLogits { tasks: tasks(), cohort, branches, looks: vec![] }
}

fn weight_search(criterion: &mut Criterion) {
    let logits = logits(203);
    let mut group = criterion.benchmark_group("weight_search/203x6x8");
    group.sample_size(10);
    for (name, steps, space) in [
        ("50^3", 50, FuseSpace::Logits),
        ("100^3", 100, FuseSpace::Logits),
        ("50^3/probabilities", 50, FuseSpace::Probabilities),
    ] {
        let search = WeightSearch { steps, space, ..WeightSearch::default() };
        group.bench_function(name, |bencher| bencher.iter(|| search.fit(&logits).expect("labelled cases")));
    }
    let bootstrap = Smoothing::Bootstrap { resamples: 200, seed: 0 };
    let folds = Smoothing::Folds { folds: 5, seed: 0 };
    for (name, method, smoothing, space) in [
        ("50^3/200 resamples", WeightSearchMethod::Grid, bootstrap, FuseSpace::Logits),
        ("exact/probabilities", WeightSearchMethod::Exact, Smoothing::None, FuseSpace::Probabilities),
        ("exact/probabilities/5 folds", WeightSearchMethod::Exact, folds, FuseSpace::Probabilities),
        ("exact/probabilities/200 resamples", WeightSearchMethod::Exact, bootstrap, FuseSpace::Probabilities),
        ("refined", WeightSearchMethod::Refined, Smoothing::None, FuseSpace::Logits),
        ("refined/5 folds", WeightSearchMethod::Refined, folds, FuseSpace::Logits),
    ] {
        let search = WeightSearch { method, smoothing, space, ..WeightSearch::default() };
        group.bench_function(name, |bencher| bencher.iter(|| search.fit(&logits).expect("labelled cases")));
    }
    group.finish();
}

fn cluster(criterion: &mut Criterion) {
    let (n, features) = (207, 44);
    let labels: Vec<Vec<Option<usize>>> =
        (0..n).map(|case| (0..8).map(|task| Some(label(case, task))).collect()).collect();
    let groups: Vec<String> = (0..n).map(|case| format!("patient {case}")).collect();
    let records = Array2::from_shape_fn((n, features), |(case, column)| {
        let own = noise(case * features + column + 9_000_000);
        own + if label(case, column % 8) == column / 8 { 1.0 } else { 0.0 }
    });
    let mut group = criterion.benchmark_group("cluster/207x44x8");
    group.sample_size(10);
    for (name, kind) in ClassifierKind::ALL.map(|kind| (kind.name(), kind)) {
        let params = ClassifierCluster::params(kind, 1);
        group.bench_function(name, |bencher| {
            bencher.iter(|| params.fit(records.view(), &labels, &tasks(), &groups).expect("a good table"));
        });
    }
    group.finish();
}

criterion_group!(benches, weight_search, cluster);
criterion_main!(benches);
