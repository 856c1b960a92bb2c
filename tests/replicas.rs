//! Several devices that share each step give the bytes of one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use dermafuse::backbones::{BackboneKind, ParameterGroup};
use dermafuse::data::{CaseSet, MetadataEncoder, Mixing, Split};
use dermafuse::infer::MODEL_FILE;
use dermafuse::networks::{
    AnyNetwork, BackboneFreeze, BranchInfo, FusionNetConfig, Modalities, MultimodalInput, Network, NetworkConfig,
    NetworkKind, NetworkOutput, Probe, collect_statistics, draw_for_pass, move_statistics,
};
use dermafuse::recipes::Workplace;
use dermafuse::train::{
    OptimizerKind, RateSchedule, Silent, TrainError, Trained, Trainer, TrainingCases, TrainingConfig, WeightAveraging,
    mean_branch_accuracy,
};
use dermafuse_tests::{contents_of, device_lock, numbers_of, small_experiment, small_set, tensor_by_formula, text_of};

/// Four parts of two cases in each step, with all that a step may depend on.
fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig {
        epochs,
        batch_size: 8,
        micro_batch_size: Some(2),
        optimizer: OptimizerKind::AdamW,
        learning_rate: 1e-3,
        schedule: RateSchedule::Constant,
        clip_norm: Some(0.5),
        mixing: Some(Mixing { probability: 0.7, mixup: 0.4, cutmix: 1.0 }),
        averaging: Some(WeightAveraging::Exponential { decay: 0.7, warm_up: true }),
        ..TrainingConfig::as_released(32, 3)
    }
}

/// A trainer for as many devices.
fn trainer(config: TrainingConfig, devices: usize) -> Trainer {
    Trainer { replicas: vec![Device::flex(); devices - 1], ..Trainer::new(config) }
}

/// A network whose layers keep running statistics and leave out units.
fn network(set: &CaseSet) -> AnyNetwork {
    let config = FusionNetConfig::new(BackboneKind::ResNet18Quarter, set.tasks.class_counts());
    NetworkConfig::FusionNet(config).init_seeded(1, &Device::flex().autodiff()).unwrap()
}

fn fit<N: Network>(
    trainer: &Trainer,
    network: N,
    (set, split): (&CaseSet, &Split),
    folder: Option<&Path>,
) -> Result<Trained<N>, Box<TrainError>> {
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train).unwrap(),
        valid: set.view(&split.valid).unwrap(),
        encoder: &encoder,
    };
    trainer.fit(network, &cases, mean_branch_accuracy, folder, true, &mut Silent).map_err(Box::new)
}

/// The files of weights and averages below a folder, by their place in it. Burn writes those of optimizers in an order that it draws: what
/// they hold shows in the weights of the next epoch.
fn weights_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files =
        contents_of(folder).into_iter().map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes));
    files.filter(|(path, _)| path.ends_with("network.bpk") || path.ends_with("average.bpk")).collect()
}

#[test]
fn one_to_four_devices_leave_the_same_checkpoints() {
    let _lock = device_lock();
    let (set, split) = small_set();
    // Files have the identities of parameters, which are drawn anew with each network.
    let start = network(&set);
    let run = |devices| {
        let folder = tempfile::tempdir().unwrap();
        let start = start.valid().train();
        let trained = fit(&trainer(config(2), devices), start, (&set, &split), Some(folder.path())).unwrap();
        (trained.history, numbers_of(&trained.network), weights_in(folder.path()))
    };
    let (history, numbers, files) = run(1);
    assert_eq!(files.len(), 4, "two epochs with network and average: {:?}", files.keys());
    // Three devices have four parts to share: the first has two of them.
    for devices in 2..=4 {
        let (found, found_numbers, found_files) = run(devices);
        assert_eq!(found, history, "{devices} devices");
        assert!(found_numbers == numbers, "{devices} devices");
        assert!(found_files.keys().eq(files.keys()), "{devices} devices");
        for (file, bytes) in &files {
            assert!(found_files[file] == *bytes, "{}, {devices} devices", file.display());
        }
    }
    // The size of parts does count.
    let whole = TrainingConfig { micro_batch_size: None, ..config(2) };
    assert_ne!(fit(&trainer(whole, 1), network(&set), (&set, &split), None).unwrap().history, history);
}

#[test]
fn a_run_goes_on_on_fewer_and_on_more_devices() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let whole = fit(&trainer(config(3), 1), network(&set), (&set, &split), None).unwrap();
    for [before, after] in [[3, 1], [1, 2]] {
        let folder = tempfile::tempdir().unwrap();
        fit(&trainer(config(3), before), network(&set), (&set, &split), Some(folder.path())).unwrap();
        fs::remove_dir_all(folder.path().join("epoch-00003")).unwrap();
        let resumed = fit(&trainer(config(3), after), network(&set), (&set, &split), Some(folder.path())).unwrap();
        assert_eq!(resumed.history, whole.history, "{before}, then {after}");
        assert!(numbers_of(&resumed.network) == numbers_of(&whole.network), "{before}, then {after}");
    }
}

/// A network whose device fails, some time, in a pass of training over two cases.
#[derive(Module, Debug)]
struct Failing {
    network: AnyNetwork,
    #[module(skip)]
    passes_left: Arc<AtomicUsize>,
}

impl Network for Failing {
    fn branches(&self) -> Vec<BranchInfo> {
        self.network.branches()
    }

    fn modalities(&self) -> Modalities {
        self.network.modalities()
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        self.network.backbone_groups()
    }

    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self {
        Self { network: self.network.freeze_backbones(freeze), ..self }
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let images = input.clinical();
        if images.dims()[0] == 2 && images.device().is_autodiff() {
            assert!(self.passes_left.fetch_sub(1, Ordering::Relaxed) > 0, "the connection is lost");
        }
        self.network.forward_probed(input, probe)
    }
}

#[test]
fn a_device_that_fails_is_named_and_the_run_goes_on_without_it() {
    let _lock = device_lock();
    let (set, mut split) = small_set();
    // Two batches of two parts of four cases, and one whose second part has two.
    split.train.truncate(22);
    let config = TrainingConfig { micro_batch_size: Some(4), ..config(3) };
    let run = |devices, passes, folder: Option<&Path>| {
        let network = Failing { network: network(&set), passes_left: Arc::new(AtomicUsize::new(passes)) };
        fit(&trainer(config.clone(), devices), network, (&set, &split), folder)
    };
    let whole = run(1, 3, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = run(2, 1, Some(folder.path())).unwrap_err();
    let TrainError::Device { epoch: 2, batch: 3, cases: 2, device: 2, devices: 2, reason } = &*error else {
        panic!("{error}")
    };
    assert_eq!(reason, "the connection is lost");
    let text = error.to_string();
    let named = "device 2 of 2 cannot train batch 3 of epoch 2, 2 cases at a time: the connection is lost. ";
    assert!(text.starts_with(named) && text.ends_with("resume the run"), "{text}");
    assert!(folder.path().join("epoch-00001").is_dir() && !folder.path().join("epoch-00002").exists());

    let resumed = run(1, 2, Some(folder.path())).unwrap();
    assert_eq!(resumed.history, whole.history);
    assert!(numbers_of(&resumed.network) == numbers_of(&whole.network));
}

#[test]
fn a_loss_that_is_not_finite_names_the_cases_of_its_part() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let expected = |devices| {
        let config = TrainingConfig { learning_rate: 1e30, clip_norm: None, mixing: None, ..config(1) };
        text_of(&*fit(&trainer(config, devices), network(&set), (&set, &split), None).unwrap_err())
    };
    let text = expected(1);
    assert!(text.contains("in epoch 1, batch 2 (cases "), "{text}");
    assert_eq!(expected(3), text);
}

#[test]
fn parts_that_do_not_suit_the_devices_are_refused() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let refused = |micro_batch_size, devices| {
        let config = TrainingConfig { micro_batch_size, ..config(1) };
        text_of(&*fit(&trainer(config, devices), network(&set), (&set, &split), None).unwrap_err())
    };
    assert_eq!(
        refused(None, 2),
        "micro_batch_size must be set where several devices share a step, since each computes parts of that size, found none for \
         batches of 8 on 2 devices"
    );
    assert_eq!(
        refused(Some(4), 3),
        "micro_batch_size must be so small that each of several devices has a part of a batch, found 4 for batches of 8 on 3 devices"
    );
}

#[test]
fn an_experiment_on_several_devices_is_that_of_as_many_parts() {
    let _lock = device_lock();
    let run = |devices: &str, micro_batch_size| {
        let mut experiment = small_experiment();
        experiment.machine.device = serde_json::from_str(devices).unwrap();
        experiment.training.micro_batch_size = micro_batch_size;
        let opened = experiment.machine.device.open().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let place = Workplace::on_all(&opened).in_folder(folder.path(), false);
        experiment.plan().unwrap().run(place, &mut Silent).unwrap();
        fs::read(folder.path().join(MODEL_FILE)).unwrap()
    };
    let parts = run(r#""flex""#, Some(4));
    assert!(run(r#"["flex","flex"]"#, None) == parts);

    let mut uneven = small_experiment();
    uneven.machine.device = serde_json::from_str(r#"["flex","flex","flex"]"#).unwrap();
    let opened = uneven.machine.device.open().unwrap();
    let error = uneven.plan().unwrap().check(Workplace::on_all(&opened), &mut Silent).unwrap_err();
    assert!(text_of(&error).contains("found none for batches of 8 on 3 devices"), "{}", text_of(&error));
}

/// Running statistics of a module, in its order.
fn statistics_of<M: Module>(module: &M) -> Vec<Vec<f32>> {
    #[derive(Default)]
    struct Reader(String, Vec<Vec<f32>>);
    impl ModuleVisitor for Reader {
        fn enter_module(&mut self, name: &str, _container: &str) {
            name.clone_into(&mut self.0);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if ["running_mean", "running_var"].contains(&self.0.as_str()) {
                self.1.push(param.val().into_data().iter().collect());
            }
        }
    }
    let mut reader = Reader::default();
    module.valid().visit(&mut reader);
    reader.1
}

/// A layer that moved its statistics itself would do it on the first device alone.
#[test]
fn every_network_leaves_its_running_statistics_to_whoever_asks() {
    let _lock = device_lock();
    let (classes, record) = ([3, 2], 7);
    let device = Device::flex().autodiff();
    let input = || MultimodalInput {
        clinical: Some(tensor_by_formula("clinical", [2, 3, 64, 64], &device)),
        dermoscopic: Some(tensor_by_formula("dermoscopic", [2, 3, 64, 64], &device)),
        metadata: Some(tensor_by_formula("metadata", [2, record], &device)),
    };
    let mut with_statistics = 0;
    for kind in NetworkKind::ALL {
        for (number, config) in kind.examples(&classes, record).into_iter().enumerate() {
            let network = config.init_seeded(1, &device).unwrap();
            let at_once = network.valid().train(); // clones share their running statistics
            let before = statistics_of(&network);
            if before.is_empty() {
                continue;
            }
            let (_, collected) = collect_statistics(|| draw_for_pass(5, || network.forward(input())));
            assert!(statistics_of(&network) == before, "{kind} {number}");
            draw_for_pass(5, || at_once.forward(input()));
            let network = move_statistics(network, &collected);
            assert!(statistics_of(&network) == statistics_of(&at_once), "{kind} {number}");
            with_statistics += usize::from(statistics_of(&network) != before);
        }
    }
    assert!(with_statistics > 20, "{with_statistics}");
}
