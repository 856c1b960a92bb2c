//! Image backbones with the architectures and key names of torchvision (one of timm), checked against them, for DermaFuse.
//!
//! A [`Backbone`] turns images into feature maps. [`BackboneKind`] names the built-in architectures and
//! [`AnyBackbone`] holds one chosen at run time; a network generic over `B: Backbone` also accepts your own.
//! Weights in their published key names are read and written by [`load_weights`] and [`save_weights`].
//!
//! # Shapes
//!
//! `B` is the batch, `C` channels, `H` and `W` height and width, `K` classes. Images are `[B, 3, H, W]`,
//! RGB, normalized as [`BackboneKind::published_input`] says.
//!
//! # Mode
//!
//! Whether a network trains or predicts follows Burn: on an autodiff device normalization uses batch
//! statistics, under `valid()` the running ones. `freeze()` keeps the running ones and lets gradients through;
//! [`freeze_batch_norm`] does that for the normalization layers alone.
//!
//! Two towers must not be clones of one backbone: clones share parameter identities, so an optimizer would
//! update them as one. Initialize (and load) each tower on its own.
//!
//! # Example
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use dermafuse_backbones::{Backbone, BackboneKind, global_average_pool};
//!
//! let device = Device::flex();
//! let backbone = BackboneKind::ResNet18.init(None, &device);
//! let map = backbone.forward_features(Tensor::zeros([1, 3, 64, 64], &device));
//! assert_eq!(map.dims(), [1, 512, 2, 2]);
//! assert_eq!(global_average_pool(map).dims(), [1, backbone.num_features()]);
//! ```

mod backbone;
mod batch_norm;
mod container;
mod convnext;
mod densenet;
#[cfg(feature = "download")]
mod download;
mod efficientnet;
mod efficientnet_lite;
mod error;
mod facts;
mod inception;
mod key_prefix;
mod kind;
mod layers;
mod mobilenet_v2;
mod mobilenet_v3;
mod parameter_size;
mod published_weights;
mod resnet;
mod squeezenet;
mod stage_sides;
mod state_file;
mod swin;
mod vgg;
mod vision_transformer;
mod weights;
mod xception;
mod zip_directory;

pub use backbone::{
    Backbone, ConstantValues, ParameterGroup, Pretrained, PublishedConstant, global_average_pool, parameter_count,
};
pub use batch_norm::{fix_batch_norm_statistics, freeze_batch_norm};
pub use container::MAX_WEIGHTS_FILE;
pub use convnext::{ConvNeXt, ConvNeXtConfig};
pub use densenet::{DenseNet, DenseNetConfig};
#[cfg(feature = "download")]
pub use download::DownloadProgress;
pub use efficientnet::{EfficientNet, EfficientNetConfig};
pub use efficientnet_lite::{EfficientNetLite, EfficientNetLiteConfig};
pub use error::{BackboneError, KeyMismatch, PrefixDifference, ShapeMismatch};
pub use facts::{KeyStyle, PublishedInput, PublishedResampling};
pub use inception::{InceptionV3, InceptionV3Config};
pub use kind::{AnyBackbone, BackboneKind};
pub use layers::{Activation, ConvNormAct, ConvNormActConfig, Padding};
pub use mobilenet_v2::{MobileNetV2, MobileNetV2Config};
pub use mobilenet_v3::{MobileNetV3, MobileNetV3Config, MobileNetV3Size};
pub use parameter_size::{ParameterTooLarge, require_parameters_fit};
pub use published_weights::PublishedWeights;
pub use resnet::{ResNet, ResNetConfig};
pub use squeezenet::{SqueezeNet, SqueezeNetConfig};
pub use swin::{Swin, SwinConfig, SwinVersion};
pub use vgg::{Vgg16, Vgg16Config};
pub use vision_transformer::{PositionResampling, TokenPooling, VisionTransformer, VisionTransformerConfig};
pub use weights::{
    ClassifierWeights, FoundWeights, LoadOptions, NamedTensor, load_tensors, load_weights, load_weights_found,
    named_tensors, published_names, save_tensors, save_weights, set_tensors, tensor_names,
};
pub use xception::{Xception, XceptionConfig};
