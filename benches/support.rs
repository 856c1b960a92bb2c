//! What the benchmarks share: photos, a model of one tower with random weights, drawn logits and records, devices, and the memory of a process.

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseSet, Preprocess, RgbPixels, derm7pt, encode_jpeg};
use dermafuse::devices::DeviceName;
use dermafuse::ensemble::TwoStage;
use dermafuse::infer::{Bundle, BundleDescription};
use dermafuse::networks::{ImageClassifierConfig, Modality, NetworkConfig};
use dermafuse::schema::{Branch, BranchLogits, BranchWeights, Case, Cohort, FuseSpace, Task, TaskSet};
use ndarray::{Array2, Array3};

/// A photo of soft blobs with grain, which takes about as many bytes a pixel as a camera's.
fn drawn(width: usize, height: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut data = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
            let blob = (-((u - 0.5).powi(2) + (v - 0.45).powi(2)) * 30.0).exp();
            let wave = (u * 40.0).sin() * (v * 31.0).cos();
            for base in [205.0, 160.0, 140.0] {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let grain = (state % 9) as f32 - 4.0;
                data.push((base - 110.0 * blob + 8.0 * wave + grain).clamp(0.0, 255.0) as u8);
            }
        }
    }
    let pixels = RgbPixels::new(width, height, data).expect("three bytes a pixel");
    encode_jpeg(&pixels, 90).expect("sides that a JPEG has")
}

/// A JPEG of 600 x 450 pixels.
#[must_use]
pub fn photo() -> Vec<u8> {
    drawn(600, 450)
}

/// A JPEG of 4000 x 3000 pixels.
#[must_use]
pub fn large_photo() -> Vec<u8> {
    drawn(4000, 3000)
}

/// A classifier of the clinical photo at 224 pixels, one view, with the tasks of Derm7pt and random weights.
#[must_use]
pub fn one_tower(backbone: BackboneKind) -> Bundle {
    let tasks = tasks();
    let network = ImageClassifierConfig::new(backbone, Modality::Clinical, tasks.class_counts());
    let network = NetworkConfig::ImageClassifier(network);
    let description = BundleDescription {
        synthetic: true,
        ..BundleDescription::new(tasks, network.clone(), Preprocess::imagenet(224))
    };
    let network = network.init_seeded(1, &Device::flex()).expect("a network of that size");
    let branch_weights = BranchWeights::new([("clinical", 1.0)]).expect("a weight of 1 is one");
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    Bundle::new(description, network, two_stage)
}

/// A set of one case with a clinical photo, whose file is never read.
#[must_use]
pub fn one_case() -> CaseSet {
    let tasks = tasks();
    let case = Case { clinical: vec!["a photo".into()], labels: vec![None; tasks.len()], ..Case::new("1") };
    CaseSet {
        name: "one".into(),
        synthetic: true,
        tasks,
        fields: Vec::new(),
        cases: vec![case],
        split: None,
        notes: Vec::new(),
    }
}

/// The tasks of Derm7pt.
#[must_use]
pub fn tasks() -> TaskSet {
    TaskSet::new(derm7pt::tasks()).expect("the tasks of a data set")
}

/// The devices that the variable DERMAFUSE_DEVICES names, with commas between them, or the CPU.
///
/// # Panics
/// A name of no device, and a device that is not there: with the error's text, which says those that are.
#[must_use]
pub fn devices() -> Vec<DeviceName> {
    let names = std::env::var("DERMAFUSE_DEVICES").unwrap_or_else(|_| DeviceName::Flex.to_string());
    let opened = |name: &str| {
        let name: DeviceName = name.parse()?;
        name.open().map(|_| name)
    };
    names.split(',').map(|name| opened(name).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// Megabytes that the kernel says of this process, by the word of `/proc/self/status` (Linux): `VmRSS:` now, `VmHWM:` at most until now.
///
/// # Panics
/// Not Linux, and an unknown word.
#[must_use]
pub fn megabytes_of_process(what: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(what)).expect("the kernel says it");
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kilobytes / 1024.0
}

/// Classes of the seven-point checklist and the diagnosis.
const CLASSES: [usize; 8] = [5, 3, 3, 3, 2, 3, 2, 3];
/// Views of each case's logits.
const VIEWS: usize = 6;

/// Numbers within ±1 that look random and are the same everywhere.
fn noise(index: usize) -> f64 {
    (index as u64)
        .wrapping_add(1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9) as f64
        / 2.0_f64.powi(63)
        - 1.0
}

/// Eight tasks of as many classes as those of Derm7pt, in which nothing follows from another task.
#[must_use]
pub fn drawn_tasks() -> TaskSet {
    let task = |(index, count): (usize, &usize)| {
        Task::new(format!("task {index}"), "T", (0..*count).map(|class| format!("class {class}")))
    };
    TaskSet::new(CLASSES.iter().enumerate().map(task).collect()).expect("tasks of two or more classes")
}

fn label(case: usize, task: usize) -> usize {
    (noise(case * 8 + task).abs() * CLASSES[task] as f64) as usize
}

fn patients(cases: usize) -> Vec<String> {
    (0..cases).map(|case| format!("patient {case}")).collect()
}

fn labels(cases: usize) -> Vec<Vec<Option<usize>>> {
    (0..cases).map(|case| (0..8).map(|task| Some(label(case, task))).collect()).collect()
}

/// Logits of three branches for [`drawn_tasks`] that agree with the label two times out of three, and whose six views differ a little.
#[must_use]
pub fn branch_logits(cases: usize) -> BranchLogits {
    let cohort = Cohort {
        ids: (0..cases).map(|case| format!("case {case}").into()).collect(),
        groups: patients(cases),
        labels: labels(cases),
        metadata: Array2::zeros((cases, 0)),
        has_metadata: vec![false; cases],
    };
    let branch = |(index, name): (usize, &str)| Branch {
        name: name.into(),
        available: vec![true; cases],
        logits: (0..8)
            .map(|task| {
                Array3::from_shape_fn((VIEWS, cases, CLASSES[task]), |(view, case, class)| {
                    let own = noise(((index * 8 + task) * cases + case) * 8 + class);
                    let jitter = noise((((index * 8 + task) * cases + case) * 8 + class) * VIEWS + view + 7_000_000);
                    (2.0 * own + 0.5 * jitter + if label(case, task) == class { 1.5 } else { 0.0 }) as f32
                })
            })
            .collect(),
    };
    let branches = ["dermoscopic", "clinical", "fusion"].into_iter().enumerate().map(branch).collect();
    BranchLogits { tasks: drawn_tasks(), cohort, branches, looks: vec![] }
}

/// Records `[cases, columns]` that say something of the labels of [`drawn_tasks`], the labels, and a patient for each case.
#[must_use]
pub fn labelled_records(cases: usize, columns: usize) -> (Array2<f64>, Vec<Vec<Option<usize>>>, Vec<String>) {
    let records = Array2::from_shape_fn((cases, columns), |(case, column)| {
        let own = noise(case * columns + column + 9_000_000);
        own + if label(case, column % 8) == column / 8 { 1.0 } else { 0.0 }
    });
    (records, labels(cases), patients(cases))
}
