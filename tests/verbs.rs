//! The verbs of the program `dermafuse` on a model and on weights: `models`, `forward`, `explain`, `evaluate`.

use std::fs;
use std::path::Path;
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData, Tolerance};
use dermafuse_backbones::{Backbone, BackboneKind, Pretrained};
use dermafuse_tests::{
    Tensors, program, saved_backbone, small_set_folder, text, train_small, uniform, write_safetensors,
};
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
        if let Some(published) = network["published_millions"].as_f64() {
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
fn explain_writes_a_page_about_one_case() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let backbone = "method.network.backbone=resnet18_quarter";
    let output = train_small(&out, "fusionm4net", &[backbone, "evaluation.views=6"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let set = dermafuse::data::derm7pt::load(small_set_folder()).unwrap();
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
fn attention_is_shown_and_a_model_is_evaluated_as_it_was_tested() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("ammfm");
    let small = ["method.network.clinical=resnet18_quarter", "method.network.dermoscopic=resnet18_quarter"];
    let settings = [&small[..], &["training.averaging.last_epochs.epochs=1"]].concat();
    let output = train_small(&out, "ammfm", &settings).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for row in ["majority", "P_clinical", "P_fusion", "P_1", "average of the last 1 epochs"] {
        assert!(text(&output).contains(row), "{}", text(&output));
    }
    let mut evaluate = verb("evaluate");
    evaluate.arg(out.join("model.safetensors")).arg("--data").arg(derm7pt(small_set_folder()));
    let evaluated = evaluate.arg("--out").arg(folder.path().join("again")).output().unwrap();
    assert!(evaluated.status.success(), "{}", text(&evaluated));
    let metrics = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.path().join(name).join("metrics.json")).unwrap()).unwrap()
    };
    assert_eq!(find_row(&metrics("ammfm"), "P_1").expect("a row P_1"), find_row(&metrics("again"), "P_1").unwrap());

    // Where the asymmetric attention looks: one map, over the image that makes it and the one that it refines.
    let case = &dermafuse::data::derm7pt::load(small_set_folder()).unwrap().cases[0];
    let page = folder.path().join("case.html");
    let mut explain = verb("explain");
    explain.arg(out.join("model.safetensors")).arg("--out").arg(&page);
    explain.arg("--clinical").arg(&case.clinical[0]).arg("--dermoscopic");
    let explained = explain.arg(&case.dermoscopic[0]).args(["--method", "attention"]).output().unwrap();
    assert!(explained.status.success(), "{}", text(&explained));
    let html = fs::read_to_string(&page).unwrap();
    let caption = "attention of the dermoscopic map after stage 2, weights of the clinical image: at most ";
    assert_eq!(html.matches(caption).count(), 2);
}
