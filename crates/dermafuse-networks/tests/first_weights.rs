//! First weights depend on the seed and the parameter's path alone, and what a pass draws on its seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};
use dermafuse_backbones::{BackboneKind, Pretrained};
use dermafuse_networks::{
    FusionNetConfig, HeadKind, ImageClassifierConfig, JointFusionConfig, Modality, MultimodalInput, Network,
    NetworkConfig, NetworkKind, SingleSharedNetworkConfig, draw_first_weights, draw_for_pass,
};

const SMALL: BackboneKind = BackboneKind::ResNet18Quarter;

/// The generator of the CPU device belongs to the process: tests that look at it run one after the other.
static GENERATOR: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Bits {
    names: Vec<String>,
    bits: BTreeMap<String, Vec<u32>>,
}

impl ModuleVisitor for Bits {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let fields = self.names.iter().filter(|name| !name.starts_with(char::is_uppercase));
        let path = fields.map(String::as_str).collect::<Vec<_>>().join(".");
        let values = param.val().into_data().try_to_vec::<f32>().unwrap();
        self.bits.insert(path, values.into_iter().map(f32::to_bits).collect());
    }
}

/// Every parameter's bits by its path.
fn bits<M: Module>(module: &M) -> BTreeMap<String, Vec<u32>> {
    let mut bits = Bits::default();
    module.visit(&mut bits);
    bits.bits
}

fn seeded(config: &NetworkConfig, seed: u64) -> BTreeMap<String, Vec<u32>> {
    bits(&config.init_seeded(seed, &Device::flex()).unwrap())
}

/// One network of every structure, with every module that draws.
fn networks() -> Vec<NetworkConfig> {
    NetworkKind::ALL.into_iter().flat_map(|kind| kind.examples(&[3, 2], 6)).collect()
}

/// The next number of the device's generator after a seed and some work.
fn next_after(work: impl FnOnce(&Device)) -> f32 {
    let device = Device::flex();
    device.seed(5);
    work(&device);
    Tensor::<1>::random([1], Distribution::Default, &device).into_scalar()
}

#[test]
fn nothing_is_drawn_from_the_devices_generator() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let untouched = next_after(|_| ());
    for config in networks() {
        let next = next_after(|device| drop(config.init_seeded(1, device).unwrap()));
        assert_eq!(next, untouched, "{config:?} draws from the device");
    }
    for kind in BackboneKind::ALL {
        let next = next_after(|device| draw_first_weights(&kind.init(Some(4), device), 1));
        assert_eq!(next, untouched, "{kind} draws from the device");
    }
}

/// A pass of training draws on the host: dropout, stochastic depth and whatever a new layer draws.
#[test]
fn passes_of_training_leave_the_devices_generator_alone() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let device = Device::flex().autodiff();
    let untouched = next_after(|_| ());
    let ones = |shape| Tensor::<4>::ones(shape, &device);
    for config in networks() {
        let network = config.init_seeded(1, &device).unwrap();
        let pass = || {
            let images = || Some(ones([2, 3, 64, 64]));
            let metadata = Some(Tensor::ones([2, 6], &device));
            network.forward(MultimodalInput { clinical: images(), dermoscopic: images(), metadata })
        };
        let next = next_after(|_| drop(draw_for_pass(1, pass)));
        assert_eq!(next, untouched, "{config:?} draws from the device");
    }
    for kind in BackboneKind::ALL {
        let (network, side) = (kind.init(Some(4), &device), kind.min_size().max(32));
        draw_first_weights(&network, 1);
        let next = next_after(|_| drop(draw_for_pass(1, || network.forward_logits(ones([2, 3, side, side])))));
        assert_eq!(next, untouched, "{kind} draws from the device");
    }
}

#[test]
fn threads_do_not_disturb_each_other() {
    let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let configs = networks();
    let configs: Vec<_> = configs.iter().filter(|config| !matches!(config, NetworkConfig::TFormer(_))).collect();
    let expected: Vec<_> = configs.iter().map(|config| seeded(config, 9)).collect();
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                Device::flex().seed(3);
                let _ = Tensor::<1>::random([1000], Distribution::Default, &Device::flex());
            }
        });
        let drawers =
            [0, 1].map(|_| scope.spawn(|| configs.iter().map(|config| seeded(config, 9)).collect::<Vec<_>>()));
        for drawer in drawers {
            assert!(drawer.join().unwrap() == expected, "another thread changed first weights");
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_backbone_does_not_depend_on_what_is_around_it() {
    let classes = vec![3, 2];
    let backbone = |config: NetworkConfig| -> BTreeMap<String, Vec<u32>> {
        seeded(&config, 4).into_iter().filter(|(path, _)| path.starts_with("backbone.")).collect()
    };
    let image = |classes| ImageClassifierConfig::new(SMALL, Modality::Clinical, classes);
    let alone = backbone(NetworkConfig::ImageClassifier(image(classes.clone())));
    assert!(alone.len() > 60, "a ResNet-18 has more than {} tensors", alone.len());
    let more_heads = NetworkConfig::ImageClassifier(image(vec![3, 2, 7]));
    let mlp = NetworkConfig::ImageClassifier(ImageClassifierConfig { head: HeadKind::MLP, ..image(classes.clone()) });
    let fusion = "mmfa".parse().unwrap();
    let joint = JointFusionConfig::new(SMALL, Modality::Dermoscopic, 6, fusion, classes.clone());
    let shared = SingleSharedNetworkConfig::new(SMALL, None, classes);
    for other in [more_heads, mlp, NetworkConfig::JointFusion(joint), NetworkConfig::SingleSharedNetwork(shared)] {
        assert!(backbone(other.clone()) == alone, "{other:?} has another backbone");
    }
}

#[test]
fn seeds_and_paths_give_weights_of_their_own() {
    let config = NetworkConfig::FusionNet(FusionNetConfig::new(SMALL, vec![3, 2]));
    let (one, other) = (seeded(&config, 1), seeded(&config, 2));
    assert!(one == seeded(&config, 1));
    let drawn: Vec<&String> = one.keys().filter(|path| path.ends_with("conv.weight")).collect();
    assert!(drawn.len() > 30, "{drawn:?}");
    for path in drawn {
        assert_ne!(one[path], other[path], "{path}");
    }
    let of_clinical = one.keys().filter(|path| path.starts_with("clinical.") && path.ends_with("conv.weight"));
    for path in of_clinical {
        let twin = path.replacen("clinical", "dermoscopic", 1);
        assert_ne!(one[path], one[&twin], "the towers start with the same {path}");
    }
}
