//! Fixed pieces of work, one for each run, chosen by name and done as often as a number says. `.ci/instructions` counts what each takes on
//! one thread, because times are noisy. Without words it says the names.

use std::hint::black_box;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use dermafuse::backbones::{BackboneKind, Pretrained};
use dermafuse::data::{CaseImages, CaseLoader, LoaderConfig, Preprocess};
use dermafuse::ensemble::{ClassifierCluster, ClassifierKind, WeightSearch};
use dermafuse::schema::FuseSpace;
use dermafuse::train::OptimizerKind;
use dermafuse_benches::{branch_logits, drawn_tasks, labelled_records, one_case, photo};

/// Pixels a side: small, since counting takes fifty times as long as running.
const SIDE: usize = 64;

fn images(batch: usize, device: &Device) -> Tensor<4> {
    let count = (batch * 3 * SIDE * SIDE) as i64;
    let numbers = Tensor::<1, burn::tensor::Int>::arange(0..count, device).float();
    (numbers * 0.37).sin().reshape([batch, 3, SIDE, SIDE])
}

fn predictions(kind: BackboneKind, times: usize) {
    let device = Device::flex();
    let network = kind.init(Some(8), &device).fold_batch_norm();
    for _ in 0..times {
        black_box(network.forward_logits(images(1, &device)).into_data());
    }
}

fn training_steps(kind: BackboneKind, times: usize) {
    let device = Device::flex().autodiff();
    let (mut network, mut optimizer) = (kind.init(Some(8), &device), OptimizerKind::Adam.init(0.0));
    for _ in 0..times {
        let loss = network.forward_logits(images(2, &device)).powf_scalar(2.0).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-4, network, gradients);
    }
}

fn weight_search(times: usize) {
    let logits = branch_logits(100);
    let search = WeightSearch { steps: 20, space: FuseSpace::Probabilities, ..WeightSearch::default() };
    for _ in 0..times {
        black_box(search.fit(&logits).expect("labelled cases"));
    }
}

fn svm_cluster(times: usize) {
    let (records, labels, groups) = labelled_records(100, 20);
    for _ in 0..times {
        let params = ClassifierCluster::params(ClassifierKind::Svm, 1);
        black_box(params.fit(records.view(), &labels, &drawn_tasks(), &groups).expect("a good table"));
    }
}

fn decoding(times: usize) {
    let (case, images) = (one_case(), CaseImages { clinical: vec![photo().into()], ..CaseImages::default() });
    for _ in 0..times {
        let config = LoaderConfig { dermoscopic: false, ..LoaderConfig::new(1, Preprocess::imagenet(224)) };
        black_box(
            CaseLoader::new(&case, 0, &images, config).expect("settings").next().expect("a look").expect("whole"),
        );
    }
}

/// Does a piece of work so many times.
type Work = fn(usize);

/// Pieces of work, each with its name.
const WORK: [(&str, Work); 7] = [
    ("decoding", decoding),
    ("predictions_resnet18", |times| predictions(BackboneKind::ResNet18, times)),
    ("predictions_convnext_tiny", |times| predictions(BackboneKind::ConvNeXtTiny, times)),
    ("training_steps_resnet18", |times| training_steps(BackboneKind::ResNet18, times)),
    ("training_steps_mobilenet_v2", |times| training_steps(BackboneKind::MobileNetV2, times)),
    ("weight_search_grid", weight_search),
    ("svm_cluster", svm_cluster),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    match words.as_slice() {
        [] => WORK.iter().for_each(|(name, _)| println!("{name}")),
        [name, times] => {
            let (_, work) = WORK.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no work `{name}`"));
            work(times.parse().expect("a number of times"));
        }
        _ => panic!("a name and a number, or nothing"),
    }
}
