//! Neighbourhoods and pictures of t-SNE against SciPy and scikit-learn; `tests/golden/tsne.py` wrote them.

use dermafuse_eval::TSne;
use dermafuse_schema::ndarray::Array2;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    perplexity: f64,
    features: Vec<Vec<f64>>,
    above_the_diagonal: Vec<f64>,
    divergences_of_scikit_learn: Vec<f64>,
}

fn golden() -> (Golden, Array2<f64>, Array2<f64>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tsne.json");
    let golden: Golden = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (n, d) = (golden.features.len(), golden.features[0].len());
    let features = Array2::from_shape_fn((n, d), |(row, column)| golden.features[row][column]);
    let mut affinities = Array2::zeros((n, n));
    let mut values = golden.above_the_diagonal.iter();
    for i in 0..n {
        for j in i + 1..n {
            let value = *values.next().unwrap();
            (affinities[[i, j]], affinities[[j, i]]) = (value, value);
        }
    }
    (golden, features, affinities)
}

#[test]
fn neighbourhoods_equal_their_definition() {
    let (golden, features, expected) = golden();
    let tsne = TSne { perplexity: golden.perplexity, ..TSne::default() };
    let affinities = tsne.affinities(&features.view()).unwrap();
    for (ours, theirs) in affinities.iter().zip(&expected) {
        assert!((ours - theirs).abs() <= 1e-7 * theirs + 1e-14, "ours {ours:e}, theirs {theirs:e}");
    }
    assert!((affinities.sum() - 1.0).abs() < 1e-12);
}

#[test]
fn the_divergence_is_that_of_the_points() {
    let (golden, features, p) = golden();
    for iterations in [0, 300] {
        let tsne = TSne { perplexity: golden.perplexity, iterations, ..TSne::default() };
        let embedding = tsne.embed(&features.view()).unwrap();
        let near = |(i, j): (usize, usize)| {
            let (a, b) = (embedding.points[i], embedding.points[j]);
            if i == j { 0.0 } else { 1.0 / (1.0 + (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2)) }
        };
        let q = Array2::from_shape_fn(p.dim(), near);
        let q = &q / q.sum();
        let pairs = p.iter().zip(&q).filter(|(p, _)| **p > 0.0);
        let divergence: f64 = pairs.map(|(p, q)| p * (p / q).ln()).sum();
        assert!((embedding.divergence - divergence).abs() < 1e-7, "{} and {divergence}", embedding.divergence);
    }
}

#[test]
fn pictures_are_as_good_as_those_of_scikit_learn() {
    let (golden, features, _) = golden();
    let theirs = golden.divergences_of_scikit_learn.into_iter();
    let (best, worst) =
        theirs.fold((f64::INFINITY, 0.0_f64), |(best, worst), value| (best.min(value), worst.max(value)));
    let ours = (0..5).map(|seed| {
        let tsne = TSne { perplexity: golden.perplexity, seed, ..TSne::default() };
        tsne.embed(&features.view()).unwrap().divergence
    });
    for divergence in ours {
        assert!(0.9 * best < divergence && divergence < 1.1 * worst, "{divergence}, not {best} to {worst}");
    }
}
