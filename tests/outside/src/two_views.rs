//! A network without a backbone: a few filters over each image, and one classifier over both.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use dermafuse::backbones::{ParameterGroup, global_average_pool};
use dermafuse::networks::{
    AddressedInit, BackboneFreeze, BranchInfo, BranchOutput, DescribedNetwork, LinearHead, MAX_WIDTH, Modalities,
    Modality, MultimodalInput, Network, NetworkDescription, NetworkError, NetworkOutput, OutsideNetwork, Probe,
};
use serde::{Deserialize, Serialize};

/// Filters whose features together are as long as a layer may be.
const MAX_FILTERS: usize = MAX_WIDTH / 2;

/// [`TwoViews`] as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoViewsConfig {
    /// Filters over each image.
    pub filters: usize,
    /// Classes of each task; an experiment takes them from its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<usize>,
}

/// `C([GAP(F_c * clinical), GAP(F_d * dermoscopic)])`.
#[derive(Module, Debug)]
pub struct TwoViews {
    clinical: Conv2d,
    dermoscopic: Conv2d,
    head: LinearHead,
}

impl NetworkDescription for TwoViewsConfig {
    type Network = TwoViews;

    fn make(&self, device: &Device) -> Result<TwoViews, NetworkError> {
        // A file can say anything: what makes no network is refused before anything is computed from it.
        if !(1..=MAX_FILTERS).contains(&self.filters) {
            let reason = format!("it has 1 to {MAX_FILTERS} filters, found {}", self.filters);
            return Err(NetworkError::Outside { network: Self::KIND, reason });
        }
        // `init_addressed` in place of `init`: the seed of the experiment draws the first weights.
        let filters = || Conv2dConfig::new([3, self.filters], [5, 5]).with_stride([4, 4]).init_addressed(device);
        let head = LinearHead::init(2 * self.filters, &self.classes, device)?;
        Ok(TwoViews { clinical: filters(), dermoscopic: filters(), head })
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn classes_mut(&mut self) -> &mut Vec<usize> {
        &mut self.classes
    }
}

impl OutsideNetwork for TwoViewsConfig {
    const KIND: &'static str = "two_views";
}

impl DescribedNetwork for TwoViews {}

impl Network for TwoViews {
    fn branches(&self) -> Vec<BranchInfo> {
        vec![BranchInfo { name: "fusion", needs: Modalities::CLINICAL.and(Modalities::DERMOSCOPIC) }]
    }

    fn backbone_groups(&self) -> Vec<ParameterGroup> {
        Vec::new()
    }

    fn freeze_backbones(self, _freeze: BackboneFreeze) -> Self {
        self
    }

    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput {
        let mut features = |view, filters: &Conv2d, images: Tensor<4>| {
            let map = relu(filters.forward(images)); // [B, F, H/4, W/4]
            global_average_pool(probe.observe(view, 3, map)) // [B, F]
        };
        let clinical = features(Modality::Clinical, &self.clinical, input.clinical());
        let dermoscopic = features(Modality::Dermoscopic, &self.dermoscopic, input.dermoscopic());
        let both = Tensor::cat(vec![clinical, dermoscopic], 1); // [B, 2·F]
        let branch = BranchOutput::new("fusion", self.head.forward(both.clone())); // [B, K_t]
        NetworkOutput::new(vec![branch], both)
    }
}
