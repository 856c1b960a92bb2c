//! DermaFuse: train, embed and deploy classifiers that fuse a clinical photo, a dermoscopic image and patient metadata into
//! a skin-lesion diagnosis and the seven-point checklist.
//!
//! The other crates are modules here. Data flows one way:
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
//! | `onnx` (feature `onnx`) | networks and models as ONNX files |
//! | [`train`] | losses, the learning loop, resumable checkpoints |
//! | [`ensemble`] | branch-weight search, SVM cluster, the two stages after the network |
//! | [`eval`] | metrics, figures, the HTML report |
//! | `serve` (feature `serve`) | a page in the browser and a JSON API over a model |
//! | [`settings`] | TOML files and words that are laid over each other |
//! | [`recipes`] | experiments, the papers' recipes, comparisons |
//!
//! Start with [`Model`] and [`Patient`] to ask a trained model, [`recipes::Recipe`] and [`recipes::Plan`] to train one,
//! [`data::CaseSet`] for cases, [`networks::NetworkConfig`] for networks, and [`eval::Report`] for what came out.
//!
//! Research software: not a medical device, not for diagnosis.
//!
//! # Tutorial: from pictures to answers
//!
//! **Data.** A folder of a published set, a table of your own that a TOML file describes ([`data::described`]), or, to try things,
//! drawn lesions. **Experiment.** A recipe of a paper with settings laid over it; the same settings can stand in a file. **Training
//! and test.** A plan checks everything before the first epoch; its outcome is report, metrics, predictions and model in a folder.
//!
//! ```
//! use dermafuse::recipes::{Recipe, Workplace};
//! use dermafuse::synthetic::{self, SyntheticConfig};
//! use dermafuse::train::Silent;
//! use dermafuse::{Device, Model, Patient};
//!
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path();
//! // let out = Path::new("runs/first");
//! let drawn = SyntheticConfig { cases: 40, image_size: (48, 48), ..SyntheticConfig::default() };
//! synthetic::write(&out.join("data"), &drawn)?;
//!
//! let mut recipe = Recipe::named("fusionm4net")?;
//! recipe.set_data(&format!("derm7pt={}", out.join("data").display()))?;
//! for setting in [
//!     "method.network.backbone=resnet18_quarter", // a small network from random weights
//!     "method.weights=random",
//!     "training.preprocess.size=32",
//!     "training.epochs=1",
//!     "second_stage.classifier=none",
//! ] {
//!     recipe.set(setting)?;
//! }
//! let device = Device::flex();
//! let plan = recipe.experiment()?.plan()?;
//! let outcome = plan.run(Workplace::on(&device).in_folder(out, false), &mut Silent)?;
//! outcome.write(out)?; // report.html, metrics.json, predictions.csv, model.safetensors, experiment.toml …
//! assert!(out.join("report.html").is_file());
//!
//! // **Embedding.** The model file is all that an answer needs.
//! let model = Model::open(out.join("model.safetensors"), &device)?;
//! let photo = std::fs::read(&plan.rounds[0].stages[0].set.cases[0].clinical[0])?; // bytes, a path, or pixels
//! let answer = model.predict(&Patient::new().clinical(photo))?;
//! let top = answer.task("diagnosis")?.top();
//! println!("{} {:.2}, from {}", top.class, top.probability, answer.basis);
//! assert_eq!(answer.basis.to_string(), "clinical image");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The program `dermafuse` (crate `dermafuse-cli`) does the same from the command line.
//!
//! # Cargo features
//! `flex` (default): CPU. `wgpu`: any GPU. `cuda`: NVIDIA ([`devices`] has their names). `download`: fetch published
//! weights by name, with their checksums. `dicom`: read DICOM objects as images, and age, sex and site from them. `onnx`: write models as
//! ONNX. `serve`: a page in the browser and a JSON API.

/// Where tensors live and are computed, chosen at run time.
pub use burn::tensor::Device;
#[doc(inline)]
pub use dermafuse_backbones as backbones;
#[doc(inline)]
pub use dermafuse_data as data;
#[doc(inline)]
pub use dermafuse_devices as devices;
#[doc(inline)]
pub use dermafuse_ensemble as ensemble;
#[doc(inline)]
pub use dermafuse_eval as eval;
#[doc(inline)]
pub use dermafuse_fusion as fusion;
#[doc(inline)]
pub use dermafuse_infer as infer;
#[doc(inline)]
pub use dermafuse_infer::{Answer, Basis, Model, Patient, PatientError, PatientImage, TaskAnswer};
#[doc(inline)]
pub use dermafuse_networks as networks;
#[cfg(feature = "onnx")]
#[doc(inline)]
pub use dermafuse_onnx as onnx;
#[doc(inline)]
pub use dermafuse_recipes as recipes;
#[doc(inline)]
pub use dermafuse_schema as schema;
#[cfg(feature = "serve")]
#[doc(inline)]
pub use dermafuse_serve as serve;
#[doc(inline)]
pub use dermafuse_settings as settings;
#[doc(inline)]
pub use dermafuse_synthetic as synthetic;
#[doc(inline)]
pub use dermafuse_train as train;
