//! Experiments: layers of settings as a file, and the plan that they make.

use std::path::Path;
use std::sync::Arc;

use dermafuse::data::CaseSet;
use dermafuse::recipes::{Experiment, Recipe};
use dermafuse::settings::Settings;

use super::{Target, Verdict, accepted, promise, sample, texts};
use crate::draws::Draws;
use crate::mutate::{Corpus, Syntax};

struct Experiments {
    corpus: Corpus,
    sets: Vec<(String, Arc<CaseSet>)>,
}

const WORDS: [&str; 34] = [
    "a",
    "b",
    "class-folders",
    "derm7pt",
    "random",
    "imagenet",
    "method",
    "none",
    "recipe",
    "fusionm4net",
    "nedelcu",
    "jif",
    "resnet18_quarter",
    "efficientnet_b3",
    "image_classifier",
    "fusion_net",
    "linear",
    "per_location",
    "clinical",
    "dermoscopic",
    "[[stages]]",
    "[training]",
    "[method.network]",
    "[merged.all]",
    "kind",
    "epochs",
    "batch_size",
    "learning_rate",
    "class_balanced",
    "sampling",
    "split",
    "folds",
    "unfreezing",
    "second_stage",
];

/// Settings and values that go together with each other and with every recipe.
const SETTINGS: [(&str, &[&str]); 18] = [
    ("title", &["\"One\"", "\"Zwei\""]),
    ("seed", &["0", "7", "18446744073709551615"]),
    ("repeats", &["1", "2", "5"]),
    ("incomplete", &["\"skip\"", "\"refuse\"", "\"use\""]),
    ("several_images", &["\"first\"", "\"mean_of_probabilities\""]),
    ("split", &["{ kind = \"drawn\", shares = [0.5, 0.25, 0.25] }", "{ kind = \"folds\", folds = 3 }"]),
    ("method.metadata.numeric", &["\"standardized\"", "\"raw\""]),
    ("training.epochs", &["1", "2", "400"]),
    ("training.batch_size", &["2", "8", "32"]),
    ("training.learning_rate", &["1e-5", "0.5", "3"]),
    ("training.weight_decay", &["0", "1e-4", "0.1"]),
    ("training.clip_norm", &["0.5", "10.0"]),
    ("training.loss.focal_gamma", &["0", "2.0"]),
    ("training.loss.label_smoothing", &["0", "0.1"]),
    ("evaluation.views", &["0", "3", "4", "6"]),
    ("evaluation.features", &["true", "false"]),
    ("machine.threads", &["0", "1", "16"]),
    ("machine.image_cache", &["0", "4000"]),
];

/// A shipped recipe, or the first entry, with some settings of one's own.
fn experiment(entries: &[Vec<u8>], draws: &mut Draws) -> Vec<u8> {
    let recipes = Recipe::shipped_names();
    let mut text = String::new();
    let recipe = draws.pick(&recipes);
    let is_recipe = !draws.once_in(6);
    if is_recipe {
        text += &format!("recipe = \"{recipe}\"\nmethod.weights = \"random\"\n");
    }
    for (key, values) in SETTINGS {
        // The first entry says some of them itself.
        let is_own = !["split", "training", "method"].contains(&key.split('.').next().unwrap_or_default());
        if (is_recipe || is_own) && draws.once_in(4) {
            text += &format!("{key} = {}\n", draws.pick(values));
        }
    }
    match is_recipe {
        true => text.into_bytes(),
        false => [text.as_bytes(), &entries[0]].concat(),
    }
}

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let entries = texts([
        "[data.a]\nkind = \"class-folders\"\n[data.b]\nkind = \"derm7pt\"\n[split]\nkind = \"drawn\"\nshares = [0.5, 0.25, \
         0.25]\n[method]\nweights = \"random\"\n[method.network]\nkind = \"image_classifier\"\nbackbone = \"resnet18_quarter\"\nview \
         = \"clinical\"\nhead = \"linear\"\n[training]\nepochs = 2\nlearning_rate = 1e-3\npreprocess.size = 32\n[[stages]]\nname = \
         \"first\"\ndata = \"a\"\nweights = \"random\"\n[[stages]]\nname = \"last\"\ndata = \"b\"\nweights = \
         \"first\"\n[stages.training]\nepochs = 1\n",
        "recipe = \"fusionm4net\"\nmethod.weights = \"random\"\nmethod.network.backbone = \"resnet18_quarter\"\nsplit = { kind = \
         \"folds\", folds = 3 }\n",
        "recipe = \"nedelcu\"\nmethod.weights = \"random\"\n",
        Recipe::shipped_text("jif").expect("it ships"),
    ]);
    let with_images = || {
        let mut set = sample::set();
        for case in &mut set.cases {
            (case.clinical, case.dermoscopic) = (vec!["photo.png".into()], vec!["dermoscopy.png".into()]);
        }
        set.split = Some(sample::split(&set));
        set
    };
    let sets = ["a", "b", "derm7pt", "pad", "dermai", "edra", "dermofit"];
    let sets = sets.map(|name| (name.to_owned(), Arc::new(with_images())));
    Box::new(Experiments {
        corpus: Corpus { syntax: Syntax::Lines, entries, words: &WORDS, make: Some(experiment) },
        sets: sets.into(),
    })
}

impl Target for Experiments {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let text = accepted!(std::str::from_utf8(input));
        let settings = accepted!(Settings::parse("experiment.toml", text));
        let experiment = accepted!(Experiment::read(settings));
        let written = experiment.to_toml();
        let again = Settings::parse("again.toml", &written).map_err(|error| error.to_string());
        let again = again.and_then(|settings| Experiment::read(settings).map_err(|error| error.to_string()));
        promise!(again.is_ok(), "what was written is not read: {again:?}");
        let plan = accepted!(experiment.plan_for(&self.sets));
        for round in &plan.rounds {
            promise!(round.stages.len() == experiment.stages.len().max(1), "{} stages", round.stages.len());
            for stage in &round.stages {
                stage.split.check(&stage.set).map_err(|error| format!("planned, and not valid: {error}"))?;
            }
        }
        Ok(Verdict::Accepted)
    }
}
