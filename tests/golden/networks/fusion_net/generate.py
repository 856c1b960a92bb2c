"""Golden of FusionNet, written from the paper's equations on torchvision's ResNet-18, with formula-filled weights.

Run: `python generate.py` (torch, torchvision, numpy). The formula is the one of the backbones' goldens.
"""

import json
import pathlib
import sys

import numpy
import torch
import torchvision
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "backbones"))
from formula import uniform, values

CLASSES = [5, 3, 3, 3, 2, 3, 2, 3]
SIZES = [(224, 224), (97, 131)]
LABELS = [[4, 2, 1, 0, 1, 2, 0, 2], [0, 0, 2, 1, 0, 1, 1, 0], [1, 1, 0, 2, 0, 0, 1, 1], [2, 0, 1, 1, 1, 2, 0, 0]]
TRAINING_SIZE = (128, 128)
MODULES = ["clinical", "dermoscopic", "clinical_head", "dermoscopic_head", "fusion_head"]


class Head(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.linear1, self.norm1 = nn.Linear(features, 512), nn.BatchNorm1d(512)
        self.linear2, self.norm2 = nn.Linear(512, 128), nn.BatchNorm1d(128)
        self.tasks = nn.ModuleList(nn.Linear(128, classes) for classes in CLASSES)

    def forward(self, x):
        x = nn.functional.silu(self.norm1(self.linear1(x)))
        x = nn.functional.silu(self.norm2(self.linear2(x)))
        return [task(x) for task in self.tasks]


class FusionNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.clinical, self.dermoscopic = (torchvision.models.resnet18(weights=None) for _ in range(2))
        self.clinical.fc = self.dermoscopic.fc = nn.Identity()
        self.clinical_head, self.dermoscopic_head, self.fusion_head = Head(512), Head(512), Head(512)

    def forward(self, clinical, dermoscopic):
        clinical, dermoscopic = self.clinical(clinical), self.dermoscopic(dermoscopic)
        return [
            self.clinical_head(clinical),
            self.dermoscopic_head(dermoscopic),
            self.fusion_head(clinical + dermoscopic),
        ]


def images(name, batch, height, width):
    pixels = 4.0 * uniform(name, batch * 3 * height * width) - 2.0
    return torch.from_numpy(pixels.astype(numpy.float32)).reshape(batch, 3, height, width)


model = FusionNet().eval()
state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
model.load_state_dict({k: values(k, tuple(v.shape)) for k, v in state.items()}, strict=False)

cases = []
with torch.no_grad():
    for height, width in SIZES:
        output = model(images("clinical", 1, height, width), images("dermoscopic", 1, height, width))
        logits = [[float(f"{v:.8g}") for task in branch for v in task[0].tolist()] for branch in output]
        cases.append({"size": [height, width], "logits": logits})

# One training step without dropout: the released loss and the norm of its gradient in each part.
# In double precision: batch normalisation over few pixels magnifies rounding.
model.train().double()
output = model(*(images(name, len(LABELS), *TRAINING_SIZE).double() for name in ("clinical", "dermoscopic")))
labels = torch.tensor(LABELS)
branch = lambda tasks: sum(nn.functional.cross_entropy(task, labels[:, t]) for t, task in enumerate(tasks)) / len(CLASSES)
loss = 0.33 * sum(branch(tasks) for tasks in output)
loss.backward()
norm = lambda name: float(torch.sqrt(sum(p.grad.double().square().sum() for p in getattr(model, name).parameters())))

golden = {
    "generator": "tests/golden/networks/fusion_net/generate.py",
    "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__},
    "classes": CLASSES,
    "cases": cases,
    "training": {
        "size": TRAINING_SIZE,
        "labels": LABELS,
        "loss": loss.item(),
        "gradient_norms": {name: norm(name) for name in MODULES},
    },
}
(HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
