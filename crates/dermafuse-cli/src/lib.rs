//! The program `dermafuse`, thin over the library, and its progress on a terminal for programs of your own.
//!
//! ```text
//! dermafuse recipes
//! dermafuse train --recipe fusionm4net --data derm7pt=release_v0 --set method.weights=weights --out runs/mine
//! dermafuse compare ammfm pemm --data derm7pt=release_v0 --set repeats=5
//! ```

mod check;
mod compare;
mod device;
mod drawing;
mod recipes;
mod table;
mod terminal;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use device::device_of;
pub use drawing::draw_once;
pub use table::print_table;
pub use terminal::{Terminal, print_error, print_text};

/// The error of a program, printed with its causes.
pub type ProgramResult = Result<(), Box<dyn std::error::Error>>;

/// Trains, compares and uses classifiers that fuse a clinical photo, a dermoscopic image and a patient's record.
///
/// Research software: not a medical device, not for diagnosis.
#[derive(Parser)]
#[command(name = "dermafuse", version)]
struct Program {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Check),
    Compare(compare::Compare),
    Merge(compare::Merge),
    Recipes(recipes::Recipes),
    Train(train::Train),
}

/// What the program does with its arguments.
#[must_use]
pub fn main() -> ExitCode {
    let Program { verb } = Program::parse();
    run(|| match &verb {
        Verb::Check(arguments) => check::run(arguments),
        Verb::Compare(arguments) => compare::run(arguments),
        Verb::Merge(arguments) => compare::merge(arguments),
        Verb::Recipes(arguments) => recipes::run(arguments),
        Verb::Train(arguments) => train::run(arguments),
    })
}

/// Runs a program and prints its error, with all causes, on one line each.
pub fn run(program: impl FnOnce() -> ProgramResult) -> ExitCode {
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(format_args!("error: {error}\n"));
            let (mut said, mut cause) = (error.to_string(), error.source());
            while let Some(error) = cause {
                // An error that says what its cause says needs no second line.
                let text = error.to_string();
                if !said.contains(&text) {
                    print_error(format_args!("  because: {text}\n"));
                }
                (said, cause) = (text, error.source());
            }
            ExitCode::FAILURE
        }
    }
}
