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
//! | `classify` | published ImageNet weights name what a photo shows |
//!
//! They are run with `cargo run --release --example NAME`.
