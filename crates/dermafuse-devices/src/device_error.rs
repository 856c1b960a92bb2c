//! What can be wrong with a device.

use thiserror::Error;

use crate::device_name::{BACKENDS, DeviceName};

/// Why there is no device of a name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No device is ever called so.
    #[error(
        "there is no device `{name}`; the devices are {}; one of several is named as wgpu:discrete:0 or cuda:1",
        backends()
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The program was built without the device's Cargo feature.
    #[error(
        "this program was built without the device `{name}`; install it with `cargo install dermafuse-cli --features {}`",
        name.feature()
    )]
    NotBuilt {
        /// The device that was asked for.
        name: DeviceName,
    },
    /// This machine has no such device, or its driver does not show it.
    #[error("this machine has no device `{name}`; it has {}", names(present))]
    Absent {
        /// The device that was asked for.
        name: DeviceName,
        /// Those of all backends that were built in.
        present: Vec<DeviceName>,
    },
    /// The device is there and does not start.
    #[error("the device `{name}` cannot be used: {reason}")]
    Unusable {
        /// The device that was asked for.
        name: DeviceName,
        /// What the driver says.
        reason: String,
    },
}

fn backends() -> String {
    let all: Vec<String> = BACKENDS.iter().map(|(name, what)| format!("{name} ({what})")).collect();
    all.join(", ")
}

fn names(present: &[DeviceName]) -> String {
    match present {
        [] => "none that this program was built for".to_owned(),
        _ => present.iter().map(DeviceName::to_string).collect::<Vec<_>>().join(", "),
    }
}
