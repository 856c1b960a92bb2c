"""Goldens of the attention blocks between maps: the papers' equations with formula-filled weights, in double precision.

Run: `python generate.py` (torch, numpy). The equations are in `../equations`, the names of weights in `blocks.py`.
"""

import json
import pathlib

import numpy
import torch

from blocks import MODULES
from parameters import Parameters, loss_weights, numbers, sampled

HERE = pathlib.Path(__file__).resolve().parent
SIZE = (2, 5, 7)  # batch, height, width
STEP = 31  # every 31st value is kept


def case(C_channels, D_channels, kind, **options):
    p = Parameters()
    block = MODULES[kind](p, "", C_channels, D_channels, **options)
    batch, height, width = SIZE
    C = numbers("clinical", batch, C_channels, height, width).requires_grad_()
    D = numbers("dermoscopic", batch, D_channels, height, width).requires_grad_()
    refined = block(C, D)
    weights = [loss_weights(f"{name} loss", X.shape) for name, X in zip(("clinical", "dermoscopic"), refined)]
    sum((weight * X).sum() for weight, X in zip(weights, refined)).backward()
    norms = p.gradient_norms()
    print(kind, options, {name: f"{norm:.3g}" for name, norm in norms.items()})
    return {
        "clinical": C_channels,
        "dermoscopic": D_channels,
        "config": {"kind": kind, **options},
        "outputs": [sampled(X, STEP) for X in refined],
        "gradients": [sampled(X.grad, STEP) for X in (C, D)],
        "gradient_norms": norms,
    }


def attention(reduction=8, product="transposed", gamma=False):
    return {"reduction": reduction, "product": product, "gamma": gamma}


cases = [
    case(16, 24, "asymmetric_attention", attention=attention()),
    case(24, 16, "asymmetric_attention", attention=attention(product="literal")),
    case(16, 24, "asymmetric_attention", attention=attention(4, gamma=True)),
    case(16, 24, "bidirectional_attention", attention=attention()),
    case(16, 24, "bidirectional_attention", attention=attention(product="literal", gamma=True)),
    case(16, 24, "cross_attention", source="cross", attention=attention()),
    case(16, 24, "cross_attention", source="self", attention=attention()),
    case(24, 24, "shared_cross_attention", source="cross", attention=attention()),
    case(24, 24, "shared_cross_attention", source="self", attention=attention(gamma=True)),
    case(24, 24, "shared_cross_attention", source="cross", attention=attention(product="literal")),
]
golden = {
    "generator": "tests/golden/map_fusion/generate.py",
    "versions": {"torch": torch.__version__, "numpy": numpy.__version__},
    "size": SIZE,
    "step": STEP,
    "cases": cases,
}
text = json.dumps(golden, separators=(",", ":")).replace('{"clinical"', '\n{"clinical"')
(HERE / "golden.json").write_text(text + "\n")
