use ndarray::{Array2, ArrayView2};

use super::descent::LANES;

/// How close the entropy comes to that of the perplexity, in nats.
const TOLERANCE: f64 = 1e-9;

/// Halvings of the interval of a width; doublings come on top. Equal points have no width that fits and end here.
const ATTEMPTS: usize = 120;

/// The symmetric neighbourhoods of all pairs, of sum 1.
pub(super) fn joint<F: Copy + Into<f64>>(features: &ArrayView2<'_, F>, perplexity: f64) -> Array2<f64> {
    let n = features.nrows();
    let mut p = squared_distances(features);
    for (row, mut distances) in p.rows_mut().into_iter().enumerate() {
        let mut others: Vec<f64> =
            distances.iter().copied().enumerate().filter(|(i, _)| *i != row).map(|o| o.1).collect();
        conditional(&mut others, perplexity);
        others.insert(row, 0.0);
        distances.iter_mut().zip(others).for_each(|(to, from)| *to = from);
    }
    for i in 0..n {
        for j in i + 1..n {
            let both = (p[[i, j]] + p[[j, i]]) / (2 * n) as f64;
            (p[[i, j]], p[[j, i]]) = (both, both);
        }
    }
    p
}

/// `[N, N]` squared Euclidean distances, in units of the largest feature so that none overflows.
fn squared_distances<F: Copy + Into<f64>>(features: &ArrayView2<'_, F>) -> Array2<f64> {
    let (n, d) = features.dim();
    let largest = features.iter().fold(0.0_f64, |largest, &value| largest.max(value.into().abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    // Whole lanes, so that the inner loop has no rest.
    let width = d.div_ceil(LANES) * LANES;
    let mut rows = vec![0.0; n * width];
    for ((row, column), &value) in features.indexed_iter() {
        rows[row * width + column] = value.into() / scale;
    }
    let row = |index: usize| &rows[index * width..(index + 1) * width];
    let mut distances = Array2::zeros((n, n));
    for i in 0..n {
        for j in i + 1..n {
            let distance = squared_distance(row(i), row(j));
            (distances[[i, j]], distances[[j, i]]) = (distance, distance);
        }
    }
    distances
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    sums.iter().sum()
}

/// Turns the squared distances of a point to the others into probabilities, of a Gaussian so wide that their entropy is
/// that of `perplexity` equal ones.
fn conditional(distances: &mut [f64], perplexity: f64) {
    let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    distances.iter_mut().for_each(|distance| *distance -= nearest);
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let mut precision = if mean > 0.0 { 1.0 / mean } else { 1.0 };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    for _ in 0..ATTEMPTS {
        let excess = entropy(distances, precision) - perplexity.ln();
        if excess.abs() < TOLERANCE {
            break;
        }
        if excess > 0.0 {
            low = precision
        } else {
            high = precision
        }
        precision = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * precision };
    }
    let weights = distances.iter().map(|distance| (-precision * distance).exp());
    let sum: f64 = weights.sum();
    distances.iter_mut().for_each(|distance| *distance = (-precision * *distance).exp() / sum);
}

/// In nats, of probabilities proportional to exp(−precision · distance).
fn entropy(distances: &[f64], precision: f64) -> f64 {
    let (sum, weighted) = distances.iter().fold((0.0, 0.0), |(sum, weighted), distance| {
        let weight = (-precision * distance).exp();
        (sum + weight, weighted + weight * distance)
    });
    sum.ln() + precision * weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn distances_are_squared_and_scaled() {
        let distances = squared_distances(&array![[0.0_f32, 0.0], [3.0, 4.0], [0.0, -4.0]].view());
        assert_eq!(distances, array![[0.0, 25.0, 16.0], [25.0, 0.0, 73.0], [16.0, 73.0, 0.0]] / 16.0);
    }

    #[test]
    fn the_perplexity_is_met() {
        for perplexity in [1.5, 4.0, 11.0] {
            let mut p: Vec<f64> = (0..36).map(|other| f64::from(other * other % 37) + 1000.0).collect();
            conditional(&mut p, perplexity);
            let entropy: f64 = -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
            assert!((entropy.exp() - perplexity).abs() < 1e-7, "{perplexity}: {}", entropy.exp());
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn two_near_and_one_far_by_hand() {
        // Perplexity 2 of weights 1, 1, w: met only as w goes to 0.
        let mut p = vec![1.0, 1.0, 5.0];
        conditional(&mut p, 2.0);
        assert!((p[0] - 0.5).abs() < 1e-6 && p[2] < 1e-6);
        // More than the two nearest can give: their share is limited by their number.
        let mut equal = vec![3.0, 3.0, 3.0, 9.0];
        conditional(&mut equal, 1.0);
        assert!((equal[0] - 1.0 / 3.0).abs() < 1e-9 && equal[3] < 1e-9);
    }
}
