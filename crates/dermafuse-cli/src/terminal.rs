//! What the program prints: results to standard output, progress and notes to standard error.

use std::fmt;
use std::io::{self, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use dermafuse::recipes::TerminalProgress;

use crate::failure::ProgramResult;

/// Prints a line as `println!` does, but goes on where nobody reads any more: see [`print_text`].
macro_rules! say {
    () => { $crate::terminal::print_text(format_args!("\n")) };
    ($($words:tt)*) => { $crate::terminal::print_text(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints without an end of line, as `print!` does; see [`say`].
macro_rules! say_part {
    ($($words:tt)*) => { $crate::terminal::print_text(format_args!($($words)*)) };
}

pub(crate) use {say, say_part};

/// Prints to standard output. If that is closed or full, it says so once on standard error and then stays silent: what a
/// verb computes and writes to files is worth more than what it says.
pub(crate) fn print_text(text: fmt::Arguments<'_>) {
    static SILENT: AtomicBool = AtomicBool::new(false);
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    TerminalProgress::clear();
    let mut out = stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && !SILENT.swap(true, Ordering::Relaxed)
    {
        print_error(format_args!("warning: cannot print any more ({error}); the run goes on and writes its files\n"));
    }
}

/// Prints what is the whole result of a verb to standard output. Who stops reading, as `head` does, has seen enough.
///
/// # Errors
/// An output that cannot be written, such as a full disk.
pub(crate) fn print_result(text: impl AsRef<[u8]>) -> ProgramResult {
    TerminalProgress::clear();
    let mut out = stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the result cannot be printed: {error}; make room, or print it elsewhere").into())
        }
        _ => Ok(()),
    }
}

/// Prints to standard error, if anybody reads it.
pub(crate) fn print_error(text: fmt::Arguments<'_>) {
    TerminalProgress::clear();
    let _ = stderr().write_fmt(text);
}

/// Prints a note to standard error.
pub(crate) fn print_note(note: &str) {
    print_error(format_args!("note: {note}\n"));
}
