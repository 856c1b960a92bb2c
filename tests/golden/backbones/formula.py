"""What the generators of this folder share: formula-filled weights and a summary of what a network makes of them.

Every tensor is filled by a formula of its key and the index of each element, so that the Rust test can do the same
without a weights file. `tests/backbones.rs` has the other half.
"""

import copy
import json
import pathlib
import sys

import numpy
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

SIZES = [(224, 224), (97, 131)]
SAMPLES = 24
LABELS = [3, 777]
# What a state dict has besides weights: it follows from the architecture, or nothing uses it.
CONSTANT = ("num_batches_tracked", "relative_position_index", "relative_coords_table")
NORM = ("weight", "bias", "running_mean", "running_var")


def uniform(key, count):
    """`count` numbers in [0, 1): FNV-1a of the key, then a 32-bit mix of it with the index."""
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
    u = uniform(key, int(numpy.prod(shape)))
    if len(shape) > 1:
        fan_in = int(numpy.prod(shape[1:]))
        result = (2.0 * u - 1.0) * numpy.sqrt(6.0 / fan_in)
    elif key.endswith("running_var"):
        result = 0.5 + u
    elif key.endswith(("running_mean", "bias")):
        result = 0.2 * u - 0.1
    else:
        result = 0.4 + 0.6 * u
    return torch.from_numpy(result.astype(numpy.float32).reshape(shape))


def summary(tensor):
    flat = tensor.detach().double().flatten()
    step = max(1, flat.numel() // SAMPLES)
    return {
        "shape": list(tensor.shape),
        "mean": flat.mean().item(),
        "abs_mean": flat.abs().mean().item(),
        "step": step,
        "values": [float(f"{v:.8g}") for v in flat[::step].tolist()],
    }


def features(ends, stem=0):
    """Stages and parameter groups of a model whose `features` are one sequence, by the positions where each ends."""

    def stages(model, images):
        x = images
        maps = []
        for index, layer in enumerate(model.features):
            x = layer(x)
            if index in ends:
                maps.append(x)
        return maps

    firsts = (0, stem + 1, *(end + 1 for end in ends))
    ranges = [range(first, last) for first, last in zip(firsts, firsts[1:])]
    groups = [tuple(f"features.{index}." for index in indices) for indices in ranges]
    return stages, [*groups, ("classifier.",)]


def resnet():
    """Stages and parameter groups of torchvision's ResNets."""

    def stages(model, images):
        x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
        maps = []
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    return stages, [("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",), ("fc.",)]


def densenet():
    """Stages and parameter groups of torchvision's DenseNets: the dense blocks, the last with its normalization."""

    def stages(model, images):
        x = images
        maps = []
        for name, layer in model.features.named_children():
            x = layer(x)
            if name.startswith("denseblock"):
                maps.append(x)
        return [*maps[:3], torch.relu(x)]

    def stage(number):
        return (f"features.transition{number - 1}.", f"features.denseblock{number}.")

    stem = ("features.conv0.", "features.norm0.")
    return stages, [stem, stage(1), stage(2), stage(3), (*stage(4), "features.norm5."), ("classifier.",)]


def convnext():
    """Stages and parameter groups of torchvision's ConvNeXts: each reduction belongs to the stage that follows."""
    stages, _ = features((1, 3, 5, 7))
    groups = [("features.1.",), *[(f"features.{2 * stage}.", f"features.{2 * stage + 1}.") for stage in (1, 2, 3)]]
    return stages, [("features.0.",), *groups, ("classifier.",)]


def swin():
    """Stages and parameter groups of torchvision's Swin Transformers: the last map is normalized."""
    inner, _ = features((1, 3, 5, 7))
    groups = [("features.1.",), *[(f"features.{2 * stage}.", f"features.{2 * stage + 1}.") for stage in (1, 2)]]

    def stages(model, images):
        *maps, last = inner(model, images)
        return [m.permute(0, 3, 1, 2) for m in (*maps, model.norm(last))]

    return stages, [("features.0.",), *groups, ("features.6.", "features.7.", "norm."), ("head.",)]


def images_of(count, height, width):
    numbers = 4.0 * uniform("input", count * 3 * height * width) - 2.0
    return torch.from_numpy(numbers.astype(numpy.float32).reshape(count, 3, height, width))


def training_step(model, groups, size):
    """Loss of two images, gradient norm of each parameter group, and norms of the statistics that the step moves."""
    model.train()
    for module in model.modules():
        if type(module).__name__ in ("Dropout", "StochasticDepth"):
            module.p = 0.0
    images = images_of(2, size, size).to(next(model.parameters()).dtype)
    loss = torch.nn.functional.cross_entropy(model(images), torch.tensor(LABELS))
    loss.backward()

    squares = [0.0 for _ in groups]
    for key, parameter in model.named_parameters():
        (group,) = [index for index, prefixes in enumerate(groups) if key.startswith(prefixes)]
        squares[group] += parameter.grad.double().square().sum().item()
    buffers = {k: v.double().square().sum().item() for k, v in model.named_buffers()}
    running = [sum(v for k, v in buffers.items() if k.endswith(name)) ** 0.5 for name in NORM[2:]]
    return loss.item(), [square**0.5 for square in squares], running


def training(model, groups, size):
    """The step in 64 bits, and how far PyTorch's own 32 bits are off: deep networks amplify rounding."""
    loss, gradients, running = training_step(copy.deepcopy(model).double(), groups, size)
    rough_loss, rough_gradients, _ = training_step(model, groups, size)
    pairs = zip([loss, *gradients], [rough_loss, *rough_gradients])
    return {
        "size": size,
        "labels": LABELS,
        "loss": loss,
        "gradient_norms": gradients,
        "running_norms": running,
        "float32_error": float(f"{max(abs(rough / exact - 1.0) for exact, rough in pairs):.1e}"),
    }


def gflops(model):
    """Billions of multiply-adds for one image of 224 x 224 pixels."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(images_of(1, 224, 224))
    return round(counter.get_total_flops() / 2e9, 3)


def published(name):
    """What torchvision says about the ImageNet weights of the model: the facts that the Rust side states."""
    if name not in torchvision.models.list_models(torchvision.models):
        return None
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    transforms = weights.transforms()
    return {
        "resize": transforms.resize_size[0],
        "resampling": transforms.interpolation.value,
        "size": transforms.crop_size[0],
        "mean": transforms.mean,
        "std": transforms.std,
    }


def write(name, stages, groups, model=None, norm_gain=1.0, training_size=96, package=torchvision):
    """Writes `golden.json` for the torchvision model `name`, or for `model`.

    `stages(model, images)` gives its four maps; `groups` the beginnings of the keys of each parameter group, stem first.
    `norm_gain` multiplies the scales of normalizations where the image would otherwise fade before it reaches the logits.
    """
    caller = pathlib.Path(sys.modules["__main__"].__file__).resolve()
    model = (model or getattr(torchvision.models, name)(weights=None)).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith(CONSTANT)}
    norms = {k.removesuffix(".running_mean"): v.numel() for k, v in state.items() if k.endswith(".running_mean")}
    filled = {k: values(k, tuple(v.shape)) for k, v in state.items()}
    for prefix in norms:
        filled[f"{prefix}.weight"] *= norm_gain
    model.load_state_dict(filled, strict=False)

    cases = []
    with torch.no_grad():
        for height, width in SIZES:
            images = images_of(1, height, width)
            maps = stages(model, images)
            cases.append({
                "size": [height, width],
                "stages": [summary(m) for m in maps],
                "pooled": summary(maps[-1].mean(dim=(2, 3))),
                "logits": summary(model(images)),
            })
    billions = gflops(model)
    step = training(model, groups, training_size)

    # The four vectors of a normalization as one entry, to keep the file small.
    in_norms = {f"{prefix}.{vector}" for prefix in norms for vector in NORM}
    packages = {torch, torchvision, numpy, package}
    golden = {
        "generator": f"tests/golden/backbones/{name}/{caller.name}",
        "versions": {p.__name__: p.__version__ for p in sorted(packages, key=lambda p: p.__name__)},
        "num_params": sum(p.numel() for p in model.parameters()),
        "gflops": billions,
        "published": published(name),
        "norm_gain": norm_gain,
        "cases": cases,
        "training": step,
        "norms": norms,
        "keys": {k: list(v.shape) for k, v in state.items() if k not in in_norms},
    }
    text = json.dumps(golden, separators=(",", ":"))
    for part in ("cases", "training", "norms", "keys"):
        text = text.replace(f'"{part}"', f'\n"{part}"')
    (caller.parent / "golden.json").write_text(text + "\n")
    for case in cases:
        print(name, case["size"], [f"{s['abs_mean']:.3g}" for s in case["stages"] + [case["pooled"], case["logits"]]])
    print(name, step)
