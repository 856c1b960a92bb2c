//! A network and a fusion module of a crate that only uses what DermaFuse publishes. See docs/adding-a-network.md and
//! docs/adding-a-fusion-module.md.

mod gate;
mod two_views;

pub use gate::{Gate, GateConfig};
pub use two_views::{TwoViews, TwoViewsConfig};

use dermafuse::fusion::register_fusion;
use dermafuse::networks::{RegistryError, register_network};

/// Makes what is here known by name; a program calls it when it starts.
///
/// # Errors
/// Another crate took a name.
pub fn register() -> Result<(), RegistryError> {
    register_network::<TwoViewsConfig>()?;
    register_fusion::<GateConfig>()
}
