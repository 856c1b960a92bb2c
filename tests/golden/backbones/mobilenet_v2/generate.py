"""Golden of torchvision's mobilenet_v2 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

STAGE_ENDS = (3, 6, 13, 18)


def stages(model, images):
    x = images
    maps = []
    for index, layer in enumerate(model.features):
        x = layer(x)
        if index in STAGE_ENDS:
            maps.append(x)
    return maps


formula.write("mobilenet_v2", stages)
