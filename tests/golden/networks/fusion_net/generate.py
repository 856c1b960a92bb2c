"""Golden of FusionNet: Eqs. 6.1 to 6.4 of Tang's thesis on torchvision's ResNet-18, with formula-filled weights.

Run: `python generate.py` (torch, torchvision, numpy). The equations are in `../../equations`.
"""

import json
import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "equations")]
import ammfm
import fusion_m4_net
from parameters import sampled
from two_images import Backbone, OfEquations, branch, golden_of, versions

CLASSES = [5, 3, 3, 3, 2, 3, 2, 3]
SIZES = [(224, 224), (97, 131)]
LABELS = [[4, 2, 1, 0, 1, 2, 0, 2], [0, 0, 2, 1, 0, 1, 1, 0], [1, 1, 0, 2, 0, 0, 1, 1], [2, 0, 1, 1, 1, 2, 0, 0]]
TRAINING_SIZE = (128, 128)
W = (0.0963, 0.609, 0.2947)  # of the clinical, the dermoscopic and the fusion branch, as in Table 6.5
W_1 = 0.735  # as in Table 6.6


class FusionNet(OfEquations):
    def __init__(self):
        super().__init__()
        self.clinical, self.dermoscopic = Backbone("resnet18"), Backbone("resnet18")
        names = ("clinical_head", "dermoscopic_head", "fusion_head")
        self.B_clin, self.B_derm, self.B_fusion = (branch(self.p, name, 512, CLASSES) for name in names)

    def forward(self, x_clin, x_derm):
        F_clin, F_derm = self.clinical.features(x_clin), self.dermoscopic.features(x_derm)
        return self.B_clin(F_clin), self.B_derm(F_derm), self.B_fusion(fusion_m4_net.F_fusion(F_clin, F_derm))


def loss(L_clin, L_derm, L_fusion):
    return fusion_m4_net.released_loss(fusion_m4_net.equation_6_4(L_clin, L_derm, L_fusion), len(CLASSES))


def decisions(P_clin, P_derm, P_fusion):
    """P_1 (Eq. 6.5) of logits, as in the released code, and of probabilities, as printed; P_3 (Eq. 6.6) of the former.

    P_2 is what the SVM cluster says in the thesis. Here the clinical branch takes its place.
    """
    softmax = lambda P: [torch.softmax(P_i, dim=-1) for P_i in P]
    P_1 = softmax(fusion_m4_net.equation_6_5(P_clin, P_derm, P_fusion, *W))
    literally = fusion_m4_net.equation_6_5(softmax(P_clin), softmax(P_derm), softmax(P_fusion), *W)
    # Eq. 4 of AMMFM is the same sum in other symbols.
    for P_D, P_C, P_FU, P_FI in zip(softmax(P_derm), softmax(P_clin), softmax(P_fusion), literally):
        W_C, W_D, W_FU = W
        assert torch.allclose(ammfm.equation_4(P_D, P_C, P_FU, W_D, W_C, W_FU), P_FI)
    P_3 = fusion_m4_net.equation_6_6(P_1, softmax(P_clin), W_1, 1.0 - W_1)
    return {name: sampled(torch.cat(P)) for name, P in (("P_1", P_1), ("P_1_literally", literally), ("P_3", P_3))}


model = FusionNet()
model.clinical.fill("clinical")
model.dermoscopic.fill("dermoscopic")
golden = golden_of(model, loss, SIZES, TRAINING_SIZE, given=LABELS)
golden["training"]["labels"] = LABELS
first = [torch.tensor(branch).split(CLASSES) for branch in golden["cases"][0]["logits"]]
golden["decisions"] = {"W": W, "W_1": W_1, **decisions(*first)}
head = {"generator": "tests/golden/networks/fusion_net/generate.py", "versions": versions(), "classes": CLASSES}
golden = {**head, **{key: golden[key] for key in ("cases", "decisions", "training")}}
(HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
print(golden["training"])
