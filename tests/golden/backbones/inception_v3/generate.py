"""Golden of torchvision's inception_v3 with formula-filled weights. Run: `python generate.py` (torch, torchvision, numpy)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import formula
import torchvision


def stages(model, images):
    x = model._transform_input(images)
    maps = []
    for name, layer in model.named_children():
        if name == "avgpool":
            return maps
        x = layer(x)
        if name in ("Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"):
            maps.append(x)


groups = [("Conv2d_1a", "Conv2d_2"), ("Conv2d_3b", "Conv2d_4a"), ("Mixed_5",), ("Mixed_6",), ("Mixed_7",), ("fc.",)]
# As with the published weights, but without the auxiliary classifier.
model = torchvision.models.inception_v3(weights=None, aux_logits=False, transform_input=True, init_weights=False)
# Two images of 96 pixels would leave two values to each normalization of the last blocks.
formula.write("inception_v3", stages, groups, model, norm_gain=1.3, training_size=139)
