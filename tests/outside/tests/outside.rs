//! What another crate brings is described in an experiment, trained, saved, loaded, and answers the same.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseSet, derm7pt};
use dermafuse::fusion::{FusionKind, MapFusionKind};
use dermafuse::infer::{Bundle, MODEL_FILE};
use dermafuse::networks::{
    AnyNetwork, AsymmetricFusionConfig, HeadMaps, Modalities, Network, NetworkConfig, NetworkDescription,
    OutsideNetwork, register_network,
};
use dermafuse::recipes::{Experiment, Workplace};
use dermafuse::settings::Settings;
use dermafuse::synthetic::{self, SyntheticConfig};
use dermafuse::train::Silent;
use dermafuse_outside_example::{BlendConfig, GateConfig, TwoViews, TwoViewsConfig, register};
use serde::{Deserialize, Serialize};

const NETWORK: &str = "kind = \"two_views\"\nfilters = 6";
const FUSION: &str = "
kind = \"joint_fusion\"
backbone = \"resnet18_quarter\"
view = \"dermoscopic\"
metadata_input = \"features\"
metadata = { layers = [8], zero = 0.0 }
fusion = { kind = \"gate\", scale = 1.5 }
";
const MAP_FUSION: &str = "
kind = \"single_shared_network\"
backbone = \"resnet18_quarter\"
fusion = { kind = \"map_blend\", share = 0.25, apart = 16 }
stages = [true, true, true, true]
shared_head = false
batches = \"joined\"
dropout = 0.3
loss_weights = { clinical = 0.1, dermoscopic = 0.4, fusion = 0.5 }
";
const BOTH: Modalities = Modalities::CLINICAL.and(Modalities::DERMOSCOPIC);

/// A small drawn set, once for all tests.
fn set_folder() -> &'static Path {
    static FOLDER: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release_v0");
        let config = SyntheticConfig { cases: 40, image_size: (64, 48), ..SyntheticConfig::default() };
        synthetic::write(&path, &config).unwrap();
        (folder, path)
    });
    path
}

/// Training draws from a generator of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One epoch at 32 pixels with a network.
fn experiment(network: &str) -> Result<Experiment, Box<dyn std::error::Error>> {
    let data = set_folder().display();
    let text = format!(
        "[data.drawn]\nkind = \"derm7pt\"\npath = \"{data}\"\n[training]\nepochs = 1\nbatch_size = 8\n[training.preprocess]\n\
         size = 32\n[method.network]\n{network}"
    );
    Ok(Experiment::read(Settings::parse("mine.toml", &text)?)?)
}

/// Trains, writes everything into a folder, and gives the model unless it is there alone.
fn run(experiment: &Experiment, folder: &Path) -> Option<Bundle> {
    let device = Device::flex();
    let outcome = experiment.plan().unwrap().run(Workplace::on(&device).in_folder(folder, false), &mut Silent).unwrap();
    outcome.write(folder).unwrap();
    outcome.bundle().cloned()
}

fn set() -> CaseSet {
    derm7pt::load(set_folder()).unwrap()
}

/// The probabilities of the answer, of every case.
fn answers(bundle: &Bundle) -> Vec<f64> {
    let set = set();
    let answers = bundle.predict(&set.whole(), |_| ()).unwrap();
    answers.last().probabilities.iter().flat_map(|task| task.iter().copied()).collect()
}

/// Trains, saves, loads and asks again; then does it all once more by the file that the run left.
fn assert_lives(network: &str) -> Bundle {
    let _alone = alone();
    register().unwrap();
    let experiment = experiment(network).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trained = run(&experiment, folder.path());

    let file = folder.path().join(MODEL_FILE);
    let loaded = Bundle::load(&file, &Device::flex()).unwrap();
    let expected = answers(&loaded);
    if let Some(trained) = trained {
        assert_eq!(answers(&trained), expected);
        assert_eq!(trained.to_bytes().unwrap(), std::fs::read(&file).unwrap());
    }
    assert_eq!(loaded.to_bytes().unwrap(), std::fs::read(&file).unwrap());
    assert!(expected.iter().all(|share| (0.0..=1.0).contains(share)));

    let again = tempfile::tempdir().unwrap();
    let file_of_run = folder.path().join("experiment.toml");
    let text = match file_of_run.is_file() {
        true => std::fs::read_to_string(file_of_run).unwrap(),
        false => experiment.to_toml(),
    };
    let repeated = Experiment::read(Settings::parse("experiment.toml", &text).unwrap()).unwrap();
    assert_eq!(repeated.method, experiment.method);
    run(&repeated, again.path());
    assert_eq!(std::fs::read(again.path().join(MODEL_FILE)).unwrap(), std::fs::read(file).unwrap());
    loaded
}

#[test]
fn a_network_of_another_crate_is_trained_and_kept() {
    let bundle = assert_lives(NETWORK);
    assert_eq!(bundle.description.network.kind(), "two_views");
    let AnyNetwork::Outside(network) = &bundle.network else { panic!("it is of another crate") };
    assert_eq!(network.branches()[0].name, "fusion");
    let names = bundle.network.tensor_names();
    assert!(names.values().any(|name| name == "clinical.weight"), "{names:?}");
}

#[test]
fn a_fusion_module_of_another_crate_is_trained_and_kept() {
    let bundle = assert_lives(FUSION);
    let NetworkConfig::JointFusion(config) = &bundle.description.network else { panic!("a joint fusion") };
    assert_eq!(config.fusion, FusionKind::outside(GateConfig { scale: 1.5 }).unwrap());
    assert_eq!(config.fusion.name(), "gate");
    assert!(bundle.network.tensor_names().values().any(|name| name == "fusion.gate.weight"));
}

#[test]
fn a_module_for_feature_maps_of_another_crate_is_trained_and_kept() {
    let bundle = assert_lives(MAP_FUSION);
    let NetworkConfig::SingleSharedNetwork(config) = &bundle.description.network else { panic!("a shared network") };
    let blend = MapFusionKind::outside(BlendConfig { share: 0.25, apart: 16 }).unwrap();
    assert_eq!(config.fusion, Some(blend));
    // The maps of the first stage stay apart, those of the others do not.
    assert!(bundle.network.branches().iter().all(|branch| branch.needs == BOTH));
    assert_eq!("map-blend".parse::<MapFusionKind>().unwrap(), MapFusionKind::outside(BlendConfig::default()).unwrap());
}

#[test]
fn every_stage_is_asked_what_a_branch_needs() {
    let blend = MapFusionKind::outside(BlendConfig { share: 0.5, apart: 16 }).unwrap();
    let small = BackboneKind::ResNet18Quarter;
    let config = |stages, head_maps| {
        let blended = AsymmetricFusionConfig::new(small, small, Some(blend.clone()), vec![2]);
        AsymmetricFusionConfig { stages, head_maps, ..blended }
    };
    let needs = |stages, head_maps| config(stages, head_maps).init(&Device::flex()).unwrap().branches()[0].needs;
    assert_eq!(needs([true; 4], HeadMaps::BeforeFusion), BOTH);
    // The first does nothing, and the heads see what goes into the last.
    assert_eq!(needs([true, false, false, true], HeadMaps::BeforeFusion), Modalities::CLINICAL);
    assert_eq!(needs([true, false, false, true], HeadMaps::AfterFusion), BOTH);
}

#[test]
fn a_value_is_the_same_as_a_file() {
    let value = NetworkConfig::outside(TwoViewsConfig { filters: 6, classes: Vec::new() }).unwrap();
    let mut experiment = experiment(NETWORK).unwrap();
    assert_eq!(experiment.method.network, value);
    // Without backbones there is nothing to load weights into.
    let network = value.with_classes(vec![2]).init(&Device::flex()).unwrap();
    network.load_backbone_weights("nowhere.pth").unwrap();
    let other = NetworkConfig::outside(TwoViewsConfig { filters: 7, classes: Vec::new() }).unwrap();
    assert_ne!(experiment.method.network, other);
    experiment.method.network = other;
    assert!(experiment.to_toml().contains("filters = 7\nkind = \"two_views\""), "{}", experiment.to_toml());

    register().unwrap();
    assert_eq!("gate".parse::<FusionKind>().unwrap(), FusionKind::outside(GateConfig::default()).unwrap());
    assert_eq!((NetworkConfig::registered(), FusionKind::registered()), (vec!["two_views"], vec!["gate"]));
}

#[test]
fn what_is_wrong_is_told_at_its_place() {
    register().unwrap();
    let error = |network: &str| experiment(network).unwrap_err().to_string();
    let unknown = error("kind = \"two_view\"\nfilters = 6");
    let place =
        "mine.toml: line 10, column 8: method.network.kind: there is no network `two_view`; choose one of fusion_net, ";
    assert!(unknown.starts_with(place), "{unknown}");
    let remedy = "uniform_classifier, two_views; one of another crate takes a program that is built with it and calls \
                  `register_network`";
    assert!(unknown.ends_with(remedy), "{unknown}");
    let setting = error("kind = \"two_views\"\nfilter = 6");
    assert!(setting.contains("method.network: two_views: unknown field `filter`, expected `filters` or"), "{setting}");
    let module = error(&FUSION.replace("\"gate\"", "\"gates\""));
    assert!(module.contains("method.network.fusion") && module.contains("`gates`"), "{module}");

    for filters in [0, 32_769, usize::MAX] {
        let config = NetworkConfig::outside(TwoViewsConfig { filters, classes: vec![2] }).unwrap();
        let expected = format!("two_views: it has 1 to 32768 filters, found {filters}");
        assert_eq!(config.init(&Device::flex()).unwrap_err().to_string(), expected);
    }
    let lost = FusionKind::outside(GateConfig { scale: f64::NAN }).unwrap_err().to_string();
    assert!(
        lost.starts_with("no file can describe this fusion module `gate`: it is written as `{\"scale\":null}`"),
        "{lost}"
    );
}

/// Another network under a name that is taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Impostor<const BUILT_IN: bool> {
    classes: Vec<usize>,
}

impl<const BUILT_IN: bool> NetworkDescription for Impostor<BUILT_IN> {
    type Network = TwoViews;

    fn make(&self, device: &Device) -> Result<TwoViews, dermafuse::networks::NetworkError> {
        TwoViewsConfig { filters: 1, classes: self.classes.clone() }.make(device)
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }
}

impl<const BUILT_IN: bool> OutsideNetwork for Impostor<BUILT_IN> {
    const KIND: &'static str = if BUILT_IN { "fusion_net" } else { "two_views" };
}

#[test]
fn a_name_is_not_taken_twice() {
    register().unwrap();
    register().unwrap();
    let error = register_network::<Impostor<true>>().unwrap_err().to_string();
    assert_eq!(error, "there is a built-in network `fusion_net`; choose another name");
    let error = NetworkConfig::outside(Impostor::<false> { classes: vec![2] }).unwrap_err().to_string();
    assert_eq!(error, "another type is registered as the network `two_views`; choose another name");
}
