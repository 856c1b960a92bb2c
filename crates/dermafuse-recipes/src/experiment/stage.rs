use dermafuse_settings::Settings;
use dermafuse_train::TrainingConfig;
use serde::{Deserialize, Serialize};

use super::{Experiment, MethodSettings};
use crate::RecipeError;

/// A stage that starts with fresh weights.
pub(crate) const RANDOM: &str = "random";
/// A stage that starts with the weights of the method.
pub(crate) const OF_METHOD: &str = "method";

/// One training of several, on a data set of its own. Its network has the backbone of the stages before, and a new head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSettings {
    /// Its name, which names its folder too.
    pub name: String,
    /// The data set.
    pub data: String,
    /// What its backbone starts from: `method` (what the method says), `random`, or the name of an earlier stage.
    pub weights: String,
    /// How it is trained: the experiment's settings under those of the stage.
    pub training: TrainingConfig,
    /// Its network: the experiment's settings under those of the stage.
    pub method: MethodSettings,
}

/// Takes the stages out of the layers and lays each over the settings of the layer that has them: words of the command line hold for
/// all stages.
pub(super) fn in_layers(settings: &mut Settings) -> Result<Vec<StageSettings>, RecipeError> {
    let (whole, depth) = (settings.clone(), settings.depth_of("stages"));
    let Some(stages) = settings.take("stages") else { return Ok(Vec::new()) };
    let Some(elements) = stages.elements() else {
        return Err(whole.error("stages", "a list of stages is expected: [[stages]]").into());
    };
    let read = |mut stage: Settings| -> Result<StageSettings, RecipeError> {
        let part = |stage: &mut Settings, key: &str| match stage.take(key) {
            Some(own) => own.under(key).over_lowest(depth, &whole),
            None => whole.clone(),
        };
        let mut training = part(&mut stage, "training");
        let mut method = part(&mut stage, "method");
        let missing = |key: &str| whole.error(key, "is missing");
        let of_training = training.clone();
        let training: TrainingConfig =
            training.take("training").ok_or_else(|| missing("training"))?.get_value("training")?;
        of_training.checked("training", training.check())?;
        let layers = method.clone();
        let mut method: MethodSettings = method.take("method").ok_or_else(|| missing("method"))?.get_value("method")?;
        layers.checked("method.network", method.network.check_settings())?;
        method.resolve(&layers);
        let own: Own = stage.get_value("stages")?;
        Ok(StageSettings { name: own.name, data: own.data, weights: own.weights, training, method })
    };
    elements.into_iter().map(read).collect()
}

/// What a stage says for itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    name: String,
    data: String,
    weights: String,
}

/// Whether the stages have names of their own, sets that are there, weights of earlier stages, and a backbone to hand on.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    for (index, stage) in experiment.stages.iter().enumerate() {
        let error =
            |key: &str, reason: String| Err(settings.error(&format!("stages[{}]{key}", index + 1), reason).into());
        let before = || experiment.stages[..index].iter().map(|stage| stage.name.as_str());
        let StageSettings { name, data, weights, method, .. } = stage;
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let is_taken = before().chain([RANDOM, OF_METHOD]).any(|other| other == name);
        if name.is_empty() || !name.chars().all(is_plain) || is_taken {
            let reason = format!(
                "the name of stage {} is `{name}`; letters, digits, - and _ are expected, unlike the other stages, `random` and `method` (it names a folder)",
                index + 1
            );
            return error(".name", reason);
        }
        let sets = || experiment.data.keys().chain(experiment.merged.keys()).chain(experiment.joined.keys());
        if !sets().any(|set| set == data) {
            let known: Vec<&str> = sets().map(String::as_str).collect();
            let reason = format!("stage `{name}` trains on `{data}`; the sets are {}", known.join(", "));
            return error(".data", reason);
        }
        if ![RANDOM, OF_METHOD].contains(&weights.as_str()) && !before().any(|other| other == weights) {
            let known: Vec<&str> = [RANDOM, OF_METHOD].into_iter().chain(before()).collect();
            let reason = format!("stage `{name}` starts from `{weights}`; expected one of: {}", known.join(", "));
            return error(".weights", reason);
        }
        if method.network.backbones().len() != 1 {
            let count = method.network.backbones().len();
            return error("", format!("stage `{name}` hands one backbone on, and its network has {count}"));
        }
        if let Some(earlier) = experiment.stages[..index].iter().find(|earlier| earlier.name == *weights) {
            let (theirs, own) = (earlier.method.network.backbones()[0], method.network.backbones()[0]);
            if theirs != own {
                let reason = format!(
                    "stage `{name}` starts from the backbone of stage `{weights}`, which is `{theirs}`, and its own is `{own}`; give \
                     both the same"
                );
                return error(".weights", reason);
            }
        }
    }
    Ok(())
}
