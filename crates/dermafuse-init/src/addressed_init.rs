//! Burn's layers with parameters that are drawn on the host.

use burn::nn::attention::{MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, LinearLayout};
use burn::tensor::Device;

use crate::addressed_parameter::addressed;

/// A layer of Burn whose first weights can be drawn on the host.
pub trait AddressedInit {
    /// The layer.
    type Layer;

    /// As Burn's `init`, but [`draw_first_weights`](crate::draw_first_weights) draws it on the host.
    fn init_addressed(&self, device: &Device) -> Self::Layer;
}

impl AddressedInit for LinearConfig {
    type Layer = Linear;

    /// # Panics
    /// If the layout is by columns, which no network here has.
    fn init_addressed(&self, device: &Device) -> Linear {
        assert!(matches!(self.layout, LinearLayout::Row), "addressed weights are stored by rows");
        addressed_linear(self.init(device), &self.initializer, [self.d_input, self.d_output])
    }
}

impl AddressedInit for Conv2dConfig {
    type Layer = Conv2d;

    fn init_addressed(&self, device: &Device) -> Conv2d {
        let conv = self.init(device);
        let places: usize = self.kernel_size.iter().product();
        let fans = Some(self.channels.map(|channels| channels / self.groups * places));
        Conv2d {
            weight: addressed(conv.weight, &self.initializer, fans),
            bias: conv.bias.map(|bias| addressed(bias, &self.initializer, fans)),
            ..conv
        }
    }
}

impl AddressedInit for MultiHeadAttentionConfig {
    type Layer = MultiHeadAttention;

    fn init_addressed(&self, device: &Device) -> MultiHeadAttention {
        let attention = self.init(device);
        let of = |linear| addressed_linear(linear, &self.initializer, [self.d_model; 2]);
        MultiHeadAttention {
            query: of(attention.query),
            key: of(attention.key),
            value: of(attention.value),
            output: of(attention.output),
            ..attention
        }
    }
}

fn addressed_linear(linear: Linear, initializer: &Initializer, fans: [usize; 2]) -> Linear {
    Linear {
        weight: addressed(linear.weight, initializer, Some(fans)),
        bias: linear.bias.map(|bias| addressed(bias, initializer, Some(fans))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw_first_weights;
    use burn::tensor::Tensor;

    /// Mean and standard deviation.
    fn moments<const D: usize>(weights: Tensor<D>) -> [f64; 2] {
        let values = weights.into_data().try_to_vec::<f32>().unwrap();
        let count = values.len() as f64;
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
        [mean, variance.sqrt()]
    }

    fn assert_moments<const D: usize>(weights: Tensor<D>, std: f64) {
        let [mean, found] = moments(weights);
        // More than 36,000 values: these limits are five standard errors or more.
        assert!(mean.abs() < 0.03 * std, "the mean is {mean} at a standard deviation of {std}");
        assert!((found / std - 1.0).abs() < 0.02, "the standard deviation is {found}, not {std}");
    }

    #[test]
    fn layers_spread_as_their_initializers_say() {
        let device = Device::flex();
        let linear = LinearConfig::new(300, 200).init_addressed(&device);
        draw_first_weights(&linear, 1);
        assert_moments(linear.weight.val(), 1.0 / (3.0_f64 * 300.0).sqrt()); // uniform within ±1/√inputs

        let he = Initializer::KaimingNormal { gain: 2.0_f64.sqrt(), fan_out_only: true };
        let conv = Conv2dConfig::new([64, 128], [3, 3]).with_groups(2).with_initializer(he).init_addressed(&device);
        draw_first_weights(&conv, 1);
        assert_moments(conv.weight.val(), (2.0 / (64.0 * 9.0_f64)).sqrt()); // half of the outputs in each group

        let attention = MultiHeadAttentionConfig::new(200, 4).init_addressed(&device);
        draw_first_weights(&attention, 1);
        assert_moments(attention.key.weight.val(), 1.0 / (3.0_f64 * 200.0).sqrt());
        assert_ne!(attention.key.weight.val().into_data(), attention.query.weight.val().into_data());
    }

    #[test]
    fn layers_that_nobody_draws_for_are_drawn_by_burn() {
        let device = Device::flex();
        let linear = LinearConfig::new(300, 200).init_addressed(&device);
        assert_moments(linear.weight.val(), 1.0 / (3.0_f64 * 300.0).sqrt());
    }

    #[test]
    fn drawn_parameters_train() {
        let device = Device::flex().autodiff();
        let linear = LinearConfig::new(3, 2).init_addressed(&device);
        draw_first_weights(&linear, 1);
        let gradients = linear.forward(Tensor::<2>::ones([1, 3], &device)).sum().backward();
        assert!(linear.weight.val().grad(&gradients).is_some());
        let plain = LinearConfig::new(3, 2).init_addressed(&Device::flex());
        draw_first_weights(&plain, 1);
        assert_eq!(linear.weight.val().into_data(), plain.weight.val().into_data());
    }
}
