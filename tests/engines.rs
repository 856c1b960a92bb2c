//! What runs a network may be a library of the machine: the answers are those of Burn, and what is wrong with a library is an error.
//!
//! Where a library is absent its tests are skipped with a word, unless `DERMAFUSE_ONNXRUNTIME=required` or
//! `DERMAFUSE_OPENVINO=required` is set. `DERMAFUSE_PYTHON` names a Python that has the packages; without it they are looked for
//! as the program does.

use std::collections::BTreeMap;
use std::env::var_os;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use burn::tensor::Device;
use dermafuse::eval::EngineComparison;
use dermafuse::infer::{
    Bundle, Engine, EngineError, EngineSettings, ExplanationRequest, InferError, Note, OnnxSession, Precision,
};
use dermafuse::networks::Network;
use dermafuse::onnx::{Attribute, Dim, Element, Graph, NetworkShapes, ProductRanges, Range, Values, export_network};
use dermafuse::recipes::Workplace;
use dermafuse::schema::ndarray::{Array, ArrayD, IxDyn};
use dermafuse::train::Silent;
use dermafuse::{Model, Patient};
use dermafuse_tests::engine_library::LIBRARIES;
use dermafuse_tests::{device_lock, program, small_experiment, small_set, small_set_folder, text, uniform};
use serde_json::Value;

/// How far a probability may be from Burn's, where both compute in 32-bit floats.
const CLOSE: f64 = 1e-5;

/// Two stages over six views, trained for two epochs.
fn trained() -> &'static Bundle {
    static TRAINED: OnceLock<Bundle> = OnceLock::new();
    TRAINED.get_or_init(|| {
        let _lock = device_lock();
        let plan = small_experiment().plan().unwrap();
        let outcome = plan.run(Workplace::on(&Device::flex()), &mut Silent).unwrap();
        outcome.bundle().unwrap().clone()
    })
}

/// The stages of two models' answers to the test cases, compared.
fn compared(usual: &Bundle, other: &Bundle) -> EngineComparison {
    let (set, split) = small_set();
    let cases = set.view(&split.test).unwrap();
    let [left, right] = [usual, other].map(|bundle| bundle.predict(&cases, |_| ()).unwrap());
    EngineComparison::of((&left.engine, &left.stages), (&right.engine, &right.stages), None).unwrap()
}

#[test]
fn every_stage_over_every_view_is_as_burns() {
    let bundle = trained();
    for library in LIBRARIES {
        let Some(engine) = library.engine("") else { continue };
        let other = bundle.clone().with_engine(&engine).unwrap();
        let comparison = compared(bundle, &other);
        eprintln!("{}: {:.2e}", comparison.engine, comparison.largest);
        assert!(comparison.stages.len() > 3 && comparison.largest > 0.0, "{comparison:?}");
        assert!(comparison.largest <= CLOSE, "{}", comparison.to_text());
        assert!(comparison.tasks.iter().all(|task| task.changed == 0), "{}", comparison.to_text());
        assert_eq!((comparison.reference.name.as_str(), comparison.engine.precision.as_str()), ("Burn", "f32"));
        assert!(comparison.engine.version.split('.').count() >= 2, "{}", comparison.engine);
        // Burn again is Burn to the bit.
        assert_eq!(compared(bundle, &other.with_engine(&Engine::Burn).unwrap()).largest, 0.0);
    }
}

#[test]
fn batch_and_threads_change_last_digits_at_most() {
    let bundle = trained();
    for library in LIBRARIES {
        let (Some(one), Some(many)) = (library.engine("threads=1,batch=1"), library.engine("threads=2,batch=7")) else {
            continue;
        };
        let [one, many] = [one, many].map(|engine| bundle.clone().with_engine(&engine).unwrap());
        let comparison = compared(&one, &many);
        assert!(comparison.largest <= CLOSE, "{}", comparison.to_text());
    }
}

#[test]
fn a_case_alone_differs_from_itself_in_a_batch_by_last_digits() {
    let bundle = trained();
    for (library, precision) in [(LIBRARIES[0], "f32"), (LIBRARIES[1], "f32"), (LIBRARIES[1], "bf16")] {
        let of = |batch: usize| library.engine(&format!("threads=2,batch={batch},precision={precision}"));
        let (Some(alone), Some(batch)) = (of(1), of(8)) else { continue };
        let in_engine = |engine| match bundle.clone().with_engine(&engine) {
            Ok(bundle) => Some(bundle),
            Err(InferError::Engine(EngineError::Precision { .. })) => None,
            Err(error) => panic!("{error}"),
        };
        let (Some(alone), Some(batch)) = (in_engine(alone), in_engine(batch)) else { continue };
        let comparison = compared(&alone, &batch);
        println!(
            "{}: a probability of a case alone and in a batch of 8: {:.1e}",
            comparison.engine, comparison.largest
        );
        let most = if precision == "f32" { CLOSE } else { 0.1 };
        assert!(comparison.largest <= most, "{}", comparison.to_text());
        assert_eq!(compared(&alone, &alone.clone()).largest, 0.0, "the same question has the same answer");
    }
    // Burn's are the same to the bit, in every batch.
    let (set, split) = small_set();
    let [row, rest @ ..] = split.test.as_slice() else { panic!("there are test cases") };
    let answers = |rows: &[usize]| bundle.predict(&set.view(rows).unwrap(), |_| ()).unwrap().stages.pop().unwrap().1;
    let (alone, among) = (answers(&[*row]), answers(&[&[*row], rest].concat()));
    for (alone, among) in alone.probabilities.iter().zip(&among.probabilities) {
        assert_eq!(alone.row(0), among.row(0));
    }
}

#[test]
fn a_model_is_shared_by_threads_and_heat_stays_burns() {
    let bundle = trained();
    let (set, split) = small_set();
    let case = &set.cases[split.test[0]];
    let patient = Patient::new()
        .clinical(fs::read(&case.clinical[0]).unwrap())
        .dermoscopic(fs::read(&case.dermoscopic[0]).unwrap());
    let usual = Model::new(bundle.clone()).unwrap();
    let answer = usual.predict(&patient).unwrap();
    assert_eq!((answer.engine.name.as_str(), answer.engine.precision.as_str()), ("Burn", "f32"));
    assert!(!answer.notes.iter().any(|note| matches!(note, Note::RunBy { .. })));
    for library in LIBRARIES {
        let Some(engine) = library.engine("") else { continue };
        let model = usual.engine(&engine).unwrap();
        let answers = thread::scope(|scope| {
            let ask = || scope.spawn(|| (0..3).map(|_| model.predict(&patient).unwrap()).collect::<Vec<_>>());
            let threads: Vec<_> = (0..4).map(|_| ask()).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for found in &answers {
            for (own, other) in answer.tasks().iter().zip(found.tasks()) {
                for class in own.ranked() {
                    let difference = (class.probability - other.probability(&class.class).unwrap()).abs();
                    assert!(difference <= CLOSE, "{}: {difference:.2e}", found.engine);
                }
            }
            assert!(found.notes.contains(&Note::RunBy { engine: found.engine.clone() }), "{:?}", found.notes);
            assert_ne!(found.engine, answer.engine);
        }
        let request = ExplanationRequest::default();
        let [own, other] = [&usual, &model].map(|model| model.explain(&patient, &request).unwrap());
        assert_eq!(own.heat, other.heat);
        let [own, other] = [own, other].map(|explanation| explanation.contributions.unwrap());
        assert_eq!(own.inputs, other.inputs);
        for (own, other) in own.tasks.iter().zip(&other.tasks) {
            for (own, other) in own.shapley.iter().zip(&other.shapley) {
                assert!((own - other).abs() <= 10.0 * CLOSE, "{own} {other}");
            }
        }
    }
}

#[test]
fn sixteen_bits_are_for_those_who_ask() {
    let Some(_) = LIBRARIES[1].engine("") else { return };
    let bundle = trained();
    match bundle.clone().with_engine(&LIBRARIES[1].engine("precision=bf16").unwrap()) {
        Ok(other) => {
            let comparison = compared(bundle, &other);
            eprintln!("bf16: {:.2e}", comparison.largest);
            assert_eq!(comparison.engine.precision, "bf16");
            // More than rounding of 32 bits, and no other model.
            assert!(comparison.largest > CLOSE && comparison.largest < 0.2, "{}", comparison.to_text());
            let (set, split) = small_set();
            let answers = other.predict(&set.view(&split.test[..1]).unwrap(), |_| ()).unwrap();
            assert!(answers.notes.iter().any(|note| note.contains("in bf16 ran the network: probabilities differ")));
        }
        Err(InferError::Engine(EngineError::Precision { precision, .. })) => assert_eq!(precision, "bf16"),
        Err(error) => panic!("{error}"),
    }
    if let Some(engine) = LIBRARIES[0].engine("") {
        let Engine::OnnxRuntime(settings) = engine else { unreachable!() };
        let bf16 = Engine::OnnxRuntime(EngineSettings { precision: Precision::Bf16, ..settings });
        let error = bundle.clone().with_engine(&bf16).unwrap_err().to_string();
        assert!(
            error.contains("ONNX Runtime cannot compute in bf16 here") && error.contains("precision=f32"),
            "{error}"
        );
    }
}

/// A network of one sum, `sum = left + right`, as bytes of an ONNX file: what a writer of protocol buffers gives.
fn sum_of_two() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let number = |number: u8, value: u8| vec![number << 3, value];
    let tensor = |name: &str| {
        let sides = [field(1, &field(2, b"N")), field(1, &number(1, 2))].concat();
        let of_tensor = field(1, &[number(1, 1), field(2, &sides)].concat());
        [field(1, name.as_bytes()), field(2, &of_tensor)].concat()
    };
    let node = [field(1, b"left"), field(1, b"right"), field(2, b"sum"), field(4, b"Add")].concat();
    let graph = [
        field(1, &node),
        field(2, b"sums"),
        field(11, &tensor("left")),
        field(11, &tensor("right")),
        field(12, &tensor("sum")),
    ]
    .concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 17))].concat()
}

#[test]
fn any_file_runs_by_the_names_of_its_inputs_and_a_wrong_question_is_refused() {
    for library in LIBRARIES {
        let Some(engine) = library.engine("") else { continue };
        let session = engine.open(&sum_of_two()).unwrap();
        let names =
            |tensors: &[dermafuse::infer::OnnxTensor]| tensors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(session.inputs()), ["left [N, 2]", "right [N, 2]"]);
        assert_eq!(names(session.outputs()), ["sum [N, 2]"]);
        let table = |rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|value| value as f32).collect();
            Array::from_shape_vec(IxDyn(&[rows, columns]), values).unwrap()
        };
        let ask = |session: &dyn OnnxSession, inputs: &[(&str, &ArrayD<f32>)], outputs: &[&str]| {
            let views: Vec<_> = inputs.iter().map(|(name, values)| (*name, values.view())).collect();
            session.run(&views, outputs)
        };
        for rows in [1, 3, 2] {
            let (left, right) = (table(rows, 2), table(rows, 2));
            let found = ask(&*session, &[("right", &right), ("left", &left)], &["sum"]).unwrap();
            assert_eq!(found, [&left + &right]);
        }
        // Values that do not lie in a row.
        let (across, right) = (table(2, 3).t().to_owned(), table(3, 2));
        let views = [("left", table(2, 3).reversed_axes()), ("right", right.clone())];
        let views: Vec<_> = views.iter().map(|(name, values)| (*name, values.view())).collect();
        assert_eq!(session.run(&views, &["sum"]).unwrap(), [&across + &right]);

        let (one, two, wide) = (table(1, 2), table(2, 2), table(1, 3));
        let refused = |inputs: &[(&str, &ArrayD<f32>)], outputs: &[&str]| {
            let error = ask(&*session, inputs, outputs).unwrap_err();
            assert!(matches!(error, EngineError::Run { .. }), "{error}");
            error.to_string()
        };
        assert!(refused(&[("left", &one)], &["sum"]).contains("input right [N, 2] is missing"));
        assert!(refused(&[("left", &one), ("left", &one)], &["sum"]).contains("given twice"));
        assert!(
            refused(&[("left", &one), ("up", &one)], &["sum"])
                .contains("no input `up`; it has left [N, 2], right [N, 2]")
        );
        assert!(refused(&[("left", &one), ("right", &wide)], &["sum"]).contains("[1, 3] instead of right [N, 2]"));
        assert!(refused(&[("left", &one), ("right", &one)], &["product"]).contains("no output `product`; it has sum"));
        // Batches of two sizes: the library itself refuses them.
        let three = table(3, 2);
        refused(&[("left", &three), ("right", &two)], &["sum"]);
        assert_eq!(ask(&*session, &[("left", &two), ("right", &two)], &["sum"]).unwrap().len(), 1);
    }
}

#[test]
fn a_damaged_file_is_an_error() {
    let whole = sum_of_two();
    for library in LIBRARIES {
        let Some(engine) = library.engine("") else { continue };
        for bytes in [Vec::new(), whole[..whole.len() / 2].to_vec(), vec![0xFF; 64], b"\x7FELF".to_vec()] {
            match engine.open(&bytes) {
                Err(EngineError::Network { .. }) => {}
                other => panic!("{}: {other:?}", library.name),
            }
        }
        // Whatever is changed in it, nothing but a session or an error comes of it.
        for at in (0..whole.len()).step_by(13) {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let _ = engine.open(&changed);
        }
    }
    let error = Engine::Burn.open(&whole).unwrap_err().to_string();
    assert!(error.contains("it runs the networks of this library and no ONNX files"), "{error}");
}

#[test]
fn the_program_says_which_engine_answered() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = at("model.safetensors");
    trained().save(&model).unwrap();
    let data = format!("derm7pt={}", small_set_folder().display());
    let run = |words: &[&str]| {
        let output = program("dermafuse").args(words).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        output
    };
    for library in LIBRARIES {
        let Some(engine) = library.words("threads=2") else { continue };
        let (model, out) = (model.to_str().unwrap(), at(library.name));
        let evaluated = run(&["evaluate", model, "--data", &data, "--engine", &engine, "--out", out.to_str().unwrap()]);
        let metrics: Value = serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
        let (name, precision) = (metrics["engine"]["name"].as_str().unwrap(), &metrics["engine"]["precision"]);
        assert!(["ONNX Runtime", "OpenVINO"].contains(&name) && precision == "f32", "{}", metrics["engine"]);
        let sentence = format!("{name} {} in f32 ran the network.", metrics["engine"]["version"].as_str().unwrap());
        assert!(
            metrics["notes"].as_array().unwrap().iter().any(|note| note == sentence.as_str()),
            "{}",
            metrics["notes"]
        );
        assert!(fs::read_to_string(out.join("report.html")).unwrap().contains(&sentence));
        assert!(text(&evaluated).contains(&sentence), "{}", text(&evaluated));

        let words = ["check-engine", model, "--data", &data, "--engine", &engine, "--tolerance", "1e-5"];
        let printed = text(&run(&words));
        assert!(printed.contains("in f32, compared with Burn") && printed.contains("0 of"), "{printed}");
        let file = at("comparison.json");
        let json = run(&[&words[..], &["--json", "--out", file.to_str().unwrap()]].concat());
        assert_eq!(json.stdout, fs::read(&file).unwrap());
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        assert!(json["largest"].as_f64().unwrap() <= CLOSE && json["engine"]["name"] == name, "{json}");
        let strict = program("dermafuse").args(words).args(["--tolerance", "0"]).output().unwrap();
        assert_eq!(strict.status.code(), Some(2), "an option twice: {}", text(&strict));
        let strict = [&words[..6], &["--tolerance", "0"]].concat();
        let strict = program("dermafuse").args(strict).output().unwrap();
        assert_eq!(strict.status.code(), Some(1));
        assert!(text(&strict).contains("a probability differs by"), "{}", text(&strict));

        // Shares of two engines are no one work.
        let photos = at("photos");
        fs::create_dir_all(&photos).unwrap();
        let (set, split) = small_set();
        let mut rows = String::from("case,clinical,dermoscopic\n");
        for (at, &row) in split.test.iter().take(4).enumerate() {
            let case = &set.cases[row];
            rows += &format!("c{at},{},{}\n", case.clinical[0].path.display(), case.dermoscopic[0].path.display());
        }
        let table = photos.join("table.csv");
        fs::write(&table, rows).unwrap();
        let table = table.to_str().unwrap();
        let share = |engine: &str, part: &str, to: &Path| {
            run(&[
                "predict",
                model,
                "--table",
                table,
                "--engine",
                engine,
                "--shard",
                part,
                "--out",
                to.to_str().unwrap(),
            ])
        };
        let [first, second, other] = ["first", "second", "other"].map(|name| at(&format!("{}-{name}", library.name)));
        share(&engine, "1/2", &first);
        share(&engine, "2/2", &second);
        share("burn", "2/2", &other);
        let merge = |with: &Path, out: &str| {
            let out = at(&format!("{}-{out}", library.name));
            program("dermafuse").arg("merge").arg(&first).arg(with).arg("--out").arg(out).output().unwrap()
        };
        assert!(merge(&second, "joined").status.success());
        let error = text(&merge(&other, "mixed"));
        assert!(error.contains("are shares of different work") && error.contains("by Burn"), "{error}");
    }
    let refused =
        program("dermafuse").args(["check-engine", model.to_str().unwrap(), "--data", &data]).output().unwrap();
    assert!(text(&refused).contains("Burn is what an engine is compared with"), "{}", text(&refused));
}

/// A network of convolutions, normalizations and a record, as a file; the side of its images.
fn small_network() -> (Vec<u8>, usize) {
    let side = trained().description.preprocess.size;
    let tasks: Vec<&str> = trained().description.tasks.iter().map(|task| task.name.as_str()).collect();
    let shapes = NetworkShapes { images: [side, side], record: 0, tasks: &tasks };
    (export_network(&trained().network, &shapes).unwrap().into_bytes(), side)
}

#[test]
fn a_damaged_network_is_an_error_or_runs_but_ends_nothing() {
    let (whole, side) = small_network();
    let image = ArrayD::from_shape_fn(IxDyn(&[1, 3, side, side]), |at| {
        uniform("image", at[1] * side * side + at[2] * side + at[3]) as f32
    });
    // The nodes come first, and names of inputs and outputs last; between them are weights.
    let weights = 16_000.min(whole.len() / 2);
    let nodes = (0..24).map(|at| at * weights / 24);
    let rest = (1..4).map(|at| weights + at * (whole.len() - weights) / 4);
    let last = (1..6).map(|at| whole.len() - 37 * at);
    let places: Vec<usize> = nodes.chain(rest).chain(last).collect();
    for library in LIBRARIES {
        let Some(engine) = library.engine("threads=2") else { continue };
        let (mut refused, mut ran) = (0, 0);
        let mut ask = |bytes: &[u8], of: &str| match engine.open(bytes) {
            Err(EngineError::Network { .. }) => refused += 1,
            Err(error) => panic!("{} {of}: {error}", library.name),
            Ok(session) => {
                let names: Vec<String> = session.inputs().iter().map(|input| input.name.clone()).collect();
                let outputs: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
                let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
                let inputs: Vec<_> = names.iter().map(|name| (name.as_str(), image.view())).collect();
                match session.run(&inputs, &outputs) {
                    Ok(_) => ran += 1,
                    Err(EngineError::Run { .. }) => refused += 1,
                    Err(error) => panic!("{} {of}: {error}", library.name),
                }
            }
        };
        for &place in &places {
            let mut changed = whole.clone();
            changed[place] ^= 0x81;
            ask(&changed, &format!("with another byte at {place}"));
        }
        for length in [whole.len() - 1, whole.len() / 2, weights, 3] {
            ask(&whole[..length], &format!("cut off at {length}"));
        }
        eprintln!("{}: {refused} damaged files were refused, {ran} ran", library.name);
        assert!(refused > 8, "{refused}");
        // It is as before.
        assert!(engine.open(&whole).is_ok());
    }
}

#[test]
fn the_version_of_burn_that_answers_say_is_the_one_that_is_built() {
    let said = trained().engine_facts().version;
    let workspace = include_str!("../Cargo.toml");
    assert!(workspace.contains(&format!("burn = {{ version = \"={said}\"")), "{said}");
}

/// The name of a product, how many numbers are summed, and its weights, row-major, and bias.
type WeightedProduct = (&'static str, usize, Vec<f32>, Vec<f32>);

/// A convolution of 3 by 3 pixels behind a layer that looks at the image, a ReLU, and a matrix product over its pixels; and what the two
/// products are.
fn two_products() -> (Graph, [WeightedProduct; 2]) {
    const CHANNELS: [usize; 3] = [4, 5, 6];
    const SIDE: usize = 6;
    let numbers = |name: &str, count: usize, size: f64| -> Vec<f32> {
        (0..count).map(|at| (size * (2.0 * uniform(name, at) - 1.0)) as f32).collect()
    };
    let shape = |channels: usize| vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(SIDE), Dim::Fixed(SIDE)];
    let [first, second, third] = CHANNELS;
    let body = ("body/Conv", 9 * first, numbers("body", second * first * 9, 0.7), numbers("bias", second, 0.5));
    let tokens = ("tokens/MatMul", second, numbers("tokens", second * third, 1.5), Vec::new());
    let mut graph = Graph::new();
    let image = graph.input("image", Element::F32, shape(3));
    graph.set_layer("stem");
    let weight = graph.named_constant("stem.weight", Values::F32(numbers("stem", first * 3, 1.0)), &[first, 3, 1, 1]);
    let x = graph.node("Conv", &[image, weight], Vec::new(), Element::F32, shape(first));
    graph.set_layer("body");
    let weight = graph.named_constant("body.weight", Values::F32(body.2.clone()), &[second, first, 3, 3]);
    let bias = graph.named_constant("body.bias", Values::F32(body.3.clone()), &[second]);
    let pads = vec![("pads", Attribute::Ints(vec![1; 4]))];
    let x = graph.node("Conv", &[x, weight, bias], pads, Element::F32, shape(second));
    let x = graph.unary("Relu", x);
    // An output of the file would stay in floats; its distance from zero is what follows it.
    let map = graph.unary("Abs", x);
    graph.output("map", map);
    graph.set_layer("tokens");
    let x = graph.reshape(x, vec![Dim::Batch(1), Dim::Fixed(second), Dim::Fixed(SIDE * SIDE)]);
    let x = graph.transpose(x, &[0, 2, 1]); // [N, H · W, C]
    let weight = graph.named_constant("tokens.weight", Values::F32(tokens.2.clone()), &[second, third]);
    let y = graph.matmul(x, weight);
    graph.output("tokens", y);
    (graph, [body, tokens])
}

#[test]
fn a_product_in_eight_bits_is_as_far_off_as_its_steps_allow() {
    let image = ArrayD::from_shape_fn(IxDyn(&[4, 3, 6, 6]), |at| {
        (2.0 * uniform("image", at[0] * 108 + at[1] * 36 + at[2] * 6 + at[3]) - 1.0) as f32
    });
    for library in LIBRARIES {
        let Some(engine) = library.engine("") else { continue };
        let file = |graph: Graph| graph.into_model("two products", &[]).unwrap().into_bytes();
        let (mut graph, products) = two_products();
        let watched = graph.watch_products();
        let names: Vec<&str> = watched.iter().map(|product| product.name.as_str()).collect();
        assert_eq!(names, products.each_ref().map(|(name, ..)| *name), "not the layer that looks at the image");
        let session = engine.open(&file(graph)).unwrap();
        let ask = |session: &dyn OnnxSession, outputs: &[&str]| {
            session.run(&[("image", image.view())], outputs).unwrap().into_iter().collect::<Vec<_>>()
        };
        let range = |output: &str| {
            let found = ask(&*session, &[output])[0].iter().copied().collect::<Vec<f32>>();
            Range { low: found[0], high: found[1] }
        };
        let usual = ask(&*session, &["map", "tokens"]);
        let of_map = range(watched[0].output.as_deref().unwrap());
        assert_eq!(of_map.low, usual[0].iter().copied().fold(f32::INFINITY, f32::min));
        assert_eq!(of_map.high, usual[0].iter().copied().fold(0.0, f32::max));
        assert_eq!(watched[1].output, None);
        for (at, (name, fan_in, weights, bias)) in products.iter().enumerate() {
            let input = range(&watched[at].input);
            let ranges = ProductRanges { input, output: watched[at].output.as_deref().map(range) };
            let (mut graph, _) = two_products();
            graph.quantise(&BTreeMap::from([((*name).to_owned(), ranges)])).unwrap();
            let rounded = engine.open(&file(graph)).unwrap();
            let found = ask(&*rounded, &["map", "tokens"]).swap_remove(at);
            // Half a step of the input for each weight, half a step of the weight for each input, their product, and half a step of the
            // bias and of what comes out.
            let step = |range: Range| (range.high.max(0.0) - range.low.min(0.0)) / 255.0;
            let (of_input, of_output) = (step(input), ranges.output.map_or(0.0, step));
            let most = input.high.abs().max(input.low.abs());
            let channels = weights.len() / fan_in;
            let largest = |channel: usize| -> (f32, f32) {
                let own = weights.iter().enumerate().filter(|(place, _)| match bias.is_empty() {
                    false => place / fan_in == channel,
                    true => place % channels == channel,
                });
                own.fold((0.0, 0.0), |(sum, most): (f32, f32), (_, weight)| {
                    (sum + weight.abs(), most.max(weight.abs()))
                })
            };
            let bound = |channel: usize| {
                let (sum, largest) = largest(channel);
                let of_weight = largest / 127.0;
                let many = *fan_in as f32;
                let rounding = 0.5 * of_input * sum + many * 0.5 * of_weight * (most + 0.5 * of_input);
                rounding + 0.5 * of_input * of_weight + 0.5 * of_output + 1e-4
            };
            let axis = if bias.is_empty() { 2 } else { 1 };
            let mut differs = 0.0_f32;
            for (place, value) in found.indexed_iter() {
                let difference = (value - usual[at][&place]).abs();
                let channel = place[axis];
                assert!(
                    difference <= bound(channel),
                    "{} {name} {place:?}: {difference} > {}",
                    library.name,
                    bound(channel)
                );
                differs = differs.max(difference);
            }
            eprintln!("{} {name}: {differs:.4}, at most {:.4}", library.name, bound(0));
            assert!(differs > 1e-4, "{} computed {name} in floats", library.name);
        }
    }
}

/// The model that was trained, with ranges of its validation cases.
fn measured(engine: &Engine) -> Bundle {
    let (set, split) = small_set();
    let mut bundle = trained().clone();
    let ranges = bundle.measure_ranges(engine, &set.view(&split.valid).unwrap(), |_| ()).unwrap();
    assert_eq!((ranges.cases, ranges.engine.precision.as_str()), (split.valid.len(), "f32"));
    bundle.description.activation_ranges = Some(ranges);
    bundle
}

#[test]
fn eight_bits_are_for_models_that_were_measured() {
    let (set, split) = small_set();
    for library in LIBRARIES {
        let (Some(engine), Some(int8)) = (library.engine(""), library.engine("precision=int8")) else { continue };
        let error = trained().clone().with_engine(&int8).unwrap_err().to_string();
        assert!(error.contains("the model has no ranges") && error.contains("dermafuse quantise"), "{error}");
        let error = Model::new(trained().clone()).unwrap().to_int8_onnx().unwrap_err().to_string();
        assert!(error.contains("dermafuse quantise"), "{error}");
        let refused = |engine: &Engine, rows: &[usize]| {
            trained().measure_ranges(engine, &set.view(rows).unwrap(), |_| ()).unwrap_err().to_string()
        };
        let case = &set.cases[split.test[1]].id;
        let error = refused(&engine, &[split.valid[0], split.test[1]]);
        assert!(error.contains(&format!("case `{case}` tested the model")), "{error}");
        assert!(refused(&int8, &split.valid).contains("with which ranges are measured"));
        assert!(refused(&engine, &[]).contains("no case"));

        let bundle = measured(&engine);
        let ranges = bundle.description.activation_ranges.as_ref().unwrap();
        let layers: Vec<&str> = ranges.products.keys().map(String::as_str).collect();
        assert!(layers.len() > 20 && layers.iter().all(|name| name.ends_with("/Conv")), "{layers:?}");
        let other = bundle.clone().with_engine(&int8).unwrap();
        let comparison = compared(trained(), &other);
        eprintln!("{}: {:.2e}", comparison.engine, comparison.largest);
        assert_eq!(comparison.engine.precision, "int8");
        // More than rounding of 32 bits, and no other model.
        assert!(comparison.largest > CLOSE && comparison.largest < 0.2, "{}", comparison.to_text());
        let answers = other.predict(&set.view(&split.test[..1]).unwrap(), |_| ()).unwrap();
        assert!(answers.notes.iter().any(|note| note.contains("in int8 ran the network: probabilities differ")));
        // In floats it is the model that it was.
        let floats = bundle.clone().with_engine(&engine).unwrap();
        assert!(compared(trained(), &floats).largest <= CLOSE);

        // The file keeps them, to the bit, and an answer of it is the same.
        let bytes = bundle.to_bytes().unwrap();
        let read = Bundle::from_bytes(&bytes, &Device::flex()).unwrap();
        assert_eq!(read.description.activation_ranges.as_ref(), Some(ranges));
        assert_eq!(read.to_bytes().unwrap(), bytes);
        assert_eq!(compared(&other, &read.with_engine(&int8).unwrap()).largest, 0.0);

        // They are of this network, and of no other.
        let mut stranger = bundle.clone();
        stranger.network = bundle.description.network.init_seeded(99, &Device::flex()).unwrap();
        for error in [stranger.check().unwrap_err(), stranger.clone().with_engine(&int8).unwrap_err()] {
            assert!(matches!(error, InferError::RangesOfOther { .. }), "{error}");
        }
        assert!(stranger.to_bytes().is_err());
        let mut renamed = bundle.clone();
        let products = &mut renamed.description.activation_ranges.as_mut().unwrap().products;
        let (_, first) = products.pop_first().unwrap();
        products.insert("tail/Conv".into(), first);
        let error = renamed.with_engine(&int8).unwrap_err().to_string();
        assert!(error.contains("the network has no product `tail/Conv`"), "{error}");
    }
}

/// Asks two files about the same random bytes and prints the largest difference of an output.
const COMPARE_FILES: &str = "
import sys, numpy as np, onnxruntime
random = np.random.default_rng(1)
sessions = [onnxruntime.InferenceSession(name, providers=['CPUExecutionProvider']) for name in sys.argv[1:]]
shape = lambda tensor: [3 if isinstance(side, str) else side for side in tensor.shape]
image = lambda tensor: random.integers(0, 256, shape(tensor), np.uint8)
asked = {tensor.name: image(tensor) if tensor.type == 'tensor(uint8)' else np.zeros(shape(tensor), np.float32) for tensor in sessions[0].get_inputs()}
names = [[tensor.name for tensor in session.get_outputs()] for session in sessions]
assert names[0] == names[1]
words = [session.get_modelmeta().custom_metadata_map['dermafuse.precision'] for session in sessions]
tasks = [name for name in names[0] if name != 'embedding']
answers = [session.run(tasks, asked) for session in sessions]
print(*words, max(float(np.abs(one - other).max()) for one, other in zip(*answers)))
";

#[test]
fn the_program_measures_and_writes_eight_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, prepared) = (at("model.safetensors"), at("int8.safetensors"));
    trained().save(&model).unwrap();
    let data = format!("derm7pt={}", small_set_folder().display());
    let run = |words: &[&str]| program("dermafuse").args(words).output().unwrap();
    let Some(engine) = LIBRARIES[0].words("") else { return };
    let words = ["quantise", &model, "--data", &data, "--at-most", "5", "--engine", &engine, "--out", &prepared];
    let output = run(&words);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("ranges of 5 cases of derm7pt-synthetic, measured by ONNX Runtime"),
        "{}",
        text(&output)
    );
    assert!(text(&run(&words)).contains("is there; give another file"));
    assert!(text(&run(&["show", &prepared])).contains("8-bit integers"));
    for (library, name) in LIBRARIES.into_iter().zip(["ONNX Runtime", "OpenVINO"]) {
        let Some(engine) = library.words("precision=int8") else { continue };
        let refused = run(&["check-engine", &model, "--data", &data, "--engine", &engine]);
        assert!(text(&refused).contains("the model has no ranges of its activations"), "{}", text(&refused));
        let output = run(&["check-engine", &prepared, "--data", &data, "--engine", &engine, "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((json["engine"]["name"].as_str(), json["engine"]["precision"].as_str()), (Some(name), Some("int8")));
        assert!(json["largest"].as_f64().unwrap() < 0.2, "{json}");
    }
    let (floats, int8) = (at("f32.onnx"), at("int8.onnx"));
    let refused = run(&["export", &model, "--onnx", &int8, "--precision", "int8"]);
    assert!(text(&refused).contains("dermafuse quantise"), "{}", text(&refused));
    for (file, precision) in [(&floats, "f32"), (&int8, "int8")] {
        let output = run(&["export", &prepared, "--onnx", file, "--precision", precision]);
        assert!(output.status.success(), "{}", text(&output));
    }
    let size = |file: &str| fs::metadata(file).unwrap().len();
    // At 32 pixels the last stage has maps of one pixel, and stays in floats.
    assert!(size(&int8) < size(&floats), "{} {}", size(&int8), size(&floats));
    let python = var_os("DERMAFUSE_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).args(["-c", COMPARE_FILES, &floats, &int8]).output();
    match output {
        Ok(output) if output.status.success() => {
            let printed = text(&output);
            let difference = printed.trim().strip_prefix("f32 int8 ").unwrap().parse::<f64>().unwrap();
            assert!(difference > CLOSE && difference < 0.2, "{difference}");
        }
        output => {
            let said = output.map_or_else(|error| error.to_string(), |output| text(&output));
            assert!(!LIBRARIES[0].is_required(), "{said}");
            eprintln!("SKIPPED: the files are not asked from Python: {said}");
        }
    }
}

#[test]
fn a_file_that_sees_less_than_the_network_is_refused() {
    let network = &trained().network;
    let tasks = &trained().description.tasks;
    let side = trained().description.preprocess.size;
    for library in LIBRARIES {
        let Some(engine) = library.engine("") else { continue };
        // All outputs of the network, from the clinical photo alone.
        let mut graph = Graph::new();
        let shape = vec![Dim::Batch(1), Dim::Fixed(3), Dim::Fixed(side), Dim::Fixed(side)];
        let image = graph.input("clinical", Element::F32, shape);
        let mean = graph.reduce("ReduceMean", image, &[2, 3]);
        let mean = graph.reshape(mean, vec![Dim::Batch(1), Dim::Fixed(3)]);
        for branch in network.branches() {
            for task in tasks {
                let name = format!("{}/{}", branch.name, task.name);
                let classes = task.classes.len();
                let weight = graph.named_constant(&name, Values::F32(vec![0.1; 3 * classes]), &[3, classes]);
                let logits = graph.matmul(mean, weight);
                graph.output(&name, logits);
            }
        }
        let session = engine.open(&graph.into_model("blind", &[]).unwrap().into_bytes()).unwrap();
        let error = trained().clone().with_session(session, None).unwrap_err().to_string();
        assert!(error.contains("it has no input `dermoscopic`, which the network looks at"), "{error}");
    }
}
