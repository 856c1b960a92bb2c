use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How the images of the two modalities go through one backbone: it matters to batch normalization alone.
///
/// Joined, a training step normalizes both by the statistics that inference will have. One after the other, it normalizes each
/// by its own, while the running statistics become those of both: what is trained is then another network than what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModalityBatches {
    /// As one batch of twice the size, with one statistic.
    #[default]
    Joined,
    /// One after the other, each with a statistic of its own.
    Separate,
}

impl ModalityBatches {
    /// What goes through the backbone at once, of the maps `[B, C, H, W]` of each modality.
    pub(crate) fn batches(self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        match self {
            Self::Joined if maps.len() > 1 => vec![Tensor::cat(maps, 0)], // [N·B, C, H, W]
            Self::Joined | Self::Separate => maps,
        }
    }

    /// The maps of each of `count` modalities, of what went through the backbone at once.
    pub(crate) fn modalities(self, batches: Vec<Tensor<4>>, count: usize) -> Vec<Tensor<4>> {
        match self {
            Self::Joined => batches[0].clone().chunk(count, 0), // count times [B, C, H, W]
            Self::Separate => batches,
        }
    }
}
