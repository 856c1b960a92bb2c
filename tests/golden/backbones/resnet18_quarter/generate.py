"""Golden of torchvision's ResNet-18 class at a quarter of its channels. Run: `python generate.py` (torch, torchvision)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula
import torch
from torchvision.models.resnet import BasicBlock, ResNet


class Quarter(ResNet):
    """torchvision's constructor and forward pass; only the channel numbers differ."""

    def __init__(self):
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.conv1 = torch.nn.Conv2d(3, 16, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        self.fc = torch.nn.Linear(128, 1000)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        self.inplanes = 16 if planes == 64 else self.inplanes
        return super()._make_layer(block, planes // 4, blocks, stride, dilate)


formula.write("resnet18_quarter", *formula.resnet(), Quarter())
