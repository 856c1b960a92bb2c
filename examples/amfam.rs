//! AMFAM and its ablation: an adversary makes the features of both images alike, decoders keep them true to their images:
//!
//! ```text
//! cargo run --release --example amfam -- --data release_v0
//! cargo run --release --example amfam -- --data release_v0 --row "+Recon+Att"
//! cargo run --release --example amfam -- --data release_v0 --ablation --repeats 3
//! ```
//!
//! A run that was stopped continues with `--resume` and ends with the same numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use dermafuse::backbones::BackboneKind;
use dermafuse::fusion::ReversalSchedule;
use dermafuse::networks::{ModalityBatches, NetworkConfig};
use dermafuse::recipes::{Recipe, TwoImageMethod, amfam_methods};
use dermafuse_examples::{TwoImageArguments, run, run_two_images};

/// Trains AMFAM or a row of its ablation, tests it, and writes metrics.json, predictions.csv, report.html and a model bundle.
#[derive(Parser)]
#[command(mut_arg("image_size", |argument| argument.default_value("299")))]
struct Arguments {
    /// The backbone of the images
    #[arg(long, default_value = "resnet50")]
    backbone: BackboneKind,
    /// A backbone for each image instead of one for both
    #[arg(long)]
    separate_backbones: bool,
    /// In training, let batch normalisation see the two images one after the other instead of in one batch
    #[arg(long)]
    separate_batches: bool,
    /// How the reversal of the adversary's gradient changes in the course of the training
    #[arg(long, value_enum, default_value_t = ReversalName::Constant)]
    reversal: ReversalName,
    /// Strength of the constant reversal
    #[arg(long, default_value_t = 1.0)]
    reversal_strength: f64,
    /// Weight of the adversary's loss, the paper's lambda
    #[arg(long, default_value_t = 0.8)]
    adversary_weight: f64,
    /// Weight of the decoders' losses, the paper's gamma
    #[arg(long, default_value_t = 0.4)]
    reconstruction_weight: f64,
    #[command(flatten)]
    study: TwoImageArguments,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/amfam")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum ReversalName {
    /// Always alike
    Constant,
    /// From 0 to almost 1, as in the paper that introduced it
    Ganin,
}

impl Arguments {
    /// The rows with what was asked for.
    fn methods(&self, classes: &[usize]) -> Vec<TwoImageMethod> {
        let mut methods = amfam_methods(self.backbone, classes);
        for method in &mut methods {
            let NetworkConfig::Amfam(network) = &mut method.network else { continue };
            network.shared_backbone = !self.separate_backbones;
            network.batches = if self.separate_batches { ModalityBatches::Separate } else { ModalityBatches::Joined };
            if let Some(discriminator) = &mut network.discriminator {
                discriminator.reversal = match self.reversal {
                    ReversalName::Constant => ReversalSchedule::Constant { strength: self.reversal_strength },
                    ReversalName::Ganin => ReversalSchedule::GANIN,
                };
            }
        }
        methods
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    arguments.study.loss_weights = vec![
        ("modality", arguments.adversary_weight),
        ("reconstruction_clinical", arguments.reconstruction_weight),
        ("reconstruction_dermoscopic", arguments.reconstruction_weight),
    ];
    let methods = |classes: &[usize]| arguments.methods(classes);
    run(|| {
        let recipe = Recipe::named("amfam")?;
        run_two_images("AMFAM", &arguments.study, methods, &recipe.published()[0], &arguments.out)
    })
}
