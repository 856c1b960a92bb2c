"""Golden of EmbeddingNet, written from its description in the thesis on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from two_images import CLASSES, Backbone, Head, fill_rest, golden_of, weighted, write


class EmbeddingNet(nn.Module):
    def __init__(self, metadata):
        super().__init__()
        self.clinical, self.dermoscopic = Backbone("resnet18"), Backbone("resnet18")
        self.head = Head(2 * 512 + metadata)

    def forward(self, clinical, dermoscopic, *metadata):
        c, d = clinical, dermoscopic
        for stage in range(4):
            c, d = self.clinical.stage(stage, c), self.dermoscopic.stage(stage, d)
        return [self.head(torch.cat([self.clinical.pooled(c), self.dermoscopic.pooled(d), *metadata], 1))]


networks = []
for metadata in (20, 0):
    model = EmbeddingNet(metadata)
    model.clinical.fill("clinical")
    model.dermoscopic.fill("dermoscopic")
    fill_rest(model, ("clinical.", "dermoscopic."), {})
    config = {"backbone": "resnet18", "metadata": metadata or None, "classes": CLASSES, "dropout": 0.0}
    networks.append(
        {"config": config, "gains": {}, **golden_of(model, weighted([1.0]), [(97, 131)], (64, 64), metadata)}
    )
write(HERE, networks)
