//! What a backend can override: every operation has a default made of Burn's own.
#![cfg_attr(
    not(any(feature = "flex", feature = "wgpu", feature = "cuda", feature = "capture")),
    allow(unused_variables, reason = "without a backend what is dispatched goes to none")
)]

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::ops::ConvOptions;

use crate::activation::Activation;
use crate::portable;
use crate::positions::ValueFlow;
use crate::step::AdamStep;
use crate::windows::Windows;

/// The operations of this crate on a backend's own tensors. Callers use the functions on `Tensor`; the trait is public for
/// backends beyond Burn's.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Capture: cfg(feature = "capture"),
    Autodiff
)]
pub trait Kernels: Backend {
    /// Convolution: `[B, C, H, W]`, weight `[C', C / groups, K, K']` → `[B, C', H', W']`.
    fn convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        Self::conv2d(x, weight, None, options)
    }

    /// Convolution with bias `[C']`, then the activation.
    fn biased_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        portable::activation::<Self>(Self::conv2d(x, weight, Some(bias), options), activation)
    }

    /// Gradient of [`convolution`](Self::convolution) for its input.
    fn convolution_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, weight, gradient, options)
    }

    /// Gradient of [`convolution`](Self::convolution) for its weight.
    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_weight_backward(x, weight, gradient, options)
    }

    /// Linear layer with bias `[C']`, then the activation: `[R, C]`, weight `[C, C']` → `[R, C']`. A case has `case_rows`
    /// neighbouring rows, a divisor of `R`; on the CPU, its results do not depend on the other cases.
    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        case_rows: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let _ = case_rows;
        composed_linear_layer::<Self>(x, weight, bias, activation)
    }

    /// Gradients of [`linear_layer`](Self::linear_layer) without activation for its weight `[C, C']` and bias `[C']`.
    fn linear_layer_gradients(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed_linear_layer_gradients::<Self>(x, gradient)
    }

    /// Matrix product: `[R, C]`, `[C, C']` → `[R, C']`.
    fn product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(left, right)
    }

    /// Layer normalization over one axis: `(x − mean) / √(variance + epsilon) · gamma + beta` with the moments of each
    /// position over that axis; `gamma` and `beta` have the axis' length.
    fn layer_normalization(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        axis: usize,
    ) -> FloatTensor<Self> {
        portable::layer_normalization::<Self>(x, gamma, beta, epsilon, axis)
    }

    /// Gradients of [`layer_normalization`](Self::layer_normalization) for its input, `gamma` and `beta`.
    fn layer_normalization_gradients(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        axis: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable::layer_normalization_gradients::<Self>(x, gamma, gradient, epsilon, axis)
    }

    /// Multi-head attention inside windows: `[B, H, W, 3·C]` (queries, keys, values, each head after head), scale
    /// `[heads]`, bias `[heads, N, N]` → `[B, H, W, C]`.
    fn window_attention(
        qkv: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        portable::attention::forward::<Self>(qkv, scale, bias, windows)
    }

    /// Gradients of [`window_attention`](Self::window_attention) for `qkv`, `scale` and `bias`.
    fn window_attention_gradients(
        qkv: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        windows: Windows,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable::attention::gradients::<Self>(qkv, scale, bias, gradient, windows)
    }

    /// Attention between all positions, with the weights `softmax(queryᵀ · key)`, `[B, N, M]`: query `[B, D, N]`, key
    /// `[B, D, M]`; gathered values `[B, C, M]` → `[B, C, N]`, scattered ones `[B, C, N]` → `[B, C, M]`.
    fn position_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        flow: ValueFlow,
    ) -> FloatTensor<Self> {
        portable::position_attention::forward::<Self>(query, key, value, flow)
    }

    /// Gradients of [`position_attention`](Self::position_attention) for query, key and value.
    fn position_attention_gradients(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        flow: ValueFlow,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable::position_attention::gradients::<Self>(query, key, value, gradient, flow)
    }

    /// Sum of each channel: `[B, C, H, W]` → `[C]`.
    fn channel_sum(x: FloatTensor<Self>) -> FloatTensor<Self> {
        portable::channel_sum::<Self>(x)
    }

    /// Mean and (biased) variance of each channel: `[B, C, H, W]` → `[C]` twice. Not differentiated.
    fn channel_moments(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        portable::channel_moments::<Self>(x)
    }

    /// `activation(x · scale + shift)`, `scale` and `shift` `[C]`.
    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        portable::affine::<Self>(x, scale, shift, activation)
    }

    /// With `g` the gradient before the activation: the sums of `g` and of `g · x` over each channel, `[C]` twice.
    fn affine_gradient_sums(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        portable::affine_gradient_sums::<Self>(x, scale, shift, gradient, activation)
    }

    /// Gradient of [`affine`](Self::affine) for its input: `g · scale` with `g` the gradient before the activation.
    fn affine_input_gradient(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        portable::affine_input_gradient::<Self>(x, scale, shift, gradient, activation)
    }

    /// Gradient of [`normalize`](Self::normalize) for its input: `g · scale + x · slope + offset`, where the last two are
    /// what the input does through the moments.
    fn normalize_input_gradient(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        slope: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        portable::normalize_input_gradient::<Self>(x, scale, shift, gradient, slope, offset, activation)
    }

    /// Batch normalization with the batch's own statistics, then the activation; also returns mean and (biased) variance.
    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        // Of the backend's own moments and affine map.
        let (mean, variance) = Self::channel_moments(x.clone());
        let (scale, shift) = portable::scale_and_shift::<Self>(gamma, beta, mean.clone(), variance.clone(), epsilon);
        (Self::affine(x, scale, shift, activation), mean, variance)
    }

    /// The activation alone, on any shape.
    fn activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        portable::activation::<Self>(x, activation)
    }

    /// Gradient of [`activation`](Self::activation) for its input.
    fn activation_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        portable::activation_gradient::<Self>(x, gradient, activation)
    }

    /// `activation(x + y)`, both of one shape.
    fn sum_activation(x: FloatTensor<Self>, y: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        portable::activation::<Self>(Self::float_add(x, y), activation)
    }

    /// A step of Adam: parameter, gradient and both moments of one shape → the new parameter and moments. Not differentiated.
    fn adam_step(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: AdamStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        portable::adam_step::<Self>(parameter, gradient, first, second, step)
    }

    /// The same matrix, laid out in memory column after column where products gain from it.
    fn column_after_column(matrix: FloatTensor<Self>) -> FloatTensor<Self> {
        matrix
    }

    /// `start + (end − start) · share`, both of one shape. Not differentiated.
    fn toward(start: FloatTensor<Self>, end: FloatTensor<Self>, share: f64) -> FloatTensor<Self> {
        portable::toward::<Self>(start, end, share)
    }
}

/// [`Kernels::linear_layer`] of the backend's own product.
pub(crate) fn composed_linear_layer<B: Kernels>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    activation: Activation,
) -> FloatTensor<B> {
    portable::biased_activation::<B>(B::product(x, weight), bias, activation)
}

/// [`Kernels::linear_layer_gradients`] of the backend's own product.
pub(crate) fn composed_linear_layer_gradients<B: Kernels>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let to_weight = B::product(B::float_swap_dims(x, 0, 1), gradient.clone());
    (to_weight, portable::sum_to_axis::<B>(gradient, 1))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Kernels for burn::backend::Cube {}

/// What is recorded: operations that other engines know by name as one, and nothing that is cut to save memory here.
#[cfg(feature = "capture")]
impl Kernels for burn::backend::Capture {
    fn layer_normalization(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        axis: usize,
    ) -> FloatTensor<Self> {
        use burn::backend::{TensorMetadata, ops::ModuleOps};

        match axis + 1 == x.rank() {
            true => Self::layer_norm(x, gamma, Some(beta), epsilon),
            false => portable::layer_normalization::<Self>(x, gamma, beta, epsilon, axis),
        }
    }

    fn position_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        flow: ValueFlow,
    ) -> FloatTensor<Self> {
        portable::position_attention::whole::<Self>(query, key, value, flow)
    }
}
