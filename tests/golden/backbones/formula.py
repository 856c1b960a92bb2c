"""What the generators of this folder share: formula-filled weights and a summary of what a network makes of them.

Every tensor is filled by a formula of its key and the index of each element, so that the Rust test can do the same
without a weights file. `tests/backbones.rs` has the other half.
"""

import inspect
import json
import pathlib

import numpy
import torch
import torchvision

SIZES = [(224, 224), (97, 131)]
SAMPLES = 24


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


def write(name, stages, model=None):
    """Writes `golden.json` for the torchvision model `name`, or for `model`; `stages(model, images)` gives its four maps."""
    caller = pathlib.Path(inspect.stack()[1].filename).resolve()
    model = (model or getattr(torchvision.models, name)(weights=None)).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    model.load_state_dict({k: values(k, tuple(v.shape)) for k, v in state.items()}, strict=False)

    cases = []
    with torch.no_grad():
        for height, width in SIZES:
            shape = (1, 3, height, width)
            images = torch.from_numpy((4.0 * uniform("input", 3 * height * width) - 2.0).astype(numpy.float32)).reshape(shape)
            maps = stages(model, images)
            cases.append({
                "size": [height, width],
                "stages": [summary(m) for m in maps],
                "pooled": summary(maps[-1].mean(dim=(2, 3))),
                "logits": summary(model(images)),
            })
    golden = {
        "generator": f"tests/golden/backbones/{name}/{caller.name}",
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__},
        "num_params": sum(p.numel() for p in model.parameters()),
        "cases": cases,
        "keys": {k: list(v.shape) for k, v in state.items()},
    }
    text = json.dumps(golden, separators=(",", ":")).replace('"cases"', '\n"cases"').replace('"keys"', '\n"keys"')
    (caller.parent / "golden.json").write_text(text + "\n")
    for case in cases:
        print(name, case["size"], [f"{s['abs_mean']:.3g}" for s in case["stages"] + [case["pooled"], case["logits"]]])
