//! Models as files: what the table around a patient, damage, and an older format do to an answer.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::Device;
use dermafuse::data::{CaseSet, MetadataRoles, MissingFields};
use dermafuse::infer::{Answers, Bundle, MODEL_FILE, ModelFile, sha256_hex};
use dermafuse::networks::Network;
use dermafuse::recipes::Workplace;
use dermafuse::schema::{Field, FieldKind, FieldValue, Task, TaskSet};
use dermafuse::train::Silent;
use dermafuse_tests::{device_lock, small_recipe, small_set, text_of};
use serde_json::{Value, json};

/// A small two-stage model, its set and the rows of its test cases; trained once.
fn model() -> (Bundle, CaseSet, Vec<usize>) {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    let (set, split) = small_set();
    let bytes = MODEL.get_or_init(|| {
        let mut recipe = small_recipe(&set);
        recipe.first_stage.training.epochs = 1;
        recipe.metadata = MetadataRoles::IncludePostDiagnosis.into();
        let outcome = recipe.run(&set, &split, Workplace::on(&Device::flex()), &mut Silent).unwrap();
        assert!(outcome.bundle.two_stage.second_stage.is_some());
        outcome.bundle.to_bytes().unwrap()
    });
    (Bundle::from_bytes(bytes, &Device::flex()).unwrap(), set, split.test)
}

/// Probabilities of all stages, to the bit.
fn bits(answers: &Answers) -> Vec<Vec<u64>> {
    let tables = answers.stages.iter().flat_map(|(_, predictions)| &predictions.probabilities);
    tables.map(|table| table.iter().map(|value| value.to_bits()).collect()).collect()
}

/// The same set with its fields the other way round, their categories too, each with one more, and one more field.
fn told_otherwise(set: &CaseSet) -> CaseSet {
    let mut other = set.clone();
    other.fields.reverse();
    for field in &mut other.fields {
        if let FieldKind::Categorical { categories } = &mut field.kind {
            categories.reverse();
            categories.insert(0, "something new".into());
        }
    }
    other.fields.insert(1, Field::numeric("shoe size", dermafuse::schema::FieldRole::PreDiagnosis));
    for case in &mut other.cases {
        case.metadata.reverse();
        case.metadata.insert(1, FieldValue::Number(43.0));
        for (field, value) in other.fields.iter().zip(&mut case.metadata) {
            if let (FieldKind::Categorical { categories }, FieldValue::Category(index)) = (&field.kind, value) {
                *index = categories.len() - 1 - *index;
            }
        }
    }
    other
}

#[test]
fn an_answer_does_not_depend_on_the_table_around_a_patient() {
    let _lock = device_lock();
    let (bundle, set, test) = model();
    let rows = &test[..6];
    let expected = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap();
    let other = told_otherwise(&set);
    other.check().unwrap();
    let found = bundle.predict(&other.view(rows).unwrap(), |_| ()).unwrap();
    assert_eq!(bits(&found), bits(&expected));
    assert_eq!(found.notes, bundle.notes());

    // Alone, in another order, as the only case of the table.
    for (at, &row) in rows.iter().enumerate() {
        let alone = CaseSet { cases: vec![other.cases[row].clone()], split: None, ..other.clone() };
        let found = bundle.predict(&alone.whole(), |_| ()).unwrap();
        for ((_, one), (_, all)) in found.stages.iter().zip(&expected.stages) {
            for (one, all) in one.probabilities.iter().zip(&all.probabilities) {
                assert_eq!(one.row(0), all.row(at), "case {at}");
            }
        }
    }

    // A category that the model never saw is not recorded, and said; a field that is not there is refused by name.
    let (mut unknown, mut missing) = (other.clone(), other.clone());
    let sex = other.fields.iter().position(|field| field.name == "sex").unwrap();
    unknown.cases[rows[0]].metadata[sex] = FieldValue::Category(0);
    missing.cases[rows[0]].metadata[sex] = FieldValue::Missing;
    let found = bundle.predict(&unknown.view(rows).unwrap(), |_| ()).unwrap();
    assert_eq!(bits(&found), bits(&bundle.predict(&missing.view(rows).unwrap(), |_| ()).unwrap()));
    assert_eq!(
        found.notes[bundle.notes().len()..],
        ["1 of 6 cases have `sex` = `something new`, which the model never saw: it counts as not recorded."]
    );
    let mut renamed = other.clone();
    renamed.fields[sex].name = "gender".into();
    let error = bundle.predict(&renamed.view(rows).unwrap(), |_| ()).unwrap_err().to_string();
    assert!(error.starts_with("the set has no field `sex`, which the model uses; it has "), "{error}");
    let mut allowed = bundle.clone();
    allowed.description.encoder = allowed.description.encoder.with_missing_fields(MissingFields::Allow);
    let found = allowed.predict(&renamed.view(rows).unwrap(), |_| ()).unwrap();
    assert_eq!(
        found.notes[bundle.notes().len()..],
        ["The set has no field `sex`, which the model uses: it counts as not recorded."]
    );
}

#[test]
fn a_model_knows_who_made_it() {
    let _lock = device_lock();
    let (bundle, mut set, _) = model();
    let split = set.split.clone().unwrap_or_else(|| small_set().1);
    let answers = bundle.predict(&set.whole(), |_| ()).unwrap();
    let (trained, selected) = (split.train.len(), split.valid.len());
    assert_eq!((answers.seen.trained, answers.seen.selected, answers.seen.cases), (trained, selected, set.len()));
    assert!(answers.seen.to_string().ends_with("this is no test of it."), "{}", answers.seen);
    // Whatever the order of the table.
    set.cases.reverse();
    set.split = None;
    assert_eq!(bundle.predict(&set.whole(), |_| ()).unwrap().seen, answers.seen);
    let text = String::from_utf8_lossy(&bundle.to_bytes().unwrap()).into_owned();
    let id = set.cases.iter().map(|case| case.id.as_str()).max_by_key(|id| id.len()).unwrap();
    assert!(id.len() < 4 || !text.contains(id), "a model does not list patients: {id}");
}

#[test]
fn a_set_may_lack_classes_of_the_model() {
    let _lock = device_lock();
    let (bundle, set, test) = model();
    let expected = bundle.predict(&set.view(&test).unwrap(), |_| ()).unwrap();
    // The first task without its last class, and the others in another order.
    let mut tasks: Vec<Task> = set.tasks.iter().cloned().collect();
    let absent = tasks[0].classes.pop().unwrap();
    tasks[0].classes.reverse();
    tasks.reverse();
    let mut other = set.clone();
    for case in &mut other.cases {
        let classes = tasks.last().unwrap().classes.len();
        case.labels[0] = case.labels[0].filter(|&label| label < classes).map(|label| classes - 1 - label);
        case.labels.reverse();
    }
    other.tasks = TaskSet::new(tasks).unwrap();
    other.split = None;
    other.check().unwrap();
    let found = bundle.predict(&other.view(&test).unwrap(), |_| ()).unwrap();
    assert_eq!(bits(&found), bits(&expected));
    let note = &found.notes[bundle.notes().len()];
    assert!(note.contains(&format!("The set has no class {absent} of task ")), "{note}");
    let class = set.tasks[0].classes.len() - 1;
    for (found, expected) in found.last().labels.iter().zip(&expected.last().labels) {
        assert_eq!(found[1..], expected[1..]);
        assert_eq!(found[0], expected[0].filter(|&label| label != class));
    }
}

#[test]
fn one_bad_file_is_one_row_with_a_reason() {
    let _lock = device_lock();
    let (bundle, mut set, test) = model();
    let rows = &test[..5];
    let expected = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.jpg");
    fs::write(&broken, b"no image").unwrap();
    set.cases[rows[1]].dermoscopic = vec![broken.clone().into()];
    set.cases[rows[3]].clinical = vec![folder.path().join("missing.jpg").into()];
    let found = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap();
    assert_eq!(found.rows, [rows[0], rows[2], rows[4]]);
    assert_eq!(found.failed.iter().map(|case| case.row).collect::<Vec<_>>(), [rows[1], rows[3]]);
    assert!(found.failed[0].reason.contains("broken.jpg") && found.failed[1].reason.contains("missing.jpg"));
    for (at, whole) in [(0, 0), (1, 2), (2, 4)] {
        assert_eq!(found.last().probabilities[0].row(at), expected.last().probabilities[0].row(whole));
    }
    for &row in rows {
        set.cases[row].clinical = vec![broken.clone().into()];
    }
    let error = bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap_err().to_string();
    assert!(error.starts_with("no case could be answered; the first: ") && error.contains("broken.jpg"), "{error}");
}

/// Writes a model as format 1 did, with its `bundle.json` changed.
fn write_folder(folder: &Path, bundle: &Bundle, change: impl FnOnce(&mut Value)) {
    let network = bundle.network.valid().into_inference().into_record().into_bytes().unwrap();
    let two_stage = serde_json::to_vec_pretty(&bundle.two_stage).unwrap();
    let mut json = serde_json::to_value(&bundle.description).unwrap();
    let object = json.as_object_mut().unwrap();
    object.remove("known_cases");
    object.insert("format".into(), json!(1));
    object.insert("network_sha256".into(), json!(sha256_hex(&network)));
    object.insert("two_stage_sha256".into(), json!(sha256_hex(&two_stage)));
    let encoder = object["encoder"].as_object_mut().unwrap();
    let columns = encoder["columns"].as_array_mut().unwrap();
    let fields = columns.len();
    columns.iter_mut().enumerate().for_each(|(index, column)| column["index"] = json!(index));
    encoder.insert("fields".into(), json!(fields));
    change(&mut json);
    fs::write(folder.join("network.bpk"), &*network).unwrap();
    fs::write(folder.join("two_stage.json"), two_stage).unwrap();
    fs::write(folder.join("bundle.json"), serde_json::to_vec_pretty(&json).unwrap()).unwrap();
}

#[test]
fn models_of_the_older_format_are_read_and_checked() {
    let _lock = device_lock();
    let (bundle, set, test) = model();
    let folder = tempfile::tempdir().unwrap();
    let load = || Bundle::load(folder.path(), &Device::flex());
    write_folder(folder.path(), &bundle, |_| ());
    let old = load().unwrap();
    let (found, expected) = (
        old.predict(&set.view(&test).unwrap(), |_| ()).unwrap(),
        bundle.predict(&set.view(&test).unwrap(), |_| ()).unwrap(),
    );
    assert_eq!(bits(&found), bits(&expected));
    assert!(found.seen.to_string().starts_with("The model does not say which cases trained it"));

    type Change = fn(&mut Value);
    let changes: [(&str, Change); 12] = [
        ("99", |json| json["encoder"]["columns"][0]["index"] = json!(99)),
        ("observed category is 99", |json| json["encoder"]["columns"][0]["observed"] = json!([0, 99])),
        ("1000000000000", |json| json["encoder"]["fields"] = json!(1_000_000_000_000_u64)),
        ("`fields`", |json| json["encoder"]["fields"] = json!(1)),
        ("1000000000000", |json| json["preprocess"]["size"] = json!(1e12)),
        ("size", |json| json["preprocess"]["size"] = json!(100_000)),
        ("`format`: \"1\"", |json| json["format"] = json!("1")),
        ("`format`: 7", |json| json["format"] = json!(7)),
        ("no `format`", |json| drop(json.as_object_mut().unwrap().remove("format"))),
        ("do not fit the bundle's network", |json| json["network"]["classes"][0] = json!(77)),
        ("two or more distinct classes", |json| json["tasks"][0]["classes"] = json!(["one"])),
        ("is damaged: its SHA-256 is", |json| json["network_sha256"] = json!("0")),
    ];
    for (expected, change) in changes {
        write_folder(folder.path(), &bundle, change);
        let text = text_of(&load().unwrap_err());
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn parts_that_do_not_fit_together_are_named() {
    let _lock = device_lock();
    let (bundle, _, _) = model();
    let whole = ModelFile::from_bytes(&bundle.to_bytes().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(MODEL_FILE);
    let error = |file: ModelFile| {
        fs::write(&path, file.to_bytes().unwrap()).unwrap();
        text_of(&Bundle::load(&path, &Device::flex()).unwrap_err())
    };
    let described = |change: fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(&whole.description).unwrap();
        change(&mut json);
        error(ModelFile { description: json.to_string(), ..whole.clone() })
    };
    let staged = |change: fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(&whole.two_stage).unwrap();
        change(&mut json);
        error(ModelFile { two_stage: json.to_string(), ..whole.clone() })
    };
    let text = described(|json| drop(json["encoder"]["columns"].as_array_mut().unwrap().pop()));
    assert!(text.contains("metadata") || text.contains("features"), "{text}");
    let text = described(|json| json["known_cases"]["training"] = json!(["patient 8"]));
    assert!(text.contains("patient 8"), "{text}");
    assert!(staged(|json| json["mix"] = json!(7.0)).contains('7'));
    assert!(staged(|json| json["branch_weights"]["values"] = json!([0.0, 0.0, 0.0])).contains("branch weights"));
    let text = staged(|json| json["branch_weights"]["names"][0] = json!("sonography"));
    assert!(text.contains("sonography"), "{text}");
    let mut file = whole.clone();
    let lost = file.tensors.pop().unwrap().name;
    assert!(error(file).contains(&lost));
    let mut file = whole.clone();
    file.tensors[0].values.pop();
    fs::write(&path, file.to_bytes().unwrap()).unwrap();
    assert!(Bundle::load(&path, &Device::flex()).is_err());
}
