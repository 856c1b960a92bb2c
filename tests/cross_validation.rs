//! Experiments on folds: no patient crosses, nothing is learnt from test cases, what is done is not repeated.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{
    CaseSet, EncoderConfig, FoldConfig, FoldGrouping, FoldProtocol, Folds, MetadataEncoder, NumericScaling, Split,
};
use dermafuse::fusion::FusionKind;
use dermafuse::infer::{Bundle, MODEL_FILE};
use dermafuse::networks::{
    ImageClassifierConfig, JointFusionConfig, JointIndividualFusionConfig, MetadataClassifierConfig,
    MetadataNetworkConfig, Modality, NetworkConfig,
};
use dermafuse::recipes::{
    AnswerKind, BackboneWeights, ComparedMethod, ComparedRow, Experiment, FinalFitSettings, MethodComparison,
    NetworkRecipe, PartsSettings, Plan, Protocol, SecondStageTable, Selection, Workplace, merge_runs,
};
use dermafuse::schema::{Field, FieldRole, FieldValue};
use dermafuse::train::{Silent, TrainingCases, TrainingConfig};
use dermafuse_tests::{contents_of, device_lock, numbers_of, small_experiment, small_set};

/// The small set with the diagnosis as its only task, a number in the record, and three photos of each of twenty patients.
fn patients() -> CaseSet {
    let (mut set, _) = small_set();
    let diagnosis = set.tasks[0].clone();
    set.tasks = vec![diagnosis].try_into().unwrap();
    set.split = None;
    set.fields.push(Field::numeric("age", FieldRole::PreDiagnosis));
    for (row, case) in set.cases.iter_mut().enumerate() {
        case.labels.truncate(1);
        case.labels[0] = Some(row / 3 % 5);
        case.patient = Some(format!("patient {}", row / 3).into());
        case.group = format!("patient {}", row / 3).into();
        case.metadata.push(FieldValue::Number(20.0 + row as f64));
    }
    set
}

/// A network over the dermoscopic image, the record, or both; the classes and the length of the record follow from the data.
fn network(structure: &str) -> NetworkConfig {
    let (backbone, view) = (BackboneKind::ResNet18Quarter, Modality::Dermoscopic);
    let joint = || JointFusionConfig::new(backbone, view, 0, FusionKind::Mmfa(Default::default()), Vec::new());
    match structure {
        "image" => NetworkConfig::ImageClassifier(ImageClassifierConfig::new(backbone, view, Vec::new())),
        "record" => NetworkConfig::MetadataClassifier(MetadataClassifierConfig {
            metadata: MetadataNetworkConfig::new(0),
            classes: Vec::new(),
        }),
        "joint" => NetworkConfig::JointFusion(joint()),
        _ => NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint())),
    }
}

/// Three folds.
fn experiment(structure: &str) -> Experiment {
    let training = TrainingConfig { epochs: 2, batch_size: 6, ..TrainingConfig::joint_individual_fusion(32, 5) };
    let mut experiment = small_experiment();
    experiment.title = structure.into();
    experiment.split = PartsSettings::Folds {
        folds: 3,
        grouping: FoldGrouping::Grouped,
        protocol: FoldProtocol::NextFoldSelects,
        hold_out: None,
        answered: false,
        seed: 1,
    };
    experiment.method.network = network(structure);
    experiment.method.selection = Selection::JointBalancedAccuracy;
    experiment.method.metadata = EncoderConfig { numeric: NumericScaling::Standardized, ..EncoderConfig::default() };
    experiment.training = training;
    experiment.second_stage = SecondStageTable::default();
    experiment.evaluation.features = true;
    experiment
}

fn plan(structure: &str, set: &CaseSet) -> Plan {
    experiment(structure).plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap()
}

fn recipe(set: &CaseSet, structure: &str) -> Protocol {
    plan(structure, set).rounds[0].stages[0].protocol.clone()
}

fn splits(set: &CaseSet) -> Vec<Split> {
    Folds::new(set, &FoldConfig::new(3, 1)).unwrap().splits(FoldProtocol::NextFoldSelects).unwrap()
}

#[test]
fn no_patient_is_on_two_sides_and_every_case_is_tested_once() {
    let set = patients();
    let mut tested = vec![0; set.len()];
    for split in splits(&set) {
        let patients = |rows: &[usize]| -> Vec<_> { rows.iter().map(|&row| set.cases[row].patient.clone()).collect() };
        let (train, valid, test) = (patients(&split.train), patients(&split.valid), patients(&split.test));
        assert!(test.iter().all(|patient| !train.contains(patient) && !valid.contains(patient)));
        assert!(valid.iter().all(|patient| !train.contains(patient)));
        split.test.iter().for_each(|&row| tested[row] += 1);
    }
    assert_eq!(tested, vec![1; set.len()]);

    // A split that parts a patient's photos is refused before anything is trained.
    let mut split = splits(&set).remove(0);
    let stray = split.test.pop().unwrap();
    split.train.push(stray);
    let error =
        recipe(&set, "record").run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err().to_string();
    assert!(error.contains("patient "), "{error}");
}

#[test]
fn nothing_is_learnt_from_test_cases() {
    let _lock = device_lock();
    let set = patients();
    let split = splits(&set).remove(0);
    // Another life for every test case: other answers, another record, another picture.
    let mut changed = set.clone();
    for &row in &split.test {
        let case = &mut changed.cases[row];
        case.labels[0] = Some((case.labels[0].unwrap() + 1) % 5);
        *case.metadata.last_mut().unwrap() = FieldValue::Number(1e6);
        case.dermoscopic = set.cases[split.train[0]].dermoscopic.clone();
    }
    let recipe = recipe(&set, "joint individual");
    let run = |set: &CaseSet| recipe.run(set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let (first, second) = (run(&set), run(&changed));
    let encoder = &first.bundle.description.encoder;
    assert_eq!(*encoder, second.bundle.description.encoder);
    assert_eq!(first.curves, second.curves);
    assert!(numbers_of(&first.bundle.network) == numbers_of(&second.bundle.network));
    assert_ne!(first.test, second.test);

    // The encoder's mean is that of the training cases, not of those that choose the epoch either.
    let mean = split.train.iter().map(|&row| 20.0 + row as f64).sum::<f64>() / split.train.len() as f64;
    let at = encoder.column_names().iter().position(|name| name == "age").unwrap();
    let mut case = set.cases[0].clone();
    *case.metadata.last_mut().unwrap() = FieldValue::Number(mean);
    assert!(encoder.matched(&set.fields).unwrap().encode(&case).unwrap()[at].abs() < 1e-9);
}

#[test]
fn folds_that_are_done_are_read_and_others_refused() {
    let _lock = device_lock();
    let set = patients();
    let device = Device::flex();
    let validation = plan("joint individual", &set);
    let in_memory = validation.run(Workplace::on(&device), &mut Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = |resume| Workplace::on(&device).in_folder(folder.path(), resume);
    let run_second =
        |plan: &Plan, resume| plan.run_round(&plan.rounds[1], place(resume), &mut Silent).map_err(Box::new);
    run_second(&validation, false).unwrap();
    let second = folder.path().join("fold-2");
    assert!(second.join("result.json").is_file() && second.join(MODEL_FILE).is_file());
    assert!(!second.join("checkpoints").exists());
    let error = run_second(&validation, false).unwrap_err().to_string();
    assert!(error.ends_with("fold-2 already holds a result; resume it, or give another folder"), "{error}");
    let resumed = validation.run(place(true), &mut Silent).unwrap();
    assert_eq!(resumed.rounds, in_memory.rounds);

    let all = resumed.predictions().unwrap().pop().unwrap().1;
    let mut ids: Vec<_> = all.ids.iter().map(ToString::to_string).collect();
    let mut expected: Vec<_> = set.cases.iter().map(|case| case.id.to_string()).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    let features = resumed.rounds[0].1.features.as_ref().unwrap();
    assert_eq!(features.dim(), (validation.rounds[0].stages[0].split.test.len(), 128 + 64)); // quarter ResNet-18 and record

    std::fs::write(folder.path().join("fold-1/result.json"), "{").unwrap();
    let error = validation.run(place(true), &mut Silent).unwrap_err().to_string();
    assert!(error.ends_with("result.json is not a result; remove it to repeat its fold or stage"), "{error}");
    std::fs::remove_file(folder.path().join("fold-1/result.json")).unwrap();
    // What was an input is found to leak: the folds that used it are not read as if they had not.
    let mut mended = set.clone();
    mended.fields.last_mut().unwrap().role = FieldRole::PostDiagnosis;
    let error = run_second(&plan("joint individual", &mended), true).unwrap_err().to_string();
    let differs = "fold-2 holds the result of another recipe or other data: ";
    assert!(error.contains(differs) && error.contains("`data.fields` was SHA-256 "), "{error}");
    let mut faster = validation.clone();
    faster.rounds[1].stages[0].protocol.first_stage.training.learning_rate *= 2.0;
    let error = run_second(&faster, true).unwrap_err().to_string();
    let differs = format!("{differs}`training.learning_rate` was 0.005 and is 0.01; give another folder");
    assert!(error.ends_with(&differs), "{error}");
}

#[test]
fn a_training_of_something_else_is_not_continued() {
    let _lock = device_lock();
    let set = patients();
    let split = splits(&set).remove(0);
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train).unwrap(),
        valid: set.view(&split.valid).unwrap(),
        encoder: &encoder,
    };
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let place = Workplace::on(&device).in_folder(folder.path(), true);
    let recipe = recipe(&set, "image").first_stage;
    let first = recipe.train(1, &cases, place, &mut Silent).unwrap();
    let again = recipe.train(1, &cases, place, &mut Silent).unwrap();
    assert_eq!(again.history, first.history);

    // The weights have the same shapes, but they are not what is asked for.
    let mut other_image = recipe.clone();
    let NetworkConfig::ImageClassifier(network) = &mut other_image.network else { panic!("{:?}", recipe.network) };
    network.view = Modality::Clinical;
    let other_score = NetworkRecipe { selection: Selection::Accuracy, ..recipe.clone() };
    assert_ne!(other_score, recipe);
    let differences =
        ["`network.view` was dermoscopic and is clinical", "`selection` was joint_balanced_accuracy and is accuracy"];
    for (other, difference) in [other_image, other_score].into_iter().zip(differences) {
        let error = other.train(1, &cases, place, &mut Silent).unwrap_err().to_string();
        assert!(error.contains("was started with another configuration or other data: "), "{error}");
        assert!(error.contains(difference), "{error}");
    }

    // The same weights in another place are the same, other weights in the same place are not.
    let folder = tempfile::tempdir().unwrap();
    let (run, file, moved) = (folder.path().join("run"), folder.path().join("a"), folder.path().join("b"));
    let (file, moved) = (file.with_extension("safetensors"), moved.with_extension("safetensors"));
    let place = Workplace::on(&device).in_folder(&run, true);
    let save = |file: &Path, seed| {
        device.seed(seed); // a training leaves the generator where it has always left it
        BackboneKind::ResNet18Quarter.init(None, &device).save_weights(file).unwrap();
    };
    let train = |file: &Path| {
        let weights = Some(BackboneWeights::OfAll(file.to_owned()));
        NetworkRecipe { backbone_weights: weights, ..recipe.clone() }
            .train(1, &cases, place, &mut Silent)
            .map_err(Box::new)
    };
    save(&file, 7);
    let first = train(&file).unwrap();
    std::fs::copy(&file, &moved).unwrap();
    assert_eq!(train(&moved).unwrap().history, first.history);
    std::fs::remove_file(&moved).unwrap();
    save(&moved, 8);
    let error = train(&moved).unwrap_err().to_string();
    assert!(error.contains("other data: `weights.1-resnet18_quarter` was SHA-256 "), "{error}");
}

#[test]
fn a_folder_goes_on_with_more_repeats_and_not_with_fewer() {
    let _lock = device_lock();
    let sets = [("derm7pt".to_owned(), Arc::new(patients()))];
    let folder = tempfile::tempdir().unwrap();
    let repeated = |repeats| Experiment { repeats, ..experiment("record") }.plan_for(&sets).unwrap();
    let run = |plan: &Plan, resume| {
        plan.run(Workplace::on(&Device::flex()).in_folder(folder.path(), resume), &mut Silent).map_err(Box::new)
    };
    let once = run(&repeated(1), false).unwrap();
    let twice = run(&repeated(2), true).unwrap();
    assert_eq!((once.rounds.len(), twice.rounds.len()), (3, 6));
    assert_eq!(once.rounds, twice.rounds[..3], "what was done is read");
    assert_ne!(twice.rounds[0].1.test, twice.rounds[3].1.test);

    let before = contents_of(folder.path());
    let fewer = run(&repeated(1), true).unwrap_err().to_string();
    assert!(
        fewer.contains(
            "holds the round `fold-4` of an experiment with another number of repeats or folds, or with a final fit"
        ),
        "{fewer}"
    );
    assert!(fewer.contains("this one has 3 rounds (`fold-1` to `fold-3`)"), "{fewer}");
    let mut single = repeated(1);
    single.rounds.truncate(1);
    single.rounds[0].name.clear();
    let fewer = run(&single, true).unwrap_err().to_string();
    assert!(fewer.contains("holds the round `fold-1`") && fewer.contains("this one has a single round"), "{fewer}");
    assert_eq!(contents_of(folder.path()), before, "nothing is written");
    // The other way round.
    let own = tempfile::tempdir().unwrap();
    single.run(Workplace::on(&Device::flex()).in_folder(own.path(), false), &mut Silent).unwrap();
    let device = Device::flex();
    let place = Workplace::on(&device).in_folder(own.path(), true);
    let more = repeated(1).check(place, &mut Silent).unwrap_err().to_string();
    assert!(more.contains("holds a single round of an experiment with"), "{more}");
}

/// The experiment with a final fit.
fn with_final_fit(structure: &str) -> Experiment {
    Experiment { final_fit: Some(FinalFitSettings { validation: None }), ..experiment(structure) }
}

#[test]
fn a_final_fit_learns_from_all_cases_and_says_what_to_expect() {
    let _lock = device_lock();
    let set = patients();
    let sets = [("derm7pt".to_owned(), Arc::new(set.clone()))];
    let planned = |experiment: Experiment| experiment.plan_for(&sets).unwrap();
    let plan = planned(with_final_fit("joint"));
    let split = &plan.final_fit.as_ref().unwrap().stages[0].split;
    assert_eq!((split.train.len() + split.valid.len(), split.test.len()), (set.len(), 0));
    // About as many choose as in a round: one of the four patients of each class. None is on both sides.
    assert_eq!(split.valid.len(), set.len() / 4);
    let patients = |rows: &[usize]| rows.iter().map(|&row| set.cases[row].patient.clone()).collect::<Vec<_>>();
    assert!(patients(&split.valid).iter().all(|patient| !patients(&split.train).contains(patient)));
    let half = Experiment { final_fit: Some(FinalFitSettings { validation: Some(0.5) }), ..experiment("joint") };
    assert_eq!(planned(half).final_fit.unwrap().stages[0].split.valid.len(), set.len() / 2);

    let device = Device::flex();
    let outcome = plan.run(Workplace::on(&device), &mut Silent).unwrap();
    let bundle = outcome.bundle().unwrap();
    let description = &bundle.description;
    assert_eq!(description.performance, None, "nobody tested it");
    let seen = description.known_cases.among(&set.whole());
    assert_eq!((seen.trained, seen.selected), (split.train.len(), split.valid.len()));
    let card = description.card.as_ref().unwrap();
    assert_eq!(card.training.as_ref().unwrap().test_cases, 0);
    let expected = card.expected.unwrap();
    let rows = outcome.rows().unwrap();
    let accuracies = &rows.last().unwrap().accuracy;
    assert_eq!((expected.rounds, accuracies.len()), (3, 3));
    let mean = accuracies.iter().sum::<f64>() / 3.0;
    assert!((expected.accuracy.unwrap().mean - mean).abs() < 1e-9, "{expected} and {accuracies:?}");
    let written = tempfile::tempdir().unwrap();
    outcome.write(written.path()).unwrap();
    let report = std::fs::read_to_string(written.path().join("report.html")).unwrap();
    assert!(report.contains(&format!("The model of the final fit, {MODEL_FILE}: {expected}.")), "{expected}");
    assert!(report.contains("45 train it, 15 choose its epoch and settings, and none is left to test it"));
    let history = std::fs::read_to_string(written.path().join("history.csv")).unwrap();
    assert_eq!(history.matches("final fit all training cases").count(), 2);
    assert_eq!(Split::load(written.path().join("split.json"), &set).unwrap().split, *split);
    // The folds are what they are without it.
    let without = planned(experiment("joint")).run(Workplace::on(&device), &mut Silent).unwrap();
    assert_eq!(without.rounds, outcome.rounds);
}

#[test]
fn a_final_fit_is_resumed_added_later_and_knows_all_rounds() {
    let _lock = device_lock();
    let sets = [("derm7pt".to_owned(), Arc::new(patients()))];
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let run = |experiment: &Experiment, resume| {
        let place = Workplace::on(&device).in_folder(folder.path(), resume);
        experiment.plan_for(&sets).unwrap().run(place, &mut Silent).map_err(Box::new)
    };
    let model = || std::fs::read(folder.path().join(MODEL_FILE)).unwrap();
    let rounds_of = |bytes: &[u8]| {
        let bundle = Bundle::from_bytes(bytes, &device).unwrap();
        (bundle.description.card.unwrap().expected.unwrap().rounds, numbers_of(&bundle.network))
    };
    // The folds first, and a final model once they are known.
    run(&experiment("record"), false).unwrap();
    assert!(!folder.path().join(MODEL_FILE).exists());
    let fitted = with_final_fit("record");
    run(&fitted, true).unwrap();
    let whole = model();
    let in_memory = fitted.plan_for(&sets).unwrap().run(Workplace::on(&device), &mut Silent).unwrap();
    assert!(in_memory.bundle().unwrap().to_bytes().unwrap() == whole, "a folder changes nothing");
    // What is done is read; what was lost is made again.
    run(&fitted, true).unwrap();
    assert!(model() == whole);
    std::fs::remove_file(folder.path().join("result.json")).unwrap();
    std::fs::remove_file(folder.path().join(MODEL_FILE)).unwrap();
    run(&fitted, true).unwrap();
    assert!(model() == whole);
    // More rounds tell more of the same model.
    run(&Experiment { repeats: 2, ..fitted.clone() }, true).unwrap();
    let ((before, numbers), (after, same)) = (rounds_of(&whole), rounds_of(&model()));
    assert_eq!((before, after), (3, 6));
    assert_eq!(numbers, same);
    let error = run(&Experiment { repeats: 2, ..experiment("record") }, true).unwrap_err().to_string();
    assert!(error.contains("holds a final fit of an experiment with"), "{error}");
}

#[test]
fn final_fits_of_a_comparison_are_shared_among_processes() {
    let _lock = device_lock();
    let set = Arc::new(patients());
    let device = Device::flex();
    let methods = ["record", "image"].map(|structure| {
        let mut plan = with_final_fit(structure).plan_for(&[("derm7pt".into(), set.clone())]).unwrap();
        plan.keeps_results = true;
        ComparedMethod { name: structure.into(), block: String::new(), plan }
    });
    let comparison = MethodComparison { title: "with a final fit".into(), methods: methods.to_vec() };
    assert_eq!(comparison.trainings(), 2 * (3 + 1));
    let root = tempfile::tempdir().unwrap();
    let (whole, joined) = (root.path().join("whole"), root.path().join("joined"));
    comparison.run(Workplace::on(&device).in_folder(&whole, false), &mut Silent).unwrap();
    let shares = ["1/3", "2/3", "3/3"].map(|share| {
        let folder = root.path().join(share.replace('/', "-of-"));
        let place = Workplace::on(&device).in_folder(&folder, false);
        comparison.run_shard(share.parse().unwrap(), place, &mut Silent).unwrap();
        folder
    });
    merge_runs(&shares, &joined).unwrap();
    comparison.run(Workplace::on(&device).in_folder(&joined, true), &mut Silent).unwrap();
    for method in ["record", "image"] {
        let read = |folder: &Path| std::fs::read(folder.join("methods").join(method).join(MODEL_FILE)).unwrap();
        assert!(read(&whole) == read(&joined), "{method}");
        let card = Bundle::from_bytes(&read(&joined), &device).unwrap().description.card.unwrap();
        assert_eq!(card.expected.unwrap().rounds, 3, "{method}");
    }
}

#[test]
fn methods_are_compared_on_every_fold_and_shared_among_processes() {
    let _lock = device_lock();
    let set = Arc::new(patients());
    let device = Device::flex();
    let compared = |structures: &[&str], last: AnswerKind| {
        let methods = structures.iter().enumerate().map(|(index, structure)| {
            let mut plan = plan(structure, &set);
            plan.keeps_results = true;
            if index + 1 == structures.len() {
                plan.experiment.second_stage.answer = last;
            }
            let name =
                if index + 1 == structures.len() { format!("{structure}, {last:?}") } else { (*structure).into() };
            ComparedMethod { name, block: String::new(), plan }
        });
        MethodComparison { title: "structures".into(), methods: methods.collect() }
    };
    // The last two are one training.
    let structures = ["record", "image", "joint", "joint individual", "joint individual"];
    let comparison = compared(&structures, AnswerKind::OnlyFusionBranch);
    assert_eq!(comparison.trainings(), 4 * 3);
    let folder = tempfile::tempdir().unwrap();
    let place = Workplace::on(&device).in_folder(folder.path(), false);
    let outcome = comparison.run(place, &mut Silent).unwrap();
    let names = ["record", "image", "joint", "joint individual", "joint individual, OnlyFusionBranch"];
    assert_eq!(outcome.names(), names);
    assert!(outcome.rows.iter().all(|row| row.accuracy.len() == 3 && row.of_cases.len() == set.len()));
    assert_ne!(outcome.rows[3].auc, outcome.rows[4].auc, "another answer of the same training");
    // Of whole networks: the record's has no backbone, and what joins both takes more than both.
    let gmacs: Vec<f64> = outcome.rows.iter().map(|row| row.gmacs.unwrap()).collect();
    assert!(gmacs[0] > 0.0 && gmacs[0] < 1e-4 && gmacs[1] > 10.0 * gmacs[0], "{gmacs:?}");
    assert!(gmacs[2] > gmacs[0] + gmacs[1] - 1e-6 && gmacs[3] > gmacs[2] && gmacs[4] == gmacs[3], "{gmacs:?}");
    let tests = outcome.write(folder.path()).unwrap();
    assert_eq!((tests[0].1.methods.len(), tests[0].1.blocks.len()), (5, 3));
    assert!(folder.path().join("report.html").is_file());

    // A method under another name is trained and tested once.
    let twins = compared(&["record", "image", "image"], AnswerKind::All);
    let outcome_of_twins = twins.run(Workplace { resume: true, ..place }, &mut Silent).unwrap();
    assert_eq!(outcome_of_twins.rows[2].same_as.as_deref(), Some("image"));
    assert_eq!(outcome_of_twins.rows[2].auc, outcome_of_twins.rows[1].auc);
    let note = "`image, All` is the same method as `image`";
    assert!(outcome_of_twins.notes.iter().any(|said| said.starts_with(note)), "{:?}", outcome_of_twins.notes);
    let written = tempfile::tempdir().unwrap();
    let tests = outcome_of_twins.write(written.path()).unwrap();
    for (_, tested) in &tests {
        assert_eq!(tested.methods.iter().map(|method| &*method.name).collect::<Vec<_>>(), ["record", "image"]);
    }
    let report = std::fs::read_to_string(written.path().join("report.html")).unwrap();
    assert!(report.contains("record – image") && !report.contains("image – image, All"));

    // In shares of two processes, joined again, it is the same table.
    let comparison = compared(&structures[..2], AnswerKind::All);
    let root = tempfile::tempdir().unwrap();
    let shares = ["1/2", "2/2"].map(|share| {
        let folder = root.path().join(share.replace('/', "-of-"));
        let place = Workplace::on(&device).in_folder(&folder, false);
        comparison.run_shard(share.parse().unwrap(), place, &mut Silent).unwrap();
        folder
    });
    let joined = root.path().join("joined");
    let hole = merge_runs(&shares[..1], &joined).unwrap_err().to_string();
    assert!(hole.starts_with("no folder has share 2/2;") && !joined.exists(), "{hole}");
    merge_runs(&shares, &joined).unwrap();
    let count = |folder: &Path| contents_of(folder).keys().filter(|file| file.ends_with("result.json")).count();
    assert_eq!((count(&shares[0]), count(&shares[1]), count(&joined)), (3, 3, 6));
    let shared = comparison.run(Workplace::on(&device).in_folder(&joined, true), &mut Silent).unwrap();
    let rows =
        |rows: &[ComparedRow]| rows.iter().map(|row| (row.auc.clone(), row.of_cases.clone())).collect::<Vec<_>>();
    assert_eq!(rows(&shared.rows), rows(&outcome.rows[..2]));
    // Two shards that did the same with other results are not joined.
    let result = contents_of(&shares[0]).into_keys().find(|file| file.ends_with("result.json")).unwrap();
    let twin = root.path().join("twin");
    let other = twin.join(result.strip_prefix(&shares[0]).unwrap());
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    std::fs::write(&other, "other").unwrap();
    std::fs::copy(shares[0].join("share-1-of-2.json"), twin.join("share-1-of-2.json")).unwrap();
    let error = merge_runs(&[shares.to_vec(), vec![twin]].concat(), &root.path().join("third")).unwrap_err();
    assert!(error.to_string().contains("differ; two shards did the same training"), "{error}");
    assert!(!root.path().join("third").exists());
}
