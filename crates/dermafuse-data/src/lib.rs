//! From CSV and image files to cases, splits and augmented samples for DermaFuse.
//!
//! The way of the data: [`derm7pt::load`] or [`milk10k::load`] gives a [`CaseSet`]; a [`Split`] names its training,
//! validation and test rows, and [`Folds`] those of each round of a cross-validation; a [`MetadataEncoder`], fitted on
//! the training rows, turns metadata into numbers; a [`BatchLoader`] reads, resizes, augments and normalizes the images
//! on threads of its own. An own data set is [`described`] in a TOML file, lies in [`class_folders`], or fills a
//! [`CaseSet`] in code; a [`Table`] helps with the CSV. A [`ClassMap`] makes one set of several.
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
//! let training = split.train.iter().map(|&row| &set.cases[row]);
//! let encoder = MetadataEncoder::fit(&set.fields, training, MetadataRoles::PreDiagnosis)?;
//! let cohort = set.cohort(&split.valid, &encoder)?;
//! assert_eq!(cohort.metadata.ncols(), encoder.width());
//!
//! let config = LoaderConfig::new(32, Preprocess::as_released(224));
//! for batch in BatchLoader::new(&set, shuffled(&split.train, 42, 0), config)? {
//!     assert_eq!(batch?.size, 224);
//! }
//! # Ok::<(), dermafuse_data::DataError>(())
//! ```

mod augment;
mod batch_loader;
mod bilinear;
mod case_set;
pub mod class_folders;
mod class_map;
mod declaration;
pub mod derm7pt;
pub mod dermofit;
pub mod described;
mod encoder;
mod encoder_config;
mod error;
mod fingerprint;
mod folds;
mod groups;
pub mod ham10000;
mod identical_images;
mod image;
mod image_cache;
mod image_check;
mod image_folder;
pub mod isic_2019;
pub mod isic_2020;
pub mod isic_2024;
mod kind;
mod load_options;
mod malignancy;
mod matched_encoder;
pub mod milk10k;
mod modality;
mod name_set;
mod near_duplicates;
mod oddity;
mod one_hot;
pub mod pad_ufes_20;
pub mod ph2;
mod preprocess;
mod sampler;
mod sampling;
mod shuffle;
mod spelling;
mod split;
mod split_file;
pub mod synthetic;
mod table;

pub use self::image::{
    DECODING_BUDGET, IMAGE_EXTENSIONS, MAX_BYTES, MAX_PIXELS, MAX_PROGRESSIVE_PIXELS, MAX_SIDE, Resampling, RgbPixels,
    Strictness, decode, decode_bytes, encode_png, resize, resize_and_crop,
};
#[cfg(feature = "dicom")]
pub use self::image::{DicomMetadata, read_dicom_metadata};
pub use augment::{Augmentation, DermoscopicMode, Outside};
pub use batch_loader::{BatchLoader, Failures, ImageBatch, LoaderConfig, RowFault};
pub use case_set::CaseSet;
pub use class_map::{ClassMap, SOURCE_FIELD};
pub use declaration::Declaration;
pub use encoder::MetadataEncoder;
pub use encoder_config::{CategorySource, EncoderConfig, MetadataRoles, MissingFields, NumericScaling, UnseenCategory};
pub use error::DataError;
pub use folds::{FoldConfig, FoldGrouping, FoldProtocol, Folds};
pub use groups::{LabelConflict, LabelPair, SharedImages};
pub use image_cache::ImageCache;
pub use image_check::{ImageCheck, check_images};
pub use kind::DataSetKind;
pub use load_options::{ImageSource, LoadOptions};
pub use matched_encoder::MatchedEncoder;
pub use modality::Modality;
pub use near_duplicates::{MAX_HASH_DISTANCE, NearDuplicate, near_duplicate_note, near_duplicates};
pub use preprocess::{ChannelOrder, KerasInput, Normalization, Preprocess};
pub use sampling::{EpochLength, Sampling};
pub use shuffle::shuffled;
pub use split::{Leak, Split};
pub use split_file::{LoadedSplit, TableChanges};
pub use synthetic::SYNTHETIC_MARKER;
pub use table::{Cell, Column, Row, Table, TableReader};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/adding-a-dataset.md")]
struct AddingADataset;
