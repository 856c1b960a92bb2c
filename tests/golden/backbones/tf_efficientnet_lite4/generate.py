"""Golden of EfficientNet-Lite4 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import efficientnet_lite

# Rounding turns single ReLU6 on and off: a larger image has more of them, so that one counts less.
efficientnet_lite.write(4, training_size=160)
