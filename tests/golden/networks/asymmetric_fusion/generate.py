"""Golden of asymmetric fusion (AMMFM and its ablations), written from the thesis' equations (§5.3) on torchvision's backbones.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from two_images import CHANNELS, CLASSES, Backbone, Head, attention, blocks, fill_rest, gains, golden_of, write


class AsymmetricFusion(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.clinical, self.dermoscopic = Backbone(config["clinical"]), Backbone(config["dermoscopic"])
        channels = CHANNELS[config["clinical"]], CHANNELS[config["dermoscopic"]]
        self.fusion = blocks(config["fusion"], config["stages"], *channels)
        self.fuses = [config["fusion"] is not None and fuses for fuses in config["stages"]]
        self.aab = config["fusion"] is not None and config["fusion"]["kind"] == "asymmetric_attention"
        self.after = config["head_maps"] == "after_fusion"
        (*_, c), (*_, d) = channels
        self.clinical_head, self.dermoscopic_head = Head(c), Head(d)
        self.fusion_head = Head(d if self.aab else c + d)

    def forward(self, clinical, dermoscopic):
        c, d = clinical, dermoscopic
        for stage in range(4):
            c, d = self.clinical.stage(stage, c), self.dermoscopic.stage(stage, d)
            c4, d4 = c, d
            if self.fuses[stage]:
                c, d = self.fusion[stage](c, d)
        if self.after:
            c4, d4 = c, d
        gap_c, gap_d = self.clinical.pooled, self.dermoscopic.pooled
        fused = gap_d(d) if self.aab else torch.cat([gap_c(c), gap_d(d)], 1)
        return self.clinical_head(gap_c(c4)), self.dermoscopic_head(gap_d(d4)), self.fusion_head(fused)


def config(clinical, dermoscopic, fusion, stages=(True,) * 4, head_maps="before_fusion", weights=(1.0, 1.0, 1.0)):
    return {
        "clinical": clinical,
        "dermoscopic": dermoscopic,
        "fusion": fusion,
        "stages": stages,
        "head_maps": head_maps,
        "classes": CLASSES,
        "dropout": 0.0,
        "loss_weights": dict(zip(["clinical", "dermoscopic", "fusion"], weights)),
    }


AAB = {"kind": "asymmetric_attention", "attention": attention()}
LITERAL = {"kind": "asymmetric_attention", "attention": attention("literal", True)}
BAB = {"kind": "bidirectional_attention", "attention": attention()}
SMALL, MIDDLE, LARGE = "mobilenet_v3_small", "resnet18", "swin_v2_t"

# The configuration, gain of queries and keys, sizes of the logits, size of the training step.
NETWORKS = [
    (config(SMALL, MIDDLE, AAB), 1.0, [(224, 224), (97, 131)], (96, 64)),
    (config(SMALL, MIDDLE, BAB, (False, True, False, True), "after_fusion"), 0.4, [(97, 131)], (64, 96)),
    (config(MIDDLE, SMALL, LITERAL, (True, True, True, False), weights=(0.2, 0.3, 0.5)), 0.2, [(97, 131)], (64, 64)),
    (config(MIDDLE, MIDDLE, None), 1.0, [(97, 131)], (64, 64)),
    (config(SMALL, LARGE, AAB), 1.0, [(96, 128)], (64, 64)),
]

if __name__ == "__main__":
    networks = []
    for config, gain, sizes, training_size in NETWORKS:
        model = AsymmetricFusion(config)
        model.clinical.fill("clinical")
        model.dermoscopic.fill("dermoscopic")
        fill_rest(model, ("clinical.", "dermoscopic."), gains(gain))
        weights = list(config["loss_weights"].values())
        networks.append({"config": config, "gains": gains(gain), **golden_of(model, weights, sizes, training_size)})
    write(HERE, networks)
