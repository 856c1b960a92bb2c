//! Short programs that embed DermaFuse, each in a file of its own beside this one.
//!
//! | program | what it shows |
//! |---|---|
//! | `quickstart` | from nothing to a report and a model, without downloads |
//! | `predict_case` | a trained model answers for one patient |
//! | `train_from_code` | a recipe with settings of one's own, trained, tested and saved |
//! | `compare` | two methods on the same cases, and whether they differ |
//! | `own_data_set` | cases that no loader knows |
//! | `own_backbone` | a backbone that is not built in, in a network of a paper |
//! | `own_fusion_module` | a fusion module that is not built in, in a recipe |
//! | `crop_to_lesions` | images cut to the masks of their lesions |
//! | `label_graph` | whether a graph over the labels helps a trained model |
//! | `classify` | published ImageNet weights name what a photo shows |
//!
//! `quickstart` is the README's first command; each of the others has fewer than 60 lines.
//! They are run with `cargo run --release --example NAME`.
