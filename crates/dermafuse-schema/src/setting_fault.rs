use std::fmt;

use thiserror::Error;

/// A setting with a value that it cannot have. It is found by the `check` of the settings that it is one of, and named by its key below
/// them; whoever read the settings from files knows where the key stands (`Settings::checked` of `dermafuse-settings`).
///
/// ```
/// use dermafuse_schema::SettingFault;
///
/// fn check(epochs: usize) -> Result<(), SettingFault> {
///     SettingFault::unless(epochs > 0, "epochs", "at least 1", epochs)
/// }
/// assert!(check(1).is_ok());
/// let fault = check(0).unwrap_err();
/// assert_eq!(fault.to_string(), "`epochs` must be at least 1, found 0");
/// assert_eq!(fault.under("training").key(), "training.epochs");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} must be {expected}, found {found}", named(key))]
pub struct SettingFault {
    key: String,
    expected: String,
    found: String,
}

impl SettingFault {
    /// The fault of a setting; an empty key is that of the settings as a whole.
    #[must_use]
    pub fn new(key: impl Into<String>, expected: impl Into<String>, found: impl fmt::Display) -> Self {
        Self { key: key.into(), expected: expected.into(), found: found.to_string() }
    }

    /// One line of a check: the fault, unless what is required holds.
    ///
    /// # Errors
    /// The fault.
    pub fn unless(
        holds: bool,
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::new(key, expected, found)) }
    }

    /// The fault of settings that are themselves under a key of others.
    #[must_use]
    pub fn under(self, key: &str) -> Self {
        let key = [key, &self.key].into_iter().filter(|step| !step.is_empty()).collect::<Vec<_>>().join(".");
        Self { key, ..self }
    }

    /// The fault of an element of the list `key`, `index` counted from 0: messages count from 1.
    ///
    /// ```
    /// # use dermafuse_schema::SettingFault;
    /// assert_eq!(SettingFault::new("name", "a text", 3).in_list("stages", 0).key(), "stages[1].name");
    /// ```
    #[must_use]
    pub fn in_list(self, key: &str, index: usize) -> Self {
        self.under(&format!("{key}[{}]", index + 1))
    }

    /// The key, such as `loss.label_smoothing`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, for messages that name the key before.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("must be {}, found {}", self.expected, self.found)
    }
}

fn named(key: &str) -> String {
    if key.is_empty() { "the settings".to_owned() } else { format!("`{key}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_without_empty_steps() {
        let fault = SettingFault::new("", "above 0", 0).under("mixing").under("training").under("");
        assert_eq!((fault.key(), fault.reason().as_str()), ("training.mixing", "must be above 0, found 0"));
    }
}
