//! A network, a fusion module and a module for feature maps of a crate that only uses what DermaFuse publishes. See
//! docs/adding-a-network.md and docs/adding-a-fusion-module.md.

mod blend;
mod gate;
mod two_views;

pub use blend::{Blend, BlendConfig};
pub use gate::{Gate, GateConfig};
pub use two_views::{TwoViews, TwoViewsConfig};

use dermafuse::fusion::{register_fusion, register_map_fusion};
use dermafuse::networks::{RegistryError, register_network};

/// Makes what is here known by name; a program calls it when it starts.
///
/// # Errors
/// Another crate took a name.
pub fn register() -> Result<(), RegistryError> {
    register_network::<TwoViewsConfig>()?;
    register_fusion::<GateConfig>()?;
    register_map_fusion::<BlendConfig>()
}
