use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::EvalError;
use dermafuse_schema::SchemaError;

/// How often each true class was predicted as each class: `[K, K]` counts, rows are the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<usize>>", into = "Vec<Vec<usize>>")]
pub struct ConfusionMatrix {
    counts: Array2<usize>,
}

/// The four counts of one class against the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneVsRest {
    /// Cases of the class that were predicted as it.
    pub true_positives: usize,
    /// Cases of other classes that were predicted as it.
    pub false_positives: usize,
    /// Cases of the class that were predicted as another.
    pub false_negatives: usize,
    /// Cases of other classes that were predicted as another class than this one.
    pub true_negatives: usize,
}

impl ConfusionMatrix {
    /// Counts `(truth, predicted)` pairs of a task of `classes` classes.
    ///
    /// # Errors
    /// A class out of range.
    pub fn of(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Result<Self, EvalError> {
        let mut counts = Array2::zeros((classes, classes));
        for (truth, predicted) in pairs {
            let cell = counts.get_mut([truth, predicted]).ok_or(SchemaError::Number {
                what: "class of a confusion matrix".into(),
                value: truth.max(predicted) as f64,
                expected: "below the number of classes",
            })?;
            *cell += 1;
        }
        Ok(Self { counts })
    }

    /// `[K, K]` counts, rows are the truth.
    #[must_use]
    pub fn counts(&self) -> &Array2<usize> {
        &self.counts
    }

    /// Number of classes `K`.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.counts.nrows()
    }

    /// Number of cases.
    #[must_use]
    pub fn total(&self) -> usize {
        self.counts.sum()
    }

    /// How many cases are truly of the class.
    ///
    /// # Panics
    /// If the class is out of range.
    #[must_use]
    pub fn support(&self, class: usize) -> usize {
        self.counts.row(class).sum()
    }

    /// How many cases were predicted as the class.
    ///
    /// # Panics
    /// If the class is out of range.
    #[must_use]
    pub fn predicted(&self, class: usize) -> usize {
        self.counts.column(class).sum()
    }

    /// The class against the rest.
    ///
    /// # Panics
    /// If the class is out of range.
    #[must_use]
    pub fn one_vs_rest(&self, class: usize) -> OneVsRest {
        let true_positives = self.counts[[class, class]];
        let false_positives = self.predicted(class) - true_positives;
        let false_negatives = self.support(class) - true_positives;
        let true_negatives = self.total() - true_positives - false_positives - false_negatives;
        OneVsRest { true_positives, false_positives, false_negatives, true_negatives }
    }

    /// `[K, K]` fractions of each row; the row of a class without cases is 0.
    #[must_use]
    pub fn row_normalized(&self) -> Array2<f64> {
        Array2::from_shape_fn(self.counts.dim(), |(truth, predicted)| {
            ratio(self.counts[[truth, predicted]], self.support(truth)).unwrap_or(0.0)
        })
    }
}

/// A quotient of counts; `None` for a denominator of 0.
pub(crate) fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl From<ConfusionMatrix> for Vec<Vec<usize>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.counts.rows().into_iter().map(|row| row.to_vec()).collect()
    }
}

impl TryFrom<Vec<Vec<usize>>> for ConfusionMatrix {
    type Error = EvalError;

    fn try_from(rows: Vec<Vec<usize>>) -> Result<Self, EvalError> {
        let classes = rows.len();
        if let Some(row) = rows.iter().find(|row| row.len() != classes) {
            let (what, expected) = ("row of a confusion matrix".into(), vec![classes]);
            return Err(SchemaError::Shape { what, expected, found: vec![row.len()] }.into());
        }
        Ok(Self { counts: Array2::from_shape_fn((classes, classes), |(row, column)| rows[row][column]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_are_the_truth() {
        let matrix = ConfusionMatrix::of(3, [(0, 0), (0, 1), (0, 1), (1, 1)]).unwrap();
        assert_eq!(matrix.counts(), array![[1, 2, 0], [0, 1, 0], [0, 0, 0]]);
        assert_eq!(matrix.row_normalized().row(0).to_vec(), [1.0 / 3.0, 2.0 / 3.0, 0.0]);
        assert_eq!(matrix.row_normalized().row(2).to_vec(), [0.0; 3]);
        let of_one = matrix.one_vs_rest(1);
        assert_eq!(of_one, OneVsRest { true_positives: 1, false_positives: 2, false_negatives: 0, true_negatives: 1 });
        assert!(ConfusionMatrix::of(2, [(0, 2)]).is_err());
    }

    #[test]
    fn a_matrix_that_is_not_square_is_not_read() {
        let matrix = ConfusionMatrix::of(2, [(0, 1)]).unwrap();
        let text = serde_json::to_string(&matrix).unwrap();
        assert_eq!(text, "[[0,1],[0,0]]");
        assert_eq!(serde_json::from_str::<ConfusionMatrix>(&text).unwrap(), matrix);
        assert!(serde_json::from_str::<ConfusionMatrix>("[[0,1],[0]]").is_err());
    }
}
