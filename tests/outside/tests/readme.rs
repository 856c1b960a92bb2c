//! README's first example: the program of this crate that is its twin is compiled and run.

use std::path::Path;
use std::process::Command;

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{MetadataEncoder, MetadataRoles, Preprocess, RgbPixels, derm7pt, encode_jpeg};
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription};
use dermafuse::networks::{FusionNetConfig, NetworkConfig};
use dermafuse::schema::{BranchWeights, FuseSpace, TaskSet};

/// The first piece of code of a language in README.
fn first_code<'a>(readme: &'a str, language: &str) -> &'a str {
    let begin = format!("```{language}\n");
    let code = &readme[readme.find(&begin).unwrap() + begin.len()..];
    &code[..code.find("```").unwrap()]
}

#[test]
fn the_first_example_is_compiled_and_answers() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(here.join(path)).unwrap();
    let readme = read("../../README.md");
    let program = read("src/bin/first_answer.rs");
    assert_eq!(program.split_once("\n\n").unwrap().1, first_code(&readme, "rust"));
    // The dependency is the one of this crate, seen from elsewhere.
    assert!(first_code(&readme, "toml").contains("dermafuse = { path = \"dermafuse/crates/dermafuse\" }"));
    assert!(read("Cargo.toml").contains("dermafuse = { path = \"../../crates/dermafuse\" }"));

    let folder = tempfile::tempdir().unwrap();
    let tasks = TaskSet::new(derm7pt::tasks()).unwrap();
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18Quarter, tasks.class_counts()));
    let description = BundleDescription {
        synthetic: true,
        encoder: MetadataEncoder::fit(&derm7pt::fields(), [], MetadataRoles::PreDiagnosis).unwrap(),
        ..BundleDescription::new(tasks, network.clone(), Preprocess::imagenet(32))
    };
    let branch_weights = BranchWeights::new([("fusion", 1.0)]).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    let network = network.init_seeded(1, &Device::flex()).unwrap();
    std::fs::create_dir_all(folder.path().join("runs/quickstart")).unwrap();
    let model = folder.path().join("runs/quickstart/model.safetensors");
    Bundle::new(description, network, two_stage).save(model).unwrap();
    let photo = encode_jpeg(&RgbPixels::new(60, 45, vec![150; 8100]).unwrap(), 90).unwrap();
    for name in ["clinical.jpg", "dermoscopic.jpg"] {
        std::fs::write(folder.path().join(name), &photo).unwrap();
    }

    let output = Command::new(env!("CARGO_BIN_EXE_first_answer")).current_dir(&folder).output().unwrap();
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{errors}");
    let mut lines = text.lines();
    assert!(lines.next().unwrap().ends_with(", from clinical image, dermoscopic image"), "{text}");
    assert!(text.contains("The model does not look at `sex`.") && text.contains("drawn images"), "{text}");
}
