//! What the documents name is there: experiments, verbs, examples, files.

use std::fs;
use std::path::{Path, PathBuf};

use dermafuse::recipes::Recipe;
use dermafuse_tests::{program, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// The documents with their names: README, CONTRIBUTING and all of `docs`.
fn documents() -> Vec<(String, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let markdown = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let all = markdown.chain(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    all.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// The words that follow another in a text.
fn words_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let end = |rest: &'a str| rest.find(|letter: char| !letter.is_alphanumeric() && !"_-".contains(letter));
    text.match_indices(before)
        .map(|(at, _)| &text[at + before.len()..])
        .map(|rest| &rest[..end(rest).unwrap_or(rest.len())])
        .collect()
}

#[test]
fn every_experiment_of_the_documents_is_read_with_all_its_rows() {
    let mut files = 0;
    for entry in fs::read_dir(root().join("docs/experiments")).unwrap() {
        let path = entry.unwrap().path();
        let recipe = Recipe::named(path.to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
        recipe.experiment().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for row in recipe.rows() {
            recipe.experiment_of(row).unwrap_or_else(|error| panic!("{}, {}: {error}", path.display(), row.name));
        }
        files += 1;
    }
    assert!(files > 8, "{files}");
}

#[test]
fn documents_name_programs_verbs_and_files_that_exist() {
    let help = text(&program("dermafuse").arg("--help").output().unwrap());
    let places = [
        "examples",
        "crates/dermafuse-recipes/examples",
        "crates/dermafuse-ensemble/examples",
        "crates/dermafuse-data/examples",
    ];
    let mut found = 0;
    for (name, text) in documents() {
        for example in words_after(&text, "--example ") {
            let is_there = places.iter().any(|place| root().join(place).join(example).with_extension("rs").is_file());
            assert!(is_there || example == "NAME" || example.is_empty(), "{name}: there is no example `{example}`");
            found += 1;
        }
        // At the beginning of a line of code, or of a piece of code.
        for before in ["\ndermafuse ", "`dermafuse ", "  dermafuse "] {
            for verb in words_after(&text, before).into_iter().filter(|verb| !verb.is_empty() && *verb != "help") {
                assert!(help.contains(&format!("\n  {verb} ")), "{name}: there is no verb `{verb}`");
                found += 1;
            }
        }
        for file in words_after(&text, "docs/experiments/").into_iter().filter(|file| !file.is_empty()) {
            let file = root().join("docs/experiments").join(file).with_extension("toml");
            assert!(file.is_file(), "{name}: there is no file {}", file.display());
            found += 1;
        }
    }
    assert!(found > 50, "{found}");
}
