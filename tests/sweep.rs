//! A sweep as a process: trials that see no test case, shares, resuming, and the experiment that is chosen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dermafuse::data::{Split, derm7pt};
use dermafuse::schema::{BranchLogits, FuseSpace};
use dermafuse_tests::{contents_of, done, program, refused, small_set_folder};
use serde_json::Value;

const BASE: &str = r#"recipe = "jif"
[data.pad]
kind = "derm7pt"
path = "DATA"
[split]
kind = "published"
[method]
weights = "random"
network = { backbone = "resnet18_quarter", view = "dermoscopic" }
[training]
epochs = 1
batch_size = 8
preprocess.size = 32
[evaluation]
views = 0
"#;

const SWEEP: &str = r#"
[sweep]
score = "accuracy"
[sweep.keys]
"training.learning_rate" = [1e-9, 1e-3]
method.network.beta = [0.5]
training.epochs = [1, 2]
"#;

fn file(folder: &Path, name: &str, sweep: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, BASE.replace("DATA", &small_set_folder().display().to_string()) + sweep).unwrap();
    path
}

fn dermafuse(verb: &str, file: &Path, out: &Path, extra: &[&str]) -> Command {
    let mut command = program("dermafuse");
    command.arg(verb).arg(file).arg("--out").arg(out).args(extra);
    command
}

fn read(folder: &Path, name: &str) -> String {
    String::from_utf8(fs::read(folder.join(name)).unwrap()).unwrap()
}

const RESULTS: [&str; 6] =
    ["metrics.json", "predictions.csv", "history.csv", "report.html", "experiment.toml", "split.json"];

#[test]
fn the_best_of_the_validation_cases_is_trained_and_tested() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(folder.path(), "mine.toml", SWEEP);
    let out = folder.path().join("out");
    let said = done(dermafuse("train", &file, &out, &[]));
    assert!(said.contains("4 trials, 4 trainings") && said.contains("No trial saw a test case."), "{said}");

    let table = read(&out, "sweep.csv");
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(
        lines[0],
        ["trial", "method.network.beta", "training.epochs", "training.learning_rate", "validation_score", "chosen"]
    );
    assert_eq!(lines.len(), 5);
    let score = |line: &Vec<&str>| line[4].parse::<f64>().unwrap();
    let best = lines[1..].iter().map(score).fold(0.0, f64::max);
    let chosen: Vec<&Vec<&str>> = lines[1..].iter().filter(|line| line[5] == "yes").collect();
    // The first of those with the best score.
    assert_eq!(chosen, [lines[1..].iter().find(|line| score(line) == best).unwrap()]);
    assert!(read(&out, "sweep.html").contains("is chosen by the accuracy of the"), "{said}");

    // What a trial has predicted are the validation cases and no other.
    let set = derm7pt::load(small_set_folder()).unwrap();
    let Split { valid, .. } = set.split.clone().unwrap();
    let result: Value = serde_json::from_str(&read(&out, "methods/trial-01/result.json")).unwrap();
    let ids = result["result"]["test"]["cohort"]["ids"].as_array().unwrap();
    let ids: Vec<&str> = ids.iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(ids, valid.iter().map(|&row| set.cases[row].id.as_str()).collect::<Vec<_>>());
    // The score of the table is the accuracy of these predictions: nothing else was chosen by.
    for line in &lines[1..] {
        let name = line[0].replace(' ', "-");
        let result: Value = serde_json::from_str(&read(&out, &format!("methods/{name}/result.json"))).unwrap();
        let logits: BranchLogits = serde_json::from_value(result["result"]["test"].clone()).unwrap();
        let answer = logits.fuse(&logits.equal_weights(), FuseSpace::Probabilities).unwrap();
        assert!((answer.mean_accuracy().unwrap() - score(line)).abs() < 1e-12, "{line:?}");
    }
    assert!(!out.join("methods/trial-01/model.safetensors").exists() && out.join("model.safetensors").is_file());

    // The chosen experiment is one without a sweep, and gives the same bytes.
    let experiment = read(&out, "experiment.toml");
    assert!(
        !experiment.contains("sweep") && experiment.contains(&format!("learning_rate = {}", chosen[0][3])),
        "{experiment}"
    );
    let again = folder.path().join("again");
    done(dermafuse("train", &out.join("experiment.toml"), &again, &[]));
    for name in RESULTS {
        assert!(read(&out, name) == read(&again, name), "{name}");
    }
    assert!(fs::read(out.join("model.safetensors")).unwrap() == fs::read(again.join("model.safetensors")).unwrap());

    // Shares in folders of their own, joined, and resumed.
    let (one, two, joined) = (folder.path().join("one"), folder.path().join("two"), folder.path().join("joined"));
    assert!(done(dermafuse("train", &file, &one, &["--shard", "1/2"])).contains("share 1/2 is done"));
    done(dermafuse("train", &file, &two, &["--shard", "2/2"]));
    let mut merge = program("dermafuse");
    merge.arg("merge").arg(&one).arg(&two).arg("--out").arg(&joined);
    done(merge);
    done(dermafuse("train", &file, &joined, &["--resume"]));
    for name in RESULTS.iter().chain(&["sweep.csv"]) {
        assert!(read(&out, name) == read(&joined, name), "{name}");
    }
    let before = contents_of(&out);
    assert!(refused(dermafuse("train", &file, &out, &[])).contains("holds a finished run"));
    assert!(contents_of(&out) == before);
}

#[test]
fn what_is_no_sweep_is_said_with_its_place_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let lines = BASE.lines().count();
    for (sweep, line, words) in [
        (
            "[sweep.keys]\n\"training.epoch\" = [1, 2]\n",
            2,
            "training: there is no setting `epoch`; the settings here are: epochs,",
        ),
        (
            "[sweep.keys]\ntraining.epochs = [1, \"many\"]\n",
            2,
            "training.epochs: expected a whole number that is not negative, found \"many\"",
        ),
        ("[sweep.keys]\ntraining.epochs = []\n", 2, "sweep.keys.training.epochs: no value to try"),
        ("[sweep.keys]\ntraining.epochs = 3\n", 2, "sweep.keys.training.epochs: a list of values is expected"),
        ("[sweep.keys]\ntraining.epochs = [3]\n", 1, "sweep.keys: 1 trials; a sweep has from 2 to 10000"),
        ("[sweep.keys]\nsplit.seed = [1, 2]\n", 2, "all trials share `split`"),
        ("[sweep]\ntrials = 3\n[sweep.keys]\ntraining.epochs = [1, 2]\n", 2, "sweep.trials: a grid tries all values"),
        (
            "[sweep]\nkind = \"random\"\ntrials = 3\n[sweep.keys]\ntraining.epochs = [1, 2]\n",
            3,
            "3 trials of 2 that there are",
        ),
        (
            "[sweep]\nkind = \"best\"\n[sweep.keys]\ntraining.epochs = [1, 2]\n",
            2,
            "`best` is not known; expected one of: grid, random",
        ),
        (
            "[sweep]\nscores = \"auc\"\n",
            2,
            "there is no setting `scores`; the settings here are: kind, trials, seed, score, keys",
        ),
        (
            "[sweep.keys]\ntraining.learning_rate = { from = 0, to = 1, scale = \"log\" }\n",
            2,
            "on a logarithmic scale it starts above 0",
        ),
        (
            "[sweep.keys]\ntraining.learning_rate = { from = 1e-4, to = 1e-2 }\n",
            1,
            "a grid takes a list of values for training.learning_rate",
        ),
    ] {
        let file = file(folder.path(), "mine.toml", sweep);
        let error = refused(dermafuse("train", &file, &out, &[]));
        let place = format!("mine.toml: line {}, column", lines + line);
        assert!(error.contains(words) && error.contains(&place), "{sweep}{error}");
        assert!(!out.exists(), "{sweep}");
    }
    let plain = file(folder.path(), "plain.toml", "");
    let error = refused(dermafuse("train", &plain, &out, &["--shard", "1/2"]));
    assert!(error.contains("the experiment has no [sweep]"), "{error}");
    let swept = file(folder.path(), "swept.toml", SWEEP);
    let error = refused(dermafuse("compare", &swept, &out, &[plain.to_str().unwrap()]));
    assert!(error.contains("has a [sweep]; train it, and compare the experiment.toml that it leaves"), "{error}");
    assert!(!out.exists());

    let mut check = program("dermafuse");
    check.arg("check").arg(&swept);
    assert!(done(check).contains("a sweep of 4 trials, 4 trainings, before the chosen one"));
}

#[test]
fn cases_that_choose_are_not_those_that_test() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let file = file(folder.path(), "mine.toml", SWEEP);
    let folds = ["--set", "split={ kind = \"folds\", folds = 3 }"];
    let error = refused(dermafuse("train", &file, &out, &folds));
    assert!(error.contains("60 cases validate in one round and are tested in one"), "{error}");
    assert!(error.contains("or hold test cases back (split.hold_out = 0.2)") && !out.exists(), "{error}");
    let held =
        ["--set", "split={ kind = \"folds\", folds = 2, hold_out = 0.2 }", "--set", "sweep.keys.training.epochs=[1]"];
    let said =
        done(dermafuse("train", &file, &out, &[&held[..], &["--set", "training.loss.class_weights=uniform"]].concat()));
    assert!(said.contains("2 trials, 4 trainings"), "{said}");
}
