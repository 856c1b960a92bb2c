"""Golden of torchvision's mobilenet_v3_large with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

formula.write("mobilenet_v3_large", *formula.features(ends=(3, 6, 12, 16)), norm_gain=1.25)
