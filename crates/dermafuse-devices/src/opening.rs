//! Devices that are there, and the way to them.

use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::DeviceType;

use crate::device_error::DeviceError;
#[cfg(feature = "wgpu")]
use crate::device_name::WgpuAdapter;
use crate::device_name::{BACKENDS, DeviceName};

impl DeviceName {
    /// The Cargo features of devices, in the order in which they are told, and whether this program was built with them.
    pub fn backends() -> [(&'static str, bool); 3] {
        BACKENDS.map(|(feature, _)| (feature, built_in(feature)))
    }

    /// Whether this program was built with the device's backend.
    pub fn is_built_in(self) -> bool {
        built_in(self.feature())
    }

    /// The devices of this machine that this program can use: of each backend that was built in, all that its driver shows. None of
    /// them is opened.
    pub fn present() -> Vec<Self> {
        let flex = built_in("flex").then_some(Self::Flex);
        flex.into_iter().chain(present_adapters()).chain(present_cuda()).collect()
    }

    /// The device, ready to compute.
    ///
    /// # Errors
    /// A backend that this program was built without; a device that is not there; one that does not start (of CUDA's this is not
    /// known before it computes: what fails then is Burn's panic).
    pub fn open(self) -> Result<Device, DeviceError> {
        if !self.is_built_in() {
            return Err(DeviceError::NotBuilt { name: self });
        }
        let present = Self::present();
        if !present.contains(&self) {
            return Err(DeviceError::Absent { name: self, present });
        }
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(adapter) => open_wgpu(self, kind_of(adapter)),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(Device::cuda(index)),
            #[allow(unreachable_patterns, reason = "with all backends there is none left")]
            _ => Err(DeviceError::NotBuilt { name: self }),
        }
    }

    /// What the device's maker calls it; nothing where the backend does not say (the CPU). Opens the device.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn hardware(self) -> Result<Option<String>, DeviceError> {
        let device = self.open()?;
        #[cfg(any(feature = "cuda", feature = "wgpu"))]
        return Ok(device.identity().map(|identity| identity.name));
        #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
        {
            let _ = device;
            Ok(None)
        }
    }
}

fn built_in(feature: &str) -> bool {
    match feature {
        "flex" => cfg!(feature = "flex"),
        "wgpu" => cfg!(feature = "wgpu"),
        "cuda" => cfg!(feature = "cuda"),
        _ => false,
    }
}

#[cfg(feature = "wgpu")]
fn present_adapters() -> Vec<DeviceName> {
    let found: Vec<Device> = Device::enumerate(DeviceType::Wgpu).into_vec();
    // Each kind is counted from 0.
    let counted = |adapter: fn(usize) -> WgpuAdapter| (0..found.len()).map(adapter);
    let adapters = counted(WgpuAdapter::Discrete)
        .chain(counted(WgpuAdapter::Integrated))
        .chain(counted(WgpuAdapter::Virtual))
        .chain([WgpuAdapter::Cpu]);
    let there = adapters.filter(|adapter| found.contains(&Device::wgpu(kind_of(*adapter))));
    let preferred = (!found.is_empty()).then_some(WgpuAdapter::Preferred);
    preferred.into_iter().chain(there).map(DeviceName::Wgpu).collect()
}

#[cfg(not(feature = "wgpu"))]
fn present_adapters() -> Vec<DeviceName> {
    Vec::new()
}

#[cfg(feature = "cuda")]
fn present_cuda() -> Vec<DeviceName> {
    (0..Device::enumerate(DeviceType::Cuda).into_vec().len()).map(DeviceName::Cuda).collect()
}

#[cfg(not(feature = "cuda"))]
fn present_cuda() -> Vec<DeviceName> {
    Vec::new()
}

#[cfg(feature = "wgpu")]
fn kind_of(adapter: WgpuAdapter) -> DeviceKind {
    match adapter {
        WgpuAdapter::Preferred => DeviceKind::DefaultDevice,
        WgpuAdapter::Discrete(index) => DeviceKind::DiscreteGpu(index),
        WgpuAdapter::Integrated(index) => DeviceKind::IntegratedGpu(index),
        WgpuAdapter::Virtual(index) => DeviceKind::VirtualGpu(index),
        WgpuAdapter::Cpu => DeviceKind::Cpu,
    }
}

/// The adapter, started: whoever computes on one that was not started gets a panic where it does not start.
#[cfg(feature = "wgpu")]
fn open_wgpu(name: DeviceName, kind: DeviceKind) -> Result<Device, DeviceError> {
    use burn::tensor::wgpu::WgpuInitError;

    match Device::wgpu_options().device_kind(kind.clone()).init() {
        Ok(device) => Ok(device),
        // It was started before, here or by a tensor.
        Err(WgpuInitError::Registration { .. }) => Ok(Device::wgpu(kind)),
        Err(error) => Err(DeviceError::Unusable { name, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_present_opens_and_can_be_opened_again() {
        for name in DeviceName::present() {
            assert!(name.is_built_in());
            assert_eq!(name.open().unwrap(), name.open().unwrap(), "{name}");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_device_that_is_not_built_in_says_how_to_get_it() {
        let error = DeviceName::Cuda(1).open().unwrap_err();
        assert!(matches!(error, DeviceError::NotBuilt { name: DeviceName::Cuda(1) }));
        assert!(
            error.to_string().ends_with("install it with `cargo install dermafuse-cli --features cuda`"),
            "{error}"
        );
    }

    #[test]
    #[cfg(feature = "wgpu")]
    fn a_device_that_is_not_there_is_told_those_that_are() {
        let error = DeviceName::Wgpu(WgpuAdapter::Discrete(99)).open().unwrap_err();
        assert!(matches!(&error, DeviceError::Absent { present, .. } if *present == DeviceName::present()));
        assert!(error.to_string().starts_with("this machine has no device `wgpu:discrete:99`; it has "), "{error}");
    }
}
