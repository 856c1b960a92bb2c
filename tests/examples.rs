//! The example programs as processes: what a newcomer runs, small.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData, Tolerance};
use dermafuse_backbones::{AnyBackbone, Backbone, BackboneKind, Pretrained};
use dermafuse_tests::{Tensors, example, program, small_set_folder, text, uniform, write_safetensors};
use safetensors::SafeTensors;

/// A verb of the program `dermafuse`.
fn verb(name: &str) -> Command {
    let mut command = program("dermafuse");
    command.arg(name);
    command
}

/// A set in the layout of Derm7pt, as the program is told of it.
fn derm7pt(folder: &Path) -> String {
    format!("derm7pt={}", folder.display())
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
    let mut evaluate = verb("evaluate");
    evaluate.arg(out.join("model.safetensors")).arg("--data").arg(derm7pt(&out.join("data")));
    let output = evaluate.arg("--out").arg(&evaluated).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let read = |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let (trained, loaded) = (read(out.join("metrics.json")), read(evaluated.join("metrics.json")));
    let third = |metrics: &serde_json::Value| find_row(metrics, "P_3").expect("a row P_3");
    assert_eq!(third(&trained), third(&loaded));
    let header = |name: &str| fs::read_to_string(evaluated.join(name)).unwrap().lines().next().unwrap().to_owned();
    assert!(header("stages.csv").contains("probability"), "{}", header("stages.csv"));
    assert!(header("predictions.csv").contains("diagnosis:truth,diagnosis="), "{}", header("predictions.csv"));
    assert_eq!(fs::read(out.join("predictions.csv")).unwrap(), fs::read(evaluated.join("predictions.csv")).unwrap());
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
fn the_list_of_models_is_complete_in_both_forms() {
    let table = verb("models").output().unwrap();
    let json = verb("models").arg("--json").output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let (table, backbones) = (text(&table), json["backbones"].as_array().unwrap());
    assert_eq!(backbones.len(), BackboneKind::ALL.len());
    for (model, kind) in backbones.iter().zip(BackboneKind::ALL) {
        assert_eq!(model["name"], kind.name());
        assert_eq!(model["parameters"], kind.num_params());
        assert!(table.contains(&format!("\n{} ", kind.name())), "{table}");
    }
    // Every published size is met, but for two that the papers print a little off.
    for network in json["networks"].as_array().unwrap() {
        let (name, parameters) =
            (network["name"].as_str().unwrap(), network["parameters_with_classifiers"].as_f64().unwrap());
        assert!(table.contains(name), "{table}");
        if let Some(published) = network["published_millions"].as_f64().filter(|_| network["paper"] != "TFormer") {
            let off = (parameters / 1e6 - published).abs();
            let slip = match name {
                "FusionNet RN50" => 0.025,
                _ if name.starts_with("SFF-AAB") => 0.015,
                _ => 0.0051,
            };
            assert!(off < slip, "{network}");
        }
    }
}

/// A small network with weights in a file, for programs that need both.
fn saved_backbone(folder: &Path, classes: usize) -> (AnyBackbone, PathBuf) {
    let device = Device::flex();
    device.seed(7);
    let network = BackboneKind::ResNet18Quarter.init(Some(classes), &device);
    let file = folder.join("weights.safetensors");
    network.save_weights(&file).unwrap();
    (network, file)
}

#[test]
fn forward_writes_what_the_library_computes() {
    let folder = tempfile::tempdir().unwrap();
    let (network, weights) = saved_backbone(folder.path(), 7);
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let values: Vec<f32> = (0..2 * 3 * 65 * 64).map(|index| uniform("images", index) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(values.clone(), [2, 3, 65, 64]), &Device::flex());
    write_safetensors(&Tensors::from([("images".to_string(), (vec![2, 3, 65, 64], values))]), &input);

    let mut command = verb("forward");
    command.args(["--backbone", "resnet18_quarter", "--classes", "7", "--weights"]).arg(&weights);
    command.arg("--input").arg(&input).arg("--output").arg(&output);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", text(&done));

    let bytes = fs::read(&output).unwrap();
    let results = SafeTensors::deserialize(&bytes).unwrap();
    let [_, _, third, _] = network.forward_stages(images.clone());
    let expected = [("stage3", third.into_data()), ("logits", network.forward_logits(images).into_data())];
    for (name, expected) in expected {
        let found = results.tensor(name).unwrap();
        let values: Vec<f32> = found.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let found = TensorData::new(values, found.shape().to_vec());
        found.assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-5, 1e-6));
    }
    let mut names: Vec<&str> = results.names();
    names.sort_unstable();
    assert_eq!(names, ["features", "logits", "stage1", "stage2", "stage3", "stage4"]);

    write_safetensors(&Tensors::from([("images".to_string(), (vec![3, 64, 64], vec![0.0; 3 * 64 * 64]))]), &input);
    let refused = command.output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("instead of [B, 3, H, W]"), "{}", text(&refused));
}

fn values_of(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    tensors.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn forward_runs_fusion_modules_and_networks_with_exchanged_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let values = |name: &str, count: usize| -> Vec<f32> { (0..count).map(|at| uniform(name, at) as f32).collect() };
    let input = Tensors::from([
        ("image".to_string(), (vec![2, 64], values("image", 128))),
        ("clinical".to_string(), (vec![2, 3, 64, 64], values("clinical", 2 * 3 * 64 * 64))),
        ("metadata".to_string(), (vec![2, 9], values("metadata", 18))),
    ]);
    write_safetensors(&input, &path("in.safetensors"));
    let maps = [("clinical", 16), ("dermoscopic", 24)]
        .map(|(name, channels)| (name.to_string(), (vec![2, channels, 6, 5], values(name, 2 * channels * 30))));
    write_safetensors(&Tensors::from(maps), &path("maps.safetensors"));
    let network = r#"{"kind": "joint_individual_fusion", "beta": 0.5, "backbone": "resnet18_quarter", "view": "clinical",
        "metadata": {"inputs": 9, "layers": [16], "zero": 0.0}, "metadata_input": "features", "fusion": "concat", "classes": [3, 2]}"#;
    fs::write(path("network.json"), network).unwrap();

    let fusion = ["--fusion", "meta_block", "--features", "64,9"].map(str::to_owned).to_vec();
    let network = vec!["--network".to_owned(), path("network.json").to_str().unwrap().to_owned()];
    let of_maps = ["--fusion", "aab", "--features", "16,24"].map(str::to_owned).to_vec();
    let cases = [
        ("in", fusion, vec!["fused"], "scale.weight"),
        ("maps", of_maps, vec!["clinical", "dermoscopic"], "clinical.query.weight"),
        (
            "in",
            network,
            vec!["clinical.0", "clinical.1", "embedding", "fusion.0", "fusion.1", "metadata.0", "metadata.1"],
            "joint.backbone.layer1.0.conv1.weight",
        ),
    ];
    for (input, what, outputs, weight) in cases {
        let input = path(&format!("{input}.safetensors"));
        // The weights that one run saves give another run the same results; fresh ones do not.
        let run = |weights: &[&str], output: &str| {
            let mut command = verb("forward");
            command.args(&what).args(weights).arg("--input").arg(&input);
            let done = command.arg("--output").arg(path(output)).current_dir(folder.path()).output().unwrap();
            assert!(done.status.success(), "{}", text(&done));
            fs::read(path(output)).unwrap()
        };
        let first = run(&["--save-weights", "weights.safetensors"], "first.safetensors");
        let again = run(&["--weights", "weights.safetensors", "--seed", "1"], "again.safetensors");
        let other = run(&["--seed", "1"], "other.safetensors");
        assert!(first == again && first != other);
        let results = SafeTensors::deserialize(&first).unwrap();
        let mut names = results.names();
        names.sort_unstable();
        assert_eq!(names, outputs);
        assert!(values_of(&results, outputs[0]).iter().all(|value| value.is_finite()));
        let saved = fs::read(path("weights.safetensors")).unwrap();
        let saved = SafeTensors::deserialize(&saved).unwrap();
        assert!(saved.names().contains(&weight), "{:?}", saved.names());
    }

    let mut command = verb("forward");
    command.args(["--fusion", "meta_block", "--features", "64,8", "--input"]).arg(path("in.safetensors"));
    let refused = command.arg("--output").arg(path("out.safetensors")).output().unwrap();
    assert!(text(&refused).contains("`metadata` has shape [2, 9] instead of [B, 8]"), "{}", text(&refused));
}

#[test]
fn jif_cross_validates_resumes_and_compares() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("jif");
    let jif_in = |out: &Path, extra: &[&str]| {
        let mut command = example("jif");
        command.args(["--dataset", "derm7pt", "--data"]).arg(small_set_folder());
        command.args(["--backbone", "resnet18_quarter", "--image-size", "32", "--batch-size", "12", "--epochs", "1"]);
        command.args(["--folds", "3", "--tta", "0", "--out"]).arg(out).args(extra);
        command.output().unwrap()
    };
    let jif = |extra: &[&str]| jif_in(&out, extra);
    let part = jif(&["--fold", "2"]);
    assert!(part.status.success() && text(&part).contains("fold 2 is done"), "{}", text(&part));
    let done = jif(&["--resume"]);
    assert!(done.status.success(), "{}", text(&done));
    for row in
        ["majority", "P_dermoscopic", "P_metadata", "JIF-MMFA(OFB)", "JIF-MMFA(All)", "balanced accuracy of the folds"]
    {
        assert!(text(&done).contains(row), "{}", text(&done));
    }
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("t-SNE, fold 1") && report.contains("management"), "pictures and inputs that leak");

    let compared = jif_in(&folder.path().join("compared"), &["--compare"]);
    assert!(compared.status.success(), "{}", text(&compared));
    for row in ["Metadata", "Image", "JF-CAT", "JF-MMFA", "JIF-MN(OFB)", "JIF-MMFA(All)", "Friedman"] {
        assert!(text(&compared).contains(row), "{}", text(&compared));
    }
    let refused = jif(&["--fold", "4", "--resume"]);
    assert!(text(&refused).contains("there are folds 1 to 3, not 4"), "{}", text(&refused));
}

#[test]
fn jif_takes_one_split_and_held_out_cases_and_refuses_what_it_would_ignore() {
    let folder = tempfile::tempdir().unwrap();
    let jif = |out: &str, extra: &[&str]| {
        let mut command = example("jif");
        command.args(["--dataset", "derm7pt", "--data"]).arg(small_set_folder());
        command.args(["--backbone", "resnet18_quarter", "--image-size", "32", "--batch-size", "12", "--epochs", "1"]);
        command.args(["--tta", "0", "--out"]).arg(folder.path().join(out)).args(extra);
        command.output().unwrap()
    };
    let one = jif("one", &["--compare", "--fusion", "concat"]);
    assert!(one.status.success() && text(&one).contains("JIF-CAT(All)"), "{}", text(&one));
    let report = fs::read_to_string(folder.path().join("one/report.html")).unwrap();
    assert!(report.contains("JF-CAT ") && report.contains("no difference can be tested"), "the table and why no test");

    let folds = jif("folds", &["--structure", "metadata", "--folds", "3"]);
    assert!(folds.status.success(), "{}", text(&folds));
    let table = fs::read_to_string(folder.path().join("folds/folds.csv")).unwrap();
    let held_out = table.lines().filter(|line| line.ends_with(",2")).count();
    let table: Vec<String> = table
        .lines()
        .map(|line| match line.strip_suffix(",2") {
            Some(start) => format!("{start},test"),
            None => line.to_owned(),
        })
        .collect();
    let file = folder.path().join("folds.csv");
    fs::write(&file, table.join("\n")).unwrap();
    let tested = jif("test", &["--structure", "metadata", "--fold-file", file.to_str().unwrap()]);
    assert!(tested.status.success(), "{}", text(&tested));
    let note = format!("The {held_out} cases that the table of folds marks `test` are tested in every round.");
    assert!(text(&tested).contains(&note), "{}", text(&tested));
    assert!(text(&tested).contains(&format!("{} test cases of 2 folds", 2 * held_out)), "{}", text(&tested));

    for (extra, expected) in [
        (&["--compare", "--structure", "jf"][..], "cannot be used with"),
        (&["--paper-protocol", "--folds", "1"], "--paper-protocol is about folds"),
        (&["--structure", "image", "--record-layers", "8"], "no record"),
        (&["--structure", "metadata", "--record-layers", "0", "--record-dropout", "0.5"], "no layer"),
    ] {
        let refused = jif("refused", extra);
        assert!(!refused.status.success() && text(&refused).contains(expected), "{}", text(&refused));
    }
}

#[test]
fn ammfm_and_pemm_train_a_row_or_all_of_their_tables() {
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str, extra: &[&str]| {
        let mut command = example(name);
        command.arg("--data").arg(small_set_folder()).args(["--image-size", "32", "--batch-size", "8"]);
        command.args(["--learning-rate", "1e-3", "--tta", "0", "--out"]).arg(folder.path().join(name)).args(extra);
        command.output().unwrap()
    };
    let small = ["--epochs", "2", "--small", "resnet18_quarter", "--big", "resnet18_quarter"];
    let done = program("ammfm", &[&small[..], &["--row", "SFF-AAB resnet18_quarter+resnet18_quarter"]].concat());
    assert!(done.status.success(), "{}", text(&done));
    for row in ["majority", "P_clinical", "P_fusion", "P_1", "average of the last 1 epochs"] {
        assert!(text(&done).contains(row), "{}", text(&done));
    }
    let mut evaluate = verb("evaluate");
    evaluate.arg(folder.path().join("ammfm/model.safetensors")).arg("--data").arg(derm7pt(small_set_folder()));
    let evaluated = evaluate.arg("--out").arg(folder.path().join("again")).output().unwrap();
    assert!(evaluated.status.success(), "{}", text(&evaluated));
    let metrics = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.path().join(name).join("metrics.json")).unwrap()).unwrap()
    };
    assert_eq!(find_row(&metrics("ammfm"), "P_1"), find_row(&metrics("again"), "P_1"));

    // Where the asymmetric attention looks: one map, over the image that makes it and the one that it refines.
    let case = &dermafuse::data::derm7pt::load(small_set_folder()).unwrap().cases[0];
    let page = folder.path().join("case.html");
    let mut explain = verb("explain");
    explain.arg(folder.path().join("ammfm/model.safetensors")).arg("--out").arg(&page);
    explain.arg("--clinical").arg(&case.clinical[0]).arg("--dermoscopic");
    let explained = explain.arg(&case.dermoscopic[0]).args(["--method", "attention"]).output().unwrap();
    assert!(explained.status.success(), "{}", text(&explained));
    let html = fs::read_to_string(&page).unwrap();
    let caption = "attention of the dermoscopic map after stage 2, weights of the clinical image: at most ";
    assert_eq!(html.matches(caption).count(), 2);

    let all = ["--epochs", "1", "--backbone", "resnet18_quarter", "--ablation", "--repeats", "2"];
    let done = program("pemm", &all);
    assert!(done.status.success(), "{}", text(&done));
    let cases = "Accuracy of each test case, over its tasks and the runs";
    for row in ["Non-PS", "PS+CA", "PS+SCA+BL", "AUC 87.3 ± 0.3, accuracy 76.8 ± 0.7", "Friedman", cases] {
        assert!(text(&done).contains(row), "{}", text(&done));
    }
    let refused = program("pemm", &all);
    assert!(text(&refused).contains("holds a finished run; resume it"), "{}", text(&refused));
    let two = program("pemm", &[&all[..], &["--resume", "--row", "PS", "--row", "PS+CA"]].concat());
    assert!(text(&two).contains("row 2 of 2: PS+CA") && !text(&two).contains("Non-PS"), "{}", text(&two));
    let refused = program("pemm", &["--row", "PS", "--row", "PS+CA"]);
    assert!(text(&refused).contains("several rows are trained with --ablation"), "{}", text(&refused));
    let refused = program("pemm", &["--row", "PS+BAB"]);
    assert!(text(&refused).contains("there is no row `PS+BAB`; the rows are Non-PS, PS,"), "{}", text(&refused));
}

#[test]
fn amfam_trains_the_method_or_its_table_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let amfam = |out: &str, extra: &[&str]| {
        let mut command = example("amfam");
        command.arg("--data").arg(small_set_folder()).args(["--backbone", "resnet18_quarter", "--image-size", "33"]);
        command.args(["--batch-size", "8", "--epochs", "1", "--learning-rate", "1e-3", "--out"]);
        command.arg(folder.path().join(out)).args(extra).output().unwrap()
    };
    let done = amfam("one", &["--reversal", "ganin", "--adversary-weight", "0.3"]);
    assert!(done.status.success(), "{}", text(&done));
    for words in ["majority", "P_1", "modality ", "reconstruction_dermoscopic "] {
        assert!(text(&done).contains(words), "{}", text(&done));
    }
    let config = fs::read_to_string(folder.path().join("one/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["network"]["training"]["loss"]["auxiliary"]["modality"], 0.3);
    assert_eq!(config["network"]["network"]["discriminator"]["reversal"]["schedule"], "ganin");

    let done = amfam("all", &["--ablation"]);
    assert!(done.status.success(), "{}", text(&done));
    for row in ["Clin ", "+Recon+Att (no E)", "accuracy 74.4", "+AD", "accuracy 76.0"] {
        assert!(text(&done).contains(row), "{}", text(&done));
    }
    let refused = amfam("all", &["--ablation"]);
    assert!(text(&refused).contains("holds a finished run; resume it"), "{}", text(&refused));
    let again = amfam("all", &["--ablation", "--resume"]);
    let table = |output: &Output| text(output).split("test cases").last().unwrap().to_owned();
    assert_eq!(table(&done), table(&again));
}

#[test]
fn fine_tune_follows_curricula_on_stand_ins_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let fine_tune = |out: &str, curricula: &str, extra: &[&str]| {
        let mut command = example("fine_tune");
        command.args(["--photos", "100", "--image-size", "32", "--epochs-per-step", "1", "--curriculum", curricula]);
        command.arg("--out").arg(folder.path().join(out)).args(extra);
        command
    };
    let compared = fine_tune("all", "dermai,merged,edra-dermai", &["--repeats", "2"]).output().unwrap();
    assert!(compared.status.success(), "{}", text(&compared));
    for part in ["stage 2 of 2, dermai", "macro F1", "weighted F1", "Friedman", "McNemar's test", "dermai – merged"] {
        assert!(text(&compared).contains(part), "{part}: {}", text(&compared));
    }
    let report = fs::read_to_string(folder.path().join("all/merged/seed-1/report.html")).unwrap();
    assert!(report.contains("times each") && report.contains("Synthetic data") && report.contains("source_set"));

    // Stopped in the second stage.
    let weights = folder.path().join("all/stand-in-weights/stage-1-dermoscopic/backbone.safetensors");
    let with = ["--weights", weights.to_str().unwrap()];
    let mut child = fine_tune("killed", "edra-dermai", &with).spawn().unwrap();
    let (started, begun) = (Instant::now(), folder.path().join("killed/edra-dermai/seed-0/stage-2-dermai/stage.json"));
    while !begun.is_file() {
        assert!(started.elapsed() < Duration::from_secs(300), "the second stage was not begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let resumed = fine_tune("killed", "edra-dermai", &with).arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{}", text(&resumed));
    for file in ["metrics.json", "predictions.csv"] {
        let read = |out: &str| fs::read(folder.path().join(out).join("edra-dermai/seed-0").join(file)).unwrap();
        assert_eq!(read("all"), read("killed"), "{file}");
    }

    let refused = fine_tune("none", "nothing", &[]).output().unwrap();
    assert!(text(&refused).contains("there is no curriculum `nothing`"), "{}", text(&refused));
    let refused = fine_tune("none", "dermai", &["--data", "dermai=nowhere"]).output().unwrap();
    assert!(text(&refused).contains("nowhere"), "{}", text(&refused));
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
fn classify_names_the_most_probable_classes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, weights) = saved_backbone(folder.path(), 3);
    let labels = folder.path().join("labels.txt");
    fs::write(&labels, "naevus\nmelanoma\nkeratosis\n").unwrap();
    let image = fs::read_dir(small_set_folder().join("images")).unwrap().flatten().next().unwrap().path();
    let image = fs::read_dir(image).unwrap().flatten().next().unwrap().path();

    let mut command = example("classify");
    command.args(["--model", "resnet18_quarter", "--top", "2", "--weights"]).arg(&weights);
    command.arg("--image").arg(&image).arg("--labels").arg(&labels);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let lines: Vec<(f64, String)> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_once("  ").map(|(p, name)| (p.parse().unwrap(), name.to_string())).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].0 >= lines[1].0 && lines[0].0 + lines[1].0 <= 1.0001 && lines[0].0 > 1.0 / 3.0);
    assert!(lines.iter().all(|(_, name)| ["naevus", "melanoma", "keratosis"].contains(&name.as_str())));

    fs::write(&labels, "naevus\nmelanoma\n").unwrap();
    let refused = command.output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("fc.weight"), "{}", text(&refused));
}

#[test]
fn explain_writes_a_page_about_one_case() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("quickstart");
    let output = quickstart(&out);
    assert!(output.status.success(), "{}", text(&output));
    let data = out.join("data");
    let set = dermafuse::data::derm7pt::load(&data).unwrap();
    let case = &set.cases[0];
    let (clinical, dermoscopic) = (&case.clinical[0], &case.dermoscopic[0]);

    let page = folder.path().join("case.html");
    let explain = || {
        let mut command = verb("explain");
        command.arg(out.join("model.safetensors")).arg("--clinical").arg(clinical).arg("--out").arg(&page);
        command
    };
    let both = || {
        let mut command = explain();
        command.arg("--dermoscopic").arg(dermoscopic).args(["--field", "sex=female", "--field", "location=back"]);
        command
    };
    let output = both().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(" DIAG  ") && text(&output).contains("seven-point score"), "{}", text(&output));
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("data:image/png;base64,").count(), 4, "two images and a heat map of each");
    assert_eq!(html.matches("Grad-CAM of stage ").count(), 2);
    for words in
        ["not a medical device", "it knows nothing of skin", "Seven-point checklist", " of 10", "sex", "location"]
    {
        assert!(html.contains(words), "{words} is missing");
    }
    // A chart for each of eight tasks, with a bar for each of four inputs.
    assert_eq!(html.matches("clinical image</text>").count(), 8);
    assert_eq!(html.matches("location</text>").count(), 8);

    let output = both().args(["--method", "occlusion", "--task", "streaks"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(fs::read_to_string(&page).unwrap().contains("occlusion, largest fall"));
    // One image is enough.
    let output = explain().args(["--method", "grad-cam-plus-plus", "--stage", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("data:image/png;base64,").count(), 2);
    assert!(html.contains("Grad-CAM++ of stage 1") && html.contains("predicted from clinical<"), "{}", text(&output));

    let refused = both().args(["--method", "attention", "--stage", "2"]).output().unwrap();
    assert!(text(&refused).contains("no attention between positions after stage 1; AMMFM"), "{}", text(&refused));
    let refused = explain().args(["--field", "sex=unknown"]).output().unwrap();
    assert!(text(&refused).contains("field `sex` is one of female, male, not `unknown`"), "{}", text(&refused));
    let refused = explain().args(["--task", "colour"]).output().unwrap();
    assert!(text(&refused).contains("the model has no task `colour`; it has diagnosis, "), "{}", text(&refused));
}

#[test]
fn programs_explain_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere");
    let output = example("fusionm4net").args(["--dataset", "milk10k", "--data"]).arg(&missing).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("nowhere"), "{}", text(&output));
    let output = verb("evaluate").arg(&missing).arg("--data").arg(derm7pt(small_set_folder())).output().unwrap();
    assert!(text(&output).contains("nowhere"), "{}", text(&output));
    let output = fusionm4net(&missing, "1").args(["--device", "cuda"]).output().unwrap();
    assert!(text(&output).contains("add `--features cuda`"), "{}", text(&output));
}
