"""Checkpoints of a network of 75 numbers in the containers that `torch.save` has written. Run: `python generate.py`."""

import pathlib
import sys

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

here = pathlib.Path(__file__).resolve().parent
model = nn.Sequential()
model.add_module("conv", nn.Conv2d(3, 4, 1))
model.add_module("norm", nn.BatchNorm2d(4))
model.add_module("fc", nn.Linear(4, 9))
state = {
    k: v if k.endswith("num_batches_tracked") else formula.values(k, tuple(v.shape))
    for k, v in model.state_dict().items()
}

torch.save(state, here / "zip.pth")
torch.save(state, here / "legacy.pth", _use_new_zipfile_serialization=False)
parallel = {"module." + k: v for k, v in state.items()}
torch.save({"epoch": 3, "state_dict": parallel}, here / "parallel.pth")
for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
    half = {k: v if k.endswith("num_batches_tracked") else v.to(dtype) for k, v in state.items()}
    torch.save(half, here / f"{name}.pth")
