//! The operations on Burn's tensors.

use burn::backend::Dispatch;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::positions::ValueFlow;
use crate::step::AdamStep;
use crate::windows::Windows;

impl Activation {
    /// Applies the function, element by element.
    ///
    /// # Shapes
    ///
    /// any → the same.
    pub fn forward<const D: usize>(self, input: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => input,
            _ => Tensor::from_dispatch(Dispatch::activation(input.into_dispatch(), self)),
        }
    }
}

/// Two-dimensional convolution.
///
/// # Shapes
///
/// `[B, C, H, W]`, weight `[C', C / groups, K, K']`, bias `[C']` → `[B, C', H', W']`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    match bias {
        Some(bias) => conv2d_activation(x, weight, bias, options, Activation::Identity),
        None => Tensor::from_dispatch(Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), options)),
    }
}

/// Two-dimensional convolution, then the activation: in one pass where no gradient is wanted.
///
/// # Shapes
///
/// `[B, C, H, W]`, weight `[C', C / groups, K, K']`, bias `[C']` → `[B, C', H', W']`.
pub fn conv2d_activation(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions<2>,
    activation: Activation,
) -> Tensor<4> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::biased_convolution(x, weight, bias, options, activation))
}

/// `activation(x · weight + bias)` over the last dimension: in one pass where no gradient is wanted. On the CPU, what each
/// entry of the first dimension gives is the same to the last bit alone, in every batch, and with any number of threads.
///
/// # Shapes
///
/// `[B, …, C]`, weight `[C, C']`, bias `[C']` → `[B, …, C']`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<D> {
    let ([channels, channels_out], mut shape) = (weight.dims(), x.dims());
    let rows = shape[..D - 1].iter().product::<usize>();
    // A single vector is a case of one row.
    let case_rows = shape[..D - 1].iter().skip(1).product::<usize>();
    let x = x.reshape([rows, channels]).into_dispatch(); // [R, C]
    let result = Dispatch::linear_layer(x, weight.into_dispatch(), bias.into_dispatch(), case_rows, activation);
    shape[D - 1] = channels_out;
    Tensor::<2>::from_dispatch(result).reshape(shape)
}

/// The layer over the last dimension, then the activation, as [`linear`] has it.
///
/// # Shapes
///
/// `[B, …, C]` → `[B, …, C']`.
pub fn project<const D: usize>(layer: &Linear, activation: Activation, x: Tensor<D>) -> Tensor<D> {
    let weight = layer.weight.val(); // [C, C']
    let bias = match &layer.bias {
        Some(bias) => bias.val(),
        None => Tensor::zeros([weight.dims()[1]], &weight.device()),
    };
    linear(x, weight, bias, activation)
}

/// Layer normalization over one axis of any number of dimensions: `(x − mean) / √(variance + epsilon) · gamma + beta`, with the
/// mean and the (biased) variance of each position over that axis.
///
/// # Shapes
///
/// any, two vectors as long as the axis → the same.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    axis: usize,
) -> Tensor<D> {
    let (gamma, beta) = (gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_normalization(x.into_dispatch(), gamma, beta, epsilon, axis))
}

/// Multi-head attention inside the windows of a map: `softmax(query · keyᵀ · scale + bias) · value` among a window's pixels.
///
/// # Shapes
///
/// `[B, H, W, 3·C]` (queries, keys, values, each head after head), scale `[heads]`, bias `[heads, N, N]` with `N` the pixels
/// of a window → `[B, H, W, C]`.
///
/// # Panics
///
/// If the map's sides are no multiples of the windows', a shift is not less than it, or other shapes disagree.
///
/// Paper: Liu et al., 2021, <https://arxiv.org/abs/2103.14030>, section 3.2.
pub fn window_attention(qkv: Tensor<4>, scale: Tensor<1>, bias: Tensor<3>, windows: Windows) -> Tensor<4> {
    let Windows { side, shift, heads, .. } = windows;
    let [_, height, width, channels] = qkv.dims();
    assert!(side > 0 && height % side == 0 && width % side == 0, "windows of {side} do not tile {height} × {width}");
    assert!(shift.iter().all(|shift| *shift < side), "windows of {side} are moved by {shift:?}");
    assert!(heads > 0 && channels % (3 * heads) == 0, "{channels} channels are not three times {heads} heads");
    assert_eq!((scale.dims(), bias.dims()), ([heads], [heads, windows.pixels(), windows.pixels()]), "scale and bias");
    let (scale, bias) = (scale.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::window_attention(qkv.into_dispatch(), scale, bias, windows))
}

/// Attention between all positions of a map (or of two): the weights `softmax(queryᵀ · key)`, `[B, N, M]`, each row of which
/// belongs to a query, and the values that they gather or scatter.
///
/// The weights are computed some rows at a time and forgotten, in the backward pass too: memory grows with `N + M`, not with
/// their product.
///
/// # Shapes
///
/// query `[B, D, N]`, key `[B, D, M]`; [gathered](ValueFlow::Gather) values `[B, C, M]` → `[B, C, N]`,
/// [scattered](ValueFlow::Scatter) values `[B, C, N]` → `[B, C, M]`.
///
/// # Panics
///
/// If the shapes disagree, or there is no position.
///
/// Paper: Fu et al., 2019, <https://arxiv.org/abs/1809.02983>, section 3.2, whose position attention gathers.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_kernels::{ValueFlow, position_attention};
///
/// let device = Device::flex();
/// let row = |values: [f32; 2]| Tensor::<3>::from_data([[values]], &device); // [1, 1, 2]
/// // The weights are a half and a half in the first row, a quarter and three quarters in the second.
/// let (query, key, value) = (row([0.0, 3.0_f32.ln()]), row([0.0, 1.0]), row([4.0, 8.0]));
/// for (flow, expected) in [(ValueFlow::Gather, [6.0, 7.0]), (ValueFlow::Scatter, [4.0, 8.0])] {
///     let output = position_attention(query.clone(), key.clone(), value.clone(), flow);
///     let output: Vec<f32> = output.into_data().iter().collect();
///     assert!(output.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5));
/// }
/// ```
pub fn position_attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, flow: ValueFlow) -> Tensor<3> {
    let ([batch, depth, rows], [_, _, columns], [_, channels, _]) = (query.dims(), key.dims(), value.dims());
    let values = match flow {
        ValueFlow::Gather => columns,
        ValueFlow::Scatter => rows,
    };
    assert!(rows > 0 && columns > 0, "there is no position among {rows} and {columns}");
    assert_eq!(key.dims(), [batch, depth, columns], "keys beside queries {:?}", query.dims());
    assert_eq!(value.dims(), [batch, channels, values], "values beside {rows} queries and {columns} keys");
    let (query, key, value) = (query.into_dispatch(), key.into_dispatch(), value.into_dispatch());
    Tensor::from_dispatch(Dispatch::position_attention(query, key, value, flow))
}

/// `activation(x · scale + shift)` with a factor and a summand for each channel: what normalization with running
/// statistics and the activation after it are, in one pass.
///
/// # Shapes
///
/// `[B, C, H, W]`, two vectors `[C]` → `[B, C, H, W]`.
pub fn affine_activation(x: Tensor<4>, scale: Tensor<1>, shift: Tensor<1>, activation: Activation) -> Tensor<4> {
    let (scale, shift) = (scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(Dispatch::affine(x.into_dispatch(), scale, shift, activation))
}

/// What [`batch_norm_activation`] returns.
#[derive(Debug)]
pub struct BatchNormOutput {
    /// The normalized, activated map `[B, C, H, W]`.
    pub output: Tensor<4>,
    /// Mean of each channel `[C]`, without gradient.
    pub mean: Tensor<1>,
    /// Biased variance of each channel `[C]`, without gradient.
    pub variance: Tensor<1>,
}

/// `activation((x − mean) / √(variance + epsilon) · gamma + beta)` with the moments of the batch itself.
///
/// # Shapes
///
/// `[B, C, H, W]`, two vectors `[C]` → `[B, C, H, W]`, two vectors `[C]`.
pub fn batch_norm_activation(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    activation: Activation,
) -> BatchNormOutput {
    let (gamma, beta) = (gamma.into_dispatch(), beta.into_dispatch());
    let (output, mean, variance) = Dispatch::normalize(x.into_dispatch(), gamma, beta, epsilon, activation);
    let vector = |primitive| Tensor::<1>::from_dispatch(primitive);
    BatchNormOutput { output: Tensor::from_dispatch(output), mean: vector(mean), variance: vector(variance) }
}

/// `activation(x + y)`, as at the end of a residual block: on the CPU in one pass, in place where nobody else holds one of both.
///
/// # Shapes
///
/// any, the same for both → the same.
///
/// # Panics
///
/// If the shapes disagree.
///
/// Paper: He et al., 2016, <https://arxiv.org/abs/1512.03385>, equation 1.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_kernels::{Activation, sum_activation};
///
/// let device = Device::flex();
/// let of = |values: [f32; 2]| Tensor::<1>::from_data(values, &device);
/// let sum = sum_activation(of([1.0, -3.0]), of([2.0, 2.0]), Activation::Relu);
/// assert_eq!(sum.into_data().try_to_vec::<f32>().unwrap(), [3.0, 0.0]);
/// ```
pub fn sum_activation<const D: usize>(x: Tensor<D>, y: Tensor<D>, activation: Activation) -> Tensor<D> {
    assert_eq!(y.dims(), x.dims(), "summands");
    Tensor::from_dispatch(Dispatch::sum_activation(x.into_dispatch(), y.into_dispatch(), activation))
}

/// A step of Adam or AdamW: the new parameter, and the new first and second moment. On the CPU it is one pass over all of them, in
/// place where nobody else holds a tensor. It is not differentiated.
///
/// # Shapes
///
/// any, the same for all.
///
/// # Panics
///
/// If the shapes disagree.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_kernels::{AdamStep, adam_step};
///
/// let device = Device::flex();
/// let of = |value: f32| Tensor::<1>::from_data([value], &device);
/// let step = AdamStep { rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, time: 1, penalty: 0.0, decay: 0.0 };
/// // The first step goes as far as the rate says, whatever the gradient's length.
/// let (parameter, [first, second]) = adam_step(of(1.0), of(4.0), [of(0.0), of(0.0)], step);
/// let value = |x: Tensor<1>| x.into_scalar::<f32>();
/// assert!((value(parameter) - 0.9).abs() < 1e-6);
/// assert!((value(first) - 0.4).abs() < 1e-6 && (value(second) - 0.016).abs() < 1e-6);
/// ```
pub fn adam_step<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: AdamStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let shape = parameter.dims();
    assert_eq!([gradient.dims(), moments[0].dims(), moments[1].dims()], [shape; 3], "beside a parameter {shape:?}");
    let [first, second] = moments.map(Tensor::into_dispatch);
    let (parameter, gradient) = (parameter.into_dispatch(), gradient.into_dispatch());
    let (parameter, first, second) = Dispatch::adam_step(parameter, gradient, first, second, step);
    let tensor = |primitive| Tensor::from_dispatch(primitive);
    (tensor(parameter), [tensor(first), tensor(second)])
}

/// The same matrix; on the CPU, laid out in memory column after column. As the weight of a linear layer over the channels of a map
/// it is then read in place, and not laid out anew in each call. For prediction: a result that learns is the matrix as it was.
///
/// # Shapes
///
/// `[C, C']` → `[C, C']`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use dermafuse_kernels::column_after_column;
///
/// let matrix = Tensor::<2>::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::flex());
/// assert_eq!(column_after_column(matrix.clone()).into_data(), matrix.into_data());
/// ```
pub fn column_after_column(matrix: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::column_after_column(matrix.into_dispatch()))
}

/// `start + (end − start) · share`: what a moving average does. On the CPU it is one pass, in place where nobody else holds `start`.
/// It is not differentiated.
///
/// # Shapes
///
/// any, the same for both.
///
/// # Panics
///
/// If the shapes disagree.
pub fn toward<const D: usize>(start: Tensor<D>, end: Tensor<D>, share: f64) -> Tensor<D> {
    assert_eq!(end.dims(), start.dims(), "the end beside the start");
    Tensor::from_dispatch(Dispatch::toward(start.into_dispatch(), end.into_dispatch(), share))
}
