//! Frozen encoders: features are computed once and kept, heads are fitted on them, and what comes out is a model like any other. An encoder
//! may be an ONNX file; tests that need ONNX Runtime are skipped with a word where it is absent, unless `DERMAFUSE_ONNXRUNTIME=required`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{ColumnValue, Preprocess};
use dermafuse::infer::{
    Answer, Bundle, Engine, EngineError, ExplanationRequest, FeatureCache, FeatureCounts, FeatureExtractor,
    ImageEncoder, KnownFeatures, OnnxAnswer, TestTimeAugmentation, image_encoders,
};
use dermafuse::networks::{
    AnyNetwork, FrozenEncodersConfig, ImageClassifierConfig, Modality, NetworkConfig, with_published_weights,
};
use dermafuse::onnx::{NetworkShapes, export_network};
use dermafuse::recipes::{Experiment, Outcome, Recipe, Workplace};
use dermafuse::schema::ndarray::Array2;
use dermafuse::schema::{BranchLogits, Predictions};
use dermafuse::train::Silent;
use dermafuse::{Model, Patient, PatientImage};
use dermafuse_tests::engine_library::LIBRARIES;
use dermafuse_tests::onnx_checker::{Bounds, Checker, Job, Numbers};
use dermafuse_tests::{device_lock, program, small_set, small_set_folder, text, text_of, train_small, uniform};

const SIDE: usize = 32;

/// The recipe at small size on the small set, with random weights.
fn recipe(settings: &[&str]) -> Recipe {
    let mut recipe = Recipe::shipped("frozen").expect("it ships");
    recipe.set_data(&format!("derm7pt={}", small_set_folder().display())).unwrap();
    let small = [
        "method.weights=random",
        "method.network.backbone=resnet18_quarter",
        "method.heads.components=8",
        "training.preprocess.size=32",
        "split={ kind = \"published\" }",
        "machine.features=none",
    ];
    small.iter().chain(settings).for_each(|words| recipe.set(words).unwrap());
    recipe
}

fn run(experiment: &Experiment) -> Outcome {
    experiment.plan().unwrap().run(Workplace::on(&Device::flex()), &mut Silent).unwrap()
}

fn bits(logits: &BranchLogits) -> Vec<(String, Vec<bool>, Vec<u32>)> {
    let of = |branch: &dermafuse::schema::Branch| {
        let values = branch.logits.iter().flat_map(|table| table.iter().map(|value| value.to_bits())).collect();
        (branch.name.clone(), branch.available.clone(), values)
    };
    logits.branches.iter().map(of).collect()
}

fn answers(bundle: &Bundle) -> Predictions {
    let (set, split) = small_set();
    bundle.predict(&set.view(&split.test).unwrap(), |_| ()).unwrap().stages.pop().unwrap().1
}

/// Counts the images that it encodes.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ImageEncoder>,
    images: AtomicUsize,
}

impl ImageEncoder for Counting {
    fn identity(&self) -> &str {
        self.inner.identity()
    }

    fn features(&self) -> usize {
        self.inner.features()
    }

    fn encode(&self, images: Tensor<4>) -> Result<Array2<f32>, EngineError> {
        self.images.fetch_add(images.dims()[0], Ordering::Relaxed);
        self.inner.encode(images)
    }
}

fn encoders(seed: u64) -> (AnyNetwork, Vec<(Modality, Arc<Counting>)>) {
    let config = FrozenEncodersConfig::new(BackboneKind::ResNet18Quarter, vec![2]);
    let config = NetworkConfig::FrozenEncoders(config);
    let network = config.init_seeded(seed, &Device::flex()).unwrap().valid();
    let found = image_encoders(&config, &network, None, SIDE).unwrap();
    let counting = |(image, inner)| (image, Arc::new(Counting { inner, images: AtomicUsize::new(0) }));
    (network, found.into_iter().map(counting).collect())
}

fn extract(
    encoders: &[(Modality, Arc<Counting>)],
    size: usize,
    cache: Option<&FeatureCache>,
) -> (KnownFeatures, FeatureCounts, usize) {
    let before: usize = encoders.iter().map(|(_, encoder)| encoder.images.load(Ordering::Relaxed)).sum();
    let extractor = FeatureExtractor {
        encoders: encoders.iter().map(|(image, encoder)| (*image, encoder.clone() as Arc<dyn ImageEncoder>)).collect(),
        preprocess: Preprocess::imagenet(size),
        views: TestTimeAugmentation::Three.views(),
        device: Device::flex(),
        batch_size: 7,
        threads: 2,
        images: None,
        cache,
    };
    let (set, _) = small_set();
    let (known, counts) = extractor.extract(&set.whole(), |_, _| ()).unwrap();
    let after: usize = encoders.iter().map(|(_, encoder)| encoder.images.load(Ordering::Relaxed)).sum();
    (known, counts, after - before)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        dermafuse_tests::contents_of(folder).into_keys().filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn an_image_is_encoded_once_and_a_damaged_file_is_not_believed() {
    let (set, _) = small_set();
    let features_of = |known: &KnownFeatures| known.of_cases(&set.whole());
    let folder = tempfile::tempdir().unwrap();
    let cache = FeatureCache::new(folder.path().join("features"));
    let (_, own) = encoders(1);
    let (cold, counts, calls) = extract(&own, SIDE, Some(&cache));
    // Every image in three views.
    let images = 2 * set.len();
    assert_eq!((counts, calls), (FeatureCounts { computed: 3 * images, read: 0, damaged: 0 }, 3 * images));
    let (warm, counts, calls) = extract(&own, SIDE, Some(&cache));
    assert_eq!((counts, calls), (FeatureCounts { computed: 0, read: 3 * images, damaged: 0 }, 0));
    assert_eq!(features_of(&warm), features_of(&cold));
    // Alone, in other batches and without a cache they are the same to the bit.
    assert_eq!(features_of(&extract(&own, SIDE, None).0), features_of(&cold));

    let files = files_below(folder.path());
    assert_eq!(files.len(), 3 * images);
    let mut damaged = fs::read(&files[5]).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 64;
    fs::write(&files[5], damaged).unwrap();
    fs::copy(&files[8], &files[9]).unwrap();
    fs::write(&files[12], "not features").unwrap();
    let (again, counts, calls) = extract(&own, SIDE, Some(&cache));
    assert_eq!(counts.damaged, 3);
    assert!((1..=9).contains(&calls) && counts.computed == calls, "{counts:?}, {calls}");
    assert_eq!(features_of(&again), features_of(&cold));
    assert_eq!(extract(&own, SIDE, Some(&cache)).2, 0, "what was damaged is whole again");

    // Other weights, and another preparation, are others.
    assert_eq!(extract(&encoders(2).1, SIDE, Some(&cache)).2, 3 * images);
    assert_eq!(extract(&own, SIDE + 8, Some(&cache)).2, 3 * images);
    assert_eq!(extract(&encoders(1).1, SIDE, Some(&cache)).2, 0, "the same weights are the same encoder");
}

#[test]
fn a_fitted_model_is_a_model_like_any_other() {
    let _lock = device_lock();
    let experiment = recipe(&["evaluation.views=3"]).experiment().unwrap();
    let outcome = run(&experiment);
    let bundle = outcome.bundle().unwrap();
    let (set, split) = small_set();
    let result = &outcome.rounds[0].1;
    let names: Vec<String> = result.rows().unwrap().into_iter().map(|(name, _)| name).collect();
    let expected = ["P_clinical", "P_dermoscopic", "P_fusion", "P_1 averaged", "P_1"];
    assert_eq!(names, expected);
    assert!(result.curves.is_empty(), "nothing is trained");
    assert!(result.notes.iter().any(|note| note.starts_with("head `fusion`: candidate ")), "{:?}", result.notes);

    // What was answered from features that were kept is what the model says of the images.
    let fresh = bundle.logits(&set.view(&split.test).unwrap(), |_| ()).unwrap();
    assert_eq!(bits(&fresh), bits(&result.test));
    let bytes = bundle.to_bytes().unwrap();
    assert_eq!(bytes, run(&experiment).bundle().unwrap().to_bytes().unwrap(), "the same seed gives the same bytes");
    let loaded = Bundle::from_bytes(&bytes, &Device::flex()).unwrap();
    assert_eq!(loaded.to_bytes().unwrap(), bytes);
    assert_eq!(answers(&loaded), answers(bundle));
    // One encoder for both images, and its weights once.
    let weights = bundle.network.backbones();
    assert_eq!(weights.len(), 1);

    // A patient, with both images, with one, and with an explanation, which has no heat.
    let model = Model::from_bytes(&bytes, &Device::flex()).unwrap();
    let case = &set.cases[split.test[0]];
    let patient =
        Patient::new().clinical(case.clinical[0].path.as_path()).dermoscopic(case.dermoscopic[0].path.as_path());
    let answer = model.predict(&patient).unwrap();
    assert!(!answer.basis.branches.is_empty(), "{:?}", answer.basis);
    let one = model.predict(&Patient::new().dermoscopic(case.dermoscopic[0].path.as_path())).unwrap();
    assert_eq!(one.basis.branches, ["dermoscopic"]);
    let explained = model.explain(&patient, &ExplanationRequest::default()).unwrap();
    assert!(explained.heat.is_empty());
    let error = bundle.explained_logit(&set, split.test[0], 0).unwrap_err().to_string();
    assert!(error.contains("no heat map shows"), "{error}");

    // Parts that are not of one model.
    let mut headless = bundle.clone();
    headless.description.heads = None;
    let error = headless.to_bytes().unwrap_err().to_string();
    assert!(error.starts_with("heads: nothing is not what answers"), "{error}");
    let mut narrow = bundle.clone();
    narrow.description.network = match narrow.description.network {
        NetworkConfig::FrozenEncoders(config) => {
            NetworkConfig::FrozenEncoders(FrozenEncodersConfig { images: vec![Modality::Clinical], ..config })
        }
        other => other,
    };
    narrow.network = narrow.description.network.init(&Device::flex()).unwrap();
    let error = narrow.check().unwrap_err().to_string();
    assert!(error.starts_with("features of the heads"), "{error}");
    assert!(bundle.clone().with_encoder_file(vec![1, 2, 3]).is_err());
}

#[test]
fn every_row_of_the_recipe_is_fitted_and_kept() {
    let _lock = device_lock();
    let recipe = recipe(&[]);
    let rows: Vec<_> = recipe.rows().iter().map(|row| (row.name.clone(), recipe.experiment_of(row).unwrap())).collect();
    assert!(rows.len() >= 6);
    for (name, mut experiment) in rows {
        if let Some(heads) = &mut experiment.method.heads {
            heads.components = Some(6);
        }
        let outcome = run(&experiment);
        let bundle = outcome.bundle().unwrap();
        let loaded = Bundle::from_bytes(&bundle.to_bytes().unwrap(), &Device::flex()).unwrap();
        assert_eq!(answers(&loaded), answers(bundle), "{name}");
        // Each head is of the row's classifier.
        let heads = bundle.description.heads.as_ref().unwrap();
        let settings = experiment.method.heads.as_ref().unwrap();
        for head in heads.heads() {
            let params = &head.cluster.report().params.classifier;
            assert_eq!(params.kind(), settings.candidates[0].kind(), "{name}");
        }
        let sees_record = heads.record_columns() > 0;
        assert_eq!(sees_record, name != "Images alone", "{name}");
        // The whole answer is one ONNX file.
        Model::new(bundle.clone()).unwrap().to_onnx().unwrap_or_else(|error| panic!("{name}: {}", text_of(&error)));
    }
}

#[test]
fn folds_and_a_second_stage_are_as_everywhere() {
    let _lock = device_lock();
    let settings = [
        "split={ kind = \"folds\", folds = 3 }",
        "second_stage.classifier=logistic",
        "second_stage.inputs=predictions_and_metadata",
        "method.network.metadata=0",
    ];
    let folder = tempfile::tempdir().unwrap();
    let features = folder.path().join("features");
    let mut experiment = recipe(&settings).experiment().unwrap();
    experiment.machine.features = Some(features.clone());
    let plan = experiment.plan().unwrap();
    let outcome = plan.run(Workplace::on(&Device::flex()), &mut Silent).unwrap();
    assert_eq!(outcome.rounds.len(), 3);
    let rows = outcome.rounds[0].1.rows().unwrap();
    assert_eq!(rows.last().unwrap().0, "P_3");
    // Three encoders, since random weights are drawn for each round, and each image once for each.
    let (set, _) = small_set();
    assert_eq!(files_below(&features).len(), 3 * 2 * set.len());
}

#[test]
fn the_program_trains_tells_of_the_cache_and_evaluates() {
    let folder = tempfile::tempdir().unwrap();
    let features = format!("machine.features={}", folder.path().join("features").display());
    let settings = ["method.network.backbone=resnet18_quarter", "method.heads.components=8", &features];
    let train = |out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let output = train_small(&out, "frozen", &[&settings[..], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        (out, text(&output))
    };
    let (first, printed) = train("first", &[]);
    assert!(printed.contains(" computed, 0 read from "), "{printed}");
    let (second, printed) = train("second", &["method.heads.candidates=[{ gradient_boosting = { steps = 5 } }]"]);
    assert!(printed.contains("views of images: 0 computed, "), "{printed}");
    let read = |out: &Path, name: &str| fs::read(out.join(name)).unwrap();
    assert_ne!(read(&first, "model.safetensors"), read(&second, "model.safetensors"));
    let (third, _) = train("third", &[]);
    assert_eq!(read(&first, "model.safetensors"), read(&third, "model.safetensors"), "a warm cache changes nothing");
    let mut evaluate = program("dermafuse");
    evaluate.arg("evaluate").arg(first.join("model.safetensors"));
    evaluate.args(["--data", &format!("derm7pt={}", small_set_folder().display())]);
    evaluate.args(["--part", "all", "--out"]).arg(folder.path().join("evaluated"));
    let output = evaluate.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let mut show = program("dermafuse");
    let output = show.arg("show").arg(first.join("model.safetensors")).output().unwrap();
    assert!(output.status.success() && text(&output).contains("frozen_encoders"), "{}", text(&output));
    let (set, split) = small_set();
    let (mut explain, page) = (program("dermafuse"), folder.path().join("case.html"));
    explain.arg("explain").arg(first.join("model.safetensors")).arg("--out").arg(&page);
    let output = explain.arg("--clinical").arg(&set.cases[split.test[0]].clinical[0]).output().unwrap();
    assert!(output.status.success() && text(&output).contains("without it: no answer"), "{}", text(&output));
    assert!(fs::read_to_string(page).unwrap().contains("There are no heat maps"));
}

#[test]
fn what_cannot_be_is_told_before_anything_is_done() {
    let error = |settings: &[&str]| text_of(&recipe(settings).experiment().unwrap_err());
    assert!(error(&["method.heads=none"]).contains("frozen encoders need heads"), "{}", error(&["method.heads=none"]));
    assert!(error(&["method.heads.candidates=[]"]).contains("method.heads.candidates: must be a list of one or more"));
    assert!(error(&["method.heads.components=0"]).contains("method.heads.components: must be at least 1"));
    assert!(
        error(&["method.network={ kind = \"fusion_net\", backbone = \"resnet18\", dropout = 0 }"])
            .contains("and this is `fusion_net`")
    );
    assert!(error(&["method.network.backbone=resnet19"]).contains("resnet19"));
    let planned = |settings: &[&str]| match recipe(settings).experiment().unwrap().plan() {
        Ok(plan) => text_of(&plan.check(Workplace::on(&Device::flex()), &mut Silent).unwrap_err()),
        Err(error) => text_of(&error),
    };
    let onnx = "method.network.backbone={ onnx = { engine = \"onnxruntime\" } }";
    assert!(planned(&[onnx]).contains("the encoder is an ONNX file, and none is named"), "{}", planned(&[onnx]));
    let absent = planned(&[onnx, "method.weights=/nowhere/encoder.onnx"]);
    assert!(absent.contains("/nowhere/encoder.onnx"), "{absent}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encoder.onnx");
    fs::write(&file, b"no network").unwrap();
    let weights = format!("method.weights={}", file.display());
    // No library where it is said to be.
    let nowhere = "method.network.backbone={ onnx = { engine = \"onnxruntime:library=/nowhere/lib\" } }";
    let error = planned(&[nowhere, &weights]);
    assert!(error.contains("/nowhere/lib") && error.contains("pip install onnxruntime"), "{error}");
    let burn = "method.network.backbone={ onnx = { engine = \"burn\" } }";
    assert!(planned(&[burn, &weights]).contains("use another engine"), "{}", planned(&[burn, &weights]));
}

/// A backbone as an ONNX file of somebody else, with `clinical` as its input and the features as `embedding`, and its weights.
fn encoder_file(folder: &Path) -> (PathBuf, PathBuf) {
    let device = Device::flex();
    let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, vec![2]);
    let network = NetworkConfig::ImageClassifier(config).init_seeded(4, &device).unwrap();
    let shapes = NetworkShapes { images: [SIDE, SIDE], record: 0, tasks: &["diagnosis"] };
    let (file, weights) = (folder.join("encoder.onnx"), folder.join("weights.safetensors"));
    fs::write(&file, export_network(&network, &shapes).unwrap().into_bytes()).unwrap();
    network.backbones()[0].save_weights(&weights).unwrap();
    with_published_weights(BackboneKind::ResNet18Quarter.init(None, &device), &weights).unwrap();
    (file, weights)
}

#[test]
fn an_onnx_file_encodes_images_and_is_a_part_of_the_model() {
    let Some(engine) = LIBRARIES[0].words("threads=1") else { return };
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let (file, weights) = encoder_file(folder.path());
    let named = format!(
        "method.network.backbone={{ onnx = {{ output = \"embedding\", engine = {} }} }}",
        serde_json::to_string(&engine).unwrap()
    );
    let onnx = recipe(&[&named, &format!("method.weights={}", file.display())]).experiment().unwrap();
    let outcome = run(&onnx);
    let bundle = outcome.bundle().unwrap();
    assert_eq!(bundle.encoder_file().unwrap(), fs::read(&file).unwrap());
    // The same weights in a backbone of ours: the same answers but for last digits.
    let ours = recipe(&[&format!("method.weights={}", weights.display())]).experiment().unwrap();
    let usual = run(&ours);
    let (left, right) = (&outcome.rounds[0].1.test, &usual.rounds[0].1.test);
    for (left, right) in left.branches.iter().zip(&right.branches) {
        for (left, right) in left.logits.iter().zip(&right.logits) {
            let most = left.iter().zip(right).map(|(a, b)| (a.exp() - b.exp()).abs()).fold(0.0, f32::max);
            assert!(most < 1e-3, "{most}");
        }
    }
    // Fresh images, the file read back, a patient: the same to the bit.
    let (set, split) = small_set();
    let fresh = bundle.logits(&set.view(&split.test).unwrap(), |_| ()).unwrap();
    assert_eq!(bits(&fresh), bits(left));
    let bytes = bundle.to_bytes().unwrap();
    let encoder = fs::read(&file).unwrap();
    assert_eq!(bytes.windows(encoder.len()).filter(|part| *part == encoder).count(), 1, "it is there once");
    let loaded = Bundle::from_bytes(&bytes, &Device::flex()).unwrap();
    assert_eq!(loaded.to_bytes().unwrap(), bytes);
    assert_eq!(answers(&loaded), answers(bundle));
    let path = folder.path().join("model.safetensors");
    bundle.save(&path).unwrap();
    let model = Model::open(&path, &Device::flex()).unwrap();
    let case = &set.cases[split.test[0]];
    let patient =
        Patient::new().clinical(case.clinical[0].path.as_path()).dermoscopic(case.dermoscopic[0].path.as_path());
    let answer = model.predict(&patient).unwrap();
    assert!(answer.engine.name.contains("ONNX Runtime"), "{}", answer.engine);
    assert!(model.explain(&patient, &ExplanationRequest::default()).unwrap().heat.is_empty());
    // Another engine, or another thread count, is a word; Burn leaves the engine that the model names.
    let threads: Engine = engine.replacen("threads=1", "threads=2", 1).parse().unwrap();
    let other = loaded.clone().with_engine(&threads).unwrap().with_engine(&Engine::Burn).unwrap();
    assert!(other.engine_facts().name.contains("ONNX Runtime"), "{}", other.engine_facts());
    for (left, right) in answers(&other).probabilities.iter().zip(&answers(bundle).probabilities) {
        let most = left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(most < 1e-5, "{most}");
    }
    if let Some(openvino) = LIBRARIES[1].engine("") {
        let other = loaded.clone().with_engine(&openvino).unwrap();
        assert!(other.engine_facts().name.contains("OpenVINO"), "{}", other.engine_facts());
        for (left, right) in answers(&other).probabilities.iter().zip(&answers(bundle).probabilities) {
            let most = left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(most < 1e-3, "{most}");
        }
    }
    // The whole answer is one file, with the encoder in it once.
    let weights = fs::metadata(&file).unwrap().len() as usize;
    let onnx = answers_as_a_file(&model, folder.path(), "ours", &mut Checker::of(&LIBRARIES[..1]));
    assert!(
        (weights - 10_000..weights + 400_000).contains(&onnx.model.bytes().len()),
        "{} of {weights}",
        onnx.model.bytes().len()
    );
    assert_eq!(onnx.model.opset(), 18);
    // A byte of the encoder that changed is noticed.
    let at = bytes.len() - 100;
    let mut damaged = bytes.clone();
    damaged[at] ^= 1;
    assert!(Bundle::from_bytes(&damaged, &Device::flex()).is_err());

    // Names and shapes that the file does not have.
    let refused = |onnx: &str, more: &[&str]| {
        let words = format!(
            "method.network.backbone={{ onnx = {{ engine = {}, {onnx} }} }}",
            serde_json::to_string(&engine).unwrap()
        );
        let weights = format!("method.weights={}", file.display());
        let experiment = recipe(&[&[words.as_str(), &weights], more].concat()).experiment().unwrap();
        let plan = experiment.plan().unwrap();
        text_of(&plan.check(Workplace::on(&Device::flex()), &mut Silent).unwrap_err())
    };
    let several = refused("layout = \"nchw\"", &[]);
    assert!(several.contains("several outputs") && several.contains("embedding [N, 128]"), "{several}");
    let unknown = refused("output = \"embedding\", input = \"pixels\"", &[]);
    assert!(unknown.contains("no input `pixels`; it has clinical [N, 3, 32, 32]"), "{unknown}");
    let size = refused("output = \"embedding\"", &["training.preprocess.size=40"]);
    assert!(size.contains("training.preprocess.size"), "{size}");
    let layout = refused("output = \"embedding\", layout = \"nhwc\"", &[]);
    assert!(layout.contains("layout"), "{layout}");
    fs::write(&file, b"no network").unwrap();
    let damaged = refused("output = \"embedding\"", &[]);
    assert!(damaged.contains("cannot run the network"), "{damaged}");

    // Wherever a byte is another one, or the rest is missing: an error that says so, or features, and never the end of the process.
    let weights = format!("method.weights={}", file.display());
    let mut errors = 0;
    let mut plan_of = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let experiment = recipe(&[&named, &weights]).experiment().unwrap();
        let checked = match experiment.plan() {
            Ok(plan) => plan.check(Workplace::on(&Device::flex()), &mut Silent),
            Err(error) => Err(error),
        };
        match checked {
            Ok(()) => {}
            Err(error) => {
                let said = text_of(&error);
                assert!(said.to_lowercase().contains("onnx"), "{said}");
                errors += 1;
            }
        }
    };
    for at in (0..encoder.len().min(6000)).step_by(211).chain((6000..encoder.len()).step_by(encoder.len() / 5)) {
        let mut bytes = encoder.clone();
        bytes[at] ^= 0x11;
        plan_of(&bytes);
    }
    for length in [encoder.len() - 1, encoder.len() / 2, 1000, 1, 0] {
        plan_of(&encoder[..length]);
    }
    assert!(errors > 5, "{errors}");
}

/// Probabilities of whole answers, asked of ONNX Runtime alone.
const WHOLE: Bounds = Bounds { onnx_runtime: 1e-5, open_vino: 0.0, sixteen_bits: 0.0 };

/// The ONNX file of a model, which gives in ONNX Runtime what the model says of patients, of both images and of one.
fn answers_as_a_file(model: &Model, folder: &Path, name: &str, checker: &mut Option<Checker>) -> OnnxAnswer {
    let onnx = model.to_onnx().unwrap_or_else(|error| panic!("{name}: {}", text_of(&error)));
    let file = folder.join(format!("{name}.onnx"));
    fs::write(&file, onnx.model.bytes()).unwrap();
    // Bright images and dark ones.
    let pixels = |kind: &str, case: usize| -> Vec<u8> {
        let most = if case.is_multiple_of(2) { 255.0 } else { 90.0 };
        (0..SIDE * SIDE * 3).map(|at| (most * uniform(&format!("{kind} {case}"), at)) as u8).collect()
    };
    let image = |kind: &str, case: usize| PatientImage::rgb(SIDE, SIDE, pixels(kind, case));
    let of_cases = |cases: usize| {
        let images = ["clinical", "dermoscopic"].map(|kind| {
            let values: Vec<u8> = (0..cases).flat_map(|case| pixels(kind, case)).collect();
            let values = values.into_iter().map(f64::from).collect();
            (kind.to_owned(), Numbers { shape: vec![cases, SIDE, SIDE, 3], kind: "uint8", values })
        });
        let columns =
            onnx.model.inputs().iter().find(|input| input.name == "record").map(|input| input.shape[1].unwrap());
        let record = columns.map(|columns| {
            // What is said of a patient of whom nothing is recorded.
            let empty = model.bundle().description.encoder.encoded_columns();
            let row = empty.iter().map(|column| f64::from(u8::from(column.value == ColumnValue::Missing)));
            let row: Vec<f64> = row.collect();
            assert_eq!(row.len(), columns);
            ("record".to_owned(), Numbers { shape: vec![cases, columns], kind: "float32", values: row.repeat(cases) })
        });
        images.into_iter().chain(record).collect::<BTreeMap<_, _>>()
    };
    let numbers = |answers: &[Answer], prefix: &str| {
        let of_task = model.tasks().iter().map(|task| {
            let of_answer = |answer: &Answer| {
                let own = answer.task(&task.name).unwrap();
                task.classes.iter().map(|class| own.probability(class).unwrap()).collect::<Vec<f64>>()
            };
            let values: Vec<f64> = answers.iter().flat_map(of_answer).collect();
            let shape = vec![answers.len(), task.classes.len()];
            (format!("{prefix}{}", task.name), Numbers { shape, kind: "float32", values })
        });
        of_task.collect::<BTreeMap<_, _>>()
    };
    let mut jobs = Vec::new();
    for cases in [1, 3] {
        let of_case = |case: usize| {
            let patient = Patient::new().clinical(image("clinical", case)).dermoscopic(image("dermoscopic", case));
            model.predict(&patient).unwrap()
        };
        let answers: Vec<Answer> = (0..cases).map(of_case).collect();
        jobs.push(Job { file: file.clone(), inputs: of_cases(cases), outputs: numbers(&answers, "") });
    }
    let one = model.predict(&Patient::new().dermoscopic(image("dermoscopic", 0))).unwrap();
    let answer = onnx.partial.iter().find(|answer| answer.images == ["dermoscopic"]).unwrap();
    let outputs = numbers(&[one], &format!("{}/", answer.outputs));
    jobs.push(Job { file: file.clone(), inputs: of_cases(1), outputs });
    if let Some(checker) = checker {
        jobs.iter().for_each(|job| drop(checker.check(job, &WHOLE)));
    }
    onnx
}

#[test]
fn encoders_of_others_stand_in_the_file_of_the_answer() {
    let Some(engine) = LIBRARIES[0].words("threads=1") else { return };
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/outside_encoders");
    let engine = serde_json::to_string(&engine).unwrap();
    let mut checker = Checker::of(&LIBRARIES[..1]);
    // What PyTorch wrote in earlier operators, and one with loops and branches that takes a single image, in later ones.
    let kinds = [
        ("pytorch", "tokens = \"first\"", 18),
        ("pytorch", "tokens = \"mean\"", 18),
        ("by_hand", "layout = \"nhwc\", output = \"map\"", 21),
    ];
    for (at, (name, words, opset)) in kinds.into_iter().enumerate() {
        let encoder = format!("method.network.backbone={{ onnx = {{ engine = {engine}, {words} }} }}");
        let weights = format!("method.weights={}", golden.join(format!("{name}.onnx")).display());
        let views = format!("evaluation.views={}", [0, 3, 4][at]);
        let outcome = run(&recipe(&[&encoder, &weights, &views]).experiment().unwrap());
        let model = Model::new(outcome.bundle().unwrap().clone()).unwrap();
        let onnx = answers_as_a_file(&model, folder.path(), &format!("{name}{at}"), &mut checker);
        assert_eq!(onnx.model.opset(), opset);
        assert!(onnx.model.operators().contains(&("Scan".to_owned(), 1)), "{:?}", onnx.model.operators());
        assert!(!onnx.model.operators().iter().any(|(operator, _)| operator == "Relu"), "nobody needs it");
        assert_eq!(model.to_onnx().unwrap().model.bytes(), onnx.model.bytes(), "the same model gives the same bytes");
    }
}

#[test]
fn an_engine_runs_our_encoder_and_the_heads_stay() {
    let _lock = device_lock();
    let outcome = run(&recipe(&[]).experiment().unwrap());
    let bundle = outcome.bundle().unwrap();
    // OpenVINO leaves out the record, which only the heads look at.
    for library in LIBRARIES {
        let Some(engine) = library.engine("threads=1") else { continue };
        let other = bundle.clone().with_engine(&engine).unwrap();
        let (left, right) = (answers(bundle), answers(&other));
        for (left, right) in left.probabilities.iter().zip(&right.probabilities) {
            let most = left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(most < 1e-3, "{}: {most}", library.name);
        }
    }
}
