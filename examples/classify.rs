//! Classifies a photo with published ImageNet weights:
//!
//! ```text
//! cargo run --release --example classify -- --model squeezenet1_1 --weights squeezenet1_1.safetensors --image photo.jpg
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use burn::tensor::activation::softmax;
use clap::Parser;
use dermafuse::backbones::{BackboneKind, LoadOptions, Pretrained};
use dermafuse::data::{Strictness, decode};
use dermafuse::infer::published_input;
use dermafuse_examples::{DeviceName, ProgramResult, run, say};

/// Prints the most probable classes of an image.
#[derive(Parser)]
struct Arguments {
    /// Architecture; `dermafuse models` lists them
    #[arg(long)]
    model: BackboneKind,
    /// Weights with classifier, in the published names (.safetensors, .pth)
    #[arg(long)]
    weights: PathBuf,
    /// JPEG or PNG file
    #[arg(long)]
    image: PathBuf,
    /// Text file with one class name on each line; class numbers are printed without
    #[arg(long)]
    labels: Option<PathBuf>,
    /// How many classes to print
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Flex)]
    device: DeviceName,
}

fn main() -> ExitCode {
    run(|| classify(&Arguments::parse()))
}

fn classify(arguments: &Arguments) -> ProgramResult {
    let labels: Option<Vec<String>> = match &arguments.labels {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Some(text.lines().map(str::to_string).collect())
        }
        None => None,
    };
    let classes = labels.as_ref().map_or(1000, Vec::len);

    let device = arguments.device.device()?;
    let network = arguments.model.init(Some(classes), &device);
    let network = network.load_weights(&arguments.weights, LoadOptions::default())?.fold_batch_norm();
    let pixels = decode(&arguments.image, Strictness::Strict)?;
    let input = published_input(&pixels, &arguments.model.preprocess(), &device)?; // [1, 3, S, S]
    let probabilities = softmax(network.forward_logits(input), 1); // [1, K]

    let mut ranked: Vec<(usize, f32)> = probabilities.into_data().iter::<f32>().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (class, probability) in ranked.into_iter().take(arguments.top) {
        let name = labels.as_ref().map_or_else(|| format!("class {class}"), |labels| labels[class].clone());
        say!("{probability:.4}  {name}");
    }
    Ok(())
}
