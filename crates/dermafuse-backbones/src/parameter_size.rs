//! Parameters that are too large for a device.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use dermafuse_kernels::largest_tensor;
use thiserror::Error;

/// A parameter that takes more than the largest tensor of its device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the parameter `{parameter}` takes {bytes} bytes, and the device holds at most {largest} bytes in one piece; choose a network with \
     smaller layers, or another device (the CPU, `flex`, has no such limit)"
)]
pub struct ParameterTooLarge {
    /// Its path in the module, e.g. `classifier.hidden.0.weight`.
    pub parameter: String,
    /// The bytes that it takes.
    pub bytes: u64,
    /// The bytes of the device's largest tensor.
    pub largest: u64,
}

/// Checks that each parameter of a module fits on its device as one tensor ([`largest_tensor`]). Parameters that nobody has used yet are
/// not drawn for it, so of a module that has just been made nothing is allocated.
///
/// ```
/// use burn::tensor::Device;
/// use dermafuse_backbones::{BackboneKind, require_parameters_fit};
///
/// // One of its weights takes 411 MB: more than many GPUs have in one piece, and no trouble for the CPU.
/// let vgg = BackboneKind::Vgg16.init(Some(3), &Device::flex());
/// assert!(require_parameters_fit(&vgg).is_ok());
/// ```
///
/// # Errors
/// The first that does not fit.
pub fn require_parameters_fit<M: Module>(module: &M) -> Result<(), ParameterTooLarge> {
    require_below(module, largest_tensor)
}

/// The same with the devices' limits.
fn require_below<M: Module>(module: &M, limit: impl FnMut(&Device) -> Option<u64>) -> Result<(), ParameterTooLarge> {
    let mut measuring = Measuring { names: Vec::new(), limit, found: None };
    module.visit(&mut measuring);
    measuring.found.map_or(Ok(()), Err)
}

struct Measuring<L> {
    names: Vec<String>,
    limit: L,
    found: Option<ParameterTooLarge>,
}

impl<L: FnMut(&Device) -> Option<u64>> ModuleVisitor for Measuring<L> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.names.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.found.is_some() {
            return;
        }
        let Some(largest) = (self.limit)(&param.lazy_device()) else { return };
        let numbers = param.lazy_shape().to_vec().into_iter().fold(1, |all: u64, side| all.saturating_mul(side as u64));
        let bytes = numbers.saturating_mul(size_of::<f32>() as u64);
        if bytes > largest {
            // Fields begin with a small letter, variants with a capital one.
            let fields = self.names.iter().filter(|name| !name.starts_with(char::is_uppercase));
            let parameter = fields.map(String::as_str).collect::<Vec<_>>().join(".");
            self.found = Some(ParameterTooLarge { parameter, bytes, largest });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneKind;

    #[test]
    fn what_is_too_large_is_named_before_it_is_drawn() {
        // Drawing it would take 411 MB and a second; its shape takes nothing.
        let vgg = BackboneKind::Vgg16.init(Some(3), &Device::flex());
        let bytes = 4 * 25088 * 4096;
        assert_eq!(require_below(&vgg, |_| None), Ok(()));
        assert_eq!(require_below(&vgg, |_| Some(bytes)), Ok(()));
        let found = require_below(&vgg, |_| Some(bytes - 1)).unwrap_err();
        let parameter = "classifier.hidden.0.weight".to_owned();
        assert_eq!(found, ParameterTooLarge { parameter, bytes, largest: bytes - 1 });
        assert!(
            found.to_string().starts_with(
                "the parameter `classifier.hidden.0.weight` takes 411041792 bytes, and the device holds at most 411041791 bytes in one piece; "
            ),
            "{found}"
        );
        // Without its classifier the largest is a convolution of 512 by 512 channels.
        let features = BackboneKind::Vgg16.init(None, &Device::flex());
        assert_eq!(require_below(&features, |_| Some(4 * 512 * 512 * 9)), Ok(()));
        assert!(require_below(&features, |_| Some(4 * 512 * 512 * 9 - 1)).is_err());
    }
}
