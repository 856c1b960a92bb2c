//! From CSV and image files to cases, splits and augmented samples for DermaFuse.
//!
//! The way of the data: [`derm7pt::load`] or [`milk10k::load`] gives a [`CaseSet`]; a [`Split`] names its training,
//! validation and test rows, and [`Folds`] those of each round of a cross-validation; a [`MetadataEncoder`], fitted on
//! the training rows, turns metadata into numbers; a [`CaseView`] is the cases at some rows; a [`BatchLoader`] reads, resizes, augments and normalizes the images
//! on threads of its own. An own data set is [`described`] in a TOML file, lies in [`class_folders`], or fills a
//! [`CaseSet`] in code; a [`Table`] helps with the CSV, and a [`ProposedSet`] writes the first description. A [`ClassMap`] makes
//! one set of several.
//!
//! Three things are guarded: no group (patient, lesion, identical image) stands on both sides of a split; metadata that is only known
//! after a diagnosis is not used unless asked for by name; a damaged file is an error that says which, and where.
//!
//! # Shapes
//! `B` images in a batch, `S` pixels along the side of an image, `N` cases, `M` encoded metadata columns. Images are
//! `[B, 3, S, S]`, row-major.
//!
//! ```no_run
//! use dermafuse_data::{BatchLoader, LoaderConfig, MetadataEncoder, MetadataRoles, Preprocess, derm7pt, shuffled};
//!
//! let set = derm7pt::load("release_v0")?;
//! let split = set.split.clone().expect("Derm7pt publishes a split");
//! let training = set.view(&split.train)?;
//! let encoder = MetadataEncoder::fit(&set.fields, training.cases(), MetadataRoles::PreDiagnosis)?;
//! let cohort = set.view(&split.valid)?.cohort(&encoder)?;
//! assert_eq!(cohort.metadata.ncols(), encoder.width());
//!
//! let config = LoaderConfig::new(32, Preprocess::as_released(224));
//! let order = shuffled(training.rows(), 42, 0);
//! for batch in BatchLoader::new(&set.view(order)?, config)? {
//!     assert_eq!(batch?.size, 224);
//! }
//! # Ok::<(), dermafuse_data::DataError>(())
//! ```

mod cases;
mod error;
mod image_formats;
mod images;
mod metadata;
mod name_set;
mod shuffle;
mod sources;
mod splits;
mod tables;

pub use cases::case_set::{CaseSet, SYNTHETIC_MARKER};
pub use cases::case_unit::CaseUnit;
pub use cases::case_view::CaseView;
pub use cases::chosen_tasks::OtherTasks;
pub use cases::sampling::{EpochLength, Sampling};
pub use cases::split::{Leak, Split};
pub use dermafuse_schema::Modality;
pub use error::{DataError, RowFault};
pub use image_formats::IMAGE_EXTENSIONS;
pub use images::augment::{Augmentation, ContrastAbout, DermoscopicMode, RandomCorruption};
pub use images::batch_loader::{BatchLoader, Failures, ImageBatch, LoaderConfig, Looks};
pub use images::case_loader::{CaseImages, CaseLoader};
pub use images::corruption::{Corruption, CorruptionFamily, ImageCorruption, Severity};
pub use images::framing::Framing;
pub use images::image::{
    DECODING_BUDGET, MAX_BYTES, MAX_PIXELS, MAX_PROGRESSIVE_PIXELS, MAX_SIDE, Resampling, RgbPixels, Strictness,
    decode, decode_bytes, encode_jpeg, encode_png, reduce, resize, resize_and_crop,
};
#[cfg(feature = "dicom")]
pub use images::image::{DicomMetadata, read_dicom_metadata};
pub use images::image_cache::ImageCache;
pub use images::image_check::{ImageCheck, check_images};
pub use images::lesion_mask::{LesionMask, lesion_masks};
pub use images::mixing::{Mix, Mixed, Mixing, mix};
pub use images::modality_dropout::{ModalityDropout, Shown};
pub use images::patient_image::PatientImage;
pub use images::preprocess::{ChannelOrder, KerasInput, Normalization, Preprocess};
pub use images::quality::{FindingKind, ImageMeasures, QualityFinding, QualityThresholds, ViewRule};
pub use images::sampler::Outside;
pub use metadata::encoded_column::{ColumnValue, EncodedColumn};
pub use metadata::encoder::MetadataEncoder;
pub use metadata::encoder_config::{
    CategorySource, EncoderConfig, MetadataRoles, MissingFields, NumericScaling, UnseenCategory,
};
pub use metadata::matched_encoder::MatchedEncoder;
pub use metadata::number_range::NumberRange;
pub use metadata::other_lesions::source_beside_others;
pub use shuffle::shuffled;
pub use sources::class_map::{ClassMap, SOURCE_FIELD};
pub use sources::joined_sets::TaskNames;
pub use sources::kind::DataSetKind;
pub use sources::load_options::{ImageSource, LoadOptions};
pub use sources::model_outputs::{ModelOutputs, OutsideAnswers, OutsideModel};
pub use sources::proposal::{ColumnRole, ProposalOptions, ProposedColumn, ProposedSet};
pub use sources::{
    class_folders, derm7pt, dermofit, described, ham10000, isic_2016, isic_2017, isic_2018, isic_2019, isic_2020,
    isic_2024, milk10k, pad_ufes_20, ph2,
};
pub use splits::deal::FoldGrouping;
pub use splits::folds::{FoldConfig, FoldProtocol, Folds};
pub use splits::groups::{LabelConflict, LabelPair, SharedImages};
pub use splits::image_hash::{ImageHash, MAX_HASH_DISTANCE, near_pairs};
pub use splits::near_duplicates::{AlikeImage, CaseParts, NearDuplicate, NearDuplicates, near_duplicate_note};
pub use splits::split_file::{LoadedSplit, TableChanges};
pub use tables::declaration::Declaration;
pub use tables::table::{Cell, Column, Row, Table, TableReader};
