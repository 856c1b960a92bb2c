//! The closed list of heads, chosen at run time.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use dermafuse_backbones::global_average_pool;
use dermafuse_schema::SettingFault;
use serde::{Deserialize, Serialize};

use crate::limits::require_dropout;
use crate::{LinearHead, LocationHead, MultitaskHead, MultitaskHeadConfig, NetworkError};

/// A head as data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// One linear layer for each task.
    #[default]
    Linear,
    /// A multilayer perceptron that the tasks share, then one linear layer for each.
    Mlp {
        /// Dropout after each shared layer; 0.3 as released.
        dropout: f64,
    },
    /// One linear layer for each task at every location of the feature map, then the mean.
    PerLocation,
}

/// A head chosen at run time. Made by [`HeadKind::init`].
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has a handful")]
pub enum AnyHead {
    /// One linear layer for each task.
    Linear(LinearHead),
    /// A multilayer perceptron that the tasks share, then one linear layer for each.
    Mlp(MultitaskHead),
    /// One linear layer for each task at every location of the feature map, then the mean.
    PerLocation(LocationHead),
}

impl HeadKind {
    /// The perceptron with the released dropout.
    pub const MLP: Self = Self::Mlp { dropout: 0.3 };

    /// Checks the settings.
    ///
    /// # Errors
    /// A dropout outside 0..1.
    pub(crate) fn check_settings(self) -> Result<(), SettingFault> {
        match self {
            Self::Mlp { dropout } => require_dropout(dropout).map_err(|fault| fault.under("mlp")),
            Self::Linear | Self::PerLocation => Ok(()),
        }
    }

    /// A head with fresh weights for features of length `features`.
    ///
    /// # Errors
    /// No task, a task of fewer than two classes, or dropout outside 0..1.
    pub fn init(self, features: usize, classes: &[usize], device: &Device) -> Result<AnyHead, NetworkError> {
        match self {
            Self::Linear => LinearHead::init(features, classes, device).map(AnyHead::Linear),
            Self::Mlp { dropout } => {
                let config = MultitaskHeadConfig { features, classes: classes.to_vec(), dropout };
                config.init(device).map(AnyHead::Mlp)
            }
            Self::PerLocation => LocationHead::init(features, classes, device).map(AnyHead::PerLocation),
        }
    }
}

impl AnyHead {
    /// The logits of a feature map, whichever comes first: pooling or the classifier.
    ///
    /// # Shapes
    /// `[B, D, H, W]` → one `[B, K_t]` for each task.
    #[must_use]
    pub fn forward_map(&self, map: Tensor<4>) -> Vec<Tensor<2>> {
        match self {
            Self::PerLocation(head) => head.forward(map),
            Self::Linear(_) | Self::Mlp(_) => self.forward(global_average_pool(map)),
        }
    }

    /// # Shapes
    /// `[B, D]` → one `[B, K_t]` for each task.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Vec<Tensor<2>> {
        match self {
            Self::Linear(head) => head.forward(features),
            Self::Mlp(head) => head.forward(features),
            Self::PerLocation(head) => head.forward_pooled(features),
        }
    }
}
