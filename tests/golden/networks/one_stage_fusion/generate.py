"""Golden of the one-stage networks of FusionM4Net's comparisons (thesis Fig. 6.2(a), Tables 6.3 and 6.8).

Written from the text, from MetaBlock's equations (Pacheco and Krohling 2021) and from the structure of MetaNet (Li et al. 2020: two
1 x 1 convolutions over the record, a gate for every map of 8 x 8). ResNet-18 stands in for ResNet-50; it is written out here, so that
nothing but PyTorch is needed. Weights are filled by the formula of `tests/golden/backbones/formula.py`, which is repeated here.

Run: `python generate.py` (torch, numpy).
"""

import json
import math
import pathlib

import numpy
import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parents[1]
CLASSES = [5, 3, 2]
LABELS = [[4, 2, 1], [0, 0, 0], [1, 1, 0], [2, 0, 1], [3, 2, 1], [0, 1, 1]]
RECORD = 20
SIZE, TRAINING_SIZE = (97, 131), (64, 64)


def uniform(key, count):
    """FNV-1a of the key, then a 32-bit mix of it with the index."""
    seed = 0x811C9DC5
    for byte in key.encode():
        seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
    with numpy.errstate(over="ignore"):
        h = numpy.uint32(seed) + numpy.arange(count, dtype=numpy.uint32) * numpy.uint32(0x9E3779B9)
        h = (h ^ (h >> numpy.uint32(16))) * numpy.uint32(0x85EBCA6B)
        h = (h ^ (h >> numpy.uint32(13))) * numpy.uint32(0xC2B2AE35)
        h = h ^ (h >> numpy.uint32(16))
    return h.astype(numpy.float64) / 2.0**32


def values(key, shape):
    u = uniform(key, math.prod(shape))
    if len(shape) > 1:
        result = (2.0 * u - 1.0) * math.sqrt(6.0 / math.prod(shape[1:]))
    elif key.endswith("running_var"):
        result = 0.5 + u
    elif key.endswith(("running_mean", "bias")):
        result = 0.2 * u - 0.1
    else:
        result = 0.4 + 0.6 * u
    return torch.from_numpy(result.astype(numpy.float32).reshape(shape))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        shortcut = self.downsample(x) if hasattr(self, "downsample") else x
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + shortcut)


class ResNet18(nn.Module):
    """Pooled features, `[B, 512]`."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for stage, (inputs, outputs) in enumerate(zip(widths, widths[1:]), 1):
            first = BasicBlock(inputs, outputs, 1 if stage == 1 else 2)
            setattr(self, f"layer{stage}", nn.Sequential(first, BasicBlock(outputs, outputs, 1)))

    def forward(self, x):
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class Concat(nn.Module):
    """`[V | u]`, of `D + U` features."""

    def __init__(self, features, record):
        super().__init__()
        self.length = features + record

    def forward(self, v, u):
        return torch.cat([v, u], 1)


class MetaBlock(nn.Module):
    """`sigmoid(tanh(V * T1) + T2)` over groups of 32 features, T1 and T2 a linear layer with batch normalisation each."""

    def __init__(self, features, record):
        super().__init__()
        self.length, groups = features, features // 32
        self.scale, self.scale_norm = nn.Linear(record, groups), nn.BatchNorm1d(groups)
        self.shift, self.shift_norm = nn.Linear(record, groups), nn.BatchNorm1d(groups)

    def forward(self, v, u):
        t1, t2 = self.scale_norm(self.scale(u)), self.shift_norm(self.shift(u))
        gated = [
            torch.sigmoid(torch.tanh(group * t1[:, [index]]) + t2[:, [index]])
            for index, group in enumerate(v.split(32, 1))
        ]
        return torch.cat(gated, 1)


class MetaNet(nn.Module):
    """Every map of 8 x 8 times `sigmoid(W2 relu(W1 u))`."""

    def __init__(self, features, record):
        super().__init__()
        self.length = features
        self.hidden, self.gate = nn.Linear(record, 64), nn.Linear(64, features // 64)

    def forward(self, v, u):
        gate = torch.sigmoid(self.gate(torch.relu(self.hidden(u))))
        return (v.reshape(len(v), -1, 8, 8) * gate[:, :, None, None]).flatten(1)


MODULES = {"concat": Concat, "meta_block": MetaBlock, "meta_net": MetaNet}


class Head(nn.Module):
    """The perceptron of FusionNet's branches (thesis Table 6.2), without dropout."""

    def __init__(self, features):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(features, 512), nn.BatchNorm1d(512)
        self.linear2, self.norm2 = nn.Linear(512, 128), nn.BatchNorm1d(128)
        self.tasks = nn.ModuleList(nn.Linear(128, classes) for classes in CLASSES)

    def forward(self, x):
        x = functional.silu(self.norm1(self.linear1(x)))
        x = functional.silu(self.norm2(self.linear2(x)))
        return [task(x) for task in self.tasks]


class OneStage(nn.Module):
    def __init__(self, views, fusion, record):
        super().__init__()
        self.views = views
        for view in views:
            setattr(self, view, ResNet18())
        length = 512 * len(views)
        if record:
            self.fusion = MODULES[fusion](length, record)
            length = self.fusion.length
        self.head = Head(length)

    def forward(self, batch):
        features = torch.cat([getattr(self, view)(batch[view]) for view in self.views], 1)
        return self.head(self.fusion(features, batch["metadata"]) if hasattr(self, "fusion") else features)

    def fill(self):
        """By the formula of each tensor's name, the backbones' normalisations with the gain of ResNet-18's own golden."""
        gain = json.loads((GOLDEN / "backbones" / "resnet18" / "golden.json").read_text())["norm_gain"]
        state = {key: values(key, tuple(t.shape)) for key, t in self.state_dict().items() if t.is_floating_point()}
        for key, tensor in state.items():
            is_norm = ".bn" in key or ".downsample.1." in key
            if is_norm and key.endswith(".weight"):
                tensor *= gain
        self.load_state_dict(state, strict=False)


def batch(count, height, width):
    """Clinical photos, dermoscopic images and records."""
    images = {view: uniform(view, count * 3 * height * width) for view in ("clinical", "dermoscopic")}
    made = {view: (4.0 * u - 2.0).astype(numpy.float32).reshape(count, 3, height, width) for view, u in images.items()}
    made["metadata"] = (4.0 * uniform("metadata", count * RECORD) - 2.0).astype(numpy.float32).reshape(count, RECORD)
    return {name: torch.from_numpy(array).double() for name, array in made.items()}


def rounded(value):
    return float(f"{value:.8g}")


def golden_of(images, fusion, record):
    views = ["clinical", "dermoscopic"] if images == "both" else [images]
    model = OneStage(views, fusion, record)
    model.fill()
    model.double().eval()
    with torch.no_grad():
        logits = [rounded(v) for task in model(batch(1, *SIZE)) for v in task[0].tolist()]
    model.train()
    labels = torch.tensor(LABELS)
    tasks = model(batch(len(LABELS), *TRAINING_SIZE))
    loss = sum(functional.cross_entropy(z, labels[:, t]) for t, z in enumerate(tasks))
    loss.backward()
    squares = {}
    for name, parameter in model.named_parameters():
        words = name.split(".")
        part = ".".join(words[:2]) if words[0] == "fusion" else words[0]
        squares[part] = squares.get(part, 0.0) + parameter.grad.square().sum().item()
    norms = {part: rounded(math.sqrt(square)) for part, square in squares.items()}
    config = {"backbone": "resnet18", "images": images, "metadata": record or None, "fusion": fusion}
    return {
        "config": {**config, "classes": CLASSES, "dropout": 0.0},
        "gains": {},
        "metadata": record,
        "cases": [{"size": SIZE, "logits": [logits]}],
        "training": {"size": TRAINING_SIZE, "loss": loss.item(), "gradient_norms": norms},
    }


networks = [
    golden_of("both", "concat", 0),  # C-D
    golden_of("clinical", "concat", RECORD),  # C-M
    golden_of("dermoscopic", "concat", RECORD),  # D-M
    golden_of("both", "concat", RECORD),  # C-D-M
    golden_of("both", "meta_block", RECORD),
    golden_of("both", "meta_net", RECORD),
]
golden = {
    "generator": "tests/golden/networks/one_stage_fusion/generate.py",
    "versions": {"torch": torch.__version__, "numpy": numpy.__version__},
    "classes": CLASSES,
    "labels": LABELS,
    "networks": networks,
}
text = json.dumps(golden, separators=(",", ":")).replace('{"config"', '\n{"config"')
(HERE / "golden.json").write_text(text + "\n")
for network in networks:
    print(network["config"], network["training"])
