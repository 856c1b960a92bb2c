"""Golden of torchvision's vgg16 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

formula.write("vgg16", *formula.features(ends=(9, 16, 23, 30), stem=4))
