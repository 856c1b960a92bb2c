//! Bad input and bad luck: each gets an error that names the culprit, and nothing that was written is lost.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{MetadataEncoder, Split, derm7pt};
use dermafuse::infer::{Bundle, MODEL_FILE, ModelFile};
use dermafuse::networks::{AsymmetricFusionConfig, NetworkConfig};
use dermafuse::recipes::{Progress, Workplace};
use dermafuse::schema::{RunFolder, RunMode};
use dermafuse::train::{
    ClassBalancing, Incomplete, Observer, Silent, TrainError, Trainer, TrainingCases, mean_branch_accuracy,
};
use dermafuse_tests::{
    contents_of, device_lock, example, numbers_of, program, small_recipe, small_set, small_set_folder, text, text_of,
    train_small, uniform,
};

#[test]
fn a_loss_that_is_not_finite_stops_before_the_step_and_names_the_batch() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let recipe = small_recipe(&set);
    let mut config = recipe.first_stage.training.clone();
    config.learning_rate = 1e30; // the first step is finite, the second batch's loss is not
    let encoder = MetadataEncoder::none();
    let cases = TrainingCases {
        train: set.view(&split.train).unwrap(),
        valid: set.view(&split.valid).unwrap(),
        encoder: &encoder,
    };
    let network = recipe.first_stage.network.init_seeded(0, &Device::flex().autodiff()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let result =
        Trainer::new(config).fit(network, &cases, mean_branch_accuracy, Some(folder.path()), false, &mut Silent);
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
        let (train, valid) = (set.view(train).unwrap(), set.view(&split.valid).unwrap());
        let cases = TrainingCases { train, valid, encoder: &encoder };
        let network = recipe.first_stage.network.init_seeded(0, &device).unwrap();
        let result = Trainer::new(config).fit(network, &cases, mean_branch_accuracy, None, false, &mut Silent);
        result.unwrap_err().to_string()
    };
    let autodiff = || Device::flex().autodiff();
    assert_eq!(fit(|config| config.epochs = 0, &split.train, autodiff()), "`epochs` must be at least 1, found 0");
    assert!(
        fit(|config| config.batch_size = 1, &split.train, autodiff()).starts_with("`batch_size` must be at least 2")
    );
    assert!(fit(|_| (), &[], autodiff()).contains("two or more cases, found 0 cases"));
    assert!(fit(|_| (), &split.train, Device::flex()).contains("must be on an autodiff device"));
    let only_nevi: Vec<usize> =
        split.train.iter().copied().filter(|&row| set.cases[row].labels[0] == Some(0)).collect();
    let text = fit(|config| config.loss.class_weights = ClassBalancing::Balanced, &only_nevi, autodiff());
    assert!(text.contains("of task `diagnosis` has no training case"), "{text}");
}

#[test]
fn a_damaged_or_foreign_bundle_is_refused() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    let mut recipe = small_recipe(&set);
    recipe.first_stage.training.epochs = 1;
    recipe.second_stage = None;
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

    let unknown = dermafuse::schema::Task { name: "grade".into(), ..set.tasks[0].clone() };
    set.tasks = dermafuse::schema::TaskSet::new(vec![unknown]).unwrap();
    let text = load().unwrap().predict(&set.view(&split.test).unwrap(), |_| ()).unwrap_err().to_string();
    assert!(text.contains("are not the model's") && text.contains("use a model trained for this data set"), "{text}");
}

#[test]
fn weights_of_another_network_are_refused_by_the_recipe() {
    let (set, split) = small_set();
    let mut recipe = small_recipe(&set);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    recipe.first_stage.backbone_weights = Some(file.clone().into());
    let run = |recipe: &dermafuse::recipes::Protocol| {
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
    let victim = set.cases[split.train[3]].dermoscopic[0].clone();
    let bytes = fs::read(&victim).unwrap();
    fs::write(&victim, &bytes[..bytes.len() / 2]).unwrap();
    let error = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err();
    let name = victim.path.file_name().unwrap().to_str().unwrap();
    assert!(text_of(&error).contains(name), "{}", text_of(&error));
}

#[test]
fn a_training_case_without_an_image_is_named() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    set.cases[split.train[0]].clinical = Vec::new();
    let error = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err();
    let expected = format!("case {} without a clinical photo", set.cases[split.train[0]].id);
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_damaged_test_image_is_found_before_the_training() {
    /// Fails if anything begins.
    struct Never;
    impl Observer for Never {}
    impl Progress for Never {
        fn step(&mut self, title: &str) {
            panic!("{title}");
        }

        fn predicted(&mut self, _done: usize, _total: usize) {}
    }
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("release_v0");
    copy_folder(small_set_folder(), &root);
    let set = derm7pt::load(&root).unwrap();
    let split = set.split.clone().unwrap();
    let victims = [&split.test, &split.valid].map(|part| set.cases[part[0]].clinical[0].clone());
    for victim in &victims {
        let bytes = fs::read(victim).unwrap();
        fs::write(victim, &bytes[..bytes.len() / 2]).unwrap();
    }
    let (device, out) = (Device::flex(), folder.path().join("out"));
    let place = Workplace::on(&device).in_folder(&out, false);
    let error = small_recipe(&set).run(&set, &split, place, &mut Never).unwrap_err();
    for victim in victims {
        let name = victim.path.file_name().unwrap().to_str().unwrap();
        assert!(text_of(&error).contains(name), "{}", text_of(&error));
    }
    assert!(!out.exists(), "a refused run writes nothing");
}

/// Keeps what is noted.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {}

impl Progress for Notes {
    fn step(&mut self, _title: &str) {}

    fn predicted(&mut self, _done: usize, _total: usize) {}

    fn noted(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn incomplete_cases_are_refused_left_out_or_used_as_is_said() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    let device = Device::flex();
    let mut recipe = small_recipe(&set);
    recipe.first_stage.training.epochs = 1;
    recipe.second_stage = None;
    // Two training cases without a photo, a test case without one, another test case without any image.
    set.cases[split.train[0]].clinical = Vec::new();
    set.cases[split.train[1]].clinical = Vec::new();
    set.cases[split.test[0]].clinical = Vec::new();
    set.cases[split.test[1]].clinical = Vec::new();
    set.cases[split.test[1]].dermoscopic = Vec::new();
    let run = |incomplete, set: &dermafuse::data::CaseSet, notes: &mut Notes| {
        let mut recipe = recipe.clone();
        recipe.first_stage.incomplete = incomplete;
        recipe.run(set, &split, Workplace::on(&device), notes).map_err(Box::new)
    };
    let (train, test) = (split.train.len(), split.test.len());

    let text = run(Incomplete::Refuse, &set, &mut Notes::default()).unwrap_err().to_string();
    let first = &set.cases[split.test[1]].id;
    let expected = format!(
        "1 of {test} test cases lack every image that a branch of the network needs, the first is case {first};"
    );
    assert!(text.starts_with(&expected), "{text}");
    let mut notes = Notes::default();
    let skipped = run(Incomplete::Skip, &set, &mut notes).unwrap();
    let lacks = "lack an image that the network looks at and are";
    let expected = [
        format!("2 of {train} training cases {lacks} left out."),
        format!("2 of {test} test cases {lacks} answered by the branches that see them, but for 1 that are left out."),
    ];
    assert_eq!(notes.0, expected);
    assert_eq!(skipped.test.cohort.len(), test - 1);

    // What was left out has no influence.
    let mut without = split.clone();
    without.train.drain(..2);
    without.test.remove(1);
    let complete = recipe.run(&set, &without, Workplace::on(&device), &mut Silent).unwrap();
    assert!(numbers_of(&complete.bundle.network) == numbers_of(&skipped.bundle.network));

    set.cases[split.test[1]].dermoscopic = set.cases[split.test[2]].dermoscopic.clone();
    let text = run(Incomplete::Refuse, &set, &mut Notes::default()).unwrap_err().to_string();
    assert!(text.starts_with(&format!("2 of {train} training cases lack an image")), "{text}");
    assert!(text.ends_with("(incomplete cases: skip, or use)"), "{text}");
    let used = run(Incomplete::Use, &set, &mut Notes::default()).unwrap();
    assert!(numbers_of(&used.bundle.network) != numbers_of(&complete.bundle.network));
    // A network whose every branch needs both images cannot use such cases.
    let text = {
        let mut recipe = recipe.clone();
        let (backbone, classes) = (BackboneKind::ResNet18Quarter, set.tasks.class_counts());
        let network = AsymmetricFusionConfig::new(backbone, backbone, "bab".parse().ok(), classes);
        recipe.first_stage.network = NetworkConfig::AsymmetricFusion(network);
        recipe.first_stage.incomplete = Incomplete::Use;
        set.cases[split.test[0]].clinical = set.cases[split.test[2]].clinical.clone();
        set.cases[split.test[1]].clinical = set.cases[split.test[2]].clinical.clone();
        recipe.run(&set, &split, Workplace::on(&device), &mut Silent).unwrap_err().to_string()
    };
    assert!(text.contains("they cannot be used, since no branch of the network sees enough of case"), "{text}");
}

#[test]
fn a_group_on_both_sides_of_a_split_is_refused() {
    let (mut set, split) = small_set();
    set.cases[split.test[0]].group = set.cases[split.train[0]].group.clone();
    let error = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap_err();
    assert!(error.to_string().contains(set.cases[split.test[0]].group.as_str()), "{error}");
    assert!(Split::new(vec![0], vec![], vec![1], 2).is_err());
}

/// FusionM4Net's first stage, small.
fn fusionm4net(out: &Path) -> Command {
    let network = "method.network.backbone=resnet18_quarter";
    let settings = [network, "training.epochs=3", "second_stage.classifier=none", "second_stage.search.steps=5"];
    train_small(out, "fusionm4net", &settings)
}

/// What a run leaves that must not depend on how it came about.
const RESULTS: [&str; 5] = ["metrics.json", "predictions.csv", "report.html", "experiment.toml", "split.json"];

#[cfg(unix)]
#[test]
fn a_closed_or_full_output_does_not_end_a_training() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let output = fusionm4net(&whole).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let closed = folder.path().join("closed");
    let mut child = fusionm4net(&closed).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take()); // as `| head` does when it has seen enough
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());

    let full = folder.path().join("full");
    let device = fs::File::options().write(true).open("/dev/full");
    if let Ok(device) = device {
        let output = fusionm4net(&full).stdout(device).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output).matches("warning: cannot print any more").count(), 1, "{}", text(&output));
    }
    for out in [closed, full].iter().filter(|out| out.exists()) {
        for name in RESULTS {
            assert!(fs::read(whole.join(name)).unwrap() == fs::read(out.join(name)).unwrap(), "{name}");
        }
    }
}

/// A limit on the size of files stands for a full disk: the write fails in the middle.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = fusionm4net(&out).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    // The best epoch and the last one are kept.
    let epochs = fs::read_dir(out.join("checkpoints/full")).unwrap().map(|entry| entry.unwrap().path());
    let kept = epochs.map(|epoch| epoch.join("network.bpk")).filter(|file| file.is_file()).min().unwrap();
    let before = fs::read(&kept).unwrap();

    let full = folder.path().join("full");
    let command = fusionm4net(&full);
    let arguments: Vec<String> = command.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let program = command.get_program().to_str().unwrap();
    let script = format!("trap '' XFSZ; ulimit -f 2000; exec '{program}' {}", arguments.join(" "));
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains("cannot write") && text.contains("network.bpk") && text.contains(" bytes)"), "{text}");
    assert!(text.contains("because: File too large"), "{text}");
    assert!(!full.join("checkpoints/full/epoch-00001").exists(), "half a checkpoint must not look like one");
    assert_eq!(before, fs::read(kept).unwrap());
}

#[test]
fn a_refused_program_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/b");
    let refused = |command: &mut Command, expected: &str| {
        let before = contents_of(folder.path());
        let output = command.output().unwrap();
        assert!(!output.status.success() && text(&output).contains(expected), "{}", text(&output));
        assert!(contents_of(folder.path()) == before, "{expected}");
    };
    let set = |words: &str| {
        let mut command = fusionm4net(&out);
        command.args(["--set", words]);
        command
    };
    refused(&mut set("method.weights=nowhere.pth"), "nowhere.pth");
    refused(&mut set("training.micro_batch_size=3"), "training.micro_batch_size: must be");
    let mut data = fusionm4net(&out);
    refused(data.arg("--data").arg(format!("derm7pt={}", folder.path().join("nowhere").display())), "nowhere");
    let compare = |row: &str| {
        let mut command = program("dermafuse");
        command.args(["compare", "pemm", "--data"]).arg(format!("derm7pt={}", small_set_folder().display()));
        command.args(["--set", "method.weights=random", "--row", "PS", "--row", row, "--out"]).arg(&out);
        command
    };
    refused(&mut compare("nothing"), "there is no row `nothing`");

    let mut held = RunFolder::open(&out, "train", RunMode::default()).unwrap();
    held.begin().unwrap();
    let (mut resumed, mut compared, mut quickstart) = (fusionm4net(&out), compare("PS+SCA"), example("quickstart"));
    for command in [resumed.arg("--resume"), &mut compared, quickstart.arg("--out").arg(&out)] {
        refused(command, "is in use by another run");
    }
    held.finish().unwrap();
    drop(held);
    refused(&mut fusionm4net(&out), "holds a finished run; resume it, or give another folder");
    refused(compare("PS+SCA").arg("--resume"), "holds a run of `train`, not of `compare`");
    fs::write(folder.path().join("a/notes.txt"), "mine").unwrap();
    fs::remove_dir_all(&out).unwrap();
    refused(example("quickstart").arg("--out").arg(folder.path().join("a")), "holds `notes.txt` and no run");
}

/// How often the next test kills: more for a campaign.
const KILLS: &str = "DERMAFUSE_KILLS";

#[test]
fn a_program_that_is_killed_at_any_moment_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let started = Instant::now();
    let output = fusionm4net(&whole).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let took = started.elapsed();
    let asked = std::env::var(KILLS).map_or(10, |kills| kills.parse().expect("a number of kills"));
    let (mut kills, mut rounds) = (0, 0);
    while kills < asked {
        let out = folder.path().join(format!("killed-{rounds}"));
        loop {
            let moment = took.mul_f64(uniform("moment", kills + 1000 * rounds));
            let mut command = fusionm4net(&out);
            let mut child = command.arg("--resume").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let started = Instant::now();
            let ended = loop {
                match child.try_wait().unwrap() {
                    None if kills < asked && started.elapsed() >= moment => break None,
                    None => std::thread::sleep(Duration::from_millis(1)),
                    ended => break ended,
                }
            };
            if let Some(ended) = ended {
                let again = || text(&fusionm4net(&out).arg("--resume").output().unwrap());
                assert!(ended.success(), "after {kills} kills, in round {rounds}: {}", again());
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        for name in RESULTS {
            let same = fs::read(whole.join(name)).unwrap() == fs::read(out.join(name)).unwrap();
            assert!(same, "{name} after {kills} kills, in round {rounds}");
        }
        let left = contents_of(&out).into_keys().find(|path| path.to_str().is_some_and(|path| path.ends_with(".part")));
        assert_eq!(left, None, "what a killed process left is removed");
        fs::remove_dir_all(&out).unwrap();
        rounds += 1;
    }
    println!("{kills} kills in {rounds} runs of {took:.1?}");
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
