mod affinities;
mod descent;

use dermafuse_schema::SchemaError;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::figure::ScatterPoint;

/// t-SNE: places cases on a plane so that neighbours in feature space stay neighbours.
///
/// Distances between groups and the sizes of groups mean nothing in such a picture; it shows who is next to whom.
///
/// Exact, without a tree: time and memory grow with the square of the number of cases (8 N² bytes). 2000 cases of 2048
/// features take about a quarter of a minute on one core, 5000 a minute and a half. The same seed gives the same picture on the same
/// platform.
///
/// # Source
/// van der Maaten, Hinton, "Visualizing data using t-SNE", JMLR 9, 2008; gains, start and switch of momentum as in its
/// authors' program and scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TSne {
    /// About how many neighbours each case has.
    pub perplexity: f64,
    /// How many times too strong the attraction is for the first 250 iterations.
    pub early_exaggeration: f64,
    /// Steps of gradient descent.
    pub iterations: usize,
    /// Size of a step.
    pub learning_rate: f64,
    /// Seed of the start.
    pub seed: u64,
}

impl Default for TSne {
    /// Perplexity 30, exaggeration 12, 1000 iterations, learning rate 200, seed 0.
    fn default() -> Self {
        Self { perplexity: 30.0, early_exaggeration: 12.0, iterations: 1000, learning_rate: 200.0, seed: 0 }
    }
}

/// Places of cases on a plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// `[N]` the place of each case; the mean is the origin.
    pub points: Vec<(f64, f64)>,
    /// Kullback-Leibler divergence, in nats, of the neighbourhoods on the plane from those in feature space; the less,
    /// the better the picture.
    pub divergence: f64,
}

impl TSne {
    /// Places `[N, D]` features, as they are: standardise them before if their units differ.
    ///
    /// # Errors
    /// A perplexity below 1 or above (N − 1)/3, a feature or a setting that is not finite.
    ///
    /// ```
    /// use dermafuse_eval::TSne;
    /// use dermafuse_schema::ndarray::Array2;
    ///
    /// let features = Array2::from_shape_fn((40, 8), |(case, feature)| ((case * feature) % 7) as f32);
    /// let embedding = TSne { perplexity: 5.0, iterations: 50, ..TSne::default() }.embed(&features.view())?;
    /// assert_eq!(embedding.points.len(), 40);
    /// assert!(TSne::default().embed(&features.view()).is_err());
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    pub fn embed<F: Copy + Into<f64>>(&self, features: &ArrayView2<'_, F>) -> Result<Embedding, EvalError> {
        for (what, value) in [("early exaggeration", self.early_exaggeration), ("learning rate", self.learning_rate)] {
            if !(value > 0.0 && value.is_finite()) {
                let (what, expected) = (format!("t-SNE {what}"), "positive");
                return Err(SchemaError::Number { what, value, expected }.into());
            }
        }
        Ok(descent::descend(self, &self.affinities(features)?))
    }

    /// `[N, N]` how much each pair of cases are neighbours in feature space: symmetric, zero on the diagonal, of sum 1.
    ///
    /// # Errors
    /// As [`TSne::embed`].
    pub fn affinities<F: Copy + Into<f64>>(&self, features: &ArrayView2<'_, F>) -> Result<Array2<f64>, EvalError> {
        let points = features.nrows();
        let most = points.saturating_sub(1) as f64 / 3.0;
        if !(1.0..=most).contains(&self.perplexity) {
            return Err(EvalError::Perplexity { perplexity: self.perplexity, points });
        }
        for ((row, column), &value) in features.indexed_iter() {
            let value: f64 = value.into();
            if !value.is_finite() {
                let what = format!("feature {column} of row {row}");
                return Err(SchemaError::Number { what, value, expected: "finite" }.into());
            }
        }
        Ok(affinities::joint(features, self.perplexity))
    }
}

impl Embedding {
    /// The points with the class of each case, for [`figure::scatter_plot`](crate::figure::scatter_plot).
    ///
    /// # Errors
    /// Classes that are not as many as points.
    pub fn with_classes(&self, classes: &[Option<usize>]) -> Result<Vec<ScatterPoint>, EvalError> {
        if classes.len() != self.points.len() {
            let (expected, found) = (vec![self.points.len()], vec![classes.len()]);
            return Err(SchemaError::Shape { what: "classes of an embedding".into(), expected, found }.into());
        }
        Ok(self.points.iter().zip(classes).map(|(&at, &class)| ScatterPoint { at, class }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Three groups of 40 cases in ten dimensions, far apart.
    fn blobs() -> Array2<f64> {
        let mut random = SplitMix64(5);
        Array2::from_shape_fn((120, 10), |(case, feature)| {
            random.normal_pair().0 + if feature == case / 40 { 20.0 } else { 0.0 }
        })
    }

    #[test]
    fn groups_stay_together_and_the_same_seed_gives_the_same_picture() {
        let tsne = TSne { iterations: 400, ..TSne::default() };
        let embedding = tsne.embed(&blobs().view()).unwrap();
        let distance = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2);
        let pure = (0..120).filter(|&case| {
            let others = (0..120).filter(|&other| other != case);
            let to = |other: &usize| distance(embedding.points[case], embedding.points[*other]);
            let nearest = others.min_by(|a, b| to(a).total_cmp(&to(b))).unwrap();
            nearest / 40 == case / 40
        });
        assert_eq!(pure.count(), 120);
        assert!(embedding.divergence < 0.6, "{}", embedding.divergence);
        assert_eq!(tsne.embed(&blobs().view()).unwrap(), embedding);
        let other = TSne { seed: 1, ..tsne }.embed(&blobs().view()).unwrap();
        assert_ne!(other.points, embedding.points);
        let mean = embedding.points.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0 / 120.0, sum.1 + at.1 / 120.0));
        assert!(mean.0.abs() < 1e-9 && mean.1.abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_placed_is_an_error() {
        let error = |tsne: TSne, features: &Array2<f64>| tsne.embed(&features.view()).unwrap_err().to_string();
        let text = error(TSne { perplexity: 40.0, ..TSne::default() }, &blobs());
        assert_eq!(text, "a perplexity of 40 needs to be at least 1 and at most a third of the other points, of 120");
        for perplexity in [0.5, f64::NAN, f64::INFINITY] {
            assert!(TSne { perplexity, ..TSne::default() }.embed(&blobs().view()).is_err());
        }
        assert!(TSne::default().embed(&Array2::<f32>::zeros((0, 4)).view()).is_err());
        let mut features = blobs();
        features[[7, 3]] = f64::NAN;
        assert_eq!(error(TSne::default(), &features), "feature 3 of row 7: NaN is not finite");
        let text = error(TSne { learning_rate: 0.0, ..TSne::default() }, &blobs());
        assert_eq!(text, "t-SNE learning rate: 0 is not positive");
    }

    #[test]
    fn cases_that_are_all_the_same_are_placed() {
        let tsne = TSne { perplexity: 5.0, iterations: 300, ..TSne::default() };
        let embedding = tsne.embed(&Array2::from_elem((30, 3), 0.25_f32).view()).unwrap();
        assert!(embedding.points.iter().all(|at| at.0.is_finite() && at.1.is_finite()));
        assert!(embedding.divergence.is_finite());
    }

    #[test]
    fn each_point_gets_its_class() {
        let embedding = Embedding { points: vec![(0.0, 1.0), (2.0, 3.0)], divergence: 0.1 };
        let points = embedding.with_classes(&[Some(4), None]).unwrap();
        assert_eq!((points[0].at, points[0].class, points[1].class), ((0.0, 1.0), Some(4), None));
        assert!(embedding.with_classes(&[None]).is_err());
    }
}
