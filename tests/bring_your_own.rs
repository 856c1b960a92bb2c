//! What other models say of the cases, joined by id: a branch like a network's, from the table to the program's answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dermafuse::data::{
    CaseSet, ColumnValue, EncodedColumn, ModelOutputs, RgbPixels, Strictness, decode, encode_png, pad_ufes_20,
};
use dermafuse::infer::{Note, OnnxAnswer};
use dermafuse::schema::{FieldKind, FieldRole, FieldValue, Predictions};
use dermafuse::{Device, Model, Patient};
use dermafuse_tests::engine_library::LIBRARIES;
use dermafuse_tests::{done, program, text};
use ndarray::ArrayD;
use serde_json::Value;

const CLASSES: [&str; 6] = ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"];

/// A drawn set in the layout of PAD-UFES-20, and a model that knows two cases of three and names the right class of most.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let pad = folder.path().join("pad");
    let mut draw = program("dermafuse");
    draw.args(["draw", "pad-ufes-20"]).arg(&pad).args(["--cases", "240", "--image-size", "32x32"]);
    done(draw);
    let set = pad_ufes_20::load(&pad).unwrap();
    let mut table = String::from("filename,p0,p1,p2,p3,p4,p5\n");
    for (row, case) in set.cases.iter().enumerate().filter(|(row, _)| row % 3 != 0) {
        let label = case.labels[0].unwrap();
        let said = if row % 5 == 0 { (label + 1) % 6 } else { label };
        let p = (0..6).map(|class| if class == said { "0.5" } else { "0.1" }).collect::<Vec<_>>().join(",");
        table.push_str(&format!("/somewhere/else/{},{p}\n", case.id));
    }
    fs::write(folder.path().join("model.csv"), table).unwrap();
    (folder, pad)
}

fn experiment(folder: &Path, more: &str) -> PathBuf {
    let classes = CLASSES.iter().enumerate().map(|(at, class)| format!("{class} = \"p{at}\"")).collect::<Vec<_>>();
    let text = format!(
        "recipe = \"bring_your_own\"\n[data.pad]\npath = \"pad\"\n[data.pad.outputs.other]\nfile = \"model.csv\"\n\
         case = \"filename\"\nclasses = {{ {} }}\n{more}",
        classes.join(", ")
    );
    let file = folder.join("mine.toml");
    fs::write(&file, text).unwrap();
    file
}

fn train(file: &Path, out: &Path, settings: &[&str]) -> Command {
    let mut command = program("dermafuse");
    command.arg("train").arg(file).arg("--out").arg(out);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn json(file: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn tables_of_other_models_are_weighed_with_the_record_tested_and_asked_for_again() {
    let (folder, pad) = folder();
    let file = experiment(folder.path(), "[split]\nfolds = 3\n");
    let out = folder.path().join("out");
    let printed = done(train(&file, &out, &[]));
    assert!(printed.contains("over 3 rounds"), "{printed}");
    let metrics = json(out.join("metrics.json"));
    let names: Vec<&str> =
        metrics["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["majority", "P_1", "P_2", "P_3 averaged", "P_3"]);
    // Two cases of three are tested, each once.
    let cases = metrics["rows"][1]["evaluation"]["cases"].as_u64().unwrap();
    assert_eq!(cases, 160);
    // Four of five are right.
    let accuracy = |row: usize| metrics["rows"][row]["evaluation"]["overall"]["accuracy"].as_f64().unwrap();
    assert!((accuracy(1) - 0.8).abs() < 0.02, "{}", accuracy(1));
    assert!(accuracy(4) > 0.7, "{}", accuracy(4));
    let measures = &metrics["measures"]["tasks"][0];
    assert!(
        measures["macro_f1"]["interval"]["lower"].as_f64().unwrap() < measures["macro_f1"]["value"].as_f64().unwrap()
    );
    let points: Vec<&str> =
        metrics["points"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(points, ["accurate", "balanced"]);
    assert!(!metrics["mistakes"]["surest"].as_array().unwrap().is_empty());
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    let pictures = ["The surest mistakes, in pictures", "What is taken for what, in pictures"];
    for heading in ["Operating points", "Net benefit", "The surest mistakes", "one class against the rest"]
        .into_iter()
        .chain(pictures)
    {
        assert!(report.contains(heading), "{heading}");
    }

    // The model asks for the same columns: a table of a case that it tested gives the answer that is in the results.
    let model = out.join("fold-1").join("model.safetensors");
    let mut show = program("dermafuse");
    show.arg("show").arg(&model);
    let card = done(show);
    assert!(card.contains("other.{ACK, BCC, MEL, NEV, SCC, SEK}") && card.contains("balanced accuracy"), "{card}");
    let table = folder.path().join("patients.csv");
    fs::write(
        &table,
        "case,age,other.ACK,other.BCC,other.MEL,other.NEV,other.SCC,other.SEK\n\
         a,50,0.05,0.05,0.75,0.05,0.05,0.05\nb,50,,,,,,\nc,50,0.5,0.1,,,,\n",
    )
    .unwrap();
    let answers = |more: &[&str]| {
        let mut predict = program("dermafuse");
        predict.arg("predict").arg(&model).arg("--table").arg(&table).args(["--format", "json"]).args(more);
        predict.output().unwrap()
    };
    let refused = text(&answers(&[]));
    assert!(refused.contains("`c`") && refused.contains("`other.MEL`"), "{refused}");
    let whole = fs::read_to_string(&table).unwrap();
    fs::write(&table, whole.lines().take(3).collect::<Vec<_>>().join("\n")).unwrap();
    let parsed = |more: &[&str]| -> Value {
        let output = answers(more);
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let plain = parsed(&[]);
    let of = |answers: &Value, case: usize| answers["cases"][case].clone();
    assert!(of(&plain, 0)["basis"].as_str().unwrap().starts_with("other"), "{plain}");
    assert!(of(&plain, 1)["basis"].as_str().unwrap().starts_with("uniform"), "{plain}");
    // In a program of one's own the columns are fields of the patient, and the answer is the same.
    let embedded = Model::open(&model, &Device::flex()).unwrap();
    let record = CLASSES.map(|class| (format!("other.{class}"), if class == "MEL" { 0.75 } else { 0.05 }));
    assert!(record.iter().all(|(name, _)| embedded.fields().iter().any(|field| field.name == *name)));
    let patient = record.iter().fold(Patient::new().set("age", 50), |patient, (name, p)| patient.set(name, *p));
    let answer = embedded.predict(&patient).unwrap();
    assert_eq!(answer.basis.branches, ["other"]);
    assert!(!answer.notes.iter().any(|note| matches!(note, Note::KnownAfterDiagnosis { .. })), "{:?}", answer.notes);
    let top = answer.task("diagnosis").unwrap().top();
    let said = &of(&plain, 0)["tasks"]["diagnosis"];
    assert_eq!(said["class"], top.class.as_str(), "{plain}");
    assert_eq!(said["probabilities"][&top.class].as_f64(), Some(top.probability), "{plain}");
    // A page without a server has no place for the columns, and says so before it writes anything.
    let error = embedded.to_onnx().unwrap().for_page().unwrap_err().to_string();
    assert!(error.contains("(other)") && error.contains("--onnx"), "{error}");
    let (dist, web) = (folder.path().join("dist"), folder.path().join("web"));
    fs::create_dir(&dist).unwrap();
    for name in ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"] {
        fs::write(dist.join(name), b"\0asm").unwrap();
    }
    let mut export = program("dermafuse");
    export.arg("export").arg(&model).arg("--web").arg(&web).arg("--runtime").arg(&dist);
    let output = export.output().unwrap();
    assert!(!output.status.success() && text(&output).contains("what other models say"), "{}", text(&output));
    assert!(!web.exists());

    let balanced = parsed(&["--point", "balanced"]);
    assert!(balanced["notes"].to_string().contains("at the point `balanced`"), "{balanced}");
    let unknown = text(&answers(&["--point", "sure"]));
    assert!(unknown.contains("unknown point `sure`; known: accurate, balanced"), "{unknown}");

    // A data set without the columns is refused, not answered from nothing.
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(&model).arg("--data").arg(format!("pad-ufes-20={}", pad.display()));
    evaluate.args(["--part", "all"]).arg("--out").arg(folder.path().join("evaluated"));
    let output = evaluate.output().unwrap();
    assert!(!output.status.success() && text(&output).contains("what `other` says"), "{}", text(&output));
}

/// What a file takes of these cases: a row of its columns for each other model, and the record encoded as its properties say.
fn inputs_of(onnx: &OnnxAnswer, model: &Model, set: &CaseSet, rows: &[usize]) -> Vec<(String, ArrayD<f32>)> {
    let value = |row: usize, field: &str| {
        let place = set.fields.iter().position(|known| known.name == field).unwrap();
        (&set.fields[place], set.cases[row].metadata[place])
    };
    let number = |row: usize, field: &str| match value(row, field) {
        (_, FieldValue::Number(number)) => number,
        _ => 0.0,
    };
    let columns = model.bundle().description.encoder.encoded_columns();
    let encoded = |row: usize, column: &EncodedColumn| match (&column.value, value(row, &column.field)) {
        (ColumnValue::Category { category }, (field, FieldValue::Category(at))) => {
            let FieldKind::Categorical { categories } = &field.kind else { panic!("{field:?}") };
            f64::from(u8::from(categories[at] == *category))
        }
        (ColumnValue::Number { mean, deviation }, (_, FieldValue::Number(number))) if *deviation > 0.0 => {
            (number - mean) / deviation
        }
        (ColumnValue::Missing, (_, FieldValue::Missing)) => 1.0,
        _ => 0.0,
    };
    let table = |width: usize, of: &dyn Fn(usize, usize) -> f64| {
        let values = rows.iter().flat_map(|&row| (0..width).map(move |at| of(row, at) as f32)).collect();
        ArrayD::from_shape_vec(vec![rows.len(), width], values).unwrap()
    };
    let of_others = onnx
        .others
        .iter()
        .map(|other| (other.input.clone(), table(other.columns.len(), &|row, at| number(row, &other.columns[at]))));
    let has_record = onnx.model.inputs().iter().any(|input| input.name == "record");
    let record = has_record.then(|| ("record".to_owned(), table(columns.len(), &|row, at| encoded(row, &columns[at]))));
    record.into_iter().chain(of_others).collect()
}

#[test]
fn one_onnx_file_answers_from_what_other_models_say() {
    let (folder, pad) = folder();
    let mut set = pad_ufes_20::load(&pad).unwrap();
    // Another model that says something of other cases, and one that gives three numbers of each.
    let (mut second, mut encoder) = ("case,q0,q1,q2,q3,q4,q5\n".to_owned(), "case,f0,f1,f2\n".to_owned());
    for (row, case) in set.cases.iter().enumerate() {
        let label = case.labels[0].unwrap();
        if row % 4 != 1 {
            let p = (0..6).map(|class| if class == label { "0.499" } else { "0.1" }).collect::<Vec<_>>().join(",");
            second.push_str(&format!("{},{p}\n", case.id));
        }
        let f = (0..3).map(|at| ((row * 7 + at) as f64).sin() + (label % (at + 2)) as f64);
        let f = f.map(|number| number.to_string()).collect::<Vec<_>>().join(",");
        encoder.push_str(&format!("{},{f}\n", case.id));
    }
    let tables = [("second", "case", "q", second), ("encoder", "case", "f", encoder)];
    let mut more = String::from("[split]\nfolds = 3\n[method.metadata]\nroles = \"include_image_derived\"\n");
    let mut joined = Vec::new();
    for (name, case, column, table) in &tables {
        let file = folder.path().join(format!("{name}.csv"));
        fs::write(&file, table).unwrap();
        more.push_str(&format!("[data.pad.outputs.{name}]\nfile = \"{name}.csv\"\ncase = \"{case}\"\n"));
        let columns = |count: usize| (0..count).map(|at| format!("{column}{at}")).collect::<Vec<_>>();
        let (classes, features): (Vec<(String, String)>, Vec<String>) = match *name {
            "second" => (CLASSES.iter().map(|class| (*class).to_owned()).zip(columns(6)).collect(), vec![]),
            _ => (vec![], columns(3)),
        };
        let words: Vec<String> = classes.iter().map(|(class, column)| format!("{class} = \"{column}\"")).collect();
        match features.is_empty() {
            true => more.push_str(&format!("classes = {{ {} }}\n", words.join(", "))),
            false => more.push_str(&format!("features = {features:?}\n")),
        }
        let classes = classes.into_iter().collect();
        joined.push(((*name).to_owned(), ModelOutputs { file, case: (*case).into(), classes, features }));
    }
    let classes = CLASSES.iter().enumerate().map(|(at, class)| ((*class).to_owned(), format!("p{at}"))).collect();
    let file = folder.path().join("model.csv");
    joined.push(("other".to_owned(), ModelOutputs { file, case: "filename".into(), classes, features: vec![] }));
    set.join_outputs(&joined.into_iter().collect()).unwrap();
    let experiment = experiment(folder.path(), &more);

    let engine = LIBRARIES[0].engine("threads=1");
    let kinds: [(&str, &[&str]); 3] = [
        ("beside", &["second_stage.calibrated=temperature"]),
        (
            "stacked",
            &[
                "second_stage.inputs=predictions_and_metadata",
                "second_stage.classifier=gradient_boosting",
                "second_stage.params=none",
            ],
        ),
        ("alone", &["second_stage.classifier=none", "second_stage.params=none", "second_stage.point=balanced"]),
    ];
    for (kind, settings) in kinds {
        let out = folder.path().join(kind);
        done(train(&experiment, &out, settings));
        let path = out.join("fold-1").join("model.safetensors");
        let model = Model::open(&path, &Device::flex()).unwrap();
        let onnx = model.to_onnx().unwrap();
        let names: Vec<&str> = onnx.model.inputs().iter().map(|input| input.name.as_str()).collect();
        let has_record = kind != "alone";
        assert_eq!(names, if has_record { &["record", "other", "second"][..] } else { &["other", "second"] });
        assert_eq!(onnx.others[1].columns, CLASSES.map(|class| format!("second.{class}")));
        let file = folder.path().join(format!("{kind}.onnx"));
        let mut export = program("dermafuse");
        export.arg("export").arg(&path).arg("--onnx").arg(&file);
        let printed = done(export);
        assert!(printed.contains("input     second float32 [N, 6]"), "{printed}");
        assert!(fs::read(&file).unwrap() == onnx.model.bytes(), "{kind}: the program writes another file");
        let partial: Vec<&str> = onnx.partial.iter().map(|answer| answer.outputs.as_str()).collect();
        let expected: &[&str] = match has_record {
            true => &[
                "from second+record",
                "from other+record",
                "from record",
                "from other+second",
                "from second",
                "from other",
                "from nothing",
            ],
            false => &["from second", "from other", "from nothing"],
        };
        assert_eq!(partial, expected);

        let Some(engine) = &engine else { continue };
        let session = engine.open(onnx.model.bytes()).unwrap();
        let run = |rows: &[usize], outputs: &[String], set: &CaseSet, spoilt: &dyn Fn(&str) -> bool| {
            let mut inputs = inputs_of(&onnx, &model, set, rows);
            // Whatever stands in the place of what is missing has no say.
            for (name, values) in &mut inputs {
                if spoilt(name) {
                    values.fill(0.0);
                }
            }
            let given: Vec<_> = inputs.iter().map(|(name, values)| (name.as_str(), values.view())).collect();
            session.run(&given, &outputs.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
        };
        let compare = |found: &ArrayD<f32>, expected: &Predictions, what: &str| {
            assert_eq!(found.shape(), expected.probabilities[0].shape(), "{kind}: {what}");
            let pairs = found.iter().zip(&expected.probabilities[0]);
            let most = pairs.map(|(left, right)| (f64::from(*left) - right).abs()).fold(0.0, f64::max);
            assert!(most <= 1e-6, "{kind}: {what}: {most:e}");
        };
        // The rows of cases of which there is everything.
        let rows_where = |wanted: [bool; 2]| {
            let is = |row: &usize| [!row.is_multiple_of(3), row % 4 != 1] == wanted;
            (0..set.len()).filter(is).collect::<Vec<usize>>()
        };
        let rows = rows_where([true, true]);
        let answers = model.bundle().predict(&set.view(&rows).unwrap(), |_| ()).unwrap();
        assert_eq!(onnx.ends_at, answers.stages.last().unwrap().0);
        let (last, before) = answers.stages.split_last().unwrap();
        assert!(before.iter().any(|(name, _)| name == "P_second") && before.iter().any(|(name, _)| name == "P_other"));
        let names = before.iter().map(|(name, _)| format!("{name}/diagnosis"));
        let names: Vec<String> = names.chain(["diagnosis".to_owned()]).collect();
        let found = run(&rows, &names, &set, &|_| false);
        for (found, (name, expected)) in found.iter().zip(before.iter().chain([last])) {
            compare(found, expected, name);
        }
        // Cases of which a model says nothing, or that have no record.
        let mut unrecorded = set.clone();
        for case in &mut unrecorded.cases {
            for (field, value) in unrecorded.fields.iter().zip(&mut case.metadata) {
                if field.role != FieldRole::ModelOutput {
                    *value = FieldValue::Missing;
                }
            }
        }
        for answer in &onnx.partial {
            let says = |name: &str| answer.models.iter().any(|model| model == name);
            let rows = rows_where([says("other"), says("second")]);
            let set = if answer.record || !has_record { &set } else { &unrecorded };
            let answers = model.bundle().predict(&set.view(&rows).unwrap(), |_| ()).unwrap();
            let (_, expected) = answers.stages.last().unwrap();
            let spoilt = |name: &str| !(says(name) || (name == "record" && answer.record));
            let found = run(&rows, &[format!("{}/diagnosis", answer.outputs)], set, &spoilt);
            compare(&found[0], expected, &answer.outputs);
            assert_eq!((&answer.sees_models, answer.first_stage), (&answer.models, has_record && !answer.record));
            assert!(!answer.empty_record, "{kind}: {}", answer.outputs);
        }
    }
}

#[test]
fn models_alone_are_weighed_and_what_does_not_fit_is_refused() {
    let (folder, _) = folder();
    let file = experiment(folder.path(), "[split]\nfolds = 3\n");
    let out = folder.path().join("alone");
    let alone = ["second_stage.classifier=none", "second_stage.params=none", "second_stage.point=balanced"];
    done(train(&file, &out, &alone));
    let metrics = json(out.join("metrics.json"));
    let last = metrics["rows"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "P_1 at point balanced");
    let refused = |settings: &[&str]| {
        let output = train(&file, &folder.path().join("refused"), settings).output().unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    let error = refused(&["second_stage.classifier=svm"]);
    assert!(error.contains("these are parameters of `logistic`, and second_stage.classifier is `svm`"), "{error}");
    let error = refused(&["second_stage.point=sure"]);
    assert!(error.contains("there is no point `sure`; the points are accurate, balanced"), "{error}");
    let error = refused(&["data.pad.outputs.other.case=file"]);
    assert!(error.contains("filename"), "{error}");
    let error = refused(&["second_stage.search.method=exact"]);
    assert!(error.contains("search the grid"), "{error}");
}

#[test]
fn a_learning_curve_says_what_more_cases_are_worth() {
    let (folder, _) = folder();
    let file = experiment(folder.path(), "[split]\nfolds = 3\n");
    let out = folder.path().join("curve");
    let compare = |more: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("compare").arg(&file).args(["--row", "Bring your own", "--over", "training_fraction=0.2,0.5,1"]);
        command.arg("--out").arg(&out).args(more);
        command
    };
    let printed = done(compare(&[]));
    assert!(printed.contains("Learning curve, balanced accuracy"), "{printed}");
    let curves = json(out.join("learning_curve.json"));
    let scores: Vec<&str> = curves.as_array().unwrap().iter().map(|curve| curve[0].as_str().unwrap()).collect();
    assert_eq!(scores, ["accuracy", "balanced accuracy", "macro F1", "macro AUC"]);
    for curve in curves.as_array().unwrap() {
        assert_eq!(curve[1][0][0], "Bring your own");
        let points = curve[1][0][1]["points"].as_array().unwrap();
        let cases: Vec<u64> = points.iter().map(|point| point["cases"].as_u64().unwrap()).collect();
        // Of 240 cases, of which 160 are dealt into folds, of which one trains; the others train too, but for tested patients.
        let whole = cases[2] as f64;
        assert!((cases[0] as f64 - 0.2 * whole).abs() < 0.05 * whole, "{cases:?}");
        assert!((cases[1] as f64 - 0.5 * whole).abs() < 0.05 * whole, "{cases:?}");
        for point in points {
            let [score, lower, upper] =
                [&point["score"]["mean"], &point["interval"]["lower"], &point["interval"]["upper"]];
            let [score, lower, upper] = [score, lower, upper].map(|value| value.as_f64().unwrap());
            assert!(lower <= score && score <= upper && lower < upper, "{point}");
            assert_eq!(point["score"]["n"], 3);
        }
        assert!(points[0]["gain"].is_null() && points[2]["gain_interval"]["lower"].is_f64(), "{curve}");
    }
    let rows = json(out.join("table.json"));
    let trained: Vec<u64> =
        rows.as_array().unwrap().iter().map(|row| row["training_cases"][0].as_u64().unwrap()).collect();
    assert!(trained[0] < trained[1] && trained[1] < trained[2], "{trained:?}");
    let report = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("How much data") && report.contains("Learning curve, macro AUC"));
    // What is done is read, with the same result.
    let before = fs::read(out.join("learning_curve.json")).unwrap();
    done(compare(&["--resume"]));
    assert_eq!(fs::read(out.join("learning_curve.json")).unwrap(), before);
    let output = train(&file, &folder.path().join("none"), &["training_fraction=0"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("above 0 and at most 1"), "{}", text(&output));
}

#[test]
fn what_stands_beside_other_lesions_is_learnt_and_asked_for() {
    let (folder, pad) = folder();
    let file = experiment(folder.path(), "[split]\nfolds = 3\n");
    let out = folder.path().join("beside");
    let beside = r#"data.pad.beside_other_lesions=["diameter_1", "other.MEL"]"#;
    let trees = ["second_stage.classifier=gradient_boosting", "second_stage.params=none"];
    let printed = done(train(&file, &out, &[beside, trees[0], trees[1]]));
    assert!(printed.contains("have other lesions of the same patient beside them"), "{printed}");
    let model = out.join("fold-1").join("model.safetensors");
    let mut show = program("dermafuse");
    show.arg("show").arg(&model);
    let card = done(show);
    assert!(card.contains("other.MEL.rank_among_others: a number"), "{card}");
    assert!(card.contains("(from the patient's other lesions in the table)"), "{card}");

    // A set is filled when it is asked about, as it was when it trained.
    let bundle = Model::open(&model, &Device::flex()).unwrap().bundle().clone();
    let mut set = pad_ufes_20::load(&pad).unwrap();
    let classes = CLASSES.iter().enumerate().map(|(at, class)| ((*class).to_owned(), format!("p{at}"))).collect();
    let outputs =
        ModelOutputs { file: folder.path().join("model.csv"), case: "filename".into(), classes, features: vec![] };
    set.join_outputs(&[("other".to_owned(), outputs)].into()).unwrap();
    let plain = bundle.predict(&set.whole(), |_| {}).unwrap();
    let with = set.with_other_lesions();
    assert!(with > 20 && with < set.len(), "{with}");
    let note = format!("among these cases (diameter_1, other.MEL): {with} of 240 cases have some");
    assert!(plain.notes.iter().any(|said| said.contains(&note)), "{:?}", plain.notes);
    let mut filled = set.clone();
    filled.add_other_lesions(&["diameter_1".to_owned(), "other.MEL".to_owned()]).unwrap();
    assert_eq!(bundle.predict(&filled.whole(), |_| {}).unwrap().stages, plain.stages);
    // Asked about alone, a case is answered beside the others of its table; without them it is a patient's only lesion.
    let row = (0..set.len()).find(|&row| filled.cases[row].metadata.last() != Some(&FieldValue::Missing)).unwrap();
    let one = bundle.predict(&set.view(vec![row]).unwrap(), |_| {}).unwrap();
    assert_eq!(one.last().probabilities[0].row(0), plain.last().probabilities[0].row(row));
    let output =
        train(&file, &folder.path().join("none"), &["data.pad.beside_other_lesions=[\"gender\"]"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("not a number"), "{}", text(&output));
}

#[test]
fn pictures_that_look_alike_are_found_and_shown() {
    let (folder, pad) = folder();
    let set = pad_ufes_20::load(&pad).unwrap();
    // The picture of one lesion, compressed anew, under another patient and another diagnosis.
    let original = &set.cases[0];
    let copy = set.cases.iter().find(|case| case.group != original.group && case.labels != original.labels).unwrap();
    let pixels = decode(&original.clinical[0], Strictness::Strict).unwrap();
    let mut bytes = pixels.data().to_vec();
    bytes[0] ^= 1;
    let pixels = RgbPixels::new(pixels.width(), pixels.height(), bytes).unwrap();
    fs::write(&copy.clinical[0], encode_png(&pixels)).unwrap();
    let file = experiment(folder.path(), "[split]\nfolds = 3\n");
    let page = folder.path().join("alike.html");
    let check = |more: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("check").arg(&file).arg("--near-duplicates").args(more);
        command
    };
    let said = done(check(&["--page", page.to_str().unwrap()]));
    assert!(
        said.contains("Every check that needs no training has passed.") && said.contains(" under two labels"),
        "{said}"
    );
    let html = fs::read_to_string(&page).unwrap();
    for words in ["Under two labels", original.id.as_str(), copy.id.as_str(), "data:image/jpeg;base64,"] {
        assert!(html.contains(words), "{words}");
    }
    let output = check(&["--json", "--distance", "4"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let pairs = found["near_duplicates"]["pairs"].as_array().unwrap();
    let names =
        |pair: &Value| [&pair["first"]["case"], &pair["second"]["case"]].map(|id| id.as_str().unwrap().to_owned());
    let both = [original.id.to_string(), copy.id.to_string()];
    let pair = pairs.iter().find(|pair| names(pair).iter().all(|name| both.contains(name))).unwrap();
    assert!(!pair["labels"].as_array().unwrap().is_empty() && pair["same_group"] == false, "{pair}");
    let conflicts = found["near_duplicates"]["label_conflicts"].as_u64().unwrap();
    let counted = pairs.iter().filter(|pair| !pair["labels"].as_array().unwrap().is_empty()).count();
    assert!(conflicts as usize == counted && conflicts >= 1);
    assert_eq!(found["near_duplicates"]["images"], 240);
    assert_eq!(found["data"]["rounds"], 3);
    let output = check(&["--distance", "60"]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("60 is not 48 or less"), "{}", text(&output));
}
