//! A network that learns from a trained model: what it hears, that it is resumed to the same bytes, and is never told of cases that test it.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse::data::CaseSet;
use dermafuse::infer::Bundle;
use dermafuse::networks::{DeepEnsembleConfig, NetworkConfig};
use dermafuse::recipes::{Protocol, ProtocolOutcome, Workplace};
use dermafuse::train::{Distillation, Silent};
use dermafuse_tests::{device_lock, numbers_of, small_recipe, small_set, text, text_of, train_small};

/// The small recipe without a second stage, of so many epochs.
fn recipe(epochs: usize) -> Protocol {
    let mut recipe = small_recipe(&small_set().0);
    recipe.second_stage = None;
    recipe.first_stage.training.epochs = epochs;
    recipe
}

/// The same, taught by the model in a file.
fn pupil(teacher: PathBuf, epochs: usize, weight: f64) -> Protocol {
    let mut recipe = recipe(epochs);
    recipe.first_stage.training.seed += 17;
    recipe.first_stage.training.distillation = Some(Distillation { weight, temperature: 2.0 });
    recipe.first_stage.teacher = Some(teacher);
    recipe
}

fn run(recipe: &Protocol, place: Workplace<'_>) -> ProtocolOutcome {
    let (set, split) = small_set();
    recipe.run(&set, &split, place, &mut Silent).unwrap()
}

/// An ensemble of two in a file.
fn ensemble(folder: &Path, device: &Device) -> (ProtocolOutcome, PathBuf) {
    let mut recipe = recipe(1);
    let member = Box::new(recipe.first_stage.network.clone());
    recipe.first_stage.network = NetworkConfig::DeepEnsemble(DeepEnsembleConfig { member, members: 2 });
    let outcome = run(&recipe, Workplace::on(device));
    let file = folder.join("teacher.safetensors");
    outcome.bundle.save(&file).unwrap();
    (outcome, file)
}

/// The teacher alone is heard at a weight of 1: whoever has which label makes no difference to the bit, as long as classes are as frequent.
#[test]
fn a_pupil_of_its_teacher_alone_does_not_hear_labels() {
    let _lock = device_lock();
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let (teacher, file) = ensemble(folder.path(), &device);
    let (set, split) = small_set();
    let mut other = set.clone();
    for (at, &row) in split.train.iter().enumerate() {
        let next = split.train[(at + 1) % split.train.len()];
        other.cases[row].labels.clone_from(&set.cases[next].labels);
    }
    let learnt = |set: &CaseSet, teacher: &Path, weight: f64| {
        let recipe = pupil(teacher.to_owned(), 1, weight);
        numbers_of(&recipe.run(set, &split, Workplace::on(&device), &mut Silent).unwrap().bundle.network)
    };
    let taught = learnt(&set, &file, 1.0);
    assert!(taught == learnt(&other, &file, 1.0), "labels were heard");
    assert!(learnt(&set, &file, 0.5) != learnt(&other, &file, 0.5), "labels were not heard");
    let stranger = folder.path().join("stranger.safetensors");
    run(&recipe_of_seed(5), Workplace::on(&device)).bundle.save(&stranger).unwrap();
    assert!(taught != learnt(&set, &stranger, 1.0), "the teacher was not heard");
    // Two networks taught one.
    assert!(2 * taught.len() <= numbers_of(&teacher.bundle.network).len());
}

#[test]
fn a_taught_run_goes_on_where_it_stopped_with_the_same_teacher_alone() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let (_, file) = ensemble(folder.path(), &device);
    let recipe = pupil(file.clone(), 2, 0.5);
    let whole = folder.path().join("whole");
    let expected = run(&recipe, Workplace::on(&device).in_folder(&whole, false));
    // As if it had been stopped after its first epoch.
    let epochs = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<PathBuf> = names.filter(|path| path.to_string_lossy().contains("epoch")).collect();
        names.sort();
        names
    };
    let full = whole.join("full");
    let last = epochs(&full).pop().unwrap();
    if last.is_dir() {
        fs::remove_dir_all(&last).unwrap()
    } else {
        fs::remove_file(&last).unwrap()
    }
    let resumed = run(&recipe, Workplace::on(&device).in_folder(&whole, true));
    assert!(numbers_of(&resumed.bundle.network) == numbers_of(&expected.bundle.network));

    // Another teacher of the same name makes another run.
    let other = run(&recipe_of_seed(5), Workplace::on(&device));
    other.bundle.save(&file).unwrap();
    let error = recipe.run(&set, &split, Workplace::on(&device).in_folder(&whole, true), &mut Silent).unwrap_err();
    assert!(text_of(&error).contains("teacher"), "{}", text_of(&error));
}

/// A case that taught the teacher does not choose the pupil's epoch.
#[test]
fn a_teacher_knows_no_validation_case() {
    let _lock = device_lock();
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("teacher.safetensors");
    run(&recipe_of_seed(5), Workplace::on(&device)).bundle.save(&file).unwrap();
    let (set, mut split) = small_set();
    split.valid.push(split.train.pop().unwrap());
    split.valid.sort_unstable();
    let error = pupil(file, 1, 0.5).run(&set, &split, Workplace::on(&device), &mut Silent).unwrap_err();
    let expected = format!("method.teacher has learnt from 1 of the {} validation cases", split.valid.len());
    assert!(text_of(&error).starts_with(&expected), "{}", text_of(&error));
}

fn recipe_of_seed(seed: u64) -> Protocol {
    let mut recipe = recipe(1);
    recipe.first_stage.training.seed = seed;
    recipe
}

#[test]
fn the_program_teaches_and_refuses_teachers_that_know_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, out) = (folder.path().join("teacher"), folder.path().join("pupil"));
    let plain = ["training.epochs=1", "second_stage.classifier=none"];
    let trained = train_small(&teacher, "fusionm4net", &plain).output().unwrap();
    assert!(trained.status.success(), "{}", text(&trained));
    let taught_by = format!("method.teacher={}", teacher.display());
    let from_here =
        train_small(&out, "fusionm4net", &[&plain[..], &["method.teacher=teacher", "training_fraction=0.5"]].concat())
            .current_dir(folder.path())
            .output();
    let taught = from_here.unwrap();
    assert!(taught.status.success(), "{}", text(&taught));
    let settings = fs::read_to_string(out.join("experiment.toml")).unwrap();
    assert!(settings.contains(&format!("teacher = \"{}\"", teacher.display())), "{settings}");
    let bundle = Bundle::load(&out, &Device::flex()).unwrap();
    let of_teacher = Bundle::load(&teacher, &Device::flex()).unwrap();
    // The pupil was shown half of the training cases, and knows all of them.
    assert_eq!(bundle.description.known_cases, of_teacher.description.known_cases);
    let tests = serde_json::from_slice::<serde_json::Value>(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
    let pairs = tests["row_tests"]["tasks"][0]["pairs"].as_array().unwrap().clone();
    let rows: Vec<&str> = pairs.iter().take(3).map(|pair| pair["second"].as_str().unwrap()).collect();
    assert_eq!(
        (pairs.len(), pairs[0]["first"].as_str(), &rows[..2]),
        (6, Some("P_clinical"), &["P_dermoscopic", "P_fusion"][..])
    );
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("do the rows differ?"));

    let refused = |settings: &[&str]| {
        let out = folder.path().join("none");
        let output = train_small(&out, "fusionm4net", &[&plain[..], settings].concat()).output().unwrap();
        assert!(!output.status.success() && !out.exists(), "{}", text(&output));
        text(&output)
    };
    let other_split = refused(&[&taught_by, "split={ kind = \"drawn\", seed = 3 }"]);
    assert!(
        other_split.contains("method.teacher has learnt from") && other_split.contains("test cases"),
        "{other_split}"
    );
    let classifiers = refused(&[&taught_by, "second_stage.classifier=svm"]);
    assert!(classifiers.contains("half of the training cases"), "{classifiers}");
    let nobody = refused(&["training.distillation={ weight = 0.5 }"]);
    assert!(nobody.contains("method.teacher: the file of the trained model"), "{nobody}");
    let frozen = train_small(&folder.path().join("none"), "frozen", &[&taught_by]).output().unwrap();
    assert!(text(&frozen).contains("a network `frozen_encoders` is not trained"), "{}", text(&frozen));
    let gone = refused(&["method.teacher=no/such.safetensors"]);
    assert!(gone.contains("no/such.safetensors"), "{gone}");
    let dropout = refused(&[&taught_by, "training.modality_dropout={ clinical = 0.3 }"]);
    assert!(dropout.contains("distillation"), "{dropout}");
}
