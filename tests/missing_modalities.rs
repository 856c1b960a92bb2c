//! Cases that lack a photo, a dermoscopic image or a record: trained, tested, predicted and explained by a network with a classifier
//! for each subset of them; and batches that are balanced over the labels of all tasks.

use std::fs;
use std::sync::Arc;

use burn::tensor::Device;
use dermafuse::data::{CaseSet, Sampling, Split};
use dermafuse::infer::{Bundle, ImageBaseline, Input};
use dermafuse::recipes::{Experiment, Recipe, Workplace};
use dermafuse::schema::{FieldValue, Predictions};
use dermafuse::train::{Incomplete, OptimizerKind, Silent};
use dermafuse_tests::{device_lock, program, small_set, small_set_folder, text, train_small};

/// A row of the recipe, one epoch at 32 pixels.
fn small(row: &str) -> Experiment {
    let mut recipe = Recipe::shipped("modality_subsets").unwrap();
    recipe.set_data(&format!("derm7pt={}", small_set_folder().display())).unwrap();
    for words in [
        "method.network.backbone=resnet18_quarter",
        "method.weights=random",
        "training.preprocess.size=32",
        "training.epochs=1",
        "training.learning_rate=1e-3",
    ] {
        recipe.set(words).unwrap();
    }
    recipe.experiment_of(recipe.row(row).unwrap()).unwrap()
}

/// What is taken away from six test cases, and the branch that is left for each: photo, dermoscopic image, record, and two of them.
const LACKING: [([bool; 3], &str); 6] = [
    ([true, false, false], "dermoscopic_metadata"),
    ([false, true, false], "clinical_metadata"),
    ([false, false, true], "fusion"),
    ([true, false, true], "dermoscopic"),
    ([false, true, true], "clinical"),
    ([true, true, false], "metadata"),
];

/// Takes away what is said of photo, dermoscopic image and record.
fn take_away(set: &mut CaseSet, row: usize, [clinical, dermoscopic, record]: [bool; 3]) {
    let case = &mut set.cases[row];
    if clinical {
        case.clinical.clear();
    }
    if dermoscopic {
        case.dermoscopic.clear();
    }
    if record {
        case.metadata.fill(FieldValue::Missing);
    }
}

/// The small set, of which the first six test cases lack something.
fn lacking_set() -> (CaseSet, Split) {
    let (mut set, split) = small_set();
    for (&row, (what, _)) in split.test.iter().zip(LACKING) {
        take_away(&mut set, row, what);
    }
    (set, split)
}

fn bases(predictions: &Predictions) -> Vec<String> {
    predictions.basis.iter().map(ToString::to_string).collect()
}

const ALL: &str = "clinical+dermoscopic+metadata+clinical_metadata+dermoscopic_metadata+fusion+all";

#[test]
fn a_case_is_answered_by_the_classifier_of_what_it_has() {
    let _lock = device_lock();
    let (set, split) = lacking_set();
    let device = Device::flex();
    let plan_for =
        |row: &str, set: &CaseSet| small(row).plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
    for (row, of_complete) in
        [("Inception-unbalanced", "all"), ("Inception-balanced", "all"), ("Inception-combined", ALL)]
    {
        let outcome = plan_for(row, &set).run(Workplace::on(&device), &mut Silent).unwrap();
        let rows = outcome.predictions().unwrap();
        let (_, answers) = rows.last().unwrap();
        let expected: Vec<&str> = LACKING
            .iter()
            .map(|(_, branch)| *branch)
            .chain(std::iter::repeat(of_complete))
            .take(split.test.len())
            .collect();
        assert_eq!(bases(answers), expected, "{row}");
        // Five lack an image, three a record, among the training cases nobody.
        let notes = outcome.notes.join(" ");
        let all = split.test.len();
        assert!(
            notes.contains(&format!("5 of {all} test cases lack an image that the network looks at and are answered")),
            "{notes}"
        );
        assert!(
            notes.contains(&format!("Nothing is recorded of 3 of {all} test cases: they are answered by the branches")),
            "{notes}"
        );
        assert_eq!(notes.matches("Nothing is recorded").count(), 1, "{notes}");

        // The saved model says the same, of the row of the branch to the bit.
        let bundle = outcome.bundle().unwrap();
        let again = bundle.predict(&set.view(&split.test).unwrap(), |_| ()).unwrap();
        assert_eq!(bases(again.last()), expected, "{row}");
        for (case, (_, branch)) in LACKING.iter().enumerate() {
            let (_, of_branch) = again.stages.iter().find(|(name, _)| *name == format!("P_{branch}")).unwrap();
            for (answer, table) in again.last().probabilities.iter().zip(&of_branch.probabilities) {
                assert_eq!(answer.row(case), table.row(case), "{row}: {branch}");
            }
        }
        // What is missing has no say: a case that has it and one that does not are the same to a branch without it.
        let (complete, _) = small_set();
        let whole = bundle.predict(&complete.view(&split.test).unwrap(), |_| ()).unwrap();
        let (_, photos) = whole.stages.iter().find(|(name, _)| name == "P_clinical").unwrap();
        assert_eq!(again.last().probabilities[0].row(4), photos.probabilities[0].row(4), "{row}");
    }

    // Neither image nor record is a case that no branch can answer.
    let mut bare = set.clone();
    take_away(&mut bare, split.test[0], [true; 3]);
    let error = plan_for("Inception-combined", &bare).run(Workplace::on(&device), &mut Silent).unwrap_err().to_string();
    assert!(error.contains(bare.cases[split.test[0]].id.as_str()), "{error}");
}

/// Training cases that lack something train the branches that do without it, and no other.
#[test]
fn what_a_training_case_lacks_is_not_learnt_from() {
    let _lock = device_lock();
    let (complete, split) = small_set();
    let device = Device::flex();
    let logits = |set: &CaseSet| {
        let mut experiment = small("Inception-unbalanced");
        experiment.incomplete = Incomplete::Use;
        // The first step of Adam knows the signs of gradients alone.
        experiment.training.optimizer = OptimizerKind::Sgd { momentum: 0.0, nesterov: false };
        let plan = experiment.plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
        let outcome = plan.run(Workplace::on(&device), &mut Silent).unwrap();
        let test = &outcome.rounds[0].1.test;
        let of = |name: &str| test.branches.iter().find(|branch| branch.name == name).unwrap().logits[0].clone();
        (of("metadata"), of("clinical_metadata"), outcome.notes.join(" "))
    };
    let (record, both, _) = logits(&complete);
    // Without the photo of a case, the classifier of the record learns the same.
    let mut without_photo = complete.clone();
    take_away(&mut without_photo, split.train[0], [true, false, false]);
    let (same, other, notes) = logits(&without_photo);
    assert_eq!(same, record);
    assert_ne!(other, both);
    assert!(notes.contains("1 of") && notes.contains("training cases lack an image"), "{notes}");
    // Without its record, it learns something else.
    let mut without_record = complete.clone();
    take_away(&mut without_record, split.train[0], [false, false, true]);
    let (changed, _, notes) = logits(&without_record);
    assert_ne!(changed, record);
    assert!(notes.contains("training cases: they train the branches that do without"), "{notes}");
}

#[test]
fn the_program_predicts_tables_with_gaps_and_says_from_what() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let trained =
        train_small(&run, "modality_subsets", &["method.network.backbone=resnet18_quarter"]).output().unwrap();
    assert!(trained.status.success(), "{}", text(&trained));
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    // How often each label of each task was shown.
    for words in ["DIAG: ", "BWV: ", "times each"] {
        assert!(report.contains(words), "{words}");
    }

    let (set, _) = small_set();
    let case = &set.cases[0];
    let [photo, dermoscopic] = [&case.clinical[0], &case.dermoscopic[0]].map(|image| image.path.display().to_string());
    let rows = [
        ("complete", photo.as_str(), dermoscopic.as_str(), "female", ALL),
        ("no photo", "", &dermoscopic, "female", "dermoscopic_metadata"),
        ("no dermoscopy", &photo, "", "female", "clinical_metadata"),
        ("no record", &photo, &dermoscopic, "", "fusion"),
        ("a photo", &photo, "", "", "clinical"),
        ("a record", "", "", "male", "metadata"),
    ];
    let lines = rows.map(|(id, photo, dermoscopic, sex, _)| format!("{id},{photo},{dermoscopic},{sex}\n"));
    let table = folder.path().join("cases.csv");
    fs::write(&table, format!("case,clinical,dermoscopic,sex\n{}nothing,,,\n", lines.concat())).unwrap();
    let mut predict = program("dermafuse");
    predict.arg("predict").arg(&run).arg("--table").arg(&table).args(["--format", "jsonl"]);
    let output = predict.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let answers: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), rows.len() + 1);
    for (answer, (id, _, _, _, basis)) in answers.iter().zip(rows) {
        assert_eq!(answer["basis"], basis, "{id}: {answer}");
    }
    assert!(answers[rows.len()].to_string().contains("nothing"), "{}", answers[rows.len()]);
    assert!(answers[rows.len()]["basis"].is_null() || answers[rows.len()]["basis"] == "", "{}", answers[rows.len()]);
}

/// Leaving an input out is what the model answers without it, also where it is all that is recorded.
#[test]
fn contributions_know_what_is_answered_without_a_record() {
    let _lock = device_lock();
    let (mut set, split) = small_set();
    let outcome = small("Inception-balanced").plan_for(&[("derm7pt".into(), Arc::new(set.clone()))]).unwrap();
    let outcome = outcome.run(Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let bundle: &Bundle = outcome.bundle().unwrap();
    let row = split.test[0];
    let sex = set.fields.iter().position(|field| field.name == "sex").unwrap();
    for (place, value) in set.cases[row].metadata.iter_mut().enumerate() {
        if place != sex {
            *value = FieldValue::Missing;
        }
    }
    let contributions = bundle.contributions(&set, row, ImageBaseline::MeanColor).unwrap();
    for (index, input) in contributions.inputs.iter().enumerate() {
        let mut other = set.clone();
        let (what, basis) = match input {
            Input::Clinical => ([true, false, false], "dermoscopic_metadata"),
            Input::Dermoscopic => ([false, true, false], "clinical_metadata"),
            Input::Field(_) => ([false, false, true], "fusion"),
        };
        take_away(&mut other, row, what);
        let without = bundle.predict(&other.view(vec![row]).unwrap(), |_| ()).unwrap();
        assert_eq!(bases(without.last()), [basis]);
        let task = &contributions.tasks[0];
        let expected = without.last().probabilities[0][[0, task.class]];
        assert!((task.without[index].unwrap() - expected).abs() < 1e-5, "{input}");
        let logit = bundle.explained_logit(&other, row, 0).unwrap();
        assert_eq!(logit.branches.names(), [basis]);
    }
    assert_eq!(contributions.inputs.len(), 3);
}

#[test]
fn balanced_batches_are_checked_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let refused = |settings: &[&str]| {
        let settings = [&["method.network.backbone=resnet18_quarter"], settings].concat();
        let output = train_small(&out, "modality_subsets", &settings).output().unwrap();
        assert!(!output.status.success() && !out.exists(), "{}", text(&output));
        text(&output)
    };
    let said = refused(&["training.sampling.per_label=0"]);
    assert!(
        said.contains("--set training.sampling.per_label=0: training.sampling.per_label: must be 1 or more, found 0"),
        "{said}"
    );
    let said = refused(&["training.micro_batch_size=7"]);
    assert!(said.contains("micro_batch_size must be at least 2 and a divisor of batch_size"), "{said}");

    // A label that no training case has is named with its task.
    let (mut set, _) = small_set();
    let veil = set.tasks.index_of("blue_whitish_veil").unwrap();
    set.cases.iter_mut().for_each(|case| case.labels[veil] = Some(0));
    let experiment = small("Inception-balanced");
    assert!(matches!(experiment.training.sampling, Sampling::LabelBalanced { per_label: 1, .. }));
    let plan = experiment.plan_for(&[("derm7pt".into(), Arc::new(set))]).unwrap();
    let error = plan.check(Workplace::on(&Device::flex()), &mut Silent).unwrap_err().to_string();
    assert!(error.contains("blue_whitish_veil") && error.contains("no case of class"), "{error}");
}
