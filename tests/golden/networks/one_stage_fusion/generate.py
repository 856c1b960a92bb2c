"""Golden of the one-stage networks of FusionM4Net's comparisons (thesis Fig. 6.2(a), Tables 6.3 and 6.8), with
formula-filled weights. ResNet-18 stands in for ResNet-50.

Run: `python generate.py` (torch, torchvision, numpy). MetaBlock and MetaNet are in `../../equations`.
"""

import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "equations")]
import meta_fusion
from two_images import CLASSES, Backbone, OfEquations, branch, golden_of, weighted, write

RECORD = 20


def concat(p, L_I, L_M):
    return (lambda f_I, f_M: torch.cat([f_I, f_M], dim=1)), L_I + L_M


def meta_block(p, L_I, L_M, columns=32):
    rows = L_I // columns

    def T(name):
        linear, BN = p.linear(f"fusion.{name}", L_M, rows), p.BN(f"fusion.{name}_norm", rows)
        return lambda f_M: BN(linear(f_M))

    T_1, T_2 = T("scale"), T("shift")
    return (lambda f_I, f_M: meta_fusion.meta_block(f_I, f_M, T_1, T_2, columns)), L_I


def meta_net(p, L_I, L_M, hidden=64, columns=64):
    first, second = p.linear("fusion.hidden", L_M, hidden), p.linear("fusion.gate", hidden, L_I // columns)
    return (lambda f_I, f_M: meta_fusion.meta_net(f_I, f_M, first, second, columns)), L_I


class OneStageFusion(OfEquations):
    """The images' features side by side, joined with the record, and one branch of Table 6.2."""

    def __init__(self, images, join):
        super().__init__()
        self.images = images
        for image in images:
            setattr(self, image, Backbone("resnet18"))
            getattr(self, image).fill(image)
        length = 512 * len(images)
        self.join, length = join(self.p, length, RECORD) if join else (None, length)
        self.B = branch(self.p, "head", length)

    def forward(self, clinical, dermoscopic, *record):
        given = {"clinical": clinical, "dermoscopic": dermoscopic}
        F = torch.cat([getattr(self, image).features(given[image]) for image in self.images], dim=1)
        return [self.B(self.join(F, *record) if self.join else F)]


def golden(images, join, record=RECORD):
    model = OneStageFusion(["clinical", "dermoscopic"] if images == "both" else [images], join if record else None)
    config = {"backbone": "resnet18", "images": images, "metadata": record or None, "fusion": join.__name__}
    config |= {"classes": CLASSES, "dropout": 0.0}
    return {"config": config, "gains": {}, **golden_of(model, weighted([1.0]), [(97, 131)], (64, 64), record)}


networks = [
    golden("both", concat, 0),  # C-D
    golden("clinical", concat),  # C-M
    golden("dermoscopic", concat),  # D-M
    golden("both", concat),  # C-D-M
    golden("both", meta_block),
    golden("both", meta_net),
]
write(HERE, networks)
