//! AMMFM and its ablations: a small backbone for the clinical photo, a big one for the dermoscopic image, attention between their
//! stages:
//!
//! ```text
//! cargo run --release --example ammfm -- --data release_v0 --row "AFF-AAB MN+ST"
//! cargo run --release --example ammfm -- --data release_v0 --ablation --repeats 5
//! ```
//!
//! A run that was stopped continues with `--resume` and ends with the same numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dermafuse::backbones::BackboneKind;
use dermafuse::recipes::{Recipe, ammfm_methods};
use dermafuse_examples::{TwoImageArguments, run, run_two_images};

/// Trains AMMFM or a row of its ablations, tests it, and writes metrics.json, predictions.csv, report.html and a model bundle.
#[derive(Parser)]
struct Arguments {
    /// The small backbone, for the clinical photo
    #[arg(long, default_value = "mobilenet_v3_small")]
    small: BackboneKind,
    /// The big backbone, for the dermoscopic image
    #[arg(long, default_value = "swin_v2_t")]
    big: BackboneKind,
    #[command(flatten)]
    study: TwoImageArguments,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/ammfm")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { small, big, study, out } = Arguments::parse();
    run(|| {
        let recipe = Recipe::named("ammfm")?;
        run_two_images("AMMFM", &study, |classes| ammfm_methods(small, big, classes), &recipe.published()[0], &out)
    })
}
