"""EfficientNet-Lite in plain PyTorch, with timm's names, after TensorFlow's definition; and where its stages end."""

import math

import formula
import torch
from torch import nn
from torch.nn import functional

# Kernel, stride of the first, expansion, channels, repetitions: rows of EfficientNet's Table 1.
ROWS = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)]
# Factors of width and depth.
FACTORS = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)]


class SameConv(nn.Conv2d):
    """Padded as TensorFlow does: by what the last window lacks, an odd pixel below and to the right."""

    def forward(self, x):
        pads = []
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1]):
            lack = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            pads += [lack // 2, lack - lack // 2]
        return functional.conv2d(functional.pad(x, pads), self.weight, None, self.stride, 0, 1, self.groups)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def rounded(channels, width):
    channels *= width
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class Block(nn.Module):
    def __init__(self, channels, kernel, stride, expansion, channels_out):
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == channels_out
        depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        if expansion == 1:
            self.conv_dw, self.bn1 = depthwise, norm(hidden)
            self.conv_pw, self.bn2 = nn.Conv2d(hidden, channels_out, 1, bias=False), norm(channels_out)
        else:
            self.conv_pw, self.bn1 = nn.Conv2d(channels, hidden, 1, bias=False), norm(hidden)
            self.conv_dw, self.bn2 = depthwise, norm(hidden)
            self.conv_pwl, self.bn3 = nn.Conv2d(hidden, channels_out, 1, bias=False), norm(channels_out)

    def forward(self, x):
        if hasattr(self, "conv_pwl"):
            y = functional.relu6(self.bn1(self.conv_pw(x)))
            y = functional.relu6(self.bn2(self.conv_dw(y)))
            y = self.bn3(self.conv_pwl(y))
        else:
            y = self.bn2(self.conv_pw(functional.relu6(self.bn1(self.conv_dw(x)))))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    def __init__(self, number, classes=1000):
        super().__init__()
        width, depth = FACTORS[number]
        channels = 32
        self.conv_stem, self.bn1 = SameConv(3, channels, 3, 2, bias=False), norm(channels)
        rows = []
        for index, (kernel, stride, expansion, channels_out, repetitions) in enumerate(ROWS):
            channels_out = rounded(channels_out, width)
            if 0 < index < len(ROWS) - 1:
                repetitions = math.ceil(repetitions * depth)
            row = []
            for repetition in range(repetitions):
                row.append(Block(channels, kernel, stride if repetition == 0 else 1, expansion, channels_out))
                channels = channels_out
            rows.append(nn.Sequential(*row))
        self.blocks = nn.Sequential(*rows)
        self.conv_head, self.bn2 = nn.Conv2d(channels, 1280, 1, bias=False), norm(1280)
        self.classifier = nn.Linear(1280, classes)

    def maps(self, images):
        x = functional.relu6(self.bn1(self.conv_stem(images)))
        maps = []
        for index, row in enumerate(self.blocks):
            x = row(x)
            if index in (1, 2, 4):
                maps.append(x)
        return [*maps, functional.relu6(self.bn2(self.conv_head(x)))]

    def forward(self, images):
        return self.classifier(self.maps(images)[-1].mean((2, 3)))


def write(number, training_size=96):
    rows = [tuple(f"blocks.{row}." for row in rows) for rows in ((0, 1), (2,), (3, 4), (5, 6))]
    groups = [("conv_stem.", "bn1."), *rows[:3], (*rows[3], "conv_head.", "bn2."), ("classifier.",)]
    name = f"tf_efficientnet_lite{number}"
    model = EfficientNetLite(number)
    formula.write(name, EfficientNetLite.maps, groups, model, 1.1, training_size, torch)
