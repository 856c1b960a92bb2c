//! Lists the built-in backbones, and what fusing with a record adds to them:
//!
//! ```text
//! cargo run --release --example models
//! cargo run --release --example models -- --json
//! ```

use std::process::ExitCode;

use burn::tensor::Device;
use clap::Parser;
use dermafuse::backbones::{BackboneKind, parameter_count};
use dermafuse::fusion::FusionKind;
use dermafuse::networks::NetworkError;
use dermafuse::recipes::{JointMethod, JointStructure};
use dermafuse_examples::{ProgramResult, run};
use serde_json::json;

/// Lists the built-in backbones with their sizes and what their published weights are.
#[derive(Parser)]
struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    run(|| models(&Arguments::parse()))
}

fn models(arguments: &Arguments) -> ProgramResult {
    if arguments.json {
        let models: Vec<_> = BackboneKind::ALL.into_iter().map(description).collect();
        println!("{}", serde_json::to_string_pretty(&models)?);
        return Ok(());
    }
    let header = ["parameters", "no classifier", "GMACs", "trained at", "stage channels", "keys"];
    println!(
        "{:<20}{:>12}{:>15}{:>8}{:>12}  {:<22}{:<12}licence of the published weights",
        "name", header[0], header[1], header[2], header[3], header[4], header[5]
    );
    for kind in BackboneKind::ALL {
        let channels = kind.stage_channels().map(|channels| channels.to_string()).join(" ");
        println!(
            "{:<20}{:>12}{:>15}{:>8.3}{:>9} px  {:<22}{:<12}{}",
            kind.name(),
            kind.num_params(),
            kind.num_params_without_classifier(),
            kind.gflops(),
            kind.preprocess().size,
            channels,
            format!("{:?}", kind.key_style()).to_lowercase(),
            kind.published_weights().map_or("none published", |weights| weights.licence),
        );
    }
    print_fusions()
}

/// The five backbones of the comparison of fusion modules (thesis ch. 4), in the order of its tables.
const COMPARED: [BackboneKind; 5] = [
    BackboneKind::DenseNet121,
    BackboneKind::MobileNetV2,
    BackboneKind::ResNet50,
    BackboneKind::EfficientNetB3,
    BackboneKind::Xception,
];
/// Encoded metadata columns and classes of PAD-UFES-20.
const RECORD: usize = 81;
const CLASSES: usize = 6;

/// Parameters that joint-individual fusion adds to an image classifier.
fn added(backbone: BackboneKind, fusion: FusionKind) -> Result<usize, NetworkError> {
    let count = |structure| {
        let method = JointMethod { structure, fusion, backbone, ..JointMethod::default() };
        let config = method.network(vec![CLASSES]).with_metadata_inputs(RECORD);
        Ok::<usize, NetworkError>(parameter_count(&config.init(&Device::flex())?))
    };
    Ok(count(JointStructure::JointIndividual)? - count(JointStructure::Image)?)
}

fn print_fusions() -> ProgramResult {
    println!("\nparameters that JIF adds to an image classifier ({RECORD} metadata columns, {CLASSES} classes)\n");
    print!("{:<24}", "fusion module");
    COMPARED.iter().for_each(|backbone| print!("{:>17}", backbone.name()));
    println!();
    for name in FusionKind::ALL {
        print!("{name:<24}");
        for backbone in COMPARED {
            print!("{:>17}", added(backbone, name.parse()?)?);
        }
        println!();
    }
    Ok(())
}

fn description(kind: BackboneKind) -> serde_json::Value {
    json!({
        "name": kind.name(),
        "parameters": kind.num_params(),
        "parameters_without_classifier": kind.num_params_without_classifier(),
        "gmacs_at_224": kind.gflops(),
        "stage_channels": kind.stage_channels(),
        "stage_strides": kind.stage_strides(),
        "smallest_input": kind.min_size(),
        "preprocess": kind.preprocess(),
        "key_style": format!("{:?}", kind.key_style()).to_lowercase(),
        "weights": kind.published_weights().map(|weights| {
            json!({ "url": weights.url, "sha256": weights.sha256, "licence": weights.licence })
        }),
    })
}
