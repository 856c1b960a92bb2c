"""Golden of asymmetric fusion (AMMFM and its ablations): Eqs. 1 to 3 of Tang & Lasser (5.1 to 5.3 of the thesis) on
torchvision's backbones, with formula-filled weights.

Run: `python generate.py` (torch, torchvision, numpy). The equations are in `../../equations`.
"""

import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "equations")]
import ammfm
import pemm
from two_images import CHANNELS, CLASSES, Backbone, OfEquations, attention, blocks, branch, gains, golden_of, write


class AsymmetricFusion(OfEquations):
    """Section 3: refined maps go on to the next stage of their own network.

    Open in the paper, and read so: the fusion branch sees the refined dermoscopy features alone if only these are
    refined, else both; the other branches see the last maps before their refinement, unless `head_maps` says otherwise.
    """

    def __init__(self, config, gains):
        super().__init__(gains)
        self.clinical, self.dermoscopic = Backbone(config["clinical"]), Backbone(config["dermoscopic"])
        C_channels, D_channels = CHANNELS[config["clinical"]], CHANNELS[config["dermoscopic"]]
        self.blocks = blocks(self.p, config["fusion"], config["stages"], C_channels, D_channels)
        self.D_alone = config["fusion"] is not None and config["fusion"]["kind"] == "asymmetric_attention"
        self.after = config["head_maps"] == "after_fusion"
        c, d = C_channels[-1], D_channels[-1]
        self.H_C, self.H_D = branch(self.p, "clinical_head", c), branch(self.p, "dermoscopic_head", d)
        self.H_FU = branch(self.p, "fusion_head", d if self.D_alone else c + d)

    def forward(self, C, D):
        for stage, block in enumerate(self.blocks):
            C, D = self.clinical.stage(stage, C), self.dermoscopic.stage(stage, D)
            before = C, D
            C, D = block(C, D) if block else (C, D)
        of_C, of_D = (C, D) if self.after else before
        fused = self.dermoscopic.pooled(D)
        if not self.D_alone:
            fused = torch.cat([self.clinical.pooled(C), fused], dim=1)
        return self.H_C(self.clinical.pooled(of_C)), self.H_D(self.dermoscopic.pooled(of_D)), self.H_FU(fused)


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


def paper(L_clinc, L_derm, L_fusion):
    return ammfm.equation_2(L_derm, L_clinc, L_fusion)


def other(L_C, L_D, L_F):
    return pemm.equation_5_6(L_C, L_D, L_F, *OTHER)


AAB = {"kind": "asymmetric_attention", "attention": attention()}
LITERAL = {"kind": "asymmetric_attention", "attention": attention("literal", True)}
BAB = {"kind": "bidirectional_attention", "attention": attention()}
SMALL, MIDDLE, LARGE = "mobilenet_v3_small", "resnet18", "swin_v2_t"
OTHER = (0.2, 0.3, 0.5)

# The configuration, its loss, gain of queries and keys, sizes of the logits, size of the training step.
NETWORKS = [
    (config(SMALL, MIDDLE, AAB), paper, 1.0, [(224, 224), (97, 131)], (96, 64)),
    (config(SMALL, MIDDLE, BAB, (False, True, False, True), "after_fusion"), paper, 0.4, [(97, 131)], (64, 96)),
    (config(MIDDLE, SMALL, LITERAL, (True, True, True, False), weights=OTHER), other, 0.2, [(97, 131)], (64, 64)),
    (config(MIDDLE, MIDDLE, None), paper, 1.0, [(97, 131)], (64, 64)),
    (config(SMALL, LARGE, AAB), paper, 1.0, [(96, 128)], (64, 64)),
]


def main():
    networks = []
    for config, loss, gain, sizes, training_size in NETWORKS:
        model = AsymmetricFusion(config, gains(gain))
        model.clinical.fill("clinical")
        model.dermoscopic.fill("dermoscopic")
        networks.append({"config": config, "gains": gains(gain), **golden_of(model, loss, sizes, training_size)})
    write(HERE, networks)


if __name__ == "__main__":
    main()
