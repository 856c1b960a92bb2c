//! The example programs as processes: what a newcomer runs, small.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use dermafuse_tests::small_set_folder;

/// A built example; `cargo test --release --workspace` builds them all before it runs anything.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("this program has a path");
    let target = test.ancestors().nth(2).expect("tests are in target/PROFILE/deps");
    let program = target.join("examples").join(name);
    assert!(program.is_file(), "{} is not built; run `cargo test --release --workspace`", program.display());
    Command::new(program)
}

fn text(output: &Output) -> String {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}\n{error}")
}

fn quickstart(out: &Path) -> Output {
    let arguments = ["--cases", "60", "--image-size", "32", "--epochs", "2", "--out"];
    example("quickstart").args(arguments).arg(out).output().unwrap()
}

fn fusionm4net(out: &Path, epochs: &str) -> Command {
    let mut command = example("fusionm4net");
    command.args(["--dataset", "derm7pt", "--data"]).arg(small_set_folder());
    command.args(["--backbone", "resnet18_quarter", "--image-size", "32", "--batch-size", "8", "--epochs", epochs]);
    command.args(["--learning-rate", "1e-3", "--out"]).arg(out);
    command
}

#[test]
fn quickstart_writes_a_report_and_a_bundle_that_evaluate_reads() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("quickstart");
    let output = quickstart(&out);
    assert!(output.status.success(), "{}", text(&output));
    for row in ["majority", "P_clinical", "P_dermoscopic", "P_3", "epoch   2/2"] {
        assert!(text(&output).contains(row), "{}", text(&output));
    }
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.to_lowercase().contains("synthetic") && report.contains("not a medical device"));
    assert!(report.contains("management"), "inputs that leak the diagnosis are named");
    assert!(report.len() < 2_000_000, "{} bytes", report.len());

    let evaluated = folder.path().join("evaluate");
    let output = example("evaluate")
        .args(["--dataset", "derm7pt", "--model"])
        .arg(out.join("bundle"))
        .arg("--data")
        .arg(out.join("data"))
        .arg("--out")
        .arg(&evaluated)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let (trained, loaded) = (read(out.join("metrics.json")), read(evaluated.join("metrics.json")));
    let third = |metrics: &serde_json::Value| find_row(metrics, "P_3").expect("a row P_3");
    assert_eq!(third(&trained), third(&loaded));
    let predictions = fs::read_to_string(evaluated.join("predictions.csv")).unwrap();
    assert!(predictions.lines().next().unwrap().contains("probability"));
}

/// The part of the metrics that belongs to a row, wherever it stands.
fn find_row(metrics: &serde_json::Value, name: &str) -> Option<serde_json::Value> {
    match metrics {
        serde_json::Value::Object(entries) => {
            if entries.values().any(|value| value.as_str() == Some(name)) {
                return Some(metrics.clone());
            }
            entries.get(name).cloned().or_else(|| entries.values().find_map(|value| find_row(value, name)))
        }
        serde_json::Value::Array(items) => items.iter().find_map(|item| find_row(item, name)),
        _ => None,
    }
}

#[test]
fn a_killed_run_resumes_to_the_same_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let output = fusionm4net(&whole, "3").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let mut child = fusionm4net(&killed, "3").spawn().unwrap();
    let started = Instant::now();
    while !killed.join("checkpoints/full/epoch-00001/manifest.json").is_file() {
        assert!(started.elapsed() < Duration::from_secs(300), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = fusionm4net(&killed, "3").output().unwrap();
    assert!(
        !output.status.success() && text(&output).contains("resume it, or give another folder"),
        "{}",
        text(&output)
    );
    let output = fusionm4net(&killed, "3").arg("--resume").output().unwrap();
    assert!(output.status.success() && text(&output).contains("resuming after epoch"), "{}", text(&output));
    let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read(&whole, "metrics.json"), read(&killed, "metrics.json"));
    assert_eq!(read(&whole, "predictions.csv"), read(&killed, "predictions.csv"));
}

/// A limit on the size of files stands for a full disk: the write fails in the middle.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = fusionm4net(&out, "1").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let before = fs::read(out.join("checkpoints/full/epoch-00001/network.bpk")).unwrap();

    let full = folder.path().join("full");
    let command = fusionm4net(&full, "1");
    let arguments: Vec<String> = command.get_args().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let program = command.get_program().to_str().unwrap();
    let script = format!("trap '' XFSZ; ulimit -f 2000; exec '{program}' {}", arguments.join(" "));
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains("cannot write") && text.contains("network.bpk") && text.contains(" bytes)"), "{text}");
    assert!(text.contains("because: File too large"), "{text}");
    assert!(!full.join("checkpoints/full/epoch-00001").exists(), "half a checkpoint must not look like one");
    assert_eq!(before, fs::read(out.join("checkpoints/full/epoch-00001/network.bpk")).unwrap());
}

#[test]
fn programs_explain_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let output = example("fusionm4net").args(["--dataset", "milk10k", "--data"]).arg(&missing).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("nowhere"), "{}", text(&output));
    let output = example("evaluate")
        .args(["--dataset", "derm7pt", "--data"])
        .arg(small_set_folder())
        .arg("--model")
        .arg(&missing)
        .output()
        .unwrap();
    assert!(text(&output).contains("is it a model bundle?"), "{}", text(&output));
    let output = fusionm4net(&missing, "1").args(["--device", "cuda"]).output().unwrap();
    assert!(text(&output).contains("add `--features cuda`"), "{}", text(&output));
}
