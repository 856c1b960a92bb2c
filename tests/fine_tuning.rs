//! Fine-tuning by a schedule: what stands still, what is shown how often, what carries over from stage to stage.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse::backbones::{Backbone, BackboneKind, published_names};
use dermafuse::data::{CaseSet, EpochLength, MetadataEncoder, Sampling, Split};
use dermafuse::infer::Bundle;
use dermafuse::networks::{AnyNetwork, HeadKind, ImageClassifierConfig, Modality, NetworkConfig};
use dermafuse::recipes::{Experiment, Plan, Progress, Recipe, RecipeError, RoundResult, Workplace};
use dermafuse::schema::{BranchLogits, Task, TaskSet};
use dermafuse::settings::{Settings, to_toml};
use dermafuse::train::{
    EpochReport, Observer, Silent, TrainError, Trained, Trainer, TrainingCases, TrainingConfig, Unfreezing,
    UnfreezingSteps, mean_branch_accuracy,
};
use dermafuse_tests::{device_lock, numbers_of, small_set, text_of};

/// The small set with the diagnosis alone, and its split.
fn diagnoses() -> (CaseSet, Split) {
    let (mut set, split) = small_set();
    set.tasks = TaskSet::new(vec![set.tasks[0].clone()]).unwrap();
    set.cases.iter_mut().for_each(|case| case.labels.truncate(1));
    (set, split)
}

fn network(set: &CaseSet) -> NetworkConfig {
    let config =
        ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, set.tasks.class_counts());
    NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::PerLocation, ..config })
}

/// The last layers of a ResNet, so many, each a step.
fn layers(count: usize) -> UnfreezingSteps {
    let layers = [["layer4"], ["layer3"], ["layer2"], ["layer1"]];
    UnfreezingSteps::new(&layers.iter().take(count).map(|step| &step[..]).collect::<Vec<_>>())
}

fn recipe(steps: usize, cumulative: bool) -> TrainingConfig {
    let unfreezing = Unfreezing { steps: layers(steps), epochs_per_step: 1, cumulative };
    let recipe = TrainingConfig::nedelcu(32, &[], 3);
    TrainingConfig { epochs: steps + 1, unfreezing: Some(unfreezing), learning_rate: 1e-3, ..recipe }
}

fn fit(
    config: TrainingConfig,
    score: impl Fn(&BranchLogits) -> f64,
    folder: Option<&Path>,
) -> Result<Trained<AnyNetwork>, Box<TrainError>> {
    let (set, split) = diagnoses();
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train).unwrap(),
        valid: set.view(&split.valid).unwrap(),
        encoder: &encoder,
    };
    let network = network(&set).init_seeded(1, &Device::flex().autodiff()).unwrap();
    Trainer::new(config).fit(network, &cases, score, folder, folder.is_some(), &mut Silent).map_err(Box::new)
}

/// Without validation cases.
fn fit_unvalidated(config: TrainingConfig, folder: Option<&Path>) -> Result<Trained<AnyNetwork>, Box<TrainError>> {
    let (set, split) = diagnoses();
    let encoder = MetadataEncoder::none();
    let cases =
        TrainingCases { train: set.view(&split.train).unwrap(), valid: set.view(&[]).unwrap(), encoder: &encoder };
    let network = network(&set).init_seeded(1, &Device::flex().autodiff()).unwrap();
    let score = |_: &BranchLogits| panic!("there is nothing to score");
    Trainer::new(config).fit(network, &cases, score, folder, folder.is_some(), &mut Silent).map_err(Box::new)
}

/// The numbers of the stem and of the four stages, running statistics included.
fn blocks_of(network: &AnyNetwork) -> [Vec<f32>; 5] {
    let backbone = network.backbones()[0].clone();
    let ids = backbone.parameter_groups();
    let mut visited: [Vec<f32>; 5] = Default::default();
    struct Collector<'a> {
        groups: &'a [dermafuse::backbones::ParameterGroup],
        numbers: &'a mut [Vec<f32>; 5],
    }
    impl burn::module::ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<burn::tensor::Tensor<D>>) {
            let group = self.groups.iter().find(|group| group.group.matches(&param.id, None)).expect("in a group");
            let parts = ["stem", "stage1", "stage2", "stage3", "stage4"];
            let part = parts.iter().position(|part| *part == group.part).expect("there is no classifier");
            self.numbers[part].extend(param.val().into_data().iter::<f32>());
        }
    }
    burn::module::Module::visit(&backbone, &mut Collector { groups: &ids, numbers: &mut visited });
    visited
}

fn changed(from: &AnyNetwork, to: &AnyNetwork) -> [bool; 5] {
    let (from, to) = (blocks_of(from), blocks_of(to));
    std::array::from_fn(|block| from[block] != to[block])
}

#[test]
fn blocks_come_to_train_one_after_the_other_and_what_is_frozen_stands_still() {
    let _lock = device_lock();
    let (set, _) = diagnoses();
    let fresh = || network(&set).init_seeded(1, &Device::flex()).unwrap();
    let train = |blocks, cumulative| fit(recipe(blocks, cumulative), mean_branch_accuracy, None).unwrap();

    let heads = train(0, true);
    assert_eq!(changed(&fresh(), &heads.network), [false; 5], "running statistics stand still too");
    assert_ne!(numbers_of(&fresh()), numbers_of(&heads.network), "the head has learnt");
    assert_eq!(heads.history.len(), 1);

    let one = train(1, true);
    assert_eq!(changed(&fresh(), &one.network), [false, false, false, false, true]);
    let two = train(2, true);
    assert_eq!(changed(&fresh(), &two.network), [false, false, false, true, true]);
    assert_eq!(changed(&one.network, &two.network), [false, false, false, true, true]);
    assert_eq!(two.history[..2], one.history[..], "the first steps are the same");

    // One block at a time: the last one stands still while the one before it trains.
    let alone = train(2, false);
    assert_eq!(changed(&one.network, &alone.network), [false, false, false, true, false]);
}

/// The blocks of the paper, section III-D, by torchvision's names: what has trained by the end of each step.
#[test]
fn the_published_schedules_train_the_published_blocks_in_each_epoch() {
    let numbered = |module: &str, numbers: std::ops::RangeInclusive<usize>| -> Vec<String> {
        numbers.map(|number| format!("{module}{number}.")).collect()
    };
    let features = |numbers| numbered("features.", numbers);
    let published = [
        // The classifier and six modules; MBConv 1 (`features.1`) and the stem never train.
        (
            BackboneKind::EfficientNetB3,
            vec![features(7..=8), features(6..=8), features(5..=8), features(4..=8), features(3..=8), features(2..=8)],
        ),
        // Blocks 16, 13 to 15, 10 to 12 and 6 to 9, which are `features.17`, 14 to 16, 11 to 13 and 7 to 10.
        (BackboneKind::MobileNetV2, vec![features(17..=18), features(14..=18), features(11..=18), features(7..=18)]),
        (BackboneKind::ResNet50, (1..=4).rev().map(|first| numbered("layer", first..=4)).collect()),
    ];
    for (kind, trained) in published {
        for row in ["a) ImageNet, DermAI", "o) from scratch"] {
            let mut recipe = Settings::parse("mine.toml", "recipe = \"nedelcu\"").unwrap();
            recipe.set(&format!("method.network.backbone={kind}")).unwrap();
            let recipe = Recipe::of(recipe).unwrap();
            let experiment = recipe.experiment_of(recipe.row(row).unwrap()).unwrap();
            let training = &experiment.stages.last().unwrap().training;
            let unfreezing = training.unfreezing.as_ref().unwrap();
            assert_eq!(training.epochs, 3 * (trained.len() + 1), "{kind}");

            let backbone = kind.init(None, &Device::flex());
            let groups = backbone.parameter_groups();
            let names = published_names(&backbone);
            for epoch in 0..training.epochs {
                let training = groups.iter().filter(|group| unfreezing.trains(unfreezing.step(epoch), group));
                let training: Vec<_> = training.collect();
                let expected = (epoch / 3).checked_sub(1).map_or(&[][..], |step| &trained[step]);
                for (id, name) in &names {
                    let trains = training.iter().any(|group| group.group.matches(id, None));
                    assert_eq!(
                        trains,
                        expected.iter().any(|prefix| name.starts_with(prefix)),
                        "{kind}, {epoch}: {name}"
                    );
                }
                let rates = (training.is_empty(), epoch < 3);
                assert_eq!(rates.0, rates.1, "{kind}, {epoch}: the head alone");
            }
        }
    }
}

#[test]
fn a_backbone_that_the_recipe_has_no_steps_for_is_refused_with_the_remedy() {
    let read = |words: &[&str]| {
        let mut settings = Settings::parse("mine.toml", "recipe = \"nedelcu\"").unwrap();
        words.iter().for_each(|words| settings.set(words).unwrap());
        Experiment::read(settings).map_err(Box::new)
    };
    let text = read(&["method.network.backbone=densenet121"]).unwrap_err().to_string();
    for name in ["says nothing of densenet121, but of", "mobilenet_v2", "resnet50", "efficientnet_b3"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.contains("training.unfreezing.steps.densenet121 = [[\"BLOCK\", …], …]"), "{text}");

    let steps = "training.unfreezing.steps.densenet121=[[\"norm\", \"denseblock4\"], [\"transition3\"]]";
    let experiment = read(&["method.network.backbone=densenet121", steps]).unwrap();
    assert!(experiment.stages.iter().all(|stage| stage.training.epochs == 9));
    let list = read(&["method.network.backbone=densenet121", "training.unfreezing.steps=[[\"stage4\"]]"]).unwrap();
    assert_eq!(list.stages[0].training.unfreezing.as_ref().unwrap().steps, UnfreezingSteps::new(&[&["stage4"]]));
    let none = read(&["method.network.backbone=densenet121", "training.unfreezing=none"]).unwrap();
    assert!(none.stages.iter().all(|stage| stage.training.unfreezing.is_none() && stage.training.epochs == 21));
    let text = read(&["training.unfreezing.steps.resnet_50=[[\"layer4\"]]"]).unwrap_err().to_string();
    assert!(text.contains("`resnet_50`"), "{text}");
}

#[test]
fn without_validation_cases_the_last_epoch_is_the_result() {
    let _lock = device_lock();
    let config = TrainingConfig { averaging: None, ..recipe(1, true) };
    let trained = fit_unvalidated(config.clone(), None).unwrap();
    assert_eq!(trained.best_epoch, 2);
    assert!(trained.history.iter().all(|epoch| epoch.valid_loss.is_none() && epoch.valid_score.is_none()));
    // The same epochs with validation cases: what they choose is another matter, the last epoch is the same.
    let averaging = recipe(1, true).averaging;
    assert!(averaging.is_some());
    let last = fit(TrainingConfig { averaging, ..config.clone() }, mean_branch_accuracy, None).unwrap();
    assert_eq!(numbers_of(&trained.network), numbers_of(&last.network));
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let kept = fit_unvalidated(config.clone(), Some(folder.path())).unwrap();
        assert_eq!((numbers_of(&kept.network), kept.history), (numbers_of(&trained.network), trained.history.clone()));
    }
    let impatient = TrainingConfig { patience: Some(3), unfreezing: None, ..config };
    let text = fit_unvalidated(impatient, None).unwrap_err().to_string();
    assert_eq!(text, "patience must be none where no case validates, found 3");
}

#[test]
fn head_and_body_have_rates_of_their_own() {
    let mut config = TrainingConfig::nedelcu(300, &[&["layer4"], &["layer3"], &["layer2"], &["layer1"]], 0);
    assert_eq!((config.rate(0), config.head_rate(0), config.backbone_rate), (1e-4, 1e-4, 0.1));
    config.later_head_rate = 0.1;
    let rates: Vec<f64> = [2, 3, 14].iter().map(|&epoch| config.head_rate(epoch)).collect();
    assert!((rates[0] - 1e-4).abs() < 1e-12 && (rates[1] - 1e-5).abs() < 1e-12 && (rates[2] - 1e-5).abs() < 1e-12);
}

#[test]
fn a_schedule_that_is_stopped_in_any_step_resumes_to_the_same_network() {
    let _lock = device_lock();
    let config = recipe(2, false);
    let whole = fit(config.clone(), mean_branch_accuracy, None).unwrap();
    for stop in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        let validated = Cell::new(0);
        let stopping = |logits: &BranchLogits| {
            validated.set(validated.get() + 1);
            if validated.get() == stop { f64::NAN } else { mean_branch_accuracy(logits) }
        };
        let stopped = fit(config.clone(), stopping, Some(folder.path()));
        assert!(matches!(stopped.map_err(|error| *error), Err(TrainError::Score { epoch, .. }) if epoch == stop));
        let resumed = fit(config.clone(), mean_branch_accuracy, Some(folder.path())).unwrap();
        assert_eq!(numbers_of(&whole.network), numbers_of(&resumed.network), "stopped in epoch {stop}");
        assert_eq!(whole.history, resumed.history);
    }
}

#[test]
fn schedules_and_samplings_that_do_not_fit_are_refused() {
    let _lock = device_lock();
    let error = |change: fn(&mut TrainingConfig)| {
        let mut config = recipe(2, true);
        change(&mut config);
        fit(config, mean_branch_accuracy, None).unwrap_err().to_string()
    };
    assert_eq!(
        error(|config| config.epochs = 2),
        "epochs must be enough for every step of unfreezing, found 2, where the steps of unfreezing take 3"
    );
    assert_eq!(
        error(|config| {
            config.epochs = 9;
            config.unfreezing.as_mut().unwrap().steps = UnfreezingSteps::new(&[&["layer4"], &["mbconv7"]]);
        }),
        "unfreezing.steps names the block `mbconv7`, which the backbone has not; its blocks are stem, layer1.0 to layer1.1, \
         layer2.0 to layer2.1, layer3.0 to layer3.1, layer4.0 to layer4.1, and what comes before a dot names all of them"
    );
    assert_eq!(
        error(|config| config.micro_batch_size = Some(4)), // five classes
        "micro_batch_size must be at least 2 and a divisor of batch_size, found 4"
    );
    assert!(
        error(|config| config.sampling = Sampling::ClassBalanced { per_class: 0, length: EpochLength::AllCases })
            .contains("`sampling.per_class` must be 1 or more")
    );
}

/// Two stages: the five diagnoses, then the same photos as three classes.
const STAGES: &str = r#"
        [method]
        network = { kind = "image_classifier", backbone = "resnet18_quarter", view = "clinical", head = "per_location" }
        selection = "balanced_accuracy"
        [data]
        five.kind = "class-folders"
        three.kind = "class-folders"
        [evaluation]
        views = 0
        [[stages]]
        name = "five"
        data = "five"
        weights = "random"
        training.unfreezing.steps = [["layer4"]]
        training.epochs = 2
        [[stages]]
        name = "three"
        data = "three"
        weights = "five"
"#;

fn plan(seed: u64) -> Plan {
    let sets = sets();
    experiment(STAGES, seed).unwrap().plan_for(&sets).unwrap()
}

/// An experiment in stages that trains little.
fn experiment(text: &str, seed: u64) -> Result<Experiment, Box<RecipeError>> {
    let training = TrainingConfig { learning_rate: 1e-3, epochs: 3, ..TrainingConfig::nedelcu(32, &[], 0) };
    let unfreezing = Unfreezing { steps: layers(2), epochs_per_step: 1, cumulative: true };
    let training = TrainingConfig { unfreezing: Some(unfreezing), ..training };
    let defaults = to_toml(&serde_json::json!({ "training": training, "seed": seed }));
    let settings = Settings::parse("two.toml", text).unwrap().over(Settings::parse("training", &defaults).unwrap());
    Experiment::read(settings).map_err(Box::new)
}

/// Photos with five diagnoses, and the same with three.
fn sets() -> [(String, Arc<CaseSet>); 2] {
    let (five, _) = diagnoses();
    let mut three = five.clone();
    let classes = &five.tasks[0].classes[..3];
    three.tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", classes)]).unwrap();
    three.cases.iter_mut().for_each(|case| case.labels[0] = case.labels[0].map(|label| label.min(2)));
    [("five".to_owned(), Arc::new(five)), ("three".to_owned(), Arc::new(three))]
}

#[test]
fn a_backbone_of_another_kind_is_found_when_the_experiment_is_read() {
    let other = format!("{STAGES}method.network.backbone = \"resnet18\"\n");
    let error = experiment(&other, 4).unwrap_err().to_string();
    let expected = "stage `three` starts from the backbone of stage `five`, which is `resnet18_quarter`, and its own is `resnet18`";
    assert!(error.contains(expected), "{error}");
    // From weights of its own it may be another one.
    assert!(experiment(&other.replace("weights = \"five\"", "weights = \"random\""), 4).is_ok());
}

fn follow(plan: &Plan, folder: &Path, resume: bool) -> Result<RoundResult, Box<RecipeError>> {
    let outcome = plan.run(Workplace::on(&Device::flex()).in_folder(folder, resume), &mut Silent).map_err(Box::new)?;
    Ok(outcome.rounds.into_iter().next().expect("there is one round").1)
}

#[test]
fn a_backbone_carries_over_and_a_head_does_not() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(4);
    let result = follow(&plan, folder.path(), false).unwrap();
    let [(name, first)] = &result.earlier[..] else { panic!("one stage before") };
    assert_eq!(name, "five");
    assert_eq!([first, &result].map(|result| result.curves[0].history.len()), [2, 3]);
    assert_eq!(result.test.tasks[0].classes.len(), 3);
    // Balanced batches: every class is shown equally often, however few cases it has.
    for result in [first, &result] {
        assert!(result.shown.windows(2).all(|pair| pair[0] == pair[1]) && result.shown[0] > 0, "{:?}", result.shown);
        assert!(result.cases.windows(2).any(|pair| pair[0] != pair[1]));
    }
    let bundle = |folder: &Path| Bundle::load(folder, &Device::flex()).unwrap();
    let (before, after) = (bundle(&folder.path().join("stage-1-five")), bundle(folder.path()));
    // Two blocks were unfrozen: what is below them is the first stage's backbone still.
    assert_eq!(changed(&before.network, &after.network), [false, false, false, true, true]);
    let stage = &plan.rounds[0].stages[1];
    let predictions = after.predict(&stage.set.view(&stage.split.test).unwrap(), |_| ()).unwrap();
    assert_eq!(*predictions.last(), result.rows().unwrap().pop().unwrap().1, "the bundle answers as the result");

    // What is done is read, not repeated, and nothing else is accepted in its place.
    assert_eq!(follow(&plan, folder.path(), true).unwrap(), result);
    let text = |result: Result<RoundResult, Box<RecipeError>>| text_of(&*result.unwrap_err());
    assert!(text(follow(&plan, folder.path(), false)).contains("already holds a result"));
    let mut other = plan.clone();
    other.rounds[0].stages[1].protocol.first_stage.training.learning_rate = 2e-3;
    let refused = text(follow(&other, folder.path(), true));
    assert!(refused.contains("stage `three`") && refused.contains("another recipe or other data"), "{refused}");
    assert!(refused.contains("`training.learning_rate` was 0.001 and is 0.002"), "{refused}");
    let weights = folder.path().join("stage-1-five/backbone.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let refused = text(follow(&plan, folder.path(), true));
    assert!(refused.contains("backbone.safetensors is not what the stage wrote"), "{refused}");
    let homeless = plan.run(Workplace::on(&Device::flex()), &mut Silent).map(|_| unreachable!()).map_err(Box::new);
    assert!(text(homeless).contains("give it a folder"));
}

/// Ends the run, as a kill would, after some epochs of both stages together.
struct Killer {
    epochs_left: usize,
}

impl Observer for Killer {
    fn epoch(&mut self, _report: &EpochReport, _epochs: usize, _best: bool) {
        self.epochs_left -= 1;
        assert!(self.epochs_left > 0, "killed");
    }
}

impl Progress for Killer {
    fn step(&mut self, _title: &str) {}

    fn predicted(&mut self, _done: usize, _total: usize) {}
}

#[test]
fn a_curriculum_that_is_stopped_anywhere_ends_with_the_same_result() {
    let _lock = device_lock();
    let plan = plan(4);
    let folder = tempfile::tempdir().unwrap();
    let whole = follow(&plan, folder.path(), false).unwrap();
    for epochs in 1..=5 {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let place = Workplace::on(&device).in_folder(folder.path(), false);
        let mut killer = Killer { epochs_left: epochs };
        let killed = catch_unwind(AssertUnwindSafe(|| plan.run(place, &mut killer).map_err(Box::new)));
        assert!(killed.is_err());
        assert_eq!(follow(&plan, folder.path(), true).unwrap(), whole, "stopped after {epochs} epochs");
    }
}
