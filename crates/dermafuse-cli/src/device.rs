use burn::tensor::Device;

/// The devices that this program may have been built with.
const KNOWN: [&str; 3] = ["flex", "wgpu", "cuda"];

/// The device of a name: `flex` is the CPU, `wgpu` any GPU, `cuda` an NVIDIA one.
///
/// # Errors
/// A name that no device has; a device that this program was built without.
pub fn device_of(name: &str) -> Result<Device, String> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Ok(Device::cuda(0)),
        name if KNOWN.contains(&name) => {
            Err(format!("this program was built without the device `{name}`; build it with `--features {name}`"))
        }
        _ => Err(format!("there is no device `{name}`; the devices are {}", KNOWN.join(", "))),
    }
}
