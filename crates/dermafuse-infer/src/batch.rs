use burn::tensor::{Device, Tensor, TensorData};
use dermafuse_data::{ImageBatch, ModalityDropout};
use dermafuse_networks::{Modalities, MultimodalInput};
use dermafuse_schema::ndarray::Array2;
use dermafuse_schema::{Case, Modality};

/// The kinds of images that a network looks at.
///
/// ```
/// use dermafuse_infer::kinds_of;
/// use dermafuse_networks::{Modalities, Modality};
///
/// assert!(kinds_of(Modalities::CLINICAL).eq([Modality::Clinical]));
/// ```
pub fn kinds_of(modalities: Modalities) -> impl Iterator<Item = Modality> + Clone {
    Modality::BOTH.into_iter().filter(move |kind| match kind {
        Modality::Clinical => modalities.clinical,
        Modality::Dermoscopic => modalities.dermoscopic,
    })
}

/// What is there of a case: its images, and whether anything that the model uses is recorded of the patient.
#[must_use]
pub fn modalities_of(case: &Case, has_record: bool) -> Modalities {
    Modalities {
        clinical: case.has(Modality::Clinical),
        dermoscopic: case.has(Modality::Dermoscopic),
        metadata: has_record,
    }
}

/// What a network that was trained with a dropout of modalities was trained to miss.
#[must_use]
pub fn may_miss(dropout: Option<ModalityDropout>) -> Modalities {
    dropout.map_or_else(Modalities::default, |dropout| Modalities {
        clinical: dropout.clinical > 0.0,
        dermoscopic: dropout.dermoscopic > 0.0,
        metadata: dropout.metadata > 0.0,
    })
}

/// Moves a batch of decoded images and encoded metadata to a device, as far as the network looks at them. A missing image is
/// all zeros.
///
/// # Shapes
/// images of `S × S` for each of `B` cases → `[B, 3, S, S]` tensors; `[B, M]` metadata → `[B, M]`.
///
/// # Panics
/// If images and metadata are not of the same number of cases.
#[must_use]
pub fn tensors_of(
    batch: ImageBatch,
    metadata: Array2<f64>,
    modalities: Modalities,
    device: &Device,
) -> MultimodalInput {
    assert_eq!(batch.rows.len(), metadata.nrows(), "images and metadata are of the same cases");
    let shape = [batch.rows.len(), 3, batch.size, batch.size];
    let images = |pixels: Vec<f32>| Tensor::from_data(TensorData::new(pixels, shape), device); // [B, 3, S, S]
    let records = || {
        let shape = [metadata.nrows(), metadata.ncols()];
        let values: Vec<f32> = metadata.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device) // [B, M]
    };
    MultimodalInput {
        clinical: batch.clinical.filter(|_| modalities.clinical).map(images),
        dermoscopic: batch.dermoscopic.filter(|_| modalities.dermoscopic).map(images),
        metadata: modalities.metadata.then(records),
    }
}
