"""Golden of timm's legacy_xception with formula-filled weights. Run: `python generate.py` (torch, timm, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula
import timm


def stages(model, images):
    return model.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)


middle = tuple(f"block{number}." for number in range(3, 12))
exit_flow = ("block12.", "conv3.", "bn3.", "conv4.", "bn4.")
groups = [("conv1.", "bn1.", "conv2.", "bn2."), ("block1.",), ("block2.",), middle, exit_flow, ("fc.",)]
formula.write("legacy_xception", stages, groups, timm.create_model("legacy_xception"), package=timm)
