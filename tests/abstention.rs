//! Groups of classes with operating points, sets of classes, training without some of the inputs, and what a report says of patients:
//! fitted on validation cases, stored in the model, evaluated by the program.

use std::fs;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse::data::{CaseSet, ModalityDropout};
use dermafuse::eval::{GroupEvaluation, SetEvaluation};
use dermafuse::infer::{Bundle, Model, Patient};
use dermafuse::recipes::{AbstentionSettings, Experiment, GroupSettings, Outcome, Workplace, evaluate_subsets};
use dermafuse::schema::{Coverage, FieldValue, Predictions};
use dermafuse::settings::Settings;
use dermafuse::train::Silent;
use dermafuse_tests::{device_lock, program, small_experiment, small_set, small_set_folder, text, train_small};
use serde_json::Value;

/// The small experiment with a question and sets.
fn asking() -> Experiment {
    let mut experiment = small_experiment();
    let members = [("soon".to_owned(), vec!["MEL".to_owned()]), ("later".into(), vec!["BCC".into(), "MISC".into()])];
    let mut group = GroupSettings::new("diagnosis", members.into());
    (group.positive, group.sensitivity) = (vec!["soon".into(), "later".into()], Some(0.8));
    experiment.groups.insert("referral".into(), group);
    experiment.abstention = Some(AbstentionSettings { error_rate: 0.2, coverage: Coverage::Marginal });
    experiment
}

fn run(experiment: &Experiment, set: &CaseSet) -> Outcome {
    let plan = experiment.plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
    plan.run(Workplace::on(&Device::flex()), &mut Silent).unwrap()
}

fn answers(bundle: &Bundle, set: &CaseSet, rows: &[usize]) -> Predictions {
    bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap().last().clone()
}

#[test]
fn operating_points_and_sets_stand_on_validation_cases_alone() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let outcome = run(&asking(), &set);
    let bundle = outcome.bundle().unwrap();
    let description = &bundle.description;
    let fitted = &description.groups[0];
    let point = fitted.operating_point.expect("the validation cases are of both kinds");

    // What it was worth where it was chosen: counted anew.
    let valid = answers(bundle, &set, &split.valid);
    let (scores, truths) = (fitted.group.scores(&valid).unwrap(), fitted.group.truths(&valid).unwrap());
    let said: Vec<(bool, bool)> =
        scores.iter().zip(&truths).filter_map(|(&score, truth)| Some(((*truth)?, point.says_yes(score)))).collect();
    let positives = said.iter().filter(|(truth, _)| *truth).count();
    let found = said.iter().filter(|(truth, yes)| *truth && *yes).count();
    assert_eq!((point.positives, point.negatives), (positives, said.len() - positives));
    assert!((point.sensitivity - found as f64 / positives as f64).abs() < 1e-12 && point.sensitivity >= 0.8);
    // One more case with a no would miss the aim.
    let mut yes: Vec<f64> =
        scores.iter().zip(&truths).filter(|(_, truth)| **truth == Some(true)).map(|(s, _)| *s).collect();
    yes.sort_by(f64::total_cmp);
    let next = yes.iter().find(|score| **score > point.threshold).unwrap();
    let fewer = yes.iter().filter(|score| *score > next).count();
    assert!((fewer as f64) < 0.8 * positives as f64);

    let sets = description.prediction_sets.as_ref().unwrap();
    let covered = SetEvaluation::of(&[(&valid, sets)]).unwrap();
    for (task, quantiles) in covered.tasks.iter().zip(&sets.tasks) {
        // Of the cases that the quantile is of, at least the promised share is covered.
        assert!(quantiles.all.score.is_some() && task.marginal.covered.value.unwrap() >= 0.8, "{}", task.task);
    }

    // Test cases with other labels change nothing.
    let mut other = set.clone();
    for &row in &split.test {
        for (label, task) in other.cases[row].labels.iter_mut().zip(&set.tasks) {
            *label = label.map(|label| (label + 1) % task.classes.len());
        }
    }
    let again = run(&asking(), &other);
    assert_eq!(again.bundle().unwrap().description.groups, description.groups);
    assert_eq!(again.bundle().unwrap().description.prediction_sets, description.prediction_sets);
    assert_ne!(again.bundle().unwrap().description.performance, description.performance);

    // The file says it all, and is checked as it is read.
    let bytes = bundle.to_bytes().unwrap();
    let read = Bundle::from_bytes(&bytes, &Device::flex()).unwrap();
    assert_eq!(read.description, *description);
    let mut wrong = bundle.clone();
    wrong.description.groups.push(fitted.clone());
    assert!(wrong.check().unwrap_err().to_string().contains("`referral` twice"));
    let mut wrong = bundle.clone();
    wrong.description.prediction_sets.as_mut().unwrap().tasks.swap(0, 1);
    assert!(wrong.check().is_err());
    let mut wrong = bundle.clone();
    wrong.description.performance.as_mut().unwrap().task = "streaks".into();
    assert!(wrong.check().unwrap_err().to_string().contains("`streaks`"));

    // The answer for one patient has all of it.
    let model = Model::new(bundle.clone()).unwrap();
    let case = &set.cases[split.test[0]];
    let patient = Patient::new().clinical(case.clinical[0].clone()).dermoscopic(case.dermoscopic[0].clone());
    let answer = model.predict(&patient.set("sex", "female")).unwrap();
    let referral = answer.group("referral").unwrap();
    assert_eq!((referral.yes, referral.threshold), (Some(point.says_yes(referral.probability)), Some(point.threshold)));
    assert_eq!(
        referral.members.iter().map(|found| found.member.as_str()).collect::<Vec<_>>(),
        ["later", "soon", "rest"]
    );
    assert!(answer.group("other").unwrap_err().to_string().contains("it has referral"));
    let diagnosis = answer.task("diagnosis").unwrap();
    let probabilities: Vec<f64> =
        set.tasks[0].classes.iter().map(|class| diagnosis.probability(class).unwrap()).collect();
    assert_eq!(diagnosis.decision(), Some(&sets.decide(0, &probabilities)));
    let evidence = answer.evidence.as_ref().unwrap();
    assert_eq!(evidence.like_this[0].label(), "sex: female");
    assert!(evidence.not_known.contains(&"location is not recorded.".to_owned()), "{:?}", evidence.not_known);

    // The summary of the test cases is that of an evaluation.
    let test = answers(bundle, &set, &split.test);
    let performance = description.performance.as_ref().unwrap();
    assert_eq!(performance.all.accuracy.value, test.accuracy(0));
    let evaluation = GroupEvaluation::of(&[(&test, fitted)]).unwrap();
    let point = evaluation.operating_point.unwrap();
    assert_eq!(performance.all.questions[0].sensitivity, point.sensitivity);
    assert_eq!(performance.all.questions[0].specificity, point.specificity);
    let sex = performance.groups.iter().filter(|group| group.field == "sex");
    assert_eq!(sex.map(|group| group.numbers.cases).sum::<usize>(), split.test.len());
}

#[test]
fn groups_and_sets_need_validation_cases_and_known_classes() {
    let (set, _) = small_set();
    let file = r#"
        recipe = "fusionm4net"
        split = { kind = "drawn", shares = [0.8, 0.0, 0.2] }
        method = { weights = "random", network.backbone = "resnet18_quarter" }
        second_stage = { answer = "all", classifier = "none" }
        training.preprocess.size = 32
    "#;
    let mut experiment = Experiment::read(Settings::parse("small.toml", file).unwrap()).unwrap();
    let refused = |experiment: &Experiment| {
        let plan = experiment.plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
        plan.check(Workplace::on(&Device::flex()), &mut Silent).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&experiment), None);
    experiment.groups = asking().groups;
    let error = refused(&experiment).unwrap();
    assert!(error.contains("operating points of groups of classes are chosen (groups) on validation cases"), "{error}");
    experiment.groups.clear();
    experiment.abstention = asking().abstention;
    let error = refused(&experiment).unwrap();
    assert!(error.contains("sets of classes are fitted (abstention) on validation cases"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let refused = |settings: &[&str]| {
        let settings = [&["method.network.backbone=resnet18_quarter"], settings].concat();
        let output = train_small(&out, "fusionm4net", &settings).output().unwrap();
        assert!(!output.status.success() && !out.exists(), "{}", text(&output));
        text(&output)
    };
    let said = refused(&["groups.a={ task = \"diagnosis\", soon = [\"MEL\", \"SCC\"] }"]);
    assert!(said.contains("groups.a.soon: `SCC` is not a class of task `diagnosis`, which are"), "{said}");
    let said =
        refused(&["groups.a={ task = \"diagnosis\", soon = [\"MEL\"], later = [\"MEL\"], positive = [\"soon\"] }"]);
    assert!(said.contains("`MEL` is not in one list only"), "{said}");
    let said = refused(&["training.modality_dropout={ metadata = 0.5 }"]);
    assert!(said.contains("modality_dropout must be of what the network looks at"), "{said}");
}

/// A network that looks at the photo and the record, with a branch for the photo and one for both.
fn with_record(dropout: Option<ModalityDropout>) -> Experiment {
    let text = r#"
        recipe = "jif"
        data = { pad = "none", derm7pt.kind = "derm7pt" }
        split.kind = "published"
        method = { weights = "random", network.backbone = "resnet18_quarter" }
        training = { epochs = 2, patience = "none", batch_size = 8, learning_rate = 1e-2, preprocess.size = 32 }
        evaluation.views = 0
    "#;
    let mut experiment = Experiment::read(Settings::parse("small.toml", text).unwrap()).unwrap();
    experiment.training.modality_dropout = dropout;
    experiment
}

const DROPOUT: ModalityDropout = ModalityDropout { clinical: 0.3, dermoscopic: 0.3, metadata: 0.3 };

#[test]
fn a_network_that_was_trained_to_miss_something_answers_without_it() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let mut experiment = small_experiment();
    let images = ModalityDropout { metadata: 0.0, ..DROPOUT };
    experiment.training.modality_dropout = Some(images);
    experiment.evaluation.subsets = true;
    let outcome = run(&experiment, &set);
    let bundle = outcome.bundle().unwrap();
    assert_eq!(bundle.description.modality_dropout, Some(images));
    // The same seed gives the same bytes, and another training than without.
    let bytes = bundle.to_bytes().unwrap();
    assert_eq!(run(&experiment, &set).bundle().unwrap().to_bytes().unwrap(), bytes);
    let without = run(&small_experiment(), &set);
    assert_ne!(without.rounds[0].1.test.branches[0].logits, outcome.rounds[0].1.test.branches[0].logits);

    // A case without photo: the fusion branch answers too, where it was trained for it.
    let row = split.test[0];
    let mut less = set.clone();
    less.cases[row].clinical.clear();
    let answering = |bundle: &Bundle| {
        let logits = bundle.logits(&less.view([row].as_slice()).unwrap(), |_| ()).unwrap();
        let answering = logits.branches.into_iter().filter(|branch| branch.available[0]);
        answering.map(|branch| branch.name).collect::<Vec<_>>()
    };
    assert_eq!(answering(bundle), ["dermoscopic", "fusion"]);
    assert_eq!(answering(without.bundle().unwrap()), ["dermoscopic"]);
    // Nobody answers from nothing.
    less.cases[row].dermoscopic.clear();
    assert!(bundle.predict(&less.view([row].as_slice()).unwrap(), |_| ()).is_err());

    // All subsets of images and the second stage's record, with their cases.
    let subsets = outcome.subsets().unwrap();
    let table: Vec<(String, bool)> =
        subsets.subsets.iter().map(|subset| (subset.modalities.join("+"), subset.evaluation.is_some())).collect();
    let expected = [
        ("clinical", true),
        ("dermoscopic", true),
        ("metadata", false),
        ("clinical+dermoscopic", true),
        ("clinical+metadata", true),
        ("dermoscopic+metadata", true),
        ("clinical+dermoscopic+metadata", true),
    ];
    assert_eq!(table, expected.map(|(name, answered)| (name.to_owned(), answered)));
    assert_eq!(*subsets, evaluate_subsets(bundle, &set.view(&split.test).unwrap(), &mut Silent).unwrap());
    let all = subsets.subsets.last().unwrap().evaluation.as_ref().unwrap();
    let (_, answer) = outcome.predictions().unwrap().pop().unwrap();
    assert_eq!(all.overall.accuracy, answer.mean_accuracy());
}

#[test]
fn records_are_left_out_too_and_a_killed_run_goes_on_the_same() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let dropout = ModalityDropout { dermoscopic: 0.0, ..DROPOUT };
    let experiment = with_record(Some(dropout));
    let whole = run(&experiment, &set);
    let folder = tempfile::tempdir().unwrap();
    let plan = |experiment: &Experiment| experiment.plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
    let device = Device::flex();
    let place = Workplace::on(&device).in_folder(folder.path(), true);
    plan(&experiment).run(place, &mut Silent).unwrap();
    // The last epoch's checkpoint is lost, as if the run had been killed before it.
    let last = walk(folder.path()).into_iter().filter(|path| path.ends_with("epoch-00002"));
    let removed: Vec<_> = last.inspect(|path| fs::remove_dir_all(path).unwrap()).collect();
    assert!(!removed.is_empty(), "{:?}", walk(folder.path()));
    let resumed = plan(&experiment).run(place, &mut Silent).unwrap();
    assert_eq!(resumed.rounds[0].1.test, whole.rounds[0].1.test);
    // Another dropout is another run.
    let other = with_record(Some(ModalityDropout { metadata: 0.5, ..dropout }));
    let error = plan(&other).run(place, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("training.modality_dropout.metadata"), "{error}");

    // A case without a record, or of which there is nothing but the record, is answered.
    let model = Bundle::load(folder.path(), &device).unwrap();
    let row = split.test[0];
    let mut record = set.clone();
    record.cases[row].clinical.clear();
    record.cases[row].dermoscopic.clear();
    let answer = answers(&model, &record, &[row]);
    assert_eq!(answer.len(), 1);
    let mut images = set.clone();
    images.cases[row].metadata.fill(FieldValue::Missing);
    assert_ne!(answers(&model, &images, &[row]).probabilities, answer.probabilities);
}

/// Every folder below one.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        found.extend(walk(&entry.path()));
        found.push(entry.path());
    }
    found
}

#[test]
fn the_program_says_when_to_refer_when_to_abstain_and_for_whom() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = [
        "method.network.backbone=resnet18_quarter",
        "groups.referral={ task = \"diagnosis\", soon = [\"MEL\"], sensitivity = 0.8 }",
        "abstention={ error_rate = 0.2, coverage = \"class_conditional\" }",
        "training.modality_dropout={ clinical = 0.2 }",
    ];
    let trained = train_small(&run, "fusionm4net", &settings).output().unwrap();
    let said = text(&trained);
    assert!(trained.status.success(), "{said}");
    for words in
        ["referral (soon), ", "operating point for sensitivity 0.8: sensitivity", "sets for an error rate of 20 %"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Classes with too few validation cases are named.
    assert!(said.contains("have fewer than the 4 validation cases"), "{said}");
    let file = fs::read_to_string(run.join("experiment.toml")).unwrap();
    assert!(file.contains("[groups.referral]") && file.contains("error_rate = 0.2"), "{file}");

    let out = folder.path().join("evaluated");
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(&run).args(["--subsets", "--out"]).arg(&out);
    evaluate.arg("--data").arg(format!("derm7pt={}", small_set_folder().display()));
    let output = evaluate.output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("referral (soon), ") && said.contains("clinical + dermoscopic + metadata"), "{said}");
    let read = |folder: &std::path::Path| -> Value {
        serde_json::from_slice(&fs::read(folder.join("metrics.json")).unwrap()).unwrap()
    };
    let (trained, evaluated) = (read(&run), read(&out));
    assert_eq!(evaluated["class_groups"], trained["class_groups"]);
    assert_eq!(evaluated["prediction_sets"], trained["prediction_sets"]);
    assert_eq!(evaluated["risk_coverage"], trained["risk_coverage"]);
    assert_eq!(evaluated["subsets"]["subsets"].as_array().unwrap().len(), 7);
    assert!(trained["subsets"].is_null());
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    let sections =
        ["evidence", "results", "class-groups", "abstention", "subsets"].map(|id| format!("section id=\"{id}\""));
    let places: Vec<usize> = sections.iter().map(|section| report.find(section).expect(section)).collect();
    assert!(places.is_sorted(), "{places:?}");
    for words in
        ["What is not known", "sex: female", "the images are generated", "by age, by skin type", "referral SEN"]
    {
        assert!(report.contains(words), "{words}");
    }

    let show = program("dermafuse").arg("show").arg(&run).output().unwrap();
    let said = text(&show);
    for words in ["referral: is the diagnosis soon?", "class-conditional", "clinical 20 %", "right in"] {
        assert!(said.contains(words), "{words}: {said}");
    }

    let (set, _) = small_set();
    let page = folder.path().join("case.html");
    let mut explain = program("dermafuse");
    explain.arg("explain").arg(&run).arg("--clinical").arg(&set.cases[0].clinical[0]);
    explain.arg("--dermoscopic").arg(&set.cases[0].dermoscopic[0]).args(["--field", "sex=female", "--out"]).arg(&page);
    let output = explain.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("How well it does for patients like this one") && page.contains("sex: female"));
    assert!(!page.contains("sex: male") && page.contains("location is not recorded."), "{page}");
}
