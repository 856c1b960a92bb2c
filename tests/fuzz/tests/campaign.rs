//! A campaign of seconds over every target, and the proof that campaigns find what they look for.

use std::path::Path;
use std::process::{Command, Output};

fn fuzz(findings: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    command.args(arguments).arg("--findings").arg(findings);
    command.output().expect("the program starts")
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn no_reader_panics_hangs_or_takes_too_much() {
    let folder = tempfile::tempdir().unwrap();
    for (targets, executions) in [("cheap", "400"), ("bundle", "100"), ("network", "100")] {
        let output = fuzz(folder.path(), &[targets, "--executions", executions, "--limit", "60"]);
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains(" 0 findings"), "{said}");
        // What is refused at its first words tells nothing of what stands behind them.
        for name in ["safetensors", "experiment"].into_iter().filter(|_| targets == "cheap") {
            let row = said.lines().find(|line| line.split_whitespace().next() == Some(name)).expect("a row for each");
            let accepted: u64 = row.split_whitespace().nth(2).unwrap().parse().unwrap();
            assert!(accepted >= 80, "{row}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_campaign_finds_and_outlives_what_goes_wrong() {
    let folder = tempfile::tempdir().unwrap();
    // The inputs of these seeds panic, break a promise, hang, and overflow the stack.
    for (seed, what) in [
        ("258", "Panic, seed 258: tests/fuzz/src/targets/self_test.rs"),
        ("238", "Broken, seed 238: a byte of 2"),
        ("34", "TooLong, seed 34"),
        ("176", "Died, seed 176"),
    ] {
        let output = fuzz(folder.path(), &["self_test", "--seed", seed, "--executions", "1", "--limit", "2"]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(what), "{what}: {said}");
    }
    // An input that was found is kept, and its seed alone finds it again.
    let file = kept(folder.path(), "Panic");
    assert_eq!(std::fs::read(&file).unwrap(), [1]);
    let seed = file.to_str().unwrap().rsplit('-').next().unwrap();
    let again = tempfile::tempdir().unwrap();
    let replayed = fuzz(again.path(), &["self_test", "--replay", seed]);
    assert!(replayed.status.code() == Some(1) && text(&replayed).contains("a byte of 1"), "{}", text(&replayed));
}

/// The input of a finding of a kind.
fn kept(folder: &Path, kind: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let notes = files.filter(|file| file.extension().is_some_and(|extension| extension == "txt"));
    let of_kind = |file: &std::path::PathBuf| std::fs::read_to_string(file).unwrap().starts_with(kind);
    notes.filter(of_kind).map(|file| file.with_extension("")).next().expect("a finding of that kind")
}
