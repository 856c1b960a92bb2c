//! What every network takes and gives.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use dermafuse_backbones::{Backbone, ParameterGroup, freeze_batch_norm};
use dermafuse_schema::Modality;
use serde::{Deserialize, Serialize};

use crate::Probe;

/// One batch. What the network does not look at may be left out. A case that lacks an image has zeros in its place; its
/// branches that need the image are ignored afterwards (see [`BranchInfo`]). In inference no case influences another.
#[derive(Clone, Debug)]
pub struct MultimodalInput {
    /// `[B, 3, H, W]` clinical photos, normalised.
    pub clinical: Option<Tensor<4>>,
    /// `[B, 3, H, W]` dermoscopic images, normalised.
    pub dermoscopic: Option<Tensor<4>>,
    /// `[B, M]` encoded metadata.
    pub metadata: Option<Tensor<2>>,
}

impl MultimodalInput {
    /// `[B, 3, H, W]` clinical photos.
    ///
    /// # Panics
    /// If the batch has none.
    #[must_use]
    pub fn clinical(&self) -> Tensor<4> {
        self.clinical.clone().expect("the batch has the clinical photos that the network looks at")
    }

    /// `[B, 3, H, W]` dermoscopic images.
    ///
    /// # Panics
    /// If the batch has none.
    #[must_use]
    pub fn dermoscopic(&self) -> Tensor<4> {
        self.dermoscopic.clone().expect("the batch has the dermoscopic images that the network looks at")
    }

    /// `[B, 3, H, W]` images of one kind.
    ///
    /// # Panics
    /// If the batch has none.
    #[must_use]
    pub fn image(&self, view: Modality) -> Tensor<4> {
        match view {
            Modality::Clinical => self.clinical(),
            Modality::Dermoscopic => self.dermoscopic(),
        }
    }

    /// `[B, M]` encoded metadata.
    ///
    /// # Panics
    /// If the batch has none.
    #[must_use]
    pub fn metadata(&self) -> Tensor<2> {
        self.metadata.clone().expect("the batch has the metadata that the network looks at")
    }
}

/// What a network or one of its branches looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modalities {
    /// The clinical photo.
    pub clinical: bool,
    /// The dermoscopic image.
    pub dermoscopic: bool,
    /// The patient's record. One in which nothing is recorded can be looked at too: it is encoded as zeros.
    pub metadata: bool,
}

impl Modalities {
    /// The clinical photo alone.
    pub const CLINICAL: Self = Self { clinical: true, dermoscopic: false, metadata: false };
    /// The dermoscopic image alone.
    pub const DERMOSCOPIC: Self = Self { clinical: false, dermoscopic: true, metadata: false };
    /// The patient's record alone.
    pub const METADATA: Self = Self { clinical: false, dermoscopic: false, metadata: true };

    /// What either looks at.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            clinical: self.clinical || other.clinical,
            dermoscopic: self.dermoscopic || other.dermoscopic,
            metadata: self.metadata || other.metadata,
        }
    }

    /// Whether all that these look at is among what others are.
    #[must_use]
    pub const fn are_among(self, others: Self) -> bool {
        (others.clinical || !self.clinical)
            && (others.dermoscopic || !self.dermoscopic)
            && (others.metadata || !self.metadata)
    }

    /// Whether any of what these look at is among what others are.
    #[must_use]
    pub const fn share_with(self, others: Self) -> bool {
        (self.clinical && others.clinical)
            || (self.dermoscopic && others.dermoscopic)
            || (self.metadata && others.metadata)
    }
}

impl From<Modality> for Modalities {
    /// The image alone.
    fn from(view: Modality) -> Self {
        match view {
            Modality::Clinical => Self::CLINICAL,
            Modality::Dermoscopic => Self::DERMOSCOPIC,
        }
    }
}

/// What a branch is called and what it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// Name, such as `clinical`.
    pub name: &'static str,
    /// What it looks at.
    pub needs: Modalities,
}

/// The logits of one branch.
#[derive(Clone, Debug)]
pub struct BranchOutput {
    /// Name, as in the network's [`BranchInfo`].
    pub name: &'static str,
    /// One `[B, K_t]` tensor for each task.
    pub logits: Vec<Tensor<2>>,
    /// How much the branch's loss counts; 1 unless the paper says otherwise.
    pub loss_weight: f64,
}

impl BranchOutput {
    /// A branch whose loss counts fully.
    #[must_use]
    pub fn new(name: &'static str, logits: Vec<Tensor<2>>) -> Self {
        Self { name, logits, loss_weight: 1.0 }
    }
}

/// A loss that a network computes by itself, beside that of its logits.
#[derive(Clone, Debug)]
pub struct Auxiliary {
    /// Name, as in [`Network::auxiliary`]: the loss is weighed by it.
    pub name: &'static str,
    /// `[1]` mean over the batch.
    pub loss: Tensor<1>,
}

/// What a network gives for a batch.
#[derive(Clone, Debug)]
pub struct NetworkOutput {
    /// The branches, in the order of [`Network::branches`].
    pub branches: Vec<BranchOutput>,
    /// `[B, D]` the features that the last branch's classifier sees: for pictures of what the network has learnt.
    pub embedding: Tensor<2>,
    /// Losses beside those of the branches, in the order of [`Network::auxiliary`]; none outside of training.
    pub auxiliary: Vec<Auxiliary>,
}

impl NetworkOutput {
    /// An output without losses of its own.
    #[must_use]
    pub fn new(branches: Vec<BranchOutput>, embedding: Tensor<2>) -> Self {
        Self { branches, embedding, auxiliary: Vec::new() }
    }
}

/// A network that the trainer can train and the predictor can ask.
pub trait Network: Module + ModuleDisplay + Sync {
    /// The branches, in the order in which `forward` gives them.
    fn branches(&self) -> Vec<BranchInfo>;

    /// What any branch looks at.
    fn modalities(&self) -> Modalities {
        self.branches().iter().fold(Modalities::default(), |all, branch| all.and(branch.needs))
    }

    /// Whether each branch is the classifier of a subset of the modalities, so that some of them may be missing. Then a record
    /// in which nothing is recorded counts as missing, and a case that lacks something is answered by the largest subset that
    /// it has; see [`seeing`](Self::seeing) and [`answering`](Self::answering).
    fn answers_by_subset(&self) -> bool {
        false
    }

    /// Which branches see enough of a case of which `there` is there, in the order of [`branches`](Self::branches): those whose
    /// images are there and, of a network that answers by subset, whose record is. These are the branches that learn from it.
    fn seeing(&self, there: Modalities) -> Vec<bool> {
        let there = Modalities { metadata: there.metadata || !self.answers_by_subset(), ..there };
        self.branches().iter().map(|branch| branch.needs.are_among(there)).collect()
    }

    /// Which branches answer for a case of which `there` is there: those that see enough of it. Of a network that answers by
    /// subset, a case that lacks something is answered by those of them alone that look at most, so that no other one that sees
    /// it looks at the same and more.
    fn answering(&self, there: Modalities) -> Vec<bool> {
        let seeing = self.seeing(there);
        if !self.answers_by_subset() || self.modalities().are_among(there) {
            return seeing;
        }
        let branches = self.branches();
        let is_outdone = |needs: Modalities| {
            let mut others = branches.iter().zip(&seeing).filter(|(_, sees)| **sees);
            others.any(|(other, _)| other.needs != needs && needs.are_among(other.needs))
        };
        branches.iter().zip(&seeing).map(|(branch, sees)| *sees && !is_outdone(branch.needs)).collect()
    }

    /// Which branches see a case of a network that was trained to miss some modalities: those of [`seeing`](Self::seeing), and those
    /// that lack only what `may_miss` names and see something of what they look at, with zeros for the rest. A network that answers
    /// by subset has branches for that.
    fn seeing_despite(&self, there: Modalities, may_miss: Modalities) -> Vec<bool> {
        let seeing = self.seeing(there);
        if self.answers_by_subset() {
            return seeing;
        }
        let branches = self.branches();
        let does_without = |needs: Modalities| needs.are_among(there.and(may_miss)) && needs.share_with(there);
        branches.iter().zip(seeing).map(|(branch, sees)| sees || does_without(branch.needs)).collect()
    }

    /// Which branches answer for a case of a network that was trained to miss some modalities: see
    /// [`answering`](Self::answering) and [`seeing_despite`](Self::seeing_despite).
    fn answering_despite(&self, there: Modalities, may_miss: Modalities) -> Vec<bool> {
        match self.answers_by_subset() {
            true => self.answering(there),
            false => self.seeing_despite(there, may_miss),
        }
    }

    /// The parameter groups of the backbones, each stem first; what is in none of them is head or fusion module.
    fn backbone_groups(&self) -> Vec<ParameterGroup>;

    /// Takes parts of the backbones out of training: their weights stand still and their normalisation uses the running
    /// statistics. Heads and fusion modules go on training.
    #[must_use]
    fn freeze_backbones(self, freeze: BackboneFreeze) -> Self;

    /// # Shapes
    /// `[B, 3, H, W]` images and `[B, M]` metadata → `[B, K_t]` logits for each branch and task `t`.
    ///
    /// # Panics
    /// If the input lacks something of the [`modalities`](Self::modalities).
    fn forward(&self, input: MultimodalInput) -> NetworkOutput {
        self.forward_probed(input, &mut Probe::off())
    }

    /// The same with a probe that is shown every feature map on the way: see [`Probe::features`] and [`Probe::observe`].
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn forward_probed(&self, input: MultimodalInput, probe: &mut Probe) -> NetworkOutput;

    /// The names of the losses that `forward` adds in training.
    fn auxiliary(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The network when the share `progress` of its training, 0 to 1, is done: for what changes by a schedule.
    #[must_use]
    fn at_progress(self, _progress: f64) -> Self {
        self
    }

    /// Whether `at_progress` changes anything: then a longer training is another one from its first step.
    fn changes_with_progress(&self) -> bool {
        false
    }

    /// The network without what only training needs. Its predictions are the same.
    #[must_use]
    fn into_inference(self) -> Self {
        self
    }
}

/// Which parts of the backbones do not train.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneFreeze {
    /// How many parts of a backbone stand still, counted from the stem: 0 trains everything, 1 freezes the stem, 2 the stem
    /// and the first stage, and so on.
    pub groups: usize,
    /// Whether all batch normalisation of the backbones uses its running statistics and stands still: for small batches,
    /// and for weights whose normalisation was folded into the convolutions.
    pub batch_norm: bool,
}

impl BackboneFreeze {
    /// The parts of a backbone: the stem and four stages.
    pub const PARTS: usize = 5;

    /// The backbone with the chosen parts frozen.
    #[must_use]
    pub fn apply<B: Backbone>(self, backbone: B) -> B {
        let backbone = match self.batch_norm {
            true => freeze_batch_norm(backbone),
            false => backbone,
        };
        let groups = backbone.parameter_groups();
        let mut parts: Vec<&str> = groups.iter().map(|group| group.part).collect();
        parts.dedup();
        parts.truncate(self.groups);
        let frozen = groups.into_iter().filter(|group| parts.contains(&group.part));
        frozen.fold(backbone, |backbone, frozen| backbone.freeze_group(frozen.group))
    }
}
