//! The file of a first experiment on a set of one's own.

use dermafuse_data::CaseSet;
use dermafuse_schema::{FieldRole, Modality};
use dermafuse_settings::Settings;

use crate::{Experiment, Recipe, RecipeError, StartWeights};

/// A first experiment on a data set: a recipe that suits what the set has, and the text of its file.
///
/// ```
/// use dermafuse_data::{ProposalOptions, ProposedSet};
/// use dermafuse_recipes::ProposedExperiment;
///
/// let folder = tempfile::tempdir()?;
/// let table = folder.path().join("moles.csv");
/// std::fs::write(&table, "mole_id,dx,age\n1,nevus,30\n2,melanoma,71\n3,nevus,40\n")?;
/// let set = ProposedSet::of(&table, folder.path(), &ProposalOptions::default())?.load()?;
/// let error = ProposedExperiment::of(&set, "moles.toml", None).unwrap_err().to_string();
/// assert_eq!(error, "the set `moles` has no images, and every recipe looks at one; name their folder, or say which recipe to take");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedExperiment {
    /// The recipe that it starts from.
    pub recipe: String,
    /// Why this recipe.
    pub reason: String,
    /// The text of the file.
    pub toml: String,
}

/// How many cases have what.
struct Has {
    clinical: usize,
    dermoscopic: usize,
    /// Cases with both images.
    both: usize,
    inputs: usize,
    cases: usize,
}

impl ProposedExperiment {
    /// Proposes an experiment on a set that `file` describes; its path starts from the folder of the experiment. The recipe is
    /// chosen by what the set has, unless it is named.
    ///
    /// # Errors
    /// A set without images; a recipe that there is not; a recipe whose file says more than one data set.
    pub fn of(set: &CaseSet, file: &str, recipe: Option<&str>) -> Result<Self, RecipeError> {
        let has = Has {
            clinical: set.cases.iter().filter(|case| case.has(Modality::Clinical)).count(),
            dermoscopic: set.cases.iter().filter(|case| case.has(Modality::Dermoscopic)).count(),
            both: set.cases.iter().filter(|case| Modality::BOTH.iter().all(|image| case.has(*image))).count(),
            inputs: set.fields.iter().filter(|field| field.role == FieldRole::PreDiagnosis).count(),
            cases: set.len(),
        };
        let (name, reason, network) = match recipe {
            Some(name) => (name.to_owned(), "you said so".to_owned(), ""),
            None => {
                let chosen = has.recipe().ok_or_else(|| RecipeError::NoImages { set: set.name.clone() })?;
                (chosen.0.to_owned(), chosen.1.to_owned(), chosen.2)
            }
        };
        let known = || RecipeError::NoRecipe { name: name.clone(), known: Recipe::shipped_names().join(", ") };
        let shipped = Recipe::shipped(&name).ok_or_else(known)?.experiment()?;
        let sets: Vec<&str> = shipped.data.keys().map(String::as_str).collect();
        let [shipped_set] = &sets[..] else {
            return Err(RecipeError::NotOfOneSet { name, sets: sets.join(", ") });
        };
        let method = serde_json::to_value(&shipped.method.network).unwrap_or_default();
        let one_view = method["view"].is_string();
        let text = has.text(&First { recipe: &name, reason: &reason, shipped_set, one_view, network, file, set });
        let experiment = Experiment::read(Settings::parse("the proposed experiment", &text)?)?;
        let weights = match &experiment.method.weights {
            StartWeights::Imagenet => {
                let kinds = experiment.method.network.backbones();
                weights_of(&kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>())
            }
            _ => String::new(),
        };
        Ok(Self { recipe: name, reason, toml: text.replace(WEIGHTS_HERE, &weights) })
    }
}

/// What the text is made from.
struct First<'a> {
    recipe: &'a str,
    reason: &'a str,
    /// The set that the recipe declares.
    shipped_set: &'a str,
    /// Whether its network looks at one image.
    one_view: bool,
    /// Settings in place of the recipe's network.
    network: &'a str,
    file: &'a str,
    set: &'a CaseSet,
}

/// With so many cases, those that validate are enough to calibrate probabilities on.
const CALIBRATED_FROM: usize = 250;

/// Where the lines on weights stand in the text.
const WEIGHTS_HERE: &str = "# weights\n";

fn weights_of(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.dedup();
    format!(
        "# The recipe starts from ImageNet's weights of {}: say where their files are (`dermafuse download` fetches them). Without\n\
         # weights, \"random\" does for a trial.\n\
         # weights = \"../weights\"\n",
        names.join(" and ")
    )
}

/// A network that looks at one image alone, in place of the recipe's.
const IMAGE_ALONE: &str = "kind = \"image_classifier\"\nbackbone = \"resnet50\"\nhead = \"linear\"\n";

impl Has {
    /// A recipe, why, and settings in place of its network.
    fn recipe(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let half = |count: usize| 2 * count >= self.cases && count > 0;
        match (half(self.both), half(self.clinical.max(self.dermoscopic)), self.inputs > 0) {
            (true, _, true) => {
                Some(("fusionm4net", "the cases have clinical photo, dermoscopic image and a record", ""))
            }
            (true, _, false) => {
                Some(("ammfm", "the cases have clinical photo and dermoscopic image, and no record", ""))
            }
            (false, false, _) => None,
            (false, true, true) => Some(("jif", "the cases have one image and a record", "")),
            (false, true, false) => Some((
                "jif",
                "the cases have one image and no record, so its network is one of the image alone",
                IMAGE_ALONE,
            )),
        }
    }

    fn text(&self, first: &First<'_>) -> String {
        let First { recipe, reason, shipped_set, one_view, network, file, set } = *first;
        let name = key_of(&set.name);
        let quoted = |text: &str| serde_json::to_string(text).expect("a text is JSON").replace('\u{7f}', "\\u007F");
        let mut text = format!(
            "# A first experiment. Settings that are not here are those of the recipe: `dermafuse recipes {recipe}` prints them.\n\
             # {recipe}, because: {reason}\n\
             recipe = {}\n\
             title = {}\n\n",
            quoted(recipe),
            quoted(&set.name),
        );
        if name != shipped_set {
            text += &format!("[data]\n# Not the recipe's own set.\n{shipped_set} = \"none\"\n\n");
        }
        text += &format!("[data.{name}]\nkind = \"described\"\npath = {}\n\n", quoted(file));
        text += "# Cases of a patient or lesion stay together. Cross-validation instead: kind = \"folds\", folds = 5.\n\
                 [split]\nkind = \"drawn\"\nshares = [0.64, 0.16, 0.20]\nseed = 0\n\n";
        text += "[method]\n";
        text += WEIGHTS_HERE;
        text += "# Nothing that is known only after the diagnosis is an input.\nmetadata.roles = \"pre_diagnosis\"\n";
        if one_view {
            let view = if self.clinical >= self.dermoscopic { "clinical" } else { "dermoscopic" };
            text += &format!("\n[method.network]\n{network}view = \"{view}\"\n");
        }
        if self.cases >= CALIBRATED_FROM {
            text += "\n# Probabilities that come true: calibrated on the validation cases, which changes no predicted class.\n\
                     [second_stage]\ncalibrated = \"temperature\"\n";
        }
        let lacking = match one_view {
            true => self.cases - self.clinical.max(self.dermoscopic),
            false => self.cases - self.both,
        };
        if lacking > 0 {
            let top = format!(
                "# {lacking} of {} cases lack an image that is looked at: they are left out. \"use\" keeps them for networks with \
                 branches of their own.\nincomplete = \"skip\"\n",
                self.cases
            );
            text = text.replacen("\n\n", &format!("\n{top}\n"), 1);
        }
        text
    }
}

/// The name as a key of a file: letters, digits and `_`.
fn key_of(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    let key: String = name.chars().map(plain).collect();
    if key.is_empty() { "mine".into() } else { key }
}
