//! From a table and photos of one's own to a report and a prediction, with four commands.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dermafuse::data::derm7pt;
use dermafuse_tests::{contents_of, program, small_set_folder, text};

/// Writes a table as a clinic has it: semicolons, a row for each image, names and words of its own, and gaps. The last column is
/// the diagnosis, if it is wanted.
fn write_table(file: &Path, cases: std::ops::Range<usize>, labelled: bool) {
    let set = derm7pt::load(small_set_folder()).unwrap();
    let place = |name: &str| set.fields.iter().position(|field| field.name == name).unwrap();
    let (sex, site) = (place("sex"), place("location"));
    let mut table = String::from("Datei;Ansicht;Mole No;PatientenNr;gender;Region;age (years);excised?");
    table += if labelled { ";Diagnosis\n" } else { "\n" };
    for row in cases {
        let case = &set.cases[row];
        let word = |field: usize| set.fields[field].text(&case.metadata[field]).unwrap_or_else(|| "n/a".to_owned());
        let class = &set.tasks[0].classes[case.labels[0].unwrap()];
        let age = if row % 9 == 4 { "unknown".to_owned() } else { (20 + row % 60).to_string() };
        for (view, image) in [("Clinical photo", &case.clinical), ("dermoscopy", &case.dermoscopic)] {
            let image = &image[0];
            // A lesion without its photo.
            if row == 7 && view == "Clinical photo" {
                continue;
            }
            let name = image.path.strip_prefix(small_set_folder().join("images")).unwrap().display();
            let excised = if row % 3 == 0 { "n" } else { "y" };
            write!(table, "{name};{view};M{row:03};{};{};{};{age};{excised}", 500 + row / 2, word(sex), word(site))
                .unwrap();
            table += &if labelled { format!(";{class}\n") } else { "\n".to_owned() };
        }
    }
    fs::write(file, table).unwrap();
}

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

fn init(table: &Path, out: &Path) -> Command {
    let mut command = program("dermafuse");
    command.arg("init").arg(table).arg("--images").arg(small_set_folder().join("images")).arg("--out").arg(out);
    command
}

const SMALL: [&str; 7] = [
    "training.epochs=1",
    "training.preprocess.size=32",
    "training.batch_size=8",
    "method.network.backbone=resnet18_quarter",
    "method.weights=random",
    "evaluation.views=0",
    "second_stage.calibration=paper",
];

#[test]
fn four_commands_lead_from_a_table_to_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let (table, mine, run) =
        (folder.path().join("Lesions 2024.csv"), folder.path().join("mine"), folder.path().join("run"));
    write_table(&table, 0..54, true);

    let said = done(&mut init(&table, &mine));
    for words in [
        "Diagnosis    task         its name or its values are those of a diagnosis (5 classes)",
        "Mole No      id           a row is an image, and each of its values has at most one row of each `Ansicht`",
        "PatientenNr  patient      its values repeat and its name says so",
        "Ansicht      view",
        "gender       category",
        "age (years)  number",
        "excised?     left-out     LEAK: what was done follows from the diagnosis",
        "taken for not recorded in every column: unknown",
        "54 cases, 1 tasks, 3 fields",
        "recipe fusionm4net, because the cases have clinical photo, dermoscopic image and a record",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let experiment: PathBuf = mine.join("experiment.toml");

    // Weights are asked for, in the user's words, and nothing is trained without an answer.
    let mut check = program("dermafuse");
    let error = refused(check.arg("check").arg(&experiment));
    assert!(error.contains("the method starts from ImageNet's weights of resnet50; say where they are"), "{error}");
    let small = SMALL.iter().flat_map(|setting| ["--set", setting]);
    let mut check = program("dermafuse");
    // The epoch that is timed is shorter than the warm-up.
    let timed = ["--time", "--set", "training.epochs=9", "--set", "training.warm_up_steps=5"];
    let said = done(check.arg("check").arg(&experiment).args(small.clone()).args(timed));
    assert!(said.contains("Every check that needs no training has passed."), "{said}");
    assert!(said.contains(" s an epoch, "), "{said}");

    let mut train = program("dermafuse");
    let said = done(train.arg("train").arg(&experiment).args(small).arg("--out").arg(&run));
    assert!(said.contains("balanced") || said.contains("BAC"), "{said}");
    for name in ["report.html", "metrics.json", "predictions.csv", "model.safetensors", "experiment.toml"] {
        assert!(run.join(name).is_file(), "{name}");
    }

    // New cases in the same columns, without diagnosis.
    let new = folder.path().join("new.csv");
    write_table(&new, 54..60, false);
    let mut predict = program("dermafuse");
    predict.arg("predict").arg(&run).arg("--described").arg(mine.join("set.toml")).arg("--table").arg(&new);
    let output = predict.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let answers = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(answers.lines().count(), 7, "{}", text(&output));
    assert!(answers.lines().skip(1).all(|line| line.contains(",ok,")), "{answers}");
    assert!(answers.lines().nth(1).unwrap().starts_with("M054,"), "{answers}");
    assert!(text(&output).contains("6 of 6 cases answered"));
}

#[test]
fn nothing_is_overwritten_and_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let (table, mine) = (folder.path().join("lesions.csv"), folder.path().join("mine"));
    write_table(&table, 0..20, true);
    done(&mut init(&table, &mine));
    let before = contents_of(&mine);
    let error = refused(&mut init(&table, &mine));
    assert!(error.contains("set.toml is there already and is not overwritten; give another --out"), "{error}");
    assert!(contents_of(&mine) == before);

    // Images that are not there.
    let other = folder.path().join("other");
    let mut command = program("dermafuse");
    command.arg("init").arg(&table).arg("--images").arg(folder.path()).arg("--out").arg(&other);
    let error = refused(&mut command);
    assert!(
        error.contains("where the images of column `Datei` are") && error.contains("name their folder with --images"),
        "{error}"
    );
    assert!(!other.exists());
    let error = refused(init(&table, &other).args(["--role", "gendre=task"]));
    assert!(error.contains("column `gendre` is missing") && error.contains("gender"), "{error}");
    let error = refused(init(&table, &other).args(["--recipe", "nedelcu"]));
    assert!(error.contains("the recipe `nedelcu` trains on several data sets"), "{error}");
    assert!(!other.exists());

    // A recipe of one's choice, on a single kind of image.
    let said = done(init(&table, &other).args(["--recipe", "ammfm", "--name", "clinic x"]));
    assert!(said.contains("recipe ammfm, because you said so") && said.contains("dermafuse train"), "{said}");
    let text = fs::read_to_string(other.join("experiment.toml")).unwrap();
    assert!(text.contains("[data.clinic_x]") && text.contains("derm7pt = \"none\""), "{text}");
}
