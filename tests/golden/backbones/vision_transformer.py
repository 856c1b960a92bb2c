"""Vision transformers in plain PyTorch, with timm's names; and where their stages end."""

import formula
import torch
from torch import nn
from torch.nn import functional


class LayerScale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, c // 64, 64).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) * 64**-0.5).softmax(3)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))


class Mlp(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, channels, scaled):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(channels, eps=1e-6), Attention(channels)
        self.norm2, self.mlp = nn.LayerNorm(channels, eps=1e-6), Mlp(channels)
        self.ls1, self.ls2 = [LayerScale(channels) if scaled else nn.Identity() for _ in range(2)]

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, channels, patch, grid, dino, classes=1000):
        super().__init__()
        self.dino, self.grid = dino, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, channels))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, channels, patch, patch)
        self.blocks = nn.ModuleList(Block(channels, dino) for _ in range(12))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, classes)

    def positions(self, height, width):
        if [height, width] == [self.grid, self.grid]:
            return self.pos_embed
        square = self.pos_embed[:, 1:].reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        if self.dino:  # as DINOv2's models of the hub, which have `interpolate_offset=0.1` and no antialiasing
            factors = [(side + 0.1) / self.grid for side in (height, width)]
            square = functional.interpolate(square, scale_factor=factors, mode="bicubic", antialias=False)
        else:  # as timm's `resample_abs_pos_embed`
            square = functional.interpolate(square, size=(height, width), mode="bicubic", antialias=True)
        assert square.shape[2:] == (height, width)
        return torch.cat([self.pos_embed[:, :1], square.flatten(2).transpose(1, 2)], 1)

    def tokens(self, images):
        """The tokens after each quarter of the blocks, and the size of the map."""
        x = self.patch_embed.proj(images)
        size = x.shape[2:]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = x + self.positions(*size)
        ends = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 3 == 2:
                ends.append(x)
        return [*ends[:3], self.norm(x)], size

    def maps(self, images):
        ends, size = self.tokens(images)
        return [x[:, 1:].transpose(1, 2).unflatten(2, size) for x in ends]

    def forward(self, images):
        return self.head(self.tokens(images)[0][-1][:, 0])


def write(name, channels, patch, grid, dino=False):
    quarters = [tuple(f"blocks.{3 * quarter + index}." for index in range(3)) for quarter in range(4)]
    groups = [("cls_token", "pos_embed", "patch_embed."), *quarters[:3], (*quarters[3], "norm."), ("head.",)]
    model = VisionTransformer(channels, patch, grid, dino)
    formula.write(name, VisionTransformer.maps, groups, model, package=torch)
