//! The verb `completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Program;
use crate::failure::ProgramResult;
use crate::terminal::print_result;

/// Print a script that lets a shell complete the program's words.
///
/// The manual of the shell says where such a script goes. For bash: dermafuse completions bash >
/// ~/.local/share/bash-completion/completions/dermafuse
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn completions(arguments: &Arguments) -> ProgramResult {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Program::command(), "dermafuse", &mut script);
    print_result(&String::from_utf8(script)?)
}
