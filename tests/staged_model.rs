//! A model of two stages that nobody trained: everything that the quickstart's model has after its network is fitted to made up logits.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::ensemble::{
    AnswerCalibration, CalibrationMethod, CalibrationOrigin, ClassifierCluster, ClassifierKind, SecondStage, TwoStage,
};
use dermafuse::infer::{Bundle, BundleDescription, TestTimeAugmentation, answer_patterns};
use dermafuse::networks::{FusionNetConfig, NetworkConfig};
use dermafuse::schema::{Branch, BranchLogits, BranchWeights, Cohort, FuseSpace, TaskSet};
use ndarray::{Array2, Array3};

use crate::{saved_model, uniform};

/// So many cases of a cohort, with records of three columns.
pub fn cohort(cases: usize, tasks: &TaskSet) -> Cohort {
    let label = |case: usize, classes: usize| Some((case * 7 + case / 3) % classes);
    Cohort {
        ids: (0..cases).map(|case| format!("case {case}").into()).collect(),
        groups: (0..cases).map(|case| format!("patient {}", case / 2)).collect(),
        labels: (0..cases).map(|case| tasks.iter().map(|task| label(case, task.classes.len())).collect()).collect(),
        metadata: Array2::from_shape_fn((cases, 3), |(case, column)| {
            f64::from((2.0 * uniform("m", 3 * case + column)) as f32)
        }),
        has_metadata: vec![true; cases],
    }
}

/// Logits of three branches and two views that know a little of the labels.
pub fn branch_logits(tasks: &TaskSet, cohort: Cohort) -> BranchLogits {
    let cases = cohort.len();
    let branches = ["clinical", "dermoscopic", "fusion"].map(|name| Branch {
        name: name.to_owned(),
        available: vec![true; cases],
        logits: tasks
            .iter()
            .enumerate()
            .map(|(at, task)| {
                let key = format!("{name} {at}");
                let classes = task.classes.len();
                Array3::from_shape_fn((2, cases, classes), |(view, case, class)| {
                    let known = if cohort.labels[case][at] == Some(class) { 1.5 } else { 0.0 };
                    (4.0 * uniform(&key, (view * cases + case) * classes + class) - 2.0 + known) as f32
                })
            })
            .collect(),
    });
    BranchLogits { tasks: tasks.clone(), cohort, branches: branches.to_vec(), looks: Vec::new() }
}

/// A model of two towers in a file: six views, support vector machines over the answer and the record, mixed with it, and calibration. Its
/// tasks, fields and size are those of [`saved_model`].
pub fn staged_model(folder: &Path) -> PathBuf {
    let small = Bundle::load(saved_model(folder), &Device::flex()).expect("a model").description;
    let (tasks, encoder, preprocess) = (small.tasks, small.encoder, small.preprocess);
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18Quarter, tasks.class_counts()));
    let untrained = network.init_seeded(11, &Device::flex()).expect("a network");
    let logits = branch_logits(&tasks, cohort(80, &tasks));
    let weights = BranchWeights::new([("clinical", 1.0), ("dermoscopic", 2.0), ("fusion", 1.5)]).expect("weights");
    let first = logits.fuse(&weights, FuseSpace::Logits).expect("a first stage");
    let params = ClassifierCluster::params(ClassifierKind::Svm, 3);
    let second = SecondStage::fit(&params, &first, &logits.cohort).expect("a second stage");
    let two_stage = TwoStage::new(weights, FuseSpace::Logits, Some(second), 0.4).expect("two stages");
    let (method, origin) = (CalibrationMethod::BiasCorrected, CalibrationOrigin::Validation);
    let patterns = answer_patterns(&untrained);
    let calibration = AnswerCalibration::fit(method, origin, &two_stage, &logits, &patterns, None);
    let two_stage = TwoStage { calibration: Some(calibration.expect("a calibration")), ..two_stage };
    let description = BundleDescription {
        synthetic: true,
        encoder,
        augmentation: TestTimeAugmentation::Six,
        ..BundleDescription::new(tasks, network, preprocess)
    };
    let file = folder.join("staged.safetensors");
    Bundle::new(description, untrained, two_stage).save(&file).expect("the model is written");
    file
}
