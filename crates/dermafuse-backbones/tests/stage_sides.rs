//! The sides of the stages' maps are known without running the network.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::{Backbone, BackboneKind};

#[test]
fn stage_sides_are_those_of_the_maps() {
    let device = Device::flex();
    // The smallest of each family; the others have the same layers.
    let smallest = [
        BackboneKind::ResNet18Quarter,
        BackboneKind::MobileNetV2,
        BackboneKind::MobileNetV3Small,
        BackboneKind::EfficientNetB0,
        BackboneKind::EfficientNetLite0,
        BackboneKind::DenseNet121,
        BackboneKind::ConvNeXtTiny,
        BackboneKind::SwinTiny,
        BackboneKind::ViTSmall16,
        BackboneKind::DinoV2Small14,
        BackboneKind::SqueezeNet,
        BackboneKind::Vgg16,
        BackboneKind::InceptionV3,
        BackboneKind::Xception,
    ];
    for kind in smallest {
        let network = kind.init(None, &device).valid();
        let maps = network.forward_stages(Tensor::zeros([1, 3, 97, 97], &device));
        assert_eq!(kind.stage_sides(97), maps.map(|map| map.dims()[2]), "{kind}");
    }
    for kind in BackboneKind::ALL {
        let network = kind.init(None, &device);
        for side in [75, 97, 224, 299] {
            assert_eq!(network.stage_sides(side), kind.stage_sides(side), "{kind} at {side} pixels");
        }
    }
}
