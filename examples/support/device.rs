use burn::tensor::Device;
use clap::ValueEnum;

/// Where the tensors live. A device whose Cargo feature is off is refused with the feature's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    /// The CPU.
    Flex,
    /// Any GPU (feature `wgpu`).
    Wgpu,
    /// An NVIDIA GPU (feature `cuda`).
    Cuda,
}

impl DeviceName {
    /// The device.
    ///
    /// # Errors
    /// A device that this program was built without.
    pub fn device(self) -> Result<Device, String> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[allow(unreachable_patterns, reason = "every device may be built in")]
            other => {
                let name = format!("{other:?}").to_lowercase();
                Err(format!("this program was built without the device `{name}`; add `--features {name}` to cargo run"))
            }
        }
    }
}
