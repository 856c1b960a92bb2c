//! The recipes that ship: their files say what the methods' constructors say, and their rows are those of the papers.

#[path = "shipped/expected.rs"]
mod expected;

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse_backbones::BackboneKind;
use dermafuse_data::{
    Augmentation, CaseSet, ContrastAbout, DataSetKind, EncoderConfig, EpochLength, FoldGrouping, FoldProtocol, Framing,
    MetadataRoles, Normalization, Preprocess, RandomCorruption, Sampling, Split, derm7pt,
};
use dermafuse_ensemble::{
    Calibration, CalibrationMethod, ClassifierKind, MixSearch, SecondStageInputs, WeightSearch, WeightSearchVariant,
};
use dermafuse_infer::TestTimeAugmentation;
use dermafuse_networks::{
    CafNetConfig, EmbeddingNetConfig, FusionNetConfig, HcCnnConfig, HeadKind, ImageClassifierConfig, Modality,
    ModalitySubset, ModalitySubsetNetConfig, NetworkConfig, OneStageFusionConfig, SeenImages, TFormerConfig,
    TripleNetConfig, UniformClassifierConfig,
};
use dermafuse_recipes::{
    AnswerKind, Experiment, PartsSettings, Plan, Progress, Recipe, Selection, StartWeights, Workplace,
};
use dermafuse_schema::{Case, Task, TaskSet};
use dermafuse_settings::Settings;
use dermafuse_synthetic::SyntheticConfig;
use dermafuse_train::{
    ClassBalancing, EpochReport, Incomplete, LossConfig, LossReduction, Observer, OptimizerKind, RateSchedule,
    SmoothingSpread, TrainingConfig, WeightAveraging,
};
use expected::Expected;

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
/// A training as experiments have it: where a set says where lesions are, which no set of the papers does, images are cut to them.
fn of_experiment(training: &TrainingConfig) -> TrainingConfig {
    let mut training = training.clone();
    training.preprocess.box_margin = Some(Preprocess::DEFAULT_MARGIN);
    training
}

fn assert_rows(recipe: &Recipe, expected: &[Expected]) {
    for Expected { name, network, training, selection, metadata, views, answer } in expected {
        let experiment = row(recipe, name);
        let second_stage = &experiment.second_stage;
        assert_eq!(rounded(experiment.method.network.clone()), rounded(network.clone()), "{name}");
        assert_eq!(experiment.training, of_experiment(training), "{name}");
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
        for (row, mut experiment) in experiments(&recipe) {
            let text = experiment.to_toml();
            // What is written has whole paths.
            if let Some(features) = &mut experiment.machine.features {
                *features = std::path::absolute(&*features).unwrap();
            }
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
    assert_eq!(experiment.training, of_experiment(&TrainingConfig::as_released(224, 170)));
    assert_eq!(experiment.method.selection, Selection::default());
    assert_eq!(experiment.evaluation.views, TestTimeAugmentation::default());
    assert_eq!(experiment.method.metadata, EncoderConfig::from(MetadataRoles::IncludePostDiagnosis));
    let second = &experiment.second_stage;
    assert_eq!((second.answer, &second.search), (AnswerKind::Search, &WeightSearch::default()));
    assert_eq!((second.classifier, second.mix.clone()), (Some(ClassifierKind::default()), MixSearch::default()));
    assert_eq!((second.calibration, second.half_seed), (Calibration::default(), 183));
    assert_eq!(experiment.data["derm7pt"].kind, DataSetKind::Derm7pt);

    let recipe = recipe("fusionm4net");
    assert_eq!(row(&recipe, "FusionM4Net-FS").second_stage.classifier, None);
    assert_eq!(row(&recipe, "FusionM4Net-SS"), experiment);
    let known_before = row(&recipe, "FusionM4Net-SS, known before the diagnosis");
    assert_eq!(known_before.method.metadata.roles, MetadataRoles::PreDiagnosis);
}

#[test]
fn the_rows_of_fusionm4net_differ_in_what_the_tables_say() {
    let recipe = recipe("fusionm4net");
    let own = recipe.experiment().unwrap();
    let backbone = BackboneKind::ResNet50;
    let image = |view| NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, vec![]));
    let one_stage = |images, metadata, fusion: &str| {
        let config = OneStageFusionConfig::new(backbone, images, metadata, vec![]);
        NetworkConfig::OneStageFusion(OneStageFusionConfig { fusion: fusion.parse().unwrap(), ..config })
    };
    let record = NetworkConfig::UniformClassifier(UniformClassifierConfig::default());
    let (fusion_net, svm) = (own.method.network.clone(), Some(ClassifierKind::Svm));
    let (all, search) = (AnswerKind::All, AnswerKind::Search);
    let rows = [
        ("C", image(Modality::Clinical), all, None),
        ("D", image(Modality::Dermoscopic), all, None),
        ("M", record, all, svm),
        ("C-D", one_stage(SeenImages::Both, None, "concat"), all, None),
        ("C-M", one_stage(SeenImages::Clinical, Some(20), "concat"), all, None),
        ("D-M", one_stage(SeenImages::Dermoscopic, Some(20), "concat"), all, None),
        ("C-D-M", one_stage(SeenImages::Both, Some(20), "concat"), all, None),
        ("C-M, two stages", image(Modality::Clinical), all, svm),
        ("D-M, two stages", image(Modality::Dermoscopic), all, svm),
        ("LR", fusion_net.clone(), search, Some(ClassifierKind::Logistic)),
        ("MLP", fusion_net.clone(), search, Some(ClassifierKind::Mlp)),
        ("SVM", fusion_net.clone(), search, svm),
        ("Concat", one_stage(SeenImages::Both, Some(20), "concat"), all, None),
        ("Metablock", one_stage(SeenImages::Both, Some(20), "meta_block"), all, None),
        ("Metanet", one_stage(SeenImages::Both, Some(20), "meta_net"), all, None),
        ("FusionM4Net-FS", fusion_net.clone(), search, None),
        ("FusionM4Net-SS, code of August 2021", fusion_net.clone(), search, svm),
        ("FusionM4Net-SS, known before the diagnosis", fusion_net.clone(), search, svm),
        ("FusionM4Net-SS", fusion_net, search, svm),
    ];
    let names: BTreeSet<&str> = recipe.rows().iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, rows.iter().map(|(name, ..)| *name).collect());
    for (name, network, answer, classifier) in rows {
        let experiment = row(&recipe, name);
        assert_eq!(experiment.method.network, network, "{name}");
        let second_stage = &experiment.second_stage;
        assert_eq!((second_stage.answer, second_stage.classifier), (answer, classifier), "{name}");
        let inputs = if name == "M" { SecondStageInputs::Metadata } else { SecondStageInputs::PredictionsAndMetadata };
        assert_eq!(second_stage.inputs, inputs, "{name}");
        // The training is the method's, but for the row of the first code.
        let mut expected = own.training.clone();
        if name == "FusionM4Net-SS, code of August 2021" {
            expected.augmentation = Some(Augmentation::fusionm4net_2021_08());
            assert_eq!(second_stage.search.variant, WeightSearchVariant::Released2021August);
        }
        assert_eq!(experiment.training, expected, "{name}");
        assert_eq!((experiment.method.selection, experiment.evaluation), (own.method.selection, own.evaluation));
    }
}

#[test]
fn joint_fusion_is_that_of_the_thesis() {
    let recipe = recipe("jif");
    assert_eq!(recipe.experiment().unwrap().data["pad"].kind, DataSetKind::PadUfes20);
    assert_rows(&recipe, &expected::joint_fusion());
    assert_eq!(row(&recipe, "JIF-MMFA(All)"), recipe.experiment().unwrap());
}

#[test]
fn the_thesis_tests_eight_methods_and_prints_sixteen() {
    let recipe = recipe("jif");
    assert_eq!(recipe.row_groups(), (vec!["tested", "tables", "all"], "tested"));
    let published = |table: &str| -> BTreeSet<String> {
        let table = recipe.published().iter().find(|found| found.source.ends_with(&format!("Table {table}"))).unwrap();
        let rows = table.rows.iter().map(|row| row.name.clone());
        let of_backbones = BackboneKind::ALL.map(|kind| format!(" {kind}"));
        rows.filter(|name| of_backbones.iter().all(|backbone| !name.ends_with(backbone))).collect()
    };
    let group =
        |name| -> BTreeSet<String> { recipe.compared_rows(name).unwrap().into_iter().map(str::to_owned).collect() };
    assert_eq!(group(None), published("4.1"));
    assert_eq!(group(Some("tables")), published("4.1").union(&published("4.7")).cloned().collect());
    let (all, tables) = (group(Some("all")), group(Some("tables")));
    assert_eq!(all.difference(&tables).collect::<Vec<_>>(), ["Metadata"]);
    let error = recipe.compared_rows(Some("eight")).unwrap_err().to_string();
    assert_eq!(error, "there is no group of rows `eight`; the groups are tested, tables, all");

    // A file with rows of its own has none of the groups below.
    let of = |text: &str| Recipe::of(Settings::parse("mine.toml", text).unwrap()).map_err(|error| error.to_string());
    let own =
        of("recipe = \"jif\"\n[[rows]]\nname = \"a\"\n[[rows]]\nname = \"b\"\nchange.training.epochs = 1").unwrap();
    assert_eq!((own.row_groups(), own.compared_rows(None).unwrap()), ((vec!["all"], "all"), vec!["a", "b"]));
    for (group, words) in [
        ("name = \"x\"\nrows = [\"Image\", \"JF\"]", "rows: there is no row `JF`"),
        ("name = \"x\"\nrows = [\"Image\"]", "rows: a comparison takes two rows or more"),
        ("name = \"x\"\nrows = [\"Image\", \"Image\"]", "rows: `Image` is named twice"),
        ("name = \"all\"\nrows = [\"Image\", \"JF-MN\"]", "name: another group is `all`"),
    ] {
        let error = of(&format!("recipe = \"jif\"\n[[row_groups]]\n{group}")).unwrap_err();
        assert!(error.starts_with("mine.toml: line") && error.contains(words), "{error}");
    }
}

#[test]
fn protocols_divide_the_cases_and_choose_the_epoch() {
    let recipe = recipe("jif");
    assert_eq!(recipe.protocols(), ["as published", "grouped"]);
    let split = |recipe: &Recipe| match recipe.experiment().unwrap().split {
        PartsSettings::Folds { folds, grouping, protocol, .. } => (folds, grouping, protocol),
        other => panic!("{other:?}"),
    };
    let grouped = (5, FoldGrouping::Grouped, FoldProtocol::NextFoldSelects);
    assert_eq!((split(&recipe), split(&recipe.under_protocol("grouped").unwrap())), (grouped, grouped));
    let mut published = recipe.clone();
    published.set("split.folds=3").unwrap();
    let published = split(&published.under_protocol("as published").unwrap());
    assert_eq!(published, (3, FoldGrouping::Ungrouped, FoldProtocol::TestFoldSelects));
    let error = recipe.under_protocol("printed").unwrap_err().to_string();
    assert_eq!(error, "there is no protocol `printed`; the protocols are as published, grouped");
    assert!(Recipe::shipped("pemm").unwrap().under_protocol("all").unwrap_err().to_string().contains("one way"));
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
    // The classifier and six modules, three epochs each, also from scratch; everything at once is none of the paper's.
    let steps = [&["last", "mbconv7"][..], &["mbconv6"], &["mbconv5"], &["mbconv4"], &["mbconv3"], &["mbconv2"]];
    let published = TrainingConfig::nedelcu(300, &steps, 0);
    assert_eq!(published.epochs, 21);
    let at_once = TrainingConfig { unfreezing: None, backbone_rate: 1.0, ..published.clone() };
    let network = ImageClassifierConfig::new(BackboneKind::EfficientNetB3, Modality::Clinical, vec![]);
    let network = NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::PerLocation, ..network });
    let rows = [
        ("o) from scratch", &["dermai"][..], &published),
        ("from scratch, everything at once", &["dermai"], &at_once),
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
            assert_eq!((&stage.training, &stage.method.network), (&of_experiment(training), &network), "{name}");
            let start = if number > 0 { stages[number - 1] } else { "method" };
            assert_eq!(stage.weights, if name.contains("scratch") { "random" } else { start }, "{name}");
        }
        assert_eq!(experiment.split, PartsSettings::Drawn { shares: [0.8, 0.0, 0.2], seed: 0 });
        assert_eq!(experiment.stages.last().unwrap().data, if name.starts_with('x') { "all" } else { "dermai" });
        assert_eq!(experiment.method.selection, Selection::BalancedAccuracy);
        assert_eq!(experiment.evaluation.views, TestTimeAugmentation::Off);
        assert_eq!(experiment.second_stage.answer, AnswerKind::All);
    }
    assert_eq!(row(&recipe, "c) ImageNet, EDRA, Dermofit, DermAI"), recipe.experiment().unwrap());
}

#[test]
fn the_comparators_have_the_networks_of_their_papers() {
    let embedding_net = EmbeddingNetConfig::new(BackboneKind::ResNet50, Some(20), vec![]);
    let embedding_net = EmbeddingNetConfig { embedding: vec![512, 128], ..embedding_net };
    let networks = [
        ("tformer", NetworkConfig::TFormer(TFormerConfig::new(Some(20), vec![]))),
        ("embedding_net", NetworkConfig::EmbeddingNet(embedding_net)),
        ("modality_subsets", NetworkConfig::ModalitySubsetNet(ModalitySubsetNetConfig::kawahara(20, vec![]))),
        ("hc_cnn", NetworkConfig::HcCnn(HcCnnConfig::new(BackboneKind::ResNet50, vec![]))),
        ("caf_net", NetworkConfig::CafNet(CafNetConfig::new(BackboneKind::ResNet50, vec![]))),
        ("triple_net", NetworkConfig::TripleNet(TripleNetConfig::new(BackboneKind::Vgg16, vec![]))),
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
    // What the authors' code says of the training, beside network, rate and epochs.
    let TrainingConfig { batch_size, weight_decay, schedule, loss, .. } = experiment("tformer").training;
    assert_eq!((batch_size, weight_decay, schedule), (32, 1e-4, RateSchedule::Cosine));
    assert_eq!(loss, LossConfig { reduction: LossReduction::TaskMean, ..LossConfig::default() });
    assert_eq!(experiment("tformer").method.metadata.roles, MetadataRoles::IncludePostDiagnosis);
    // One branch, the mean of three, and the joint one.
    let answers =
        [("hc_cnn", AnswerKind::All), ("caf_net", AnswerKind::All), ("triple_net", AnswerKind::OnlyFusionBranch)];
    for (name, answer) in answers {
        let experiment = experiment(name);
        assert_eq!((experiment.second_stage.answer, experiment.second_stage.classifier), (answer, None), "{name}");
        assert_eq!(experiment.evaluation.views, TestTimeAugmentation::Off, "{name}");
    }
}

/// The settings of the training that is the yardstick for this data: two rates, warm-up and cosine, moving average, smoothed labels,
/// adjusted logits.
#[test]
fn milk10k_is_trained_as_its_yardstick() {
    let recipe = recipe("milk10k");
    let experiment = experiment("milk10k");
    assert_eq!(recipe.own_row().unwrap().name, "both images and record");
    assert_eq!(experiment.data["milk10k"].kind, DataSetKind::Milk10k);
    let training = &experiment.training;
    let published = BackboneKind::EfficientNetLite0.published_input();
    match training.preprocess.normalization {
        Normalization::MeanStd { mean, std } => assert_eq!((mean, std), (published.mean, published.std)),
        Normalization::Div255 => panic!("(x - 127) / 128"),
    }
    assert_eq!((training.epochs, training.batch_size, training.preprocess.size), (12, 32, 160));
    assert_eq!(training.optimizer, OptimizerKind::AdamW);
    assert!(
        (training.rate(0) - 2e-3).abs() < 1e-12 && (training.rate(0) * training.backbone_rate - 4e-4).abs() < 1e-12
    );
    assert_eq!((training.schedule, training.warm_up_steps), (RateSchedule::CosineByStep, 100));
    assert_eq!(training.averaging, Some(WeightAveraging::Exponential { decay: 0.995, warm_up: true }));
    assert_eq!((training.loss.label_smoothing, training.loss.logit_adjustment), (0.05, 1.0));
    assert_eq!(training.loss.smoothing_spread, SmoothingSpread::Frequencies);
    assert_eq!((training.weight_decay, training.clip_norm), (0.02, Some(5.0)));
    let augmentation = training.augmentation.as_ref().unwrap();
    assert_eq!((augmentation.shift_limit, augmentation.oversize), (0.075, 1.25));
    assert_eq!(augmentation.contrast_about, ContrastAbout::Mean);
    assert_eq!(row(&recipe, "evenly smoothed").training.loss.smoothing_spread, SmoothingSpread::Evenly);
    assert_eq!(row(&recipe, "made small first").training.augmentation.unwrap().oversize, 1.0);
    match &experiment.method.network {
        NetworkConfig::ModalitySubsetNet(network) => {
            use ModalitySubset::{All, Clinical, Dermoscopic};
            assert_eq!(network.subsets, [Clinical, Dermoscopic, All]);
            assert_eq!((&network.weights[..], network.record, network.dropout), (&[0.5, 0.5, 1.0][..], Some(64), 0.3));
        }
        other => panic!("{other:?}"),
    }
    assert!(row(&recipe, "mixed").training.mixing.is_some() && training.mixing.is_none());
    let augmentation = |name: &str| row(&recipe, name).training.augmentation.unwrap();
    assert_eq!(augmentation("hair and rulers").corruption, Some(RandomCorruption::default()));
    assert_eq!(augmentation("neutral light").colour_constancy, 0.5);
    assert_eq!(row(&recipe, "growing").training.side_in(0), 96);
    assert_eq!(row(&recipe, "padded").training.preprocess.framing, Framing::Pad);
    assert_eq!(row(&recipe, "no average of weights").training.averaging, None);
    assert_eq!((experiment.method.members, row(&recipe, "two seeds").method.members), (1, 2));
    assert_eq!(experiment.second_stage.calibrated, Some(CalibrationMethod::Temperature));
    let points: Vec<&str> = experiment.second_stage.points.keys().map(String::as_str).collect();
    assert_eq!((points, experiment.second_stage.point.as_deref()), (vec!["accurate", "balanced", "macro_f1"], None));
}

/// The losses of the epochs.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Observer for Losses {
    fn epoch(&mut self, report: &EpochReport, _epochs: usize, _is_best: bool) {
        self.0.push(report.train_loss);
    }
}

impl Progress for Losses {
    fn step(&mut self, _title: &str) {}

    fn predicted(&mut self, _done: usize, _total: usize) {}
}

#[test]
fn the_recipe_of_milk10k_learns() {
    let folder = tempfile::tempdir().unwrap();
    // Of which 20 or more validate: the probabilities are calibrated.
    let drawn = SyntheticConfig { cases: 150, image_size: (48, 36), ..SyntheticConfig::default() };
    dermafuse_synthetic::write(&folder.path().join("drawn"), &drawn).unwrap();
    let mut recipe = recipe("milk10k");
    recipe.set_data(&format!("derm7pt={}", folder.path().join("drawn").display())).unwrap();
    for words in [
        "method.weights=random",
        "method.network.backbone=resnet18_quarter",
        "training.backbone_rate=1",
        "training.preprocess.size=32",
        "training.epochs=8",
        "training.batch_size=8",
        "training.warm_up_steps=4",
        "evaluation.views=0",
    ] {
        recipe.set(words).unwrap();
    }
    let experiment = recipe.experiment().unwrap();
    let mut losses = Losses::default();
    let outcome = experiment.plan().unwrap().run(Workplace::on(&Device::flex()), &mut losses).unwrap();
    assert_eq!(losses.0.len(), 8);
    assert!(losses.0[7] < 0.9 * losses.0[0], "{:?}", losses.0);
    assert_eq!(outcome.rounds.len(), 1);
}

#[test]
fn the_inception_rows_differ_in_batches_and_answer() {
    let recipe = recipe("modality_subsets");
    assert_eq!(recipe.own_row().unwrap().name, "Inception-combined");
    let balanced = Sampling::LabelBalanced { per_label: 1, length: EpochLength::AllCases };
    let tasks = TaskSet::new(derm7pt::tasks()).unwrap();
    for (name, sampling, weights, answer) in [
        ("Inception-unbalanced", Sampling::EachOnce, ClassBalancing::Uniform, AnswerKind::OnlyFusionBranch),
        ("Inception-balanced", balanced, ClassBalancing::BalancedInBatch, AnswerKind::OnlyFusionBranch),
        ("Inception-combined", balanced, ClassBalancing::BalancedInBatch, AnswerKind::All),
    ] {
        let experiment = row(&recipe, name);
        let expected = ModalitySubsetNetConfig::kawahara(20, vec![]);
        assert_eq!(experiment.method.network, NetworkConfig::ModalitySubsetNet(expected), "{name}");
        assert_eq!(
            (experiment.training.sampling, experiment.training.loss.class_weights),
            (sampling, weights),
            "{name}"
        );
        assert_eq!((experiment.second_stage.answer, experiment.second_stage.classifier), (answer, None), "{name}");
        // Balanced over Derm7pt's 24 labels, a batch is as large as others are.
        assert_eq!(experiment.training.batch_size, 24, "{name}");
        assert_eq!(sampling.batch_size(&tasks).unwrap_or(24), 24, "{name}");
    }
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
            // One image has one loss.
            NetworkConfig::ImageClassifier(_) => continue,
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
        // What other models say has none.
        let Some(backbone) = experiment.method.network.backbones().first().map(|backbone| backbone.name()) else {
            assert_eq!(name, "bring_your_own");
            continue;
        };
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
    let known = "fusionm4net, jif, ammfm, pemm, amfam, nedelcu, tformer, embedding_net, modality_subsets, \
                 hc_cnn, caf_net, triple_net, milk10k, frozen, bring_your_own";
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
fn printed_numbers_of_another_backbone_or_network_are_those_that_are_printed_of_it() {
    let note = |plan: &Plan| plan.notes.iter().find(|note| note.starts_with("The published numbers")).cloned();
    // The tables of joint fusion have a row for each of five backbones.
    let mut jif = recipe("jif");
    jif.set("method.weights=random").unwrap();
    jif.set("method.network.backbone=densenet121").unwrap();
    for row in [None, Some("JF-CAT"), Some("Image")] {
        let plan = plan(&jif, "pad-ufes-20", row);
        assert_eq!(plan.published_row.as_deref(), row.or(Some("JIF-MMFA(All)")));
        let printed = format!("{} densenet121", row.unwrap_or("JIF-MMFA(All)"));
        assert!(plan.published.iter().any(|table| table.row(&printed).is_some()), "{printed}");
        // The printed numbers are of folds that patients cross.
        assert_eq!(note(&plan).as_deref(), Some("The published numbers are of other settings: split, method.weights."));
    }
    let as_published = plan(&jif.under_protocol("as published").unwrap(), "pad-ufes-20", None);
    let expected = "The published numbers are of other settings: method.weights.";
    assert_eq!(note(&as_published).as_deref(), Some(expected));
    jif.set("method.network.view=dermoscopic").unwrap();
    assert_eq!(plan(&jif, "isic-2019", Some("JF-MA")).published_row.as_deref(), Some("JF-MA"));
    jif.set("method.network.backbone=resnet18").unwrap();
    assert!(plan(&jif, "pad-ufes-20", None).published.is_empty());

    // An image alone has no stages of the method.
    let mut jif = recipe("jif");
    jif.set("method.weights=random").unwrap();
    let names = |plan: &Plan| -> BTreeSet<String> {
        plan.published.iter().flat_map(|table| table.rows.iter().map(|row| row.name.clone())).collect()
    };
    let expected = BTreeSet::from(["Image".to_owned(), "Image resnet50".to_owned()]);
    assert_eq!(names(&plan(&jif, "pad-ufes-20", Some("Image"))), expected);
    assert!(names(&plan(&jif, "pad-ufes-20", None)).len() > 90);

    // A row of ours is the method with other settings.
    let mut own = recipe("fusionm4net");
    own.set("method.weights=random").unwrap();
    let before = plan(&own, "derm7pt", Some("FusionM4Net-SS, known before the diagnosis"));
    let expected = "The published numbers are of other settings: method.weights, method.metadata.";
    assert_eq!(note(&before).as_deref(), Some(expected));
    assert!(names(&before).contains("P_3"));
    let stages = plan(&own, "derm7pt", Some("FusionM4Net-FS"));
    assert_eq!(note(&stages).as_deref(), Some("The published numbers are of other settings: method.weights."));
}

#[test]
fn another_backbone_is_for_every_row() {
    let names = [
        "fusionm4net",
        "jif",
        "pemm",
        "amfam",
        "embedding_net",
        "modality_subsets",
        "hc_cnn",
        "caf_net",
        "triple_net",
        "milk10k",
        "frozen",
    ];
    for name in names {
        let mut recipe = recipe(name);
        recipe.set("method.network.backbone=resnet18").unwrap();
        for (row, experiment) in experiments(&recipe) {
            let backbones = experiment.method.network.backbones();
            assert!(backbones.iter().all(|backbone| *backbone == BackboneKind::ResNet18), "{name}, {row}");
            assert_eq!(backbones.is_empty(), ["Metadata", "M"].contains(&row.as_str()), "{name}, {row}");
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
