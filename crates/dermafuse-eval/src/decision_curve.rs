use dermafuse_schema::Predictions;
use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::figure::{Series, line_chart};
use crate::metrics::check;

/// Below this net benefit nothing is drawn: the curve of treating everybody falls without end.
const LOWEST: f64 = -0.05;

/// What deciding by a class's probability is worth, against treating everybody and nobody.
///
/// Who would treat from a probability `t` on holds a case that is missed to be `(1 − t) / t` times as bad as one that is treated in vain.
/// The net benefit of a model at that threshold is `TP / N − FP / N · t / (1 − t)`: found cases in a hundred, less those treated in
/// vain at that exchange rate. A model is of use where its curve lies above both others. It asks for probabilities that come true.
///
/// Source: Vickers, Elkin, "Decision curve analysis", Medical Decision Making 26, 2006.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionCurve {
    /// Name of the task.
    pub task: String,
    /// The class that is treated.
    pub class: String,
    /// Annotated cases.
    pub cases: usize,
    /// Those that are of the class.
    pub positives: usize,
    /// By rising threshold.
    pub points: Vec<NetBenefit>,
}

/// The net benefit at one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetBenefit {
    /// The probability from which on somebody is treated, above 0 and below 1.
    pub threshold: f64,
    /// Of treating those of at least this probability.
    pub model: f64,
    /// Of treating everybody. That of treating nobody is 0.
    pub all: f64,
}

impl NetBenefit {
    /// Of `(probability, is positive)` pairs; `None` without any.
    ///
    /// # Panics
    /// If the threshold is not above 0 and below 1.
    #[must_use]
    pub fn at(threshold: f64, scores: &[(f64, bool)]) -> Option<Self> {
        assert!(threshold > 0.0 && threshold < 1.0, "{threshold} is no threshold");
        let n = scores.len() as f64;
        let positives = scores.iter().filter(|(_, positive)| *positive).count() as f64;
        let treated =
            |kind: bool| scores.iter().filter(|(p, positive)| *p >= threshold && *positive == kind).count() as f64;
        let rate = threshold / (1.0 - threshold);
        let model = (treated(true) - treated(false) * rate) / n;
        (!scores.is_empty()).then(|| Self { threshold, model, all: (positives - (n - positives) * rate) / n })
    }
}

impl DecisionCurve {
    /// The curve of a class of a task, at thresholds from 1 to 99 %; `None` without annotated cases.
    ///
    /// # Errors
    /// Predictions that cannot be evaluated.
    ///
    /// # Panics
    /// If the task or the class is out of range.
    pub fn of(predictions: &Predictions, task: usize, class: usize) -> Result<Option<Self>, EvalError> {
        check(predictions)?;
        let scores: Vec<(f64, bool)> = (0..predictions.len())
            .filter_map(|case| {
                let label = predictions.labels[case][task]?;
                Some((predictions.probabilities[task][[case, class]], label == class))
            })
            .collect();
        let points = (1..100).filter_map(|percent| NetBenefit::at(f64::from(percent) / 100.0, &scores)).collect();
        let of = &predictions.tasks[task];
        Ok((!scores.is_empty()).then(|| Self {
            task: of.name.clone(),
            class: of.classes[class].clone(),
            cases: scores.len(),
            positives: scores.iter().filter(|(_, positive)| *positive).count(),
            points,
        }))
    }

    /// Its picture, as SVG.
    #[must_use]
    pub fn chart(&self) -> String {
        let series = |name: &str, value: &dyn Fn(&NetBenefit) -> f64| Series {
            name: name.into(),
            points: self
                .points
                .iter()
                .map(|point| {
                    let value = value(point);
                    (100.0 * point.threshold, if value < LOWEST { f64::NAN } else { 100.0 * value })
                })
                .collect(),
        };
        let lines = [
            series("the model", &|point| point.model),
            series("treat everybody", &|point| point.all),
            series("treat nobody", &|_| 0.0),
        ];
        line_chart(&format!("Decision curve, {}", self.class), "threshold, per cent", "net benefit, per cent", &lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::{Task, TaskSet};
    use ndarray::array;

    #[test]
    fn found_cases_less_those_treated_in_vain_by_hand() {
        let scores = [(0.9, true), (0.6, false), (0.3, true), (0.1, false)];
        // One found, none in vain; at 0.2 two found and one in vain at a rate of 1 to 4.
        assert_eq!(NetBenefit::at(0.8, &scores).unwrap().model, 0.25);
        let low = NetBenefit::at(0.2, &scores).unwrap();
        assert!((low.model - (2.0 - 0.25) / 4.0).abs() < 1e-12 && (low.all - (2.0 - 2.0 * 0.25) / 4.0).abs() < 1e-12);
        // Below every probability, a model treats everybody.
        let lowest = NetBenefit::at(0.05, &scores).unwrap();
        assert_eq!(lowest.model, lowest.all);
        assert_eq!(NetBenefit::at(0.5, &[]), None);
    }

    #[test]
    fn a_curve_has_a_picture() {
        let predictions = Predictions {
            tasks: TaskSet::new(vec![Task::new("m", "M", ["benign", "malignant"])]).unwrap(),
            ids: (0..3).map(|case| case.to_string().into()).collect(),
            labels: vec![vec![Some(1)], vec![Some(0)], vec![None]],
            probabilities: vec![array![[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]]],
            basis: vec!["clinical".into(); 3],
        };
        let curve = DecisionCurve::of(&predictions, 0, 1).unwrap().unwrap();
        assert_eq!((curve.class.as_str(), curve.cases, curve.positives, curve.points.len()), ("malignant", 2, 1, 99));
        let svg = curve.chart();
        assert!(svg.contains("Decision curve, malignant") && svg.contains("treat everybody") && !svg.contains("NaN"));
        let mut none = predictions;
        none.labels.iter_mut().for_each(|labels| labels[0] = None);
        assert_eq!(DecisionCurve::of(&none, 0, 1).unwrap(), None);
    }
}
