"""Golden of torchvision's squeezenet1_1 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula

formula.write("squeezenet1_1", *formula.features(ends=(4, 7, 10, 12)))
