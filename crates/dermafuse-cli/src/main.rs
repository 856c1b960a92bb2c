//! The program `dermafuse`: a thin layer of words over the library. Each verb has a file of its own.

mod adapt;
#[cfg(feature = "serve")]
mod audit;
mod check;
mod check_engine;
mod compare;
mod completions;
mod data;
mod datasets;
mod device;
mod devices;
mod download;
mod draw;
mod engine;
mod evaluate;
mod explain;
#[cfg(feature = "onnx")]
mod export;
mod failure;
mod forward;
mod init;
mod installed;
mod lesion_boxes;
mod merge;
mod model;
mod models;
mod part;
mod predict;
mod prevalence;
#[cfg(any(feature = "onnxruntime", feature = "openvino"))]
mod quantise;
mod recipes;
#[cfg(feature = "serve")]
mod serve;
mod show;
mod terminal;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::{ProgramResult, print_failure};

/// DermaFuse classifies skin lesions from a clinical photo, a dermoscopic image and what is known of the patient.
///
/// It is research software. It is no medical device and not for diagnosis.
#[derive(Parser)]
#[command(name = "dermafuse", version, arg_required_else_help = true)]
struct Program {
    #[command(subcommand)]
    verb: Verb,
}

/// What the program can do, in the order in which `--help` lists it. What a verb does is said where its arguments are.
#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one in a program")]
enum Verb {
    Init(init::Arguments),
    Check(check::Check),
    Train(train::Train),
    Compare(compare::Compare),
    Merge(merge::Merge),
    Recipes(recipes::Recipes),
    Evaluate(evaluate::Arguments),
    CheckEngine(check_engine::Arguments),
    Predict(predict::Arguments),
    Adapt(adapt::Arguments),
    #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
    Quantise(quantise::Arguments),
    Explain(explain::Arguments),
    #[cfg(feature = "onnx")]
    Export(export::Arguments),
    #[cfg(feature = "serve")]
    Serve(serve::Arguments),
    #[cfg(feature = "serve")]
    Audit(audit::Arguments),
    Show(show::Arguments),
    Models(models::Arguments),
    Datasets(datasets::Arguments),
    Devices(devices::Arguments),
    Draw(draw::Arguments),
    Download(download::Arguments),
    Forward(forward::Arguments),
    Completions(completions::Arguments),
}

impl Verb {
    fn run(&self) -> ProgramResult {
        match self {
            Self::Init(arguments) => init::init(arguments),
            Self::Check(arguments) => check::run(arguments),
            Self::Train(arguments) => train::run(arguments),
            Self::Compare(arguments) => compare::run(arguments),
            Self::Merge(arguments) => merge::run(arguments),
            Self::Recipes(arguments) => recipes::run(arguments),
            Self::Evaluate(arguments) => evaluate::evaluate(arguments),
            Self::CheckEngine(arguments) => check_engine::run(arguments),
            Self::Predict(arguments) => predict::predict(arguments),
            Self::Adapt(arguments) => adapt::adapt(arguments),
            #[cfg(any(feature = "onnxruntime", feature = "openvino"))]
            Self::Quantise(arguments) => quantise::run(arguments),
            Self::Explain(arguments) => explain::explain(arguments),
            #[cfg(feature = "onnx")]
            Self::Export(arguments) => export::export(arguments),
            #[cfg(feature = "serve")]
            Self::Serve(arguments) => serve::run(arguments),
            #[cfg(feature = "serve")]
            Self::Audit(arguments) => audit::audit(arguments),
            Self::Show(arguments) => show::show(arguments),
            Self::Models(arguments) => models::models(arguments),
            Self::Datasets(arguments) => datasets::datasets(arguments),
            Self::Devices(arguments) => devices::devices(arguments),
            Self::Draw(arguments) => draw::draw(arguments),
            Self::Download(arguments) => download::download(arguments),
            Self::Forward(arguments) => forward::forward(arguments),
            Self::Completions(arguments) => completions::completions(arguments),
        }
    }

    /// Whether it trains, or sends many cases through a network.
    fn computes_for_long(&self) -> bool {
        matches!(self, Self::Train(_) | Self::Compare(_) | Self::Evaluate(_) | Self::Predict(_) | Self::Adapt(_))
    }
}

fn main() -> ExitCode {
    let verb = Program::parse().verb;
    if verb.computes_for_long() {
        dermafuse::devices::restart_with_large_pages();
    }
    match verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_failure(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_of_the_program_fit_together() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_verb_and_option_says_what_it_is() {
        fn check(verb: &clap::Command) {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
            for argument in verb.get_arguments().filter(|argument| argument.get_id() != "help") {
                assert!(argument.get_help().is_some(), "{} {}", verb.get_name(), argument.get_id());
            }
            verb.get_subcommands().for_each(check);
        }
        Program::command().get_subcommands().for_each(check);
    }
}
