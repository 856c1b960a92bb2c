//! The operations made of Burn's own, for every backend without kernels of its own.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Scalar, TensorMetadata};
use burn::tensor::Shape;

use crate::activation::Activation;
use crate::backend::Kernels;

fn scalar(value: f64) -> Scalar {
    Scalar::Float(value)
}

/// `[C]` → `[1, C, 1, 1]`.
fn per_channel<B: Backend>(vector: FloatTensor<B>) -> FloatTensor<B> {
    let channels = vector.shape()[0];
    B::float_reshape(vector, Shape::new([1, channels, 1, 1]))
}

/// `[B, C, H, W]` → `[C, B*H*W]`.
fn by_channel<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let [batch, channels, height, width] = x.shape().dims();
    B::float_reshape(B::float_swap_dims(x, 0, 1), Shape::new([channels, batch * height * width]))
}

pub(crate) fn channel_sum<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let channels = x.shape()[1];
    B::float_reshape(B::float_sum_dim(by_channel::<B>(x), 1), Shape::new([channels]))
}

pub(crate) fn channel_moments<B: Backend>(x: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let channels = x.shape()[1];
    let rows = by_channel::<B>(x); // [C, B*H*W]
    let mean = B::float_mean_dim(rows.clone(), 1); // [C, 1]
    let centered = B::float_sub(rows, mean.clone());
    let variance = B::float_mean_dim(B::float_mul(centered.clone(), centered), 1);
    let shape = Shape::new([channels]);
    (B::float_reshape(mean, shape.clone()), B::float_reshape(variance, shape))
}

fn before_activation<B: Backend>(x: FloatTensor<B>, scale: FloatTensor<B>, shift: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add(B::float_mul(x, per_channel::<B>(scale)), per_channel::<B>(shift))
}

pub(crate) fn affine<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    kind: Activation,
) -> FloatTensor<B> {
    activation::<B>(before_activation::<B>(x, scale, shift), kind)
}

pub(crate) fn affine_gradient_sums<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    gradient: FloatTensor<B>,
    kind: Activation,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let gradient = activation_gradient::<B>(before_activation::<B>(x.clone(), scale, shift), gradient, kind);
    (channel_sum::<B>(gradient.clone()), channel_sum::<B>(B::float_mul(gradient, x)))
}

pub(crate) fn affine_input_gradient<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    gradient: FloatTensor<B>,
    kind: Activation,
) -> FloatTensor<B> {
    let gradient = activation_gradient::<B>(before_activation::<B>(x, scale.clone(), shift), gradient, kind);
    B::float_mul(gradient, per_channel::<B>(scale))
}

pub(crate) fn normalize_input_gradient<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    gradient: FloatTensor<B>,
    slope: FloatTensor<B>,
    offset: FloatTensor<B>,
    kind: Activation,
) -> FloatTensor<B> {
    let direct = affine_input_gradient::<B>(x.clone(), scale, shift, gradient, kind);
    B::float_add(direct, before_activation::<B>(x, slope, offset))
}

/// Of the backend's own moments and affine map.
pub(crate) fn normalize<B: Kernels>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
    kind: Activation,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (mean, variance) = B::channel_moments(x.clone());
    let (scale, shift) = scale_and_shift::<B>(gamma, beta, mean.clone(), variance.clone(), epsilon);
    (B::affine(x, scale, shift, kind), mean, variance)
}

/// The affine map that normalization with these moments is.
pub(crate) fn scale_and_shift<B: Backend>(
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    epsilon: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let deviation = B::float_sqrt(B::float_add_scalar(variance, scalar(epsilon)));
    let scale = B::float_div(gamma, deviation);
    let shift = B::float_sub(beta, B::float_mul(mean, scale.clone()));
    (scale, shift)
}

pub(crate) fn activation<B: Backend>(x: FloatTensor<B>, kind: Activation) -> FloatTensor<B> {
    match kind {
        Activation::Identity => x,
        Activation::Relu => B::relu(x),
        Activation::Relu6 => B::float_clamp(x, scalar(0.0), scalar(6.0)),
        Activation::Silu => B::float_mul(x.clone(), B::sigmoid(x)),
        Activation::HardSwish => B::float_mul(x.clone(), hard_sigmoid::<B>(x)),
        Activation::HardSigmoid => hard_sigmoid::<B>(x),
        Activation::Gelu => B::gelu(x),
        Activation::Sigmoid => B::sigmoid(x),
    }
}

/// `relu6(x + 3) / 6`.
fn hard_sigmoid<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let clipped = B::float_clamp(B::float_add_scalar(x, scalar(3.0)), scalar(0.0), scalar(6.0));
    B::float_div_scalar(clipped, scalar(6.0))
}

/// `value` where `low < x < high`, else zero.
fn between<B: Backend>(x: FloatTensor<B>, value: FloatTensor<B>, low: f64, high: f64) -> FloatTensor<B> {
    let bool_type = burn::backend::get_device_settings::<B>(&x.device()).bool_dtype;
    let below = B::float_lower_equal_elem(x.clone(), scalar(low), bool_type);
    let value = B::float_mask_fill(value, below, scalar(0.0));
    let above = B::float_greater_equal_elem(x, scalar(high), bool_type);
    B::float_mask_fill(value, above, scalar(0.0))
}

pub(crate) fn activation_gradient<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
    kind: Activation,
) -> FloatTensor<B> {
    match kind {
        Activation::Identity => gradient,
        Activation::Relu => B::relu_backward(B::relu(x), gradient),
        Activation::Relu6 => between::<B>(x, gradient, 0.0, 6.0),
        Activation::Silu => {
            // σ(x) · (1 + x · (1 − σ(x)))
            let sigmoid = B::sigmoid(x.clone());
            let rest = B::float_add_scalar(B::float_neg(sigmoid.clone()), scalar(1.0));
            let slope = B::float_mul(sigmoid, B::float_add_scalar(B::float_mul(x, rest), scalar(1.0)));
            B::float_mul(gradient, slope)
        }
        Activation::HardSwish => {
            // hard_sigmoid(x) + x/6 inside (−3, 3)
            let inside = between::<B>(x.clone(), B::float_div_scalar(x.clone(), scalar(6.0)), -3.0, 3.0);
            B::float_mul(gradient, B::float_add(hard_sigmoid::<B>(x), inside))
        }
        Activation::HardSigmoid => between::<B>(x, B::float_div_scalar(gradient, scalar(6.0)), -3.0, 3.0),
        Activation::Gelu => B::gelu_backward(x, gradient),
        Activation::Sigmoid => B::sigmoid_backward(B::sigmoid(x), gradient),
    }
}
