//! Exported networks and answers against ONNX Runtime and OpenVINO: the same inputs, the same numbers.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{MetadataEncoder, MetadataRoles, Preprocess};
use dermafuse::ensemble::{
    AnswerCalibration, AnswerPattern, AssumedPrevalence, CalibrationMethod, CalibrationOrigin, ClassifierCluster,
    ClassifierKind, ClassifierParams, FeatureHeads, GraphLogits, HeadCases, HeadInputs, HeadSettings, ImageFeatures,
    ModelPrevalence, OffsetForm, PointSearch, Prevalence, PrevalenceOrigin, SecondStage, TwoStage,
};
use dermafuse::infer::{Bundle, BundleDescription, Note, OnnxAnswer, TestTimeAugmentation};
use dermafuse::networks::{
    AnyNetwork, FrozenEncodersConfig, FusionNetConfig, ImageClassifierConfig, Modalities, Modality, MultimodalInput,
    Network, NetworkConfig, NetworkKind,
};
use dermafuse::onnx::{Dim, Element, Graph, NetworkShapes, OnnxError, OnnxModel, TensorFacts, export_network};
use dermafuse::schema::{
    BranchLogits, BranchWeights, Case, Cohort, Field, FieldRole, FieldValue, FuseSpace, Task, TaskSet,
};
use dermafuse::{Answer, Model, Patient, PatientError, PatientImage};
use dermafuse_tests::incomplete_cases::{Given, RECORD as FIELDS, encoded, models};
use dermafuse_tests::onnx_checker::{Bounds, Checker, Job, Numbers};
use dermafuse_tests::staged_model::{branch_logits, cohort};
use dermafuse_tests::{device_lock, numbers_of, text_of, uniform};
use ndarray::Array2;

/// Networks: sums of 32-bit floats in another order. Floats of 16 bits have eight of fraction, so that each rounding moves a number by up to
/// 2^-9 = 0.002 of it, and some fifty layers one after the other by more: 0.091 is the largest that was seen.
const NETWORK: Bounds = Bounds { onnx_runtime: 1e-5, open_vino: 1e-5, sixteen_bits: 0.2 };

/// What comes after the network, of the same logits, in 64-bit floats. OpenVINO computes it in 32 bits, or in 16 where it chooses them for the
/// file: 0.083 is the largest that was seen.
const STAGE: Bounds = Bounds { onnx_runtime: 1e-9, open_vino: 1e-5, sixteen_bits: 0.2 };

/// The same where an answer has steps or steep lines (trees, isotonic calibration): a number at a step may come to lie on its other side, so that
/// 16 bits have no bound.
const STEPS: Bounds = Bounds { onnx_runtime: 1e-9, open_vino: 1e-4, sixteen_bits: 1.0 };

/// Probabilities of whole answers.
const WHOLE: Bounds = Bounds { onnx_runtime: 1e-5, ..STAGE };

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Numbers {
    let shape = tensor.dims().to_vec();
    Numbers { shape, kind: "float32", values: tensor.clone().into_data().iter::<f64>().collect() }
}

fn filled<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|at| (4.0 * uniform(name, at) - 2.0) as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

const CLASSES: [usize; 2] = [3, 2];
const TASKS: [&str; 2] = ["diagnosis", "pigment network"];
const RECORD: usize = 7;

fn export(network: &AnyNetwork, side: usize) -> Result<OnnxModel, OnnxError> {
    export_network(network, &NetworkShapes { images: [side, side], record: RECORD, tasks: &TASKS })
}

/// What a file should answer to a batch.
fn job(network: &AnyNetwork, file: &Path, side: usize, batch: usize, device: &Device) -> Job {
    let Modalities { clinical, dermoscopic, metadata } = network.modalities();
    let image = |is_there: bool, name: &str| is_there.then(|| filled(name, [batch, 3, side, side], device));
    let input = MultimodalInput {
        clinical: image(clinical, "clinical"),
        dermoscopic: image(dermoscopic, "dermoscopic"),
        metadata: metadata.then(|| filled("record", [batch, RECORD], device)),
    };
    let mut inputs = BTreeMap::new();
    for (name, image) in [("clinical", &input.clinical), ("dermoscopic", &input.dermoscopic)] {
        inputs.extend(image.as_ref().map(|image| (name.to_owned(), numbers(image))));
    }
    inputs.extend(input.metadata.as_ref().map(|record| ("record".to_owned(), numbers(record))));
    let output = network.forward(input);
    let mut outputs = BTreeMap::from([("embedding".to_owned(), numbers(&output.embedding))]);
    for branch in &output.branches {
        for (task, logits) in TASKS.iter().zip(&branch.logits) {
            outputs.insert(format!("{}/{task}", branch.name), numbers(logits));
        }
    }
    Job { file: file.to_owned(), inputs, outputs }
}

/// Cases in a batch.
const BATCH: usize = 8;

#[test]
fn every_network_with_every_fusion_answers_the_same_in_every_engine() {
    let _lock = device_lock();
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let mut checker = Checker::start();
    for kind in NetworkKind::ALL {
        for (at, config) in kind.examples(&CLASSES, RECORD).into_iter().enumerate() {
            let network = config.init_seeded(5, &device).unwrap().valid();
            let file = folder.path().join(format!("{}_{at}.onnx", kind.name()));
            let model = export(&network, 64).unwrap_or_else(|error| panic!("{config:?}: {error}"));
            let Some(checker) = &mut checker else { continue };
            std::fs::write(&file, model.bytes()).unwrap();
            checker.check(&job(&network, &file, 64, BATCH, &device), &NETWORK);
            std::fs::remove_file(file).unwrap();
        }
    }
    checker.iter().for_each(Checker::report);
}

#[test]
fn every_backbone_answers_the_same_in_every_engine() {
    let _lock = device_lock();
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut checker) = Checker::start() else { return };
    for kind in BackboneKind::ALL {
        let side = kind.min_size().max(64);
        let config = ImageClassifierConfig::new(kind, Modality::Dermoscopic, CLASSES.to_vec());
        let network = NetworkConfig::ImageClassifier(config).init_seeded(3, &device).unwrap().valid();
        let file = folder.path().join(format!("{kind}.onnx"));
        let model = export(&network, side).unwrap_or_else(|error| panic!("{kind}: {error}"));
        std::fs::write(&file, model.bytes()).unwrap();
        checker.check(&job(&network, &file, side, 2, &device), &NETWORK);
        // One file at a time: some are of hundreds of megabytes.
        std::fs::remove_file(file).unwrap();
    }
    checker.report();
}

/// Every second stage, mix, calibration, point and correction there is.
fn stages(logits: &BranchLogits) -> Vec<(String, TwoStage)> {
    let tasks = &logits.tasks;
    let weights = |fusion| BranchWeights::new([("clinical", 1.0), ("dermoscopic", 2.0), ("fusion", fusion)]).unwrap();
    let mut stages = Vec::new();
    for space in [FuseSpace::Logits, FuseSpace::Probabilities] {
        stages.push((format!("{space:?}"), TwoStage::new(weights(1.5), space, None, 1.0).unwrap()));
    }
    for kind in ClassifierKind::ALL {
        let first = logits.fuse(&weights(0.0), FuseSpace::Logits).unwrap();
        let params = ClassifierCluster::params(kind, 3);
        let stage = SecondStage::fit(&params, &first, &logits.cohort).unwrap();
        stages.push((kind.to_string(), TwoStage::new(weights(0.0), FuseSpace::Logits, Some(stage), 0.4).unwrap()));
        let alone = SecondStage::fit_to_metadata(&params, &first, &logits.cohort).unwrap();
        stages
            .push((format!("{kind} alone"), TwoStage::new(weights(0.0), FuseSpace::Logits, Some(alone), 0.0).unwrap()));
    }
    let with_svm = stages[2].1.clone();
    for method in CalibrationMethod::ALL {
        let pattern =
            AnswerPattern { branches: ["clinical", "dermoscopic"].map(str::to_owned).to_vec(), metadata: true };
        let origin = CalibrationOrigin::Validation;
        let calibration = AnswerCalibration::fit(method, origin, &with_svm, logits, &[pattern], None).unwrap();
        let counts: Vec<Vec<f64>> =
            tasks.iter().map(|task| (1..=task.classes.len()).map(|count| count as f64).collect()).collect();
        let training = Prevalence::of_counts(tasks, &counts).unwrap();
        let stated = training.stated(&[(tasks[0].name.clone(), tasks[0].classes[0].clone(), 0.6)]).unwrap();
        let assumed = Some(AssumedPrevalence { prevalence: stated, origin: PrevalenceOrigin::Stated });
        let prevalence = Some(ModelPrevalence { assumed, ..ModelPrevalence::of_training(training) });
        let stage = TwoStage { calibration: Some(calibration), prevalence, ..with_svm.clone() };
        stages.push((method.name().to_owned(), stage));
    }
    // A product of both stages, decided at a point.
    let (_, answers) = with_svm.apply(logits).unwrap().pop().unwrap();
    let search = PointSearch { form: OffsetForm::PriorExponent, ..PointSearch::default() };
    let points = vec![search.fit("balanced", &answers, &logits.cohort.groups).unwrap()];
    let product = TwoStage { mix_space: FuseSpace::Logits, points, point: Some("balanced".into()), ..with_svm };
    stages.push(("product".into(), product));
    stages
}

#[test]
fn every_second_stage_answers_the_same_in_every_engine() {
    let tasks = TaskSet::new(vec![
        Task::new("diagnosis", "DIAG", ["BCC", "NEV", "MEL", "SK", "MISC"]),
        Task::new("veil", "BWV", ["ABS", "PRS"]),
    ])
    .unwrap();
    let logits = branch_logits(&tasks, cohort(80, &tasks));
    let folder = tempfile::tempdir().unwrap();
    let mut checker = Checker::start();
    for (name, stage) in stages(&logits) {
        let mut graph = Graph::new();
        let mut branches = Vec::new();
        let mut inputs = BTreeMap::new();
        for branch in &logits.branches {
            let mut of_branch = Vec::new();
            for (task, numbers) in tasks.iter().zip(&branch.logits) {
                let name = format!("{}/{}", branch.name, task.name);
                let (views, cases, classes) = numbers.dim();
                // Cases first, as a batch is.
                let turned = numbers.view().permuted_axes([1, 0, 2]);
                let values = turned.iter().map(|&value| f64::from(value)).collect();
                inputs.insert(name.clone(), Numbers { shape: vec![cases, views, classes], kind: "float32", values });
                let input =
                    graph.input(&name, Element::F32, vec![Dim::Batch(1), Dim::Fixed(views), Dim::Fixed(classes)]);
                of_branch.push(graph.transpose(input, &[1, 0, 2]));
            }
            branches.push((branch.name.clone(), of_branch));
        }
        let record = graph.input("record", Element::F32, vec![Dim::Batch(1), Dim::Fixed(3)]);
        let values = logits.cohort.metadata.iter().copied().collect();
        inputs.insert("record".to_owned(), Numbers { shape: vec![80, 3], kind: "float32", values });
        let rows = stage.add_to(&mut graph, &GraphLogits { tasks: &tasks, branches, record: Some(record) });
        let expected = stage.apply(&logits).unwrap();
        assert_eq!(
            rows.iter().map(|row| &row.name).collect::<Vec<_>>(),
            expected.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
        let mut outputs = BTreeMap::new();
        for (row, (row_name, predictions)) in rows.iter().zip(&expected) {
            assert!(row.unchanged.is_empty(), "{name}");
            for ((task, &value), table) in tasks.iter().zip(&row.probabilities).zip(&predictions.probabilities) {
                let output = format!("{row_name}/{}", task.name);
                graph.output(&output, value);
                let shape = vec![table.nrows(), table.ncols()];
                outputs.insert(output, Numbers { shape, kind: "float64", values: table.iter().copied().collect() });
            }
        }
        let file = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&file, graph.into_model("stages", &[]).unwrap().bytes()).unwrap();
        if let Some(checker) = &mut checker {
            let has_steps = ["adaboost", "gradient_boosting", "isotonic"].iter().any(|steps| name.starts_with(steps));
            checker.check(&Job { file, inputs, outputs }, if has_steps { &STEPS } else { &STAGE });
        }
    }
    checker.iter().for_each(Checker::report);
}

/// Heads that learnt from made up features of a quarter-width ResNet-18.
fn heads(classifier: ClassifierKind, tasks: &TaskSet, cohort: &Cohort) -> FeatureHeads {
    let features = |image: Modality| ImageFeatures {
        image: image.name().into(),
        available: vec![true; cohort.len()],
        views: vec![Array2::from_shape_fn((cohort.len(), 128), |(case, at)| {
            let known = cohort.labels[case][0].map_or(0.0, |label| ((label + at) % 3) as f64);
            (uniform(image.name(), 128 * case + at) + 0.2 * known) as f32
        })],
    };
    let images = Modality::BOTH.map(features);
    let inputs = [("clinical", 0..1, false), ("dermoscopic", 1..2, false), ("fusion", 0..2, true)];
    let inputs = inputs.map(|(branch, seen, record)| HeadInputs {
        branch: branch.into(),
        images: Modality::BOTH[seen].iter().map(|image| image.name().to_owned()).collect(),
        record,
    });
    let candidates = vec![ClassifierParams::new(classifier, 3)];
    let settings = HeadSettings { components: Some(16), ..HeadSettings::of(candidates) };
    let cases = HeadCases { cohort, images: &images };
    settings.fit(&inputs, tasks, cases, cases).unwrap()
}

/// A model with a record, a support vector machine, and views; with classifiers on frozen features, if one is named.
fn model(views: TestTimeAugmentation, preprocess: Preprocess, frozen: Option<ClassifierKind>) -> Model {
    let tasks = TaskSet::new(vec![
        Task::new("diagnosis", "DIAG", ["BCC", "NEV", "MEL"]),
        Task::new("blue_whitish_veil", "BWV", ["ABS", "PRS"]),
    ])
    .unwrap();
    let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
    let age = Field::numeric("age", FieldRole::PreDiagnosis);
    let case = |sex, age| Case { metadata: vec![FieldValue::Category(sex), FieldValue::Number(age)], ..Case::new("1") };
    let encoder =
        MetadataEncoder::fit(&[sex, age], &[case(0, 20.0), case(1, 80.0)], MetadataRoles::PreDiagnosis).unwrap();
    let backbone = BackboneKind::ResNet18Quarter;
    let network = match frozen {
        None => NetworkConfig::FusionNet(FusionNetConfig::new(backbone, tasks.class_counts())),
        Some(_) => {
            let encoders = FrozenEncodersConfig::new(backbone, tasks.class_counts());
            NetworkConfig::FrozenEncoders(FrozenEncodersConfig { metadata: encoder.width(), ..encoders })
        }
    };
    let trained = network.init_seeded(5, &Device::flex()).unwrap();
    let heads = frozen.map(|classifier| heads(classifier, &tasks, &cohort(80, &tasks)));
    let logits = branch_logits(&tasks, cohort(80, &tasks));
    let branch_weights = BranchWeights::new([("clinical", 1.0), ("dermoscopic", 2.0), ("fusion", 1.5)]).unwrap();
    let first = logits.fuse(&branch_weights, FuseSpace::Logits).unwrap();
    let second = SecondStage::fit(&ClassifierCluster::params(ClassifierKind::Svm, 3), &first, &logits.cohort).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, Some(second), 0.4).unwrap();
    let description =
        BundleDescription { encoder, augmentation: views, heads, ..BundleDescription::new(tasks, network, preprocess) };
    Model::new(Bundle::new(description, trained, two_stage)).unwrap()
}

#[test]
fn a_whole_answer_is_that_of_the_model() {
    let _lock = device_lock();
    let side = 48;
    let folder = tempfile::tempdir().unwrap();
    let mut checker = Checker::start();
    let models = [
        (TestTimeAugmentation::Off, Preprocess::imagenet(side), None),
        (TestTimeAugmentation::Four, Preprocess::as_released(side), None),
        (TestTimeAugmentation::Six, Preprocess::imagenet(side), None),
        (TestTimeAugmentation::Three, Preprocess::imagenet(side), Some(ClassifierKind::Logistic)),
        (TestTimeAugmentation::Off, Preprocess::imagenet(side), Some(ClassifierKind::Svm)),
        (TestTimeAugmentation::Off, Preprocess::imagenet(side), Some(ClassifierKind::Mlp)),
        (TestTimeAugmentation::Off, Preprocess::imagenet(side), Some(ClassifierKind::GradientBoosting)),
    ];
    let pixels = |kind: &str, case: usize| -> Vec<u8> {
        (0..side * side * 3).map(|at| (255.0 * uniform(&format!("{kind} {case}"), at)) as u8).collect()
    };
    for (views, preprocess, frozen) in models {
        let bounds = match frozen {
            Some(ClassifierKind::GradientBoosting) => Bounds { onnx_runtime: 1e-5, ..STEPS },
            _ => WHOLE,
        };
        let model = model(views, preprocess, frozen);
        let OnnxAnswer { model: onnx, ends_at, partial, left_out, .. } = model.to_onnx().unwrap();
        assert_eq!((ends_at.as_str(), onnx.opset()), ("P_3", 18));
        assert!(left_out.iter().any(|sentence| sentence.starts_with("what is found in pictures")), "{left_out:?}");
        let names: Vec<&str> = onnx.inputs().iter().map(|input| input.name.as_str()).collect();
        assert_eq!(names, ["clinical", "dermoscopic", "record"]);
        assert_eq!(onnx.outputs()[0].name, "diagnosis");
        assert_eq!(model.to_onnx().unwrap().model.bytes(), onnx.bytes(), "the same model gives the same bytes");
        let file = folder.path().join(format!("model_{views}_{frozen:?}.onnx"));
        std::fs::write(&file, onnx.bytes()).unwrap();
        let (mut inputs, mut outputs) = (BTreeMap::new(), BTreeMap::new());
        let mut record = Vec::new();
        for case in 0..BATCH {
            let patient = Patient::new()
                .clinical(PatientImage::rgb(side, side, pixels("clinical", case)))
                .dermoscopic(PatientImage::rgb(side, side, pixels("dermoscopic", case)))
                .set("sex", if case % 2 == 1 { "male" } else { "female" })
                .set("age", 30.0 + 6.0 * case as f64);
            let answer = model.predict(&patient).unwrap();
            for task in answer.tasks() {
                let all = outputs.entry(task.name.clone()).or_insert_with(|| Numbers {
                    shape: vec![BATCH, 0],
                    kind: "float64",
                    values: vec![],
                });
                let classes = &model.tasks().iter().find(|known| known.name == task.name).unwrap().classes;
                let values: Vec<f64> = classes.iter().map(|class| task.probability(class).unwrap()).collect();
                all.shape[1] = values.len();
                all.values.extend(values);
            }
            record.extend([
                f64::from(u8::from(case % 2 == 0)),
                f64::from(u8::from(case % 2 == 1)),
                (6.0 * case as f64 - 20.0) / 30.0,
            ]);
        }
        for kind in ["clinical", "dermoscopic"] {
            let values = (0..BATCH).flat_map(|case| pixels(kind, case)).map(f64::from).collect();
            inputs.insert(kind.to_owned(), Numbers { shape: vec![BATCH, side, side, 3], kind: "uint8", values });
        }
        inputs.insert("record".to_owned(), Numbers { shape: vec![BATCH, 3], kind: "float32", values: record });
        if let Some(checker) = &mut checker {
            for answer in checker.check(&Job { file: file.clone(), inputs, outputs }, &bounds) {
                says_what_it_is(&answer.metadata, side);
            }
        }
        // What is missing, and what stands in its place, which has no say.
        let names: Vec<&str> = partial.iter().map(|answer| answer.outputs.as_str()).collect();
        let with_record = ["from clinical+record", "from dermoscopic+record"];
        let without = ["from clinical+dermoscopic", "from clinical", "from dermoscopic"];
        assert_eq!(names, [&with_record[..], &without].concat());
        for answer in partial {
            let mut patient = Patient::new();
            let image = |kind: &str| PatientImage::rgb(side, side, pixels(kind, 0));
            for kind in &answer.images {
                patient =
                    if *kind == "clinical" { patient.clinical(image(kind)) } else { patient.dermoscopic(image(kind)) };
            }
            if answer.record {
                patient = patient.set("sex", "male").set("age", 80.0);
            }
            let expected = model.predict(&patient).unwrap();
            assert_eq!(expected.basis.second_stage, answer.record);
            assert_eq!((answer.first_stage, answer.sees.clone()), (!answer.record, answer.images.clone()));
            assert_eq!(answer.stage, if answer.record { "P_3" } else { "P_1" });
            let inputs = ["clinical", "dermoscopic"].map(|kind| {
                let case = if answer.images.contains(&kind) { 0 } else { 17 };
                let values = pixels(kind, case).into_iter().map(f64::from).collect();
                (kind.to_owned(), Numbers { shape: vec![1, side, side, 3], kind: "uint8", values })
            });
            // A head of both images and the record sees the encoding of nothing.
            assert_eq!(answer.empty_record, frozen.is_some() && answer.outputs == without[0]);
            let values = match (answer.record, answer.empty_record) {
                (true, _) => vec![0.0, 1.0, 1.0],
                (false, true) => vec![0.0; 3],
                (false, false) => vec![7.0, -8.0, 9.0],
            };
            let record = ("record".to_owned(), Numbers { shape: vec![1, 3], kind: "float32", values });
            let outputs = expected.tasks().iter().map(|task| {
                let classes = &model.tasks().iter().find(|known| known.name == task.name).unwrap().classes;
                let values: Vec<f64> = classes.iter().map(|class| task.probability(class).unwrap()).collect();
                let numbers = Numbers { shape: vec![1, values.len()], kind: "float64", values };
                (format!("{}/{}", answer.outputs, task.name), numbers)
            });
            let outputs = outputs.collect();
            let job = Job { file: file.clone(), inputs: inputs.into_iter().chain([record]).collect(), outputs };
            checker.iter_mut().for_each(|checker| drop(checker.check(&job, &bounds)));
        }
    }
    checker.iter().for_each(Checker::report);
}

/// Holds the properties of a whole answer's file, as an engine gives them, to the model's.
fn says_what_it_is(metadata: &BTreeMap<String, String>, side: usize) {
    let of = |key: &str| -> serde_json::Value { serde_json::from_str(&metadata[key]).unwrap() };
    assert_eq!((metadata["dermafuse.format"].as_str(), metadata["dermafuse.stage"].as_str()), ("1", "P_3"));
    let record = of("dermafuse.record");
    assert_eq!(record[0], serde_json::json!({ "field": "sex", "kind": "category", "category": "female" }));
    assert_eq!(record[2], serde_json::json!({ "field": "age", "kind": "number", "mean": 50.0, "deviation": 30.0 }));
    let description = of("dermafuse.description");
    assert_eq!(description["tasks"][0]["classes"], serde_json::json!(["BCC", "NEV", "MEL"]));
    assert_eq!(description["fields"][1]["name"], "age");
    assert_eq!(description["preprocess"]["size"], side);
}

/// The bytes of a made up image.
fn picture(kind: &str, side: usize) -> Vec<u8> {
    (0..side * side * 3).map(|at| (255.0 * uniform(&format!("picture {kind}"), at)) as u8).collect()
}

/// What a file is given of cases. Other bytes stand in the place of missing images, and `no_record` of records.
fn fed(onnx: &OnnxModel, cases: &[Given], no_record: [f64; 5]) -> BTreeMap<String, Numbers> {
    let of_case = |name: &str, given: &Given| -> (&'static str, Vec<f64>) {
        let is_given = given.images().iter().any(|image| name.starts_with(image));
        match name {
            "record" => ("float32", if given.record { encoded(true) } else { no_record }.to_vec()),
            "clinical_given" | "dermoscopic_given" => ("bool", vec![f64::from(u8::from(is_given))]),
            image => {
                let kind = if is_given { image } else { "something else" };
                ("uint8", picture(kind, 64).into_iter().map(f64::from).collect())
            }
        }
    };
    let input = |input: &TensorFacts| {
        let all: Vec<_> = cases.iter().map(|given| of_case(&input.name, given)).collect();
        let shape = input.shape.iter().map(|dim| dim.unwrap_or(cases.len())).collect();
        let values = all.iter().flat_map(|(_, values)| values).copied().collect();
        (input.name.clone(), Numbers { shape, kind: all[0].0, values })
    };
    onnx.inputs().iter().map(input).collect()
}

/// The probabilities of an answer, class by class, of each task, and what outputs with them are called.
fn probabilities(model: &Model, answer: &Answer, before: &str) -> Vec<(String, Vec<f64>)> {
    let of_task = |task: &Task| {
        let of_task = answer.task(&task.name).unwrap();
        let values = task.classes.iter().map(|class| of_task.probability(class).unwrap()).collect();
        (format!("{before}{}", task.name), values)
    };
    model.tasks().iter().map(of_task).collect()
}

#[test]
fn incomplete_cases_are_answered_where_the_model_answers_them() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let (mut jobs, mut refused) = (Vec::new(), 0);
    // What the flag of a missing image changes.
    let mut without_flags = Vec::new();
    for (name, bundle) in models() {
        let model = Model::new(bundle).unwrap();
        let OnnxAnswer { model: onnx, partial, left_out, .. } = model.to_onnx().unwrap();
        let file = folder.path().join(format!("{name}.onnx"));
        std::fs::write(&file, onnx.bytes()).unwrap();
        assert!(left_out.iter().all(|sentence| !sentence.contains("lack")), "{left_out:?}");
        let flags: Vec<&str> =
            onnx.inputs().iter().map(|input| input.name.as_str()).filter(|name| name.ends_with("_given")).collect();
        let expected: &[&str] = match name {
            "inputs left out" => &["clinical_given", "dermoscopic_given"],
            "one image left out" => &["dermoscopic_given"],
            _ => &[],
        };
        assert_eq!(flags, expected, "{name}");
        let parts = Given::parts_for(&model);
        let (mut together, mut answers) = (Vec::new(), Vec::new());
        for &given in &parts {
            let images = given.images();
            let mut patient = Patient::new();
            for kind in &images {
                let image = PatientImage::rgb(64, 64, picture(kind, 64));
                patient = if *kind == "clinical" { patient.clinical(image) } else { patient.dermoscopic(image) };
            }
            if given.record {
                patient = FIELDS.iter().fold(patient, |patient, (name, value)| patient.set(*name, *value));
            }
            let is_complete = given == parts[0];
            let found = partial.iter().find(|answer| answer.images == images && answer.record == given.record);
            assert!(!(is_complete && found.is_some()), "{name} {given:?}");
            let answer = match model.predict(&patient) {
                Ok(answer) => answer,
                Err(PatientError::NotEnough { .. }) => {
                    assert!(found.is_none() && !is_complete, "{name} {given:?}");
                    refused += 1;
                    continue;
                }
                Err(error) => panic!("{name} {given:?}: {error}"),
            };
            assert!(is_complete || found.is_some(), "{name} {given:?} is not answered by the file");
            let of_file = found.map_or(String::new(), |found| format!("{}/", found.outputs));
            if let Some(found) = found {
                let of_basis = [("clinical", answer.basis.clinical), ("dermoscopic", answer.basis.dermoscopic)];
                let sees: Vec<&str> = of_basis.iter().filter(|(_, count)| *count > 0).map(|(name, _)| *name).collect();
                assert_eq!(found.sees, sees, "{name} {given:?}");
                assert_eq!(found.sees_record, !answer.basis.fields.is_empty(), "{name} {given:?}");
                assert_eq!(found.first_stage, answer.notes.contains(&Note::FirstStageAnswers), "{name} {given:?}");
                let said = answer.notes.iter().filter_map(|note| match note {
                    Note::OfModel { text } => Some(text.clone()),
                    _ => None,
                });
                assert_eq!([model.bundle().notes(), found.notes.clone()].concat(), said.collect::<Vec<_>>(), "{name}");
                assert!(!(found.record && found.empty_record));
                let mut missing = parts[0].images();
                missing.retain(|image| !images.contains(image));
                assert!(found.zeros.is_empty() || found.zeros == missing, "{name} {given:?}");
            }
            let nothing = match found.is_some_and(|found| found.empty_record) {
                true => encoded(false),
                false => [7.0, -8.0, 9.0, -1.0, 2.0],
            };
            let of_tasks = probabilities(&model, &answer, &of_file);
            let numbers = |values: Vec<f64>| Numbers { shape: vec![1, values.len()], kind: "float32", values };
            let outputs = || of_tasks.iter().map(|(name, values)| (name.clone(), numbers(values.clone()))).collect();
            jobs.push(Job { file: file.clone(), inputs: fed(&onnx, &[given], nothing), outputs: outputs() });
            if found.is_some_and(|found| !found.zeros.is_empty()) {
                let mut inputs = fed(&onnx, &[given], nothing);
                for flag in &flags {
                    inputs.get_mut(*flag).unwrap().values = vec![1.0];
                }
                without_flags.push(Job { file: file.clone(), inputs, outputs: outputs() });
            }
            together.push(given);
            answers.push(answer);
        }
        // Of a single branch without calibration all outputs are the same numbers, so that one has those of the whole batch.
        if name == "inputs left out" {
            assert_eq!(together.len(), 7);
            let mut outputs = BTreeMap::new();
            for answer in &answers {
                for (name, values) in probabilities(&model, answer, "") {
                    let shape = vec![together.len(), values.len()];
                    let all = outputs.entry(name).or_insert(Numbers { shape, kind: "float32", values: Vec::new() });
                    all.values.extend(values);
                }
            }
            jobs.push(Job { file: file.clone(), inputs: fed(&onnx, &together, encoded(false)), outputs });
        }
    }
    assert!(refused > 5 && jobs.len() > 25 && without_flags.len() > 5, "{refused} {}", jobs.len());
    let Some(mut checker) = Checker::start() else { return };
    for job in &jobs {
        for answer in checker.check(job, &WHOLE) {
            assert!(answer.engine != "onnxruntime" || answer.metadata["dermafuse.complete"].contains("sees_record"));
        }
    }
    checker.report();
    for job in &without_flags {
        for answer in checker.ask(job) {
            let difference = answer.differences.into_values().fold(0.0, f64::max);
            let file = job.file.display();
            assert!(difference > 1e-4, "{file}: an image that is said to be there has no say: {difference:e}");
        }
    }
}

#[test]
fn weights_come_back_from_files_that_kept_their_names() {
    let _lock = device_lock();
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("network.onnx");
    let load = |kind: BackboneKind| {
        let config = ImageClassifierConfig::new(kind, Modality::Dermoscopic, CLASSES.to_vec());
        let network = NetworkConfig::ImageClassifier(config).init_seeded(3, &device).unwrap().valid();
        std::fs::write(&file, export(&network, 64).unwrap().bytes()).unwrap();
        let fresh =
            NetworkConfig::ImageClassifier(ImageClassifierConfig::new(kind, Modality::Dermoscopic, CLASSES.to_vec()))
                .init_seeded(4, &device)
                .unwrap();
        let expected = numbers_of(network.backbones()[0]);
        fresh.load_backbone_weights(&file).map(|loaded| numbers_of(loaded.backbones()[0]) == expected)
    };
    // Nothing of this one is merged.
    assert!(load(BackboneKind::SqueezeNet).unwrap());
    let error = load(BackboneKind::ResNet18Quarter).unwrap_err();
    let said = text_of(&error);
    assert!(said.contains("do_constant_folding=False"), "{said}");

    // Wherever the file is cut off or changed, it is refused or read, and nothing else.
    let config = ImageClassifierConfig::new(BackboneKind::SqueezeNet, Modality::Dermoscopic, CLASSES.to_vec());
    let network = NetworkConfig::ImageClassifier(config).init_seeded(3, &device).unwrap().valid();
    let whole = export(&network, 64).unwrap().into_bytes();
    let mut refused = 0;
    let mut read = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        refused += u32::from(network.clone().load_backbone_weights(&file).is_err());
    };
    for at in (0..whole.len().min(9000)).step_by(307).chain((9000..whole.len()).step_by(whole.len() / 7)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x81;
        read(&bytes);
    }
    for length in [whole.len() - 1, whole.len() / 2, 4000, 2, 0] {
        read(&whole[..length]);
    }
    assert!(refused > 5, "{refused}");
}
