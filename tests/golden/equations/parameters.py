"""Weights for the equations: leaves in double precision, filled by the formula of the names that the Rust modules give
them.

The names are all that the generators of goldens know of the Rust side. `tests/support.rs` fills its modules in the same
way.
"""

import pathlib
import sys

import torch
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "backbones"))
from formula import uniform, values

EPSILON = 1e-5  # what PyTorch adds to variances


def rounded(value):
    return float(f"{value:.8g}")


def sampled(tensor, step=1):
    """Every `step`th number of a tensor, row-major."""
    return [rounded(value) for value in tensor.detach().flatten()[::step].tolist()]


def numbers(name, *shape):
    """Inputs: numbers between -2 and 2, 32-bit values in double precision."""
    return (4.0 * torch.from_numpy(uniform(name, torch.Size(shape).numel())) - 2.0).float().double().reshape(shape)


def loss_weights(name, shape):
    """Numbers between 0 and 1 that make one loss of a whole output, so that each of its values has a gradient of its
    own."""
    return torch.from_numpy(uniform(name, torch.Size(shape).numel())).float().double().reshape(shape)


class Parameters:
    """Layers by name. `gains` multiplies the tensors of a layer by the last word of its name."""

    def __init__(self, gains=None):
        self.leaves, self.gains, self.training = {}, gains or {}, False

    def filled(self, name, *shape):
        layer = name.split(".")[-2:][0]
        return (values(name, shape) * self.gains.get(layer, 1.0)).double()

    def leaf(self, name, *shape):
        """A parameter; the same one for the same name."""
        if name not in self.leaves:
            self.leaves[name] = self.filled(name, *shape).requires_grad_()
        return self.leaves[name]

    def Wb(self, name, inputs, outputs):
        """W of R^(inputs × outputs) and b, as in x ⊗ W + b; PyTorch stores the transpose of W."""
        return self.leaf(f"{name}.weight", outputs, inputs).T, self.leaf(f"{name}.bias", outputs)

    def linear(self, name, inputs, outputs):
        W, b = self.Wb(name, inputs, outputs)
        return lambda x: x @ W + b

    def convolution(self, name, inputs, outputs, size=1, groups=1, padding=None):
        """Convolves; a map keeps its size unless `padding` says otherwise."""
        weight = self.leaf(f"{name}.weight", outputs, inputs // groups, size, size)
        bias = self.leaf(f"{name}.bias", outputs)
        padding = size // 2 if padding is None else padding
        return lambda x: functional.conv2d(x, weight, bias, padding=padding, groups=groups)

    def BN(self, name, channels):
        """Batch normalization: (x − mean) / √(variance + ε) · γ + β; of the batch in training, else of the running
        statistics."""
        gamma, beta = self.leaf(f"{name}.weight", channels), self.leaf(f"{name}.bias", channels)
        running = self.filled(f"{name}.running_mean", channels), self.filled(f"{name}.running_var", channels)

        def normalize(x):
            cases = [axis for axis in range(x.dim()) if axis != 1]
            along = [-1 if axis == 1 else 1 for axis in range(x.dim())]
            mean, variance = (x.mean(cases), x.var(cases, unbiased=False)) if self.training else running
            mean, variance, factor, shift = (v.reshape(along) for v in (mean, variance, gamma, beta))
            return (x - mean) / torch.sqrt(variance + EPSILON) * factor + shift

        return normalize

    def gradient_norms(self, part=lambda name: name):
        """The norm of the gradient of each part; what no gradient reached is left out."""
        squares = {}
        for name, leaf in self.leaves.items():
            if leaf.grad is not None:
                squares[part(name)] = squares.get(part(name), 0.0) + leaf.grad.square().sum().item()
        return {name: rounded(square**0.5) for name, square in squares.items()}
