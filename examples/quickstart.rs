//! From nothing to a trained two-stage model and a report, on the CPU, without downloads:
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! Writes a set of synthetic lesions in the layout of Derm7pt, trains FusionM4Net on it at small size, prints the table from
//! P_clinical to P_3, and writes the report and the model.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{DataError, derm7pt};
use dermafuse::infer::MODEL_FILE;
use dermafuse::networks::{FusionNetConfig, NetworkConfig};
use dermafuse::recipes::{FusionM4Net, Results, Workplace, majority};
use dermafuse::schema::{RunFolder, RunMode};
use dermafuse::synthetic::{self, SyntheticConfig};
use dermafuse_examples::{ProgramResult, Terminal, draw_once, print_table, run, say};

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
    run(|| quickstart(&Arguments::parse()))
}

fn quickstart(arguments: &Arguments) -> ProgramResult {
    let started = Instant::now();
    let mode = RunMode { resume: arguments.resume, shared: false };
    let mut folder = RunFolder::open(&arguments.out, "quickstart", mode)?;
    say!("drawing {} synthetic cases in {}", arguments.cases, arguments.out.display());
    let config = SyntheticConfig { cases: arguments.cases, seed: arguments.seed, ..SyntheticConfig::default() };
    let data = draw_once(&folder, "data", &config, |data| synthetic::write(data, &config))?;
    let set = derm7pt::load(&data)?;
    let split = set.split.clone().ok_or(DataError::EmptySet { name: set.name.clone() })?;

    let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, set.tasks.class_counts());
    let mut recipe = FusionM4Net::as_released(NetworkConfig::FusionNet(network), arguments.image_size, arguments.seed);
    recipe.first_stage.training.epochs = arguments.epochs;
    recipe.first_stage.training.learning_rate = 1e-3; // from random weights; 3e-5 is for ImageNet's
    let mut terminal = Terminal::default();
    let (device, checkpoints) = (Device::flex(), arguments.out.join("checkpoints"));
    let place = Workplace::on(&device).in_folder(&checkpoints, arguments.resume);
    recipe.check(&set, &split, place, &mut terminal)?;
    folder.begin()?;
    let outcome = recipe.run(&set, &split, place, &mut terminal)?;

    outcome.notes.iter().for_each(|note| say!("  note: {note}"));
    let mut rows = vec![("majority".to_owned(), majority(&set, &split.train, &split.test)?)];
    rows.extend(outcome.rows);
    let leaky = outcome.bundle.description.encoder.uses_post_diagnosis();
    let small = "A small network trained for minutes: this shows that the programs work, not how good the method is.";
    let results = Results {
        title: "FusionM4Net on synthetic lesions",
        set: &set,
        cases: &split.test,
        rows: &rows,
        config: serde_json::to_value(&recipe)?,
        published: None,
        leaky_inputs: leaky.into_iter().map(str::to_owned).collect(),
        curves: vec![("all training cases", &outcome.full_history), ("half of them", &outcome.half_history)],
        failed: &[],
        seen: Some(outcome.bundle.description.known_cases.among(&set, &split.test)),
        notes: [small.to_owned()].into_iter().chain(outcome.notes).collect(),
        features: None,
    };
    let evaluations = results.write(&arguments.out)?;
    outcome.bundle.save(arguments.out.join(MODEL_FILE))?;
    folder.finish()?;

    say!("\ntest accuracy in per cent, {} synthetic cases (published numbers are of real ones)\n", split.test.len());
    print_table(&evaluations);
    let out = arguments.out.display();
    say!("\nbranch weights: {}", weights_text(&outcome.weights.weights));
    say!("report: {out}/report.html   metrics: {out}/metrics.json   model: {out}/{MODEL_FILE}");
    say!("took {} s", started.elapsed().as_secs());
    Ok(())
}

fn weights_text(weights: &dermafuse::schema::BranchWeights) -> String {
    let pairs = weights.names().iter().zip(weights.values());
    pairs.map(|(name, weight)| format!("{name} {weight:.3}")).collect::<Vec<_>>().join(", ")
}
