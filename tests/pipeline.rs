//! The whole line of work on a small synthetic set: reproducible, resumable, saved and loaded, complete without an image.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::Module;
use burn::tensor::Device;
use dermafuse::data::{CaseSet, MetadataRoles};
use dermafuse::eval::{Evaluation, MetricsContext, metrics_json};
use dermafuse::infer::{Bundle, MODEL_FILE};
use dermafuse::networks::{BackboneFreeze, Network, NetworkConfig};
use dermafuse::recipes::{Progress, Protocol, Workplace, majority};
use dermafuse::schema::{AnswerBasis, FieldValue, Predictions};
use dermafuse::train::{EpochReport, Observer, Silent, WeightAveraging};
use dermafuse_tests::{device_lock, numbers_of, small_recipe, small_set};

fn metrics(rows: &[(String, Predictions)]) -> String {
    let evaluations: Vec<(String, Evaluation)> =
        rows.iter().map(|(name, predictions)| (name.clone(), Evaluation::of(predictions).unwrap())).collect();
    metrics_json(&evaluations, &MetricsContext::default()).unwrap()
}

/// The network's numbers, without the identities of its parameters.
#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let run = |run: u64| {
        let mut recipe = small_recipe(&set);
        recipe.first_stage.training.seed += run;
        recipe.second_stage.as_mut().unwrap().half_seed += run;
        recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap()
    };
    let (first, second, other) = (run(0), run(0), run(1));
    assert_eq!(metrics(&first.rows), metrics(&second.rows));
    assert_eq!(first.test, second.test);
    assert!(numbers_of(&first.bundle.network) == numbers_of(&second.bundle.network));
    assert!(first.bundle.to_bytes().unwrap() == second.bundle.to_bytes().unwrap(), "the same seed, the same file");
    assert!(numbers_of(&first.bundle.network) != numbers_of(&other.bundle.network));

    let names: Vec<&str> = first.rows.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["P_clinical", "P_dermoscopic", "P_fusion", "P_1 averaged", "P_1", "P_2", "P_3 averaged", "P_3"];
    assert_eq!(names, expected);
    assert!(first.curves[0].history[1].train_loss < first.curves[0].history[0].train_loss);
    assert_eq!(
        first.bundle.description.encoder.uses_post_diagnosis(),
        ["level_of_diagnostic_difficulty", "management"]
    );
}

/// Dies when an epoch is done, as if the process had been killed there.
struct Killer {
    epochs_to_live: usize,
    resumed_after: Vec<usize>,
}

impl Observer for Killer {
    fn resumed(&mut self, finished_epochs: usize) {
        self.resumed_after.push(finished_epochs);
    }

    fn epoch(&mut self, _report: &EpochReport, _epochs: usize, _best: bool) {
        self.epochs_to_live = self.epochs_to_live.checked_sub(1).expect("killed");
    }
}

impl Progress for Killer {
    fn step(&mut self, _title: &str) {}

    fn predicted(&mut self, _done: usize, _total: usize) {}
}

/// A small recipe of three epochs, part of whose network stands still.
fn three_epochs(set: &CaseSet, averaging: Option<WeightAveraging>) -> Protocol {
    let mut recipe = small_recipe(set);
    recipe.first_stage.training.epochs = 3;
    recipe.first_stage.training.freeze = BackboneFreeze { groups: 1, batch_norm: false };
    recipe.first_stage.training.averaging = averaging;
    recipe
}

#[test]
fn a_run_that_was_killed_after_every_epoch_ends_like_one_that_was_not() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let averages = [
        None,
        Some(WeightAveraging::LastEpochs { epochs: 2, refresh_batch_norm: true }),
        Some(WeightAveraging::Exponential { decay: 0.7, warm_up: false }),
    ];
    for averaging in averages {
        let recipe = three_epochs(&set, averaging);
        let uninterrupted = recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let mut killer = Killer { epochs_to_live: 0, resumed_after: Vec::new() };
        let resumed = loop {
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                recipe
                    .run(&set, &split, Workplace::on(&Device::flex()).in_folder(folder.path(), true), &mut killer)
                    .unwrap()
            }));
            if let Ok(outcome) = attempt {
                break outcome;
            }
        };
        // The network on all cases, then the one on half of them, each killed after every of its three epochs.
        assert_eq!(killer.resumed_after, [1, 2, 3, 3, 1, 3, 2, 3, 3]);
        assert_eq!(resumed.curves, uninterrupted.curves);
        assert!(numbers_of(&resumed.bundle.network) == numbers_of(&uninterrupted.bundle.network), "{averaging:?}");
        assert_eq!(metrics(&resumed.rows), metrics(&uninterrupted.rows));
    }
}

#[test]
fn a_folder_that_holds_another_run_is_refused() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let mut recipe = three_epochs(&set, None);
    let folder = tempfile::tempdir().unwrap();
    let device = Device::flex();
    recipe.run(&set, &split, Workplace::on(&device).in_folder(folder.path(), false), &mut Silent).unwrap();
    let error = recipe
        .run(&set, &split, Workplace::on(&Device::flex()).in_folder(folder.path(), false), &mut Silent)
        .unwrap_err();
    assert!(error.to_string().contains("already holds a run of 3 epochs; resume it"), "{error}");
    recipe.first_stage.training.learning_rate *= 2.0;
    let error = recipe
        .run(&set, &split, Workplace::on(&Device::flex()).in_folder(folder.path(), true), &mut Silent)
        .unwrap_err();
    let expected =
        "was started with another configuration or other data: `training.learning_rate` was 0.001 and is 0.002";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_bundle_predicts_the_same_after_saving_and_without_an_image_or_metadata() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    let mut recipe = small_recipe(&set);
    recipe.first_stage.training.epochs = 1;
    let outcome = recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    outcome.bundle.save(folder.path().join(MODEL_FILE)).unwrap();
    let bundle = Bundle::load(folder.path(), &Device::flex()).unwrap();
    assert_eq!(bundle.description, outcome.bundle.description);
    let answers = bundle.predict(&set.view(&split.test).unwrap(), |_| ()).unwrap();
    assert_eq!((answers.stages, answers.rows), (outcome.rows, split.test.clone()));
    assert_eq!(answers.seen.to_string(), format!("0 of {} cases trained or selected this model.", split.test.len()));
    assert_eq!((answers.failed, answers.notes), (Vec::new(), bundle.notes()));

    // One case without its clinical photo, one without its dermoscopic image, one without metadata.
    let rows = &split.test[..4];
    let complete = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap().stages;
    set.cases[rows[0]].clinical = Vec::new();
    set.cases[rows[1]].dermoscopic = Vec::new();
    set.cases[rows[2]].metadata.fill(FieldValue::Missing);
    let predictions = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap().stages;
    let (name, third) = predictions.last().unwrap();
    assert_eq!(name, "P_3");
    let all = "clinical+dermoscopic+fusion";
    let expected =
        ["dermoscopic+metadata", "clinical+metadata", all, &format!("{all}+metadata")].map(AnswerBasis::from);
    assert_eq!(third.basis, expected);
    let row = |rows: &[(String, Predictions)], name: &str| {
        rows.iter().find(|(row, _)| row == name).map(|(_, predictions)| predictions.clone()).unwrap()
    };
    let (first, dermoscopic) = (row(&predictions, "P_1"), row(&complete, "P_dermoscopic"));
    for task in 0..set.tasks.len() {
        assert_eq!(first.probabilities[task].row(0), dermoscopic.probabilities[task].row(0));
        assert_eq!(third.probabilities[task].row(2), first.probabilities[task].row(2));
        assert_eq!(third.probabilities[task].row(3), complete.last().unwrap().1.probabilities[task].row(3));
    }

    set.cases[rows[0]].dermoscopic = Vec::new();
    let answers = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap();
    assert_eq!(answers.rows, &rows[1..]);
    let reason = &answers.failed[0].reason;
    assert!(reason.contains("has no branch to predict from: neither a clinical nor a dermoscopic image"), "{reason}");
    let note = answers.notes.last().unwrap();
    assert!(note.starts_with("1 of 4 cases could not be answered; the first, "), "{note}");
    let error = bundle.predict(&set.view(&rows[..1]).unwrap(), |_| ()).unwrap_err().to_string();
    assert!(error.contains("has no branch to predict from"), "{error}");
    assert!(bundle.logits(&set.view(rows).unwrap(), |_| ()).is_err(), "logits are of all cases or none");
}

#[test]
fn without_metadata_the_recipe_stops_at_the_first_stage() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    set.fields.clear();
    set.cases.iter_mut().for_each(|case| case.metadata.clear());
    let mut recipe = small_recipe(&set);
    recipe.first_stage.training.epochs = 1;
    recipe.metadata = MetadataRoles::PreDiagnosis.into();
    let outcome = recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    assert_eq!(outcome.rows.last().unwrap().0, "P_1");
    assert!(outcome.curves.len() == 1 && outcome.mix.is_none());
}

#[test]
fn every_branch_and_head_trains_every_parameter() {
    use burn::optim::GradientsParams;
    use dermafuse::networks::MultimodalInput;
    let _lock = device_lock();
    let (set, _) = small_set();
    let NetworkConfig::FusionNet(config) = small_recipe(&set).first_stage.network else { panic!("a FusionNet") };
    let device = Device::flex().autodiff();
    let network = config.init(&device).unwrap();
    let images = || burn::tensor::Tensor::random([2, 3, 32, 32], burn::tensor::Distribution::Default, &device);
    let output =
        network.forward(MultimodalInput { clinical: Some(images()), dermoscopic: Some(images()), metadata: None });
    let sums = output.branches.into_iter().flat_map(|branch| branch.logits).map(|logits| logits.powf_scalar(2.0).sum());
    let loss = sums.reduce(|a, b| a + b).unwrap();
    let gradients = GradientsParams::from_grads(loss.backward(), &network);

    struct Count(usize);
    impl burn::module::ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<burn::tensor::Tensor<D>>) {
            self.0 += usize::from(param.is_require_grad());
        }
    }
    let mut parameters = Count(0);
    network.visit(&mut parameters);
    assert!(parameters.0 > 100);
    assert_eq!(gradients.len(), parameters.0);
}

#[test]
fn the_majority_baseline_predicts_the_most_frequent_class() {
    let (set, split) = small_set();
    let train = set.view(&split.train).unwrap();
    let baseline = majority(&train, &set.view(&split.test).unwrap()).unwrap();
    for (task, counts) in (0..set.tasks.len()).map(|task| (task, train.class_counts(task).unwrap())) {
        let most = counts.iter().max().unwrap();
        assert_eq!(counts[baseline.predicted(0, task)], *most);
    }
}
