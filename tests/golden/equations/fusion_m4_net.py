"""Tang's thesis, chapter 6: FusionM4Net, Eqs. 6.1 to 6.6.

Written from the thesis alone, with its symbols: `x_clin`, `x_derm` are images, `F_clin`, `F_derm`, `F_fusion` features
of length N, `P_*` the predictions of a branch (logits of each task, or probabilities where they are averaged), and `y`
the labels, one column for each task.
"""

import torch


def F_fusion(F_clin, F_derm):
    """Section 6.2.2, no number: F_fusion is the element-wise sum of F_clin and F_derm."""
    return F_clin + F_derm


def B(F, FCL_1, BN_1, FCL_2, BN_2, FCL):
    """Table 6.2, a branch: one multi-layer FCL for each label, from features to logits.

    "Multi-layer" is read from the released code: two layers with normalization and Swish, which the labels share, and a
    last layer for each label. Dropout is left out.
    """
    x = FCL_1(F)
    x = BN_1(x)
    x = x * torch.sigmoid(x)
    x = BN_2(FCL_2(x))
    x = x * torch.sigmoid(x)
    return [last(x) for last in FCL]


def cross_entropies(P, y):
    """Eqs. 6.1 to 6.3 are the same sum for three branches: Σ_i CE(P^i, y^i) over the tasks i; CE is the mean over a
    batch."""
    return sum(torch.nn.functional.cross_entropy(P_i, y[:, i]) for i, P_i in enumerate(P))


def equation_6_1(P_clin, y):
    """Eq. 6.1: L_clin = Σ_i CE(P_clin^i, y^i)."""
    return cross_entropies(P_clin, y)


def equation_6_2(P_derm, y):
    """Eq. 6.2: L_derm = Σ_i CE(P_derm^i, y^i)."""
    return cross_entropies(P_derm, y)


def equation_6_3(P_fusion, y):
    """Eq. 6.3: L_fusion = Σ_i CE(P_fusion^i, y^i)."""
    return cross_entropies(P_fusion, y)


def equation_6_4(L_clin, L_derm, L_fusion):
    """Eq. 6.4: L_overall = L_clin + L_derm + L_fusion."""
    return L_clin + L_derm + L_fusion


def released_loss(L_overall, tasks):
    """The released code's form of Eq. 6.4: means over the tasks instead of sums, and 0.33 for each branch."""
    return 0.33 * L_overall / tasks


def equation_6_5(P_clin, P_derm, P_fusion, W_clin, W_derm, W_fusion):
    """Eq. 6.5, for each task i: P_1^i = W_clin · P_clin^i + W_derm · P_derm^i + W_fusion · P_fusion^i."""
    return [W_clin * c + W_derm * d + W_fusion * f for c, d, f in zip(P_clin, P_derm, P_fusion)]


def equation_6_6(P_1, P_2, W_1, W_2):
    """Eq. 6.6, for each task i: P_3^i = P_1^i · W_1 + P_2^i · W_2."""
    return [P_1_i * W_1 + P_2_i * W_2 for P_1_i, P_2_i in zip(P_1, P_2)]
