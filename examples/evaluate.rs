//! Evaluates a saved model on data of the same schema:
//!
//! ```text
//! cargo run --release --example evaluate -- --model runs/quickstart/model.safetensors --dataset derm7pt --data runs/quickstart/data
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use dermafuse::data::{DataSetKind, LoadedSplit, MissingFields, Split, TableChanges};
use dermafuse::infer::Bundle;
use dermafuse::recipes::{Progress, Results, published_rows};
use dermafuse::schema::{RunFolder, RunMode};
use dermafuse_examples::{DeviceName, ImagesArgument, ProgramResult, Terminal, data_set_kind, print_table, run, say};

/// Predicts with a saved model and writes metrics.json, predictions.csv and report.html.
#[derive(Parser)]
struct Arguments {
    /// The model: a file, or the folder of the run that made it
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
    /// Take fields that the set does not have for not recorded, instead of refusing the set
    #[arg(long)]
    allow_missing_fields: bool,
    /// Accept a table that has changed since the split was made: cases that it lacks are left out, and other labels are taken
    #[arg(long)]
    changed_table: bool,
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
    let mut bundle = Bundle::load(&arguments.model, &arguments.device.device()?)?;
    if arguments.allow_missing_fields {
        let description = &mut bundle.description;
        description.encoder = description.encoder.clone().with_missing_fields(MissingFields::Allow);
    }
    let set = arguments.dataset.load_with(&arguments.data, &arguments.images.options())?;
    let mut notes = vec![format!("Model trained on {}.", bundle.description.data_set)];
    let split = match &arguments.split {
        Some(path) => {
            let changes = if arguments.changed_table { TableChanges::Allow } else { TableChanges::Refuse };
            let LoadedSplit { split, notes: found } = Split::load_with(path, &set, changes)?;
            found.iter().for_each(|note| say!("note: {note}"));
            notes.extend(found);
            Some(split)
        }
        None => set.split.clone(),
    };
    let rows = match (arguments.part, split) {
        (Part::All, _) => (0..set.len()).collect(),
        (Part::Test, Some(split)) => split.test,
        (Part::Valid, Some(split)) => split.valid,
        (_, None) => return Err("the data set publishes no split: give --split FILE, or --part all".into()),
    };

    // What an earlier evaluation left there is replaced; what something else left is not.
    let mut folder = RunFolder::open(&arguments.out, "evaluate", RunMode { resume: true, shared: false })?;
    let mut terminal = Terminal::default();
    terminal.step(&format!("predicting {} cases of {}", rows.len(), set.name));
    let answers = bundle.predict(&set, &rows, |done| terminal.predicted(done, rows.len()))?;
    say!("{}", answers.seen);
    answers.notes.iter().for_each(|note| say!("note: {note}"));
    notes.extend(answers.notes);
    let leaky = bundle.description.encoder.uses_post_diagnosis();
    let published = published_rows(&set, &bundle.description.network);
    let results = Results {
        title: "Evaluation of a saved model",
        set: &set,
        cases: &answers.rows,
        rows: &answers.stages,
        config: serde_json::to_value(&bundle.description)?,
        published: published.as_ref(),
        leaky_inputs: leaky.into_iter().map(str::to_owned).collect(),
        curves: Vec::new(),
        notes,
        failed: &answers.failed,
        seen: Some(answers.seen),
        features: None,
    };
    folder.begin()?;
    let evaluations = results.write(&arguments.out)?;
    folder.finish()?;
    print_table(&evaluations);
    say!("\nwritten to {}: report.html, metrics.json, predictions.csv", arguments.out.display());
    Ok(())
}
