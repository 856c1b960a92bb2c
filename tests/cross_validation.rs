//! One-stage protocols on folds: no patient crosses, nothing is learnt from test cases, what is done is not repeated.

use std::path::Path;

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{
    CaseSet, EncoderConfig, FoldConfig, FoldProtocol, Folds, MetadataEncoder, NumericScaling, Split,
};
use dermafuse::networks::{ImageView, NetworkConfig};
use dermafuse::recipes::{
    BackboneWeights, CrossValidation, JointFusionGrid, JointMethod, JointStructure, NetworkRecipe, OneStage, Selection,
    Workplace,
};
use dermafuse::schema::{Field, FieldRole, FieldValue};
use dermafuse::train::{Silent, TrainingCases};
use dermafuse_tests::{device_lock, numbers_of, small_set};

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

fn recipe(set: &CaseSet, structure: JointStructure) -> OneStage {
    let (backbone, view) = (BackboneKind::ResNet18Quarter, ImageView::Dermoscopic);
    let method = JointMethod { structure, backbone, view, ..JointMethod::default() };
    let encoding = EncoderConfig { numeric: NumericScaling::Standardized, ..EncoderConfig::default() };
    let mut recipe = method.recipe(set.tasks.class_counts(), encoding, 32, 5);
    recipe.network.training.epochs = 2;
    recipe.network.training.batch_size = 6;
    recipe
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
    let error = recipe(&set, JointStructure::Metadata)
        .run(&set, &split, Workplace::on(&Device::flex()), &mut Silent)
        .unwrap_err()
        .to_string();
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
    let recipe = recipe(&set, JointStructure::JointIndividual);
    let run = |set: &CaseSet| recipe.run(set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let (first, second) = (run(&set), run(&changed));
    assert_eq!(first.stage.encoder, second.stage.encoder);
    assert_eq!(first.stage.trained.history, second.stage.trained.history);
    assert!(numbers_of(&first.bundle.network) == numbers_of(&second.bundle.network));
    assert_ne!(first.test, second.test);

    // The encoder's mean is that of the training cases, not of those that choose the epoch either.
    let mean = split.train.iter().map(|&row| 20.0 + row as f64).sum::<f64>() / split.train.len() as f64;
    let at = first.stage.encoder.column_names().iter().position(|name| name == "age").unwrap();
    let mut case = set.cases[0].clone();
    *case.metadata.last_mut().unwrap() = FieldValue::Number(mean);
    assert!(first.stage.encoder.matched(&set.fields).unwrap().encode(&case).unwrap()[at].abs() < 1e-9);
}

#[test]
fn folds_that_are_done_are_read_and_others_refused() {
    let _lock = device_lock();
    let set = patients();
    let device = Device::flex();
    let mut validation = CrossValidation {
        recipe: recipe(&set, JointStructure::JointIndividual),
        folds: splits(&set),
        keep_features: true,
    };
    let in_memory = validation.run(&set, Workplace::on(&device), &mut Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = |resume| Workplace::on(&device).in_folder(folder.path(), resume);
    validation.run_fold(1, &set, place(false), &mut Silent).unwrap();
    assert!(folder.path().join("fold-2/fold.json").is_file() && !folder.path().join("fold-2/checkpoints").exists());
    let error = validation.run_fold(1, &set, place(false), &mut Silent).unwrap_err().to_string();
    assert!(error.ends_with("fold-2 already holds a result; resume it, or give another folder"), "{error}");
    let resumed = validation.run(&set, place(true), &mut Silent).unwrap();
    assert_eq!(resumed, in_memory);

    let all = resumed.out_of_fold().unwrap();
    let mut ids: Vec<_> = all.ids.iter().map(ToString::to_string).collect();
    let mut expected: Vec<_> = set.cases.iter().map(|case| case.id.to_string()).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    let features = resumed.folds[0].features.as_ref().unwrap();
    assert_eq!(features.dim(), (validation.folds[0].test.len(), 128 + 128)); // quarter ResNet-18 and record

    std::fs::write(folder.path().join("fold-1/fold.json"), "{").unwrap();
    let error = validation.run(&set, place(true), &mut Silent).unwrap_err().to_string();
    assert!(error.ends_with("fold.json is not a result; remove it to repeat its fold or stage"), "{error}");
    std::fs::remove_file(folder.path().join("fold-1/fold.json")).unwrap();
    // What was an input is found to leak: the folds that used it are not read as if they had not.
    let mut mended = set.clone();
    mended.fields.last_mut().unwrap().role = FieldRole::PostDiagnosis;
    let error = validation.run_fold(1, &mended, place(true), &mut Silent).unwrap_err().to_string();
    let differs = "fold-2 holds the result of another recipe or other data: ";
    assert!(error.contains(differs) && error.contains("`data.fields` was SHA-256 "), "{error}");
    validation.recipe.network.training.learning_rate *= 2.0;
    let error = validation.run_fold(1, &set, place(true), &mut Silent).unwrap_err().to_string();
    let differs = format!("{differs}`training.learning_rate` was 0.005 and is 0.01; give another folder");
    assert!(error.ends_with(&differs), "{error}");
}

#[test]
fn a_training_of_something_else_is_not_continued() {
    let _lock = device_lock();
    let set = patients();
    let split = splits(&set).remove(0);
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases { set: &set, train: &split.train, valid: &split.valid, encoder: &encoder };
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let place = Workplace::on(&device).in_folder(folder.path(), true);
    let recipe = recipe(&set, JointStructure::Image).network;
    let first = recipe.train(1, cases, place, &mut Silent).unwrap();
    let again = recipe.train(1, cases, place, &mut Silent).unwrap();
    assert_eq!(again.history, first.history);

    // The weights have the same shapes, but they are not what is asked for.
    let mut other_image = recipe.clone();
    let NetworkConfig::ImageClassifier(network) = &mut other_image.network else { panic!("{:?}", recipe.network) };
    network.view = ImageView::Clinical;
    let other_score = NetworkRecipe { selection: Selection::Accuracy, ..recipe.clone() };
    assert_ne!(other_score, recipe);
    let differences =
        ["`network.view` was dermoscopic and is clinical", "`selection` was joint_balanced_accuracy and is accuracy"];
    for (other, difference) in [other_image, other_score].into_iter().zip(differences) {
        let error = other.train(1, cases, place, &mut Silent).unwrap_err().to_string();
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
            .train(1, cases, place, &mut Silent)
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
fn a_grid_compares_every_row_on_every_fold() {
    let _lock = device_lock();
    let set = patients();
    let structures =
        [JointStructure::Metadata, JointStructure::Image, JointStructure::Joint, JointStructure::JointIndividual];
    let methods = structures.map(|structure| {
        let view = ImageView::Dermoscopic;
        let method = JointMethod { structure, backbone: BackboneKind::ResNet18Quarter, view, ..JointMethod::default() };
        (method, recipe(&set, structure))
    });
    let grid = JointFusionGrid { methods: methods.to_vec(), folds: splits(&set) };
    let table = grid.run(&set, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    assert_eq!(table.names(), ["Metadata", "Image", "JF-MMFA", "JIF-MMFA(OFB)", "JIF-MMFA(All)"]);
    let comparison = table.comparison().unwrap();
    assert_eq!((comparison.methods.len(), comparison.blocks.len()), (4, 3));
    let mean = table.balanced_accuracy("Image").unwrap();
    assert_eq!(comparison.methods[0].scores, mean);
    assert!(mean.mean > 0.0 && mean.mean <= 100.0);

    // Shared among processes, a fold of every method each, it is the same table.
    let grid = JointFusionGrid { methods: methods[..2].to_vec(), ..grid };
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    let place = Workplace::on(&device).in_folder(folder.path(), true);
    for fold in [1, 0] {
        grid.run_fold(fold, &set, place, &mut Silent).unwrap();
    }
    let results = |fold: usize| {
        let of_methods = ["metadata", "image-resnet18_quarter"];
        of_methods.map(|method| folder.path().join(format!("{method}/fold-{fold}/fold.json")).is_file())
    };
    assert_eq!([1, 2, 3].map(results), [[true; 2], [true; 2], [false; 2]]);
    let shared = grid.run(&set, place, &mut Silent).unwrap();
    assert_eq!(shared.rows, table.rows[..2]);
}
