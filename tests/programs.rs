//! The program `dermafuse` as a process: experiments, comparisons, shares and what they refuse, small.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dermafuse::data::pad_ufes_20;
use dermafuse::recipes::Recipe;
use dermafuse_tests::{contents_of, done, program, refused, small_set_folder, small_settings, train_small};

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", folder.join(name).display()))
}

/// What a run leaves that must be the same when it is run again.
const RESULTS: [&str; 7] =
    ["metrics.json", "predictions.csv", "stages.csv", "history.csv", "report.html", "model.safetensors", "split.json"];

/// `dermafuse train` with a recipe on drawn sets below a folder, small.
fn train_recipe(folder: &Path, recipe: &str, out: &Path) -> Command {
    let draw = |kind: &str, name: &str, cases: &str, size: &str| {
        let (mut draw, path) = (program("dermafuse"), folder.join(name));
        draw.arg("draw").arg(kind).arg(&path).args(["--cases", cases, "--image-size", size]);
        done(draw);
        path
    };
    let mut command = program("dermafuse");
    command.args(["train", "--recipe", recipe, "--out"]).arg(out);
    match recipe {
        "nedelcu" => {
            for (kind, name) in [("dermai", "dermai"), ("dermofit", "dermofit"), ("derm7pt", "edra")] {
                command.arg("--data").arg(format!("{name}={}", draw(kind, name, "100", "64x64").display()));
            }
        }
        "bring_your_own" => {
            let pad = draw("pad-ufes-20", "pad", "120", "32x32");
            let table = folder.join("model.csv");
            fs::write(&table, said_of(&pad)).unwrap();
            command.arg("--data").arg(format!("pad={}", pad.display()));
            let classes = CLASSES_OF_PAD.iter().enumerate().map(|(at, class)| format!("{class} = \"p{at}\""));
            let outputs = format!(
                "data.pad.outputs.other={{ file = \"{}\", case = \"case\", classes = {{ {} }} }}",
                table.display(),
                classes.collect::<Vec<_>>().join(", ")
            );
            command.args(["--set", &outputs]);
        }
        _ => drop(command.arg("--data").arg(format!("derm7pt={}", small_set_folder().display()))),
    }
    for words in small_settings(recipe) {
        command.args(["--set", words]);
    }
    command
}

const CLASSES_OF_PAD: [&str; 6] = ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"];

/// A table of a model that knows two cases of three, and names the right class of most.
fn said_of(pad: &Path) -> String {
    let mut table = String::from("case,p0,p1,p2,p3,p4,p5\n");
    for (row, case) in pad_ufes_20::load(pad).unwrap().cases.iter().enumerate().filter(|(row, _)| row % 3 != 0) {
        let label = case.labels[0].unwrap();
        let said = if row % 5 == 0 { (label + 1) % 6 } else { label };
        let shares = (0..6).map(|class| if class == said { "0.5" } else { "0.1" }).collect::<Vec<_>>();
        table.push_str(&format!("{},{}\n", case.id, shares.join(",")));
    }
    table
}

/// Runs the experiment of a run again, and compares everything that must be the same.
fn assert_runs_again(out: &Path, files: &[&str]) {
    let twin = out.with_extension("again");
    let mut again = program("dermafuse");
    again.arg("train").arg(out.join("experiment.toml")).arg("--out").arg(&twin);
    done(again);
    for name in RESULTS.iter().chain(files).chain(&["experiment.toml"]) {
        assert!(read(out, name) == read(&twin, name), "{}: {name}", out.display());
    }
}

#[test]
fn every_recipe_trains_and_its_experiment_gives_the_same_bytes_again() {
    let folder = tempfile::tempdir().unwrap();
    for recipe in Recipe::shipped_names() {
        let out = folder.path().join(format!("of-{recipe}"));
        let printed = done(train_recipe(folder.path(), recipe, &out));
        assert!(printed.contains("majority") && printed.contains("report: "), "{printed}");
        let more: &[&str] = match recipe {
            "bring_your_own" => &["folds.csv", "fold-1/model.safetensors", "fold-3/model.safetensors"],
            _ => &[],
        };
        assert_runs_again(&out, more);
        if recipe == "bring_your_own" {
            assert!(printed.contains("final model: ") && printed.contains("no case is left to test it"), "{printed}");
        }
    }
}

#[test]
fn a_final_fit_follows_folds_and_is_no_test_of_its_own_cases() {
    let folder = tempfile::tempdir().unwrap();
    let folds = ["method.network.backbone=resnet18_quarter", "split={ kind = \"folds\", folds = 3 }", "final_fit={}"];
    let frozen = ["method.heads.components=8", "machine.features=none"];
    // With a second stage, whose halves and weights are chosen anew, and without.
    for (recipe, settings) in [("fusionm4net", &folds[..]), ("frozen", &[&folds[..], &frozen].concat())] {
        let out = folder.path().join(recipe);
        let printed = done(train_small(&out, recipe, settings));
        assert!(printed.contains("final fit: a model of all cases") && printed.contains("final model: "), "{printed}");
        assert_runs_again(&out, &["folds.csv", "fold-2/model.safetensors"]);
        let metrics = String::from_utf8(read(&out, "metrics.json")).unwrap();
        assert!(metrics.contains("The model of the final fit, model.safetensors: no case is left to test it"));
        // It is done: resumed, nothing is trained, and the bytes are the same.
        let before = read(&out, "model.safetensors");
        let mut resumed = train_small(&out, recipe, settings);
        resumed.arg("--resume");
        assert!(!done(resumed).contains("epoch   1/1"), "{recipe}");
        assert!(read(&out, "model.safetensors") == before, "{recipe}");

        let mut show = program("dermafuse");
        show.arg("show").arg(&out);
        let card = done(show);
        assert!(
            card.contains("the models of the 3 rounds of cross-validation") && card.contains(", 0 tested it"),
            "{card}"
        );
        let mut evaluate = program("dermafuse");
        evaluate.arg("evaluate").arg(&out).arg("--out").arg(folder.path().join(format!("{recipe}-evaluated")));
        evaluate.arg("--data").arg(format!("derm7pt={}", small_set_folder().display())).args(["--part", "all"]);
        let printed = done(evaluate);
        assert!(printed.contains("60 of 60 cases trained or selected this model"), "{printed}");
        assert!(printed.contains("answered by the models of its folds"), "{printed}");
    }
    let nothing = folder.path().join("nothing");
    let error = refused(train_small(&nothing, "fusionm4net", &[folds[0], folds[2]]));
    assert!(error.contains("--set final_fit={}: final_fit: a final fit follows folds") && !nothing.exists(), "{error}");
    // What a split of its run has no test part of is not asked for.
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(folder.path().join("frozen")).arg("--out").arg(&nothing);
    evaluate.arg("--data").arg(format!("derm7pt={}", small_set_folder().display()));
    evaluate.arg("--split").arg(folder.path().join("frozen/split.json"));
    let error = refused(evaluate);
    assert!(error.contains("the split has no test part") && !nothing.exists(), "{error}");
}

#[test]
fn folds_are_shared_resumed_and_leave_a_model_each() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("folds");
    let folds = ["method.network.backbone=resnet18_quarter", "split={ kind = \"folds\", folds = 3 }"];
    let mut command = train_small(&out, "fusionm4net", &folds);
    command.args(["--set", "second_stage.classifier=none", "--set", "evaluation.features=true"]);
    let printed = done(command);
    assert!(printed.contains("fold-3 of 3") && printed.contains("over 3 rounds"), "{printed}");
    for fold in ["fold-1", "fold-2", "fold-3"] {
        assert!(out.join(fold).join("model.safetensors").is_file() && out.join(fold).join("result.json").is_file());
    }
    assert!(out.join("folds.csv").is_file());
    // One line for each case, whatever its fold.
    let predictions = String::from_utf8(read(&out, "predictions.csv")).unwrap();
    assert_eq!(predictions.lines().count(), 61);
    assert!(
        predictions.starts_with("case,basis,status,diagnosis,diagnosis:truth,diagnosis:probability,diagnosis="),
        "{predictions}"
    );
    let history = String::from_utf8(read(&out, "history.csv")).unwrap();
    assert_eq!(history.lines().count(), 4);

    let before = contents_of(&out);
    let error = refused(train_small(&out, "fusionm4net", &folds));
    assert!(error.contains("holds a finished run; resume it, or give another folder"), "{error}");
    assert!(contents_of(&out) == before, "a refused run changes nothing");
}

#[test]
fn a_table_of_folds_can_hold_test_cases_back() {
    let folder = tempfile::tempdir().unwrap();
    let record = ["method.network={ kind = \"metadata_classifier\", metadata = { inputs = 0, layers = [16] } }"];
    let train = |out: &str, split: &str| {
        let settings =
            [&record[..], &["training.loss.class_weights=uniform", "evaluation.features=true", split]].concat();
        done(train_small(&folder.path().join(out), "jif", &settings))
    };
    train("folds", "split={ kind = \"folds\", folds = 3 }");
    let table = fs::read_to_string(folder.path().join("folds/folds.csv")).unwrap();
    let held_out = table.lines().filter(|line| line.ends_with(",2")).count();
    let table = table.lines().map(|line| match line.strip_suffix(",2") {
        Some(start) => format!("{start},test\n"),
        None => format!("{line}\n"),
    });
    let file = folder.path().join("folds.csv");
    fs::write(&file, table.collect::<String>()).unwrap();
    let printed = train("tested", &format!("split={{ kind = \"file\", path = \"{}\" }}", file.display()));
    let note = format!("The {held_out} cases that are held out are tested in every round.");
    assert!(printed.contains(&note), "{printed}");
    let report = fs::read_to_string(folder.path().join("tested/report.html")).unwrap();
    assert!(report.contains("t-SNE, fold-1"), "the first round is drawn");
    assert!(printed.contains("P_1"), "{printed}");
}

#[test]
fn the_adversary_is_set_by_words() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "method.network.backbone=resnet18_quarter",
        "training.preprocess.size=33",
        "method.network.discriminator.reversal={ kind = \"ganin\" }",
        "training.loss.auxiliary.modality=0.3",
    ];
    let printed = done(train_small(&folder.path().join("one"), "amfam", &settings));
    for words in ["majority", "P_1", "modality ", "reconstruction_dermoscopic "] {
        assert!(printed.contains(words), "{printed}");
    }
    let experiment = fs::read_to_string(folder.path().join("one/experiment.toml")).unwrap();
    assert!(experiment.contains("kind = \"ganin\"") && experiment.contains("modality = 0.3"), "{experiment}");
}

#[test]
fn strategies_of_fine_tuning_are_compared_on_stand_ins_of_three_clinics() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (kind, name) in [("dermai", "dermai"), ("dermofit", "dermofit"), ("derm7pt", "edra")] {
        let mut draw = program("dermafuse");
        draw.arg("draw").arg(kind).arg(path(name)).args(["--cases", "100", "--image-size", "64x64"]);
        done(draw);
    }
    let data = ["dermai", "dermofit", "edra"].map(|name| format!("{name}={}", path(name).display()));
    let compare = |out: &str| {
        let mut command = program("dermafuse");
        command.args(["compare", "nedelcu", "--row", "x) ImageNet, merged", "--row", "a) ImageNet, DermAI"]);
        command.args(["--row", "b) ImageNet, EDRA, DermAI"]);
        for data in &data {
            command.args(["--data", data]);
        }
        for words in [
            "method.weights=random",
            "method.network.backbone=resnet18_quarter",
            "training.preprocess.size=32",
            "training.unfreezing.steps.resnet18_quarter=[[\"layer4\"], [\"layer3\", \"layer2\"]]",
            "training.unfreezing.epochs_per_step=1",
            "repeats=2",
        ] {
            command.args(["--set", words]);
        }
        command.arg("--latency").arg("--out").arg(path(out));
        command
    };
    let printed = done(compare("all"));
    assert!(printed.contains("epoch   3/3") && !printed.contains("validation loss"), "{printed}");
    for part in ["macro F1", "weighted F1", "Friedman", "McNemar", "stage 2 of 2, dermai"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let report = fs::read_to_string(path("all/report.html")).unwrap();
    assert!(report.contains("passes of the network alone: measured on the device `flex` of this machine"), "{report}");
    assert!(report.contains("times each") && report.contains("Synthetic data"), "what oversampling did is said");
    assert!(
        report.contains("There are no validation cases: no epoch, weight or setting was chosen by a score"),
        "{report}"
    );
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let run = |out: &Path| {
        train_small(out, "fusionm4net", &["method.network.backbone=resnet18_quarter", "training.epochs=3"])
    };
    done(run(&whole));
    let mut child = run(&killed).spawn().unwrap();
    let started = Instant::now();
    while !killed.join("checkpoints/full/epoch-00001/manifest.json").is_file() {
        assert!(started.elapsed() < Duration::from_secs(300), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(refused(run(&killed)).contains("resume it, or give another folder"));
    let mut resumed = run(&killed);
    resumed.arg("--resume");
    assert!(done(resumed).contains("resuming after epoch"));
    for name in RESULTS {
        assert!(read(&whole, name) == read(&killed, name), "{name}");
    }
}

#[test]
fn an_experiment_with_relative_paths_is_repeated_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let data = small_set_folder();
    let mut first = program("dermafuse");
    first.args(["train", "--recipe", "fusionm4net", "--data"]);
    first.arg(format!("derm7pt={}", data.file_name().unwrap().to_str().unwrap())).current_dir(data.parent().unwrap());
    for setting in ["method.weights=random", "method.network.backbone=resnet18_quarter", "training.preprocess.size=32"]
    {
        first.args(["--set", setting]);
    }
    first.args(["--set", "training.epochs=1", "--set", "second_stage.classifier=none", "--set", "evaluation.views=0"]);
    let (out, again) = (folder.path().join("out"), folder.path().join("again"));
    first.arg("--out").arg(&out);
    done(first);
    let mut second = program("dermafuse");
    second.arg("train").arg(out.join("experiment.toml")).arg("--out").arg(&again).current_dir(folder.path());
    done(second);
    assert!(read(&out, "metrics.json") == read(&again, "metrics.json"));
}

#[test]
fn methods_are_compared_in_shares() {
    let folder = tempfile::tempdir().unwrap();
    let compare = |out: &str, extra: &[&str]| {
        let mut command = program("dermafuse");
        command.args(["compare", "pemm", "--data"]).arg(format!("derm7pt={}", small_set_folder().display()));
        command.args(["--row", "PS", "--row", "PS+SCA+BL", "--set", "method.weights=random", "--set", "repeats=2"]);
        command.args([
            "--set",
            "training.preprocess.size=32",
            "--set",
            "training.epochs=1",
            "--set",
            "evaluation.views=0",
        ]);
        command.args(["--set", "training.averaging.last_epochs.epochs=1", "--set", "training.batch_size=8"]);
        command.args(["--set", "method.network.backbone=resnet18_quarter", "--out"]).arg(folder.path().join(out));
        command.args(extra);
        command
    };
    let whole = done(compare("whole", &[]));
    for words in ["2 methods, 4 trainings", "PS+SCA+BL", "Friedman", "Accuracy of each test case"] {
        assert!(whole.contains(words), "{words}: {whole}");
    }
    let table =
        |text: &str| text.split("in per cent;").nth(1).unwrap().split("\nwritten to").next().unwrap().to_owned();
    done(compare("one", &["--shard", "1/2"]));
    done(compare("two", &["--shard", "2/2"]));
    let merge = |shares: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("merge").args(shares.iter().map(|share| folder.path().join(share)));
        command.arg("--out").arg(folder.path().join("joined"));
        command
    };
    assert!(refused(merge(&["two"])).contains("no folder has share 1/2;") && !folder.path().join("joined").exists());
    done(merge(&["one", "two"]));
    assert_eq!(table(&done(compare("joined", &["--resume"]))), table(&whole));
    assert!(refused(compare("third", &["--shard", "3/2"])).contains("`3/2` is no share; say I/N with I from 1 to N"));
    assert!(refused(compare("third", &["--row", "PS+BAB"])).contains("there is no row `PS+BAB`; the rows are "));
    assert!(!folder.path().join("third").exists());
}

#[test]
fn what_cannot_be_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let says = |command: Command, words: &str| {
        let error = refused(command);
        assert!(error.contains(words), "{words}: {error}");
        assert!(!out.exists(), "{words}");
    };
    let backbone = "method.network.backbone=resnet18_quarter";
    says(
        train_small(&out, "fusionm4net", &[backbone, "training.epoch=3"]),
        "--set training.epoch=3: training: there is no setting `epoch`; the settings here are: epochs,",
    );
    says(
        train_small(&out, "fusionm4net", &[backbone, "training.micro_batch_size=3"]),
        "--set training.micro_batch_size=3: training.micro_batch_size: must be at least 2 and a divisor of batch_size, found 3",
    );
    says(
        train_small(&out, "fusionm4net", &[backbone, "method.weights=nowhere.pth"]),
        "there is no file nowhere.pth with weights of resnet18_quarter",
    );
    says(
        train_small(&out, "fusionm4net", &["method.weights=imagenet"]),
        "the method starts from ImageNet's weights of resnet50; say where they are",
    );
    says(train_small(&out, "fusionm5net", &[]), "there is no recipe `fusionm5net`; the recipes are fusionm4net");
    says(
        train_small(&out, "fusionm4net", &[backbone, "machine.device=cuda"]),
        "--set machine.device=cuda: machine.device: this program was built without the device `cuda`",
    );
    let three = r#"machine.device=["flex", "flex", "flex"]"#;
    says(
        train_small(&out, "fusionm4net", &[backbone, three]),
        &format!(
            "--set {three}: machine.device: 3 devices do not share batches of 8 evenly; say training.micro_batch_size"
        ),
    );
    let mut data = train_small(&out, "fusionm4net", &[backbone]);
    data.args(["--data", "moon=nowhere"]);
    says(data, "the experiment has no data set `moon`; its sets are derm7pt");
    let file = folder.path().join("mine.toml");
    fs::write(&file, "recipe = \"fusionm4net\"\n\n[training]\nepochs = \"many\"\n").unwrap();
    let mut mine = program("dermafuse");
    mine.arg("train").arg(&file).arg("--out").arg(&out);
    says(
        mine,
        "mine.toml: line 4, column 10: training.epochs: expected a whole number that is not negative, found \"many\"",
    );
}
