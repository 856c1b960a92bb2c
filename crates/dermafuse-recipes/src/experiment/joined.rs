use std::collections::BTreeMap;

use dermafuse_data::TaskNames;
use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::RecipeError;

/// A set with the tasks of several sets, in which a label that a set does not have is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinedSource {
    /// The sets, declared or merged, two or more.
    pub sets: Vec<String>,
    /// Other names of tasks, by set and by the name that the task has there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: TaskNames,
}

/// Whether the sets of every joined one are there.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    let error = |key: &str, reason: String| Err(settings.error(key, reason).into());
    let known: Vec<&str> = experiment.data.keys().chain(experiment.merged.keys()).map(String::as_str).collect();
    for (name, JoinedSource { sets, tasks }) in &experiment.joined {
        let key = |part: &str| format!("joined.{name}.{part}");
        if known.contains(&name.as_str()) {
            return error(&format!("joined.{name}"), "a set of [data] or [merged] has this name".into());
        }
        if sets.len() < 2 {
            return error(&key("sets"), format!("two or more sets are joined; {} is named", sets.len()));
        }
        for (at, set) in sets.iter().enumerate() {
            if !known.contains(&set.as_str()) {
                return error(&key("sets"), format!("there is no set `{set}`; the sets are {}", known.join(", ")));
            }
            if sets[..at].contains(set) {
                return error(&key("sets"), format!("`{set}` is named twice"));
            }
        }
        if let Some(set) = tasks.keys().find(|set| !sets.contains(set)) {
            return error(&key(&format!("tasks.{set}")), format!("the sets that are joined are {}", sets.join(", ")));
        }
    }
    Ok(())
}
