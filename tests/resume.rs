//! Runs that go on: what they notice, what they refuse and why, how they are extended, what becomes of damage.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{Augmentation, CaseSet, Framing, MetadataEncoder, Mixing, Preprocess, Split, derm7pt};
use dermafuse::networks::{AnyNetwork, ImageClassifierConfig, Modality, NetworkConfig};
use dermafuse::recipes::{RecipeError, SecondStageTable, Workplace};
use dermafuse::schema::BranchLogits;
use dermafuse::train::{
    BatchReport, EpochReport, LossConfig, LostBest, Observer, OptimizerKind, RateSchedule, Silent, TrainError, Trained,
    Trainer, TrainingCases, TrainingConfig, WeightAveraging, mean_branch_accuracy,
};
use dermafuse_kernels::on_pool;
use dermafuse_tests::{contents_of, device_lock, numbers_of, small_experiment, small_set, small_set_folder};

fn classifier(set: &CaseSet) -> NetworkConfig {
    let (backbone, view) = (BackboneKind::ResNet18Quarter, Modality::Clinical);
    NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, set.tasks.class_counts()))
}

fn config(epochs: usize) -> TrainingConfig {
    TrainingConfig {
        epochs,
        batch_size: 8,
        learning_rate: 1e-3,
        schedule: RateSchedule::Constant,
        ..TrainingConfig::as_released(32, 3)
    }
}

/// Trains on the small set, or another one of the same cases.
fn fit(
    trainer: &Trainer,
    (set, split): (&CaseSet, &Split),
    score: impl Fn(&BranchLogits) -> f64,
    folder: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Trained<AnyNetwork>, Box<TrainError>> {
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train).unwrap(),
        valid: set.view(&split.valid).unwrap(),
        encoder: &encoder,
    };
    let network = classifier(set).init_seeded(1, &Device::flex().autodiff()).unwrap();
    trainer.fit(network, &cases, score, folder, true, observer).map_err(Box::new)
}

fn train(config: TrainingConfig, folder: Option<&Path>) -> Result<Trained<AnyNetwork>, Box<TrainError>> {
    let (set, split) = small_set();
    fit(&Trainer::new(config), (&set, &split), mean_branch_accuracy, folder, &mut Silent)
}

fn refused(config: TrainingConfig, folder: &Path) -> String {
    let before = contents_of(folder);
    let text = train(config, Some(folder)).unwrap_err().to_string();
    assert!(contents_of(folder) == before, "a refused run changes nothing");
    text
}

#[test]
fn a_finished_run_is_extended_to_the_bytes_of_a_longer_one() {
    let _lock = device_lock();
    let averages = [
        None,
        Some(WeightAveraging::Exponential { decay: 0.7, warm_up: false }),
        Some(WeightAveraging::LastEpochs { epochs: 1, refresh_batch_norm: false }),
    ];
    for averaging in averages {
        let config = |epochs| TrainingConfig { averaging, ..config(epochs) };
        let whole = train(config(4), None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let short = train(config(2), Some(folder.path())).unwrap();
        let extended = train(config(4), Some(folder.path())).unwrap();
        assert_eq!((short.history.len(), extended.history.len()), (2, 4));
        assert_eq!(extended.history, whole.history);
        assert_eq!(extended.best_epoch, whole.best_epoch);
        assert!(numbers_of(&extended.network) == numbers_of(&whole.network), "{averaging:?}");
    }
}

/// Has the pool from every other batch to the next, so that the step between them stays on the thread that trains.
#[derive(Default)]
struct EveryOtherBatch {
    held: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    batches: usize,
}

impl EveryOtherBatch {
    fn release(&mut self) {
        if let Some((wanted, holder)) = self.held.take() {
            wanted.store(false, Ordering::Release);
            holder.join().unwrap();
        }
    }
}

impl Observer for EveryOtherBatch {
    fn batch(&mut self, _: &BatchReport) {
        self.batches += 1;
        if self.held.is_some() {
            return self.release();
        }
        let wanted = Arc::new(AtomicBool::new(true));
        let (still, (taken, is_taken)) = (wanted.clone(), channel());
        let hold = move || {
            on_pool(|| {
                taken.send(rayon::current_thread_index()).unwrap();
                while still.load(Ordering::Acquire) {
                    rayon::yield_now(); // other work of the pool goes on
                    std::thread::yield_now();
                }
            });
        };
        self.held = Some((wanted, std::thread::spawn(hold)));
        assert!(is_taken.recv().unwrap().is_some(), "nobody else has the pool");
    }
}

/// Burn keeps running statistics for each thread: a step's must be in them before the next one begins, which may be on another one.
#[test]
fn the_thread_that_a_step_runs_on_makes_no_difference() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let trainer = Trainer::new(config(2));
    let expected = fit(&trainer, (&set, &split), mean_branch_accuracy, None, &mut Silent).unwrap();
    let mut changing = EveryOtherBatch::default();
    let found = fit(&trainer, (&set, &split), mean_branch_accuracy, None, &mut changing);
    changing.release();
    assert!(changing.batches > 4, "{} batches", changing.batches);
    assert!(numbers_of(&found.unwrap().network) == numbers_of(&expected.network));
}

/// Warm-up, a cosine from step to step, a young average, mixed cases, tints: all of it follows from seed, epoch, step and case.
#[test]
fn what_changes_from_step_to_step_goes_on_where_it_stopped() {
    let _lock = device_lock();
    let config = TrainingConfig {
        schedule: RateSchedule::CosineByStep,
        warm_up_steps: 3,
        optimizer: OptimizerKind::AdamW,
        backbone_rate: 0.5,
        averaging: Some(WeightAveraging::Exponential { decay: 0.9, warm_up: true }),
        mixing: Some(Mixing { probability: 0.7, mixup: 0.4, cutmix: 1.0 }),
        loss: LossConfig { label_smoothing: 0.05, logit_adjustment: 1.0, ..LossConfig::default() },
        preprocess: Preprocess { framing: Framing::Pad, ..Preprocess::as_released(32) },
        augmentation: Some(Augmentation { p: 1.0, colour: 0.5, scale_centre: 1.2, ..Augmentation::default() }),
        ..config(3)
    };
    let whole = train(config.clone(), None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    train(config.clone(), Some(folder.path())).unwrap();
    fs::remove_dir_all(folder.path().join("epoch-00003")).unwrap();
    let resumed = train(config.clone(), Some(folder.path())).unwrap();
    assert_eq!(resumed.history, whole.history);
    assert!(numbers_of(&resumed.network) == numbers_of(&whole.network));

    // Each of them counts.
    let loss =
        |label_smoothing, logit_adjustment| LossConfig { label_smoothing, logit_adjustment, ..LossConfig::default() };
    let others = [
        TrainingConfig { schedule: RateSchedule::Cosine, ..config.clone() },
        TrainingConfig { warm_up_steps: 0, ..config.clone() },
        TrainingConfig {
            averaging: Some(WeightAveraging::Exponential { decay: 0.9, warm_up: false }),
            ..config.clone()
        },
        TrainingConfig { mixing: None, ..config.clone() },
        TrainingConfig { loss: loss(0.0, 1.0), ..config.clone() },
        TrainingConfig { loss: loss(0.05, 0.0), ..config.clone() },
        TrainingConfig { preprocess: Preprocess::as_released(32), ..config.clone() },
    ];
    for other in others {
        assert_ne!(train(other.clone(), None).unwrap().history, whole.history, "{other:?}");
    }
    let long = TrainingConfig { warm_up_steps: 1000, ..config.clone() };
    let text = train(long, None).unwrap_err().to_string();
    assert!(text.contains("warm_up_steps must be fewer steps than the training has, found 1000"), "{text}");
}

#[test]
fn a_run_that_cannot_be_extended_says_why() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let cosine = |epochs| TrainingConfig { schedule: RateSchedule::Cosine, ..config(epochs) };
    train(cosine(1), Some(folder.path())).unwrap();
    let text = refused(cosine(2), folder.path());
    assert!(
        text.contains("`training.epochs` was 1 and is 2 (the learning rate falls along a cosine over all epochs"),
        "{text}"
    );
    let text = refused(TrainingConfig { learning_rate: 2e-3, seed: 4, ..cosine(1) }, folder.path());
    assert!(
        text.contains("`training.learning_rate` was 0.001 and is 0.002; `training.seed` was 3 and is 4;"),
        "{text}"
    );
}

#[test]
fn changed_image_bytes_are_noticed_and_a_moved_set_is_not() {
    let _lock = device_lock();
    let root = tempfile::tempdir().unwrap();
    let (first, moved) = (root.path().join("first"), root.path().join("moved"));
    copy_folder(small_set_folder(), &first);
    let load = |root: &Path| {
        let set = derm7pt::load(root).unwrap();
        let split = set.split.clone().unwrap();
        (set, split)
    };
    let (set, split) = load(&first);
    let device = Device::flex();
    // One round of an experiment that keeps its results, as those of comparisons do.
    let plan = |set: &CaseSet| {
        let mut experiment = small_experiment();
        experiment.method.network = classifier(set);
        experiment.training = config(1);
        experiment.second_stage = SecondStageTable::default();
        let mut plan = experiment.plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
        plan.keeps_results = true;
        plan
    };
    let trainer = Trainer::new(config(1));
    let (run, fold) = (root.path().join("run"), root.path().join("folds"));
    let resume =
        |(set, split): (&CaseSet, &Split)| fit(&trainer, (set, split), mean_branch_accuracy, Some(&run), &mut Silent);
    let read = |set: &CaseSet| {
        let outcome = plan(set).run(Workplace::on(&device).in_folder(&fold, true), &mut Silent).map_err(Box::new)?;
        Ok::<_, Box<RecipeError>>(outcome.rounds)
    };
    let (trained, tested) = (resume((&set, &split)).unwrap(), read(&set).unwrap());

    fs::rename(&first, &moved).unwrap();
    let (set, split) = load(&moved);
    assert_eq!(resume((&set, &split)).unwrap().history, trained.history);
    assert_eq!(read(&set).unwrap(), tested);

    // One bit of one training image; the size, and the time of the last write, stay.
    let change = |row: usize| {
        let path = set.cases[row].clinical[0].clone();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        format!("`image of case {}, clinical` was SHA-256 ", set.cases[row].id)
    };
    let name = change(split.test[0]);
    assert!(resume((&set, &split)).is_ok(), "the training has not seen the test case");
    let text = read(&set).unwrap_err().to_string();
    assert!(text.contains("holds the result of another recipe or other data: ") && text.contains(&name), "{text}");
    let name = change(split.train[0]);
    let text = resume((&set, &split)).unwrap_err().to_string();
    assert!(text.contains("was started with another configuration or other data: ") && text.contains(&name), "{text}");
}

/// A validation score by epoch, so that a test knows the best one.
fn scores(values: &'static [f64]) -> impl Fn(&BranchLogits) -> f64 {
    let epoch = std::cell::Cell::new(0);
    move |_| {
        epoch.set(epoch.get() + 1);
        values[epoch.get() - 1]
    }
}

#[derive(Default)]
struct Listener {
    warnings: Vec<String>,
    epochs: Vec<usize>,
}

impl Observer for Listener {
    fn warned(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    fn epoch(&mut self, report: &EpochReport, _epochs: usize, _best: bool) {
        self.epochs.push(report.epoch);
    }
}

#[test]
fn a_lost_best_epoch_has_two_ways_on_that_the_error_names() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let cases = (&set, &split);
    let whole = fit(&Trainer::new(config(5)), cases, scores(&[0.5, 0.9, 0.3, 0.4, 0.6]), None, &mut Silent).unwrap();
    assert_eq!(whole.best_epoch, 2);
    let damaged = || {
        let folder = tempfile::tempdir().unwrap();
        let trainer = Trainer::new(config(4));
        fit(&trainer, cases, scores(&[0.5, 0.9, 0.3, 0.4]), Some(folder.path()), &mut Silent).unwrap();
        fs::write(folder.path().join("epoch-00002/network.bpk"), b"damaged").unwrap();
        folder
    };
    let resume = |folder: &Path, lost_best, score: &'static [f64], listener: &mut Listener| {
        let trainer = Trainer { lost_best, ..Trainer::new(config(5)) };
        fit(&trainer, cases, scores(score), Some(folder), listener)
    };
    let folder = damaged();
    let error = resume(folder.path(), LostBest::Refuse, &[], &mut Listener::default()).unwrap_err();
    assert!(matches!(*error, TrainError::BestLost { best: 2, latest: 4, .. }), "{error}");
    for words in ["network.bpk", "`train-again`", "`go-on`"] {
        assert!(error.to_string().contains(words), "{error}");
    }

    let mut listener = Listener::default();
    let again = resume(folder.path(), LostBest::TrainAgain, &[0.5, 0.9, 0.3, 0.4, 0.6], &mut listener).unwrap();
    assert_eq!((again.best_epoch, &again.history), (2, &whole.history));
    assert!(numbers_of(&again.network) == numbers_of(&whole.network));
    assert_eq!(listener.epochs, [1, 2, 3, 4, 5]);
    assert!(listener.warnings[0].starts_with("the best epoch, 2, is lost") && listener.warnings.len() == 1);

    let (folder, mut listener) = (damaged(), Listener::default());
    let on = resume(folder.path(), LostBest::GoOn, &[0.6], &mut listener).unwrap();
    assert_eq!((on.best_epoch, &on.history, listener.epochs), (5, &whole.history, vec![5]));
    assert!(listener.warnings[0].ends_with("the result is the best of epoch 4 and those that follow"));
    // The decision is kept: what follows needs no answer any more.
    let kept = resume(folder.path(), LostBest::Refuse, &[], &mut Listener::default()).unwrap();
    assert!(numbers_of(&kept.network) == numbers_of(&on.network));
}

#[test]
fn an_average_of_last_epochs_needs_no_best_epoch() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let averaged = |epochs| TrainingConfig {
        averaging: Some(WeightAveraging::LastEpochs { epochs: 1, refresh_batch_norm: false }),
        ..config(epochs)
    };
    let folder = tempfile::tempdir().unwrap();
    let trainer = |epochs| Trainer::new(averaged(epochs));
    fit(&trainer(3), (&set, &split), scores(&[0.9, 0.2, 0.3, 0.1]), Some(folder.path()), &mut Silent).unwrap();
    fs::remove_dir_all(folder.path().join("epoch-00001")).unwrap();
    let resumed = fit(&trainer(4), (&set, &split), scores(&[0.1, 0.1]), Some(folder.path()), &mut Silent).unwrap();
    let whole = fit(&trainer(4), (&set, &split), scores(&[0.9, 0.2, 0.3, 0.1, 0.1]), None, &mut Silent).unwrap();
    assert!(numbers_of(&resumed.network) == numbers_of(&whole.network));
}

/// With files that are old enough for their times to be trusted.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            let time = SystemTime::now() - Duration::from_secs(3600);
            fs::File::options().write(true).open(&target).unwrap().set_modified(time).unwrap();
        }
    }
}
