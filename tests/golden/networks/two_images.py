"""What the generators of networks share: backbones stage by stage, branches, formula-filled weights, a golden.

Networks that a paper gives equations for are `OfEquations`; those that are only described are layers of PyTorch.
"""

import json
import math
import pathlib
import sys

import numpy
import torch
import torchvision
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
BACKBONES = HERE.parent / "backbones"
sys.path[:0] = [str(BACKBONES), str(HERE.parent / "map_fusion"), str(HERE.parent / "equations")]
import fusion_m4_net
from blocks import MODULES
from formula import values
from parameters import Parameters, numbers, rounded

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

    def features(self, x):
        for stage in range(4):
            x = self.stage(stage, x)
        return self.pooled(x)

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
    """A branch of FusionNet as layers of PyTorch, for the networks that no equation describes."""

    def __init__(self, features):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(features, 512), nn.BatchNorm1d(512)
        self.linear2, self.norm2 = nn.Linear(512, 128), nn.BatchNorm1d(128)
        self.tasks = nn.ModuleList(nn.Linear(128, classes) for classes in CLASSES)

    def forward(self, x):
        return fusion_m4_net.B(x, self.linear1, self.norm1, self.linear2, self.norm2, self.tasks)


class OfEquations(nn.Module):
    """A network whose layers outside of its backbones are weights of equations."""

    def __init__(self, gains=None):
        super().__init__()
        self.p = Parameters(gains)

    def train(self, mode=True):
        self.p.training = mode
        return super().train(mode)

    def named_parameters(self, *arguments, **options):
        """Of the backbones, and the weights of equations by their own names."""
        yield from super().named_parameters(*arguments, **options)
        yield from self.p.leaves.items()


def branch(p, name, features, classes=CLASSES):
    """Table 6.2 of the thesis with its weights: features to the logits of all labels."""
    layers = p.linear(f"{name}.linear1", features, 512), p.BN(f"{name}.norm1", 512)
    layers += p.linear(f"{name}.linear2", 512, 128), p.BN(f"{name}.norm2", 128)
    last = [p.linear(f"{name}.tasks.{label}", 128, count) for label, count in enumerate(classes)]
    return lambda F: fusion_m4_net.B(F, *layers, last)


def blocks(p, fusion, stages, C_channels, D_channels, prefix="fusion"):
    """A block of `fusion` for each of the chosen stages, and none for the others."""
    if fusion is None:
        return [None for _ in stages]
    make, options = MODULES[fusion["kind"]], {key: value for key, value in fusion.items() if key != "kind"}
    chosen = enumerate(zip(stages, C_channels, D_channels))
    return [make(p, f"{prefix}.{stage}.", C, D, **options) if fuses else None for stage, (fuses, C, D) in chosen]


CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "mobilenet_v3_small": (16, 24, 48, 576),
    "swin_v2_t": (96, 192, 384, 768),
}


def attention(product="transposed", gamma=False, reduction=8):
    return {"reduction": reduction, "product": product, "gamma": gamma}


def gains(attention):
    """Factors of the projections: of queries and keys, so that a position attends to many and not to one alone; of
    values, so that maps do not grow."""
    return {"query": attention, "key": attention, "value": 0.3}


def fill_rest(model, backbones, gains):
    """Everything but the backbones, by its own names, what is shared by its first."""
    filled = {}
    for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not key.startswith(backbones) and not key.endswith("num_batches_tracked"):
            filled[key] = values(key, tuple(tensor.shape)) * gains.get(key.split(".")[-2], 1.0)
    model.load_state_dict(filled, strict=False)


def inputs(batch, height, width, metadata):
    """Clinical photos, dermoscopic images, and as many columns of metadata as are looked at."""
    pair = [numbers(name, batch, 3, height, width) for name in ("clinical", "dermoscopic")]
    return [*pair, numbers("metadata", batch, metadata)] if metadata else pair


def weighted(weights):
    """The sum of the branches' losses by such weights."""
    return lambda *losses: sum(weight * loss for weight, loss in zip(weights, losses))


def golden_of(model, total, sizes, training_size, metadata=0, given=LABELS):
    """Logits in inference, and one training step in double precision. `total` joins the losses of the branches, each of
    them the sum of its tasks' cross-entropies; `given` has the labels of the step."""
    cases = []
    model.double().eval()
    with torch.no_grad():
        for height, width in sizes:
            branches = model(*inputs(1, height, width, metadata))
            logits = [[rounded(v) for task in branch for v in task[0].tolist()] for branch in branches]
            cases.append({"size": [height, width], "logits": logits})
    model.train()
    labels = torch.tensor(given)
    branches = model(*inputs(len(given), *training_size, metadata))
    loss = total(*(fusion_m4_net.cross_entropies(tasks, labels) for tasks in branches))
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


def versions():
    return {package.__name__: package.__version__ for package in (torch, torchvision, numpy)}


def write(folder, networks):
    golden = {
        "generator": f"tests/golden/networks/{folder.name}/generate.py",
        "versions": versions(),
        "classes": CLASSES,
        "labels": LABELS,
        "networks": networks,
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"config"', '\n{"config"')
    (folder / "golden.json").write_text(text + "\n")
    for network in networks:
        print(network["config"], network["training"])
