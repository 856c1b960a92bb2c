//! `dermafuse`: the program over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    dermafuse_cli::main()
}
