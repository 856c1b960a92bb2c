"""Golden of HcCNN, written from what the texts say of it (a hyper-branch of concatenation and convolutions, ResNet
blocks and multi-scale attention) on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hyper_branch import Bottleneck, ConvNorm, LinearHead, ResidualBlock
from two_images import CHANNELS, CLASSES, Backbone, fill_rest, golden_of, weighted, write


class MultiScaleAttention(nn.Module):
    """X * sigma(excite(relu(squeeze(mean X))) + places(X))."""

    def __init__(self, channels):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, 128), nn.Linear(128, channels)
        self.places = Bottleneck(channels, channels)

    def forward(self, x):
        whole = self.excite(self.squeeze(x.mean((2, 3))).relu())
        return x * torch.sigmoid(whole[:, :, None, None] + self.places(x))


class HyperConnection(nn.Module):
    def __init__(self, maps, channels, following):
        super().__init__()
        self.join = ConvNorm(maps * channels, channels)
        self.block = ResidualBlock(channels, following, 2)
        self.attention = MultiScaleAttention(following)

    def forward(self, *maps):
        return self.attention(self.block(self.join(torch.cat(maps, 1)).relu()))


class HcCnn(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.clinical, self.dermoscopic = Backbone(backbone), Backbone(backbone)
        c1, c2, c3, c4 = CHANNELS[backbone]
        self.hyper = nn.ModuleList([HyperConnection(2, c1, c2), HyperConnection(3, c2, c3), HyperConnection(3, c3, c4)])
        self.head = LinearHead(3 * c4)

    def forward(self, clinical, dermoscopic):
        c1, d1 = self.clinical.stage(0, clinical), self.dermoscopic.stage(0, dermoscopic)
        h1 = self.hyper[0](c1, d1)
        c2, d2 = self.clinical.stage(1, c1), self.dermoscopic.stage(1, d1)
        h2 = self.hyper[1](c2, d2, h1)
        c3, d3 = self.clinical.stage(2, c2), self.dermoscopic.stage(2, d2)
        h3 = self.hyper[2](c3, d3, h2)
        c4, d4 = self.clinical.stage(3, c3), self.dermoscopic.stage(3, d3)
        return [self.head(torch.cat([x.mean((2, 3)) for x in (c4, d4, h3)], 1))]


if __name__ == "__main__":
    model = HcCnn("resnet18")
    model.clinical.fill("clinical")
    model.dermoscopic.fill("dermoscopic")
    fill_rest(model, ("clinical.", "dermoscopic."), {})
    config = {"backbone": "resnet18", "classes": CLASSES}
    golden = golden_of(model, weighted([1.0]), [(224, 224), (97, 131)], (64, 96))
    write(HERE, [{"config": config, "gains": {}, **golden}])
