use dermafuse_schema::SchemaError;
use ndarray::{ArrayView2, Zip};

use crate::EvalError;

/// How well a heat map points at what is known to matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pointing {
    /// Share of the heat that lies inside, 0 to 1.
    pub share: f64,
    /// Share of the pixels that are inside: the share of heat that chance gives.
    pub area: f64,
    /// Whether the hottest pixel (the first of equals) lies inside: the pointing game of Zhang et al., ECCV 2016.
    pub hit: bool,
}

impl Pointing {
    /// Holds a heat map against a mask; `None` where there is no heat or nothing inside.
    ///
    /// # Shapes
    /// `[H, W]` both; heat is at least 0.
    ///
    /// # Errors
    /// Two sizes; heat that is negative or not finite.
    ///
    /// ```
    /// use dermafuse_eval::Pointing;
    /// use dermafuse_schema::ndarray::array;
    ///
    /// let (heat, lesion) = (array![[0.0, 0.9], [0.1, 0.2]], array![[false, true], [false, false]]);
    /// let pointing = Pointing::of(heat.view(), lesion.view())?.expect("there is heat");
    /// assert!((pointing.share - 0.75).abs() < 1e-6);
    /// assert_eq!((pointing.area, pointing.hit), (0.25, true));
    /// assert!((pointing.lift() - 3.0).abs() < 1e-5);
    /// # Ok::<(), dermafuse_eval::EvalError>(())
    /// ```
    pub fn of(heat: ArrayView2<'_, f32>, inside: ArrayView2<'_, bool>) -> Result<Option<Self>, EvalError> {
        if heat.dim() != inside.dim() {
            let (expected, found) = (inside.shape().to_vec(), heat.shape().to_vec());
            return Err(SchemaError::Shape { what: "heat map".into(), expected, found }.into());
        }
        if let Some(&value) = heat.iter().find(|value| !(value.is_finite() && **value >= 0.0)) {
            let what = "heat".into();
            return Err(SchemaError::Number { what, value: value.into(), expected: "finite and at least 0" }.into());
        }
        let (mut total, mut within, mut pixels) = (0.0, 0.0, 0_usize);
        let mut hottest = (f32::NEG_INFINITY, false);
        Zip::from(&heat).and(&inside).for_each(|&heat, &inside| {
            total += f64::from(heat);
            if inside {
                within += f64::from(heat);
                pixels += 1;
            }
            if heat > hottest.0 {
                hottest = (heat, inside);
            }
        });
        let area = pixels as f64 / inside.len().max(1) as f64;
        Ok((total > 0.0 && pixels > 0).then(|| Self { share: within / total, area, hit: hottest.1 }))
    }

    /// How many times more heat lies inside than chance would put there; 1 is chance.
    #[must_use]
    pub fn lift(&self) -> f64 {
        self.share / self.area
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn no_heat_points_nowhere_and_even_heat_by_chance() {
        let inside = array![[true, false], [false, false]];
        assert_eq!(Pointing::of(array![[0.0, 0.0], [0.0, 0.0]].view(), inside.view()).unwrap(), None);
        let even = Pointing::of(array![[0.5, 0.5], [0.5, 0.5]].view(), inside.view()).unwrap().unwrap();
        assert_eq!((even.share, even.lift()), (0.25, 1.0));
        let nothing = array![[false, false], [false, false]];
        assert_eq!(Pointing::of(array![[1.0, 0.0], [0.0, 0.0]].view(), nothing.view()).unwrap(), None);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let inside = array![[true, false]];
        let error = Pointing::of(array![[1.0, 0.0, 0.0]].view(), inside.view()).unwrap_err().to_string();
        assert!(error.contains("heat map"), "{error}");
        let error = Pointing::of(array![[1.0, f32::NAN]].view(), inside.view()).unwrap_err().to_string();
        assert!(error.contains("finite and at least 0"), "{error}");
    }
}
