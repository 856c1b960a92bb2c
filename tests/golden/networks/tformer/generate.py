"""Golden of TFormer, written from the structure of the authors' code on torchvision's Swin-T, at its 224 pixels.

Run: `python generate.py` (torch, torchvision, numpy).
"""

import math
import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from two_images import CLASSES, Backbone, fill_rest, golden_of, weighted, write

WINDOW = 7


class Block(nn.Module):
    """Queries of a window's pixels, keys and values of the pixels of both maps; then a perceptron."""

    def __init__(self, channels, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query, self.key_value = nn.Linear(channels, channels), nn.Linear(channels, 2 * channels)
        self.table = nn.Parameter(torch.zeros(heads, (2 * WINDOW - 1) ** 2))
        self.project = nn.Linear(channels, channels)
        self.expand, self.reduce = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.heads = heads

    def bias(self):
        """[heads, N, N], case by case."""
        rows = []
        for i in range(WINDOW**2):
            for j in range(WINDOW**2):
                down, right = i // WINDOW - j // WINDOW, i % WINDOW - j % WINDOW
                rows.append((down + WINDOW - 1) * (2 * WINDOW - 1) + right + WINDOW - 1)
        return self.table[:, rows].reshape(-1, WINDOW**2, WINDOW**2)

    def attend(self, x, y):
        q, k, v = self.query(x), *self.key_value(torch.cat([x, y])).chunk(2, 1)
        parts = []
        for q, k, v, bias in zip(q.chunk(self.heads, 1), k.chunk(self.heads, 1), v.chunk(self.heads, 1), self.bias()):
            scores = q @ k.T / math.sqrt(q.shape[1]) + torch.cat([bias, bias], 1)
            parts.append(functional.softmax(scores, 1) @ v)
        return self.project(torch.cat(parts, 1))

    def forward(self, x, y):
        normed_x, normed_y = self.norm1(x), self.norm1(y)
        attended = torch.zeros_like(x)
        for image in range(len(x)):
            for top in range(0, x.shape[1], WINDOW):
                for left in range(0, x.shape[2], WINDOW):
                    window = (image, slice(top, top + WINDOW), slice(left, left + WINDOW))
                    own, other = normed_x[window].flatten(0, 1), normed_y[window].flatten(0, 1)
                    attended[window] = self.attend(own, other).reshape(WINDOW, WINDOW, -1)
        x = x + attended
        return x + self.reduce(functional.gelu(self.expand(self.norm2(x))))


class Layer(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.first, self.second = Block(channels, heads), Block(channels, heads)


class Fusion(nn.Module):
    def __init__(self, channels, heads, depth):
        super().__init__()
        self.layers = nn.ModuleList(Layer(channels, heads) for _ in range(depth))

    def forward(self, x, y):
        for layer in self.layers:
            x = layer.first(x, y) + x
            y = layer.second(y, x) + y
        return x, y


class Merging(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * channels), nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x):
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class MetadataNetwork(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.linear = nn.ModuleList([nn.Linear(inputs, 128), nn.Linear(128, 128)])
        self.norm = nn.ModuleList([nn.BatchNorm1d(128), nn.BatchNorm1d(128)])

    def forward(self, x):
        for linear, norm in zip(self.linear, self.norm):
            x = functional.relu(norm(linear(x)))
        return x


class TokenAttention(nn.Module):
    def __init__(self, image, metadata, heads):
        super().__init__()
        self.enter, self.leave = nn.Linear(metadata, image), nn.Linear(image, metadata)
        self.norm, self.image_norm, self.norm2 = (nn.LayerNorm(image) for _ in range(3))
        self.query, self.key_value = nn.Linear(image, image, bias=False), nn.Linear(image, 2 * image, bias=False)
        self.project, self.hidden, self.output = (nn.Linear(image, image) for _ in range(3))
        self.heads = heads

    def attend(self, x, image):
        q = self.query(x)
        k, v = self.key_value(torch.stack([x, image])).chunk(2, 1)
        parts = []
        for q, k, v in zip(q.chunk(self.heads), k.chunk(self.heads, 1), v.chunk(self.heads, 1)):
            parts.append(functional.softmax(k @ q / math.sqrt(len(q)), 0) @ v)
        return self.project(torch.cat(parts) + x)

    def forward(self, image, metadata):
        x, image = self.norm(self.enter(metadata)), self.image_norm(image)
        x = x + torch.stack([self.attend(*pair) for pair in zip(x, image)])
        x = x + self.output(functional.gelu(self.hidden(self.norm2(x))))
        return metadata + self.leave(x)


class Record(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.network, self.fusion = MetadataNetwork(inputs), TokenAttention(256, 128, 8)


class LinearHead(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.tasks = nn.ModuleList(nn.Linear(features, classes) for classes in CLASSES)

    def forward(self, x):
        return [task(x) for task in self.tasks]


class TFormer(nn.Module):
    def __init__(self, metadata):
        super().__init__()
        self.backbone = Backbone("swin_t")
        sizes = [(192, 6, 1), (384, 6, 1), (768, 6, 2), (768, 12, 1)]
        self.fusion = nn.ModuleList(Fusion(*size) for size in sizes)
        self.clinical_merging = nn.ModuleList([Merging(192), Merging(384)])
        self.dermoscopic_merging = nn.ModuleList([Merging(192), Merging(384)])
        self.clinical, self.dermoscopic = nn.Linear(768, 128), nn.Linear(768, 128)
        self.metadata = Record(metadata) if metadata else None
        self.head = LinearHead(256)

    def level(self, level, c, d):
        """The original implementation's layers end with the merging that torchvision begins the next stage with."""
        features = self.backbone.model.features
        layers = features[0:3] if level == 0 else features[2 * level + 1 : 2 * level + 3]
        return layers(c), layers(d)

    def forward(self, clinical, dermoscopic, *metadata):
        c, d = self.level(0, clinical, dermoscopic)
        c_fused, d_fused = self.fusion[0](c, d)
        c_fused, d_fused = self.clinical_merging[0](c_fused), self.dermoscopic_merging[0](d_fused)
        c, d = self.level(1, c, d)
        c_fused, d_fused = self.fusion[1](c + c_fused, d + d_fused)
        c_fused, d_fused = self.clinical_merging[1](c_fused), self.dermoscopic_merging[1](d_fused)
        c, d = self.level(2, c, d)
        d_fused, c_fused = self.fusion[2](d + d_fused, c + c_fused)
        c, d = (self.backbone.model.norm(x) for x in self.level(3, c, d))
        d_fused, c_fused = self.fusion[3](d + d_fused, c + c_fused)
        c = functional.relu(self.clinical(c_fused.mean((1, 2))))
        d = functional.relu(self.dermoscopic(d_fused.mean((1, 2))))
        images = torch.cat([c, d], 1)
        if not metadata:
            return [self.head(images)]
        record = self.metadata.fusion(images, self.metadata.network(*metadata))
        return [self.head(torch.cat([d, record], 1))]


networks = []
for metadata in (20, 0):
    model = TFormer(metadata)
    print(sum(p.numel() for k, p in model.named_parameters() if not k.startswith("backbone.model.head")))
    model.backbone.fill("shared")
    fill_rest(model, ("backbone.",), {})
    config = {"metadata": metadata or None, "classes": CLASSES, "dropout": 0.0}
    networks.append(
        {"config": config, "gains": {}, **golden_of(model, weighted([1.0]), [(224, 224)], (224, 224), metadata)}
    )
write(HERE, networks)
