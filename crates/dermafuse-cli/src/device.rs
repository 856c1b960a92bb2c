//! Where tensors live, by name.

use clap::Args;
use dermafuse::Device;
use dermafuse::devices::{DeviceError, DeviceName};

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeviceArgument {
    /// Where to compute: flex (the CPU), wgpu (any GPU) or cuda (an NVIDIA GPU); one of several as wgpu:discrete:0 or cuda:1.
    /// `dermafuse devices` lists those that are there.
    #[arg(long, value_name = "DEVICE", default_value = "flex")]
    device: String,
}

impl DeviceArgument {
    /// The device that was named.
    ///
    /// # Errors
    /// A name that no device has; a device that this program was built without, that is not there, or that does not start.
    pub(crate) fn device(&self) -> Result<Device, DeviceError> {
        self.device.parse::<DeviceName>()?.open()
    }
}
