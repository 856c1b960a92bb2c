//! What networks draw, on the host: first weights, and what dropout leaves out. It depends on seeds and on nothing else.
//!
//! Burn draws a parameter when it is first used, from a generator that belongs to the device and on some devices to the whole
//! process: what else draws, on which thread, and which parameters come before changes the weights. Here each parameter has an
//! address, the seed and its path in the module (`backbone.layer1.0.conv1.weight`), and the host draws its values from a
//! generator of its own with that address as key. So weights are the same on every device and thread, and a parameter keeps
//! its values when another head is added before or after it.
//!
//! Layers are made by [`AddressedInit`] or [`AddressedParameter`] instead of Burn's `init`; [`draw_first_weights`] draws for a
//! whole module. Distributions are those of Burn's initializers, and a layer that nobody draws for behaves as Burn's.
//!
//! A pass of training draws too: [`draw_for_pass`] gives it a seed, and layers draw by [`AddressedDropout`] or [`draw_kept`].
//! What a pass does beside its output is kept apart by [`collect_statistics`], so that several passes may go on at once.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use dermafuse_init::{AddressedInit, draw_first_weights};
//!
//! let device = Device::flex();
//! let layer = |seed| -> Linear {
//!     let layer = LinearConfig::new(4, 2).init_addressed(&device);
//!     draw_first_weights(&layer, seed);
//!     layer
//! };
//! assert_eq!(layer(7).weight.val().into_data(), layer(7).weight.val().into_data());
//! assert_ne!(layer(7).weight.val().into_data(), layer(8).weight.val().into_data());
//! ```

mod address;
mod addressed_init;
mod addressed_parameter;
mod draw;
mod normal_quantile;
mod pass;
mod running_statistics;
mod spread;

pub use addressed_init::AddressedInit;
pub use addressed_parameter::AddressedParameter;
pub use draw::draw_first_weights;
pub use pass::{AddressedDropout, draw_for_pass, draw_kept};
pub use running_statistics::{BatchStatistic, CollectedStatistics, collect_statistics, move_statistics};
