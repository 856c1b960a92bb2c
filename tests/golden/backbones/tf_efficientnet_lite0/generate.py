"""Golden of EfficientNet-Lite0 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import efficientnet_lite

efficientnet_lite.write(0)
