"""Goldens of the fusion modules, written from the papers' equations, with formula-filled weights, in double precision.

Run: `python generate.py` (torch, numpy). The formula is the one of the backbones' goldens.
"""

import json
import math
import pathlib
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "backbones"))
from formula import uniform, values

BATCH = 8
STEP = 97  # every 97th value is kept


class MetaBlock(nn.Module):
    """Pacheco and Krohling 2021: sigmoid(tanh(V * T1) + T2)."""

    def __init__(self, image, metadata, columns):
        super().__init__()
        groups = image // columns
        self.columns = columns
        self.scale, self.scale_norm = nn.Linear(metadata, groups), nn.BatchNorm1d(groups)
        self.shift, self.shift_norm = nn.Linear(metadata, groups), nn.BatchNorm1d(groups)

    def forward(self, image, metadata):
        v = image.reshape(len(image), -1, self.columns)
        t1 = self.scale_norm(self.scale(metadata)).unsqueeze(-1)
        t2 = self.shift_norm(self.shift(metadata)).unsqueeze(-1)
        return torch.sigmoid(torch.tanh(v * t1) + t2).flatten(1)


class MetaNet(nn.Module):
    """Li et al. 2020: a gate for each map, by two 1x1 convolutions."""

    def __init__(self, image, metadata, hidden, columns):
        super().__init__()
        self.side = math.isqrt(columns)
        self.hidden, self.gate = nn.Linear(metadata, hidden), nn.Linear(hidden, image // columns)

    def forward(self, image, metadata):
        maps = image.reshape(len(image), -1, self.side, self.side)
        u = metadata[:, :, None, None]
        hidden = functional.relu(functional.conv2d(u, self.hidden.weight[:, :, None, None], self.hidden.bias))
        gate = torch.sigmoid(functional.conv2d(hidden, self.gate.weight[:, :, None, None], self.gate.bias))
        return (maps * gate).flatten(1)


class QueryKeyValue(nn.Module):
    """Eq. 4.6."""

    def __init__(self, inputs, width):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, 3 * width), nn.BatchNorm1d(3 * width)

    def forward(self, x):
        return self.norm(self.linear(x)).chunk(3, dim=1)


class NormalizedLinear(nn.Module):
    """Eq. 4.9."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)

    def forward(self, x):
        return self.norm(self.linear(x))


def attend(q, k, v, heads, product, scale):
    """Eq. 4.7 and 4.8, head by head and case by case."""
    rows = []
    for q, k, v in zip(q, k, v):
        parts = []
        for q, k, v in zip(q.chunk(heads), k.chunk(heads), v.chunk(heads)):
            root = math.sqrt(len(q))
            scores = {"outer": torch.outer(q, k), "outer_key_rows": torch.outer(k, q), "elementwise": q * k}[product]
            weights = functional.softmax(scores / root, -1) if scale == "inside" else functional.softmax(scores, -1) / root
            parts.append(weights * v if product == "elementwise" else weights @ v)
        rows.append(torch.cat(parts))
    return torch.stack(rows)


class Mmfa(nn.Module):
    """Thesis Eq. 4.6 to 4.10."""

    def __init__(self, image, metadata, image_width, metadata_width, attention):
        super().__init__()
        self.image, self.metadata = QueryKeyValue(image, image_width), QueryKeyValue(metadata, metadata_width)
        self.output = NormalizedLinear(image_width + metadata_width, image + metadata)
        self.attention = attention

    def forward(self, image, metadata):
        q, k, v = (torch.cat([m, i], 1) for m, i in zip(self.metadata(metadata), self.image(image)))
        return self.output(attend(q, k, v, **self.attention)) + torch.cat([image, metadata], 1)


class MutualAttention(nn.Module):
    def __init__(self, image, metadata, width, attention):
        super().__init__()
        self.image, self.metadata = QueryKeyValue(image, width), QueryKeyValue(metadata, width)
        self.image_output, self.metadata_output = NormalizedLinear(width, image), NormalizedLinear(width, metadata)
        self.attention = attention

    def forward(self, image, metadata):
        q_i, k_i, v_i = self.image(image)
        q_m, k_m, v_m = self.metadata(metadata)
        of_image = self.image_output(attend(q_m, k_i, v_i, **self.attention))
        of_metadata = self.metadata_output(attend(q_i, k_m, v_m, **self.attention))
        return torch.cat([image + of_image, metadata + of_metadata], 1)


class Tower(nn.Module):
    def __init__(self, own, other, heads):
        super().__init__()
        self.perceptron = nn.ModuleList(nn.Linear(own, own) for _ in range(3))
        self.query = nn.Linear(heads * other, heads * own)
        self.key, self.value = nn.Linear(heads * own, heads * own), nn.Linear(heads * own, heads * own)
        self.attention = nn.MultiheadAttention(heads * own, heads, batch_first=True)
        self.output = nn.Linear(heads * own, own)

    def encode(self, x):
        for layer in self.perceptron:
            x = functional.relu6(layer(x))
        return x

    def attend(self, other, own):
        q, k, v = (layer(x).unsqueeze(1) for layer, x in [(self.query, other), (self.key, own), (self.value, own)])
        return self.output(self.attention(q, k, v, need_weights=False)[0].squeeze(1))


class TiledMutualAttention(nn.Module):
    def __init__(self, image, metadata, heads):
        super().__init__()
        self.image, self.metadata = Tower(image, metadata, heads), Tower(metadata, image, heads)
        self.heads = heads

    def forward(self, image, metadata):
        image, metadata = self.image.encode(image), self.metadata.encode(metadata)
        tiled_image, tiled_metadata = image.tile(1, self.heads), metadata.tile(1, self.heads)
        of_image = self.image.attend(tiled_metadata, tiled_image)
        of_metadata = self.metadata.attend(tiled_image, tiled_metadata)
        return torch.cat([image + of_image, metadata + of_metadata], 1)


MODULES = {
    "meta_block": MetaBlock,
    "meta_net": MetaNet,
    "mmfa": Mmfa,
    "mutual_attention": MutualAttention,
    "tiled_mutual_attention": TiledMutualAttention,
}


def attention(heads=8, product="outer", scale="inside"):
    return {"heads": heads, "product": product, "scale": scale}


# (image features, metadata features, configuration)
CASES = [
    (1280, 81, {"kind": "meta_block", "columns": 32}),
    (1280, 128, {"kind": "meta_net", "hidden": 64, "columns": 64}),
    (2048, 128, {"kind": "mmfa", "image_width": 96, "metadata_width": 96, "attention": attention()}),
    (1280, 128, {"kind": "mmfa", "image_width": 64, "metadata_width": 32, "attention": attention(4, "outer_key_rows")}),
    (1280, 128, {"kind": "mmfa", "image_width": 96, "metadata_width": 96, "attention": attention(8, "elementwise")}),
    (1280, 128, {"kind": "mmfa", "image_width": 96, "metadata_width": 96, "attention": attention(8, "outer", "outside")}),
    (2048, 128, {"kind": "mutual_attention", "width": 96, "attention": attention()}),
    (1280, 128, {"kind": "mutual_attention", "width": 96, "attention": attention(6, "elementwise", "outside")}),
    (320, 64, {"kind": "tiled_mutual_attention", "heads": 3}),
]


def fill(model):
    for name, parameter in list(model.named_parameters()) + list(model.named_buffers()):
        if name.endswith("num_batches_tracked"):
            continue
        if ".attention." in name:  # PyTorch packs query, key and value
            path, leaf = name.split(".attention.")
            kind = "weight" if leaf.endswith("weight") else "bias"
            parts = ["output"] if leaf.startswith("out_proj") else ["query", "key", "value"]
            shape = (parameter.shape[0] // len(parts), *parameter.shape[1:])
            filled = torch.cat([values(f"{path}.attention.{part}.{kind}", shape) for part in parts])
        else:
            filled = values(name, tuple(parameter.shape))
        parameter.data.copy_(filled)


def vectors(name, length):
    data = 4.0 * uniform(name, BATCH * length) - 2.0
    return torch.from_numpy(data.astype(numpy.float32)).reshape(BATCH, length).double().requires_grad_()


def kept(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().flatten()[::STEP].tolist()]


goldens = []
for image_length, metadata_length, config in CASES:
    arguments = {key: value for key, value in config.items() if key != "kind"}
    model = MODULES[config["kind"]](image_length, metadata_length, **arguments)
    fill(model)
    model.double().eval()
    image, metadata = vectors("image", image_length), vectors("metadata", metadata_length)
    output = model(image, metadata)
    golden = {"image": image_length, "metadata": metadata_length, "config": config, "output": kept(output)}
    model.train()
    output = model(image, metadata)
    weights = torch.from_numpy(uniform("loss", output.numel()).astype(numpy.float32)).reshape(output.shape).double()
    (output * weights).sum().backward()
    packed = lambda name: name.replace("in_proj_", "qkv.").replace("out_proj", "output")
    norms = {packed(name): float(f"{p.grad.norm().item():.8g}") for name, p in model.named_parameters()}
    golden["training"] = {
        "output": kept(output),
        "image_gradient": kept(image.grad),
        "metadata_gradient": kept(metadata.grad),
        "gradient_norms": norms,
    }
    goldens.append(golden)

(HERE / "golden.json").write_text(
    json.dumps(
        {
            "generator": "tests/golden/fusion/generate.py",
            "versions": {"torch": torch.__version__, "numpy": numpy.__version__},
            "batch": BATCH,
            "step": STEP,
            "cases": goldens,
        },
        indent=1,
    )
    + "\n"
)
