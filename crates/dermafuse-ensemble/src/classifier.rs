//! The closed list of classifiers: described as data, chosen at run time.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "onnx")]
use dermafuse_onnx_graph::{Graph, Value};
use dermafuse_schema::SettingFault;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::ada_boost::{AdaBoostClassifier, AdaBoostParams};
use crate::calibration_note::CalibrationNote;
use crate::error::Result;
use crate::gradient_boosting::{GradientBoostingClassifier, GradientBoostingParams};
use crate::logistic::{LogisticClassifier, LogisticParams};
use crate::mlp::{MlpClassifier, MlpParams};
use crate::svm::{SvmClassifier, SvmParams};

/// The labelled records of one task, for [`FitClassifier::fit`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskRecords<'a> {
    /// `[N, F]`
    pub(crate) records: ArrayView2<'a, f64>,
    /// `[N]` below `classes`.
    pub(crate) labels: &'a [usize],
    pub(crate) classes: usize,
    /// `[N]` patients or lesions, which are kept together where a classifier divides the records.
    pub(crate) groups: &'a [String],
}

/// What the parameters of a classifier do.
pub(crate) trait FitClassifier: Sized {
    /// The classifier when it is fitted.
    type Fitted: FittedClassifier;

    /// The paper's parameters; `seed` is for what is drawn.
    fn published(seed: u64) -> Self;

    /// # Errors
    /// Parameters out of range, fewer than two records, a feature that is not finite, a label out of range.
    fn fit_to(&self, task: TaskRecords<'_>) -> Result<Self::Fitted>;
}

/// What a fitted classifier does.
pub(crate) trait FittedClassifier {
    /// `[N, F]` to `[N, classes]` probabilities.
    fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>>;
    /// Number of classes, absent ones included.
    fn classes(&self) -> usize;
    /// Classes that had records, ascending.
    fn present(&self) -> &[usize];
    /// Number of features of a record.
    fn features(&self) -> usize;

    /// `[N, F]` records of 64-bit floats in a graph to `[N, classes]` probabilities, computed as by `predict`.
    #[cfg(feature = "onnx")]
    fn add_to(&self, graph: &mut Graph, records: Value) -> Value;

    /// Records that are a support vector, if the classifier is made of some.
    fn support_vectors(&self) -> Option<usize> {
        None
    }

    /// Classes whose probabilities could not be calibrated as was asked.
    fn calibration(&self, _classes: &[String]) -> Vec<CalibrationNote> {
        Vec::new()
    }

    /// Pairs of classes that an earlier version of this crate calibrated the wrong way round.
    fn turned_round(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }
}

/// Turns the table of classifiers into [`ClassifierKind`], [`ClassifierParams`] and [`Classifier`].
macro_rules! built_in {
    ($($(#[doc = $description:literal])+ $kind:ident $name:literal = $params:ident -> $fitted:ident;)+) => {
        /// The kinds of classifiers a cluster can consist of; as text (and in files) by their names.
        ///
        /// ```
        /// use dermafuse_ensemble::ClassifierKind;
        ///
        /// assert_eq!("svm".parse(), Ok(ClassifierKind::Svm));
        /// let error = "forest".parse::<ClassifierKind>().unwrap_err().to_string();
        /// assert_eq!(error, "there is no classifier `forest`; the classifiers are svm, logistic, mlp, adaboost, gradient_boosting");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum ClassifierKind {$(
            $(#[doc = $description])+
            #[serde(rename = $name)]
            $kind,
        )+}

        impl ClassifierKind {
            const COUNT: usize = [$(Self::$kind),+].len();

            /// Every kind, the paper's choice first.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$kind),+];

            /// The name, e.g. `svm`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$kind => $name,)+}
            }
        }

        /// Parameters of one classifier of any kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum ClassifierParams {$(
            $(#[doc = $description])+
            #[serde(rename = $name)]
            $kind($params),
        )+}

        impl ClassifierParams {
            /// The paper's parameters; `seed` is that of the calibration folds or of the first weights.
            #[must_use]
            pub fn new(kind: ClassifierKind, seed: u64) -> Self {
                match kind {$(ClassifierKind::$kind => Self::$kind($params::published(seed)),)+}
            }

            /// Which kind these are parameters of.
            #[must_use]
            pub fn kind(&self) -> ClassifierKind {
                match self {$(Self::$kind(_) => ClassifierKind::$kind,)+}
            }

            /// Checks the parameters, before there is anything to fit them to.
            ///
            /// # Errors
            /// One that is out of range, such as `logistic.c`.
            pub fn check(&self) -> std::result::Result<(), SettingFault> {
                let check = match self {$(Self::$kind(params) => params.check(),)+};
                check.map_err(|fault| fault.under(self.kind().name()))
            }

            pub(crate) fn fit(&self, task: TaskRecords<'_>) -> Result<Classifier> {
                match self {$(Self::$kind(params) => params.fit_to(task).map(Classifier::$kind),)+}
            }
        }

        /// A fitted classifier of any kind.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Classifier {$(
            $(#[doc = $description])+
            #[serde(rename = $name)]
            $kind($fitted),
        )+}

        impl Classifier {
            pub(crate) fn inner(&self) -> &dyn FittedClassifier {
                match self {$(Self::$kind(classifier) => classifier,)+}
            }
        }
    };
}

// A new classifier is a row: description, name, its parameters, which have a `check`, and what they fit.
built_in! {
    /// A support vector machine, the paper's choice.
    Svm "svm" = SvmParams -> SvmClassifier;
    /// A logistic regression.
    Logistic "logistic" = LogisticParams -> LogisticClassifier;
    /// A perceptron.
    Mlp "mlp" = MlpParams -> MlpClassifier;
    /// AdaBoost over small trees.
    AdaBoost "adaboost" = AdaBoostParams -> AdaBoostClassifier;
    /// Gradient-boosted trees.
    GradientBoosting "gradient_boosting" = GradientBoostingParams -> GradientBoostingClassifier;
}

impl Default for ClassifierKind {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl fmt::Display for ClassifierKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A name that no classifier has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no classifier `{name}`; the classifiers are {}", ClassifierKind::ALL.map(ClassifierKind::name).join(", "))]
pub struct UnknownClassifier {
    /// The name.
    pub name: String,
}

impl FromStr for ClassifierKind {
    type Err = UnknownClassifier;

    fn from_str(name: &str) -> std::result::Result<Self, UnknownClassifier> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| UnknownClassifier { name: name.to_owned() })
    }
}

impl Classifier {
    /// Class probabilities.
    ///
    /// # Shapes
    /// `[N, F]` to `[N, classes]`.
    ///
    /// # Errors
    /// Records of another width, or a feature that is not finite.
    pub fn predict(&self, records: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.inner().predict(records)
    }

    /// Number of classes, absent ones included.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.inner().classes()
    }

    /// Classes that had records, ascending; the others have probability 0.
    #[must_use]
    pub fn present(&self) -> &[usize] {
        self.inner().present()
    }

    /// Number of features of a record.
    #[must_use]
    pub fn features(&self) -> usize {
        self.inner().features()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EnsembleError;

    #[test]
    fn a_kind_has_one_name_in_text_and_in_files() {
        for kind in ClassifierKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            let params = ClassifierParams::new(kind, 3);
            assert_eq!(params.kind(), kind);
            let written = serde_json::to_value(&params).unwrap();
            assert!(written.get(kind.name()).is_some(), "{written}");
            assert_eq!(serde_json::from_value::<ClassifierParams>(written).unwrap(), params);
        }
        assert_eq!(ClassifierKind::default(), ClassifierKind::Svm);
    }

    #[test]
    fn every_kind_learns_two_clouds() {
        let records = Array2::from_shape_fn((40, 2), |(n, f)| (n % 2) as f64 * 3.0 + (n * (f + 3) % 7) as f64 / 7.0);
        let labels: Vec<usize> = (0..40).map(|n| 2 * (n % 2)).collect();
        let groups: Vec<String> = (0..40).map(|n| format!("patient {}", n / 2)).collect();
        for kind in ClassifierKind::ALL {
            let task = TaskRecords { records: records.view(), labels: &labels, classes: 3, groups: &groups };
            let fitted = ClassifierParams::new(kind, 1).fit(task).unwrap();
            assert_eq!((fitted.classes(), fitted.present(), fitted.features()), (3, &[0, 2][..], 2), "{kind}");
            let predicted = fitted.predict(records.view()).unwrap();
            assert_eq!(predicted.dim(), (40, 3));
            for (row, &label) in predicted.rows().into_iter().zip(&labels) {
                assert!((row.sum() - 1.0).abs() < 1e-9 && row[1] == 0.0 && row[label] > 0.5, "{kind}: {row}");
            }
            let fails = ClassifierParams::new(kind, 1).fit(TaskRecords { classes: 2, ..task }).unwrap_err();
            assert!(matches!(fails, EnsembleError::Label { label: 2, classes: 2, .. }), "{kind}: {fails}");
        }
    }
}
