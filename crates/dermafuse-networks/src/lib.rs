//! Whole multimodal architectures: backbones, fusion and heads put together, from images to the logits of every branch.
//!
//! A [`Network`] takes a [`MultimodalInput`] and gives a [`NetworkOutput`]: named branches, each with the logits of
//! every task. [`NetworkConfig`] describes one as data, so it can be saved beside the weights.
//!
//! # Shapes
//! `[B, 3, H, W]` images, `[B, D]` pooled features, `[B, K_t]` logits of task `t`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use dermafuse_backbones::BackboneKind;
//! use dermafuse_networks::{FusionNetConfig, MultimodalInput, Network};
//!
//! let device = Device::flex();
//! let network = FusionNetConfig::new(BackboneKind::ResNet18, vec![5, 3]).init(&device)?.valid();
//! let images = Tensor::zeros([1, 3, 64, 64], &device);
//! let output = network.forward(MultimodalInput { clinical: images.clone(), dermoscopic: images });
//! assert_eq!(output.branches.len(), 3);
//! assert_eq!(output.branches[0].logits[0].dims(), [1, 5]);
//! # use burn::module::Module;
//! # Ok::<(), dermafuse_networks::NetworkError>(())
//! ```

mod error;
mod fusion_net;
mod head;
mod kind;
mod network;

pub use error::NetworkError;
pub use fusion_net::{FusionNet, FusionNetConfig};
pub use head::{MultitaskHead, MultitaskHeadConfig};
pub use kind::{AnyNetwork, NetworkConfig};
pub use network::{BackboneFreeze, BranchInfo, BranchOutput, MultimodalInput, Network, NetworkOutput};
