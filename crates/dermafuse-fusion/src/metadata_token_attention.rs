//! The patient's record as a token that looks at the features of the images.
//!
//! Paper: Zhang et al., *TFormer: A Throughout Fusion Transformer for Multi-Modal Skin Lesion Diagnosis* (Computers in Biology
//! and Medicine 2023). Source: the authors' code. Weights: none. Differences: none.

use burn::module::Module;
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use dermafuse_init::AddressedInit;
use dermafuse_kernels::Activation;

use crate::tokens::{normalize, project};
use crate::{FeatureFusion, FusionError, linear};

/// The record's features, projected to the length of the images', attend to themselves and to these; what comes of it, projected
/// back, is added to them. Made by [`MetadataTokenAttention::init`].
#[derive(Module, Debug)]
pub struct MetadataTokenAttention {
    enter: Linear,
    norm: LayerNorm,
    image_norm: LayerNorm,
    query: Linear,
    key_value: Linear,
    project: Linear,
    norm2: LayerNorm,
    hidden: Linear,
    output: Linear,
    leave: Linear,
    heads: usize,
}

impl MetadataTokenAttention {
    /// A module with fresh weights for image features of length `image` and metadata features of length `metadata`; the code has
    /// eight heads.
    ///
    /// # Errors
    /// A length of 0; heads that do not divide the image features.
    pub fn init(image: usize, metadata: usize, heads: usize, device: &Device) -> Result<Self, FusionError> {
        let module = "metadata token attention";
        FusionError::require_inputs(module, metadata)?;
        if heads == 0 || image == 0 || !image.is_multiple_of(heads) {
            return Err(FusionError::Heads { module, width: image, heads });
        }
        let bound = 1.0 / (image as f64).sqrt();
        let initializer = Initializer::Uniform { min: -bound, max: bound };
        let without_bias = |outputs| {
            let config = LinearConfig::new(image, outputs).with_bias(false);
            config.with_initializer(initializer.clone()).init_addressed(device)
        };
        let norm = || LayerNormConfig::new(image).init(device);
        Ok(Self {
            enter: linear(metadata, image, device),
            norm: norm(),
            image_norm: norm(),
            query: without_bias(image),
            key_value: without_bias(2 * image),
            project: linear(image, image, device),
            norm2: norm(),
            hidden: linear(image, image, device),
            output: linear(image, image, device),
            leave: linear(image, metadata, device),
            heads,
        })
    }

    /// # Shapes
    /// `[B, D]` twice → `[B, D]`.
    fn attend(&self, token: Tensor<2>, image: Tensor<2>) -> Tensor<2> {
        let [batch, features] = token.dims();
        let length = features / self.heads; // d
        let heads = |tokens: Tensor<3>| {
            let [_, count, _] = tokens.dims();
            tokens.reshape([batch, count, self.heads, length]).swap_dims(1, 2) // [B, h, T, d]
        };
        let both = Tensor::stack::<3>(vec![token.clone(), image], 1); // [B, 2, D]
        let query = heads(self.query.forward(token.clone().unsqueeze_dim::<3>(1))); // [B, h, 1, d]
        let both = self.key_value.forward(both); // [B, 2, 2·D]
        let [key, value] = [0, features].map(|first| heads(both.clone().narrow(2, first, features))); // [B, h, 2, d]
        let weights = softmax(query.matmul(key.swap_dims(2, 3)) * (length as f64).powf(-0.5), 3); // [B, h, 1, 2]
        let found = weights.matmul(value).reshape([batch, features]); // [B, D]
        project(&self.project, Activation::Identity, found + token)
    }
}

impl FeatureFusion for MetadataTokenAttention {
    fn forward(&self, image: Tensor<2>, metadata: Tensor<2>) -> Tensor<2> {
        let token = normalize(&self.norm, project(&self.enter, Activation::Identity, metadata.clone())); // [B, L_I]
        let image = normalize(&self.image_norm, image); // [B, L_I]
        let token = token.clone() + self.attend(token, image); // [B, L_I]
        let hidden = project(&self.hidden, Activation::Gelu, normalize(&self.norm2, token.clone())); // [B, L_I]
        let token = token + project(&self.output, Activation::Identity, hidden); // [B, L_I]
        metadata + project(&self.leave, Activation::Identity, token) // [B, L_M]
    }

    fn output_features(&self, _image: usize, metadata: usize) -> Option<usize> {
        Some(metadata)
    }
}
