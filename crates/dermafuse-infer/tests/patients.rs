//! One patient after the other: what a model says of images in files and in memory, of fields by name, and of what is missing.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use dermafuse_backbones::BackboneKind;
use dermafuse_data::{
    CaseSet, CategorySource, EncoderConfig, MetadataEncoder, NumberRange, PatientImage, Preprocess, RgbPixels,
    Strictness, UnseenCategory, decode, encode_jpeg, encode_png,
};
use dermafuse_ensemble::TwoStage;
use dermafuse_infer::{
    Answer, Bundle, BundleDescription, ExplanationRequest, HeatMethod, ImageBaseline, Model, Note, Patient,
    PatientError, RecordValue, TestTimeAugmentation,
};
use dermafuse_networks::{FusionNetConfig, ImageClassifierConfig, JointFusionConfig, Modality, Network, NetworkConfig};
use dermafuse_schema::ndarray::Array3;
use dermafuse_schema::{
    BranchWeights, Case, Field, FieldRole, FieldValue, FuseSpace, SEVEN_POINT_CRITERIA, SeveralImages, Task, TaskSet,
};

/// Side of the images that the models look at.
const SIDE: usize = 32;

fn tasks() -> TaskSet {
    TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL", "BCC"]), Task::new("veil", "BWV", ["ABS", "PRS"])])
        .unwrap()
}

/// Sex, age, site and management, of which no training case had the site `acral`.
fn encoder(unseen: UnseenCategory) -> MetadataEncoder {
    let fields = [
        Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]),
        Field::numeric("age", FieldRole::PreDiagnosis).with_unit("years"),
        Field::categorical("site", FieldRole::PreDiagnosis, ["back", "acral"]),
        Field::categorical("management", FieldRole::PostDiagnosis, ["excision"]),
    ];
    let case = |sex, age| Case {
        metadata: vec![
            FieldValue::Category(sex),
            FieldValue::Number(age),
            FieldValue::Category(0),
            FieldValue::Category(0),
        ],
        ..Case::new("1")
    };
    let config = EncoderConfig {
        roles: dermafuse_data::MetadataRoles::IncludePostDiagnosis,
        categories: CategorySource::Observed,
        unseen,
        ..EncoderConfig::default()
    };
    MetadataEncoder::fit(&fields, &[case(0, 20.0), case(1, 70.0)], config).unwrap()
}

/// A model with random weights, whose branches answer together.
fn bundle(tasks: TaskSet, encoder: MetadataEncoder, network: NetworkConfig) -> Bundle {
    let description = BundleDescription {
        encoder,
        augmentation: TestTimeAugmentation::Six,
        ..BundleDescription::new(tasks, network.clone(), Preprocess::imagenet(SIDE))
    };
    let network = network.init_seeded(5, &Device::flex()).unwrap();
    let weights = network.branches().into_iter().map(|branch| (branch.name, 1.0));
    let branch_weights = BranchWeights::new(weights).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    Bundle::new(description, network, two_stage)
}

/// A model of both images.
fn pairs() -> Bundle {
    let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, tasks().class_counts());
    bundle(tasks(), MetadataEncoder::none(), NetworkConfig::FusionNet(network))
}

/// A model of the clinical photo and the record.
fn record(unseen: UnseenCategory) -> Bundle {
    let encoder = encoder(unseen);
    let (backbone, view) = (BackboneKind::ResNet18Quarter, Modality::Clinical);
    let (fusion, classes) = ("concat".parse().unwrap(), tasks().class_counts());
    let network = JointFusionConfig::new(backbone, view, encoder.width(), fusion, classes);
    bundle(tasks(), encoder, NetworkConfig::JointFusion(network))
}

/// Pixels of a picture of its own for each seed.
fn pixels(seed: usize) -> RgbPixels {
    let data = (0..3 * 50 * 40).map(|at| ((at * (7 + seed) + at / 150 * 31) % 251) as u8).collect();
    RgbPixels::new(50, 40, data).unwrap()
}

/// What the path of files says of a case with these images.
fn of_files(bundle: &Bundle, clinical: &[&Path], dermoscopic: &[&Path], metadata: Vec<FieldValue>) -> Vec<Vec<f64>> {
    let owned = |paths: &[&Path]| paths.iter().map(|path| (*path).into()).collect();
    let tasks = &bundle.description.tasks;
    let case = Case {
        clinical: owned(clinical),
        dermoscopic: owned(dermoscopic),
        metadata,
        labels: vec![None; tasks.len()],
        ..Case::new("1")
    };
    let set = CaseSet {
        name: "set".into(),
        synthetic: false,
        tasks: tasks.clone(),
        fields: bundle.description.encoder.fields().cloned().collect(),
        cases: vec![case],
        split: None,
        notes: vec![],
    };
    let answers = bundle.predict(&set.whole(), |_| ()).unwrap();
    answers.last().probabilities.iter().map(|table| table.row(0).to_vec()).collect()
}

/// The probabilities of an answer in the order of the model's classes.
fn probabilities(model: &Model, answer: &Answer) -> Vec<Vec<f64>> {
    let of_task = |task: &Task| {
        let answer = answer.task(&task.name).unwrap();
        task.classes.iter().map(|class| answer.probability(class).unwrap()).collect()
    };
    model.tasks().iter().map(of_task).collect()
}

fn texts(answer: &Answer) -> Vec<String> {
    answer.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn files_bytes_pixels_and_arrays_have_the_same_answer_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (jpeg, png) = (encode_jpeg(&pixels(1), 90).unwrap(), encode_png(&pixels(2)));
    let [clinical, dermoscopic] = ["a.jpg", "b.png"].map(|name| folder.path().join(name));
    std::fs::write(&clinical, &jpeg).unwrap();
    std::fs::write(&dermoscopic, &png).unwrap();
    let bundle = pairs();
    let expected = of_files(&bundle, &[&clinical], &[&dermoscopic], vec![]);
    let model = Model::new(bundle).unwrap();

    let photo = decode(&clinical, Strictness::Strict).unwrap();
    let array = Array3::from_shape_vec((photo.height(), photo.width(), 3), photo.data().to_vec()).unwrap();
    let clinicals: [PatientImage; 5] = [
        clinical.as_path().into(),
        jpeg.as_slice().into(),
        photo.clone().into(),
        array.view().into(),
        PatientImage::rgb(photo.width(), photo.height(), photo.data().to_vec()),
    ];
    let dermoscopics: [PatientImage; 3] = [dermoscopic.to_str().unwrap().into(), png.into(), pixels(2).into()];
    for (at, image) in clinicals.into_iter().enumerate() {
        let patient = Patient::new().clinical(image).dermoscopic(dermoscopics[at % 3].clone());
        let answer = model.predict(&patient).unwrap();
        assert_eq!(probabilities(&model, &answer), expected, "{at}");
        assert_eq!(answer.basis.to_string(), "clinical image, dermoscopic image");
        assert_eq!(answer.basis.branches, ["clinical", "dermoscopic", "fusion"]);
        assert!(answer.notes.is_empty(), "{:?}", answer.notes);
        let top = answer.task("diagnosis").unwrap().top();
        assert!(answer.task("diagnosis").unwrap().ranked().iter().all(|class| class.probability <= top.probability));
    }
    // The same from its file, and from what was opened.
    let file = folder.path().join("model.safetensors");
    model.bundle().save(&file).unwrap();
    let patient = Patient::new().clinical(&clinical).dermoscopic(&dermoscopic);
    for model in [
        Model::open(&file, &Device::flex()).unwrap(),
        Model::from_bytes(&std::fs::read(&file).unwrap(), &Device::flex()).unwrap(),
    ] {
        assert_eq!(probabilities(&model, &model.predict(&patient).unwrap()), expected);
    }
}

#[test]
fn several_images_answer_as_those_of_a_case_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..3).map(|at| folder.path().join(format!("{at}.png"))).collect();
    files.iter().enumerate().for_each(|(at, file)| std::fs::write(file, encode_png(&pixels(at))).unwrap());
    for policy in [SeveralImages::First, SeveralImages::MeanOfProbabilities] {
        let mut bundle = pairs();
        bundle.description.several_images = policy;
        let expected = of_files(&bundle, &[&files[0], &files[1]], &[&files[2]], vec![]);
        let model = Model::new(bundle).unwrap();
        let patient = Patient::new().clinical(pixels(0)).dermoscopic(&files[2]).clinical(encode_png(&pixels(1)));
        let answer = model.predict(&patient).unwrap();
        assert_eq!(probabilities(&model, &answer), expected);
        let (clinical, note) = match policy {
            SeveralImages::First => (1, "The first of 2 clinical images answers."),
            SeveralImages::MeanOfProbabilities => (2, "The probabilities are the mean over 2 looks at the images."),
        };
        assert_eq!((answer.basis.clinical, answer.basis.dermoscopic), (clinical, 1));
        assert_eq!(texts(&answer), [note]);
    }
}

#[test]
fn fields_are_found_by_name_and_what_the_model_does_not_know_is_noted() {
    let bundle = record(UnseenCategory::Missing);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.png");
    std::fs::write(&file, encode_png(&pixels(3))).unwrap();
    let metadata =
        vec![FieldValue::Category(1), FieldValue::Number(30.5), FieldValue::Category(0), FieldValue::Missing];
    let expected = of_files(&bundle, &[&file], &[], metadata);
    let model = Model::new(bundle).unwrap();
    let photo = || Patient::new().clinical(pixels(3));

    // Typed or as text, in any order.
    for age in [RecordValue::from(30.5_f64), "30.5".into(), Some(30.5_f32).into()] {
        let answer = model.predict(&photo().set("age", age).set("site", "back").set("sex", "male")).unwrap();
        assert_eq!(probabilities(&model, &answer), expected);
        assert_eq!(answer.basis.fields, ["sex", "age", "site"]);
        assert_eq!(answer.notes, [Note::NotRecorded { fields: vec!["management".into()] }]);
    }

    let answer = model.predict(&photo().set("age", 93).set("site", "acral").set("management", "excision")).unwrap();
    assert_eq!(answer.basis.fields, ["age", "management"]);
    let training = NumberRange { lowest: 20.0, highest: 70.0 };
    let out_of_range = Note::OutOfRange { field: "age".into(), value: 93.0, unit: Some("years".into()), training };
    assert_eq!(
        answer.notes,
        [
            out_of_range,
            Note::NeverSeen { field: "site".into(), category: "acral".into() },
            Note::KnownAfterDiagnosis { field: "management".into() },
            Note::NotRecorded { fields: vec!["sex".into()] },
        ]
    );
    assert!(texts(&answer)[0].starts_with("`age` = 93 years is outside the training cases, which have 20 to 70"));
    // Nothing recorded at all; the basis says so.
    let answer = model.predict(&photo().set("age", None::<u8>)).unwrap();
    assert_eq!((answer.basis.fields.len(), answer.basis.to_string()), (0, "clinical image".to_owned()));

    let error = |patient: Patient| model.predict(&patient).unwrap_err().to_string();
    assert_eq!(
        error(photo().set("colour", "red")),
        "the model uses no field `colour`; it uses sex, age, site, management"
    );
    assert_eq!(error(photo().set("sex", "f")), "field `sex` is one of female, male, not `f`");
    assert_eq!(error(photo().set("sex", 1)), "field `sex` is one of female, male, not `1`");
    assert_eq!(error(photo().set("age", "old")), "field `age` is a number, not `old`");
    assert_eq!(error(photo().set("age", f64::NAN)), "field `age` is a number, not `NaN`");
    assert_eq!(error(photo().set("age", 1).set("age", 2)), "field `age` is given twice: `1` and `2`; set it once");

    let strict = Model::new(record(UnseenCategory::Refuse)).unwrap();
    let error = strict.predict(&photo().set("site", "acral")).unwrap_err().to_string();
    assert_eq!(error, "field `site` is one of back, which training cases had, not `acral`");
}

#[test]
fn a_model_describes_its_fields() {
    let model = Model::new(record(UnseenCategory::Missing)).unwrap();
    let [sex, age, site, management] = model.fields() else { panic!("four fields") };
    assert_eq!(
        (sex.name.as_str(), sex.categories(), sex.unit.as_deref()),
        ("sex", &["female", "male"].map(String::from)[..], None)
    );
    assert_eq!((age.unit.as_deref(), age.training), (Some("years"), Some(NumberRange { lowest: 20.0, highest: 70.0 })));
    assert_eq!((age.categories().len(), site.never_seen.as_slice()), (0, &["acral".to_owned()][..]));
    assert!(age.is_known_before_diagnosis() && !management.is_known_before_diagnosis());
    assert_eq!(model.images().collect::<Vec<_>>(), [Modality::Clinical]);
    // What the file says is what was fitted.
    let read = Model::from_bytes(&model.bundle().to_bytes().unwrap(), &Device::flex()).unwrap();
    assert_eq!(read.fields(), model.fields());

    // A model of images alone has no fields. Those of its description are accepted, and noted.
    let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, tasks().class_counts());
    let model = bundle(tasks(), encoder(UnseenCategory::Missing), NetworkConfig::FusionNet(network));
    let model = Model::new(model).unwrap();
    assert!(model.fields().is_empty());
    let answer = model.predict(&Patient::new().clinical(pixels(1)).dermoscopic(pixels(2)).set("sex", "male")).unwrap();
    assert_eq!(answer.notes, [Note::FieldNotUsed { field: "sex".into() }]);
    assert_eq!(answer.basis.fields.len(), 0);
    let error = model.predict(&Patient::new().clinical(pixels(1)).set("colour", 1)).unwrap_err().to_string();
    assert_eq!(error, "the model uses no field `colour`; it uses none");
}

#[test]
fn what_is_missing_or_damaged_is_said_by_name() {
    let model = Model::new(pairs()).unwrap();
    let answer = model.predict(&Patient::new().dermoscopic(pixels(1))).unwrap();
    assert_eq!(answer.basis.branches, ["dermoscopic"]);
    assert_eq!(answer.basis.to_string(), "dermoscopic image");
    assert_eq!(answer.notes, [Note::ImageMissing { image: Modality::Clinical }]);

    let error = model.predict(&Patient::new()).unwrap_err();
    assert!(matches!(&error, PatientError::NotEnough { .. }));
    assert_eq!(
        error.to_string(),
        "the model cannot answer from what is given; give it a clinical image, or a dermoscopic image"
    );
    let whole = encode_jpeg(&pixels(1), 90).unwrap();
    let truncated = whole[..whole.len() / 2].to_vec();
    let patients = [
        (
            Patient::new().clinical(pixels(1)).clinical(truncated.clone()),
            "clinical image 2: damaged or truncated image",
        ),
        (Patient::new().dermoscopic(PatientImage::from(truncated).named("upload.jpg")), "upload.jpg: damaged"),
        (Patient::new().clinical(b"GIF89a...."), "clinical image: a GIF image, which is not read"),
        (Patient::new().clinical("nowhere.jpg"), "nowhere.jpg"),
        (Patient::new().clinical(PatientImage::rgb(2, 2, vec![1])), "clinical image: 1 bytes for 2 x 2 pixels"),
    ];
    for (patient, expected) in patients {
        let error = model.predict(&patient).unwrap_err();
        assert!(matches!(error, PatientError::Image(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }

    let view = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, tasks().class_counts());
    let one = Model::new(bundle(tasks(), MetadataEncoder::none(), NetworkConfig::ImageClassifier(view))).unwrap();
    // An image that is not looked at is not read either.
    let answer = one.predict(&Patient::new().clinical(pixels(1)).dermoscopic("nowhere.jpg")).unwrap();
    assert_eq!(answer.notes, [Note::ImageNotUsed { image: Modality::Dermoscopic }]);
    assert!(!answer.basis.has(Modality::Dermoscopic));
    let error = one.predict(&Patient::new().dermoscopic(pixels(1))).unwrap_err().to_string();
    assert_eq!(error, "the model cannot answer from what is given; give it a clinical image");
}

#[test]
fn the_seven_point_score_is_of_the_most_probable_classes() {
    let criteria = SEVEN_POINT_CRITERIA
        .iter()
        .map(|each| Task::new(format!("the {}", each.label), each.label, ["ABS", each.class]));
    let tasks =
        TaskSet::new([Task::new("diagnosis", "DIAG", ["NEV", "MEL"])].into_iter().chain(criteria).collect()).unwrap();
    let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, tasks.class_counts());
    let model = Model::new(bundle(tasks, MetadataEncoder::none(), NetworkConfig::FusionNet(network))).unwrap();
    let answer = model.predict(&Patient::new().clinical(pixels(1)).dermoscopic(pixels(2))).unwrap();
    let met = |label: &str| answer.tasks().iter().any(|task| task.label == label && task.top().class != "ABS");
    let points = SEVEN_POINT_CRITERIA.iter().map(|each| if met(each.label) { each.points } else { 0 }).sum::<u32>();
    let score = answer.seven_point.clone().unwrap();
    assert_eq!((score.points(), score.criteria.len()), (points, 7));
    let without = Model::new(pairs()).unwrap().predict(&Patient::new().clinical(pixels(1))).unwrap();
    assert_eq!(without.seven_point, None);
}

#[test]
fn many_patients_are_asked_lazily_in_order_and_a_bad_one_is_an_error_in_its_place() {
    let model = Model::new(pairs()).unwrap();
    let taken = AtomicUsize::new(0);
    let patients = (0..5).map(|at| {
        taken.fetch_add(1, Ordering::Relaxed);
        match at {
            2 => Patient::new().clinical(b"no image"),
            _ => Patient::new().clinical(pixels(at)),
        }
    });
    let mut answers = model.predict_many(patients);
    assert_eq!(taken.load(Ordering::Relaxed), 0);
    for at in 0..5 {
        let answer = answers.next().unwrap();
        assert_eq!(taken.load(Ordering::Relaxed), at + 1);
        match at {
            2 => assert!(matches!(answer, Err(PatientError::Image(_)))),
            _ => assert_eq!(answer.unwrap(), model.predict(&Patient::new().clinical(pixels(at))).unwrap()),
        }
    }
    assert!(answers.next().is_none());
    // Borrowed ones, too.
    let patients = [Patient::new().clinical(pixels(1))];
    assert_eq!(model.predict_many(&patients).count(), 1);
}

#[test]
fn any_number_of_threads_have_the_same_answers_to_the_bit() {
    fn is_shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn is_sent<T: Send + Sync + 'static>() {}
    let model = Model::new(record(UnseenCategory::Missing)).unwrap();
    is_shared(&model);
    is_shared(&Patient::new());
    is_sent::<Answer>();
    is_sent::<PatientError>();
    let patients: Vec<Patient> = (0..4)
        .map(|at| Patient::new().clinical(encode_jpeg(&pixels(at), 90).unwrap()).set("age", 20 + at as u32))
        .collect();
    let alone: Vec<Answer> = model.predict_many(&patients).map(Result::unwrap).collect();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (model, patients, alone) = (model.clone(), &patients, &alone);
            scope.spawn(move || {
                for round in 0..4 {
                    let at = (thread + round) % 4;
                    assert_eq!(model.predict(&patients[at]).unwrap(), alone[at]);
                }
            });
        }
    });
}

#[test]
fn an_explanation_is_that_of_the_same_case_in_files() {
    let bundle = record(UnseenCategory::Missing);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.png");
    std::fs::write(&file, encode_png(&pixels(3))).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let set = bundle.single_case("a", &[file.into()], &[], &[pair("sex", "male"), pair("age", "30")]).unwrap();
    let expected = bundle.contributions(&set, 0, ImageBaseline::default()).unwrap();
    let model = Model::new(bundle).unwrap();

    let patient = Patient::new().clinical(encode_png(&pixels(3))).set("age", 30).set("sex", "male");
    let explanation = model.explain(&patient, &ExplanationRequest::default()).unwrap();
    assert_eq!(explanation.contributions, Some(expected));
    assert_eq!(explanation.answer, model.predict(&patient).unwrap());
    assert_eq!(
        (explanation.task.as_str(), &explanation.class),
        ("diagnosis", &explanation.answer.tasks()[0].top().class)
    );
    let [heat] = &explanation.heat[..] else { panic!("one image") };
    assert_eq!((heat.image, heat.place, heat.map.values.dim()), (Modality::Clinical, 0, (SIDE, SIDE)));
    assert!(heat.map.values.iter().all(|value| (0.0..=1.0).contains(value)));

    for method in [HeatMethod::GradCamPlusPlus, HeatMethod::Occlusion] {
        let (task, class) = (Some("veil".into()), Some("PRS".into()));
        let request = ExplanationRequest { task, class, method, contributions: false };
        let explanation = model.explain(&patient, &request).unwrap();
        assert_eq!((explanation.class.as_str(), &explanation.contributions), ("PRS", &None));
        assert_eq!(explanation.heat[0].stage.is_none(), method == HeatMethod::Occlusion);
    }
    let error = |task: Option<&str>, class: Option<&str>| {
        let (task, class) = (task.map(Into::into), class.map(Into::into));
        model.explain(&patient, &ExplanationRequest { task, class, ..Default::default() }).unwrap_err().to_string()
    };
    assert_eq!(error(Some("colour"), None), "the model has no task `colour`; it has diagnosis, veil");
    assert_eq!(error(Some("veil"), Some("MEL")), "task `veil` has no class `MEL`; it has ABS, PRS");
}
