//! Maps of numbers in another size.

use ndarray::{Array2, ArrayView2};

/// The map in another size: bilinear, pixel centres keep their place.
///
/// # Shapes
/// `[h, w]`, not empty → `[H, W]`.
///
/// ```
/// use dermafuse_schema::{ndarray::array, stretched};
///
/// assert_eq!(stretched(array![[2.0, 6.0]].view(), [2, 4]), array![[2.0, 3.0, 5.0, 6.0], [2.0, 3.0, 5.0, 6.0]]);
/// ```
#[must_use]
pub fn stretched(map: ArrayView2<'_, f64>, [height, width]: [usize; 2]) -> Array2<f64> {
    let (rows, columns) = map.dim();
    let (down, across) = (places(rows, height), places(columns, width));
    let between = |a: f64, b: f64, part: f64| a + part * (b - a);
    Array2::from_shape_fn((height, width), |(row, column)| {
        let ((top, bottom, low), (left, right, part)) = (down[row], across[column]);
        let upper = between(map[[top, left]], map[[top, right]], part);
        let lower = between(map[[bottom, left]], map[[bottom, right]], part);
        between(upper, lower, low)
    })
}

/// For each new pixel the two old ones that it lies between, and how far it is from the first.
fn places(from: usize, to: usize) -> Vec<(usize, usize, f64)> {
    let place = |index: usize| {
        let place = ((index as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        let first = place.floor() as usize;
        (first, (first + 1).min(from - 1), place - first as f64)
    };
    (0..to).map(place).collect()
}
