"""Golden of DINOv2's ViT-S/14 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import vision_transformer

vision_transformer.write("vit_small_patch14_dinov2", 384, 14, 37, dino=True)
