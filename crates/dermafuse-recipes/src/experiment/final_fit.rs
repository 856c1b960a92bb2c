use dermafuse_settings::Settings;
use serde::{Deserialize, Serialize};

use super::{Experiment, PartsSettings};
use crate::RecipeError;

/// One more model, which learns from all cases once the folds have told how good the method is. No case is left to test it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalFitSettings {
    /// The share of the cases that choose its epoch, weights and points instead of training it, between 0 and 1; as many as a fold
    /// has, if it is not said. They are drawn by class of the first task, whole groups, by the seed of the folds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
}

/// Whether there are folds, whose models tell what a final one can do, and whether it learns from all cases.
pub(super) fn check(experiment: &Experiment, settings: &Settings) -> Result<(), RecipeError> {
    let Some(FinalFitSettings { validation }) = experiment.final_fit else { return Ok(()) };
    let error = |key: &str, reason: &str| Err(settings.error(key, reason.to_owned()).into());
    if validation.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
        return error("final_fit.validation", "between 0 and 1, both excluded");
    }
    let has_folds = match &experiment.split {
        PartsSettings::Folds { .. } => true,
        PartsSettings::File { path, .. } => PartsSettings::is_table(path),
        PartsSettings::Published { .. } | PartsSettings::Drawn { .. } => false,
    };
    if !has_folds || !experiment.merged.is_empty() {
        let reason = "a final fit follows folds, which tell how good the method is, and here are none: say split.kind = \"folds\", or \
                      leave final_fit out, since the model of this split is tested by its own test cases";
        return error("final_fit", reason);
    }
    if experiment.training_fraction < 1.0 {
        let reason = "a final fit learns from all cases, and training_fraction takes some away; say one of the two";
        return error("final_fit", reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_fit_follows_folds() {
        let read = |words: &[&str]| {
            let mut settings = Settings::parse("mine.toml", "recipe = \"fusionm4net\"").unwrap();
            words.iter().for_each(|words| settings.set(words).unwrap());
            Experiment::read(settings)
        };
        let error = |words: &[&str]| read(words).unwrap_err().to_string();
        assert_eq!(read(&[]).unwrap().final_fit, None);
        let folds = "split={ kind = \"folds\" }";
        let plain = read(&[folds, "final_fit={}"]).unwrap();
        assert_eq!(plain.final_fit, Some(FinalFitSettings { validation: None }));
        let again = Experiment::read(Settings::parse("again.toml", &plain.to_toml()).unwrap()).unwrap();
        assert_eq!(again.final_fit, plain.final_fit);
        let said = read(&[folds, "final_fit.validation=0.1"]).unwrap();
        assert_eq!(said.final_fit, Some(FinalFitSettings { validation: Some(0.1) }));
        assert_eq!(read(&[folds, "final_fit.validation=0.1", "final_fit=none"]).unwrap().final_fit, None);
        assert!(read(&["split={ kind = \"file\", path = \"folds.csv\" }", "final_fit={}"]).is_ok());

        let refused = error(&["final_fit={}"]);
        assert!(refused.starts_with("--set final_fit={}: final_fit: a final fit follows folds"), "{refused}");
        assert!(error(&["split={ kind = \"file\", path = \"split.json\" }", "final_fit={}"]).contains("here are none"));
        for share in ["0", "1", "-0.1"] {
            let refused = error(&[folds, &format!("final_fit.validation={share}")]);
            assert!(refused.contains("final_fit.validation: between 0 and 1"), "{refused}");
        }
        assert!(error(&[folds, "final_fit={}", "training_fraction=0.5"]).contains("say one of the two"));
    }
}
