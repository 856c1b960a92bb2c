//! The verb `export`, as a user calls it.

#![cfg(feature = "onnx")]

use std::fs;
use std::process::Command;

use burn::tensor::Device;
use dermafuse::Model;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::Preprocess;
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription};
use dermafuse::networks::{ImageClassifierConfig, Modality, NetworkConfig};
use dermafuse::schema::{BranchWeights, FuseSpace, Task, TaskSet};

#[test]
fn a_model_becomes_a_file_and_what_goes_in_and_out_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap();
    let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Dermoscopic, vec![2]);
    let config = NetworkConfig::ImageClassifier(config);
    let network = config.init_seeded(1, &Device::flex()).unwrap();
    let description = BundleDescription::new(tasks, config, Preprocess::imagenet(32));
    let branch_weights = BranchWeights::new([("dermoscopic", 1.0)]).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    let (saved, file) = (folder.path().join("model.safetensors"), folder.path().join("model.onnx"));
    Bundle::new(description, network, two_stage).save(&saved).unwrap();

    let export = |onnx: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dermafuse"));
        command.arg("export").arg(&saved).arg("--onnx").arg(onnx).output().unwrap()
    };
    let output = export(&file);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "input     dermoscopic uint8 [N, 32, 32, 3]",
        "output    diagnosis float32 [N, 2]",
        "output    embedding float32 [N, 128]",
        "stage     P_1: the outputs with the names of tasks are its probabilities",
        "left out  what is found in pictures before they are resized, such as blur",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let expected = Model::open(&saved, &Device::flex()).unwrap().to_onnx().unwrap().model;
    assert_eq!(fs::read(&file).unwrap(), expected.bytes(), "the program writes what the library gives");
    let refused = export(&folder.path().join("nowhere").join("model.onnx"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nowhere"));
}
