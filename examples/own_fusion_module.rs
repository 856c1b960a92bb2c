//! A fusion module that is not built in, which a recipe trains by its name: the record decides how much each feature of the image counts.
//!
//! ```text
//! cargo run --release --example own_fusion_module -- runs/gate
//! ```

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};
use dermafuse::fusion::{FeatureFusion, FusionDescription, FusionError, register_fusion};
use dermafuse::networks::AddressedInit;
use dermafuse::recipes::{Recipe, TerminalProgress, Workplace};
use dermafuse::synthetic::pad_ufes_20::{self, Config};
use serde::{Deserialize, Serialize};

/// What files say of a [`Gate`] beside its name: nothing, for it has no settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct GateConfig {}

/// `image · sigmoid(W record)`.
#[derive(Module, Debug)]
struct Gate {
    gate: Linear,
}

impl FusionDescription for GateConfig {
    type Fusion = Gate;
    const KIND: &'static str = "gate";

    fn make(&self, image: usize, record: usize, device: &Device) -> Result<Gate, FusionError> {
        Ok(Gate { gate: LinearConfig::new(record, image).init_addressed(device) })
    }
}

impl FeatureFusion for Gate {
    fn forward(&self, image: Tensor<2>, record: Tensor<2>) -> Tensor<2> {
        image * activation::sigmoid(self.gate.forward(record)) // [B, L_I]
    }

    fn output_features(&self, image: usize, _record: usize) -> Option<usize> {
        Some(image)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::args().nth(1).ok_or("give a folder for the results")?);
    pad_ufes_20::write(&out.join("photos"), &Config { photos: 80, ..Config::default() })?;
    register_fusion::<GateConfig>()?;
    let mut recipe = Recipe::named("jif")?;
    recipe.set_data(&format!("pad={}/photos", out.display()))?;
    recipe.set("split={ kind = \"drawn\" }")?;
    recipe.set("method={ weights = \"random\", network = { backbone = \"resnet18_quarter\", fusion = \"gate\" } }")?;
    recipe.set("training={ epochs = 1, preprocess = { size = 32 }, loss = { class_weights = \"uniform\" } }")?;
    let (device, plan) = (Device::flex(), recipe.experiment()?.plan()?);
    let outcome = plan.run(Workplace::on(&device).in_folder(&out, false), &mut TerminalProgress::default())?;
    outcome.write(&out)?;
    println!("the model: {}", out.join("model.safetensors").display());
    Ok(())
}
