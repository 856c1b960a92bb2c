use dermafuse_backbones::ParameterGroup;
use dermafuse_networks::Network;
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Training that begins with the heads alone and takes in the backbones block by block, the last block first.
///
/// Paper: Nedelcu et al., "frozen block approach". Blocks are the backbones' parameter groups (`stage4`, `stage3`, …,
/// `stem`), which are coarser than the paper's modules for EfficientNet and MobileNet. What is frozen stands still
/// altogether: its batch normalisation uses the running statistics and does not move them.
///
/// ```
/// use dermafuse_train::Unfreezing;
///
/// let unfreezing = Unfreezing { blocks: 4, epochs_per_step: 3, cumulative: true };
/// assert_eq!(unfreezing.epochs(), 15); // the heads, then four more blocks
/// assert_eq!(unfreezing.step(7), 2);
/// assert!(unfreezing.trains(2, 0) && unfreezing.trains(2, 1) && !unfreezing.trains(2, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfreezing {
    /// How many blocks of each backbone train in the end, counted from the last; 0 trains the heads alone.
    pub blocks: usize,
    /// Epochs of each step; 3 in the paper. Epochs beyond the last step go on with it.
    pub epochs_per_step: usize,
    /// Whether blocks that were unfrozen go on training; otherwise each block trains in its own step alone, with the
    /// heads.
    #[serde(default = "cumulative")]
    pub cumulative: bool,
}

fn cumulative() -> bool {
    true
}

impl Unfreezing {
    /// Epochs of all steps: the heads alone, then each block.
    #[must_use]
    pub fn epochs(&self) -> usize {
        (self.blocks + 1) * self.epochs_per_step
    }

    /// The step of an epoch, both counted from 0; in step 0 the heads train alone.
    #[must_use]
    pub fn step(&self, epoch: usize) -> usize {
        (epoch / self.epochs_per_step.max(1)).min(self.blocks)
    }

    /// Whether the block at a depth, 0 for the last of its backbone, trains in a step.
    #[must_use]
    pub fn trains(&self, step: usize, depth: usize) -> bool {
        if self.cumulative { depth < step } else { depth + 1 == step }
    }

    /// Freezes the blocks of a network that do not train in an epoch; none of them may be frozen for that before.
    pub(crate) fn apply<N: Network>(&self, network: N, epoch: usize) -> N {
        let groups = network.backbone_groups();
        let depths = depths(&groups);
        let step = self.step(epoch);
        let still = groups.into_iter().zip(depths).filter(|(_, depth)| !self.trains(step, *depth));
        still.fold(network, |network, (group, _)| network.freeze_group(group.group))
    }

    /// # Errors
    /// A schedule that makes no training of the network.
    pub(crate) fn check(&self, epochs: usize, groups: &[ParameterGroup]) -> Result<(), TrainError> {
        let error = |setting, expected, found: String| Err(TrainError::Setting { setting, expected, found });
        if self.epochs_per_step == 0 {
            return error("unfreezing.epochs_per_step", "at least 1", "0".into());
        }
        if epochs < self.epochs() {
            let found = format!("{epochs}, where the steps of unfreezing take {}", self.epochs());
            return error("epochs", "enough for every step of unfreezing", found);
        }
        let deepest = depths(groups).into_iter().map(|depth| depth + 1).max().unwrap_or(0);
        if self.blocks > deepest {
            let found = format!("{} blocks, where the backbones have {deepest}", self.blocks);
            return error("unfreezing.blocks", "at most the parameter groups of a backbone", found);
        }
        Ok(())
    }
}

/// How far each parameter group is from the end of its backbone, 0 for the last; backbones follow each other, each stem
/// first.
pub(crate) fn depths(groups: &[ParameterGroup]) -> Vec<usize> {
    let mut depths = vec![0; groups.len()];
    let mut depth = 0;
    for (index, group) in groups.iter().enumerate().rev() {
        depths[index] = depth;
        // A stem ends its backbone; the next group is the last one of the backbone before.
        depth = if index > 0 && group.name == groups[0].name { 0 } else { depth + 1 };
    }
    depths
}
