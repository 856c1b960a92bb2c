"""Golden of the single shared network (PEMM and its ablations), written from the thesis' text (§5.4) on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from two_images import CHANNELS, CLASSES, Backbone, Head, attention, blocks, fill_rest, gains, golden_of, write


class SingleSharedNetwork(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.backbone = Backbone(config["backbone"])
        channels = CHANNELS[config["backbone"]]
        self.fusion = blocks(config["fusion"], config["stages"], channels, channels)
        self.fuses = [config["fusion"] is not None and fuses for fuses in config["stages"]]
        self.joined = config["batches"] == "joined"
        self.clinical_head, self.fusion_head = Head(channels[-1]), Head(2 * channels[-1])
        self.dermoscopic_head = self.clinical_head if config["shared_head"] else Head(channels[-1])

    def forward(self, clinical, dermoscopic):
        c, d = clinical, dermoscopic
        for stage in range(4):
            if self.joined:
                c, d = self.backbone.stage(stage, torch.cat([c, d])).chunk(2)
            else:
                c, d = self.backbone.stage(stage, c), self.backbone.stage(stage, d)
            if self.fuses[stage]:
                c, d = self.fusion[stage](c, d)
        c, d = self.backbone.pooled(c), self.backbone.pooled(d)
        return self.clinical_head(c), self.dermoscopic_head(d), self.fusion_head(torch.cat([c, d], 1))


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
# The configuration, sizes of the logits, size of the training step.
NETWORKS = [
    (config(attended("shared_cross_attention", "cross")), [(224, 224), (97, 131)], (64, 64)),
    (config(attended("shared_cross_attention", "self"), batches="separate"), [(97, 131)], (64, 64)),
    (config(attended("cross_attention", "cross"), (False, True, True, True), weights=THIRDS), [(97, 131)], (64, 64)),
    (config(attended("cross_attention", "self"), (False, False, True, True)), [(97, 131)], (64, 64)),
    (config(None, shared_head=True), [(97, 131)], (64, 64)),
]

networks = []
for config, sizes, training_size in NETWORKS:
    model = SingleSharedNetwork(config)
    model.backbone.fill("shared")
    fill_rest(model, ("backbone.",), gains(GAIN))
    weights = list(config["loss_weights"].values())
    networks.append({"config": config, "gains": gains(GAIN), **golden_of(model, weights, sizes, training_size)})
write(HERE, networks)
