//! The example programs as processes: what a newcomer runs, small.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use dermafuse::data::{ImageSource, LoadOptions, Strictness, decode, ph2};
use dermafuse::synthetic::layouts::{self, Layout};
use dermafuse_tests::{example, program, saved_backbone, small_set_folder, text};

fn quickstart(out: &Path) -> Output {
    let arguments = ["--cases", "60", "--image-size", "32", "--epochs", "2", "--out"];
    example("quickstart").args(arguments).arg(out).output().unwrap()
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
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(out.join("model.safetensors"));
    evaluate.arg("--data").arg(format!("derm7pt={}", out.join("data").display()));
    let output = evaluate.arg("--out").arg(&evaluated).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let (trained, loaded) = (read(out.join("metrics.json")), read(evaluated.join("metrics.json")));
    let third = |metrics: &serde_json::Value| find_row(metrics, "P_3").expect("a row P_3");
    assert_eq!(third(&trained), third(&loaded));
    let header = |name: &str| fs::read_to_string(evaluated.join(name)).unwrap().lines().next().unwrap().to_owned();
    assert!(header("stages.csv").contains("probability"), "{}", header("stages.csv"));
    assert!(
        header("predictions.csv").contains("diagnosis:truth,diagnosis:probability,diagnosis="),
        "{}",
        header("predictions.csv")
    );
    assert_eq!(fs::read(out.join("predictions.csv")).unwrap(), fs::read(evaluated.join("predictions.csv")).unwrap());

    // One patient, as a program of one's own asks.
    let set = dermafuse::data::derm7pt::load(out.join("data")).unwrap();
    let mut predict = example("predict_case");
    predict.arg(out.join("model.safetensors")).arg(&set.cases[0].clinical[0]);
    predict.arg(&set.cases[0].dermoscopic[0]).arg("sex=female");
    let answered = predict.output().unwrap();
    assert!(answered.status.success(), "{}", text(&answered));
    let answered = text(&answered);
    assert!(answered.contains("diagnosis: ") && answered.contains("answered from: clinical"), "{answered}");
    assert!(answered.contains("not a medical device"), "{answered}");

    // A graph over the labels, whose strength may be 0.
    let data = format!("derm7pt={}", out.join("data").display());
    let output = example("label_graph").arg(out.join("model.safetensors")).arg(data).output().unwrap();
    let said = text(&output);
    assert!(output.status.success() && said.starts_with("strength ") && said.contains("\nmean: "), "{said}");
}

#[test]
fn images_are_cut_to_the_masks_of_their_lesions() {
    let folder = tempfile::tempdir().unwrap();
    let (data, cropped) = (folder.path().join("ph2"), folder.path().join("cropped"));
    let config = layouts::Config { images: 6, image_size: (48, 36), seed: 1 };
    layouts::write(&data, Layout::Ph2, &config).unwrap();
    let crop = || {
        let mut command = example("crop_to_lesions");
        command.arg(format!("ph2={}", data.display())).arg(&data).arg(ph2::MASK_SUFFIX).arg(&cropped).output().unwrap()
    };
    let output = crop();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).starts_with("6 images in "), "{}", text(&output));
    let options = LoadOptions { images: ImageSource::Folder(cropped.clone()), ..LoadOptions::default() };
    let set = ph2::load_with(&data, &options).unwrap();
    let sizes = set.cases.iter().map(|case| {
        let image = decode(&case.dermoscopic[0], Strictness::Strict).unwrap();
        (image.width(), image.height())
    });
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.iter().all(|&(width, height)| width <= 48 && height <= 36), "{sizes:?}");
    assert!(sizes.iter().any(|&size| size != (48, 36)), "{sizes:?}");
    let again = text(&crop());
    assert!(again.contains("is there already; give a new folder"), "{again}");
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
fn classify_names_the_most_probable_classes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, weights) = saved_backbone(folder.path(), 3);
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "naevus\nmelanoma\nkeratosis\n").unwrap();
    let image = fs::read_dir(small_set_folder().join("images")).unwrap().flatten().next().unwrap().path();
    let image = fs::read_dir(image).unwrap().flatten().next().unwrap().path();

    let mut command = example("classify");
    command.arg("resnet18_quarter").arg(&weights).arg(&labels).arg(&image);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let lines: Vec<(f64, String)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_once("  ").map(|(p, name)| (p.parse().unwrap(), name.to_string())).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.is_sorted_by(|one, two| one.0 >= two.0), "{lines:?}");
    assert!((lines.iter().map(|line| line.0).sum::<f64>() - 1.0).abs() < 1e-3, "{lines:?}");
    assert!(lines.iter().all(|(_, name)| ["naevus", "melanoma", "keratosis"].contains(&name.as_str())));

    fs::write(&labels, "naevus\nmelanoma\n").unwrap();
    let refused = command.output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("fc.weight"), "{}", text(&refused));
}

#[test]
fn a_reversed_gradient_keeps_the_adversary_from_telling_the_modalities_apart() {
    let folder = tempfile::tempdir().unwrap();
    let parts = |arguments: &[&str]| {
        let output = example("amfam_parts").args(arguments).arg("--out").arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let printed = parts(&["adversary", "--frozen-batch-norm", "--epochs", "18", "--weight", "0.3", "--seeds", "1"]);
    // The adversary's accuracy, that of a classifier learnt anew, and that of the tasks.
    let row = |name: &str| -> Vec<f64> {
        let line = printed.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap();
        line.split('|').filter_map(|cell| cell.split_whitespace().next()?.parse().ok()).collect()
    };
    let (plain, reversed) = (row("not reversed"), row("reversed"));
    assert!(plain[0] > 90.0 && reversed[0] < 80.0, "{printed}");
    assert!(reversed[2] > plain[2] - 4.0, "the tasks hold: {printed}");
    let figure = fs::read_to_string(folder.path().join("adversary/adversary.svg")).unwrap();
    assert!(figure.contains("Ganin") && figure.contains("chance"));

    let printed = parts(&["reconstruction", "--cases", "60", "--epochs", "1", "--seeds", "1"]);
    for words in ["| Concat | 0 |", "| +Recon+Att | 0 |", "clinical: lesions are ", "Wilcoxon over "] {
        assert!(printed.contains(words), "{words} is missing in {printed}");
    }
}

#[test]
fn programs_that_embed_the_library_train_and_compare() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, out: Option<&str>| {
        let mut command = example(name);
        command.args(out.map(|out| folder.path().join(out)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", text(&output));
        text(&output)
    };
    assert!(run("train_from_code", Some("trained")).contains("P_1: mean accuracy 0."));
    for file in ["report.html", "model.safetensors", "experiment.toml"] {
        assert!(folder.path().join("trained").join(file).is_file(), "{file}");
    }
    let compared = run("compare", Some("compared"));
    assert!(compared.contains("PS+SCA+BL") && compared.contains("PS – PS+SCA+BL, Wilcoxon p = "), "{compared}");
    assert!(run("own_data_set", Some("own")).contains("report.html"));
    assert!(run("own_fusion_module", Some("gate")).contains("model.safetensors"));
    assert!(fs::read_to_string(folder.path().join("gate/experiment.toml")).unwrap().contains("kind = \"gate\""));
    let own = run("own_backbone", None);
    assert!(own.contains("parameters\nclinical: logits [[2, 5], [2, 2]]\n"), "{own}");
}

#[test]
fn the_quickstart_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let refused = quickstart(folder.path());
    assert!(!refused.status.success() && text(&refused).contains("holds `notes.txt` and no run"), "{}", text(&refused));
}

#[test]
fn examples_are_short_and_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    let list = fs::read_to_string(folder.join("lib.rs")).unwrap();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = 0;
    for file in
        files.filter(|file| file.extension().is_some_and(|extension| extension == "rs") && !file.ends_with("lib.rs"))
    {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(list.contains(&format!("| `{name}` |")), "examples/lib.rs does not list {name}");
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < 60 || name == "quickstart", "{name} has {lines} lines");
        found += 1;
    }
    assert!(found > 9, "{found}");
}
