//! A trained model answers for one patient in a program of one's own as it answers for a case in files: both stages, views, records.

use std::fs;

use burn::tensor::Device;
use dermafuse::data::{Strictness, decode};
use dermafuse::infer::{Note, RecordValue};
use dermafuse::recipes::Workplace;
use dermafuse::schema::{Case, Field, FieldValue};
use dermafuse::train::Silent;
use dermafuse::{Model, Patient};
use dermafuse_tests::{device_lock, small_recipe, small_set};

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
    let outcome = small_recipe(&set).run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
    let bundle = outcome.bundle;
    assert_eq!(bundle.description.augmentation.views().len(), 6);
    let rows: Vec<usize> = split.test.iter().copied().take(4).collect();
    let answers = bundle.predict(&set, &rows, |_| ()).unwrap();
    let model = Model::new(bundle).unwrap();

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
        assert!(answer.basis.second_stage && answer.basis.clinical == 1 && answer.basis.dermoscopic == 1);
        let recorded = case.metadata.iter().filter(|value| **value != FieldValue::Missing).count();
        assert_eq!(answer.basis.fields.len(), recorded);
        assert!(answer.notes.contains(&Note::SyntheticTraining));
        assert!(answer.notes.contains(&Note::KnownAfterDiagnosis { field: "management".into() }));
        assert!(answer.seven_point.is_some());
    }

    // Without a record and without a photo, as a case in files that lacks both.
    let mut less = set.clone();
    let case = &mut less.cases[rows[0]];
    case.clinical.clear();
    case.metadata.fill(FieldValue::Missing);
    let expected = model.bundle().predict(&less, &rows[..1], |_| ()).unwrap();
    let answer = model.predict(&Patient::new().dermoscopic(&less.cases[rows[0]].dermoscopic[0])).unwrap();
    let diagnosis = answer.task("diagnosis").unwrap();
    let found: Vec<f64> = model.tasks()[0].classes.iter().map(|class| diagnosis.probability(class).unwrap()).collect();
    assert_eq!(found, expected.last().probabilities[0].row(0).to_vec());
    assert_eq!((answer.basis.to_string().as_str(), answer.basis.second_stage), ("dermoscopic image", false));
    assert!(answer.notes.contains(&Note::FirstStageAnswers));
}
