//! The verb `quantise`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use dermafuse::infer::Engine;
use dermafuse::recipes::{Progress, TerminalProgress};

use crate::data::DataArguments;
use crate::failure::ProgramResult;
use crate::model::ModelArguments;
use crate::part::SplitArguments;
use crate::terminal::{print_note, say};

/// Prepare a saved model for 8-bit integers: measure, on validation cases, between which numbers those lie that go through its network.
///
/// The model is written to another file, with these ranges beside its weights, which stay as they are. With it `--engine
/// onnxruntime:precision=int8` and openvino:precision=int8 compute the layers that take most of the time with 8-bit integers, and
/// `export --precision int8` writes such a file. Probabilities differ: `check-engine` measures by how much, and what that does to classes,
/// decisions and metrics.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    split: SplitArguments,
    /// What runs the network while it is measured: onnxruntime or openvino, with settings as those of --engine elsewhere.
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", default_value = "onnxruntime")]
    engine: Engine,
    /// Of more validation cases so many are measured, spread evenly over them.
    #[arg(long, value_name = "N", default_value = "256")]
    at_most: NonZeroUsize,
    /// The file of the prepared model.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> ProgramResult {
    let Arguments { engine, out, .. } = arguments;
    if out.exists() {
        return Err(format!("{} is there; give another file with --out, or remove it", out.display()).into());
    }
    let mut bundle = arguments.model.load()?;
    let set = arguments.data.load_by_own_classes(&bundle.description.tasks, "a model is measured")?;
    let (all, notes) = arguments.split.validation(&set)?;
    notes.iter().for_each(|note| print_note(note));
    let count = all.len().min(arguments.at_most.get());
    let places: Vec<usize> = (0..count).map(|at| at * all.len() / count).collect();
    let cases = all.select(&places);
    let mut terminal = TerminalProgress::default();
    terminal.step(&format!("measuring {count} of {} validation cases of {} by {engine}", all.len(), set.name));
    let ranges = bundle.measure_ranges(engine, &cases, |done| terminal.predicted(done, count))?;
    let sentence = ranges.sentence();
    bundle.description.activation_ranges = Some(ranges);
    bundle.save(out)?;
    say!("8-bit integers: {sentence}");
    say!("model: {}", out.display());
    say!(
        "measure what it changes: dermafuse check-engine {} --data … --engine {}:precision=int8",
        out.display(),
        engine.name()
    );
    Ok(())
}
