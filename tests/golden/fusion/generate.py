"""Goldens of the fusion modules: the papers' equations with formula-filled weights, in double precision.

Run: `python generate.py` (torch, numpy). The equations are in `../equations`; here is which weight has which name.
"""

import json
import pathlib
import sys

import numpy
import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "equations"))
import jif_mmfa
import meta_fusion
from parameters import Parameters, loss_weights, numbers, sampled

BATCH = 8
STEP = 97  # every 97th value is kept


def qkv(p, name, L, d):
    """Eq. 4.9 with its weights: features of length L, a key, query and value of length d."""
    (W, b), BN = p.Wb(f"{name}.linear", L, 3 * d), p.BN(f"{name}.norm", 3 * d)
    return lambda f: jif_mmfa.equation_4_9(f, W, b, BN)


def nn(p, name, inputs, outputs):
    """Eq. 4.10 with its weights."""
    (W, b), BN = p.Wb(f"{name}.linear", inputs, outputs), p.BN(f"{name}.norm", outputs)
    return lambda x: jif_mmfa.equation_4_10(x, W, b, BN)


def reading(attention):
    return {key: attention[key] for key in ("product", "scale")}


def mmfa(p, L_I, L_M, image_width, metadata_width, attention):
    of_I, of_M = qkv(p, "image", L_I, image_width), qkv(p, "metadata", L_M, metadata_width)
    output = nn(p, "output", image_width + metadata_width, L_I + L_M)
    return lambda f_I, f_M: jif_mmfa.MMFA(f_I, f_M, of_I, of_M, output, attention["heads"], reading(attention))


def mutual_attention(p, L_I, L_M, width, attention):
    of_I, of_M = qkv(p, "image", L_I, width), qkv(p, "metadata", L_M, width)
    nn_I, nn_M = nn(p, "image_output", width, L_I), nn(p, "metadata_output", width, L_M)
    heads = attention["heads"]
    return lambda f_I, f_M: jif_mmfa.mutual_attention(f_I, f_M, of_I, of_M, nn_I, nn_M, heads, reading(attention))


def meta_block(p, L_I, L_M, columns):
    def T(name):
        linear, BN = p.linear(name, L_M, L_I // columns), p.BN(f"{name}_norm", L_I // columns)
        return lambda f_M: BN(linear(f_M))

    T_1, T_2 = T("scale"), T("shift")
    return lambda f_I, f_M: meta_fusion.meta_block(f_I, f_M, T_1, T_2, columns)


def meta_net(p, L_I, L_M, hidden, columns):
    first, second = p.linear("hidden", L_M, hidden), p.linear("gate", hidden, L_I // columns)
    return lambda f_I, f_M: meta_fusion.meta_net(f_I, f_M, first, second, columns)


def tiled_mutual_attention(p, L_I, L_M, heads):
    def layers(name, L, other):
        """Of what refines features of length L by a query from the other ones; its attention is as wide as L
        repeated."""
        width, parts = heads * L, ("query", "key", "value", "output")
        return {
            "perceptron": [p.linear(f"{name}.perceptron.{layer}", L, L) for layer in range(3)],
            "q": p.linear(f"{name}.query", heads * other, width),
            "k": p.linear(f"{name}.key", width, width),
            "v": p.linear(f"{name}.value", width, width),
            "attention": [p.linear(f"{name}.attention.{part}", width, width) for part in parts],
            "output": p.linear(f"{name}.output", width, L),
        }

    of_I, of_M = layers("image", L_I, L_M), layers("metadata", L_M, L_I)
    return lambda f_I, f_M: meta_fusion.tiled_mutual_attention(f_I, f_M, of_I, of_M, heads)


MODULES = {make.__name__: make for make in (mmfa, mutual_attention, meta_block, meta_net, tiled_mutual_attention)}


def attention(heads=8, product="outer", scale="inside"):
    return {"heads": heads, "product": product, "scale": scale}


def case(L_I, L_M, kind, **options):
    p = Parameters()
    module = MODULES[kind](p, L_I, L_M, **options)
    f_I, f_M = numbers("image", BATCH, L_I).requires_grad_(), numbers("metadata", BATCH, L_M).requires_grad_()
    in_inference = sampled(module(f_I, f_M), STEP)
    p.training = True
    output = module(f_I, f_M)
    (output * loss_weights("loss", output.shape)).sum().backward()
    norms = p.gradient_norms()
    print(kind, {"parameters": sum(leaf.numel() for leaf in p.leaves.values()), "outputs": output.shape[1]})
    training = {
        "output": sampled(output, STEP),
        "image_gradient": sampled(f_I.grad, STEP),
        "metadata_gradient": sampled(f_M.grad, STEP),
        "gradient_norms": norms,
    }
    return {
        "image": L_I,
        "metadata": L_M,
        "config": {"kind": kind, **options},
        "output": in_inference,
        "training": training,
    }


cases = [
    case(1280, 81, "meta_block", columns=32),
    case(1280, 128, "meta_net", hidden=64, columns=64),
    case(2048, 128, "mmfa", image_width=96, metadata_width=96, attention=attention()),
    case(1280, 128, "mmfa", image_width=64, metadata_width=32, attention=attention(4, "outer_key_rows")),
    case(1280, 128, "mmfa", image_width=96, metadata_width=96, attention=attention(product="elementwise")),
    case(1280, 128, "mmfa", image_width=96, metadata_width=96, attention=attention(scale="outside")),
    case(2048, 128, "mutual_attention", width=96, attention=attention()),
    case(1280, 128, "mutual_attention", width=96, attention=attention(6, "elementwise", "outside")),
    case(320, 64, "tiled_mutual_attention", heads=3),
]
golden = {
    "generator": "tests/golden/fusion/generate.py",
    "versions": {"torch": torch.__version__, "numpy": numpy.__version__},
    "batch": BATCH,
    "step": STEP,
    "cases": cases,
}
text = json.dumps(golden, separators=(",", ":")).replace('{"image"', '\n{"image"')
(HERE / "golden.json").write_text(text + "\n")
