//! What every network takes and gives.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use dermafuse_backbones::{Backbone, freeze_batch_norm};
use serde::{Deserialize, Serialize};

/// One batch of images. A case that lacks an image has zeros in its place; its branches that need the image are
/// ignored afterwards (see [`BranchInfo`]). In inference no case influences another.
#[derive(Clone, Debug)]
pub struct MultimodalInput {
    /// `[B, 3, H, W]` clinical photos, normalised.
    pub clinical: Tensor<4>,
    /// `[B, 3, H, W]` dermoscopic images, normalised.
    pub dermoscopic: Tensor<4>,
}

/// What a branch is called and which images it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// Name, such as `clinical`.
    pub name: &'static str,
    /// Whether it looks at the clinical photo.
    pub needs_clinical: bool,
    /// Whether it looks at the dermoscopic image.
    pub needs_dermoscopic: bool,
}

/// The logits of one branch.
#[derive(Clone, Debug)]
pub struct BranchOutput {
    /// Name, as in the network's [`BranchInfo`].
    pub name: &'static str,
    /// One `[B, K_t]` tensor for each task.
    pub logits: Vec<Tensor<2>>,
}

/// The logits of every branch, in the order of [`Network::branches`].
#[derive(Clone, Debug)]
pub struct NetworkOutput {
    /// The branches.
    pub branches: Vec<BranchOutput>,
}

/// A network that the trainer can train and the predictor can ask.
pub trait Network: Module + ModuleDisplay {
    /// The branches, in the order in which `forward` gives them.
    fn branches(&self) -> &'static [BranchInfo];

    /// Takes parts of the backbones out of training: their weights stand still and their normalisation uses the running
    /// statistics. Heads and fusion modules go on training.
    #[must_use]
    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self;

    /// # Shapes
    /// `[B, 3, H, W]` images → `[B, K_t]` logits for each branch and task `t`.
    fn forward(&self, input: MultimodalInput) -> NetworkOutput;
}

/// Which parts of the backbones do not train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneFreeze {
    /// How many parameter groups stand still, counted from the stem: 0 trains everything, 1 freezes the stem, 2 the stem
    /// and the first stage, and so on.
    pub groups: usize,
    /// Whether all batch normalisation of the backbones uses its running statistics and stands still: for small batches,
    /// and for weights whose normalisation was folded into the convolutions.
    pub batch_norm: bool,
}

impl BackboneFreeze {
    /// The backbone with the chosen parts frozen.
    #[must_use]
    pub fn apply<B: Backbone>(self, backbone: B) -> B {
        let backbone = match self.batch_norm {
            true => freeze_batch_norm(backbone),
            false => backbone,
        };
        let groups = backbone.parameter_groups().into_iter().take(self.groups);
        groups.fold(backbone, |backbone, frozen| backbone.freeze_group(frozen.group))
    }
}
