//! A call makes no thread. This is the only test of its program, since threads of others would be counted.

use burn::tensor::Device;
use dermafuse_backbones::BackboneKind;
use dermafuse_data::{Preprocess, RgbPixels, encode_png};
use dermafuse_ensemble::TwoStage;
use dermafuse_infer::{Bundle, BundleDescription, Model, Patient, TestTimeAugmentation};
use dermafuse_networks::{FusionNetConfig, NetworkConfig};
use dermafuse_schema::{BranchWeights, FuseSpace, Task, TaskSet};

/// The number of the next thread of the process: the standard library counts them.
fn next_thread() -> u64 {
    let id = std::thread::spawn(|| std::thread::current().id()).join().unwrap();
    let digits: String = format!("{id:?}").chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn a_call_makes_no_thread() {
    let network = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]));
    let description = BundleDescription {
        synthetic: true,
        augmentation: TestTimeAugmentation::Six,
        ..BundleDescription::new(
            TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])]).unwrap(),
            network.clone(),
            Preprocess::imagenet(32),
        )
    };
    let branch_weights = BranchWeights::new([("fusion", 1.0)]).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    let network = network.init_seeded(3, &Device::flex()).unwrap();
    let bundle = Bundle::new(description, network, two_stage);
    let photo = encode_png(&RgbPixels::new(40, 30, vec![90; 3600]).unwrap());
    let patient = Patient::new().clinical(photo.clone()).dermoscopic(photo);
    let model = Model::new(bundle).unwrap();
    // The first call starts the process's pool for the network's arithmetic.
    model.predict(&patient).unwrap();
    let before = next_thread();
    for _ in 0..5 {
        model.predict(&patient).unwrap();
    }
    assert_eq!(next_thread(), before + 1, "five calls made threads");
}
