use std::collections::BTreeMap;
use std::fmt;

use dermafuse_data::CaseView;
use dermafuse_infer::sha256_hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A longer value is kept as its SHA-256.
const LONGEST: usize = 120;
/// Differences that a message names.
const NAMED: usize = 4;
/// Digits of a SHA-256 that a message shows.
const SHOWN_DIGITS: usize = 12;

/// What the result of a run depends on, fact by fact under a name: `training.learning_rate`, `data.train.labels`.
///
/// Two runs of equal facts end with the same numbers. Where they differ, [`differences`](Self::differences) says in what.
///
/// ```
/// use dermafuse_train::RunFacts;
///
/// let of = |rate: f64| {
///     let mut facts = RunFacts::default();
///     facts.set("training", &serde_json::json!({ "learning_rate": rate, "optimizer": "adam" }));
///     facts
/// };
/// let differences = of(0.2).differences(&of(0.1));
/// assert_eq!(differences.to_string(), "`training.learning_rate` was 0.1 and is 0.2");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunFacts(BTreeMap<String, String>);

/// A fact of two runs that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the fact.
    pub name: String,
    /// The value in the earlier run, if it has this fact.
    pub earlier: Option<String>,
    /// The value now, if there is one.
    pub now: Option<String>,
}

/// All facts in which two runs differ, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences(pub Vec<Difference>);

impl RunFacts {
    /// Adds a value; each setting of a structure becomes a fact of its own, `name.setting`.
    ///
    /// # Panics
    /// If the value has keys that are no text.
    pub fn set(&mut self, name: &str, value: &impl Serialize) {
        let value = serde_json::to_value(value).expect("configurations have string keys only");
        self.set_value(name, value);
    }

    /// Adds the SHA-256 of a value.
    ///
    /// # Panics
    /// If the value has keys that are no text.
    pub fn set_digest(&mut self, name: &str, value: &impl Serialize) {
        let bytes = serde_json::to_vec(value).expect("configurations have string keys only");
        self.0.insert(name.to_owned(), format!("SHA-256 {}", sha256_hex(&bytes)));
    }

    /// Adds the identities, labels and metadata of the cases of a part.
    pub fn set_cases(&mut self, part: &str, cases: &CaseView<'_>) {
        let count = cases.len();
        let mut digest = |what: &str, bytes: Vec<u8>| {
            self.0.insert(format!("data.{part}.{what}"), format!("{count} cases, SHA-256 {}", sha256_hex(&bytes)));
        };
        let expected = "cases have string keys only";
        digest("cases", serde_json::to_vec(&cases.cases().map(|case| &case.id).collect::<Vec<_>>()).expect(expected));
        digest(
            "labels",
            serde_json::to_vec(&cases.cases().map(|case| &case.labels).collect::<Vec<_>>()).expect(expected),
        );
        digest(
            "metadata",
            serde_json::to_vec(&cases.cases().map(|case| &case.metadata).collect::<Vec<_>>()).expect(expected),
        );
    }

    /// Adds all facts of another value.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The value of a fact.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// In what these facts differ from those of an earlier run.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Differences {
        let gone = earlier.0.keys().filter(|name| !self.0.contains_key(*name));
        let mut names: Vec<&String> = self.0.keys().chain(gone).collect();
        names.sort();
        let differences = names.into_iter().filter(|name| self.0.get(*name) != earlier.0.get(*name));
        let differences = differences.map(|name| Difference {
            name: name.clone(),
            earlier: earlier.0.get(name).cloned(),
            now: self.0.get(name).cloned(),
        });
        Differences(differences.collect())
    }

    fn set_value(&mut self, name: &str, value: Value) {
        let of = |key: &str| format!("{name}.{key}");
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                entries.into_iter().for_each(|(key, value)| self.set_value(&of(&key), value));
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                let items = items.into_iter().enumerate();
                items.for_each(|(index, item)| self.set_value(&of(&index.to_string()), item));
            }
            value => {
                let text = match value {
                    Value::Null => "none".to_owned(),
                    Value::String(text) => text,
                    value => value.to_string(),
                };
                let text = if text.len() > LONGEST { format!("SHA-256 {}", sha256_hex(text.as_bytes())) } else { text };
                self.0.insert(name.to_owned(), text);
            }
        }
    }
}

impl Differences {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, difference) in self.0.iter().take(NAMED).enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(formatter, "{separator}{difference}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.as_deref().map_or_else(|| "not set".to_owned(), shortened);
        write!(formatter, "`{}` was {} and is {}", self.name, value(&self.earlier), value(&self.now))
    }
}

/// A value with the first digits of a SHA-256 in place of all.
fn shortened(value: &str) -> String {
    match value.rsplit_once("SHA-256 ") {
        Some((before, digits)) if digits.len() > SHOWN_DIGITS && digits.is_ascii() => {
            format!("{before}SHA-256 {}…", &digits[..SHOWN_DIGITS])
        }
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OptimizerKind, TrainingConfig};

    fn facts(change: impl FnOnce(&mut TrainingConfig)) -> RunFacts {
        let mut config = TrainingConfig::as_released(224, 1);
        change(&mut config);
        let mut facts = RunFacts::default();
        facts.set("training", &config);
        facts
    }

    #[test]
    fn every_setting_is_a_fact_of_its_own() {
        let released = facts(|_| ());
        assert_eq!(released.get("training.learning_rate"), Some("0.00003"));
        assert_eq!(released.get("training.patience"), Some("none"));
        assert!(released.differences(&facts(|config| config.threads = 7)).is_empty(), "threads change no result");
        let other = facts(|config| {
            config.optimizer = OptimizerKind::Sgd { momentum: 0.9, nesterov: false };
            config.seed = 2;
        });
        let text = other.differences(&released).to_string();
        assert!(text.contains("`training.optimizer.kind` was adam and is sgd"), "{text}");
        assert!(text.contains("`training.optimizer.momentum` was not set and is 0.9"), "{text}");
        assert!(text.ends_with("`training.seed` was 1 and is 2"), "{text}");
    }

    #[test]
    fn long_values_and_many_differences_are_said_briefly() {
        let of = |seed: usize| {
            let mut facts = RunFacts::default();
            for name in ["a", "b", "c", "d", "e", "f"] {
                facts.set(name, &vec![seed; 100]);
            }
            facts
        };
        let text = of(1).differences(&of(2)).to_string();
        assert!(text.ends_with("; and 2 more") && text.len() < 300, "{text}");
        assert_eq!(text.matches('…').count(), 8, "{text}");
        let json = serde_json::to_string(&of(1)).unwrap();
        assert_eq!(serde_json::from_str::<RunFacts>(&json).unwrap(), of(1));
    }
}
