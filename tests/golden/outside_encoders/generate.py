"""Small encoders as ONNX files of somebody else: one that PyTorch wrote, and one by hand with attributes of all kinds and graphs inside of nodes.

Needs torch and onnx: python generate.py
"""

from pathlib import Path

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent
SIDE, WIDTH, PATCH = 32, 12, 8


class VisionTransformer(torch.nn.Module):
    """Patches, a class token, one block of attention; tokens [N, T, D]."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = torch.nn.Parameter(torch.randn(1, 1, WIDTH))
        self.places = torch.nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2 + 1, WIDTH))
        self.block = torch.nn.TransformerEncoderLayer(WIDTH, 3, 24, 0.0, "gelu", batch_first=True, norm_first=True)
        self.norm = torch.nn.LayerNorm(WIDTH)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        scale = patches.amax(dim=(1, 2), keepdim=True) - patches.mean(dim=(1, 2), keepdim=True)
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), patches / (1 + scale.abs())], 1)
        return self.norm(self.block(tokens + self.places))


def by_pytorch():
    torch.manual_seed(1)
    torch.backends.mha.set_fastpath_enabled(False)
    axes = {"pixel_values": {0: "batch"}, "last_hidden_state": {0: "batch"}}
    torch.onnx.export(
        VisionTransformer().eval(), torch.zeros(1, 3, SIDE, SIDE), FOLDER / "pytorch.onnx", dynamo=False, opset_version=17,
        input_names=["pixel_values"], output_names=["last_hidden_state"], dynamic_axes=axes,
    )


def by_hand():
    """Takes one image of [1, S, S, 3], and gives a map [1, D, H, W] beside an output that nobody needs."""
    draw = numpy.random.default_rng(2)

    def weight(name, *shape):
        return numpy_helper.from_array((draw.normal(size=shape) / numpy.sqrt(shape[-1])).astype("float32"), name)

    def node(operator, inputs, outputs, **attributes):
        return helper.make_node(operator, inputs, outputs, name=f"{operator}_{outputs[0]}", **attributes)

    def value(name, *shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    hidden = WIDTH // 2
    # Both read values from around them, and one has a loop inside.
    body = helper.make_graph(
        [
            node("Identity", ["goes_on"], ["goes_on_out"]),
            node("Mul", ["before", "factor"], ["shrunk"]),
            node("Add", ["shrunk", "sequence"], ["after"]),
        ],
        "body",
        [value("count", kind=TensorProto.INT64), value("goes_on", kind=TensorProto.BOOL), value("before", None, None, None)],
        [value("goes_on_out", kind=TensorProto.BOOL), value("after", None, None, None)],
    )
    bright = helper.make_graph(
        [node("Loop", ["three", "", "sequence"], ["repeated"], body=body)],
        "bright",
        [],
        [value("repeated", None, None, None)],
        [],
    )
    dark = helper.make_graph(
        [node("Mul", ["sequence", "darkness"], ["darker"])],
        "dark",
        [],
        [value("darker", None, None, None)],
        [numpy_helper.from_array(numpy.float32(0.5), "darkness")],
    )
    nodes = [
        node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "kernel"], ["patches"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH], auto_pad="VALID"),
        node("LeakyRelu", ["patches"], ["active"], alpha=0.2),
        node("Constant", [], ["flat"], value_ints=[0, 0, -1]),
        node("Reshape", ["active", "flat"], ["columns"]),
        node("Transpose", ["columns"], ["rows"], perm=[2, 0, 1]),
        node(
            "LSTM", ["rows", "w", "r"], ["states", "", "cell"], hidden_size=hidden, direction="bidirectional",
            activations=["HardSigmoid", "Tanh", "Tanh", "Sigmoid", "LeakyRelu", "Tanh"],
            activation_alpha=[0.3, 0.1], activation_beta=[0.4],
        ),
        node("Transpose", ["states"], ["together"], perm=[2, 0, 1, 3]),
        node("Constant", [], ["wide"], value=numpy_helper.from_array(numpy.array([0, 0, -1], "int64"))),
        node("Reshape", ["together", "wide"], ["sequence"]),
        node("Constant", [], ["threshold"], value_float=0.4),
        node("Constant", [], ["factor"], value_floats=[0.5]),
        node("ReduceMean", ["images"], ["mean"], keepdims=0),
        node("Greater", ["mean", "threshold"], ["is_bright"]),
        node("If", ["is_bright"], ["chosen"], then_branch=bright, else_branch=dark),
        node("Transpose", ["chosen"], ["channels"], perm=[0, 2, 1]),
        node("Reshape", ["channels", "sides"], ["map"]),
        node("Relu", ["unneeded_weight"], ["unneeded"]),
    ]
    side = SIDE // PATCH
    graph = helper.make_graph(
        nodes,
        "encoder",
        [value("images", 1, SIDE, SIDE, 3)],
        [value("map", 1, WIDTH, side, side), value("unneeded", 1000)],
        [
            weight("kernel", WIDTH, 3, PATCH, PATCH),
            weight("w", 2, 4 * hidden, WIDTH),
            weight("r", 2, 4 * hidden, hidden),
            numpy_helper.from_array(numpy.array([1, WIDTH, side, side], "int64"), "sides"),
            numpy_helper.from_array(numpy.int64(3), "three"),
            weight("unneeded_weight", 1000),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, FOLDER / "by_hand.onnx")


by_pytorch()
by_hand()
