//! What a file says of a sweep, and the settings of each trial.

use std::collections::HashSet;
use std::fmt;

use dermafuse_data::shuffled;
use dermafuse_eval::Overall;
use dermafuse_settings::Settings;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::RecipeError;

/// The most trials that can be meant.
const MOST: usize = 10_000;
/// Values between the ends of a range, the ends included.
const STEPS: usize = 1_001;
/// Settings that trials share: with others they would not be trainings of one experiment on the same validation cases.
const SHARED: [&str; 12] = [
    "recipe",
    "title",
    "data",
    "joined",
    "merged",
    "incomplete",
    "stages",
    "split",
    "repeats",
    "final_fit",
    "machine",
    "sweep",
];

/// How trials are made of the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepKind {
    /// Every value of a setting with every value of the others.
    #[default]
    Grid,
    /// As many trials as are asked for, each with values that are drawn.
    Random,
}

/// Which score of the validation cases chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepScore {
    /// The mean accuracy over the tasks.
    Accuracy,
    /// The mean balanced accuracy over the tasks.
    #[default]
    BalancedAccuracy,
    /// The mean AUC over the tasks.
    Auc,
}

impl SweepScore {
    pub(super) fn of(self, overall: &Overall) -> Option<f64> {
        match self {
            Self::Accuracy => overall.accuracy,
            Self::BalancedAccuracy => overall.balanced_accuracy,
            Self::Auc => overall.auc,
        }
    }
}

impl fmt::Display for SweepScore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced accuracy",
            Self::Auc => "AUC",
        })
    }
}

/// A sweep as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SweepSettings {
    #[serde(default)]
    kind: SweepKind,
    /// How many trials are drawn.
    #[serde(default)]
    trials: Option<usize>,
    /// Decides what is drawn.
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    pub(super) score: SweepScore,
    /// Read apart: what values there are, the settings of the experiment say.
    #[serde(default, rename = "keys")]
    _keys: IgnoredAny,
}

/// `{ from = 1e-5, to = 1e-2, scale = "log" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: f64,
    to: f64,
    #[serde(default)]
    scale: Scale,
    #[serde(default)]
    whole: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scale {
    #[default]
    Linear,
    Log,
}

/// The settings of a trial, as words and as a layer.
pub(super) struct Tried {
    pub(super) settings: Vec<(String, String)>,
    pub(super) layer: Settings,
}

/// A setting with the values that are tried.
struct Axis {
    key: String,
    values: AxisValues,
}

enum AxisValues {
    Listed(Vec<Settings>),
    Range(Range, Settings),
}

/// The settings of every trial, in order.
pub(super) fn tried_settings(said: &Settings) -> Result<Vec<Tried>, RecipeError> {
    let settings: SweepSettings = said.get_value("sweep")?;
    let error = |key: &str, reason: String| {
        RecipeError::from(said.clone().under("sweep").error(&format!("sweep.{key}"), reason))
    };
    let mut axes = Vec::new();
    match said.clone().take("keys") {
        Some(keys) => collect(&keys, "", &mut axes)?,
        None => {
            return Err(error(
                "keys",
                "a sweep has settings to try: keys = { \"training.learning_rate\" = [1e-4, 1e-3] }".into(),
            ));
        }
    }
    axes.sort_by(|one: &Axis, other| one.key.cmp(&other.key));
    if let Some(pair) = axes.windows(2).find(|pair| pair[0].key == pair[1].key) {
        let key = &pair[0].key;
        return Err(error("keys", format!("`{key}` is said twice, with quotes and without; say it once")));
    }
    let all = axes.iter().map(Axis::len).try_fold(1_usize, |all, count| all.checked_mul(count?));
    let trials = match (settings.kind, settings.trials, all) {
        (SweepKind::Grid, Some(_), _) => {
            return Err(error("trials", "a grid tries all values; trials are counted with kind = \"random\"".into()));
        }
        (SweepKind::Grid, None, None) => {
            let range = axes.iter().find(|axis| axis.len().is_none()).map_or("", |axis| &axis.key);
            return Err(error(
                "keys",
                format!("a grid takes a list of values for {range}; ranges are for kind = \"random\""),
            ));
        }
        (SweepKind::Random, None, _) => return Err(error("trials", "say how many trials are drawn".into())),
        (SweepKind::Random, Some(trials), Some(all)) if trials > all => {
            return Err(error(
                "trials",
                format!("{trials} trials of {all} that there are; kind = \"grid\" tries them all"),
            ));
        }
        (SweepKind::Grid, None, Some(all)) => all,
        (SweepKind::Random, Some(trials), _) => trials,
    };
    if !(2..=MOST).contains(&trials) {
        return Err(error("keys", format!("{trials} trials; a sweep has from 2 to {MOST}")));
    }
    match settings.kind {
        SweepKind::Grid => (0..trials).map(|trial| Tried::of(&axes, &place_in_grid(&axes, trial))).collect(),
        SweepKind::Random => {
            let drawn = drawn(&axes, trials, settings.seed)?;
            match drawn.len() < trials {
                true => {
                    Err(error("trials", format!("only {} different trials were drawn; ask for fewer", drawn.len())))
                }
                false => Ok(drawn),
            }
        }
    }
}

/// Finds the settings below a key: those with a list or a range.
fn collect(settings: &Settings, key: &str, axes: &mut Vec<Axis>) -> Result<(), RecipeError> {
    let first = key.split('.').next().unwrap_or_default();
    if SHARED.contains(&first) {
        let reason =
            format!("all trials share `{first}`: they are trainings of one experiment on the same validation cases");
        return Err(wrong(settings, key, reason));
    }
    if let Some(values) = settings.elements() {
        if values.is_empty() {
            return Err(wrong(settings, key, "no value to try"));
        }
        axes.push(Axis { key: key.to_owned(), values: AxisValues::Listed(values) });
        return Ok(());
    }
    let names = settings.keys();
    if names.iter().any(|name| name == "from" || name == "to") {
        let range: Range = settings.get_value(key)?;
        let is_none = match range.scale {
            Scale::Log => !(range.from > 0.0 && range.to > range.from && range.to.is_finite()),
            Scale::Linear => !(range.to > range.from && range.from.is_finite() && range.to.is_finite()),
        };
        if is_none {
            let reason =
                format!("{} to {} is no range; on a logarithmic scale it starts above 0", range.from, range.to);
            return Err(wrong(settings, key, reason));
        }
        axes.push(Axis { key: key.to_owned(), values: AxisValues::Range(range, settings.clone()) });
        return Ok(());
    }
    if names.is_empty() {
        return Err(wrong(settings, key, "a list of values is expected, or { from = …, to = … }"));
    }
    names.iter().try_for_each(|name| {
        let part = settings.clone().take(name).expect("it has this key");
        let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        collect(&part, &below, axes)
    })
}

/// The error that a setting is not tried in this way.
fn wrong(settings: &Settings, key: &str, reason: impl Into<String>) -> RecipeError {
    let key = if key.is_empty() { "sweep.keys".to_owned() } else { format!("sweep.keys.{key}") };
    key.rsplit('.').fold(settings.clone(), Settings::under).error(&key, reason).into()
}

impl Axis {
    /// How many values there are; `None` for a range.
    fn len(&self) -> Option<usize> {
        match &self.values {
            AxisValues::Listed(values) => Some(values.len()),
            AxisValues::Range(..) => None,
        }
    }

    fn steps(&self) -> usize {
        self.len().unwrap_or(STEPS)
    }

    /// A value as words and as the only setting.
    fn value(&self, step: usize) -> Result<(String, Settings), RecipeError> {
        match &self.values {
            AxisValues::Listed(values) => {
                let value: serde_json::Value = values[step].get_value(&self.key)?;
                let words = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Ok((words, values[step].clone()))
            }
            AxisValues::Range(range, said) => {
                let share = step as f64 / (STEPS - 1) as f64;
                let value = match range.scale {
                    Scale::Linear => range.from + share * (range.to - range.from),
                    Scale::Log => (range.from.ln() + share * (range.to.ln() - range.from.ln())).exp(),
                };
                let value = if range.whole { value.round() } else { value };
                Ok((value.to_string(), said.with_number(value, range.whole)))
            }
        }
    }
}

/// The step of each axis in a trial of a grid; the last axis changes first.
fn place_in_grid(axes: &[Axis], trial: usize) -> Vec<usize> {
    let mut rest = trial;
    let mut steps: Vec<usize> = axes
        .iter()
        .rev()
        .map(|axis| {
            let step = rest % axis.steps();
            rest /= axis.steps();
            step
        })
        .collect();
    steps.reverse();
    steps
}

/// Trials of which no two are the same.
fn drawn(axes: &[Axis], trials: usize, seed: u64) -> Result<Vec<Tried>, RecipeError> {
    let orders = axes.iter().map(|axis| (0..axis.steps()).collect::<Vec<usize>>()).collect::<Vec<_>>();
    let mut seen: HashSet<Vec<String>> = HashSet::new();
    let mut drawn = Vec::new();
    // A coarse range may give one value twice; others are drawn then, but not for ever.
    for address in 0..(100 * trials as u64) {
        if drawn.len() == trials {
            break;
        }
        let of =
            |(axis, order): (usize, &Vec<usize>)| shuffled(order, seed, address * axes.len() as u64 + axis as u64)[0];
        let steps: Vec<usize> = orders.iter().enumerate().map(of).collect();
        let tried = Tried::of(axes, &steps)?;
        if seen.insert(tried.settings.iter().map(|(_, value)| value.clone()).collect()) {
            drawn.push(tried);
        }
    }
    Ok(drawn)
}

impl Tried {
    fn of(axes: &[Axis], steps: &[usize]) -> Result<Self, RecipeError> {
        let mut tried = Self { settings: Vec::new(), layer: Settings::default() };
        for (axis, &step) in axes.iter().zip(steps) {
            let (words, value) = axis.value(step)?;
            let layer = axis.key.rsplit('.').fold(value, Settings::under);
            tried.settings.push((axis.key.clone(), words));
            tried.layer = tried.layer.in_one_layer_with(layer);
        }
        Ok(tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(text: &str) -> Vec<Vec<(String, String)>> {
        let said = Settings::parse("a.toml", text).unwrap();
        tried_settings(&said).unwrap().into_iter().map(|tried| tried.settings).collect()
    }

    #[test]
    fn a_grid_has_every_value_with_every_other() {
        let trials = tried("keys = { a = [1, 2], \"b.c\" = [\"x\", \"y\", \"z\"] }");
        let values: Vec<String> =
            trials.iter().map(|trial| trial.iter().map(|(_, value)| value.as_str()).collect()).collect();
        assert_eq!(values, ["1x", "1y", "1z", "2x", "2y", "2z"]);
        assert!(trials.iter().all(|trial| trial[0].0 == "a" && trial[1].0 == "b.c"));
    }

    #[test]
    fn drawn_trials_differ_and_come_again_with_their_seed() {
        let text = "kind = \"random\"\ntrials = 30\nseed = 4\n[keys]\nrate = { from = 1e-5, to = 1e-1, scale = \"log\" }\n\
                    width = { from = 1, to = 4, whole = true }\nkind = [\"a\", \"b\"]";
        let trials = tried(text);
        assert_eq!(trials.len(), 30);
        assert_eq!(trials, tried(text));
        assert_ne!(trials, tried(&text.replace("seed = 4", "seed = 5")));
        let of = |trial: &[(String, String)], key: &str| {
            trial.iter().find(|(known, _)| known == key).unwrap().1.parse::<f64>().unwrap()
        };
        let rates: Vec<f64> = trials.iter().map(|trial| of(trial, "rate")).collect();
        assert!(rates.iter().all(|rate| (1e-5..=0.1 + 1e-12).contains(rate)));
        // Half of them below the middle of the logarithms, more or less.
        let low = rates.iter().filter(|rate| **rate < 1e-3).count();
        assert!((8..=22).contains(&low), "{low}");
        assert!(trials.iter().all(|trial| [1.0, 2.0, 3.0, 4.0].contains(&of(trial, "width"))));
        let all = tried("kind = \"random\"\ntrials = 4\n[keys]\na = [1, 2]\nb = [1, 2]");
        let distinct: HashSet<_> = all.iter().map(|trial| format!("{trial:?}")).collect();
        assert_eq!(distinct.len(), 4);
    }
}
