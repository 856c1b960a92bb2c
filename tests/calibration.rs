//! Calibrated answers, prevalence and adaptation, from a training to the program.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::Device;
use dermafuse::data::{CaseSet, derm7pt};
use dermafuse::ensemble::{CalibrationMethod, CalibrationOrigin, PrevalenceOrigin, TwoStage};
use dermafuse::infer::Bundle;
use dermafuse::recipes::{Answer, Protocol, ProtocolOutcome, Workplace};
use dermafuse::synthetic::{self, SyntheticConfig};
use dermafuse::train::Silent;
use dermafuse_tests::{device_lock, program, small_recipe, text, text_of};

/// A set of 160 cases, of which 20 or more validate.
fn set_folder() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release_v0");
        let config = SyntheticConfig { cases: 160, image_size: (40, 32), ..SyntheticConfig::default() };
        synthetic::write(&path, &config).unwrap();
        (folder, path)
    });
    path
}

/// One epoch without a second stage.
fn protocol(set: &CaseSet, calibrated: Option<CalibrationMethod>) -> Protocol {
    let mut recipe = small_recipe(set);
    recipe.first_stage.training.epochs = 1;
    Protocol { answer: Answer::All, second_stage: None, calibrated, ..recipe }
}

fn trained(calibrated: Option<CalibrationMethod>) -> (CaseSet, ProtocolOutcome) {
    let _lock = device_lock();
    let set = derm7pt::load(set_folder()).unwrap();
    let split = set.split.clone().unwrap();
    let device = Device::flex();
    let outcome = protocol(&set, calibrated).run(&set, &split, Workplace::on(&device), &mut Silent).unwrap();
    (set, outcome)
}

/// A model with calibrated answers, trained once for all tests.
fn calibrated() -> &'static (CaseSet, ProtocolOutcome) {
    static MODEL: OnceLock<(CaseSet, ProtocolOutcome)> = OnceLock::new();
    MODEL.get_or_init(|| trained(Some(CalibrationMethod::Temperature)))
}

fn saved() -> &'static Path {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        calibrated().1.bundle.save(&path).unwrap();
        (folder, path)
    });
    path
}

#[test]
fn calibration_is_one_more_row_and_changes_no_other() {
    let (set, with) = calibrated();
    let (_, without) = trained(None);
    let (last, before) = with.rows.split_last().unwrap();
    // All that was measured without it stays to the bit.
    assert_eq!(before, without.rows);
    assert_eq!(last.0, "P_1 calibrated");
    let (_, uncalibrated) = before.last().unwrap();
    assert_ne!(last.1.probabilities, uncalibrated.probabilities);
    for task in 0..set.tasks.len() {
        assert_eq!(last.1.hits(task), uncalibrated.hits(task));
        let predicted = |case: usize| (last.1.predicted(case, task), uncalibrated.predicted(case, task));
        assert!((0..last.1.len()).map(predicted).all(|(after, before)| after == before));
    }
    // It is fitted on the validation cases, once for complete cases and once for each image alone.
    let calibration = with.bundle.two_stage.calibration.as_ref().unwrap();
    let valid = set.split.as_ref().unwrap().valid.len();
    assert_eq!((calibration.cases(), &calibration.origin), (valid, &CalibrationOrigin::Validation));
    let bases: Vec<String> = calibration.answers.iter().map(|answer| answer.basis.to_string()).collect();
    assert_eq!(bases, ["clinical+dermoscopic+fusion", "clinical", "dermoscopic"]);
    let note = format!("The probabilities are calibrated (temperature) on {valid} validation cases.");
    assert!(with.notes.contains(&note) && !without.notes.contains(&note), "{:?}", with.notes);
    // What training cases were like is in both.
    for outcome in [with, &without] {
        let prevalence = outcome.bundle.prevalence().unwrap();
        let split = set.split.as_ref().unwrap();
        let counts = set.view(&split.train).unwrap().class_counts(0).unwrap();
        let task = &set.tasks[0];
        for (class, count) in task.classes.iter().zip(counts) {
            let share = prevalence.training.share(&task.name, class).unwrap();
            assert!((share - count as f64 / split.train.len() as f64).abs() < 1e-12);
        }
        assert_eq!((&prevalence.learnt, &prevalence.assumed), (&None, &None));
    }
}

#[test]
fn a_saved_model_answers_as_it_was_calibrated() {
    let (set, outcome) = calibrated();
    let bundle = Bundle::load(saved(), &Device::flex()).unwrap();
    assert_eq!(bundle.two_stage, outcome.bundle.two_stage);
    let test = &set.split.as_ref().unwrap().test;
    let answers = bundle.predict(&set.view(test).unwrap(), |_| ()).unwrap();
    assert_eq!(answers.stages, outcome.rows);
    let facts = answers.probabilities.calibration.as_ref().unwrap();
    assert_eq!((facts.method, answers.probabilities.corrected.as_ref()), (CalibrationMethod::Temperature, None));
    assert!(answers.probabilities.prevalence.is_some());

    // A case without its dermoscopic image is calibrated as such cases are.
    let mut lacking = set.clone();
    lacking.cases[test[0]].dermoscopic.clear();
    let alone = bundle.predict(&lacking.view(&test[..1]).unwrap(), |_| ()).unwrap();
    let plain = TwoStage { calibration: None, ..bundle.two_stage.clone() };
    let raw =
        plain.apply(&bundle.logits(&lacking.view(&test[..1]).unwrap(), |_| ()).unwrap()).unwrap().pop().unwrap().1;
    let map = &bundle.two_stage.calibration.as_ref().unwrap().answers[1].tasks[0].map;
    assert_eq!(raw.basis, ["clinical"]);
    assert_eq!(alone.last().probabilities[0].row(0).to_vec(), map.apply(raw.probabilities[0].row(0)));
    assert!(alone.notes.iter().all(|note| !note.contains("not all was calibrated")), "{:?}", alone.notes);

    let mut damaged = bundle.clone();
    damaged.two_stage.calibration.as_mut().unwrap().answers[0].basis = "thermal".into();
    assert!(damaged.check().unwrap_err().to_string().contains("unknown branch `thermal`"));
}

#[test]
fn what_cannot_be_calibrated_is_refused_before_the_training() {
    let set = derm7pt::load(set_folder()).unwrap();
    let mut split = set.split.clone().unwrap();
    split.valid.truncate(19);
    let (protocol, device) = (protocol(&set, Some(CalibrationMethod::Vector)), Device::flex());
    let error = |split| text_of(&protocol.check(&set, &split, Workplace::on(&device), &mut Silent).unwrap_err());
    let few = error(split.clone());
    assert!(few.contains("at most 19 cases") && few.contains("20 are needed"), "{few}");
    split.valid.clear();
    let none = error(split);
    assert!(none.starts_with("the validation part of the split is empty"), "{none}");
}

#[test]
fn answers_are_corrected_to_a_prevalence() {
    let (set, _) = calibrated();
    let mut bundle = Bundle::load(saved(), &Device::flex()).unwrap();
    let rows: Vec<usize> = (0..60).collect();
    let plain = bundle.predict(&set.view(&rows).unwrap(), |_| ()).unwrap();
    let (estimated, estimate) = bundle.at_estimated_prevalence(plain.clone()).unwrap();
    assert_eq!((estimate.cases, estimated.stages.len()), (60, plain.stages.len() + 1));
    assert!(estimated.notes.last().unwrap().contains("as was estimated from 60 cases without labels: diagnosis: "));
    assert_eq!(estimated.probabilities.corrected, Some(PrevalenceOrigin::Estimated { cases: 60 }));

    bundle.assume_prevalence(&[("diagnosis".into(), "MEL".into(), 0.9)]).unwrap();
    let stated = bundle.predict(&set.view(&rows).unwrap(), |_| ()).unwrap();
    assert_eq!(stated.stages.last().unwrap().0, "P_1 calibrated at local prevalence");
    assert_eq!(stated.stages[..plain.stages.len()], plain.stages);
    let melanoma = set.tasks[0].index_of("MEL").unwrap();
    let sum = |answers: &dermafuse::infer::Answers| answers.last().probabilities[0].column(melanoma).sum();
    assert!(sum(&stated) > sum(&plain));
    // The seven other tasks stay as they are but for rounding.
    for (after, before) in stated.last().probabilities[1..].iter().zip(&plain.last().probabilities[1..]) {
        assert!(after.iter().zip(before).all(|(a, b)| (a - b).abs() < 1e-12));
    }
    // An estimate takes its place.
    let (again, _) = bundle.at_estimated_prevalence(stated).unwrap();
    assert_eq!(again.stages, estimated.stages);
    assert!(again.notes.iter().all(|note| !note.contains("as was stated")), "{:?}", again.notes);

    let error = bundle.assume_prevalence(&[("diagnosis".into(), "SKIN".into(), 0.9)]).unwrap_err().to_string();
    assert!(error.contains("`diagnosis.SKIN`; known: "), "{error}");
    let few = bundle.predict(&set.view(&rows[..49]).unwrap(), |_| ()).unwrap();
    assert!(bundle.at_estimated_prevalence(few).unwrap_err().to_string().contains("49 cases are too few"));
    // Probabilities that were not calibrated say too little.
    bundle.two_stage.prevalence.as_mut().unwrap().answered = None;
    let error = bundle.at_estimated_prevalence(plain).unwrap_err().to_string();
    assert!(error.contains("train it with second_stage.calibrated"), "{error}");
    // A model of an earlier version knows nothing of it.
    bundle.two_stage.prevalence = None;
    let error = bundle.assume_prevalence(&[]).unwrap_err().to_string();
    assert!(error.contains("of an earlier version"), "{error}");
}

#[test]
fn the_program_says_and_takes_prevalence() {
    let folder = tempfile::tempdir().unwrap();
    let shown = program("dermafuse").arg("show").arg(saved()).output().unwrap();
    // Whatever the longest heading is.
    let shown = text(&shown).split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "calibration from clinical+dermoscopic+fusion: diagnosis temperature ",
        "as among the training cases: diagnosis: ",
    ] {
        assert!(shown.contains(expected), "{shown}");
    }
    let file = folder.path().join("clinic.toml");
    std::fs::write(&file, "[diagnosis]\nMEL = 0.5\n").unwrap();
    let evaluate = |prevalence: &Path| {
        let mut command = program("dermafuse");
        command.arg("evaluate").arg(saved()).arg("--data").arg(format!("derm7pt={}", set_folder().display()));
        command.arg("--prevalence").arg(prevalence).arg("--out").arg(folder.path().join("out"));
        command.output().unwrap()
    };
    for prevalence in ["diagnosis.MEL=0.5", file.to_str().unwrap(), "estimate"] {
        let output = evaluate(Path::new(prevalence));
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("P_1 calibrated at local prevalence") && said.contains("DIAG, P_1 "), "{said}");
        assert!(said.contains("The probabilities assume classes that are as frequent as this"), "{said}");
        let page = std::fs::read_to_string(folder.path().join("out/report.html")).unwrap();
        assert!(
            page.contains("Calibration before and after") && page.contains("DIAG – P_1 calibrated at local prevalence")
        );
        let metrics = std::fs::read_to_string(folder.path().join("out/metrics.json")).unwrap();
        assert!(metrics.contains("\"calibration_error_equal_mass\""));
    }
    let refused = text(&evaluate(Path::new("diagnosis.MEL=5")));
    assert!(refused.contains("prevalence of `diagnosis.MEL`: 5 is not within 0..=1"), "{refused}");

    let image = &calibrated().0.cases[0].clinical[0];
    let predict = |words: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("predict").arg(saved()).arg("--clinical").arg(image).args(words);
        command.output().unwrap()
    };
    let stated = predict(&["--prevalence", "diagnosis.MEL=0.05", "--format", "json"]);
    let said = text(&stated);
    assert!(said.contains("as was stated: diagnosis: ") && said.contains("MEL 5.0 %"), "{said}");
    assert!(
        text(&predict(&["--prevalence", "estimate"])).contains("1 cases are too few to estimate a prevalence from")
    );
}

#[test]
fn the_program_adapts_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("adapted.safetensors");
    let adapt = |words: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("adapt").arg(saved()).arg("--data").arg(format!("derm7pt={}", set_folder().display()));
        command.arg("--out").arg(&out).args(words);
        command.output().unwrap()
    };
    let refused = text(&adapt(&["--least-per-class", "1000"]));
    assert!(
        refused.contains("fewer than 1000 labelled cases of diagnosis.") && refused.contains("--allow-rare"),
        "{refused}"
    );
    assert!(!out.exists());
    let output = adapt(&["--allow-rare"]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let name = &calibrated().0.name;
    assert!(said.contains(&format!("adapted to 160 cases of {name}, estimated in 5 folds")), "{said}");
    assert!(said.contains("DIAG, before") && said.contains("DIAG, after"), "{said}");
    assert!(text(&adapt(&["--allow-rare"])).contains("is there; give another file"));

    let (before, after) =
        (Bundle::load(saved(), &Device::flex()).unwrap(), Bundle::load(&out, &Device::flex()).unwrap());
    let origin = CalibrationOrigin::Local { data_set: name.clone() };
    assert_eq!(after.two_stage.calibration.as_ref().unwrap().origin, origin);
    let (old, new) = (before.prevalence().unwrap(), after.prevalence().unwrap());
    assert_eq!((&old.training, &old.learnt), (&new.training, &new.learnt));
    let assumed = new.assumed.as_ref().unwrap();
    assert_eq!(assumed.origin, PrevalenceOrigin::Local { data_set: name.clone(), cases: 160 });
    // As many cases as there are classes are added, as the model learnt them.
    let (set, task) = (&calibrated().0, &before.description.tasks[0]);
    let counts = set.whole().class_counts(0).unwrap();
    for (class, count) in task.classes.iter().zip(counts) {
        let more = task.classes.len() as f64;
        let expected = (count as f64 + more * old.training.share(&task.name, class).unwrap()) / (160.0 + more);
        assert!((assumed.prevalence.share(&task.name, class).unwrap() - expected).abs() < 1e-12);
    }
    let notes = after.notes().join("\n");
    assert!(notes.contains(&format!("calibrated (temperature) on 160 local cases of {name}")), "{notes}");
    assert!(notes.contains(&format!("as among 160 local cases of {name}")), "{notes}");
    let selected = |bundle: &Bundle| bundle.description.known_cases.counts()[1];
    assert_eq!(selected(&after), 160);
    assert!(selected(&before) < 160);
}
