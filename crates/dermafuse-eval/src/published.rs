//! Numbers printed in the literature, to stand beside ours where data and protocol are the same. They come with the recipes.

mod class;
mod printed;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use class::PublishedClass;
pub use printed::Printed;

/// One printed table of methods on one data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedTable {
    /// Paper and table, such as `Tang et al., thesis Table 6.9`.
    pub source: String,
    /// The data set, by the name that its loader gives it.
    pub data: String,
    /// The cases, how they were divided, and what the numbers are.
    pub protocol: String,
    /// How many runs a number is the mean of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
    /// The p-value of Friedman's test of the methods, where it is printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friedman_p: Option<f64>,
    /// The p-values of Wilcoxon's test of pairs, by the names of both methods; each pair once, as printed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wilcoxon: BTreeMap<String, BTreeMap<String, f64>>,
    /// A contradiction or misprint of this table, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The methods; none in a table of tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<PublishedRow>,
}

/// A method in a [`PublishedTable`]; scores are means over the tasks, in per cent. A score that is not printed is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedRow {
    /// Its name: that of the recipe's row where it is that method, and as printed otherwise.
    pub name: String,
    /// Accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Printed>,
    /// Balanced accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<Printed>,
    /// AUC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Printed>,
    /// F1, each class alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<Printed>,
    /// F1, each class by its number of cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighted_f1: Option<Printed>,
    /// Sensitivity, the mean over classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Printed>,
    /// Specificity, the mean over classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<Printed>,
    /// Precision, the mean over classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Printed>,
    /// Parameters in millions; they may count classifiers of ImageNet that nothing uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<f64>,
    /// The accuracy of each task, by its short heading.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, Printed>,
    /// The scores of each class, by its name; among several tasks by task and class, such as `PN ABS` or `DIAG MEL`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, PublishedClass>,
    /// The weight of each branch in per cent, by the branch's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, Printed>,
    /// What else is printed, by the heading of its column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Printed>,
}

/// A score that tables print for each method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedScore {
    /// Accuracy.
    Accuracy,
    /// Balanced accuracy.
    BalancedAccuracy,
    /// AUC.
    Auc,
    /// F1, each class alike.
    MacroF1,
    /// F1, each class by its number of cases.
    WeightedF1,
}

impl PublishedTable {
    /// The row of that name; letters may be large or small.
    ///
    /// ```
    /// use dermafuse_eval::published::{PublishedRow, PublishedTable};
    ///
    /// let row = |name: &str, accuracy: f64| PublishedRow {
    ///     name: name.into(),
    ///     accuracy: Some(accuracy.into()),
    ///     ..PublishedRow::default()
    /// };
    /// let table = PublishedTable {
    ///     source: "Somebody et al., Table 1".into(),
    ///     data: "derm7pt".into(),
    ///     protocol: "published split, accuracy".into(),
    ///     rows: vec![row("Clin", 67.4), row("Derm", 72.4)],
    ///     ..PublishedTable::default()
    /// };
    /// assert_eq!(table.row("derm").unwrap().to_string(), "accuracy 72.4");
    /// assert_eq!(table.row("Both"), None);
    /// ```
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&PublishedRow> {
        self.rows.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }

    /// Whether any row has this score.
    #[must_use]
    pub fn prints(&self, score: PublishedScore) -> bool {
        self.rows.iter().any(|row| row.score(score).is_some())
    }
}

impl PublishedRow {
    /// The accuracy of the task with that short heading; letters may be large or small.
    #[must_use]
    pub fn task(&self, label: &str) -> Option<Printed> {
        self.tasks.iter().find(|(name, _)| name.eq_ignore_ascii_case(label)).map(|(_, accuracy)| *accuracy)
    }

    /// A score, if it is printed.
    #[must_use]
    pub fn score(&self, score: PublishedScore) -> Option<Printed> {
        match score {
            PublishedScore::Accuracy => self.accuracy,
            PublishedScore::BalancedAccuracy => self.balanced_accuracy,
            PublishedScore::Auc => self.auc,
            PublishedScore::MacroF1 => self.macro_f1,
            PublishedScore::WeightedF1 => self.weighted_f1,
        }
    }
}

impl fmt::Display for PublishedRow {
    /// Its scores: `AUC 87.2 ± 0.1, accuracy 76.6 ± 0.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scores = [
            ("AUC", self.auc),
            ("accuracy", self.accuracy),
            ("balanced accuracy", self.balanced_accuracy),
            ("macro F1", self.macro_f1),
            ("weighted F1", self.weighted_f1),
        ];
        let mut separator = "";
        for (name, score) in scores {
            if let Some(score) = score {
                write!(f, "{separator}{name} {score}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}
