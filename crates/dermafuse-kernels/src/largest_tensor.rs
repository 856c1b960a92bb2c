//! How large one tensor may be.

use burn::tensor::Device;

/// The bytes of the largest tensor that the device holds: a tensor lies in one buffer, and drivers of GPUs have a largest buffer, which is
/// much less than their memory. `None` where only the memory is a limit, as on the CPU. Opens the device.
///
/// What is larger Burn reports as the next result is read, so a program that is to end with an error of its own asks before.
///
/// ```
/// use burn::tensor::Device;
/// use dermafuse_kernels::largest_tensor;
///
/// assert_eq!(largest_tensor(&Device::flex()), None);
/// ```
pub fn largest_tensor(device: &Device) -> Option<u64> {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let burn::backend::DispatchDevice::Cube(device) = device.clone().without_autodiff().as_dispatch() {
        let client = device.client();
        let memory = &client.properties().memory;
        // Burn rounds what it asks for up to whole steps of the alignment.
        return Some(memory.max_page_size / memory.alignment * memory.alignment);
    }
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    let _ = device;
    None
}
