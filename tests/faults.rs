//! Bad input and bad luck: each gets an error that names the culprit, and nothing that was written is lost.

use std::fs;

use burn::tensor::Device;
use dermafuse::data::{MetadataEncoder, Split, derm7pt};
use dermafuse::infer::{Bundle, MODEL_FILE, ModelFile};
use dermafuse::networks::NetworkConfig;
use dermafuse::recipes::Workplace;
use dermafuse::train::{ClassWeights, Silent, TrainError, Trainer, TrainingCases, mean_branch_accuracy};
use dermafuse_tests::{device_lock, small_recipe, small_set, small_set_folder, text_of};

#[test]
fn a_loss_that_is_not_finite_stops_before_the_step_and_names_the_batch() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let recipe = small_recipe(&set);
    let mut config = recipe.first_stage.training.clone();
    config.learning_rate = 1e30; // the first step is finite, the second batch's loss is not
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases { set: &set, train: &split.train, valid: &split.valid, encoder: &encoder };
    let network = recipe.first_stage.network.init_seeded(0, &Device::flex().autodiff()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let result =
        Trainer::new(config).fit(network, cases, mean_branch_accuracy, Some(folder.path()), false, &mut Silent);
    let error = result.unwrap_err();
    let TrainError::NonFiniteLoss { epoch: 1, batch: 2, cases, .. } = &error else { panic!("{error}") };
    assert_eq!(cases.len(), 8);
    let text = error.to_string();
    assert!(text.contains(&format!("in epoch 1, batch 2 (cases {}", cases[0])), "{text}");
    assert!(text.contains("nothing was stepped"), "{text}");
}

#[test]
fn settings_that_make_no_training_are_refused() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let recipe = small_recipe(&set);
    let encoder = MetadataEncoder::none();
    let fit = |change: fn(&mut dermafuse::train::TrainingConfig), train: &[usize], device: Device| {
        let mut config = recipe.first_stage.training.clone();
        change(&mut config);
        let cases = TrainingCases { set: &set, train, valid: &split.valid, encoder: &encoder };
        let network = recipe.first_stage.network.init_seeded(0, &device).unwrap();
        let result = Trainer::new(config).fit(network, cases, mean_branch_accuracy, None, false, &mut Silent);
        result.unwrap_err().to_string()
    };
    let autodiff = || Device::flex().autodiff();
    assert_eq!(fit(|config| config.epochs = 0, &split.train, autodiff()), "epochs must be at least 1, found 0");
    assert!(fit(|config| config.batch_size = 1, &split.train, autodiff()).starts_with("batch_size must be at least 2"));
    assert!(fit(|_| (), &[], autodiff()).contains("two or more cases, found 0 cases"));
    assert!(fit(|_| (), &split.train, Device::flex()).contains("must be on an autodiff device"));
    let only_nevi: Vec<usize> =
        split.train.iter().copied().filter(|&row| set.cases[row].labels[0] == Some(0)).collect();
    let text = fit(|config| config.loss.class_weights = ClassWeights::Balanced, &only_nevi, autodiff());
    assert!(text.contains("of task `diagnosis` has no training case"), "{text}");
}

#[test]
fn a_damaged_or_foreign_bundle_is_refused() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    let mut recipe = small_recipe(&set);
    recipe.first_stage.training.epochs = 1;
    recipe.classifier = None;
    let outcome = recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let load = || Bundle::load(folder.path(), &Device::flex());
    let text = text_of(&load().unwrap_err());
    assert!(text.contains("model.safetensors"), "{text}");

    let file = folder.path().join(MODEL_FILE);
    outcome.bundle.save(&file).unwrap();
    let bytes = fs::read(&file).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    for (damaged, expected) in [
        (&bytes[..bytes.len() / 2], "not a whole safetensors file"),
        (&changed, "its SHA-256 is"),
        (b"", "not a whole"),
    ] {
        fs::write(&file, damaged).unwrap();
        let text = load().unwrap_err().to_string();
        assert!(text.contains("model.safetensors: ") && text.contains(expected), "{text}");
    }
    let whole = ModelFile::from_bytes(&bytes).unwrap();
    let write = |description: String| {
        let changed = ModelFile { description, ..whole.clone() };
        fs::write(&file, changed.to_bytes().unwrap()).unwrap();
        text_of(&load().unwrap_err())
    };
    let text = write(whole.description.replace("resnet18_quarter", "resnet18"));
    assert!(text.contains("model.safetensors") && text.contains("clinical.conv1.weight"), "{text}");
    assert!(write("{".into()).contains("line 1 column"));
    fs::write(&file, &bytes).unwrap();

    set.tasks = dermafuse::schema::TaskSet::new(vec![set.tasks[0].clone()]).unwrap();
    let text = load().unwrap().predict(&set, &split.test, |_| ()).unwrap_err().to_string();
    assert!(text.contains("are not the model's") && text.contains("use a model trained for this data set"), "{text}");
}

#[test]
fn weights_of_another_network_are_refused_by_the_recipe() {
    let (set, split) = small_set();
    let mut recipe = small_recipe(&set);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    recipe.first_stage.backbone_weights = Some(file.clone().into());
    let run = |recipe: &dermafuse::recipes::FusionM4Net| {
        let _lock = device_lock();
        text_of(&recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err())
    };
    assert!(run(&recipe).contains("weights.safetensors"));
    fs::write(&file, "<html>not found</html>").unwrap();
    let text = run(&recipe);
    assert!(text.contains("is not a weights file"), "{text}");
}

#[test]
fn a_class_count_that_makes_no_head_is_refused() {
    let (set, _) = small_set();
    let NetworkConfig::FusionNet(mut config) = small_recipe(&set).first_stage.network else { panic!("a FusionNet") };
    config.classes = vec![5, 1];
    let text = config.init(&Device::flex()).unwrap_err().to_string();
    assert!(text.contains("found class counts [5, 1]"), "{text}");
}

#[test]
fn a_truncated_image_stops_training_and_names_the_file() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("release_v0");
    copy_folder(small_set_folder(), &root);
    let set = derm7pt::load(&root).unwrap();
    let split = set.split.clone().unwrap();
    let victim = set.cases[split.train[3]].dermoscopic.clone().unwrap();
    let bytes = fs::read(&victim).unwrap();
    fs::write(&victim, &bytes[..bytes.len() / 2]).unwrap();
    let error = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err();
    let name = victim.file_name().unwrap().to_str().unwrap();
    assert!(text_of(&error).contains(name), "{}", text_of(&error));
}

#[test]
fn a_training_case_without_an_image_is_named() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    set.cases[split.train[0]].clinical = None;
    let error = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err();
    let expected = format!("case {} without a clinical photo", set.cases[split.train[0]].id);
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_group_on_both_sides_of_a_split_is_refused() {
    let (mut set, split) = small_set();
    set.cases[split.test[0]].group = set.cases[split.train[0]].group.clone();
    let error = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err();
    assert!(error.to_string().contains(set.cases[split.test[0]].group.as_str()), "{error}");
    assert!(Split::new(vec![0], vec![], vec![1], 2).is_err());
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}
