use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::Device;
use dermafuse_init::AddressedInit;

/// A linear layer with PyTorch's default weights: uniform within ±1/√inputs, biases too.
///
/// # Panics
/// If `inputs` is 0.
#[must_use]
pub fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    assert!(inputs > 0, "a linear layer needs inputs");
    let bound = 1.0 / (inputs as f64).sqrt();
    let initializer = Initializer::Uniform { min: -bound, max: bound };
    LinearConfig::new(inputs, outputs).with_initializer(initializer).init_addressed(device)
}
