//! Sets with tasks of their own, trained as one by the program: what a set does not say is left out of losses and metrics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use burn::tensor::Device;
use dermafuse::recipes::{Experiment, Plan, Progress, Workplace};
use dermafuse::train::Observer;
use dermafuse_tests::{done, program, small_set_folder, text_of};
use serde_json::Value;

/// A drawn set in the layout of PAD-UFES-20: photos and one diagnosis.
fn photos() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pad");
        let mut draw = program("dermafuse");
        draw.args(["draw", "pad-ufes-20"]).arg(&path).args(["--cases", "60", "--image-size", "32x32"]);
        assert!(draw.output().unwrap().status.success());
        (folder, path)
    });
    path
}

/// FusionM4Net on both sets at once. The photos lack the dermoscopic image, and their diagnosis is one of others.
fn experiment(extra: &str) -> String {
    format!(
        r#"recipe = "fusionm4net"
incomplete = "use"
[data.derm7pt]
path = "{}"
[data.pad]
kind = "pad-ufes-20"
path = "{}"
[joined.both]
sets = ["derm7pt", "pad"]
tasks.pad.diagnosis = "photo_diagnosis"
[method]
weights = "random"
network.backbone = "resnet18_quarter"
[training]
epochs = 2
batch_size = 8
learning_rate = 1e-3
preprocess.size = 32
[evaluation]
views = 0
{extra}
"#,
        small_set_folder().display(),
        photos().display()
    )
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("joined.toml");
    fs::write(&file, text).unwrap();
    file
}

fn train(file: &Path, out: &Path) -> Command {
    let mut command = program("dermafuse");
    command.arg("train").arg(file).arg("--out").arg(out);
    command
}

fn json(file: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn plan(folder: &Path, text: &str) -> Result<Plan, String> {
    let experiment = Experiment::read_file(written(folder, text)).map_err(|error| text_of(&error))?;
    experiment.plan().map_err(|error| text_of(&error))
}

/// What is noted before a training.
#[derive(Default)]
struct Noted(Vec<String>);

impl Observer for Noted {}

impl Progress for Noted {
    fn step(&mut self, _title: &str) {}

    fn noted(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn predicted(&mut self, _done: usize, _total: usize) {}
}

/// Checks what is planned as a training does first, and gives what is noted.
fn checked(plan: &Plan) -> Result<Vec<String>, String> {
    let mut noted = Noted::default();
    plan.check(Workplace::on(&Device::flex()), &mut noted).map_err(|error| text_of(&error))?;
    Ok(noted.0)
}

#[test]
fn two_sets_train_one_network_and_each_task_counts_the_cases_that_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let (out, again) = (folder.path().join("out"), folder.path().join("again"));
    let printed = done(train(&written(folder.path(), &experiment("")), &out));
    assert!(printed.contains("derm7pt: 60 cases of derm7pt") && printed.contains("pad: 60 cases of pad"), "{printed}");

    let split = json(out.join("split.json")).to_string();
    assert!(split.contains("derm7pt:") && split.contains("pad:"));
    let metrics = json(out.join("metrics.json"));
    let last = &metrics["rows"].as_array().unwrap().last().unwrap()["evaluation"];
    let n = |task: &str| {
        let tasks = last["tasks"].as_array().unwrap();
        tasks.iter().find(|found| found["name"] == task).unwrap()["n"].as_u64().unwrap()
    };
    assert_eq!(last["tasks"].as_array().unwrap().len(), 9);
    let (derm7pt, pad, all) = (n("diagnosis"), n("photo_diagnosis"), last["cases"].as_u64().unwrap());
    assert!(derm7pt > 0 && pad > 0 && derm7pt + pad == all, "{derm7pt} + {pad} = {all}");
    assert_eq!(n("vascular_structures"), derm7pt);
    let predictions = fs::read_to_string(out.join("predictions.csv")).unwrap();
    let header: Vec<&str> = predictions.lines().next().unwrap().split(',').collect();
    let place = |column: &str| header.iter().position(|name| *name == column).unwrap();
    for line in predictions.lines().skip(1) {
        let values: Vec<&str> = line.split(',').collect();
        let is_photo = values[0].starts_with("pad:");
        assert_eq!(values[place("diagnosis:truth")].is_empty(), is_photo, "{line}");
        assert_eq!(values[place("photo_diagnosis:truth")].is_empty(), !is_photo, "{line}");
        assert!(is_photo != values[place("basis")].contains("dermoscopic"), "{line}");
    }
    assert!(fs::read_to_string(out.join("report.html")).unwrap().contains("source_set"));

    let mut repeated = program("dermafuse");
    repeated.arg("train").arg(out.join("experiment.toml")).arg("--out").arg(&again);
    done(repeated);
    for name in ["metrics.json", "predictions.csv", "model.safetensors"] {
        assert!(fs::read(out.join(name)).unwrap() == fs::read(again.join(name)).unwrap(), "{name}");
    }

    // One of the sets alone. The model knows the cases by their names in the joined set, so it says that it knows another set.
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(&out).args(["--allow-missing-fields", "--data"]);
    evaluate.arg(format!("derm7pt={}", small_set_folder().display())).arg("--out").arg(folder.path().join("alone"));
    let printed = done(evaluate);
    assert!(printed.contains("The set has no task `photo_diagnosis`"), "{printed}");
    let alone = json(folder.path().join("alone/metrics.json"));
    assert_eq!(alone["seen"]["same_data_set"], false);
    let of_both = last["tasks"][0]["accuracy"].as_f64().unwrap();
    let rows = alone["rows"].as_array().unwrap();
    assert_eq!(rows.last().unwrap()["evaluation"]["tasks"][0]["accuracy"].as_f64().unwrap(), of_both);
}

#[test]
fn folds_and_seeds_are_of_all_cases_together() {
    let folder = tempfile::tempdir().unwrap();
    let folds = plan(folder.path(), &experiment("[split]\nkind = \"folds\"\nfolds = 3\n")).unwrap();
    assert_eq!(folds.rounds.len(), 3);
    for round in &folds.rounds {
        let training = &round.stages[0];
        for source in ["derm7pt:", "pad:"] {
            let of = |rows: &[usize]| {
                rows.iter().filter(|&&row| training.set.cases[row].id.as_str().starts_with(source)).count()
            };
            assert!((15..=25).contains(&of(&training.split.test)), "each fold has a third of each set");
        }
    }
    // The halves that a second stage learns from have cases of both sets.
    let training = &plan(folder.path(), &experiment("")).unwrap().rounds[0].stages[0].clone();
    let (first, second) = training.split.half_in_order();
    for half in [first, second] {
        let photos = half.iter().filter(|&&row| training.set.cases[row].id.as_str().starts_with("pad:")).count();
        assert!(photos * 4 > half.len() && photos * 4 < 3 * half.len(), "{photos} of {}", half.len());
    }
}

#[test]
fn what_cannot_be_joined_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = experiment("");
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        plan(folder.path(), &text.replace(from, to)).unwrap_err()
    };
    let sets = "sets = [\"derm7pt\", \"pad\"]";
    for (to, words) in [
        ("sets = [\"derm7pt\"]", "line 9, column 8: joined.both.sets: two or more sets are joined; 1 is named"),
        ("sets = [\"derm7pt\", \"moon\"]", "there is no set `moon`; the sets are derm7pt, pad"),
        ("sets = [\"pad\", \"pad\"]", "`pad` is named twice"),
        ("set = [\"derm7pt\", \"pad\"]", "there is no setting `set`; the settings here are: sets, tasks"),
    ] {
        let error = refused(sets, to);
        assert!(error.contains("joined.toml: line 9") && error.contains(words), "{error}");
    }
    let error = refused("[joined.both]", "[joined.pad]");
    assert!(error.contains("joined.pad: a set of [data] or [merged] has this name"), "{error}");
    let error = refused("tasks.pad.diagnosis", "tasks.moon.diagnosis");
    assert!(error.contains("joined.both.tasks.moon: the sets that are joined are derm7pt, pad"), "{error}");
    let error = refused("tasks.pad.diagnosis = \"photo_diagnosis\"\n", "");
    assert!(
        error.contains("task `diagnosis` is another in `pad` (ACK, BCC, MEL, NEV, SCC, SEK) than in `derm7pt` (")
            && error.contains("map its classes (`merged`), or give it another name (`tasks`)"),
        "{error}"
    );
    let error = refused("tasks.pad.diagnosis", "tasks.pad.dx");
    assert!(
        error.contains("set `pad` has no task `dx` that could be called otherwise; its tasks are diagnosis"),
        "{error}"
    );
    let sampled = text.replace("epochs = 2", "epochs = 2\nsampling = { kind = \"weighted\", power = 1.0 }");
    let error = checked(&plan(folder.path(), &sampled).unwrap()).unwrap_err();
    assert!(
        error.contains("drawn by the classes of task `diagnosis`, and no training case of `pad` has a label of it"),
        "{error}"
    );
}

#[test]
fn a_task_that_nobody_labelled_is_named_with_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::read_file(written(folder.path(), &experiment(""))).unwrap();
    let load = |name: &str| (name.to_owned(), experiment.data[name].load(name).unwrap());
    let (derm7pt, pad) = (load("derm7pt"), load("pad"));
    let plan = |unlabelled: fn(usize) -> bool| {
        let mut pad = pad.clone();
        // The parts of the photos are drawn anew: they do not depend on labels that are all missing in one of them.
        let split = dermafuse::data::Split::stratified(&pad.1, 0, [0.64, 0.16, 0.2], 0).unwrap();
        let parts = [&split.train, &split.valid, &split.test];
        for (_, rows) in parts.into_iter().enumerate().filter(|(part, _)| unlabelled(*part)) {
            rows.iter().for_each(|&row| pad.1.cases[row].labels[0] = None);
        }
        pad.1.split = Some(split);
        let sets = [derm7pt.clone(), pad].map(|(name, set)| (name, std::sync::Arc::new(set)));
        experiment.plan_for(&sets).unwrap()
    };
    let error = checked(&plan(|part| part == 0)).unwrap_err();
    assert!(error.contains("no case of the training part (") && error.contains("of task `photo_diagnosis`"), "{error}");
    let notes = checked(&plan(|part| part > 0)).unwrap();
    for words in [
        "No validation case has a label of task `photo_diagnosis`: it has no say in what is chosen on validation cases.",
        "No test case has a label of task `photo_diagnosis`: its numbers are undefined.",
    ] {
        assert!(notes.iter().any(|note| note == words), "{notes:?}");
    }
}

#[test]
fn a_task_of_which_all_cases_are_left_out_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // No photo has a dermoscopic image, so none trains.
    let skipping = experiment("").replace("incomplete = \"use\"", "incomplete = \"skip\"");
    let error = checked(&plan(folder.path(), &skipping).unwrap()).unwrap_err();
    assert!(error.contains("no case of the training part (") && error.contains("of task `photo_diagnosis`"), "{error}");
}
