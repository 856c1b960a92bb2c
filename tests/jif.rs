//! JIF-MMFA as the thesis compares it: its eight methods, its folds beside honest ones, its one task of Derm7pt, and the record alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use dermafuse_tests::{done, program, refused, small_set_folder};
use serde_json::Value;

/// A small drawn set in the layout of PAD-UFES-20.
fn photos() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pad");
        let mut draw = program("dermafuse");
        draw.args(["draw", "pad-ufes-20"]).arg(&path).args(["--cases", "90", "--image-size", "32x32"]);
        done(draw);
        (folder, path)
    });
    path
}

/// A verb on the recipe, in a size that takes a second.
fn jif(words: &[&str], extra: &[&str]) -> Command {
    let mut command = program("dermafuse");
    command.args(words);
    let small = [
        "method.weights=random",
        "method.network.backbone=resnet18_quarter",
        "training.preprocess.size=32",
        "training.epochs=1",
        "training.batch_size=16",
        // A fold may have no case of a rare class.
        "training.loss.class_weights=uniform",
        "evaluation.views=0",
    ];
    for setting in small.iter().chain(extra) {
        command.args(["--set", setting]);
    }
    command
}

fn json(file: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn folds_as_published_stand_beside_grouped_ones_and_each_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("jif");
    let rows = ["--row", "Image", "--row", "JIF-MMFA(OFB)", "--row", "JIF-MMFA(All)"];
    let compare = |protocol: &str, extra: &[&str]| {
        let words = [&["compare", "jif", "--protocol", protocol][..], &rows, extra].concat();
        let mut command = jif(&words, &["split.folds=3"]);
        command.arg("--data").arg(format!("pad={}", photos().display())).arg("--out").arg(&out);
        command
    };
    let error = refused(compare("as printed", &[]));
    assert!(error.contains("there is no protocol `as printed`; the protocols are as published, grouped"), "{error}");
    let error = refused(compare("all", &["--shard", "1/2"]));
    assert!(error.contains("give --protocol one name"), "{error}");
    assert!(!out.exists());

    let printed = done(compare("all", &[]));
    let crossing =
        "Parts: 3 folds; a patient or lesion may stand in several of them; the tested fold chooses the epoch.";
    let grouped =
        "Parts: 3 folds; no patient or lesion stands in two of them; the fold after the tested one chooses the epoch.";
    let [first, second] = [crossing, grouped].map(|words| printed.find(words).unwrap_or_else(|| panic!("{printed}")));
    assert!(first < second);
    assert!(printed.contains("3 methods, 6 trainings as published") && printed.contains("6 trainings grouped"));
    let beside =
        printed.split("Balanced accuracy, per cent, side by side").nth(1).unwrap_or_else(|| panic!("{printed}"));
    let lines: Vec<&str> = beside.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].starts_with("method") && lines[0].contains("as published  ") && lines[0].ends_with("difference"));
    let starts: Vec<bool> = ["Image", "JIF-MMFA(OFB)", "JIF-MMFA(All)"]
        .iter()
        .zip(&lines[1..])
        .map(|(row, line)| line.starts_with(row) && line.matches(" ± ").count() == 2)
        .collect();
    assert_eq!(starts, [true; 3], "{beside}");

    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let whole = read("report.html");
    assert!(whole.contains(crossing) && whole.contains(grouped));
    let (of_crossing, of_grouped) = (read("as-published/report.html"), read("grouped/report.html"));
    assert!(of_crossing.contains(crossing) && !of_crossing.contains(grouped));
    assert!(of_grouped.contains(grouped) && !of_grouped.contains(crossing));
    // Each method in full, and a picture of the features of each training.
    for words in ["<h3>Image</h3>", "<h3>JIF-MMFA(OFB)</h3>", "<h3>JIF-MMFA(All)</h3>"] {
        assert!(of_grouped.contains(words), "{words}");
    }
    assert_eq!(of_grouped.matches("DIAG – confusion").count(), 2 * 3, "a title and a label for each method");
    assert!(of_grouped.matches("DIAG – ROC").count() >= 3);
    for words in ["t-SNE, Image, fold 1", "t-SNE, JIF-MMFA(OFB), JIF-MMFA(All), fold 1"] {
        assert!(of_grouped.contains(words), "{words}");
    }
    // The table that was printed is that of the numbers that were written.
    let mean = |rows: &Value| -> f64 {
        let values: Vec<f64> =
            rows[0]["balanced_accuracy"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(values.len(), 3);
        values.iter().sum::<f64>() / 3.0
    };
    for name in ["as-published", "grouped"] {
        let mean = mean(&json(out.join(name).join("table.json")));
        assert!(lines[1].contains(&format!("{mean:.1} ± ")), "{mean} in {}", lines[1]);
    }
}

#[test]
fn one_task_of_several_is_learnt_and_the_others_are_inputs_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("derm7pt={}", small_set_folder().display());
    let train = |out: &str, extra: &[&str]| {
        let words = ["train", "--recipe", "jif", "--row", "Metadata", "--data", &data];
        let mut command =
            jif(&words, &[&["split={ kind = \"published\" }", "method.network.backbone=none"], extra].concat());
        command.arg("--out").arg(folder.path().join(out));
        command
    };
    let of_all = json_of(&folder, "all", train("all", &[]));
    assert_eq!(of_all.as_array().unwrap().len(), 8);
    let diagnosis = "data.pad.tasks=[\"diagnosis\"]";
    let alone = json_of(&folder, "alone", train("alone", &[diagnosis]));
    assert_eq!((alone.as_array().unwrap().len(), alone[0]["name"].as_str()), (1, Some("diagnosis")));
    let experiment = fs::read_to_string(folder.path().join("alone/experiment.toml")).unwrap();
    assert!(experiment.contains("tasks = [\"diagnosis\"]"), "{experiment}");

    // As the thesis has it, the criteria are inputs: they leak, and that is said.
    let inputs = [diagnosis, "data.pad.other_tasks=inputs", "method.metadata.roles=include_post_diagnosis"];
    let printed = done(train("inputs", &inputs));
    assert!(printed.contains("are metadata that somebody judged, not tasks"), "{printed}");
    let report = fs::read_to_string(folder.path().join("inputs/report.html")).unwrap();
    assert!(report.contains("blue_whitish_veil"), "the report warns of inputs that leak");
    let evaluate = |extra: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("evaluate").arg(folder.path().join("inputs")).args(["--data", &data]);
        command.args(extra).arg("--out").arg(folder.path().join("evaluated"));
        command
    };
    let error = refused(evaluate(&[]));
    assert!(error.contains("pigment_network"), "{error}");
    done(evaluate(&["--tasks", "diagnosis", "--other-tasks", "inputs"]));
    let [trained, evaluated] =
        ["inputs", "evaluated"].map(|name| json(folder.path().join(name).join("metrics.json"))["rows"].clone());
    let last = |rows: &Value| rows.as_array().unwrap().last().unwrap()["evaluation"]["overall"].clone();
    assert_eq!(last(&trained), last(&evaluated));

    let error = refused(train("none", &["data.pad.tasks=[\"diagnose\"]"]));
    assert!(error.contains("it has no task `diagnose`; its tasks are diagnosis, pigment_network"), "{error}");
    let error = refused(train("none", &["data.pad.other_tasks=inputs"]));
    assert!(error.contains("data.pad.other_tasks: without `data.pad.tasks`"), "{error}");
    let error = refused(train("none", &["data.pad.tasks=[\"diagnosis\", \"diagnosis\"]"]));
    assert!(error.contains("data.pad.tasks: `diagnosis` is named twice"), "{error}");
}

/// The tasks of the answer that a training writes.
fn json_of(folder: &tempfile::TempDir, out: &str, command: Command) -> Value {
    done(command);
    let metrics = json(folder.path().join(out).join("metrics.json"));
    metrics["rows"].as_array().unwrap().last().unwrap()["evaluation"]["tasks"].clone()
}

#[test]
fn the_record_alone_is_checked_and_explained_without_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("pad={}", photos().display());
    let split = "split={ kind = \"drawn\", shares = [0.5, 0.2, 0.3] }";
    let of_record = ["--row", "Metadata", "--recipe", "jif", "--data", &data];
    let printed = done(jif(&[&["check"][..], &of_record].concat(), &[split]));
    assert!(printed.contains("metadata classifier, ") && !printed.contains("()"), "{printed}");
    let out = folder.path().join("record");
    let mut train = jif(&[&["train"][..], &of_record].concat(), &[split]);
    train.arg("--out").arg(&out);
    done(train);
    let (page, model) = (folder.path().join("case.html"), out.join("model.safetensors"));
    let explain = |extra: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("explain").arg(&model).args(extra).arg("--out").arg(&page);
        command
    };
    let error = refused(explain(&[]));
    assert!(error.contains("--clinical"), "{error}");
    let printed = done(explain(&["--field", "age=71", "--field", "itch=True"]));
    assert!(printed.contains("without it") && printed.contains("age"), "{printed}");
    assert!(fs::read_to_string(&page).unwrap().contains("71"));
}
