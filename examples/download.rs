//! Downloads published ImageNet weights, to train from or to carry to a machine without a network:
//!
//! ```text
//! cargo run --release --features download --example download -- --model mobilenet_v2 --out weights
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use dermafuse::backbones::{BackboneKind, PublishedWeights};
use dermafuse_examples::{ProgramResult, Terminal, run, say};

/// Downloads the published weights of a backbone, or continues an interrupted download.
#[derive(Parser)]
struct Arguments {
    /// Architecture; `dermafuse models` lists them
    #[arg(long)]
    model: BackboneKind,
    /// Folder for the file
    #[arg(long, default_value = "weights")]
    out: PathBuf,
    /// Address of a folder with copies of the published files, under their names
    #[arg(long)]
    mirror: Option<String>,
}

fn main() -> ExitCode {
    run(|| download(&Arguments::parse()))
}

fn download(arguments: &Arguments) -> ProgramResult {
    let Some(published) = arguments.model.published_weights() else {
        return Err(format!("nobody has published weights for {}", arguments.model).into());
    };
    let copy =
        arguments.mirror.as_ref().map(|mirror| format!("{}/{}", mirror.trim_end_matches('/'), published.file_name()));
    let weights = PublishedWeights { url: copy.as_deref().unwrap_or(published.url), ..published };

    say!("{}", weights.url);
    say!("licence: {}", weights.licence);
    let mut terminal = Terminal::default();
    let path = weights.download(&arguments.out, |progress| terminal.download(&progress))?;
    say!("{}", path.display());
    Ok(())
}
