//! The names of devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::device_error::DeviceError;

/// The Cargo features that devices need, which are what their names begin with, and what they are.
pub(crate) const BACKENDS: [(&str, &str); 3] = [("flex", "the CPU"), ("wgpu", "any GPU"), ("cuda", "an NVIDIA GPU")];

/// A device, as settings and options name it. In files it is its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The CPU, on Burn's backend `flex` with our kernels.
    #[default]
    Flex,
    /// A GPU through Vulkan, Metal or DirectX.
    Wgpu(WgpuAdapter),
    /// The NVIDIA GPU of that number.
    Cuda(usize),
}

/// Which of the adapters that wgpu sees. Adapters of a kind are counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WgpuAdapter {
    /// The one that wgpu prefers, which is the fastest GPU; or that the environment's `CUBECL_WGPU_DEFAULT_DEVICE` says.
    #[default]
    Preferred,
    /// A graphics card.
    Discrete(usize),
    /// A GPU that is part of a processor.
    Integrated(usize),
    /// A GPU of a virtual machine.
    Virtual(usize),
    /// Software that behaves as a GPU.
    Cpu,
}

impl DeviceName {
    /// The Cargo feature of `dermafuse` and of the program without which the device is not built in.
    pub fn feature(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Wgpu(_) => "wgpu",
            Self::Cuda(_) => "cuda",
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => formatter.pad("flex"),
            Self::Wgpu(adapter) => formatter.pad(&match adapter {
                WgpuAdapter::Preferred => "wgpu".to_owned(),
                WgpuAdapter::Discrete(index) => format!("wgpu:discrete:{index}"),
                WgpuAdapter::Integrated(index) => format!("wgpu:integrated:{index}"),
                WgpuAdapter::Virtual(index) => format!("wgpu:virtual:{index}"),
                WgpuAdapter::Cpu => "wgpu:cpu".to_owned(),
            }),
            Self::Cuda(0) => formatter.pad("cuda"),
            Self::Cuda(index) => formatter.pad(&format!("cuda:{index}")),
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { name: text.to_owned() };
        // Burn counts devices in 16 bits.
        let index = |index: &str| index.parse::<u16>().map(usize::from).map_err(|_| unknown());
        let words: Vec<&str> = text.split(':').collect();
        Ok(match words[..] {
            ["flex"] => Self::Flex,
            ["wgpu"] => Self::Wgpu(WgpuAdapter::Preferred),
            ["wgpu", "discrete", number] => Self::Wgpu(WgpuAdapter::Discrete(index(number)?)),
            ["wgpu", "integrated", number] => Self::Wgpu(WgpuAdapter::Integrated(index(number)?)),
            ["wgpu", "virtual", number] => Self::Wgpu(WgpuAdapter::Virtual(index(number)?)),
            ["wgpu", "cpu"] => Self::Wgpu(WgpuAdapter::Cpu),
            ["cuda"] => Self::Cuda(0),
            ["cuda", number] => Self::Cuda(index(number)?),
            _ => return Err(unknown()),
        })
    }
}

impl TryFrom<String> for DeviceName {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names =
            ["flex", "wgpu", "wgpu:discrete:0", "wgpu:integrated:1", "wgpu:virtual:12", "wgpu:cpu", "cuda", "cuda:1"];
        for text in names {
            let name: DeviceName = text.parse().unwrap();
            assert_eq!(name.to_string(), text);
            assert!(text.starts_with(name.feature()));
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<DeviceName>(&json).unwrap(), name);
        }
        assert_eq!("cuda:0".parse::<DeviceName>().unwrap(), DeviceName::Cuda(0));
    }

    #[test]
    fn names_that_are_no_device_are_told_those_that_are() {
        for text in [
            "gpu",
            "",
            "flex:0",
            "wgpu:",
            "wgpu:discrete",
            "wgpu:discrete:x",
            "wgpu:cpu:0",
            "cuda:-1",
            "cuda:65536",
            "cuda:0:1",
            "CUDA",
        ] {
            let error = text.parse::<DeviceName>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "there is no device `{text}`; the devices are flex (the CPU), wgpu (any GPU), cuda (an NVIDIA GPU); one of \
                     several is named as wgpu:discrete:0 or cuda:1"
                )
            );
        }
    }
}
