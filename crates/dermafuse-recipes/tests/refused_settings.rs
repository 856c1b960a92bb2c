//! Values that a setting cannot have: each is refused when an experiment is read, with its place.

use dermafuse_recipes::{Experiment, Recipe};
use dermafuse_settings::Settings;

fn refused(recipe: &str, words: &str) -> String {
    let mut recipe = Recipe::named(recipe).unwrap();
    recipe.set(words).unwrap();
    recipe.experiment().unwrap_err().to_string()
}

#[test]
fn values_are_refused_by_the_key_that_has_them() {
    let wrong = [
        ("training.epochs=0", "must be at least 1, found 0"),
        ("training.patience=0", "must be at least 1 epoch, found 0"),
        ("training.batch_size=0", "must be at least 2 (batch normalisation), found 0"),
        ("training.micro_batch_size=5", "must be at least 2 and a divisor of batch_size, found 5"),
        ("training.learning_rate=-1", "must be above 0, found -1"),
        ("training.weight_decay=-1", "must be at least 0, found -1"),
        ("training.loss.label_smoothing=1", "must be at least 0 and below 1, found 1"),
        ("training.loss.logit_adjustment=3", "must be 0 to 2, found 3"),
        ("training.augmentation.p=3", "must be from 0 to 1, found 3"),
        ("training.augmentation.scale_limit=2", "must be from 0 and below scale_centre (1 unless set), found 2"),
        ("training.freeze.groups=99", "must be at most 5 parts of a backbone, found 99"),
        ("method.network.dropout=2", "must be at least 0 and below 1, found 2"),
        ("second_stage.search.steps=0", "must be at least 1, found 0"),
        ("second_stage.mix.steps=1", "must be from 2 to 1000000, found 1"),
        ("quality.skin=1.5", "must be from 0 to 1, found 1.5"),
        ("out_of_distribution.cases=1", "must be 0, or at least 2, found 1"),
    ];
    for (words, expected) in wrong {
        let key = words.split_once('=').unwrap().0;
        assert_eq!(refused("fusionm4net", words), format!("--set {words}: {key}: {expected}"));
    }
    let of_tables = [
        ("split={ kind = \"folds\", folds = 1 }", "split.folds: must be three or more, where one tests,"),
        (
            "split={ kind = \"folds\", folds = 2, protocol = \"held_out_tests\" }",
            "split.hold_out: must be given where the held-out cases are tested, found none",
        ),
        (
            "split={ kind = \"folds\", hold_out = 1.0 }",
            "split.hold_out: must be between 0 and 1, both excluded, found 1",
        ),
        ("split={ kind = \"drawn\", shares = [0.5, -0.1, 0.6] }", "split.shares: must be three shares,"),
        (
            "training.mixing={ probability = 2, mixup = 0.4 }",
            "training.mixing.probability: must be above 0 and at most 1, found 2",
        ),
        (
            "training.mixing={ probability = 1 }",
            "training.mixing: must be of a mixup or cutmix above 0, found 0 for both",
        ),
        (
            "training.optimizer={ kind = \"sgd\", momentum = 1, nesterov = false }",
            "training.optimizer.momentum: must be at least 0 and below 1, found 1",
        ),
        (
            "training.averaging={ exponential = { decay = 1 } }",
            "training.averaging.exponential.decay: must be at least 0 and below 1, found 1",
        ),
        (
            "training.averaging={ last_epochs = { epochs = 300, refresh_batch_norm = true } }",
            "training.averaging.last_epochs.epochs: must be at least 1 and at most all epochs, found 300",
        ),
        (
            "training.sampling={ kind = \"class_balanced\", per_class = 0 }",
            "training.sampling.per_class: must be 1 or more, found 0",
        ),
        (
            "training.modality_dropout={ metadata = 0.95 }",
            "training.modality_dropout.metadata: must be a probability of 0",
        ),
        (
            "second_stage.points={ a = { objective = \"accuracy\", form = \"best\", folds = 1, seed = 0 } }",
            "second_stage.points.a.folds: must be at least 2, found 1",
        ),
        (
            "second_stage.calibration={ stratified = { folds = 1, repeats = 10 } }",
            "second_stage.calibration.stratified.folds: must be at least 2, found 1",
        ),
        ("second_stage.params={ svm = { c = 0 } }", "second_stage.params.svm.c: must be positive and finite, found 0"),
        (
            "second_stage.params={ gradient_boosting = { class_weights = { values = [1.0, -1.0] } } }",
            "second_stage.params.gradient_boosting.class_weights.values[2]: must be positive and finite, found -1",
        ),
        (
            "second_stage.point=b",
            "second_stage.point: there is no point `b`, nor any other; say second_stage.points.b =",
        ),
    ];
    for (words, expected) in of_tables {
        let said = refused("fusionm4net", words);
        assert!(said.starts_with(&format!("--set {words}: {expected}")), "{said}");
    }
    let size = refused("fusionm4net", "training.preprocess.size=0");
    assert!(size.ends_with("training.preprocess: `size` must be from 1 to 4096 pixels, found 0"), "{size}");
    let heads = "method.heads.candidates=[{ logistic = {} }, { logistic = { tolerance = 0 } }]";
    let said = refused("frozen", heads);
    assert!(
        said.contains("method.heads.candidates[2].logistic.tolerance: must be positive and finite, found 0"),
        "{said}"
    );
    let beta = refused("jif", "method.network.beta=2");
    assert_eq!(beta, "--set method.network.beta=2: method.network.beta: must be from 0 to 1, found 2");
    let weights = "method.network.loss_weights={ clinical = -1, dermoscopic = 1, fusion = 1 }";
    let said = refused("pemm", weights);
    assert!(said.contains("method.network.loss_weights: must be of weights that are not negative"), "{said}");
}

#[test]
fn what_a_file_says_is_refused_with_line_and_column() {
    let error = |text: &str| Experiment::read(Settings::parse("mine.toml", text).unwrap()).unwrap_err().to_string();
    assert_eq!(
        error("recipe = \"fusionm4net\"\n[training]\nlearning_rate = 0"),
        "mine.toml: line 3, column 17: training.learning_rate: must be above 0, found 0"
    );
    // The value that is wrong stands in a lower layer than what it contradicts.
    let below = error("recipe = \"fusionm4net\"\n[training]\nmicro_batch_size = 7");
    assert_eq!(
        below,
        "mine.toml: line 3, column 20: training.micro_batch_size: must be at least 2 and a divisor of batch_size, found 7"
    );
    let stages = "recipe = \"nedelcu\"\n[data]\na.kind = \"class-folders\"\n[[stages]]\nname = \"one\"\ndata = \"a\"\nweights = \"random\"\n";
    let of_a_stage = error(&format!("{stages}training.epochs = 0"));
    assert_eq!(of_a_stage, "mine.toml: line 8, column 19: training.epochs: must be at least 1, found 0");
    let named = error(&format!("{stages}[[stages]]\nname = \"one\"\ndata = \"a\"\nweights = \"random\""));
    assert!(named.starts_with("mine.toml: line 9, column 8: stages[2].name: the name of stage 2 is `one`"), "{named}");
    let unknown = error("recipe = \"fusionm4net\"\n[swep]\nkind = \"grid\"");
    assert!(unknown.starts_with("mine.toml: line 2, column 2: settings: there is no setting `swep`"), "{unknown}");
    let known = unknown.split_once("are: ").unwrap().1.split(", ").collect::<Vec<_>>();
    assert!(["recipe", "sweep", "training", "stages"].iter().all(|key| known.contains(key)), "{known:?}");
    assert_eq!(known.iter().filter(|key| **key == "stages").count(), 1);
}
