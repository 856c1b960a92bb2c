"""Golden of ViT-S/16 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import vision_transformer

vision_transformer.write("vit_small_patch16_224", 384, 16, 14)
