"""Goldens of AMFAM and its pieces, written from the paper's text and equations; the whole stands on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy). Formula-filled weights, the formula of the backbones' goldens.
"""

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
sys.path.insert(0, str(HERE.parents[1] / "backbones"))
from formula import uniform, values

STRENGTH = 0.7
LAMBDA, GAMMA = 0.8, 0.4
CLASSES = [5, 3]
HIDDEN = 16
SIZE, TRAINING_SIZE = (96, 128), (75, 75)
LABELS = [[4, 0], [0, 1], [1, 2], [2, 1]]


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(context, x, strength):
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return -context.strength * gradient, None


class Discriminator(nn.Module):
    def __init__(self, features, hidden, strength):
        super().__init__()
        self.hidden, self.output, self.strength = nn.Linear(features, hidden), nn.Linear(hidden, 2), strength

    def forward(self, x):
        return self.output(functional.relu(self.hidden(Reverse.apply(x, self.strength))))

    def loss(self, clinical, dermoscopic):
        logits = self(torch.cat([clinical, dermoscopic]))
        labels = torch.tensor([1] * len(clinical) + [0] * len(dermoscopic))
        return functional.cross_entropy(logits, labels)


class AttentionMap(nn.Module):
    def __init__(self, channels, side=None):
        super().__init__()
        if side is None:
            self.pooled = nn.Linear(channels, channels)
        else:
            self.depthwise = nn.Conv2d(channels, channels, side, groups=channels)
        self.reduce, self.expand = nn.Linear(channels, channels // 2), nn.Linear(channels // 2, channels)

    def forward(self, maps, size):
        if hasattr(self, "pooled"):
            squeezed = self.pooled(maps.mean((2, 3)))
        else:
            squeezed = self.depthwise(maps).flatten(1)
        weights = torch.sigmoid(self.expand(functional.relu(self.reduce(functional.relu(squeezed)))))
        attention = (maps * weights[:, :, None, None]).sum(1, keepdim=True)
        attention = functional.interpolate(attention, size=size, mode="bicubic", align_corners=False)
        low, high = attention.amin((2, 3), keepdim=True), attention.amax((2, 3), keepdim=True)
        return (attention - low) / (high - low + 1e-8)


class Reconstruction(nn.Module):
    def __init__(self, channels, crop=False):
        super().__init__()
        widths = [channels, 128, 128, 64]
        self.convolutions = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:])])
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in widths[1:]])
        self.output, self.crop = nn.Conv2d(64, 3, 3, padding=1), crop

    def forward(self, maps, size):
        for convolution, norm, factor in zip(self.convolutions, self.norms, [4, 4, 2]):
            maps = functional.interpolate(maps, scale_factor=factor, mode="nearest")
            maps = functional.leaky_relu(norm(convolution(maps)), 0.01)
        picture = self.output(maps)
        if self.crop:
            top, left = ((a - b) // 2 for a, b in zip(picture.shape[2:], size))
            return picture[:, :, top : top + size[0], left : left + size[1]]
        return functional.interpolate(picture, size=size, mode="bilinear", align_corners=False)


def reconstruction_loss(picture, image, attention, factor, colors):
    squares = (picture - image) ** 2
    errors = squares.sum(1, keepdim=True) if colors == "sum" else squares.mean(1, keepdim=True)
    weights = {"one": lambda: 1.0, "attention": lambda: attention, "exponential": lambda: attention.exp()}
    return (errors * weights[factor]()).mean()


class Amfam(nn.Module):
    def __init__(self, shared, joined, factor, detached, colors, strength):
        super().__init__()
        self.joined = joined
        self.backbones = nn.ModuleList([torchvision.models.resnet18(weights=None) for _ in range(1 if shared else 2)])
        for backbone in self.backbones:
            backbone.fc = nn.Identity()
            backbone.avgpool = nn.Identity()
        self.hidden = nn.ModuleList([nn.Linear(2 * 512, HIDDEN)])
        self.tasks = nn.ModuleList([nn.Linear(HIDDEN, classes) for classes in CLASSES])
        self.discriminator = Discriminator(512, 512, strength)
        self.attention = nn.ModuleList([AttentionMap(512) for _ in range(2)])
        self.decoders = nn.ModuleList([Reconstruction(512) for _ in range(2)])
        self.factor, self.detached, self.colors = factor, detached, colors

    def maps(self, images):
        def features(backbone, x):
            x = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(x))))
            return backbone.layer4(backbone.layer3(backbone.layer2(backbone.layer1(x))))

        if self.joined:  # one batch for batch normalization
            return features(self.backbones[0], torch.cat(images)).chunk(len(images))
        return [features(self.backbones[min(i, len(self.backbones) - 1)], image) for i, image in enumerate(images)]

    def logits(self, maps):
        joined = torch.cat([m.mean((2, 3)) for m in maps], 1)
        hidden = functional.relu(self.hidden[0](joined))
        return [task(hidden) for task in self.tasks]

    def losses(self, images, maps):
        pooled = [m.mean((2, 3)) for m in maps]
        losses = {"modality": self.discriminator.loss(*pooled)}
        for index, name in enumerate(["clinical", "dermoscopic"]):
            size = tuple(images[index].shape[2:])
            attention = self.attention[index](maps[index], size)
            attention = attention.detach() if self.detached else attention
            picture = self.decoders[index](maps[index], size)
            loss = reconstruction_loss(picture, images[index], attention, self.factor, self.colors)
            losses[f"reconstruction_{name}"] = loss
        return losses


def fill(model, rename=lambda name: name):
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: values(rename(k), tuple(v.shape)) for k, v in state.items()}, strict=False)
    return model.double()


def tensor(name, *shape):
    data = 4.0 * uniform(name, math.prod(shape)) - 2.0
    return torch.from_numpy(data.astype(numpy.float32)).reshape(shape).double()


def leaf(name, *shape):
    return tensor(name, *shape).requires_grad_()


def number(value):
    value = value.item() if isinstance(value, torch.Tensor) else value
    return float(f"{value:.9g}")


def sampled(values, step=1):
    return [number(v) for v in values.detach().flatten()[::step].tolist()]


def norms(model, part=lambda name: name):
    squares = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares[part(name)] = squares.get(part(name), 0.0) + parameter.grad.square().sum().item()
    return {name: number(square**0.5) for name, square in squares.items()}


def weighted(output):
    """A sum with formula weights, so that every value has a gradient of its own."""
    weights = torch.from_numpy(uniform("loss", output.numel()).astype(numpy.float32)).double()
    return (output.flatten() * weights).sum()


def discriminator():
    model = fill(Discriminator(24, 8, STRENGTH)).train()
    clinical, dermoscopic = leaf("clinical", 3, 24), leaf("dermoscopic", 2, 24)
    loss = model.loss(clinical, dermoscopic)
    loss.backward()
    return {
        "strength": STRENGTH,
        "logits": sampled(model(clinical)),
        "loss": number(loss),
        "clinical_gradient": sampled(clinical.grad),
        "dermoscopic_gradient": sampled(dermoscopic.grad),
        "gradient_norms": norms(model),
    }


def attention_map(side):
    model, maps = fill(AttentionMap(6, side)), leaf("maps", 2, 6, 4, 4)
    output = model(maps, (9, 13))
    weighted(output).backward()
    return {
        "side": side,
        "output": sampled(output),
        "gradient": sampled(maps.grad),
        "gradient_norms": norms(model),
    }


def decoder(crop):
    model, maps = fill(Reconstruction(5, crop)).train(), leaf("maps", 2, 5, 3, 2)
    output = model(maps, (75, 60))
    weighted(output).backward()
    return {
        "crop": crop,
        "output": sampled(output, 97),
        "gradient": sampled(maps.grad),
        "gradient_norms": norms(model),
    }


def loss(factor, colors, detached):
    """The gradient of the loss reaches the maps through the decoder and, unless detached, through the attention map."""
    attention, decoder = fill(AttentionMap(5)), fill(Reconstruction(5)).train()
    maps, image = leaf("maps", 2, 5, 3, 2), tensor("image", 2, 3, 60, 44)
    weights = attention(maps, (60, 44))
    value = reconstruction_loss(decoder(maps, (60, 44)), image, weights.detach() if detached else weights, factor, colors)
    value.backward()
    return {
        "factor": factor,
        "colors": colors,
        "detached": detached,
        "loss": number(value),
        "gradient": sampled(maps.grad),
        "attention_norms": norms(attention),
        "decoder_norms": norms(decoder),
    }


def whole(shared, joined, factor, detached, colors, strength):
    model = Amfam(shared, joined, factor, detached, colors, strength)

    def rename(key):  # the backbones are filled as weights files of their own
        return key.replace("backbones.0.", "clinical.").replace("backbones.1.", "dermoscopic.")

    fill(model, rename).eval()
    with torch.no_grad():
        images = [tensor(name, 1, 3, *SIZE) for name in ("clinical", "dermoscopic")]
        logits = torch.cat(model.logits(model.maps(images)), 1)

    model.train()
    images = [tensor(name, len(LABELS), 3, *TRAINING_SIZE) for name in ("clinical", "dermoscopic")]
    maps = model.maps(images)
    labels = torch.tensor(LABELS).T
    classification = sum(functional.cross_entropy(z, y) for z, y in zip(model.logits(maps), labels))
    losses = model.losses(images, maps)
    reconstruction = losses["reconstruction_clinical"] + losses["reconstruction_dermoscopic"]
    total = classification + LAMBDA * losses["modality"] + GAMMA * reconstruction
    total.backward()
    running = [b for name, b in model.backbones.named_buffers() if name.endswith("running_mean")]
    return {
        "shared": shared,
        "batches": "joined" if joined else "separate",
        "factor": factor,
        "detached": detached,
        "colors": colors,
        "strength": strength,
        "logits": sampled(logits),
        "auxiliary": {name: number(value) for name, value in losses.items()},
        "loss": number(total),
        "gradient_norms": norms(model, lambda name: ".".join(name.split(".")[:2])),
        "running_mean_norm": number(sum(b.square().sum() for b in running) ** 0.5),
    }


golden = {
    "generator": "tests/golden/networks/amfam/generate.py",
    "versions": {m.__name__: m.__version__ for m in (torch, torchvision, numpy)},
    "discriminator": discriminator(),
    "attention": [attention_map(None), attention_map(4)],
    "decoders": [decoder(False), decoder(True)],
    "losses": [
        loss("one", "sum", False),
        loss("attention", "mean", False),
        loss("exponential", "sum", False),
        loss("exponential", "sum", True),
    ],
    "classes": CLASSES,
    "hidden": HIDDEN,
    "size": SIZE,
    "training_size": TRAINING_SIZE,
    "labels": LABELS,
    "networks": [
        whole(True, False, "exponential", False, "sum", 1.0),
        whole(False, False, "attention", True, "mean", 0.5),
        whole(True, True, "exponential", False, "sum", 1.0),
    ],
}
text = json.dumps(golden, separators=(",", ":"))
for part in ("discriminator", "attention", "decoders", "losses", "classes", "networks"):
    text = text.replace(f'"{part}":', f'\n"{part}":', 1)
(HERE / "golden.json").write_text(text + "\n")
for network in golden["networks"]:
    print({k: v for k, v in network.items() if k != "logits"})
