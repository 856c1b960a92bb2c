//! What modules of other crates say that makes no network is a typed error.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor};
use dermafuse_backbones::BackboneKind;
use dermafuse_fusion::{FeatureFusion, FusionDescription, FusionError, FusionKind};
use dermafuse_networks::{JointFusionConfig, Modality};
use serde::{Deserialize, Serialize};

/// A module that joins nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OddConfig {
    /// Whether it has a parameter of whole numbers.
    counts: bool,
}

#[derive(Module, Debug)]
struct Odd {
    places: Option<Param<Tensor<1, Int>>>,
}

impl FusionDescription for OddConfig {
    type Fusion = Odd;

    const KIND: &'static str = "odd";

    fn make(&self, _image: usize, _metadata: usize, device: &Device) -> Result<Odd, FusionError> {
        let places = || Param::initialized(ParamId::new(), Tensor::from_ints([4, 7], device));
        Ok(Odd { places: self.counts.then(places) })
    }
}

impl FeatureFusion for Odd {
    fn forward(&self, image: Tensor<2>, _metadata: Tensor<2>) -> Tensor<2> {
        image
    }

    fn output_features(&self, _image: usize, _metadata: usize) -> Option<usize> {
        None
    }
}

#[test]
fn modules_that_join_nothing_or_would_not_be_saved_are_refused() {
    let error = |counts: bool| {
        let fusion = FusionKind::outside(OddConfig { counts }).unwrap();
        let config = JointFusionConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, 7, fusion, vec![2]);
        config.init(&Device::flex()).unwrap_err().to_string()
    };
    let joins = error(false);
    assert!(joins.starts_with("odd cannot join features of lengths 128 and "), "{joins}");
    let saved = error(true);
    assert!(saved.starts_with("odd: its parameter `places` is no float, and only floats are saved; "), "{saved}");
}
