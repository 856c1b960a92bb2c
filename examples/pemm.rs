//! PEMM and its ablations: one network for both images, attention between its maps of them, a loss that trusts the clinical photo
//! less:
//!
//! ```text
//! cargo run --release --example pemm -- --data release_v0
//! cargo run --release --example pemm -- --data release_v0 --ablation --repeats 5
//! cargo run --release --example pemm -- --data release_v0 --ablation --loss-weights
//! ```
//!
//! A run that was stopped continues with `--resume` and ends with the same numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dermafuse::backbones::BackboneKind;
use dermafuse::recipes::{Recipe, pemm_loss_weights, pemm_methods};
use dermafuse_examples::{TwoImageArguments, run, run_two_images};

/// Trains PEMM or a row of its ablations, tests it, and writes metrics.json, predictions.csv, report.html and a model bundle.
#[derive(Parser)]
struct Arguments {
    /// The backbone of both images
    #[arg(long, default_value = "swin_v2_t")]
    backbone: BackboneKind,
    /// The rows of the loss weight's sweep instead of those of the ablation
    #[arg(long)]
    loss_weights: bool,
    #[command(flatten)]
    study: TwoImageArguments,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/pemm")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { backbone, loss_weights, study, out } = Arguments::parse();
    run(|| {
        let recipe = Recipe::named("pemm")?;
        let [ablation, weights] = recipe.published() else { return Err("two tables were published".into()) };
        match loss_weights {
            true => {
                let methods = |classes: &[usize]| pemm_loss_weights(backbone, classes);
                run_two_images("PEMM, weight of the clinical loss", &study, methods, weights, &out)
            }
            false => run_two_images("PEMM", &study, |classes| pemm_methods(backbone, classes), ablation, &out),
        }
    })
}
