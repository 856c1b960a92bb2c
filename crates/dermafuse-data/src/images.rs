//! From image files to batches: where they lie, decoding, resizing, augmentation, checks.

pub(crate) mod augment;
pub(crate) mod batch_loader;
pub(crate) mod case_loader;
pub(crate) mod corruption;
pub(crate) mod framing;
pub(crate) mod image;
pub(crate) mod image_cache;
pub(crate) mod image_check;
pub(crate) mod image_folder;
pub(crate) mod lesion_cut;
pub(crate) mod lesion_mask;
pub(crate) mod mixing;
pub(crate) mod modality_dropout;
pub(crate) mod network_input;
pub(crate) mod patient_image;
pub(crate) mod preprocess;
pub(crate) mod quality;
pub(crate) mod sampler;
