//! The verb `check-engine`.

use std::path::PathBuf;

use clap::Args;
use dermafuse::data::MissingFields;
use dermafuse::eval::EngineComparison;
use dermafuse::infer::{Bundle, Engine};
use dermafuse::recipes::{Progress, TerminalProgress};
use dermafuse::schema::write_whole_file;

use crate::data::DataArguments;
use crate::engine::EngineArgument;
use crate::failure::ProgramResult;
use crate::model::ModelArguments;
use crate::part::PartArguments;
use crate::terminal::{print_note, print_result};

/// Compare an engine with Burn on labelled cases: probabilities, classes, decisions and metrics.
///
/// The model answers every case twice: its network is run by Burn in 32-bit floats, and by the engine. What is printed is the largest
/// difference of a probability in each stage, the cases whose most probable class or whose decision changes, and accuracy, AUC,
/// calibration errors and log-loss of both.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    part: PartArguments,
    #[command(flatten)]
    engine: EngineArgument,
    /// Take fields that the data set does not have for not recorded, instead of refusing the set.
    #[arg(long)]
    allow_missing_fields: bool,
    /// The program fails if a probability differs by more than this.
    #[arg(long, value_name = "DIFFERENCE")]
    tolerance: Option<f64>,
    /// Also write the comparison to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> ProgramResult {
    if arguments.engine.engine == Engine::Burn {
        return Err("Burn is what an engine is compared with: name another one with --engine".into());
    }
    if arguments.tolerance.is_some_and(|tolerance| !(0.0..=1.0).contains(&tolerance)) {
        return Err("--tolerance is a difference of probabilities, from 0 to 1".into());
    }
    let mut bundle = arguments.model.load()?;
    if arguments.allow_missing_fields {
        let description = &mut bundle.description;
        description.encoder = description.encoder.clone().with_missing_fields(MissingFields::Allow);
    }
    // A library that is absent is said before a set is read.
    let other = arguments.engine.run(bundle.clone())?;
    let set = arguments.data.load_by_own_classes(&bundle.description.tasks, "an engine is compared")?;
    let (cases, notes) = arguments.part.cases(&set)?;
    notes.iter().for_each(|note| print_note(note));
    let mut terminal = TerminalProgress::default();
    let mut ask = |bundle: &Bundle| {
        terminal.step(&format!("predicting {} cases of {} by {}", cases.len(), set.name, bundle.engine_facts()));
        bundle.predict(&cases, |done| terminal.predicted(done, cases.len()))
    };
    let (usual, answers) = (ask(&bundle)?, ask(&other)?);
    if let Some(case) = usual.failed.first() {
        print_note(&format!(
            "{} cases could not be answered; the first, `{}`: {}",
            usual.failed.len(),
            case.id,
            case.reason
        ));
    }
    let sets = bundle.description.prediction_sets.as_ref();
    let comparison = EngineComparison::of((&usual.engine, &usual.stages), (&answers.engine, &answers.stages), sets)?;
    if let Some(file) = &arguments.out {
        write_whole_file(file, comparison.to_json().as_bytes())?;
    }
    print_result(if arguments.json { comparison.to_json() } else { comparison.to_text() })?;
    match arguments.tolerance.filter(|tolerance| comparison.largest > *tolerance) {
        Some(tolerance) => {
            Err(format!("a probability differs by {:.2e}, more than {tolerance:e}", comparison.largest).into())
        }
        None => Ok(()),
    }
}
