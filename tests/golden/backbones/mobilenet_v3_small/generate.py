"""Golden of torchvision's mobilenet_v3_small with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

formula.write("mobilenet_v3_small", *formula.features(ends=(1, 3, 8, 12)), norm_gain=1.3)
