//! Backward passes: each operation is one node of the graph, and its gradients are operations of the inner backend.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Scalar, TensorMetadata};
use burn::tensor::ops::ConvOptions;

use crate::activation::Activation;
use crate::backend::Kernels;
use crate::portable;
use crate::positions::ValueFlow;
use crate::windows::Windows;

/// An output that no gradient flows through.
fn constant<B: Kernels, C: CheckpointStrategy>(primitive: B::FloatTensorPrimitive) -> FloatTensor<Autodiff<B, C>> {
    FloatTensor::<Autodiff<B, C>>::new(primitive)
}

/// The activation as an operation of its own, which keeps what came before it.
fn then<B: Kernels, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    activation: Activation,
) -> FloatTensor<Autodiff<B, C>> {
    match activation {
        Activation::Identity => x,
        _ => Autodiff::<B, C>::activation(x, activation),
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn convolution(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        match Convolution.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), options.clone());
                prep.finish(state, B::convolution(x.into_primitive(), weight.into_primitive(), options))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::convolution(x.into_primitive(), weight.into_primitive(), options))
            }
        }
    }

    fn biased_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let tracked = match Convolution.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), options.clone());
                let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                prep.finish(state, B::biased_convolution(x, weight, bias, options, Activation::Identity))
            }
            OpsKind::UnTracked(prep) => {
                let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                return prep.finish(B::biased_convolution(x, weight, bias, options, activation));
            }
        };
        then::<B, C>(tracked, activation)
    }

    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        case_rows: usize,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let tracked = match LinearLayer.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful()
        {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight));
                let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                prep.finish(state, B::linear_layer(x, weight, bias, case_rows, Activation::Identity))
            }
            OpsKind::UnTracked(prep) => {
                let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
                return prep.finish(B::linear_layer(x, weight, bias, case_rows, activation));
            }
        };
        then::<B, C>(tracked, activation)
    }

    fn layer_normalization(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        axis: usize,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        match LayerNormalization.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&gamma), epsilon, axis);
                let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
                prep.finish(state, B::layer_normalization(x, gamma, beta, epsilon, axis))
            }
            OpsKind::UnTracked(prep) => {
                let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
                prep.finish(B::layer_normalization(x, gamma, beta, epsilon, axis))
            }
        }
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        windows: Windows,
    ) -> FloatTensor<Self> {
        let nodes = [qkv.node(), scale.node(), bias.node()];
        match WindowAttention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&qkv), prep.checkpoint(&scale), prep.checkpoint(&bias), windows);
                let (qkv, scale, bias) = (qkv.into_primitive(), scale.into_primitive(), bias.into_primitive());
                prep.finish(state, B::window_attention(qkv, scale, bias, windows))
            }
            OpsKind::UnTracked(prep) => {
                let (qkv, scale, bias) = (qkv.into_primitive(), scale.into_primitive(), bias.into_primitive());
                prep.finish(B::window_attention(qkv, scale, bias, windows))
            }
        }
    }

    fn position_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        flow: ValueFlow,
    ) -> FloatTensor<Self> {
        let nodes = [query.node(), key.node(), value.node()];
        match PositionAttention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&query), prep.checkpoint(&key), prep.checkpoint(&value), flow);
                let (query, key, value) = (query.into_primitive(), key.into_primitive(), value.into_primitive());
                prep.finish(state, B::position_attention(query, key, value, flow))
            }
            OpsKind::UnTracked(prep) => {
                let (query, key, value) = (query.into_primitive(), key.into_primitive(), value.into_primitive());
                prep.finish(B::position_attention(query, key, value, flow))
            }
        }
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        match Affine.prepare::<C>([x.node(), scale.node(), shift.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&scale), prep.checkpoint(&shift), activation);
                let (scale, shift) = (scale.into_primitive(), shift.into_primitive());
                prep.finish(state, B::affine(x.into_primitive(), scale, shift, activation))
            }
            OpsKind::UnTracked(prep) => {
                let (scale, shift) = (scale.into_primitive(), shift.into_primitive());
                prep.finish(B::affine(x.into_primitive(), scale, shift, activation))
            }
        }
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node()];
        match Normalize.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = prep.checkpoint(&x);
                let (gamma, beta) = (gamma.into_primitive(), beta.into_primitive());
                let x = x.into_primitive();
                let (output, mean, variance) = B::normalize(x, gamma.clone(), beta.clone(), epsilon, activation);
                let moments = Moments { mean: mean.clone(), variance: variance.clone(), epsilon };
                let state = (saved, gamma, beta, moments, activation);
                (prep.finish(state, output), constant::<B, C>(mean), constant::<B, C>(variance))
            }
            OpsKind::UnTracked(prep) => {
                let (gamma, beta) = (gamma.into_primitive(), beta.into_primitive());
                let (output, mean, variance) = B::normalize(x.into_primitive(), gamma, beta, epsilon, activation);
                (prep.finish(output), constant::<B, C>(mean), constant::<B, C>(variance))
            }
        }
    }

    fn sum_activation(x: FloatTensor<Self>, y: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        match SumActivation.prepare::<C>([x.node(), y.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (x, y) = (x.into_primitive(), y.into_primitive());
                match activation {
                    Activation::Identity => prep.finish(None, B::sum_activation(x, y, activation)),
                    // It has the same slope where its own result goes in: the sum need not be kept.
                    Activation::Relu => {
                        let output = B::sum_activation(x, y, activation);
                        prep.finish(Some((output.clone(), activation)), output)
                    }
                    _ => {
                        let sum = B::sum_activation(x, y, Activation::Identity);
                        prep.finish(Some((sum.clone(), activation)), B::activation(sum, activation))
                    }
                }
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::sum_activation(x.into_primitive(), y.into_primitive(), activation))
            }
        }
    }

    fn activation(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        match Activate.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), activation);
                prep.finish(state, B::activation(x.into_primitive(), activation))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::activation(x.into_primitive(), activation)),
        }
    }
}

/// With or without the bias as third parent.
#[derive(Debug)]
struct Convolution;

impl<B: Kernels, const N: usize> Backward<B, N> for Convolution {
    type State = (NodeId, NodeId, ConvOptions<2>);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, weight, options) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
        let weight = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(weight);

        let mut parents = ops.parents.into_iter();
        if let Some(node) = parents.next().flatten() {
            let value = B::convolution_input_gradient(x.clone(), weight.clone(), gradient.clone(), options.clone());
            gradients.register::<B>(node.id, value);
        }
        if let Some(node) = parents.next().flatten() {
            let value = B::convolution_weight_gradient(x, weight, gradient.clone(), options);
            gradients.register::<B>(node.id, value);
        }
        if let Some(node) = parents.next().flatten() {
            gradients.register::<B>(node.id, B::channel_sum(gradient));
        }
    }
}

#[derive(Debug)]
struct LinearLayer;

impl<B: Kernels> Backward<B, 3> for LinearLayer {
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [to_x, to_weight, to_bias] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
        let weight = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(weight);

        if to_weight.is_some() || to_bias.is_some() {
            let (weight, bias) = B::linear_layer_gradients(x, gradient.clone());
            if let Some(node) = to_weight {
                gradients.register::<B>(node.id, weight);
            }
            if let Some(node) = to_bias {
                gradients.register::<B>(node.id, bias);
            }
        }
        if let Some(node) = to_x {
            gradients.register::<B>(node.id, B::product(gradient, B::float_swap_dims(weight, 0, 1)));
        }
    }
}

#[derive(Debug)]
struct LayerNormalization;

impl<B: Kernels> Backward<B, 3> for LayerNormalization {
    type State = (NodeId, NodeId, f64, usize);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, gamma, epsilon, axis) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
        let gamma = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(gamma);
        let (x, gamma, beta) = B::layer_normalization_gradients(x, gamma, gradient, epsilon, axis);
        for (node, gradient) in ops.parents.into_iter().zip([x, gamma, beta]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct WindowAttention;

impl<B: Kernels> Backward<B, 3> for WindowAttention {
    type State = (NodeId, NodeId, NodeId, Windows);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (qkv, scale, bias, windows) = ops.state;
        let qkv = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(qkv);
        let scale = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(scale);
        let bias = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(bias);
        let (qkv, scale, bias) = B::window_attention_gradients(qkv, scale, bias, gradient, windows);
        for (node, gradient) in ops.parents.into_iter().zip([qkv, scale, bias]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct PositionAttention;

impl<B: Kernels> Backward<B, 3> for PositionAttention {
    type State = (NodeId, NodeId, NodeId, ValueFlow);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (query, key, value, flow) = ops.state;
        let query = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(query);
        let key = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(key);
        let value = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(value);
        let (query, key, value) = B::position_attention_gradients(query, key, value, gradient, flow);
        for (node, gradient) in ops.parents.into_iter().zip([query, key, value]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct Affine;

impl<B: Kernels> Backward<B, 3> for Affine {
    type State = (NodeId, NodeId, NodeId, Activation);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [to_x, to_scale, to_shift] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, scale, shift, activation) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
        let scale = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(scale);
        let shift = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(shift);

        if to_scale.is_some() || to_shift.is_some() {
            let (x, scale, shift) = (x.clone(), scale.clone(), shift.clone());
            let (sum, weighted) = B::affine_gradient_sums(x, scale, shift, gradient.clone(), activation);
            if let Some(node) = to_scale {
                gradients.register::<B>(node.id, weighted);
            }
            if let Some(node) = to_shift {
                gradients.register::<B>(node.id, sum);
            }
        }
        if let Some(node) = to_x {
            let value = B::affine_input_gradient(x, scale, shift, gradient, activation);
            gradients.register::<B>(node.id, value);
        }
    }
}

/// Statistics of the forward pass.
#[derive(Clone, Debug)]
struct Moments<T> {
    mean: T,
    variance: T,
    epsilon: f64,
}

#[derive(Debug)]
struct Normalize;

impl<B: Kernels> Backward<B, 3> for Normalize {
    type State =
        (NodeId, B::FloatTensorPrimitive, B::FloatTensorPrimitive, Moments<B::FloatTensorPrimitive>, Activation);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [to_x, to_gamma, to_beta] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, gamma, beta, Moments { mean, variance, epsilon }, activation) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);

        // y = a(x̂ · γ + β) with x̂ = (x − μ) · r, r = 1/√(σ² + ε). With g the gradient before the activation:
        // ∂β = Σ g, ∂γ = Σ g·x̂ = r · (Σ g·x − μ · Σ g), ∂x = γ·r · (g − ∂β/n − x̂ · ∂γ/n).
        let [batch, _, height, width] = x.shape().dims();
        let samples = (batch * height * width) as f64;
        let (scale, shift) =
            portable::scale_and_shift::<B>(gamma.clone(), beta, mean.clone(), variance.clone(), epsilon);
        let (sum, weighted) =
            B::affine_gradient_sums(x.clone(), scale.clone(), shift.clone(), gradient.clone(), activation);
        let deviation = B::float_sqrt(B::float_add_scalar(variance, Scalar::Float(epsilon)));
        let gamma_gradient =
            B::float_div(B::float_sub(weighted, B::float_mul(mean.clone(), sum.clone())), deviation.clone());

        if let Some(node) = to_x {
            // −γ·r/n · (x̂ · ∂γ + ∂β) = x · slope + offset
            let slope = B::float_neg(B::float_div(
                B::float_mul(scale.clone(), gamma_gradient.clone()),
                B::float_mul_scalar(deviation, Scalar::Float(samples)),
            ));
            let constant = B::float_div_scalar(B::float_mul(scale.clone(), sum.clone()), Scalar::Float(samples));
            let offset = B::float_neg(B::float_add(B::float_mul(slope.clone(), mean), constant));
            let value = B::normalize_input_gradient(x, scale, shift, gradient, slope, offset, activation);
            gradients.register::<B>(node.id, value);
        }
        if let Some(node) = to_gamma {
            gradients.register::<B>(node.id, gamma_gradient);
        }
        if let Some(node) = to_beta {
            gradients.register::<B>(node.id, sum);
        }
    }
}

#[derive(Debug)]
struct SumActivation;

impl<B: Kernels> Backward<B, 2> for SumActivation {
    type State = Option<(B::FloatTensorPrimitive, Activation)>;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let gradient = match ops.state {
            Some((sum, activation)) => B::activation_gradient(sum, gradient, activation),
            None => gradient,
        };
        for node in ops.parents.into_iter().flatten() {
            gradients.register::<B>(node.id, gradient.clone());
        }
    }
}

#[derive(Debug)]
struct Activate;

impl<B: Kernels> Backward<B, 1> for Activate {
    type State = (NodeId, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [to_x] = ops.parents;
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, activation) = ops.state;
        let x = checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(x);
        if let Some(node) = to_x {
            gradients.register::<B>(node.id, B::activation_gradient(x, gradient, activation));
        }
    }
}
