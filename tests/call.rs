//! A trained model answers for one patient in a program of one's own as it answers for a case in files: both stages, views, records.

use std::fs;

use burn::tensor::Device;
use dermafuse::data::{Strictness, decode};
use dermafuse::infer::{Note, RecordValue, TrainingSummary};
use dermafuse::recipes::{Experiment, Workplace};
use dermafuse::schema::{Case, Field, FieldValue};
use dermafuse::settings::Settings;
use dermafuse::train::Silent;
use dermafuse::{Model, Patient};
use dermafuse_tests::{device_lock, small_experiment, small_set};

/// The record of a case by names.
fn with_record(patient: Patient, fields: &[Field], case: &Case) -> Patient {
    let values = fields.iter().zip(&case.metadata);
    values.fold(patient, |patient, (field, value)| match value {
        FieldValue::Number(number) => patient.set(&field.name, *number),
        _ => patient.set(&field.name, field.text(value).map_or(RecordValue::NotRecorded, RecordValue::Text)),
    })
}

#[test]
fn two_stages_over_six_views_answer_for_bytes_and_pixels_as_for_files() {
    let _lock = device_lock();
    let (set, split) = small_set();
    let mut experiment = small_experiment();
    experiment.card.licence = Some("for practice".into());
    let plan = experiment.plan().unwrap();
    let outcome = plan.run(Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let bundle = outcome.bundle().unwrap().clone();
    assert_eq!(bundle.description.augmentation.views().len(), 6);
    let rows: Vec<usize> = split.test.iter().copied().take(4).collect();
    let answers = bundle.predict(&set.view(&rows).unwrap(), |_| ()).unwrap();
    let model = Model::new(bundle).unwrap();
    let card = model.card().unwrap();
    assert_eq!((card.texts.licence.as_deref(), card.experiment.as_str()), (Some("for practice"), &*experiment.title));
    let TrainingSummary { training_cases, epochs, .. } = card.training.as_ref().unwrap();
    assert_eq!((*training_cases, *epochs), (split.train.len(), 2));

    for (at, &row) in rows.iter().enumerate() {
        let case = &set.cases[row];
        let images = Patient::new()
            .clinical(fs::read(&case.clinical[0]).unwrap())
            .dermoscopic(decode(&case.dermoscopic[0], Strictness::Strict).unwrap());
        let answer = model.predict(&with_record(images, &set.fields, case)).unwrap();
        for (task, table) in model.tasks().iter().zip(&answers.last().probabilities) {
            let answer = answer.task(&task.name).unwrap();
            let found: Vec<f64> = task.classes.iter().map(|class| answer.probability(class).unwrap()).collect();
            assert_eq!(found, table.row(at).to_vec(), "{}, {}", case.id, task.name);
            assert_eq!(
                answer.top().class,
                task.classes[answers.last().predicted(at, model.tasks().index_of(&task.name).unwrap())]
            );
        }
        let stage = &model.bundle().two_stage;
        let weights = stage.branch_weights.names().iter().zip(stage.branch_weights.values());
        let used: Vec<&str> = weights.filter(|(_, weight)| **weight > 0.0).map(|(name, _)| name.as_str()).collect();
        assert_eq!(answer.basis.branches.len(), used.len());
        let looks = |alone: &str| usize::from(used.contains(&alone) || used.contains(&"fusion"));
        assert_eq!([answer.basis.clinical, answer.basis.dermoscopic], ["clinical", "dermoscopic"].map(looks));
        let recorded = case.metadata.iter().filter(|value| **value != FieldValue::Missing).count();
        assert!(answer.basis.second_stage && recorded > 0);
        assert_eq!(answer.basis.fields.len(), if stage.mix < 1.0 { recorded } else { 0 });
        assert!(answer.notes.contains(&Note::SyntheticTraining));
        assert!(answer.notes.contains(&Note::KnownAfterDiagnosis { field: "management".into() }));
        assert!(answer.seven_point.is_some());
    }

    // Without a record and without a photo, as a case in files that lacks both.
    let mut less = set.clone();
    let case = &mut less.cases[rows[0]];
    case.clinical.clear();
    case.metadata.fill(FieldValue::Missing);
    let expected = model.bundle().predict(&less.view(&rows[..1]).unwrap(), |_| ()).unwrap();
    let answer = model.predict(&Patient::new().dermoscopic(&less.cases[rows[0]].dermoscopic[0])).unwrap();
    let diagnosis = answer.task("diagnosis").unwrap();
    let found: Vec<f64> = model.tasks()[0].classes.iter().map(|class| diagnosis.probability(class).unwrap()).collect();
    assert_eq!(found, expected.last().probabilities[0].row(0).to_vec());
    assert_eq!((answer.basis.to_string().as_str(), answer.basis.second_stage), ("dermoscopic image", false));
    assert!(answer.notes.contains(&Note::FirstStageAnswers));
}

#[test]
fn the_words_of_a_card_are_settings_of_the_experiment() {
    let read = |line: &str| {
        let text = format!("recipe = \"fusionm4net\"\n[card]\n{line}\n");
        Experiment::read(Settings::parse("mine.toml", &text).unwrap()).map_err(|error| error.to_string())
    };
    let experiment = read("licence = \"CC BY-NC 4.0\"").unwrap();
    assert_eq!(experiment.card.licence.as_deref(), Some("CC BY-NC 4.0"));
    // Who repeats the experiment has them too.
    let again = Experiment::read(Settings::parse("again.toml", &experiment.to_toml()).unwrap()).unwrap();
    assert_eq!(again.card, experiment.card);
    let error = read("license = \"MIT\"").unwrap_err();
    assert!(error.starts_with("mine.toml: line 3, column 1: card: there is no setting `license`"), "{error}");
    let error = read("contact = \" \"").unwrap_err();
    assert!(error.contains("line 3") && error.contains("an empty text says nothing; leave it out"), "{error}");
}
