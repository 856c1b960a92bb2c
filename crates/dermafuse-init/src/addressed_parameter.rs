//! Parameters that are drawn on the host once they have an address.

use burn::module::{Initializer, Param};
use burn::tensor::{Device, Shape, Tensor, TensorData};

use crate::address::Address;
use crate::spread::Spread;

/// A parameter of its own, outside of Burn's layers.
pub trait AddressedParameter {
    /// As [`Initializer::init`], but [`draw_first_weights`](crate::draw_first_weights) draws it on the host.
    fn init_addressed<const D: usize>(&self, shape: impl Into<Shape>, device: &Device) -> Param<Tensor<D>>;
}

impl AddressedParameter for Initializer {
    fn init_addressed<const D: usize>(&self, shape: impl Into<Shape>, device: &Device) -> Param<Tensor<D>> {
        addressed(self.init(shape, device), self, None)
    }
}

/// The parameter, which nothing has used yet and whose layer has so many inputs and outputs, with a value that is drawn on the host
/// if it is drawn for an address.
pub(crate) fn addressed<const D: usize>(
    param: Param<Tensor<D>>,
    initializer: &Initializer,
    fans: Option<[usize; 2]>,
) -> Param<Tensor<D>> {
    let Some(spread) = Spread::of(initializer, fans) else { return param };
    let (id, device, shape) = (param.id, param.lazy_device(), param.lazy_shape());
    let (initializer, of_value) = (initializer.clone(), shape.clone());
    let initialize = move |device: &Device, require_grad: bool| {
        let Some(address) = Address::current() else {
            let [inputs, outputs] = fans.map_or([None, None], |fans| fans.map(Some));
            let value: Tensor<D> = initializer.init_with(of_value, inputs, outputs, device).val();
            return value.set_require_grad(require_grad);
        };
        let values = spread.values(of_value.num_elements(), &mut address.generator());
        let data = TensorData::new(values, of_value);
        let value: Tensor<D> = device.memory_persistent_allocations(data, |data| Tensor::from_data(data, device));
        value.set_require_grad(require_grad)
    };
    Param::uninitialized(id, initialize, device, true, shape)
}
