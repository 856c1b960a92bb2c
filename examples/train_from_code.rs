//! A recipe with settings of one's own, trained, tested and saved from a program:
//!
//! ```text
//! cargo run --release --example train_from_code -- runs/from_code
//! ```

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use dermafuse::recipes::{Recipe, TerminalProgress, Workplace};
use dermafuse::synthetic::{self, SyntheticConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("give a folder for the results")?);
    let data = out.join("data");
    synthetic::write(&data, &SyntheticConfig { cases: 60, image_size: (64, 48), ..SyntheticConfig::default() })?;

    let mut recipe = Recipe::named("ammfm")?;
    recipe.set_data(&format!("derm7pt={}", data.display()))?;
    // Settings as a file says them, so that the folder's `experiment.toml` repeats the run.
    for setting in [
        "method.weights=random",
        "method.network.clinical=resnet18_quarter",
        "method.network.dermoscopic=resnet18_quarter",
        "training.preprocess.size=32",
        "training.epochs=2",
        "training.averaging=none",
    ] {
        recipe.set(setting)?;
    }
    let mut experiment = recipe.experiment()?;
    // Or as values.
    experiment.training.learning_rate = 1e-3;

    let plan = experiment.plan()?;
    let device = Device::flex();
    let outcome = plan.run(Workplace::on(&device).in_folder(&out, false), &mut TerminalProgress::default())?;
    for (name, evaluation) in outcome.write(&out)? {
        println!("{name}: mean accuracy {:.3}", evaluation.overall.accuracy.unwrap_or(f64::NAN));
    }
    println!("the model: {}", out.join(dermafuse::infer::MODEL_FILE).display());
    Ok(())
}
