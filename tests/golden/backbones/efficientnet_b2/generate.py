"""Golden of torchvision's efficientnet_b2 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

formula.write("efficientnet_b2", *formula.features(ends=(2, 3, 5, 8)), norm_gain=1.4)
