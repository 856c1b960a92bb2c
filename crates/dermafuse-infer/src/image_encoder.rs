use std::fmt::Debug;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use dermafuse_backbones::{AnyBackbone, BackboneKind, named_tensors, tensor_names};
use dermafuse_networks::{AnyNetwork, FrozenEncoders, Modality, NetworkConfig};
use ndarray::Array2;
use sha2::{Digest, Sha256};

use crate::network_engine::table;
use crate::onnx_encoder::OnnxEncoder;
use crate::{EngineError, InferError};

/// Gives the features of images, and stands still: a backbone of this library, or an ONNX file that an engine runs. Another source of
/// encoders is another implementation.
pub trait ImageEncoder: Debug + Send + Sync {
    /// What the features depend on beside the images, as text without spaces: weights, and what runs them. Features of encoders with the
    /// same identity are the same.
    fn identity(&self) -> &str;

    /// Number of features of an image, `D`.
    fn features(&self) -> usize;

    /// The features of images that were prepared. Those of an image do not depend on the others.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` → `[B, D]`.
    ///
    /// # Errors
    /// A library that fails, or gives other shapes than before.
    fn encode(&self, images: Tensor<4>) -> Result<Array2<f32>, EngineError>;
}

/// A backbone of this library, on the device where its weights are.
#[derive(Debug)]
struct BackboneEncoder {
    encoders: FrozenEncoders<AnyBackbone>,
    image: Modality,
    identity: String,
}

impl BackboneEncoder {
    /// The backbone of a kind of image, and its architecture.
    fn new(encoders: &FrozenEncoders<AnyBackbone>, image: Modality, kind: BackboneKind) -> Option<Self> {
        let encoders = encoders.valid();
        let backbone = encoders.encoder(image)?;
        let mut digest = Sha256::new();
        for tensor in named_tensors(backbone, &tensor_names(backbone)) {
            digest.update((tensor.name.len() as u64).to_le_bytes());
            digest.update(tensor.name.as_bytes());
            digest.update((tensor.shape.len() as u64).to_le_bytes());
            tensor.shape.iter().for_each(|&side| digest.update((side as u64).to_le_bytes()));
            let values: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            digest.update(&values);
        }
        let weights: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let device = format!("{:?}", encoders.devices().first()).replace(char::is_whitespace, "");
        let identity = format!("{}:{weights}:{}:{device}", kind.name(), env!("CARGO_PKG_VERSION"));
        Some(Self { encoders, image, identity })
    }
}

impl ImageEncoder for BackboneEncoder {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn features(&self) -> usize {
        self.encoders.features(self.image)
    }

    fn encode(&self, images: Tensor<4>) -> Result<Array2<f32>, EngineError> {
        table(self.encoders.encode(self.image, images))
    }
}

/// The encoder of each kind of image, clinical first.
pub type ImageEncoders = Vec<(Modality, Arc<dyn ImageEncoder>)>;

/// The encoders of a network of [`FrozenEncoders`], for each kind of image that it looks at, clinical first; none of other networks. `file`
/// is the ONNX file where the network is described as one; images have a side of `side` pixels.
///
/// # Errors
/// An ONNX file that is missing, or that no engine can run as it is described.
pub fn image_encoders(
    config: &NetworkConfig,
    network: &AnyNetwork,
    file: Option<&[u8]>,
    side: usize,
) -> Result<ImageEncoders, InferError> {
    let (NetworkConfig::FrozenEncoders(config), AnyNetwork::FrozenEncoders(network)) = (config, network) else {
        return Ok(Vec::new());
    };
    let images = network.images().iter().copied();
    match config.onnx() {
        None => {
            let own = |image| {
                let kind = config.backbone_of(image)?;
                Some((image, Arc::new(BackboneEncoder::new(network, image, kind)?) as Arc<dyn ImageEncoder>))
            };
            Ok(images.filter_map(own).collect())
        }
        Some(onnx) => {
            let file = file.ok_or_else(|| InferError::Inconsistent {
                what: "the file of the encoder".into(),
                found: "nothing".into(),
                expected: "an ONNX file".into(),
            })?;
            let encoder: Arc<dyn ImageEncoder> = Arc::new(OnnxEncoder::open(onnx, file, side)?);
            Ok(images.map(|image| (image, encoder.clone())).collect())
        }
    }
}
