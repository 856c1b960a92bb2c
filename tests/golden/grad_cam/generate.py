"""Goldens of class activation maps: what the `grad-cam` package makes of torchvision's networks with formula-filled weights.

Run: `python generate.py` (torch, torchvision, numpy, grad-cam). The network is AMFAM's classifier of one image: backbone, global
average pool, Linear, ReLU, Linear.
"""

import json
import math
import pathlib
import sys

import numpy
import pytorch_grad_cam
import torch
import torchvision
from importlib.metadata import version
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "backbones"))
from formula import uniform, values

HIDDEN, CLASSES, CLASS = 16, 3, 2
SIZE = (160, 128)
STEP = 331
METHODS = {"grad_cam": GradCAM, "grad_cam_plus_plus": GradCAMPlusPlus}


class Classifier(nn.Module):
    def __init__(self, backbone, features):
        super().__init__()
        self.backbones = nn.ModuleList([backbone])
        self.hidden = nn.ModuleList([nn.Linear(features, HIDDEN)])
        self.tasks = nn.ModuleList([nn.Linear(HIDDEN, CLASSES)])

    def forward(self, images):
        return self.tasks[0](torch.relu(self.hidden[0](self.backbones[0](images))))


def resnet50():
    backbone = torchvision.models.resnet50(weights=None)
    backbone.fc = nn.Identity()
    layers = [backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4]
    return backbone, 2048, layers, None


def swin_v2_t():
    backbone = torchvision.models.swin_v2_t(weights=None)
    backbone.head = nn.Identity()
    features = backbone.features
    layers = [features[1], features[3], features[5], backbone.norm]
    return backbone, 768, layers, lambda maps: maps.permute(0, 3, 1, 2)


def fill(model):
    constant = ("num_batches_tracked", "relative_position_index", "relative_coords_table")
    state = {k: v for k, v in model.state_dict().items() if not k.endswith(constant)}
    name = lambda key: key.replace("backbones.0.", "clinical.")
    model.load_state_dict({k: values(name(k), tuple(v.shape)) for k, v in state.items()}, strict=False)
    return model.double().eval()


images = 4.0 * uniform("clinical", 3 * math.prod(SIZE)) - 2.0
images = torch.from_numpy(images.astype(numpy.float32)).reshape(1, 3, *SIZE).double()
networks = {}
for make in (resnet50, swin_v2_t):
    backbone, features, layers, transform = make()
    model = fill(Classifier(backbone, features))
    with torch.no_grad():
        logits = model(images)[0].tolist()
    maps = []
    for stage in (1, 2, 3):
        for name, method in METHODS.items():
            with method(model=model, target_layers=[layers[stage]], reshape_transform=transform) as cam:
                heat = cam(input_tensor=images, targets=[ClassifierOutputTarget(CLASS)])[0]
            kept = [float(f"{v:.7g}") for v in heat.flatten()[::STEP].tolist()]
            maps.append({"stage": stage, "method": name, "mean": float(heat.mean(dtype=numpy.float64)), "values": kept})
            print(make.__name__, stage, name, heat.shape, heat.min(), heat.max(), heat.mean())
    networks[make.__name__] = {"logits": logits, "maps": maps}

golden = {
    "generator": "tests/golden/grad_cam/generate.py",
    "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "grad-cam": version("grad-cam")},
    "hidden": HIDDEN,
    "classes": CLASSES,
    "class": CLASS,
    "size": SIZE,
    "step": STEP,
    "networks": networks,
}
(HERE / "golden.json").write_text(json.dumps(golden, separators=(",", ":")).replace('{"stage"', '\n{"stage"') + "\n")
