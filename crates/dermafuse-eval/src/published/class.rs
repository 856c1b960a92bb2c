use serde::{Deserialize, Serialize};

use super::Printed;

/// The printed scores of one class, in per cent. A score that is not printed is `None`. In files
/// `{ sensitivity = 61.4, specificity = 88.8, precision = 65.3, auc = 86.3 }`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedClass {
    /// AUC of the class against the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Printed>,
    /// Accuracy of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Printed>,
    /// Sensitivity, which is its recall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Printed>,
    /// Specificity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<Printed>,
    /// Precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Printed>,
    /// F1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<Printed>,
}
