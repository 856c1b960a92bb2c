//! The directions in which rows of numbers vary most.
//!
//! Orthogonal iteration (Golub and Van Loan, *Matrix Computations*, 4th edition, §8.2.4) on the covariance: a decomposition of all directions
//! is not needed to find the few that are kept.

use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Multiplications by the covariance. What is not yet sorted out after them are directions of nearly the same variance.
const ITERATIONS: usize = 12;
/// A direction of which so small a share is new is none.
const NOTHING_NEW: f64 = 1e-10;

/// An orthonormal basis of (nearly) the `count` directions with the most variance, fewer where the rows have fewer.
///
/// The start is drawn with a fixed seed, so that the same rows give the same bits.
///
/// # Shapes
/// `centred` `[N, D]`, each column with a mean of 0 → `[P, D]`, `P ≤ min(count, N − 1, D)`.
pub(crate) fn principal_components(centred: ArrayView2<'_, f64>, count: usize) -> Array2<f64> {
    let (rows, columns) = centred.dim();
    let count = count.min(rows.saturating_sub(1)).min(columns);
    let covariance = centred.t().dot(&centred); // [D, D], but for a factor
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut uniform = || (rng.next_u64() >> 11) as f64 * 2.0_f64.powi(-52) - 1.0;
    let mut basis = orthonormal(Array2::from_shape_simple_fn((count, columns), &mut uniform));
    for _ in 0..ITERATIONS {
        basis = orthonormal(basis.dot(&covariance)); // [P, D]
    }
    basis
}

/// The rows made orthogonal and of length 1 by Gram and Schmidt, twice over each; those that say nothing new are left out.
fn orthonormal(rows: Array2<f64>) -> Array2<f64> {
    let (count, columns) = rows.dim();
    let mut kept: Array2<f64> = Array2::zeros((count, columns));
    let mut length = 0;
    for row in rows.rows() {
        let mut new = row.to_owned();
        let before = new.dot(&new).sqrt();
        for _ in 0..2 {
            for known in kept.rows().into_iter().take(length) {
                let share = known.dot(&new);
                new.scaled_add(-share, &known);
            }
        }
        let after = new.dot(&new).sqrt();
        if after > NOTHING_NEW * before && after.is_normal() {
            kept.row_mut(length).assign(&(new / after));
            length += 1;
        }
    }
    kept.slice_axis_inplace(Axis(0), (..length).into());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directions_that_vary_most_are_found() {
        // Variances 100, 25 and hardly any, along axes that are turned by 45 degrees in the plane of the first two.
        let half = 0.5_f64.sqrt();
        let rows = Array2::from_shape_fn((60, 3), |(n, column)| {
            let (a, b) = (10.0 * (n as f64 * 1.7).sin(), 5.0 * (n as f64 * 2.9).cos());
            [half * (a + b), half * (a - b), 1e-3 * (n as f64).sin()][column]
        });
        let means = rows.mean_axis(Axis(0)).unwrap();
        let centred = &rows - &means;
        let basis = principal_components(centred.view(), 2);
        assert_eq!(basis.dim(), (2, 3));
        assert!(basis.column(2).iter().all(|part| part.abs() < 1e-3), "{basis}");
        let gram = basis.dot(&basis.t());
        assert!((&gram - &Array2::<f64>::eye(2)).iter().all(|difference| difference.abs() < 1e-12), "{gram}");
        let left = &centred - &centred.dot(&basis.t()).dot(&basis);
        assert!(left.iter().all(|part| part.abs() < 1e-2));
        assert_eq!(basis, principal_components(centred.view(), 2));
        // There are no more directions than rows, or than columns vary.
        assert_eq!(principal_components(centred.slice_axis(Axis(0), (..2).into()), 3).nrows(), 1);
        let flat = Array2::from_shape_fn((9, 4), |(n, column)| if column == 1 { n as f64 - 4.0 } else { 0.0 });
        assert_eq!(principal_components(flat.view(), 3).nrows(), 1);
        assert_eq!(principal_components(Array2::zeros((9, 4)).view(), 3).nrows(), 0);
    }
}
