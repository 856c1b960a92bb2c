//! The verb `adapt`.

use std::path::PathBuf;

use clap::Args;
use dermafuse::recipes::{Adaptation, LocalPrevalence, TerminalProgress};

use crate::data::DataArguments;
use crate::failure::ProgramResult;
use crate::model::ModelArguments;
use crate::prevalence::PrevalenceArgument;
use crate::terminal::{print_note, say, say_part};

/// Adapt a saved model to a place, on about a hundred labelled cases of it.
///
/// It fits the temperatures of the probabilities anew, and takes the classes to be as frequent as they are among these cases, which have
/// to be drawn as patients come. The network itself stays as it is, and so does the file of the model: the adapted one is another
/// file. How well it works is estimated in folds: each is answered by a model that was adapted to the others.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    data: DataArguments,
    /// How frequent classes are there, as TASK.CLASS=SHARE,… or a .toml file, instead of as among the cases; `keep` leaves it as the
    /// model assumes. Say so where the cases were chosen, not drawn as patients come.
    #[arg(long, value_name = "SHARES|FILE|keep")]
    prevalence: Option<String>,
    /// How many labelled cases of each class there have to be.
    #[arg(long, value_name = "N", default_value_t = 3)]
    least_per_class: usize,
    /// Accept classes of which there are fewer.
    #[arg(long)]
    allow_rare: bool,
    /// The folds in which it is estimated how well this works.
    #[arg(long, value_name = "K", default_value_t = 5)]
    folds: usize,
    /// Deals the folds.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// The file of the adapted model.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn adapt(arguments: &Arguments) -> ProgramResult {
    let Arguments { folds, seed, least_per_class, allow_rare, out, .. } = arguments;
    if out.exists() {
        return Err(format!("{} is there; give another file with --out, or remove it", out.display()).into());
    }
    let prevalence = match arguments.prevalence.as_deref() {
        None => LocalPrevalence::OfCases,
        Some("keep") => LocalPrevalence::Unchanged,
        Some(words) => match words.parse::<PrevalenceArgument>()?.shares()? {
            Some(shares) => LocalPrevalence::Stated(shares),
            None => return Err("the cases have labels, so nothing is estimated: leave --prevalence out".into()),
        },
    };
    let bundle = arguments.model.load()?;
    let set = arguments.data.load_by_own_classes(&bundle.description.tasks, "a model is adapted")?;
    set.notes.iter().for_each(|note| print_note(note));
    let adaptation = Adaptation {
        folds: *folds,
        seed: *seed,
        least_per_class: *least_per_class,
        allow_rare: *allow_rare,
        prevalence,
    };
    let outcome = adaptation.run(&bundle, &set, &mut TerminalProgress::default())?;
    outcome.notes.iter().for_each(|note| print_note(note));
    if let Some(first) = outcome.failed.first() {
        let (failed, id, reason) = (outcome.failed.len(), &first.id, &first.reason);
        print_note(&format!("{failed} labelled cases could not be answered; the first, `{id}`: {reason}"));
    }
    outcome.bundle.save(out)?;
    say!("adapted to {} cases of {}, estimated in {folds} folds\n", outcome.after.len(), set.name);
    say_part!("{}", outcome.change()?.table());
    say!("\nmodel: {}", out.display());
    Ok(())
}
