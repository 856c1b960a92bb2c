use std::collections::HashMap;

use burn::module::ParamId;
use dermafuse_backbones::{published_names, tensor_names};

use crate::AnyNetwork;

impl AnyNetwork {
    /// The names that the network's tensors would have in PyTorch: fields and list positions joined by dots, inside a
    /// backbone its published names: `clinical.layer1.0.conv1.weight`, `fusion_head.linear1.weight`.
    ///
    /// With them, [`load_tensors`](dermafuse_backbones::load_tensors) and
    /// [`save_tensors`](dermafuse_backbones::save_tensors) exchange whole networks with PyTorch.
    #[must_use]
    pub fn tensor_names(&self) -> HashMap<ParamId, String> {
        let mut names = tensor_names(self);
        for backbone in self.backbones() {
            let inside = tensor_names(backbone);
            for (id, published) in published_names(backbone) {
                // Names within a backbone end as they do alone; what is before is where the network has it.
                if let (Some(name), Some(inside)) = (names.get_mut(&id), inside.get(&id)) {
                    let place = name.strip_suffix(inside.as_str()).unwrap_or_default().to_owned();
                    *name = place + &published;
                }
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use dermafuse_backbones::BackboneKind;

    use crate::{FusionNetConfig, NetworkConfig};

    #[test]
    fn towers_have_published_names_and_heads_their_own() {
        let config = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18, vec![5, 3]));
        let names: Vec<String> = config.init(&Device::flex()).unwrap().tensor_names().into_values().collect();
        let expected = [
            "clinical.conv1.weight",
            "dermoscopic.layer4.1.bn2.running_var",
            "fusion_head.linear1.weight",
            "fusion_head.norm1.bias",
            "clinical_head.tasks.1.bias",
        ];
        for name in expected {
            assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
        }
        let mut distinct = names.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
    }
}
