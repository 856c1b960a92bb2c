"""Golden of CAFNet, written from what the texts say of it (co-attention at every stage, then fusion in a ratio for each
pixel) on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hyper_branch import LinearHead, ResidualBlock
from two_images import (
    CHANNELS,
    CLASSES,
    Backbone,
    OfEquations,
    attention,
    blocks,
    fill_rest,
    gains,
    golden_of,
    weighted,
    write,
)


class Score(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.hidden, self.score = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, 1, 1)

    def forward(self, x):
        return self.score(self.hidden(x).relu())


class FusionRatio(nn.Module):
    """Two maps, weighed at each pixel by the softmax of their scores."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = Score(channels), Score(channels)

    def forward(self, x, y):
        ratio = torch.softmax(torch.cat([self.first(x), self.second(y)], 1), 1)
        return ratio[:, :1] * x + ratio[:, 1:] * y


class Earlier(nn.Module):
    def __init__(self, before, channels):
        super().__init__()
        self.block, self.ratio = ResidualBlock(before, channels, 2), FusionRatio(channels)

    def forward(self, fused, earlier):
        return self.ratio(fused, self.block(earlier))


class AttentionFusion(nn.Module):
    def __init__(self, before, channels):
        super().__init__()
        self.images = FusionRatio(channels)
        self.earlier = Earlier(before, channels) if before else None

    def forward(self, clinical, dermoscopic, earlier):
        fused = self.images(clinical, dermoscopic)
        return self.earlier(fused, earlier) if self.earlier else fused


class CafNet(OfEquations):
    """The co-attention blocks are AMMFM's bidirectional ones; the rest no equation describes."""

    def __init__(self, backbone, options, gains):
        super().__init__(gains)
        self.clinical, self.dermoscopic = Backbone(backbone), Backbone(backbone)
        channels = CHANNELS[backbone]
        fusion = {"kind": "bidirectional_attention", "attention": options}
        self.attention = blocks(self.p, fusion, (True,) * 4, channels, channels, "attention")
        self.fusion = nn.ModuleList(AttentionFusion(b, c) for b, c in zip((None, *channels), channels))
        self.clinical_head, self.dermoscopic_head, self.fusion_head = (LinearHead(channels[3]) for _ in range(3))

    def forward(self, clinical, dermoscopic):
        c, d, h = clinical, dermoscopic, None
        for stage in range(4):
            c, d = self.clinical.stage(stage, c), self.dermoscopic.stage(stage, d)
            c, d = self.attention[stage](c, d)
            h = self.fusion[stage](c, d, h)
        c, d, h = (x.mean((2, 3)) for x in (c, d, h))
        return self.clinical_head(c), self.dermoscopic_head(d), self.fusion_head(h)


if __name__ == "__main__":
    networks = []
    # The attention, gain of queries and keys (at which 32 bits are enough for 1e-4), weights of the losses, sizes of
    # the logits,
    # size of the training step.
    settings = [
        (attention(), 0.4, (1.0, 1.0, 1.0), [(224, 224), (97, 131)], (64, 96)),
        (attention("literal", True, 4), 0.2, (0.3, 0.4, 0.5), [(97, 131)], (64, 64)),
    ]
    for options, gain, weights, sizes, training_size in settings:
        model = CafNet("resnet18", options, gains(gain))
        model.clinical.fill("clinical")
        model.dermoscopic.fill("dermoscopic")
        fill_rest(model, ("clinical.", "dermoscopic."), gains(gain))
        loss_weights = dict(zip(["clinical", "dermoscopic", "fusion"], weights))
        config = {"backbone": "resnet18", "attention": options, "classes": CLASSES, "loss_weights": loss_weights}
        golden = golden_of(model, weighted(weights), sizes, training_size)
        networks.append({"config": config, "gains": gains(gain), **golden})
    write(HERE, networks)
