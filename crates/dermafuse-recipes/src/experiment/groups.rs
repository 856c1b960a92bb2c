use std::collections::BTreeMap;

use dermafuse_schema::{Aim, ClassGroup, SchemaError, TaskSet};
use dermafuse_settings::{Place, Settings, SettingsError};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::RecipeError;

/// The sensitivity that an operating point is to reach unless something else is wanted.
const SENSITIVITY: f64 = 0.95;

/// Unions of classes of a task, and the question that they answer. Every setting that is not one of the four below is a list of
/// classes with a name of your own:
///
/// ```
/// use dermafuse_recipes::Experiment;
/// use dermafuse_settings::Settings;
///
/// let file = r#"
/// recipe = "fusionm4net"
/// [groups.referral]
/// task = "diagnosis"
/// soon = ["MEL"]
/// later = ["BCC"]
/// positive = ["soon", "later"]
/// sensitivity = 0.9
/// "#;
/// let experiment = Experiment::read(Settings::parse("mine.toml", file)?)?;
/// assert_eq!(experiment.groups["referral"].members["soon"], ["MEL"]);
///
/// let twice = Settings::parse("mine.toml", &file.replace("BCC", "MEL"))?;
/// let error = Experiment::read(twice).unwrap_err().to_string();
/// let expected = "mine.toml: line 5, column 8: groups.referral.soon: `MEL` is not in one list only: it is in later and in soon";
/// assert_eq!(error, expected);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// The task whose classes are united.
    pub task: String,
    /// The lists that answer with "yes"; a single list may leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positive: Vec<String>,
    /// The sensitivity that the operating point is to reach on the validation cases; 0.95 if neither is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<f64>,
    /// The specificity that it is to reach, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<f64>,
    /// The lists of classes; those in none are the rest.
    #[serde(flatten)]
    pub members: BTreeMap<String, Vec<String>>,
    /// Where they stand.
    #[serde(skip)]
    places: Places,
}

/// Where settings stand, by key; what is said is the same wherever it stands.
#[derive(Clone, Debug, Default)]
struct Places(BTreeMap<String, Place>);

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A group of classes, and what its operating point is to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedGroup {
    /// The group.
    pub group: ClassGroup,
    /// What is wanted.
    pub aim: Aim,
}

impl GroupSettings {
    /// A group of a task with lists of classes by name.
    #[must_use]
    pub fn new(task: impl Into<String>, members: BTreeMap<String, Vec<String>>) -> Self {
        let (positive, places) = (Vec::new(), Places::default());
        Self { task: task.into(), positive, sensitivity: None, specificity: None, members, places }
    }

    /// The group of that name.
    ///
    /// # Errors
    /// What [`ClassGroup::new`] refuses; two aims, or one that is no share.
    pub fn wanted(&self, name: &str) -> Result<WantedGroup, RecipeError> {
        let at = |part: &str| format!("groups.{name}.{part}");
        let (part, aim) = match (self.sensitivity, self.specificity) {
            (Some(_), Some(_)) => {
                let reason = "an operating point has one aim; the group has a sensitivity too".to_owned();
                return Err(self.error(&at("specificity"), reason));
            }
            (None, Some(share)) => ("specificity", Aim::Specificity(share)),
            (share, None) => ("sensitivity", Aim::Sensitivity(share.unwrap_or(SENSITIVITY))),
        };
        if !(aim.share() > 0.0 && aim.share() <= 1.0) {
            return Err(self.error(&at(part), format!("{} is not above 0, and at most 1", aim.share())));
        }
        let group = ClassGroup::new(name, &self.task, self.members.clone(), self.positive.clone());
        Ok(WantedGroup { group: group.map_err(|error| self.located(name, error))?, aim })
    }

    /// The same, checked to be of these tasks.
    ///
    /// # Errors
    /// A task that there is not, a class that it does not have, and as [`wanted`](Self::wanted).
    pub(crate) fn wanted_of(&self, name: &str, tasks: &TaskSet) -> Result<WantedGroup, RecipeError> {
        let wanted = self.wanted(name)?;
        wanted.group.check(tasks).map_err(|error| self.located(name, error))?;
        Ok(wanted)
    }

    /// The error with the place of what it is about.
    fn located(&self, name: &str, error: SchemaError) -> RecipeError {
        let SchemaError::ClassGroup { name: culprit, expected, .. } = &error else { return error.into() };
        let list = self.members.iter().rev().find(|(_, classes)| classes.contains(culprit)).map(|(list, _)| list);
        let part = match list {
            _ if *culprit == self.task => "task",
            _ if self.members.contains_key(culprit) => culprit.as_str(),
            _ if self.positive.contains(culprit) => "positive",
            Some(list) => list.as_str(),
            None => "",
        };
        let key = format!("groups.{name}.{part}");
        self.error(key.trim_end_matches('.'), format!("`{culprit}` is not {expected}"))
    }

    fn error(&self, key: &str, reason: String) -> RecipeError {
        match self.places.0.get(key) {
            Some(place) => SettingsError::Value { place: place.clone(), key: key.to_owned(), reason }.into(),
            None => SettingsError::Missing { reason: format!("{key}: {reason}") }.into(),
        }
    }

    /// Remembers where the settings stand.
    pub(super) fn resolve(&mut self, settings: &Settings, name: &str) {
        let parts = ["task", "positive", "sensitivity", "specificity"].into_iter().map(str::to_owned);
        let keys = parts.chain(self.members.keys().cloned()).map(|part| format!("groups.{name}.{part}"));
        let keys = keys.chain([format!("groups.{name}")]);
        self.places = Places(keys.filter_map(|key| Some((key.clone(), settings.place(&key)?))).collect());
    }
}

/// Whether every group is one, as far as that can be told without data.
pub(super) fn check(experiment: &Experiment) -> Result<(), RecipeError> {
    experiment.groups.iter().try_for_each(|(name, group)| group.wanted(name).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_schema::Task;

    fn read(lines: &str) -> Result<Experiment, RecipeError> {
        let text = format!("recipe = \"fusionm4net\"\n[groups.referral]\ntask = \"diagnosis\"\n{lines}\n");
        Experiment::read(Settings::parse("mine.toml", &text).unwrap())
    }

    #[test]
    fn a_group_is_read_written_and_read_again() {
        let experiment = read("soon = [\"MEL\"]\nlater = [\"BCC\"]\npositive = [\"soon\"]\nspecificity = 0.8").unwrap();
        let wanted = experiment.groups["referral"].wanted("referral").unwrap();
        assert_eq!((wanted.aim, wanted.group.positive()), (Aim::Specificity(0.8), &["soon".to_owned()][..]));
        let again = Experiment::read(Settings::parse("experiment.toml", &experiment.to_toml()).unwrap()).unwrap();
        assert_eq!(again, experiment);
        let alone = read("malignant = [\"MEL\"]").unwrap();
        let wanted = alone.groups["referral"].wanted("referral").unwrap();
        assert_eq!((wanted.aim, wanted.group.positive()), (Aim::Sensitivity(0.95), &["malignant".to_owned()][..]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |lines: &str| read(lines).unwrap_err().to_string();
        let two = error("a = [\"MEL\"]\nsensitivity = 0.9\nspecificity = 0.9");
        assert!(
            two.starts_with("mine.toml: line 6, column 15: groups.referral.specificity: an operating point"),
            "{two}"
        );
        let share = error("a = [\"MEL\"]\nsensitivity = 95");
        assert!(
            share.starts_with("mine.toml: line 5, column 15: groups.referral.sensitivity: 95 is not above 0"),
            "{share}"
        );
        let positive = error("a = [\"MEL\"]\npositive = [\"b\"]");
        assert!(
            positive.starts_with("mine.toml: line 5, column 12: groups.referral.positive: `b` is not one of"),
            "{positive}"
        );
        let none = error("a = [\"MEL\"]\nb = [\"BCC\"]");
        assert!(none.starts_with("mine.toml: line 2") && none.contains("say positive = "), "{none}");
        let typo = error("a = [\"MEL\"]\nsensitivty = 0.9");
        assert!(typo.starts_with("mine.toml: line ") && typo.contains("expected a list, found 0.9"), "{typo}");

        let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
        let unknown = |lines: &str, tasks: &TaskSet| {
            let experiment = read(lines).unwrap();
            experiment.groups["referral"].wanted_of("referral", tasks).unwrap_err().to_string()
        };
        let class = unknown("a = [\"MEL\", \"SCC\"]", &tasks);
        assert!(
            class.starts_with(
                "mine.toml: line 4, column 5: groups.referral.a: `SCC` is not a class of task `diagnosis`"
            ),
            "{class}"
        );
        let other = TaskSet::new(vec![Task::new("streaks", "STR", ["ABS", "REG"])]).unwrap();
        let task = unknown("a = [\"MEL\"]", &other);
        assert!(
            task.starts_with("mine.toml: line 3, column 8: groups.referral.task: `diagnosis` is not a task"),
            "{task}"
        );
        let made = GroupSettings::new("diagnosis", [("a".to_owned(), vec!["SCC".to_owned()])].into());
        let made = made.wanted_of("g", &tasks).unwrap_err().to_string();
        assert!(made.starts_with("groups.g.a: `SCC` is not a class"), "{made}");
    }
}
