"""Goldens of the modules that refine feature maps, written from the papers' equations, in double precision.

Run: `python generate.py` (torch, numpy). Formula-filled weights, the formula of the backbones' goldens.
"""

import json
import pathlib
import sys

import numpy
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "backbones")]
from blocks import MODULES
from formula import uniform, values

BATCH, HEIGHT, WIDTH = 2, 5, 7
STEP = 31  # every 31st value is kept


def attention(product="transposed", gamma=False, reduction=8):
    return {"reduction": reduction, "product": product, "gamma": gamma}


def config(name, source=None, **options):
    source = {"source": source} if source else {}
    return {"kind": name, **source, "attention": attention(**options)}


CASES = [
    (16, 24, config("asymmetric_attention")),
    (24, 16, config("asymmetric_attention", product="literal")),
    (16, 24, config("asymmetric_attention", gamma=True, reduction=4)),
    (16, 24, config("bidirectional_attention")),
    (16, 24, config("bidirectional_attention", product="literal", gamma=True)),
    (16, 24, config("cross_attention", "cross")),
    (16, 24, config("cross_attention", "self")),
    (24, 24, config("shared_cross_attention", "cross")),
    (24, 24, config("shared_cross_attention", "self", gamma=True)),
    (24, 24, config("shared_cross_attention", "cross", product="literal")),
]


def numbers(name, shape):
    return torch.from_numpy(uniform(name, int(numpy.prod(shape))).astype(numpy.float32)).reshape(shape).double()


def rounded(value):
    return float(f"{value:.8g}")


def kept(tensor):
    return [rounded(v) for v in tensor.detach().flatten()[::STEP].tolist()]


cases = []
for clinical_channels, dermoscopic_channels, arguments in CASES:
    options = {key: value for key, value in arguments.items() if key != "kind"}
    model = MODULES[arguments["kind"]](clinical_channels, dermoscopic_channels, **options).double()
    model.load_state_dict({k: values(k, tuple(v.shape)) for k, v in model.state_dict().items()})
    shapes = [(BATCH, channels, HEIGHT, WIDTH) for channels in (clinical_channels, dermoscopic_channels)]
    inputs = [
        (4.0 * numbers(name, shape) - 2.0).requires_grad_() for name, shape in zip(["clinical", "dermoscopic"], shapes)
    ]
    outputs = model(*inputs)
    weights = [numbers(name, shape) for name, shape in zip(["clinical loss", "dermoscopic loss"], shapes)]
    sum((output * weight).sum() for output, weight in zip(outputs, weights)).backward()
    cases.append({
        "clinical": clinical_channels,
        "dermoscopic": dermoscopic_channels,
        "config": arguments,
        "outputs": [kept(output) for output in outputs],
        "gradients": [kept(x.grad) for x in inputs],
        "gradient_norms": {name: rounded(p.grad.norm().item()) for name, p in model.named_parameters()},
    })

golden = {
    "generator": "tests/golden/map_fusion/generate.py",
    "versions": {"torch": torch.__version__, "numpy": numpy.__version__},
    "size": [BATCH, HEIGHT, WIDTH],
    "step": STEP,
    "cases": cases,
}
text = json.dumps(golden, separators=(",", ":")).replace('{"clinical"', '\n{"clinical"')
(HERE / "golden.json").write_text(text + "\n")
