//! Models that answer cases which lack an image or the record, each in a way of its own, and such cases.

use burn::tensor::Device;
use dermafuse::Model;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{EncoderConfig, MetadataEncoder, ModalityDropout, Preprocess};
use dermafuse::ensemble::{
    AnswerCalibration, AnswerPattern, CalibrationMethod, CalibrationOrigin, ClassifierCluster, ClassifierKind,
    SecondStage, TwoStage,
};
use dermafuse::infer::{Bundle, BundleDescription, TestTimeAugmentation};
use dermafuse::networks::{
    FusionNetConfig, Network, NetworkConfig, NetworkKind, OneStageFusionConfig, SeenImages, SingleSharedNetworkConfig,
};
use dermafuse::schema::{
    Branch, BranchLogits, BranchWeights, Case, Cohort, Field, FieldRole, FieldValue, FuseSpace, Modality, Task, TaskSet,
};
use ndarray::{Array2, Array3};

use crate::uniform;

/// What is recorded of a patient, where something is: names and values.
pub const RECORD: [(&str, &str); 2] = [("sex", "male"), ("age", "80")];

/// What there is of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The clinical photo.
    pub clinical: bool,
    /// The dermoscopic image.
    pub dermoscopic: bool,
    /// [`RECORD`].
    pub record: bool,
}

impl Given {
    /// What a model looks at and each part of it; the first lacks nothing, and the last has nothing.
    #[must_use]
    pub fn parts_for(model: &Model) -> Vec<Self> {
        let looks_at: Vec<Modality> = model.images().collect();
        let [clinical, dermoscopic] = Modality::BOTH.map(|image| looks_at.contains(&image));
        let all = Self { clinical, dermoscopic, record: !model.fields().is_empty() };
        let part = |lacks: usize| Self {
            clinical: clinical && lacks & 1 == 0,
            dermoscopic: dermoscopic && lacks & 2 == 0,
            record: all.record && lacks & 4 == 0,
        };
        let mut parts = Vec::new();
        for part in (0..8).map(part) {
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        parts
    }

    /// Whether there is an image of a kind.
    #[must_use]
    pub fn has(&self, image: Modality) -> bool {
        match image {
            Modality::Clinical => self.clinical,
            Modality::Dermoscopic => self.dermoscopic,
        }
    }

    /// The names of the images.
    #[must_use]
    pub fn images(&self) -> Vec<&'static str> {
        Modality::BOTH.into_iter().filter(|image| self.has(*image)).map(Modality::name).collect()
    }
}

/// The columns of [`RECORD`], or of a record in which nothing is recorded, as the models' encoder has them: female, male, no sex, age, no age.
#[must_use]
pub fn encoded(recorded: bool) -> [f64; 5] {
    if recorded { [0.0, 1.0, 0.0, 1.0, 0.0] } else { [0.0, 0.0, 1.0, 0.0, 1.0] }
}

fn tasks() -> TaskSet {
    TaskSet::new(vec![
        Task::new("diagnosis", "DIAG", ["BCC", "NEV", "MEL"]),
        Task::new("blue_whitish_veil", "BWV", ["ABS", "PRS"]),
    ])
    .expect("two tasks")
}

fn encoder() -> MetadataEncoder {
    let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
    let age = Field::numeric("age", FieldRole::PreDiagnosis);
    let case = |sex, age| Case { metadata: vec![FieldValue::Category(sex), FieldValue::Number(age)], ..Case::new("1") };
    let config = EncoderConfig { missing_indicators: true, ..EncoderConfig::default() };
    MetadataEncoder::fit(&[sex, age], &[case(0, 20.0), case(1, 80.0)], config).expect("an encoder")
}

/// Logits of a network's branches for sixty cases with records, all made up.
fn made_up_logits(tasks: &TaskSet, branches: &[&str]) -> BranchLogits {
    let cases = 60;
    let label = |case: usize, classes: usize| Some((case * 7 + case / 3) % classes);
    let cohort = Cohort {
        ids: (0..cases).map(|case| format!("case {case}").into()).collect(),
        groups: (0..cases).map(|case| format!("patient {}", case / 2)).collect(),
        labels: (0..cases).map(|case| tasks.iter().map(|task| label(case, task.classes.len())).collect()).collect(),
        metadata: Array2::from_shape_fn((cases, 5), |(case, column)| 2.0 * uniform("record", 5 * case + column)),
        has_metadata: vec![true; cases],
    };
    let logits = |branch: &str, task: &Task| {
        let classes = task.classes.len();
        let key = format!("{branch} {}", task.name);
        Array3::from_shape_fn((1, cases, classes), |(_, case, class)| {
            let known = if label(case, classes) == Some(class) { 1.0 } else { 0.0 };
            (known + 4.0 * uniform(&key, case * classes + class)) as f32
        })
    };
    let branches = branches.iter().map(|name| Branch {
        name: (*name).to_owned(),
        available: vec![true; cases],
        logits: tasks.iter().map(|task| logits(name, task)).collect(),
    });
    BranchLogits { tasks: tasks.clone(), cohort, branches: branches.collect(), looks: Vec::new() }
}

/// A model that nobody trained, whose branches count differently.
fn model(
    network: NetworkConfig,
    modality_dropout: Option<ModalityDropout>,
    stage: impl FnOnce(TwoStage, &BranchLogits) -> TwoStage,
) -> Bundle {
    let tasks = tasks();
    let trained = network.init_seeded(5, &Device::flex()).expect("a network");
    let branches: Vec<&str> = trained.branches().iter().map(|branch| branch.name).collect();
    let weights = branches.iter().enumerate().map(|(at, name)| (*name, 1.0 + at as f64));
    let weights = BranchWeights::new(weights).expect("weights");
    let first = TwoStage::new(weights, FuseSpace::Logits, None, 1.0).expect("a stage");
    let two_stage = stage(first, &made_up_logits(&tasks, &branches));
    let description = BundleDescription {
        encoder: encoder(),
        synthetic: true,
        modality_dropout,
        augmentation: if modality_dropout.is_some() { TestTimeAugmentation::Four } else { TestTimeAugmentation::Off },
        ..BundleDescription::new(tasks, network, Preprocess::imagenet(64))
    };
    Bundle::new(description, trained, two_stage)
}

/// The models by name: of an encoder that both images share, of one image and the record, of all three, of each subset of them, of the record
/// alone; and two that were trained with inputs left out: all of them, and the dermoscopic image alone, with a calibration of complete cases.
///
/// # Panics
/// Never.
#[must_use]
pub fn models() -> Vec<(&'static str, Bundle)> {
    let (tasks, backbone, width) = (tasks(), BackboneKind::ResNet18Quarter, encoder().width());
    let classes = tasks.class_counts();
    let first = |kind: NetworkKind| kind.examples(&classes, width).remove(0);
    let three = || {
        let config = OneStageFusionConfig::new(backbone, SeenImages::Both, Some(width), classes.clone());
        NetworkConfig::OneStageFusion(config)
    };
    let shared = NetworkConfig::SingleSharedNetwork(SingleSharedNetworkConfig::new(backbone, None, classes.clone()));
    let towers = NetworkConfig::FusionNet(FusionNetConfig::new(backbone, classes.clone()));
    let all = ModalityDropout { clinical: 0.3, dermoscopic: 0.3, metadata: 0.3 };
    let of_dermoscopic = ModalityDropout { dermoscopic: 0.5, ..ModalityDropout::default() };
    let as_it_is = |stage: TwoStage, _: &BranchLogits| stage;
    let of_record = |stage: TwoStage, logits: &BranchLogits| {
        let first = logits.fuse(&stage.branch_weights, stage.fuse_space).expect("probabilities");
        let params = ClassifierCluster::params(ClassifierKind::Logistic, 3);
        let second = SecondStage::fit_to_metadata(&params, &first, &logits.cohort).expect("a second stage");
        TwoStage { second_stage: Some(second), mix: 0.0, ..stage }
    };
    let calibrated = |stage: TwoStage, logits: &BranchLogits| {
        let branches = logits.branches.iter().map(|branch| branch.name.clone()).collect();
        let pattern = AnswerPattern { branches, metadata: true };
        let (method, origin) = (CalibrationMethod::Temperature, CalibrationOrigin::Validation);
        let calibration = AnswerCalibration::fit(method, origin, &stage, logits, &[pattern], None);
        TwoStage { calibration: Some(calibration.expect("a calibration")), ..stage }
    };
    vec![
        ("shared encoder", model(shared, None, as_it_is)),
        ("image and record", model(first(NetworkKind::JointIndividualFusion), None, as_it_is)),
        ("all three", model(three(), None, as_it_is)),
        ("each subset", model(first(NetworkKind::ModalitySubsetNet), None, as_it_is)),
        ("record", model(first(NetworkKind::UniformClassifier), None, of_record)),
        ("inputs left out", model(three(), Some(all), as_it_is)),
        ("one image left out", model(towers, Some(of_dermoscopic), calibrated)),
    ]
}
