use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_data::ImageBatch;
use dermafuse_networks::MultimodalInput;

/// Moves a batch of decoded images to a device. A missing image is all zeros.
///
/// # Shapes
/// two images of `S × S` for each of `B` cases → two `[B, 3, S, S]` tensors.
#[must_use]
pub fn tensors_of(batch: ImageBatch, device: &Device) -> MultimodalInput {
    let shape = [batch.rows.len(), 3, batch.size, batch.size];
    let tensor = |pixels: Vec<f32>| Tensor::from_data(TensorData::new(pixels, shape), device); // [B, 3, S, S]
    MultimodalInput { clinical: tensor(batch.clinical), dermoscopic: tensor(batch.dermoscopic) }
}
