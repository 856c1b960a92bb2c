//! Curricula: stages of training as a file, and the plan that they make.

use std::path::Path;

use dermafuse::data::CaseSet;
use dermafuse::recipes::Curriculum;

use super::{Target, Verdict, accepted, promise, sample, texts};
use crate::mutate::{Corpus, Syntax};

struct Curricula {
    corpus: Corpus,
    sets: Vec<(String, CaseSet)>,
}

const WORDS: [&str; 30] = [
    "a",
    "b",
    "class-folders",
    "derm7pt",
    "random",
    "published",
    "first",
    "last",
    "best",
    "nedelcu",
    "off",
    "resnet18_quarter",
    "efficientnet_b3",
    "linear",
    "per_location",
    "imagenet",
    "keras_torch",
    "clinical",
    "dermoscopic",
    "[[stages]]",
    "[training]",
    "[network]",
    "[merged.all]",
    "epochs",
    "batch_size",
    "learning_rate",
    "class_balanced",
    "sampling",
    "split",
    "unfreezing",
];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let entries = texts([
        "name = \"two\"\nsplit = [0.5, 0.25, 0.25]\n[data]\na = \"class-folders\"\nb = \"derm7pt\"\n[network]\nbackbone = \
         \"resnet18_quarter\"\nhead = \"linear\"\nimage_size = 32\ninput = \"imagenet\"\n[training]\nepochs = 2\nlearning_rate = \
         1e-3\nkeep = \"best\"\n[[stages]]\nname = \"first\"\ndata = \"a\"\nweights = \"random\"\n[[stages]]\nname = \
         \"last\"\ndata = \"b\"\nweights = \"first\"\nview = \"clinical\"\n[stages.training]\nepochs = 1\n",
        include_str!("../../../../crates/dermafuse-recipes/curricula/merged.toml"),
        include_str!("../../../../crates/dermafuse-recipes/curricula/scratch.toml"),
        include_str!("../../../../crates/dermafuse-recipes/curricula/edra-dermofit-dermai.toml"),
    ]);
    let with_images = || {
        let mut set = sample::set();
        set.cases.iter_mut().for_each(|case| case.clinical = vec!["photo.png".into()]);
        set
    };
    let sets = ["a", "b", "dermai", "edra", "dermofit"].map(|name| (name.to_owned(), with_images()));
    Box::new(Curricula { corpus: Corpus { syntax: Syntax::Lines, entries, words: &WORDS }, sets: sets.into() })
}

impl Target for Curricula {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let text = accepted!(std::str::from_utf8(input));
        let curriculum = accepted!(Curriculum::parse("curriculum.toml", text));
        let plan = accepted!(curriculum.plan(&self.sets, None, 1));
        promise!(plan.stages.len() == curriculum.stages().len(), "{} stages", plan.stages.len());
        for stage in &plan.stages {
            stage.split.check(&stage.set).map_err(|error| format!("planned, and not valid: {error}"))?;
        }
        Ok(Verdict::Accepted)
    }
}
