//! How the program ends where it cannot go on.

use std::error::Error;

use crate::terminal::print_error;

/// Whatever stops a verb.
pub(crate) type Failure = Box<dyn Error>;

/// What a verb comes to.
pub(crate) type ProgramResult = Result<(), Failure>;

/// Prints an error and its causes, a line each. A cause that the line before ends with is not said again.
pub(crate) fn print_failure(failure: &dyn Error) {
    for (place, line) in lines_of(failure).into_iter().enumerate() {
        let lead = if place == 0 { "error: " } else { "  because: " };
        print_error(format_args!("{lead}{line}\n"));
    }
}

/// The error and its causes in one line.
pub(crate) fn with_causes(failure: &dyn Error) -> String {
    lines_of(failure).join(": ")
}

fn lines_of(failure: &dyn Error) -> Vec<String> {
    let mut lines = vec![failure.to_string()];
    let mut cause = failure.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if lines.last().is_some_and(|last| !last.contains(&line)) {
            lines.push(line);
        }
        cause = error.source();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Told(&'static str, Option<Box<Told>>);

    impl fmt::Display for Told {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Told {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &(dyn Error + 'static))
        }
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let deepest = Told("the disk is full", None);
        let middle = Told("cannot write a.csv: the disk is full", Some(Box::new(deepest)));
        let failure = Told("the report is not written", Some(Box::new(middle)));
        assert_eq!(lines_of(&failure), ["the report is not written", "cannot write a.csv: the disk is full"]);
    }
}
