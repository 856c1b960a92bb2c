//! What the documents name is there: experiments, verbs, examples, files.

use std::fs;
use std::path::{Path, PathBuf};

use dermafuse::data::{RgbPixels, described, encode_jpeg};
use dermafuse::eval::published::PublishedRow;
use dermafuse::recipes::Recipe;
use dermafuse::schema::{FieldValue, LesionArea, LesionBox};
use dermafuse_tests::{program, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// The documents with their names: README, CONTRIBUTING and all of `docs` and `docs/papers`.
fn documents() -> Vec<(String, String)> {
    let folders = ["docs", "docs/papers"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let docs = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let markdown = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let all = markdown.chain(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    all.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// The cells of a document's tables, line by line, without the marks of code and of bold text.
fn lines_of_cells(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.split('|').map(|cell| cell.trim().trim_matches(['`', '*'])).collect()).collect()
}

/// Whether a page names a printed row: in a cell; or, if it stands on a backbone, in the line of its method, with the backbone as a
/// heading. Where the row has a score for all tasks, one of these lines has it too.
fn names_row(lines: &[Vec<&str>], row: &PublishedRow) -> bool {
    let with_backbone =
        row.name.rsplit_once(' ').filter(|(_, backbone)| lines.iter().any(|cells| cells.contains(backbone)));
    let names = [Some(row.name.as_str()), with_backbone.map(|(method, _)| method)];
    let of_row = |cells: &&Vec<&str>| cells.iter().any(|cell| names.contains(&Some(cell)));
    let scores: Vec<String> = [row.accuracy, row.balanced_accuracy, row.auc, row.macro_f1]
        .into_iter()
        .flatten()
        .map(|score| score.mean.to_string())
        .collect();
    let has_score = |cells: &Vec<&str>| cells.iter().any(|cell| scores.iter().any(|score| cell.starts_with(score)));
    lines.iter().filter(of_row).any(|cells| scores.is_empty() || has_score(cells))
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

/// The pages that show an addition as a diff show a file that is compiled and tested.
#[test]
fn the_files_that_pages_add_are_compiled() {
    for (page, file) in [
        ("adding-a-network.md", "crates/dermafuse-networks/src/twin_net.rs"),
        ("adding-a-fusion-module.md", "crates/dermafuse-fusion/src/shift.rs"),
    ] {
        let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
        let lines = text.lines().skip_while(|line| !line.starts_with(&format!(" // {file}"))).skip(1);
        let added: Vec<&str> = lines.map_while(|line| line.strip_prefix('+')).collect();
        assert!(added.len() > 30, "{page} adds {file}");
        let compiled = fs::read_to_string(root().join(file)).unwrap();
        assert!(compiled.contains(&added.join("\n")), "{page} and {file} differ");
    }
}

/// Each line of a page's diff, with the file that it is of: whether it is added, and its text.
fn lines_of_diff(page: &str) -> Vec<(String, bool, String)> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let diff = text.split("```diff\n").nth(1).unwrap_or_else(|| panic!("{page} has no diff"));
    let mut file = String::new();
    let mut lines = Vec::new();
    for line in diff.lines().take_while(|line| *line != "```") {
        match line.strip_prefix(" // ").filter(|of| of.starts_with("crates/")) {
            Some(named) => file = named.split(',').next().unwrap_or_default().to_owned(),
            None if line.len() > 1 => lines.push((file.clone(), line.starts_with('+'), line[1..].trim().to_owned())),
            None => {}
        }
    }
    lines
}

/// What a diff leaves as it is stands in the file, and what it adds stands there too, or does so for a thing that is built in.
#[test]
fn the_diffs_of_pages_fit_the_files_that_they_change() {
    let network = [("TwinNet", "EmbeddingNet"), ("twin_net", "embedding_net")];
    let fusion = [("Shift", "Mmfa"), ("shift", "mmfa")];
    let mut found = 0;
    for (page, built_in) in [
        ("adding-a-network.md", &network[..]),
        ("adding-a-fusion-module.md", &fusion),
        ("adding-a-training-option.md", &[]),
    ] {
        for (file, is_added, line) in lines_of_diff(page) {
            // Files that a page adds are compared as a whole, and what a row says of itself is its own.
            let is_new = built_in.iter().any(|(own, _)| file.ends_with(&format!("/{own}.rs")));
            if is_new || (!built_in.is_empty() && line.starts_with("///")) {
                continue;
            }
            let text = fs::read_to_string(root().join(&file)).unwrap_or_else(|_| panic!("{page} names `{file}`"));
            let like = built_in.iter().fold(line.clone(), |line, (own, other)| line.replace(own, other));
            let wanted = if is_added { &like } else { &line };
            assert!(text.lines().any(|of_file| of_file.trim() == wanted), "{page}: `{wanted}` is not in {file}");
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn documents_name_programs_verbs_and_files_that_exist() {
    let help = text(&program("dermafuse").arg("--help").output().unwrap());
    let places = [
        "examples",
        "crates/dermafuse-recipes/examples",
        "crates/dermafuse-ensemble/examples",
        "crates/dermafuse-data/examples",
        "crates/dermafuse-serve/examples",
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

/// The pieces of code of a document: each line of its blocks, with the lines that it goes on in, and each piece between backticks.
fn pieces_of_code(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for (part, block) in text.split("```").zip([false, true].into_iter().cycle()) {
        match block {
            true => pieces.extend(part.replace("\\\n", " ").lines().map(str::to_owned)),
            false => pieces.extend(part.split('`').skip(1).step_by(2).map(|piece| piece.replace('\n', " "))),
        }
    }
    pieces
}

/// The words of a command as a shell parts them, without a comment at the end.
fn shell_words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.split(" # ").next().unwrap_or_default().chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// What a command of the documents says of experiments.
#[derive(Debug, Default)]
struct Said {
    /// Recipes and files, with their rows.
    starts: Vec<(String, Option<String>)>,
    rows: Vec<String>,
    data: Vec<String>,
    settings: Vec<String>,
    /// One of several values.
    over: Vec<String>,
    compares: bool,
}

impl Said {
    fn of(words: &[String]) -> Self {
        let is_meant = |word: &String| !["…", "NAME", "KEY", "ROW"].iter().any(|other| word.contains(other));
        // A number that the reader chooses.
        let chosen = |word: &String| word.strip_suffix("=$N").or(word.strip_suffix("=N")).map(|key| format!("{key}=1"));
        let mut said = Self { compares: words.iter().any(|word| word == "compare"), ..Self::default() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let list = match word.as_str() {
                "--set" => &mut said.settings,
                "--data" => &mut said.data,
                "--row" => &mut said.rows,
                "--over" => {
                    let (key, values) = words.next().and_then(|word| word.split_once('=')).unwrap_or_default();
                    said.over = values.split(',').map(|value| format!("{key}={value}")).collect();
                    continue;
                }
                "--recipe" => {
                    said.starts.extend(words.next().map(|name| (name.clone(), None)));
                    continue;
                }
                name => {
                    let (name, row) = name.split_once(':').map_or((name, None), |(name, row)| (name, Some(row)));
                    let is_start = Recipe::shipped_text(name).is_some()
                        || (name.ends_with(".toml") && root().join(name).is_file());
                    said.starts.extend(is_start.then(|| (name.to_owned(), row.map(str::to_owned))));
                    continue;
                }
            };
            list.extend(words.next().filter(|word| is_meant(word)).map(|word| chosen(word).unwrap_or(word.clone())));
        }
        said
    }

    /// Reads the experiments that the command is about.
    fn read(&self, name: &str, row: Option<&str>) -> Result<(), String> {
        let file = root().join(name);
        let named = if name.ends_with(".toml") { file.to_str().expect("it is text") } else { name };
        let error = |error: &dyn std::fmt::Display| error.to_string();
        let overs = if self.over.is_empty() { vec![None] } else { self.over.iter().map(Some).collect() };
        for over in overs {
            let mut recipe = Recipe::named(named).map_err(|fault| error(&fault))?;
            for words in &self.data {
                recipe.set_data(words).map_err(|fault| error(&fault))?;
            }
            for words in self.settings.iter().chain(over) {
                recipe.set(words).map_err(|fault| error(&fault))?;
            }
            let rows: Vec<&str> = match (row, &self.rows[..]) {
                (Some(row), _) => vec![row],
                (None, []) if self.compares => recipe.compared_rows(None).map_err(|fault| error(&fault))?,
                (None, rows) => rows.iter().map(String::as_str).collect(),
            };
            if rows.is_empty() {
                recipe.experiment().map_err(|fault| error(&fault))?;
            }
            for row in rows {
                let found = recipe.row(row).map_err(|fault| format!("{row}: {fault}"))?;
                recipe.experiment_of(found).map_err(|fault| format!("{row}: {fault}"))?;
            }
        }
        Ok(())
    }
}

/// Settings that a command gives are read by the recipe or the file that it names; where it names none, by any.
#[test]
fn settings_of_the_documents_are_those_of_their_experiments() {
    let experiments = fs::read_dir(root().join("docs/experiments")).unwrap();
    let files = experiments.map(|entry| format!("docs/experiments/{}", entry.unwrap().file_name().display()));
    let any: Vec<String> = Recipe::shipped_names().into_iter().map(str::to_owned).chain(files).collect();
    let mut found = 0;
    for (name, text) in documents() {
        // This page adds a setting that is not there.
        if name.ends_with("adding-a-training-option.md") {
            continue;
        }
        for piece in pieces_of_code(&text).iter().filter(|piece| piece.contains("--set ") || piece.contains("--over "))
        {
            // A message that names a setting is no command.
            let words = shell_words(piece);
            let said = Said::of(&words);
            if (said.settings.is_empty() && said.over.is_empty())
                || said.settings.iter().any(|word| word.ends_with(':'))
            {
                continue;
            }
            found += said.settings.len() + usize::from(!said.over.is_empty());
            for (start, row) in &said.starts {
                said.read(start, row.as_deref()).unwrap_or_else(|error| panic!("{name}: `{piece}`: {start}: {error}"));
            }
            if said.starts.is_empty() {
                let mut errors = any.iter().map(|start| said.read(start, None));
                let first = errors.next().expect("there are recipes");
                let is_read = first.is_ok() || errors.any(|read| read.is_ok());
                assert!(is_read, "{name}: `{piece}`: {}", first.unwrap_err());
            }
        }
    }
    assert!(found > 80, "{found}");
}

#[test]
fn every_printed_row_of_a_recipe_is_on_its_page() {
    let mut found = 0;
    for name in Recipe::shipped_names() {
        let recipe = Recipe::shipped(name).unwrap();
        let Ok(page) = fs::read_to_string(root().join("docs/papers").join(name).with_extension("md")) else { continue };
        let lines = lines_of_cells(&page);
        for table in recipe.published() {
            for row in &table.rows {
                assert!(names_row(&lines, row), "{name}.md: {}: {} is missing, or its score", table.source, row.name);
                found += 1;
            }
            for p in table.wilcoxon.values().flat_map(|others| others.values()) {
                let printed = if *p < 1e-3 { format!("{p:.2e}") } else { format!("{p:.4}") };
                assert!(
                    lines.iter().any(|cells| cells.contains(&printed.as_str())),
                    "{name}.md: {}: {p}",
                    table.source
                );
            }
        }
        let number = recipe.published().len();
        assert!(number == 0 || page.contains("state"), "{name}.md says no states");
    }
    assert!(found > 300, "{found}");
}

#[test]
fn goldens_are_small_and_say_how_they_are_made() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("tests/golden"));
    let mut folders: Vec<PathBuf> = crates.filter(|folder| folder.is_dir()).collect();
    assert!(folders.len() > 2, "{folders:?}");
    folders.push(root().join("tests/golden"));
    let (mut found, mut made) = (0, 0);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.len() <= 50_000, "{} has {} bytes", path.display(), text.len());
                let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
                if let Some(generator) = golden["generator"].as_str() {
                    assert!(root().join(generator).is_file(), "{}: there is no {generator}", path.display());
                    made += 1;
                }
                found += 1;
            }
        }
    }
    assert!(found > 30 && made > 25, "{found}, {made}");
}

/// The example with boxes of docs/datasets.md, as it stands there.
#[test]
fn the_documented_boxes_are_read() {
    let docs = fs::read_to_string(root().join("docs/datasets.md")).unwrap();
    let section = &docs[docs.find("### Where the lesion is").unwrap()..];
    let block = |language: &str| {
        let start = format!("```{language}\n");
        let text = &section[section.find(&start).unwrap() + start.len()..];
        text[..text.find("```").unwrap()].to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("photos")).unwrap();
    fs::write(path("boxes.toml"), block("toml")).unwrap();
    fs::write(path("lesions.csv"), block("csv")).unwrap();
    for name in ["L1-photo", "L2-photo"] {
        let pixels = RgbPixels::new(640, 480, vec![140; 3 * 640 * 480]).unwrap();
        fs::write(path(&format!("photos/{name}.jpg")), encode_jpeg(&pixels, 95).unwrap()).unwrap();
    }
    let set = described::load(path("boxes.toml")).unwrap();
    let areas: Vec<_> = set.cases.iter().map(|case| case.clinical[0].area().cloned()).collect();
    assert_eq!(areas, [Some(LesionArea::Box(LesionBox::new(120, 80, 300, 260).unwrap())), None]);
}

/// The example of docs/datasets.md, as it stands there.
#[test]
fn the_documented_description_of_a_set_loads() {
    let docs = fs::read_to_string(root().join("docs/datasets.md")).unwrap();
    let section = &docs[docs.find("## Your own, described").unwrap()..];
    let block = |language: &str, which: usize| {
        let start = format!("```{language}\n");
        let text = section.split(&start).nth(which + 1).unwrap();
        text[..text.find("```").unwrap()].to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("photos")).unwrap();
    for (name, text) in
        [("clinic.toml", block("toml", 0)), ("lesions.csv", block("csv", 0)), ("patients.csv", block("csv", 1))]
    {
        fs::write(path(name), text).unwrap();
    }
    for (level, name) in [(20, "L1-photo"), (60, "L2-photo"), (100, "L3-photo"), (140, "L1-derm"), (180, "L3-derm")] {
        let pixels = RgbPixels::new(8, 8, vec![level; 3 * 8 * 8]).unwrap();
        fs::write(path(&format!("photos/{name}.jpg")), encode_jpeg(&pixels, 95).unwrap()).unwrap();
    }
    let set = described::load(path("clinic.toml")).unwrap();
    assert_eq!((set.name.as_str(), set.len(), set.tasks.len(), set.fields.len()), ("clinic", 3, 2, 4));
    assert_eq!(set.cases[0].group, set.cases[1].group);
    assert!(set.cases[1].dermoscopic.is_empty() && !set.cases[2].dermoscopic.is_empty());
    assert_eq!(set.cases[2].metadata[0], FieldValue::Missing);
    assert_eq!(set.cases.iter().map(|case| case.labels[0]).collect::<Vec<_>>(), [Some(0), Some(1), Some(1)]);
    assert_eq!(set.notes, ["1 rows with diagnosis `other` are left out", "1 rows have no label of dots_and_globules"]);
}
