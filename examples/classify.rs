//! Published ImageNet weights name what a photo shows, with one class name a line in a text file:
//!
//! ```text
//! cargo run --release --example classify -- squeezenet1_1 squeezenet1_1.safetensors labels.txt photo.jpg
//! ```

use std::error::Error;

use burn::tensor::Device;
use burn::tensor::activation::softmax;
use dermafuse::backbones::{BackboneKind, LoadOptions, Pretrained};
use dermafuse::data::{Strictness, decode};
use dermafuse::infer::published_input;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, weights, labels, image] = &arguments[..] else { return Err("give MODEL WEIGHTS LABELS IMAGE".into()) };
    let kind: BackboneKind = kind.parse()?;
    let labels = std::fs::read_to_string(labels)?;
    let labels: Vec<&str> = labels.lines().collect();

    let device = Device::flex();
    let network = kind.init(Some(labels.len()), &device);
    // A file of another architecture, or of other classes, is refused with the names of its tensors.
    let network = network.load_weights(weights, LoadOptions::default())?.fold_batch_norm();
    let pixels = decode(image, Strictness::Strict)?;
    let input = published_input(&pixels, &kind.published_input(), &device)?; // [1, 3, S, S]
    let probabilities = softmax(network.forward_logits(input), 1); // [1, K]

    let mut ranked: Vec<(f32, &str)> = probabilities.into_data().iter::<f32>().zip(labels).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (probability, label) in ranked.into_iter().take(5) {
        println!("{probability:.4}  {label}");
    }
    Ok(())
}
