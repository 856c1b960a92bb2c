"""Golden of the single shared network (PEMM and its ablations): section 5.4 of Tang's thesis on torchvision's
ResNet-18, with formula-filled weights.

Run: `python generate.py` (torch, torchvision, numpy). The equations are in `../../equations`.
"""

import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "equations")]
import pemm
from two_images import CHANNELS, CLASSES, Backbone, OfEquations, attention, blocks, branch, gains, golden_of, write


class SingleSharedNetwork(OfEquations):
    """Section 5.4.2: one encoder for both images, a (shared) cross-attention module after its stages, three
    classifiers.

    Open in the thesis: whether a batch normalization sees both modalities at once ("joined") or one after the other.
    """

    def __init__(self, config, gains):
        super().__init__(gains)
        self.backbone = Backbone(config["backbone"])
        channels = CHANNELS[config["backbone"]]
        self.blocks = blocks(self.p, config["fusion"], config["stages"], channels, channels)
        self.joined = config["batches"] == "joined"
        self.C_C = branch(self.p, "clinical_head", channels[-1])
        self.C_D = self.C_C if config["shared_head"] else branch(self.p, "dermoscopic_head", channels[-1])
        self.C_F = branch(self.p, "fusion_head", 2 * channels[-1])

    def forward(self, C, D):
        for stage, block in enumerate(self.blocks):
            if self.joined:
                C, D = self.backbone.stage(stage, torch.cat([C, D])).chunk(2)
            else:
                C, D = self.backbone.stage(stage, C), self.backbone.stage(stage, D)
            C, D = block(C, D) if block else (C, D)
        C, D = self.backbone.pooled(C), self.backbone.pooled(D)
        return self.C_C(C), self.C_D(D), self.C_F(torch.cat([C, D], dim=1))


def config(fusion, stages=(True,) * 4, shared_head=False, batches="joined", weights=(0.1, 0.4, 0.5)):
    return {
        "backbone": "resnet18",
        "fusion": fusion,
        "stages": stages,
        "shared_head": shared_head,
        "batches": batches,
        "classes": CLASSES,
        "dropout": 0.0,
        "loss_weights": dict(zip(["clinical", "dermoscopic", "fusion"], weights)),
    }


def attended(name, source):
    return {"kind": name, "source": source, "attention": attention()}


GAIN = 0.2  # of queries and keys
THIRDS = (1 / 3, 1 / 3, 1 / 3)
BIASED, EQUAL = pemm.equation_5_7, pemm.equation_5_5
# The configuration, its loss, sizes of the logits.
NETWORKS = [
    (config(attended("shared_cross_attention", "cross")), BIASED, [(224, 224), (97, 131)]),
    (config(attended("shared_cross_attention", "self"), batches="separate"), BIASED, [(97, 131)]),
    (config(attended("cross_attention", "cross"), (False, True, True, True), weights=THIRDS), EQUAL, [(97, 131)]),
    (config(attended("cross_attention", "self"), (False, False, True, True)), BIASED, [(97, 131)]),
    (config(None, shared_head=True), BIASED, [(97, 131)]),
]

networks = []
for config, loss, sizes in NETWORKS:
    model = SingleSharedNetwork(config, gains(GAIN))
    model.backbone.fill("shared")
    networks.append({"config": config, "gains": gains(GAIN), **golden_of(model, loss, sizes, (64, 64))})
write(HERE, networks)
