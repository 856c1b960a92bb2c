//! Evaluates a saved model bundle on data of the same schema:
//!
//! ```text
//! cargo run --release --example evaluate -- --model runs/quickstart/bundle --dataset derm7pt --data runs/quickstart/data
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use dermafuse::data::{DataSetKind, Split};
use dermafuse::infer::Bundle;
use dermafuse::recipes::Progress;
use dermafuse_examples::{
    DeviceName, ImagesArgument, ProgramResult, Results, Terminal, data_set_kind, print_table, published_rows, run,
};

/// Predicts with a saved bundle and writes metrics.json, predictions.csv and report.html.
#[derive(Parser)]
struct Arguments {
    /// Folder of the bundle
    #[arg(long)]
    model: PathBuf,
    /// Data set
    #[arg(long, value_parser = data_set_kind())]
    dataset: DataSetKind,
    /// Folder of the data set
    #[arg(long)]
    data: PathBuf,
    #[command(flatten)]
    images: ImagesArgument,
    /// Which cases: the test part of the published (or given) split, or all
    #[arg(long, value_enum, default_value_t = Part::Test)]
    part: Part,
    /// A split that was saved by a run; needed for the test part of a data set that publishes none
    #[arg(long)]
    split: Option<PathBuf>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Flex)]
    device: DeviceName,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/evaluate")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Test,
    Valid,
    All,
}

fn main() -> ExitCode {
    run(|| evaluate(&Arguments::parse()))
}

fn evaluate(arguments: &Arguments) -> ProgramResult {
    let bundle = Bundle::load(&arguments.model, &arguments.device.device()?)?;
    let set = arguments.dataset.load_with(&arguments.data, &arguments.images.options())?;
    let split = match &arguments.split {
        Some(path) => Some(Split::load(path, set.len())?),
        None => set.split.clone(),
    };
    let rows = match (arguments.part, split) {
        (Part::All, _) => (0..set.len()).collect(),
        (Part::Test, Some(split)) => split.test,
        (Part::Valid, Some(split)) => split.valid,
        (_, None) => return Err("the data set publishes no split: give --split FILE, or --part all".into()),
    };

    let mut terminal = Terminal::default();
    terminal.step(&format!("predicting {} cases of {}", rows.len(), set.name));
    let predictions = bundle.predict(&set, &rows, |done| terminal.predicted(done, rows.len()))?;
    let leaky = bundle.description.encoder.uses_post_diagnosis();
    let results = Results {
        title: "Evaluation of a saved model",
        set: &set,
        cases: &rows,
        rows: &predictions,
        config: serde_json::to_value(&bundle.description)?,
        published: published_rows(&set, &bundle.description.network),
        leaky_inputs: leaky.into_iter().map(str::to_owned).collect(),
        curves: Vec::new(),
        notes: vec![format!("Model trained on {}.", bundle.description.data_set)],
        features: None,
    };
    std::fs::create_dir_all(&arguments.out)?;
    let evaluations = results.write(&arguments.out)?;
    print_table(&evaluations);
    println!("\nwritten to {}: report.html, metrics.json, predictions.csv", arguments.out.display());
    Ok(())
}
