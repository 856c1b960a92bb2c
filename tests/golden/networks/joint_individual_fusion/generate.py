"""Golden of joint-individual fusion with MMFA: Eqs. 4.5 to 4.10 of Tang's thesis on torchvision's ResNet-18, with
formula-filled weights.

Run: `python generate.py` (torch, torchvision, numpy). The equations are in `../../equations`.
"""

import json
import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "equations")]
import jif_mmfa
from parameters import numbers, sampled
from two_images import Backbone, OfEquations, versions

INPUTS, N, H, D = 81, 6, 8, 96  # length of the record, classes, heads, length of a modality's queries, keys and values
L_I, L_M, HIDDEN = 512, 128, 256
SIZE, TRAINING_SIZE = (224, 224), (128, 128)
GT = [4, 0, 1, 5, 2, 3]
W_CLASS = [1.0, 0.5, 2.0, 1.5, 3.0, 0.25]


class JointIndividualFusion(OfEquations):
    """Fig. 4.1(b). M_M is two fully connected layers with normalization and ReLU, whose sizes the thesis does not
    print."""

    def __init__(self):
        super().__init__()
        p = self.p
        self.M_I = Backbone("resnet18")
        self.FCL = [
            (p.linear("joint.metadata.linear.0", INPUTS, HIDDEN), p.BN("joint.metadata.norm.0", HIDDEN)),
            (p.linear("joint.metadata.linear.1", HIDDEN, L_M), p.BN("joint.metadata.norm.1", L_M)),
        ]
        qkv = {}
        for name, L in (("image", L_I), ("metadata", L_M)):
            qkv[name] = (*p.Wb(f"joint.fusion.{name}.linear", L, 3 * D), p.BN(f"joint.fusion.{name}.norm", 3 * D))
        nn = *p.Wb("joint.fusion.output.linear", 2 * D, L_I + L_M), p.BN("joint.fusion.output.norm", L_I + L_M)
        self.F_1 = lambda f_I, f_M: jif_mmfa.MMFA(
            f_I,
            f_M,
            lambda f: jif_mmfa.equation_4_9(f, *qkv["image"]),
            lambda f: jif_mmfa.equation_4_9(f, *qkv["metadata"]),
            lambda x: jif_mmfa.equation_4_10(x, *nn),
            H,
            {"product": "outer", "scale": "inside"},
        )
        self.C_IM = p.linear("joint.head.tasks.0", L_I + L_M, N)
        self.C_I, self.C_M = p.linear("image_head.tasks.0", L_I, N), p.linear("metadata_head.tasks.0", L_M, N)

    def M_M(self, Meta):
        for layer, BN in self.FCL:
            Meta = torch.relu(BN(layer(Meta)))
        return Meta

    def forward(self, Image, Meta):
        """P_IM, P_I and P_M before the softmax."""
        f_I, f_M = self.M_I.features(Image), self.M_M(Meta)
        return jif_mmfa.equation_4_5(f_I, f_M, self.F_1, self.C_IM, self.C_I, self.C_M)


def inputs(batch, size):
    return numbers("clinical", batch, 3, *size), numbers("metadata", batch, INPUTS)


model = JointIndividualFusion()
model.M_I.fill("clinical")
model.double().eval()
P_IM, P_I, P_M = model(*inputs(1, SIZE))
logits = [sampled(P) for P in (P_I, P_M, P_IM)]
P_GT = sampled(jif_mmfa.F_2(P_IM, P_I, P_M))

model.train()
w, labels = torch.tensor(W_CLASS).double(), torch.tensor(GT)
outputs = model(*inputs(len(GT), TRAINING_SIZE))
L_IM, L_I_, L_M_ = (jif_mmfa.class_weighted_cross_entropy(P, labels, w) for P in outputs)
loss = jif_mmfa.total_loss(L_I_, L_M_, L_IM)
loss.backward()
norms = model.p.gradient_norms(lambda name: ".".join(name.split(".")[: 2 if name.startswith("joint.") else 1]))
squares = [parameter.grad.square().sum() for parameter in model.M_I.parameters() if parameter.grad is not None]
norms["joint.backbone"] = float(sum(squares) ** 0.5)

golden = {
    "generator": "tests/golden/networks/joint_individual_fusion/generate.py",
    "versions": versions(),
    "inputs": INPUTS,
    "classes": N,
    "size": SIZE,
    "logits": logits,
    "probabilities": P_GT,
    "training": {
        "size": TRAINING_SIZE,
        "labels": GT,
        "class_weights": W_CLASS,
        "loss": loss.item(),
        "gradient_norms": norms,
    },
}
(HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
print(golden["training"])
