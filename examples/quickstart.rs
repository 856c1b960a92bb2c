//! From nothing to a trained two-stage model and a report, on the CPU, without downloads:
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! Draws synthetic lesions in the layout of Derm7pt, trains FusionM4Net on them at small size, prints the table from
//! P_clinical to P_3, and writes the report and the model.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use dermafuse::eval::text_table;
use dermafuse::infer::MODEL_FILE;
use dermafuse::recipes::{Recipe, TerminalProgress, Workplace};
use dermafuse::schema::{RunFolder, RunMode, write_whole_file};
use dermafuse::synthetic::{self, SyntheticConfig};

/// Trains FusionM4Net on synthetic lesions and writes a report. Needs no arguments.
#[derive(Parser)]
struct Arguments {
    /// Synthetic cases; two fifths train the network
    #[arg(long, default_value_t = 600)]
    cases: usize,
    /// Side of the square images that the network sees, in pixels
    #[arg(long, default_value_t = 64)]
    image_size: usize,
    /// Passes over the training cases
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Number of the run: another one gives another data set and other weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for the data set, the report and the model
    #[arg(long, default_value = "runs/quickstart")]
    out: PathBuf,
    /// Continue the run in the folder
    #[arg(long)]
    resume: bool,
}

fn main() -> ExitCode {
    match quickstart(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What nobody reads is not worth a panic.
            let _ = writeln!(stderr(), "error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                let _ = writeln!(stderr(), "  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn say(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// Draws the data once: a run that is resumed finds what it was begun with, and is refused if it asks for something else.
fn draw(data: &Path, config: &SyntheticConfig) -> Result<(), Box<dyn Error>> {
    let (description, settings) = (data.with_extension("drawn.txt"), format!("{config:?}\n"));
    if description.is_file() {
        return match fs::read_to_string(&description)? == settings {
            true => Ok(()),
            false => Err(format!("{} was drawn with other settings; give another folder", data.display()).into()),
        };
    }
    synthetic::write(data, config)?;
    Ok(write_whole_file(&description, settings.as_bytes())?)
}

fn quickstart(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { cases, image_size, epochs, seed, out, resume } = arguments;
    let started = Instant::now();
    let mode = RunMode { resume: *resume, shared: false };
    let mut folder = RunFolder::open(out, "quickstart", mode)?;
    say(format_args!("drawing {cases} synthetic cases in {}", out.display()));
    let config = SyntheticConfig { cases: *cases, seed: *seed, ..SyntheticConfig::default() };
    let data = out.join("data");
    draw(&data, &config)?;

    let mut recipe = Recipe::named("fusionm4net")?;
    recipe.set_data(&format!("derm7pt={}", data.display()))?;
    recipe.set("title=FusionM4Net on synthetic lesions")?;
    recipe.set("method.network.backbone=resnet18_quarter")?;
    recipe.set("method.weights=random")?;
    recipe.set("training.learning_rate=1e-3")?; // from random weights; 3e-5 is for ImageNet's
    recipe.set(&format!("training.preprocess.size={image_size}"))?;
    recipe.set(&format!("training.epochs={epochs}"))?;
    recipe.set(&format!("seed={seed}"))?;
    // What a clinic asks, chosen on the validation cases: refer or not, and when the model had better not answer.
    recipe.set("groups.referral={ task = \"diagnosis\", soon = [\"MEL\"], later = [\"BCC\"], positive = [\"soon\", \"later\"] }")?;
    recipe.set("abstention={ error_rate = 0.1 }")?;
    let mut plan = recipe.experiment()?.plan()?;
    let small = "A small network trained for minutes: this shows that the programs work, not how good the method is.";
    plan.notes.insert(0, small.to_owned());

    let (device, mut terminal) = (Device::flex(), TerminalProgress::default());
    let place = Workplace::on(&device).in_folder(out, *resume);
    plan.check(place, &mut terminal)?;
    folder.begin()?;
    let outcome = plan.run(place, &mut terminal)?;
    let evaluations = outcome.write(out)?;
    folder.finish()?;

    let cases = outcome.test_cases();
    say(format_args!("\ntest accuracy in per cent, {cases} synthetic cases (published numbers are of real ones)\n"));
    say(text_table(&evaluations));
    for group in outcome.class_groups()? {
        say(group);
    }
    if let Some(sets) = outcome.prediction_sets()? {
        say(format_args!("{sets}\n"));
    }
    let out = out.display();
    say(format_args!("report: {out}/report.html   metrics: {out}/metrics.json   model: {out}/{MODEL_FILE}"));
    say(format_args!("again: cargo run --release --bin dermafuse -- train {out}/experiment.toml --out runs/again"));
    say(format_args!("took {} s", started.elapsed().as_secs()));
    Ok(())
}
