"""Golden of joint-individual fusion with MMFA, written from the thesis' equations on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy). Formula-filled weights, the formula of the backbones' goldens.
"""

import json
import math
import pathlib
import sys

import numpy
import torch
import torchvision
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "backbones"))
from formula import uniform, values

INPUTS, CLASSES, BETA = 81, 6, 0.5
WIDTH, HEADS, IMAGE, RECORD = 96, 8, 512, 128
SIZE, TRAINING_SIZE = (224, 224), (128, 128)
LABELS = [4, 0, 1, 5, 2, 3]
CLASS_WEIGHTS = [1.0, 0.5, 2.0, 1.5, 3.0, 0.25]


class Qkv(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, 3 * WIDTH), nn.BatchNorm1d(3 * WIDTH)

    def forward(self, x):
        return self.norm(self.linear(x)).chunk(3, 1)


class Output(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)

    def forward(self, x):
        return self.norm(self.linear(x))


class Mmfa(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.metadata = Qkv(IMAGE), Qkv(RECORD)
        self.output = Output(2 * WIDTH, IMAGE + RECORD)

    def forward(self, image, record):
        q, k, v = (torch.cat(pair, 1).reshape(len(image), HEADS, -1, 1) for pair in zip(self.metadata(record), self.image(image)))
        attention = functional.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[2]), -1)
        return self.output((attention @ v).flatten(1)) + torch.cat([image, record], 1)


class Record(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.ModuleList([nn.Linear(INPUTS, 256), nn.Linear(256, RECORD)])
        self.norm = nn.ModuleList([nn.BatchNorm1d(256), nn.BatchNorm1d(RECORD)])

    def forward(self, x):
        for linear, norm in zip(self.linear, self.norm):
            x = functional.relu(norm(linear(x)))
        return x


class Head(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.tasks = nn.ModuleList([nn.Linear(features, CLASSES)])

    def forward(self, x):
        return self.tasks[0](x)


class Joint(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = torchvision.models.resnet18(weights=None)
        self.backbone.fc = nn.Identity()
        self.metadata, self.fusion, self.head = Record(), Mmfa(), Head(IMAGE + RECORD)


class Jif(nn.Module):
    def __init__(self):
        super().__init__()
        self.joint, self.image_head, self.metadata_head = Joint(), Head(IMAGE), Head(RECORD)

    def forward(self, image, record):
        image, record = self.joint.backbone(image), self.joint.metadata(record)
        fused = self.joint.head(self.joint.fusion(image, record))
        return [self.image_head(image), self.metadata_head(record), fused]


def tensor(name, *shape):
    data = 4.0 * uniform(name, math.prod(shape)) - 2.0
    return torch.from_numpy(data.astype(numpy.float32)).reshape(shape)


model = Jif().eval()
state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
# The backbone is filled as a weights file of its own, under the name `clinical`.
name = lambda key: key.replace("joint.backbone.", "clinical.")
model.load_state_dict({k: values(name(k), tuple(v.shape)) for k, v in state.items()}, strict=False)
model.double()
with torch.no_grad():
    logits = model(tensor("clinical", 1, 3, *SIZE).double(), tensor("metadata", 1, INPUTS).double())

model.train()
batch = len(LABELS)
outputs = model(tensor("clinical", batch, 3, *TRAINING_SIZE).double(), tensor("metadata", batch, INPUTS).double())
weights, labels = torch.tensor(CLASS_WEIGHTS).double(), torch.tensor(LABELS)
image, record, fused = (functional.cross_entropy(output, labels, weights) for output in outputs)
loss = BETA * image + (1 - BETA) * record + fused
loss.backward()
parts = ["joint.backbone", "joint.metadata", "joint.fusion", "joint.head", "image_head", "metadata_head"]
norm = lambda part: math.sqrt(sum(p.grad.square().sum().item() for k, p in model.named_parameters() if k.startswith(part)))

golden = {
    "generator": "tests/golden/networks/joint_individual_fusion/generate.py",
    "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__},
    "inputs": INPUTS,
    "classes": CLASSES,
    "size": SIZE,
    "logits": [[float(f"{v:.8g}") for v in branch[0].tolist()] for branch in logits],
    "training": {
        "size": TRAINING_SIZE,
        "labels": LABELS,
        "class_weights": CLASS_WEIGHTS,
        "loss": loss.item(),
        "gradient_norms": {part: norm(part) for part in parts},
    },
}
(HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
