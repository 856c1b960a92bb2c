//! DermaFuse: train, embed and deploy classifiers that fuse a clinical photo, a dermoscopic image and patient metadata into
//! a skin-lesion diagnosis and the seven-point checklist.
//!
//! This crate only re-exports the others; each is a module here. Data flows one way:
//!
//! ```text
//! files → data: cases, samples → infer: batches → networks → infer: logits → ensemble: predictions → eval: numbers, report
//! ```
//!
//! | module | what it knows |
//! |---|---|
//! | [`schema`] | the words: tasks, fields, cases, logits, predictions |
//! | [`data`] | Derm7pt, MILK10k and other sets; splits, metadata encoding, image pipeline, batch loader |
//! | [`synthetic`] | drawn lesions and records in the layouts of published sets |
//! | [`backbones`] | ResNet to Xception: published architectures, strict weight loading |
//! | [`fusion`] | modules that join features |
//! | [`networks`] | whole architectures: FusionNet, joint and joint-individual fusion, AMFAM |
//! | [`infer`] | tensors to and from the host, test-time augmentation, model bundles, explanations |
//! | [`train`] | losses, the learning loop, resumable checkpoints |
//! | [`ensemble`] | branch-weight search, SVM cluster, the two stages after the network |
//! | [`eval`] | metrics, figures, the HTML report |
//! | [`settings`] | TOML files and words that are laid over each other |
//! | [`recipes`] | experiments, the papers' recipes, comparisons |
//!
//! Research software: not a medical device, not for diagnosis.
//!
//! # Predicting with a trained model
//!
//! ```no_run
//! use dermafuse::{data::derm7pt, infer::Bundle};
//! use burn::tensor::Device;
//!
//! let bundle = Bundle::load("runs/quickstart/model.safetensors", &Device::flex())?;
//! let set = derm7pt::load("runs/quickstart/data")?;
//! let rows: Vec<usize> = (0..4).collect();
//! let answers = bundle.predict(&set, &rows, |_| ())?;
//! let predictions = answers.last();
//! for (case, id) in predictions.ids.iter().enumerate() {
//!     let class = predictions.predicted(case, 0);
//!     let diagnosis = &predictions.tasks[0].classes[class];
//!     println!("{id}: {diagnosis} {:.2} (from {})", predictions.probabilities[0][[case, class]], predictions.basis[case]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cargo features
//! `flex` (default): CPU. `wgpu`: any GPU. `cuda`: NVIDIA. `x86-v4`: AVX-512 kernels for the CPU. `download`: fetch published
//! weights by name, with their checksums. `dicom`: read DICOM objects as images, and age, sex and site from them.

pub use dermafuse_backbones as backbones;
pub use dermafuse_data as data;
pub use dermafuse_ensemble as ensemble;
pub use dermafuse_eval as eval;
pub use dermafuse_fusion as fusion;
pub use dermafuse_infer as infer;
pub use dermafuse_networks as networks;
pub use dermafuse_recipes as recipes;
pub use dermafuse_schema as schema;
pub use dermafuse_settings as settings;
pub use dermafuse_synthetic as synthetic;
pub use dermafuse_train as train;
