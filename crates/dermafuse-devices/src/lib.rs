//! Devices by name: which there can be, which are there, and how one is opened.
//!
//! Burn's devices are chosen at run time, but a device that is missing panics inside of Burn when it is first used. Here a device has
//! a name, [`DeviceName`], that settings and programs read, and [`DeviceName::open`] gives the device or an error that lists those
//! that are there. Several that share a training are a [`DeviceList`].
//!
//! | name | device | Cargo feature |
//! |---|---|---|
//! | `flex` | the CPU | `flex` |
//! | `wgpu` | the adapter that wgpu prefers: the fastest GPU (Vulkan, Metal, DirectX) | `wgpu` |
//! | `wgpu:discrete:0`, `wgpu:integrated:0`, `wgpu:virtual:0` | a graphics card, a GPU inside of a processor, one of a virtual machine; counted from 0 | `wgpu` |
//! | `wgpu:cpu` | an adapter that is software, such as Mesa's lavapipe | `wgpu` |
//! | `cuda`, `cuda:1` | NVIDIA's GPUs, counted from 0 | `cuda` |
//!
//! ```
//! use dermafuse_devices::DeviceName;
//!
//! let name: DeviceName = "cuda:1".parse()?;
//! assert_eq!(name, DeviceName::Cuda(1));
//! // Built without CUDA:
//! assert!(name.open().unwrap_err().to_string().starts_with("this program was built without the device `cuda:1`"));
//! # Ok::<(), dermafuse_devices::DeviceError>(())
//! ```

mod device_error;
mod device_list;
mod device_name;
mod large_pages;
mod opening;

pub use device_error::DeviceError;
pub use device_list::DeviceList;
pub use device_name::{DeviceName, WgpuAdapter};
pub use large_pages::restart_with_large_pages;
