//! Where tensors live, by name.

use burn::tensor::Device;
use clap::Args;

/// The devices and what they are.
const DEVICES: [(&str, &str); 3] = [("flex", "the CPU"), ("wgpu", "any GPU"), ("cuda", "an NVIDIA GPU")];

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeviceArgument {
    /// Where to compute: flex (the CPU), wgpu (any GPU) or cuda (an NVIDIA GPU).
    #[arg(long, value_name = "DEVICE", default_value = "flex")]
    device: String,
}

impl DeviceArgument {
    /// The device that was named.
    ///
    /// # Errors
    /// As [`device_of`].
    pub(crate) fn device(&self) -> Result<Device, String> {
        device_of(&self.device)
    }
}

/// The device of a name.
///
/// # Errors
/// A name that no device has; a device that this program was built without.
pub(crate) fn device_of(name: &str) -> Result<Device, String> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        _ if DEVICES.iter().any(|(known, _)| *known == name) => Err(format!(
            "this program was built without the device `{name}`; install it with `cargo install dermafuse-cli --features \
             {name}`"
        )),
        _ => {
            let known: Vec<String> = DEVICES.iter().map(|(name, what)| format!("{name} ({what})")).collect();
            Err(format!("there is no device `{name}`; the devices are {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_device_are_told_those_that_are() {
        let error = device_of("gpu").unwrap_err();
        assert_eq!(
            error,
            "there is no device `gpu`; the devices are flex (the CPU), wgpu (any GPU), cuda (an NVIDIA GPU)"
        );
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_device_that_is_not_built_in_says_how_to_get_it() {
        let error = device_of("cuda").unwrap_err();
        assert!(error.ends_with("install it with `cargo install dermafuse-cli --features cuda`"), "{error}");
    }
}
