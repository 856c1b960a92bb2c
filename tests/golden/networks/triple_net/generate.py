"""Golden of TripleNet, written from what the texts say of it (a network for each image, and one over the maps of both)
on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hyper_branch import LinearHead
from two_images import CHANNELS, CLASSES, Backbone, fill_rest, golden_of, weighted, write


class TripleNet(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.clinical, self.dermoscopic = Backbone(backbone), Backbone(backbone)
        features = CHANNELS[backbone][3]
        first, second = nn.Conv2d(2 * features, features, 3, padding=1), nn.Conv2d(features, features, 3, padding=1)
        self.joint = nn.ModuleList([first, second])
        self.clinical_head, self.dermoscopic_head, self.fusion_head = (LinearHead(features) for _ in range(3))

    def forward(self, clinical, dermoscopic):
        c, d = clinical, dermoscopic
        for stage in range(4):
            c, d = self.clinical.stage(stage, c), self.dermoscopic.stage(stage, d)
        first, second = self.joint
        j = second(first(torch.cat([c, d], 1)).relu()).relu()
        c, d, j = (x.mean((2, 3)) for x in (c, d, j))
        return self.clinical_head(c), self.dermoscopic_head(d), self.fusion_head(j)


if __name__ == "__main__":
    weights = {"clinical": 1.0, "dermoscopic": 0.5, "fusion": 0.25}
    model = TripleNet("resnet18")
    model.clinical.fill("clinical")
    model.dermoscopic.fill("dermoscopic")
    fill_rest(model, ("clinical.", "dermoscopic."), {})
    config = {"backbone": "resnet18", "classes": CLASSES, "loss_weights": weights}
    golden = golden_of(model, weighted(weights.values()), [(224, 224), (97, 131)], (64, 96))
    write(HERE, [{"config": config, "gains": {}, **golden}])
