//! The recipes that ship: their files say what the methods' constructors say, and their rows are those of the papers.

#[path = "shipped/expected.rs"]
mod expected;

use std::collections::BTreeSet;
use std::sync::Arc;

use dermafuse_backbones::BackboneKind;
use dermafuse_data::{CaseSet, DataSetKind, EncoderConfig, MetadataRoles, Split};
use dermafuse_ensemble::{Calibration, ClassifierKind, MixSearch, WeightSearch};
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{
    EmbeddingNetConfig, FusionNetConfig, HeadKind, ImageClassifierConfig, Modality, ModalitySubsetNetConfig,
    NetworkConfig, TFormerConfig,
};
use dermafuse_recipes::{AnswerKind, Experiment, Plan, Recipe, Selection, StartWeights};
use dermafuse_schema::{Case, Task, TaskSet};
use dermafuse_settings::Settings;
use dermafuse_train::{Incomplete, OptimizerKind, TrainingConfig};
use expected::Expected;

/// The rows of FusionM4Net's table that are stages of one training.
const STAGES: [&str; 8] =
    ["P_clinical", "P_dermoscopic", "P_fusion", "P_1 averaged", "P_1", "P_2", "P_3 averaged", "P_3"];

fn recipe(name: &str) -> Recipe {
    Recipe::named(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn experiment(name: &str) -> Experiment {
    recipe(name).experiment().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn row(recipe: &Recipe, name: &str) -> Experiment {
    let row = recipe.row(name).unwrap_or_else(|error| panic!("{error}"));
    recipe.experiment_of(row).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The method and every row, by name.
fn experiments(recipe: &Recipe) -> Vec<(String, Experiment)> {
    let rows = recipe.rows().iter().map(|entry| (entry.name.clone(), row(recipe, &entry.name)));
    std::iter::once(("the method".to_owned(), recipe.experiment().unwrap())).chain(rows).collect()
}

/// The rows of a recipe that are asked for are what the tables say.
fn assert_rows(recipe: &Recipe, expected: &[Expected]) {
    for Expected { name, network, training, selection, metadata, views, answer } in expected {
        let experiment = row(recipe, name);
        let second_stage = &experiment.second_stage;
        assert_eq!(rounded(experiment.method.network.clone()), rounded(network.clone()), "{name}");
        assert_eq!(experiment.training, *training, "{name}");
        assert_eq!(experiment.method.selection, *selection, "{name}");
        assert_eq!(experiment.method.metadata, *metadata, "{name}");
        assert_eq!(experiment.evaluation.views, *views, "{name}");
        assert_eq!(experiment.incomplete, Incomplete::default(), "{name}");
        assert_eq!((second_stage.answer, second_stage.classifier), (*answer, None), "{name}");
        assert_eq!(second_stage.search, WeightSearch::default(), "{name}");
        assert_eq!(experiment.method.weights, StartWeights::Imagenet, "{name}");
    }
    let names: BTreeSet<&str> = expected.iter().map(|row| row.name.as_str()).collect();
    let found: BTreeSet<&str> = recipe.rows().iter().map(|row| row.name.as_str()).collect();
    assert_eq!(found, names);
}

/// 0.5 − 0.4 is not 0.1 to the last bit.
fn rounded(mut network: NetworkConfig) -> NetworkConfig {
    if let NetworkConfig::SingleSharedNetwork(config) = &mut network {
        let weights = &mut config.loss_weights;
        for weight in [&mut weights.clinical, &mut weights.dermoscopic, &mut weights.fusion] {
            *weight = (*weight * 1e12).round() / 1e12;
        }
    }
    network
}

#[test]
fn what_is_written_of_a_recipe_and_of_its_rows_is_read_back() {
    for name in Recipe::shipped_names() {
        let recipe = recipe(name);
        assert!(!recipe.about().paper.is_empty() && recipe.about().summary.ends_with('.'), "{name}");
        let names: BTreeSet<&str> = recipe.rows().iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), recipe.rows().len(), "{name}: names are unique");
        assert_eq!(recipe.rows().is_empty(), recipe.own_row().is_none(), "{name}: one row is the method");
        for (row, experiment) in experiments(&recipe) {
            let text = experiment.to_toml();
            let again = Experiment::read(Settings::parse("experiment.toml", &text).unwrap());
            let again = again.unwrap_or_else(|error| panic!("{name}, {row}: {error}\n{text}"));
            assert_eq!(again, experiment, "{name}, {row}");
        }
    }
}

#[test]
fn fusionm4net_is_as_released() {
    let experiment = experiment("fusionm4net");
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet50, vec![]));
    assert_eq!(experiment.method.network, network);
    // The released code seeds the network that learns from all training cases with 170, the other with 183.
    assert_eq!(experiment.training, TrainingConfig::as_released(224, 170));
    assert_eq!(experiment.method.selection, Selection::default());
    assert_eq!(experiment.evaluation.views, TestTimeAugmentation::default());
    assert_eq!(experiment.method.metadata, EncoderConfig::from(MetadataRoles::IncludePostDiagnosis));
    let second = &experiment.second_stage;
    assert_eq!((second.answer, &second.search), (AnswerKind::Search, &WeightSearch::default()));
    assert_eq!((second.classifier, second.mix), (Some(ClassifierKind::default()), MixSearch::default()));
    assert_eq!((second.calibration, second.half_seed), (Calibration::default(), 183));
    assert_eq!(experiment.data["derm7pt"].kind, DataSetKind::Derm7pt);

    let recipe = recipe("fusionm4net");
    assert_eq!(row(&recipe, "FusionM4Net-FS").second_stage.classifier, None);
    assert_eq!(row(&recipe, "FusionM4Net-SS"), experiment);
    let known_before = row(&recipe, "FusionM4Net-SS, known before the diagnosis");
    assert_eq!(known_before.method.metadata.roles, MetadataRoles::PreDiagnosis);
}

#[test]
fn joint_fusion_is_that_of_the_thesis() {
    let recipe = recipe("jif");
    assert_eq!(recipe.experiment().unwrap().data["pad"].kind, DataSetKind::PadUfes20);
    assert_rows(&recipe, &expected::joint_fusion());
    assert_eq!(row(&recipe, "JIF-MMFA(All)"), recipe.experiment().unwrap());
}

#[test]
fn the_rows_of_two_images_are_those_of_the_tables() {
    let tables = [
        ("ammfm", expected::ammfm(), "AFF-AAB MN+ST"),
        ("pemm", expected::pemm(), "PS+SCA+BL"),
        ("amfam", expected::amfam(), "AMFAM"),
    ];
    for (name, rows, own) in tables {
        let recipe = recipe(name);
        assert_rows(&recipe, &rows);
        assert_eq!(recipe.own_row().unwrap().name, own);
    }
}

#[test]
fn the_strategies_of_fine_tuning_are_those_of_the_paper() {
    let recipe = recipe("nedelcu");
    let published = TrainingConfig::nedelcu(300, 4, 0);
    let scratch = TrainingConfig { unfreezing: None, backbone_rate: 1.0, ..published.clone() };
    let network = ImageClassifierConfig::new(BackboneKind::EfficientNetB3, Modality::Clinical, vec![]);
    let network = NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::PerLocation, ..network });
    let rows = [
        ("o) from scratch", &["dermai"][..], &scratch),
        ("x) ImageNet, merged", &["merged"], &published),
        ("a) ImageNet, DermAI", &["dermai"], &published),
        ("b) ImageNet, EDRA, DermAI", &["edra", "dermai"], &published),
        ("c) ImageNet, EDRA, Dermofit, DermAI", &["edra", "dermofit", "dermai"], &published),
    ];
    assert_eq!(recipe.rows().len(), rows.len());
    for (name, expected, training) in rows {
        let experiment = row(&recipe, name);
        let stages: Vec<&str> = experiment.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(stages, expected, "{name}");
        for (number, stage) in experiment.stages.iter().enumerate() {
            assert_eq!((&stage.training, &stage.method.network), (training, &network), "{name}");
            let start = if number > 0 { stages[number - 1] } else { "method" };
            assert_eq!(stage.weights, if name.starts_with('o') { "random" } else { start }, "{name}");
        }
        assert_eq!(experiment.stages.last().unwrap().data, if name.starts_with('x') { "all" } else { "dermai" });
        assert_eq!(experiment.method.selection, Selection::BalancedAccuracy);
        assert_eq!(experiment.evaluation.views, TestTimeAugmentation::Off);
        assert_eq!(experiment.second_stage.answer, AnswerKind::All);
    }
    assert_eq!(row(&recipe, "c) ImageNet, EDRA, Dermofit, DermAI"), recipe.experiment().unwrap());
}

#[test]
fn the_comparators_have_the_networks_of_their_papers() {
    let networks = [
        ("tformer", NetworkConfig::TFormer(TFormerConfig::new(Some(20), vec![]))),
        (
            "embedding_net",
            NetworkConfig::EmbeddingNet(EmbeddingNetConfig::new(BackboneKind::ResNet50, Some(20), vec![])),
        ),
        ("modality_subsets", NetworkConfig::ModalitySubsetNet(ModalitySubsetNetConfig::kawahara(20, vec![]))),
    ];
    for (name, network) in networks {
        let experiment = experiment(name);
        assert_eq!(experiment.method.network, network);
        let TrainingConfig { epochs, learning_rate, optimizer, .. } = experiment.training;
        assert_eq!((epochs, learning_rate, optimizer), (100, 1e-4, OptimizerKind::Adam), "{name}");
        assert_eq!(experiment.method.weights, StartWeights::Imagenet, "{name}");
    }
    let images = NetworkConfig::TFormer(TFormerConfig::new(None, vec![]));
    assert_eq!(row(&recipe("tformer"), "images").method.network, images);
}

#[test]
fn every_printed_number_belongs_to_a_row() {
    let mut numbers = 0;
    for name in Recipe::shipped_names() {
        let recipe = recipe(name);
        for table in recipe.published() {
            let names: BTreeSet<&str> = table.rows.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names.len(), table.rows.len(), "{}", table.source);
            for row in &table.rows {
                // A row that stands on a backbone of its own has the name of both.
                let method = match row.name.split_once(' ') {
                    Some((method, backbone)) if backbone.parse::<BackboneKind>().is_ok() => method,
                    _ => &row.name,
                };
                let is_stage = name == "fusionm4net" && STAGES.contains(&method);
                assert!(is_stage || recipe.row(method).is_ok(), "{name}: {method}");
                let scores = [row.accuracy, row.balanced_accuracy, row.auc, row.macro_f1, row.weighted_f1];
                let scores = scores.into_iter().flatten().map(|score| score.mean);
                let all: Vec<f64> = scores.chain(row.tasks.values().map(|task| task.mean)).collect();
                assert!(!all.is_empty() && all.iter().all(|score| (2.0..100.0).contains(score)), "{}", row.name);
                numbers += all.len();
                if let (8, Some(accuracy)) = (row.tasks.len(), row.accuracy) {
                    let mean = row.tasks.values().map(|task| task.mean).sum::<f64>() / 8.0;
                    assert!((mean - accuracy.mean).abs() < 0.16, "{}: {mean} and {accuracy}", row.name);
                }
            }
        }
    }
    // FusionM4Net, AMMFM, PEMM and its weights, AMFAM, joint fusion on three sets, fine-tuning.
    assert_eq!(numbers, 10 * 9 + 20 * 2 + 6 * 2 + 7 * 2 + (8 + 4 * 8) + 3 * 21 + 5 * 3);
    let jif = recipe("jif");
    for set in ["pad-ufes-20", "derm7pt", "isic-2019"] {
        let tables: Vec<_> = jif.published_for(set).collect();
        let [averages, backbones] = tables[..] else { panic!("two tables of {set}") };
        assert!(averages.friedman_p.is_some_and(|p| p < 1e-11));
        let balanced = backbones.rows.iter().map(|row| row.balanced_accuracy.unwrap().mean);
        let average = averages.row("JIF-MMFA(All)").unwrap().balanced_accuracy.unwrap().mean;
        assert!((balanced.sum::<f64>() / 5.0 - average).abs() < 0.051, "{set}");
    }
    assert_eq!(jif.published_for("ham10000").count(), 0);
}

#[test]
fn words_go_before_rows_and_stages() {
    for name in Recipe::shipped_names() {
        let mut recipe = recipe(name);
        recipe.set("training.learning_rate=0.5").unwrap();
        recipe.set("evaluation.views=3").unwrap();
        recipe.set("seed=9").unwrap();
        for (row, experiment) in experiments(&recipe) {
            assert_eq!(experiment.training.learning_rate, 0.5, "{name}, {row}");
            assert!(experiment.stages.iter().all(|stage| stage.training.learning_rate == 0.5), "{name}, {row}");
            assert_eq!((experiment.evaluation.views, experiment.seed), (TestTimeAugmentation::Three, 9));
        }
    }
    // Also before what a row says itself.
    let mut recipe = recipe("pemm");
    recipe.set("method.network.loss_weights.clinical=0.7").unwrap();
    for (name, experiment) in experiments(&recipe) {
        let weights = match experiment.method.network {
            NetworkConfig::SingleSharedNetwork(network) => network.loss_weights,
            NetworkConfig::AsymmetricFusion(network) => network.loss_weights,
            other => panic!("{other:?}"),
        };
        assert_eq!(weights.clinical, 0.7, "{name}");
    }
}

#[test]
fn what_was_published_with_imagenets_weights_asks_for_them() {
    for name in Recipe::shipped_names() {
        let mut recipe = recipe(name);
        let experiment = recipe.experiment().unwrap();
        let backbone = experiment.method.network.backbones()[0].name();
        let error = experiment.method.weights.files(&experiment.method.network).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the method starts from ImageNet's weights of {backbone}")), "{error}");
        assert!(error.ends_with("or that random ones will do (method.weights = \"random\")"), "{error}");
        recipe.set("method.weights=random").unwrap();
        let method = recipe.experiment().unwrap().method;
        assert_eq!(method.weights.files(&method.network).unwrap(), None);
    }
}

#[test]
fn an_unknown_recipe_is_answered_with_those_that_are_known() {
    let known = "fusionm4net, jif, ammfm, pemm, amfam, nedelcu, tformer, embedding_net, modality_subsets";
    let error = Recipe::named("fusionm5net").unwrap_err().to_string();
    assert_eq!(
        error,
        format!("there is no recipe `fusionm5net`; the recipes are {known}, or the path of a file (.toml)")
    );
    let settings = Settings::parse("mine.toml", "title = \"a\"\nrecipe = \"jiff\"").unwrap();
    let error = Experiment::read(settings).unwrap_err().to_string();
    assert!(error.starts_with("mine.toml: line 2, column 10: recipe: there is no recipe `jiff`"), "{error}");
    assert!(error.contains(known), "{error}");
}

/// Twenty cases without images.
fn plan(recipe: &Recipe, set: &str, row: Option<&str>) -> Plan {
    let case = |n: usize| Case { labels: vec![Some(n % 2)], ..Case::new(n.to_string()) };
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
    let cases: Vec<Case> = (0..20).map(case).collect();
    let mut set =
        CaseSet { name: set.into(), synthetic: false, tasks, fields: vec![], cases, split: None, notes: vec![] };
    set.split = Some(Split::stratified(&set, 0, [0.6, 0.2, 0.2], 0).unwrap());
    let row = row.map(|name| recipe.row(name).unwrap());
    let experiment = match row {
        Some(row) => recipe.experiment_of(row).unwrap(),
        None => recipe.experiment().unwrap(),
    };
    let data = experiment.data.keys().next().unwrap().clone();
    experiment.plan_for(&[(data, Arc::new(set))]).unwrap().with_published(recipe, row)
}

#[test]
fn printed_numbers_go_with_the_method_that_they_are_of() {
    let mut own = recipe("pemm");
    own.set("method.weights=random").unwrap();
    let note = |plan: &Plan| plan.notes.iter().find(|note| note.starts_with("The published numbers")).cloned();
    let method = plan(&own, "derm7pt", None);
    assert_eq!((method.published.len(), method.published_row.as_deref()), (8, Some("PS+SCA+BL")));
    // Everything else is as published.
    assert_eq!(note(&method).as_deref(), Some("The published numbers are of other settings: method.weights."));
    assert_eq!(plan(&own, "derm7pt", Some("W=0.4")).published_row.as_deref(), Some("W=0.4"));
    assert_eq!(note(&plan(&own, "milk10k", None)), None);

    own.set("training.epochs=60").unwrap();
    own.set("repeats=2").unwrap();
    let shorter = note(&plan(&own, "derm7pt", None));
    assert_eq!(shorter.as_deref(), Some("The published numbers are of other settings: method.weights, training."));
    own.set("method.network.backbone=resnet18").unwrap();
    assert!(plan(&own, "derm7pt", None).published.is_empty());

    let mine = Settings::parse("mine.toml", "recipe = \"pemm\"\nmethod.weights = \"random\"\nseed = 3").unwrap();
    let mine = Recipe::of(mine).unwrap();
    assert_eq!(plan(&mine, "derm7pt", Some("PS")).published.len(), 8);
    let text = "data.derm7pt.kind = \"derm7pt\"\nmethod.network = { kind = \"fusion_net\", backbone = \"resnet18\", dropout = 0 }";
    let bare = Recipe::of(Settings::parse("bare.toml", text).unwrap()).unwrap();
    assert!(plan(&bare, "derm7pt", None).published.is_empty());
}

#[test]
fn another_backbone_is_for_every_row() {
    for name in ["jif", "pemm", "amfam", "embedding_net", "modality_subsets"] {
        let mut recipe = recipe(name);
        recipe.set("method.network.backbone=resnet18").unwrap();
        for (row, experiment) in experiments(&recipe) {
            let backbones = experiment.method.network.backbones();
            assert!(backbones.iter().all(|backbone| *backbone == BackboneKind::ResNet18), "{name}, {row}");
            assert_eq!(backbones.is_empty(), row == "Metadata", "{name}, {row}");
        }
    }
    let mut jif = recipe("jif");
    jif.set("method.network.metadata.layers=[8]").unwrap();
    jif.set("method.network.view=dermoscopic").unwrap();
    let rows: Vec<_> = experiments(&jif).into_iter().map(|(_, experiment)| experiment.method.network).collect();
    assert!(rows.len() > 15);
    for network in rows {
        match network {
            NetworkConfig::ImageClassifier(image) => assert_eq!(image.view, Modality::Dermoscopic),
            NetworkConfig::MetadataClassifier(record) => assert_eq!(record.metadata.layers, [8]),
            NetworkConfig::JointFusion(joint) => assert_eq!(joint.metadata.layers, [8]),
            NetworkConfig::JointIndividualFusion(network) => assert_eq!(network.joint.metadata.layers, [8]),
            other => panic!("{other:?}"),
        }
    }
}
