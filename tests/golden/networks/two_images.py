"""What the generators of networks over two images share: backbones stage by stage, heads, formula-filled weights, a golden."""

import json
import math
import pathlib
import sys

import numpy
import torch
import torchvision
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
BACKBONES = HERE.parent / "backbones"
sys.path[:0] = [str(BACKBONES), str(HERE.parent / "map_fusion")]
from blocks import MODULES
from formula import uniform, values

CLASSES = [5, 3, 2]
LABELS = [[4, 2, 1], [0, 0, 0], [1, 1, 0], [2, 0, 1], [3, 2, 1], [0, 1, 1]]


class Backbone(nn.Module):
    """A torchvision model whose stages are run one by one."""

    ENDS = {"mobilenet_v3_small": (1, 3, 8, 12), "swin_v2_t": (1, 3, 5, 7)}

    def __init__(self, name):
        super().__init__()
        self.name, self.model = name, getattr(torchvision.models, name)(weights=None)

    def stage(self, stage, x):
        model = self.model
        if self.name.startswith("resnet"):
            if stage == 0:
                x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
            return getattr(model, f"layer{stage + 1}")(x)
        ends = self.ENDS[self.name]
        layers = model.features[ends[stage - 1] + 1 if stage else 0 : ends[stage] + 1]
        if not self.name.startswith("swin"):
            return layers(x)
        # The stages of a Swin Transformer have their channels last; its stem has not.
        return layers(x if stage == 0 else x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def pooled(self, x):
        if self.name.startswith("swin"):
            x = self.model.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x.mean((2, 3))

    def tensors(self):
        """The model's formula-filled state without its classifier, by published names."""
        state = self.model.state_dict()
        return {k: v for k, v in state.items() if not k.startswith(("fc.", "head.", "classifier."))}

    def fill(self, prefix):
        """By the formula of `prefix.key`, normalizations with the gain of the backbone's own golden."""
        golden = json.loads((BACKBONES / self.name / "golden.json").read_text())
        filled = {}
        for key, tensor in self.tensors().items():
            if key.endswith(("num_batches_tracked", "relative_position_index", "relative_coords_table")):
                continue
            filled[key] = values(f"{prefix}.{key}", tuple(tensor.shape))
            if key.removesuffix(".weight") in golden["norms"]:
                filled[key] *= golden["norm_gain"]
        self.model.load_state_dict(filled, strict=False)
        for module in self.model.modules():
            if type(module).__name__ in ("Dropout", "StochasticDepth"):
                module.p = 0.0


class Head(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(features, 512), nn.BatchNorm1d(512)
        self.linear2, self.norm2 = nn.Linear(512, 128), nn.BatchNorm1d(128)
        self.tasks = nn.ModuleList(nn.Linear(128, classes) for classes in CLASSES)

    def forward(self, x):
        x = functional.silu(self.norm1(self.linear1(x)))
        x = functional.silu(self.norm2(self.linear2(x)))
        return [task(x) for task in self.tasks]


def blocks(fusion, stages, clinical, dermoscopic):
    """A module of `fusion` for each of the chosen stages."""
    if fusion is None:
        return nn.ModuleList(nn.Identity() for _ in stages)
    options = {key: value for key, value in fusion.items() if key != "kind"}
    make = lambda c, d: MODULES[fusion["kind"]](c, d, **options)
    return nn.ModuleList(make(c, d) if fuses else nn.Identity() for fuses, c, d in zip(stages, clinical, dermoscopic))


CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "mobilenet_v3_small": (16, 24, 48, 576),
    "swin_v2_t": (96, 192, 384, 768),
}


def attention(product="transposed", gamma=False, reduction=8):
    return {"reduction": reduction, "product": product, "gamma": gamma}


def gains(attention):
    """Factors of the projections: of queries and keys, so that a position attends to many and not to one alone; of values, so
    that maps do not grow."""
    return {"query": attention, "key": attention, "value": 0.3}


def fill_rest(model, backbones, gains):
    """Everything but the backbones, by its own names, what is shared by its first."""
    filled = {}
    for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not key.startswith(backbones) and not key.endswith("num_batches_tracked"):
            filled[key] = values(key, tuple(tensor.shape)) * gains.get(key.split(".")[-2], 1.0)
    model.load_state_dict(filled, strict=False)


def images(name, batch, height, width):
    pixels = 4.0 * uniform(name, batch * 3 * height * width) - 2.0
    return torch.from_numpy(pixels.astype(numpy.float32)).reshape(batch, 3, height, width)


def rounded(value):
    return float(f"{value:.8g}")


def inputs(batch, height, width, metadata):
    """Clinical photos, dermoscopic images, and as many columns of metadata as are looked at."""
    record = 4.0 * uniform("metadata", batch * metadata) - 2.0
    record = torch.from_numpy(record.astype(numpy.float32)).reshape(batch, metadata)
    pair = [images(name, batch, height, width) for name in ("clinical", "dermoscopic")]
    return [x.double() for x in (*pair, record)[: 3 if metadata else 2]]


def golden_of(model, weights, sizes, training_size, metadata=0):
    """Logits in inference, and one training step in double precision: sums over tasks, weighted by branch."""
    cases = []
    model.double().eval()
    with torch.no_grad():
        for height, width in sizes:
            branches = model(*inputs(1, height, width, metadata))
            logits = [[rounded(v) for task in branch for v in task[0].tolist()] for branch in branches]
            cases.append({"size": [height, width], "logits": logits})
    model.train()
    labels = torch.tensor(LABELS)
    branches = model(*inputs(len(LABELS), *training_size, metadata))
    losses = [sum(functional.cross_entropy(z, labels[:, t]) for t, z in enumerate(tasks)) for tasks in branches]
    loss = sum(weight * loss for weight, loss in zip(weights, losses))
    loss.backward()
    squares = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:  # the classifiers of the backbones
            continue
        words = name.split(".")
        # Each block apart; the backbones and heads as wholes.
        part = ".".join(words[:2]) if words[0] in ("fusion", "heads", "hyper") else words[0]
        squares[part] = squares.get(part, 0.0) + parameter.grad.square().sum().item()
    norms = {part: rounded(math.sqrt(square)) for part, square in squares.items()}
    training = {"size": training_size, "loss": loss.item(), "gradient_norms": norms}
    return {"metadata": metadata, "cases": cases, "training": training}


def write(folder, networks):
    golden = {
        "generator": f"tests/golden/networks/{folder.name}/generate.py",
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__},
        "classes": CLASSES,
        "labels": LABELS,
        "networks": networks,
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"config"', '\n{"config"')
    (folder / "golden.json").write_text(text + "\n")
    for network in networks:
        print(network["config"], network["training"])
