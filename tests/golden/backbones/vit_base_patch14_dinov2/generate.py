"""Golden of DINOv2's ViT-B/14 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import vision_transformer

vision_transformer.write("vit_base_patch14_dinov2", 768, 14, 37, dino=True)
