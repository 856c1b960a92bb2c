//! The second stage at the size of the official validation and training sets.

use criterion::{Criterion, criterion_group, criterion_main};
use dermafuse::ensemble::{ClassifierCluster, ClassifierKind, Smoothing, WeightSearch, WeightSearchMethod};
use dermafuse::schema::FuseSpace;
use dermafuse_benches::{branch_logits, drawn_tasks, labelled_records};

fn weight_search(criterion: &mut Criterion) {
    let logits = branch_logits(203);
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
    let (records, labels, groups) = labelled_records(207, 44);
    let mut group = criterion.benchmark_group("cluster/207x44x8");
    group.sample_size(10);
    for (name, kind) in ClassifierKind::ALL.map(|kind| (kind.name(), kind)) {
        let params = ClassifierCluster::params(kind, 1);
        group.bench_function(name, |bencher| {
            bencher.iter(|| params.fit(records.view(), &labels, &drawn_tasks(), &groups).expect("a good table"));
        });
    }
    group.finish();
}

criterion_group!(benches, weight_search, cluster);
criterion_main!(benches);
