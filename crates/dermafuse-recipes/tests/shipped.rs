//! The recipes that ship: their files say what the methods' constructors say, and their rows are those of the papers.

use std::collections::BTreeSet;
use std::sync::Arc;

use dermafuse_backbones::BackboneKind;
use dermafuse_data::{CaseSet, DataSetKind, EncoderConfig, MetadataRoles, Split};
use dermafuse_ensemble::Calibration;
use dermafuse_fusion::FusionKind;
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{
    EmbeddingNetConfig, FusionNetConfig, HeadKind, ImageClassifierConfig, ImageView, ModalitySubsetNetConfig,
    NetworkConfig, TFormerConfig,
};
use dermafuse_recipes::{
    Answer, AnswerKind, Curriculum, Experiment, FusionM4Net, JointMethod, JointStructure, OneStage, Plan, Recipe,
    Selection, StartWeights, amfam_methods, ammfm_methods, pemm_loss_weights, pemm_methods,
};
use dermafuse_schema::{Case, Task, TaskSet};
use dermafuse_settings::Settings;
use dermafuse_train::{OptimizerKind, TrainingConfig};

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

/// The experiment is what the constructor makes.
fn assert_is(experiment: &Experiment, expected: &OneStage, name: &str) {
    let Experiment { method, training, second_stage, evaluation, .. } = experiment;
    assert_eq!(rounded(method.network.clone()), rounded(expected.network.network.clone()), "{name}");
    assert_eq!(*training, expected.network.training, "{name}");
    assert_eq!(method.selection, expected.network.selection, "{name}");
    assert_eq!(method.metadata, expected.metadata, "{name}");
    assert_eq!(evaluation.views, expected.network.augmentation, "{name}");
    assert_eq!(experiment.incomplete, expected.network.incomplete, "{name}");
    let answer = match second_stage.answer {
        AnswerKind::All => Answer::All,
        AnswerKind::OnlyFusionBranch => Answer::OnlyFusionBranch,
        AnswerKind::Search => Answer::Search(second_stage.search.clone()),
    };
    assert_eq!(answer, expected.answer, "{name}");
    assert_eq!(second_stage.classifier, None, "{name}");
    assert_eq!(method.weights, StartWeights::Imagenet, "{name}");
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
    let released = FusionM4Net::as_released(network, 224, 0);
    assert_eq!(experiment.method.network, released.first_stage.network);
    assert_eq!(experiment.training, released.first_stage.training);
    assert_eq!(experiment.method.selection, released.first_stage.selection);
    assert_eq!(experiment.evaluation.views, released.first_stage.augmentation);
    assert_eq!(experiment.method.metadata, EncoderConfig::from(released.metadata));
    let second = &experiment.second_stage;
    assert_eq!((second.answer, &second.search), (AnswerKind::Search, &released.weights));
    assert_eq!((second.classifier, second.mix), (released.classifier, released.mix));
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
    let expected = |method: JointMethod| method.recipe(vec![], DataSetKind::PadUfes20.encoding(), 224, 0);
    let image = JointMethod { structure: JointStructure::Image, ..JointMethod::default() };
    assert_is(&row(&recipe, "Image"), &expected(image), "Image");
    let mut found = 1;
    for fusion in FusionKind::COMPARED.map(|name| name.parse().unwrap()) {
        let joint = JointMethod { structure: JointStructure::Joint, fusion, ..JointMethod::default() };
        assert_is(&row(&recipe, &joint.to_string()), &expected(joint.clone()), &joint.to_string());
        let method = JointMethod { structure: JointStructure::JointIndividual, ..joint };
        for (suffix, answer) in [("(OFB)", Answer::OnlyFusionBranch), ("(All)", Answer::All)] {
            let name = format!("{method}{suffix}");
            assert_is(&row(&recipe, &name), &OneStage { answer, ..expected(method.clone()) }, &name);
        }
        found += 3;
    }
    assert_eq!(recipe.rows().len(), found);
    assert_eq!(row(&recipe, "JIF-MMFA(All)"), recipe.experiment().unwrap());
}

#[test]
fn the_rows_of_two_images_are_those_of_the_tables() {
    use BackboneKind::{ConvNeXtTiny, MobileNetV3Small, ResNet50, SwinV2Tiny};
    let of_ammfm = [SwinV2Tiny, ResNet50, ConvNeXtTiny].map(|big| ammfm_methods(MobileNetV3Small, big, &[]));
    let of_pemm = [pemm_methods(SwinV2Tiny, &[]), pemm_loss_weights(SwinV2Tiny, &[])];
    let of_amfam = [amfam_methods(ResNet50, &[])];
    let tables = [
        ("ammfm", of_ammfm.concat(), 224, "AFF-AAB MN+ST"),
        ("pemm", of_pemm.concat(), 224, "PS+SCA+BL"),
        ("amfam", of_amfam.concat(), 299, "AMFAM"),
    ];
    for (name, methods, image_size, own) in tables {
        let recipe = recipe(name);
        for entry in recipe.rows() {
            let method = methods.iter().find(|method| method.name == entry.name);
            let method = method.unwrap_or_else(|| panic!("{name}: no method {}", entry.name));
            assert_is(&row(&recipe, &entry.name), &method.recipe(image_size, 0), &entry.name);
        }
        // The other way round: rows of the published pair; the others have rows that were not printed.
        let all = if name == "ammfm" { &methods[..12] } else { &methods[..] };
        assert!(all.iter().all(|method| recipe.row(&method.name).is_ok()), "{name}");
        assert_eq!(recipe.own_row().unwrap().name, own);
    }
}

#[test]
fn the_strategies_of_fine_tuning_are_the_curricula() {
    let recipe = recipe("nedelcu");
    let published = TrainingConfig::nedelcu(300, 4, 0);
    let scratch = TrainingConfig { unfreezing: None, backbone_rate: 1.0, ..published.clone() };
    let network = ImageClassifierConfig::new(BackboneKind::EfficientNetB3, ImageView::Clinical, vec![]);
    let network = NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::PerLocation, ..network });
    let rows = [
        ("o) from scratch", "scratch", &scratch),
        ("x) ImageNet, merged", "merged", &published),
        ("a) ImageNet, DermAI", "dermai", &published),
        ("b) ImageNet, EDRA, DermAI", "edra-dermai", &published),
        ("c) ImageNet, EDRA, Dermofit, DermAI", "edra-dermofit-dermai", &published),
    ];
    assert_eq!(recipe.rows().len(), rows.len());
    for (name, curriculum, training) in rows {
        let experiment = row(&recipe, name);
        let curriculum = Curriculum::shipped(curriculum).unwrap();
        let stages: Vec<&str> = experiment.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(stages, curriculum.stages(), "{name}");
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
                let all: Vec<f64> = scores.chain(row.tasks.values().copied()).collect();
                assert!(!all.is_empty() && all.iter().all(|score| (2.0..100.0).contains(score)), "{}", row.name);
                numbers += all.len();
                if let (8, Some(accuracy)) = (row.tasks.len(), row.accuracy) {
                    let mean = row.tasks.values().sum::<f64>() / 8.0;
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
    assert_eq!((method.published.len(), method.published_row.as_deref()), (2, Some("PS+SCA+BL")));
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
    assert_eq!(plan(&mine, "derm7pt", Some("PS")).published.len(), 2);
    let text = "data.derm7pt.kind = \"derm7pt\"\nmethod.network = { kind = \"fusion_net\", backbone = \"resnet18\", dropout = 0 }";
    let bare = Recipe::of(Settings::parse("bare.toml", text).unwrap()).unwrap();
    assert!(plan(&bare, "derm7pt", None).published.is_empty());
}
