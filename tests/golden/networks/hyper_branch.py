"""What the generators of networks with a hyper-branch share: ResNet blocks after He et al., and linear classifiers."""

from torch import nn
from two_images import CLASSES


class ConvNorm(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        width = outputs // 4
        self.layers = nn.ModuleList(
            [ConvNorm(inputs, width), ConvNorm(width, width, 3, stride), ConvNorm(width, outputs)]
        )

    def forward(self, x):
        reduce, middle, expand = self.layers
        return expand(middle(reduce(x).relu()).relu())


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.branch, self.shortcut = Bottleneck(inputs, outputs, stride), ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()


class LinearHead(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.tasks = nn.ModuleList(nn.Linear(features, classes) for classes in CLASSES)

    def forward(self, x):
        return [task(x) for task in self.tasks]
