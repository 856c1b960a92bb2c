//! What the example programs share: choosing a device and a data set, training options, progress on the
//! terminal, writing results.

mod data_set;
mod device;
mod drawing;
mod terminal;
mod training;
mod two_images;

pub use data_set::{ImagesArgument, data_set_kind, published_or_stratified_split};
pub use device::DeviceName;
pub use drawing::draw_once;
pub use terminal::{Terminal, print_error, print_table, print_text};
pub use training::TrainingArguments;
pub use two_images::{TwoImageArguments, run_two_images};

/// The error of a program, printed with its causes.
pub type ProgramResult = Result<(), Box<dyn std::error::Error>>;

/// Runs a program and prints its error, with all causes, on one line each.
pub fn run(program: impl FnOnce() -> ProgramResult) -> std::process::ExitCode {
    match program() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            print_error(format_args!("error: {error}\n"));
            let mut cause = error.source();
            while let Some(error) = cause {
                print_error(format_args!("  because: {error}\n"));
                cause = error.source();
            }
            std::process::ExitCode::FAILURE
        }
    }
}
