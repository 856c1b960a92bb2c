use std::collections::BTreeMap;

use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

/// What a training run minimises: the cross-entropy of every branch and task, added up, and the network's own losses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// How branch and task losses add up.
    pub reduction: LossReduction,
    /// How much the classes of a task weigh.
    pub class_weights: ClassBalancing,
    /// Focusing parameter `γ ≥ 0` of the focal loss `(1 − p)^γ · CE` (Lin et al., ICCV 2017); 0 is the cross-entropy.
    pub focal_gamma: f64,
    /// Share `ε` of the target that is spread over all classes, in 0..1 (Szegedy et al., CVPR 2016; weighted classes as in
    /// PyTorch's `cross_entropy`).
    pub label_smoothing: f64,
    /// Over which classes that share is spread.
    #[serde(default)]
    pub smoothing_spread: SmoothingSpread,
    /// How far the frequencies of the classes among the training cases are taken out of what the network learns: `τ · ln π` is added to
    /// the logits in the loss, and not in prediction (Menon et al., ICLR 2021, logit adjustment; with 1 the balanced softmax of Ren et
    /// al., NeurIPS 2020, whose answers stand on equally frequent classes). 0 leaves them as they are.
    #[serde(default)]
    pub logit_adjustment: f64,
    /// Weights of the losses that a network adds by itself, by name (see
    /// [`Auxiliary`](dermafuse_networks::Auxiliary)); one that is not named counts fully. The reduction does not touch them.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, f64>,
}

/// How branch and task losses add up. A network may weigh its branches
/// ([`loss_weight`](dermafuse_networks::BranchOutput::loss_weight)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReduction {
    /// `0.33 · Σ_branches (1/T) Σ_tasks CE`, as released with FusionM4Net.
    #[default]
    Released,
    /// `Σ_branches w_b (1/T) Σ_tasks CE`, with the branch weights of the network (AMMFM, thesis Eq. 5.2 and 5.3; PEMM,
    /// Eq. 5.5 to 5.7).
    TaskMean,
    /// `Σ_branches Σ_tasks CE` (thesis Eq. 6.1–6.4, and joint-individual fusion, §4.3.2).
    Paper,
}

/// How far the loss of a task makes up for rare classes. It follows from the numbers of cases alone, as every task has other classes;
/// weights that are given as numbers are for classifiers (`dermafuse_ensemble::ClassWeights`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassBalancing {
    /// All alike, as released with FusionM4Net.
    #[default]
    Uniform,
    /// `n / (K · n_c)`: every class has the same total weight. MetaBlock's `n / n_c` is the same, since a batch's loss is
    /// divided by the sum of its weights.
    Balanced,
    /// The square root of `Balanced`: between the two.
    SquareRoot,
    /// `n / (K · n_c)` with the numbers of each batch, its `K` classes that it has cases of: in every batch every class that
    /// it has weighs the same, whatever was drawn. A class that it has no case of weighs nothing.
    BalancedInBatch,
}

/// How label smoothing shares out what it takes from the label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmoothingSpread {
    /// Every class gets the same.
    #[default]
    Evenly,
    /// Every class gets its frequency among the training cases. This belongs to [`logit_adjustment`](LossConfig::logit_adjustment): with
    /// even shares, a class that is rarer than the share it gets (0.05 spread over 11 classes are 0.0045) learns a logit above those of
    /// frequent classes for every case, because the frequencies are taken out of an even share that never had them.
    Frequencies,
}

impl LossConfig {
    /// The loss of joint-individual fusion: sums, classes weighted by their rarity.
    #[must_use]
    pub fn joint_individual_fusion() -> Self {
        Self { reduction: LossReduction::Paper, class_weights: ClassBalancing::Balanced, ..Self::default() }
    }

    /// The loss of AMFAM: sums, the adversary weighed by λ = 0.8 and both reconstructions by γ = 0.4.
    #[must_use]
    pub fn amfam() -> Self {
        let weights = [("modality", 0.8), ("reconstruction_clinical", 0.4), ("reconstruction_dermoscopic", 0.4)];
        let auxiliary = weights.map(|(name, weight)| (name.to_owned(), weight)).into();
        Self { reduction: LossReduction::Paper, auxiliary, ..Self::default() }
    }

    /// The same with the weights of these losses alone: for a network that leaves some of them out.
    #[must_use]
    pub fn with_auxiliary_of(mut self, names: &[&str]) -> Self {
        self.auxiliary.retain(|name, _| names.contains(&name.as_str()));
        self
    }

    /// The weight of a loss that a network adds by itself.
    #[must_use]
    pub fn auxiliary_weight(&self, name: &str) -> f64 {
        self.auxiliary.get(name).copied().unwrap_or(1.0)
    }

    pub(crate) fn check(&self) -> Result<(), SettingFault> {
        let Self { focal_gamma, label_smoothing, logit_adjustment, .. } = *self;
        let is_weight = |weight: f64| weight.is_finite() && weight >= 0.0;
        SettingFault::unless(is_weight(focal_gamma), "focal_gamma", "at least 0", focal_gamma)?;
        let is_share = (0.0..1.0).contains(&label_smoothing);
        SettingFault::unless(is_share, "label_smoothing", "at least 0 and below 1", label_smoothing)?;
        SettingFault::unless((0.0..=2.0).contains(&logit_adjustment), "logit_adjustment", "0 to 2", logit_adjustment)?;
        self.auxiliary.iter().try_for_each(|(name, &weight)| {
            SettingFault::unless(is_weight(weight), format!("auxiliary.{name}"), "at least 0", weight)
        })
    }
}
