"""Golden of the network with a classifier for each subset of the modalities, on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from two_images import CLASSES, Backbone, fill_rest, golden_of, weighted, write

METADATA = 20
SUBSETS = {
    "clinical": "c",
    "dermoscopic": "d",
    "fusion": "cd",
    "metadata": "m",
    "clinical_metadata": "cm",
    "dermoscopic_metadata": "dm",
    "all": "cdm",
}


class LinearHead(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.tasks = nn.ModuleList(nn.Linear(features, classes) for classes in CLASSES)

    def forward(self, x):
        return [task(x) for task in self.tasks]


class ModalitySubsetNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.clinical, self.dermoscopic = Backbone("resnet18"), Backbone("resnet18")
        lengths = {"c": 512, "d": 512, "m": METADATA}
        self.heads = nn.ModuleList(LinearHead(sum(lengths[part] for part in parts)) for parts in SUBSETS.values())

    def forward(self, clinical, dermoscopic, metadata):
        c, d = clinical, dermoscopic
        for stage in range(4):
            c, d = self.clinical.stage(stage, c), self.dermoscopic.stage(stage, d)
        features = {"c": self.clinical.pooled(c), "d": self.dermoscopic.pooled(d), "m": metadata}
        inputs = (torch.cat([features[part] for part in parts], 1) for parts in SUBSETS.values())
        return [head(x) for head, x in zip(self.heads, inputs)]


model = ModalitySubsetNet()
model.clinical.fill("clinical")
model.dermoscopic.fill("dermoscopic")
fill_rest(model, ("clinical.", "dermoscopic."), {})
config = {"backbone": "resnet18", "metadata": METADATA, "subsets": list(SUBSETS), "classes": CLASSES}
golden = golden_of(model, weighted([1.0] * len(SUBSETS)), [(97, 131)], (64, 64), METADATA)
write(HERE, [{"config": config, "gains": {}, **golden}])
