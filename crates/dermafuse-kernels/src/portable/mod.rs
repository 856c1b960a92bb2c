//! The operations made of Burn's own, for every backend without kernels of its own.

pub(crate) mod attention;
pub(crate) mod position_attention;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Scalar, TensorMetadata};
use burn::tensor::Shape;

use crate::activation::Activation;
use crate::step::AdamStep;

fn scalar(value: f64) -> Scalar {
    Scalar::Float(value)
}

pub(crate) fn adam_step<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
    step: AdamStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let times = |x: FloatTensor<B>, factor: f64| B::float_mul_scalar(x, scalar(factor));
    let [left, factor, epsilon] = step.factors();
    let [beta, other_beta] = step.betas.map(f64::from);
    let gradient = B::float_add(gradient, times(parameter.clone(), f64::from(step.penalty)));
    let square = B::float_mul(gradient.clone(), gradient.clone());
    let first = B::float_add(times(first, beta), times(gradient, 1.0 - beta));
    let second = B::float_add(times(second, other_beta), times(square, 1.0 - other_beta));
    let divisor = B::float_add_scalar(B::float_sqrt(second.clone()), scalar(epsilon));
    let delta = B::float_div(times(first.clone(), factor), divisor);
    (B::float_sub(times(parameter, left), delta), first, second)
}

pub(crate) fn toward<B: Backend>(start: FloatTensor<B>, end: FloatTensor<B>, share: f64) -> FloatTensor<B> {
    let way = B::float_sub(end, start.clone());
    B::float_add(start, B::float_mul_scalar(way, scalar(share)))
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
        Activation::Gelu => B::float_mul(gradient, gelu_slope::<B>(x)),
        Activation::Sigmoid => B::sigmoid_backward(B::sigmoid(x), gradient),
    }
}

/// `Φ(x) + x · φ(x)`. Burn's own gradient of GELU is that of its approximation by tanh wherever a backend does not override it, which is
/// up to a thousandth from the function's.
fn gelu_slope<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let root = std::f64::consts::FRAC_1_SQRT_2;
    let share = B::float_erf(B::float_mul_scalar(x.clone(), scalar(root)));
    let share = B::float_mul_scalar(B::float_add_scalar(share, scalar(1.0)), scalar(0.5));
    let bell = B::float_exp(B::float_mul_scalar(B::float_mul(x.clone(), x.clone()), scalar(-0.5)));
    let bell = B::float_mul_scalar(bell, scalar(1.0 / (2.0 * std::f64::consts::PI).sqrt()));
    B::float_add(share, B::float_mul(x, bell))
}

/// `[C]` → as many dimensions as `x` has, `C` along the axis.
fn along<B: Backend>(vector: FloatTensor<B>, x: &FloatTensor<B>, axis: usize) -> FloatTensor<B> {
    let mut shape = vec![1; x.shape().num_dims()];
    shape[axis] = vector.shape()[0];
    B::float_reshape(vector, Shape::from(shape))
}

/// Sums over all axes but one.
pub(crate) fn sum_to_axis<B: Backend>(x: FloatTensor<B>, axis: usize) -> FloatTensor<B> {
    let dims = x.shape();
    let sum = (0..dims.num_dims()).filter(|other| *other != axis).fold(x, |x, other| B::float_sum_dim(x, other));
    B::float_reshape(sum, Shape::new([dims[axis]]))
}

/// `activation(x + bias)`: `[R, C]`, bias `[C]`.
pub(crate) fn biased_activation<B: Backend>(
    x: FloatTensor<B>,
    bias: FloatTensor<B>,
    kind: Activation,
) -> FloatTensor<B> {
    let bias = along::<B>(bias, &x, 1);
    activation::<B>(B::float_add(x, bias), kind)
}

/// `(x − mean) / deviation` and `1 / deviation` over an axis.
fn standardized<B: Backend>(x: FloatTensor<B>, epsilon: f64, axis: usize) -> (FloatTensor<B>, FloatTensor<B>) {
    let centered = B::float_sub(x.clone(), B::float_mean_dim(x, axis));
    let variance = B::float_mean_dim(B::float_mul(centered.clone(), centered.clone()), axis);
    let inverse = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, scalar(epsilon))));
    (B::float_mul(centered, inverse.clone()), inverse)
}

pub(crate) fn layer_normalization<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
    axis: usize,
) -> FloatTensor<B> {
    let (gamma, beta) = (along::<B>(gamma, &x, axis), along::<B>(beta, &x, axis));
    B::float_add(B::float_mul(standardized::<B>(x, epsilon, axis).0, gamma), beta)
}

/// With x̂ the standardized input, r the inverse deviation, g the gradient times γ:
/// ∂x = r · (g − mean(g) − x̂ · mean(g·x̂)), ∂γ = Σ gradient·x̂, ∂β = Σ gradient.
pub(crate) fn layer_normalization_gradients<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    gradient: FloatTensor<B>,
    epsilon: f64,
    axis: usize,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let gamma = along::<B>(gamma, &x, axis);
    let (standardized, inverse) = standardized::<B>(x, epsilon, axis);
    let to_beta = sum_to_axis::<B>(gradient.clone(), axis);
    let to_gamma = sum_to_axis::<B>(B::float_mul(gradient.clone(), standardized.clone()), axis);
    let scaled = B::float_mul(gradient, gamma);
    let mean = B::float_mean_dim(scaled.clone(), axis);
    let slope = B::float_mean_dim(B::float_mul(scaled.clone(), standardized.clone()), axis);
    let rest = B::float_sub(B::float_sub(scaled, mean), B::float_mul(standardized, slope));
    (B::float_mul(rest, inverse), to_gamma, to_beta)
}
