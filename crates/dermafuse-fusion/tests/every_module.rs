//! Every module of the tables: names, files, shapes, and a gradient for every parameter.

use std::fmt::Debug;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use dermafuse_fusion::{FeatureFusion, FusionKind, MapFusion, MapFusionKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Lengths and channels that every module can work with.
const SIZE: usize = 64;
const BATCH: usize = 3;

/// Numbers from -1 to 1 in no order.
fn numbers<const D: usize>(shape: [usize; D], start: usize, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (start..start + count).map(|index| (index as f32 * 12.9898).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// What a normalisation counts and does not learn.
const BUFFERS: [&str; 2] = ["running_mean", "running_var"];

struct Reached<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    missed: Vec<String>,
}

impl ModuleVisitor for Reached<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_buffer = self.path.last().is_some_and(|name| BUFFERS.contains(&name.as_str()));
        if !is_buffer && param.val().grad(self.gradients).is_none() {
            self.missed.push(self.path.join("."));
        }
    }
}

fn assert_reached<M: Module>(name: &str, module: &M, gradients: &Gradients) {
    let mut reached = Reached { gradients, path: Vec::new(), missed: Vec::new() };
    module.visit(&mut reached);
    assert!(reached.missed.is_empty(), "{name}: no gradient reaches {:?}", reached.missed);
}

/// A name alone and a table with `kind` are read as the same.
fn assert_written<K: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, kind: &K) {
    let written = serde_json::to_value(kind).unwrap();
    assert_eq!(written["kind"], name);
    assert_eq!(serde_json::from_value::<K>(written.clone()).unwrap(), *kind);
    assert_eq!(serde_json::from_value::<K>(serde_json::json!(name)).unwrap(), *kind);
    let mut unknown = written;
    unknown["colour"] = serde_json::json!(1);
    let error = serde_json::from_value::<K>(unknown);
    // A module without settings is read by its `kind` alone.
    assert!(name == "concat" || error.unwrap_err().to_string().contains("`colour`"), "{name}");
}

#[test]
fn modules_of_features_have_their_length_and_a_gradient_everywhere() {
    let device = Device::flex().autodiff();
    for name in FusionKind::ALL {
        let kind: FusionKind = name.parse().unwrap();
        assert_written(name, &kind);
        let module = kind.init(SIZE, SIZE, &device).unwrap();
        let [image, metadata] = [0, 1000].map(|start| numbers([BATCH, SIZE], start, &device).require_grad());
        let joined = module.forward(image.clone(), metadata.clone());
        let length = module.output_features(SIZE, SIZE).unwrap();
        assert_eq!(joined.dims(), [BATCH, length], "{name}");
        let gradients = (joined * numbers([BATCH, length], 5000, &device)).sum().backward();
        assert_reached(name, &module, &gradients);
        assert!(
            image.grad(&gradients).is_some() && metadata.grad(&gradients).is_some(),
            "{name}: an input is not used"
        );
    }
}

#[test]
fn modules_of_maps_keep_their_shape_and_have_a_gradient_everywhere() {
    let device = Device::flex().autodiff();
    let changed = |one: &Tensor<4>, other: &Tensor<4>| one.clone().not_equal(other.clone()).any().into_scalar::<bool>();
    for name in MapFusionKind::ALL {
        let kind: MapFusionKind = name.parse().unwrap();
        assert_written(name, &kind);
        let module = kind.init(SIZE, SIZE, &device).unwrap();
        let shape = [BATCH, SIZE, 4, 3];
        let [clinical, dermoscopic, other] = [0, 3000, 6000].map(|start| numbers(shape, start, &device));
        let refined = module.forward(clinical.clone(), dermoscopic.clone());
        assert_eq!([refined.0.dims(), refined.1.dims()], [shape; 2], "{name}");
        assert_eq!(changed(&refined.0, &clinical), !module.is_asymmetric(), "{name}");

        // What the module says of its maps is so.
        let with_other_clinical = module.forward(other.clone(), dermoscopic.clone()).1;
        let with_other_dermoscopic = module.forward(clinical, other).0;
        let dependence = module.dependence();
        assert_eq!(changed(&with_other_clinical, &refined.1), dependence.of_dermoscopic, "{name}");
        assert_eq!(changed(&with_other_dermoscopic, &refined.0), dependence.of_clinical, "{name}");

        let weighed = refined.0 * numbers(shape, 9000, &device) + refined.1 * numbers(shape, 12_000, &device);
        assert_reached(name, &module, &weighed.sum().backward());
    }
}
