//! Whole multimodal architectures: backbones, fusion and heads put together, from images to the logits of every branch.
//!
//! A [`Network`] takes a [`MultimodalInput`] and gives a [`NetworkOutput`]: named branches, each with the logits of
//! every task. [`NetworkConfig`] describes one as data, so it can be saved beside the weights.
//!
//! # Shapes
//! `[B, 3, H, W]` images, `[B, M]` encoded metadata, `[B, D]` pooled features, `[B, K_t]` logits of task `t`.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use dermafuse_backbones::BackboneKind;
//! use dermafuse_networks::{FusionNetConfig, MultimodalInput, Network};
//!
//! let device = Device::flex();
//! let network = FusionNetConfig::new(BackboneKind::ResNet18, vec![5, 3]).init(&device)?.valid();
//! let images = Tensor::zeros([1, 3, 64, 64], &device);
//! let output = network.forward(MultimodalInput {
//!     clinical: Some(images.clone()),
//!     dermoscopic: Some(images),
//!     metadata: None,
//! });
//! assert_eq!(output.branches.len(), 3);
//! assert_eq!(output.branches[0].logits[0].dims(), [1, 5]);
//! # use burn::module::Module;
//! # Ok::<(), dermafuse_networks::NetworkError>(())
//! ```

mod amfam;
mod asymmetric_fusion;
mod attention_fusion;
mod attention_map;
mod caf_net;
mod convolution;
mod deep_ensemble;
mod description;
mod embedding_layers;
mod embedding_net;
mod error;
mod frozen_encoders;
mod fusion_net;
mod hc_cnn;
mod head;
mod head_kind;
mod hyper_connection;
mod image_classifier;
mod joint_fusion;
mod joint_individual_fusion;
mod kind;
mod limits;
mod linear_head;
mod location_head;
mod loss_weights;
mod map_sizes;
mod metadata_classifier;
mod metadata_network;
mod modality_batches;
mod modality_discriminator;
mod modality_subset_net;
mod network;
mod one_stage_fusion;
mod outside_network;
mod probe;
mod reconstruction;
mod reconstruction_loss;
mod residual_block;
mod resize;
mod single_shared_network;
mod tensor_names;
mod tformer;
mod triple_net;
#[cfg(test)]
#[allow(unreachable_pub, reason = "it is public where a page shows how it is added")]
mod twin_net;
mod uniform_classifier;

pub use dermafuse_init::{
    AddressedDropout, AddressedInit, AddressedParameter, BatchStatistic, CollectedStatistics, collect_statistics,
    draw_first_weights, draw_for_pass, draw_kept, move_statistics,
};
pub use dermafuse_registry::RegistryError;
pub use dermafuse_schema::{Modality, UnknownModality};

pub use amfam::{Amfam, AmfamConfig, AmfamRow, ReconstructionConfig};
pub use asymmetric_fusion::{AsymmetricFusion, AsymmetricFusionConfig, HeadMaps};
pub use attention_map::{AttentionMap, Squeeze};
pub use caf_net::{CafNet, CafNetConfig};
pub use deep_ensemble::{DeepEnsemble, DeepEnsembleConfig, MAX_MEMBERS};
pub use description::{DescribedNetwork, NetworkDescription, with_published_weights};
pub use embedding_layers::EmbeddingLayers;
pub use embedding_net::{EmbeddingNet, EmbeddingNetConfig};
pub use error::NetworkError;
pub use frozen_encoders::{
    EncoderKind, FrozenEncoders, FrozenEncodersConfig, ImageLayout, OnnxEncoderConfig, TokenPooling,
};
pub use fusion_net::{FusionNet, FusionNetConfig};
pub use hc_cnn::{HcCnn, HcCnnConfig};
pub use head::{MultitaskHead, MultitaskHeadConfig};
pub use head_kind::{AnyHead, HeadKind};
pub use image_classifier::{ImageClassifier, ImageClassifierConfig};
pub use joint_fusion::{JointFeatures, JointFusion, JointFusionConfig, MetadataInput};
pub use joint_individual_fusion::{JointIndividualFusion, JointIndividualFusionConfig};
pub use kind::{AnyNetwork, NetworkConfig, NetworkKind};
pub use limits::{MAX_PARAMETERS, MAX_WIDTH};
pub use linear_head::LinearHead;
pub use location_head::LocationHead;
pub use loss_weights::LossWeights;
pub use metadata_classifier::{MetadataClassifier, MetadataClassifierConfig};
pub use metadata_network::{MetadataNetwork, MetadataNetworkConfig};
pub use modality_batches::ModalityBatches;
pub use modality_discriminator::{ModalityDiscriminator, ModalityDiscriminatorConfig};
pub use modality_subset_net::{ModalitySubset, ModalitySubsetNet, ModalitySubsetNetConfig};
pub use network::{
    Auxiliary, BackboneFreeze, BranchInfo, BranchOutput, Modalities, MultimodalInput, Network, NetworkOutput,
};
pub use one_stage_fusion::{OneStageFusion, OneStageFusionConfig, SeenImages};
pub use outside_network::{OutsideNetwork, register_network};
pub use probe::{PositionAttention, Probe};
pub use reconstruction::{Fit, Reconstruction};
pub use reconstruction_loss::{ColorReduction, PixelFactor, reconstruction_loss};
pub use single_shared_network::{SingleSharedNetwork, SingleSharedNetworkConfig};
pub use tformer::{TFormer, TFormerConfig};
pub use triple_net::{TripleNet, TripleNetConfig};
pub use uniform_classifier::{UniformClassifier, UniformClassifierConfig};
