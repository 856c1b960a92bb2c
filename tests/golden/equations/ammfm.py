"""Tang & Lasser, "Pay Less On Clinical Images" (AMMFM), Eqs. 1 to 4, which are Eqs. 5.1 to 5.4 of Tang's thesis.

Written from the paper alone, with its symbols. `C` and `D` are maps of the clinical and of the dermoscopy image, `[B,
C, H, W]`; the `N = H · W` places are the last axis once a map is reshaped. A 1 × 1 convolution is given as a function.
"""

import torch


def reshaped(X):
    """R^(H × W × C) to R^(N × C), channels first here: `[B, C, N]`."""
    return X.flatten(2)


def attention_map(X_q, X_k):
    """Section 3.2, no number: the product of the reshaped X_q and X_k and a softmax give M in R^(N × N).

    Rows are the places of X_q, and each row sums to 1. There is no scale, as none is printed.
    """
    return torch.softmax(reshaped(X_q).transpose(1, 2) @ reshaped(X_k), dim=2)


def equation_1(D_v, M_c, D, product="transposed", gamma=1.0):
    """Eq. 1 (thesis Eq. 5.1): D_refined = D_v · M_c + D.

    `product`: "literal" is the product as it is printed, which sums over the axis that the softmax does not.
    "transposed" takes M_c^T, so that what arrives at a place is a mean over places. `gamma` is a learnt factor before
    the sum, which is not in the paper.
    """
    M = M_c if product == "literal" else M_c.transpose(1, 2)
    return (gamma * (reshaped(D_v) @ M)).reshape(D.shape) + D


def AAB(C, D, q, k, v, **reading):
    """Section 3.2, asymmetric attention block: the clinical map says where, the dermoscopy map is refined. Only D
    changes."""
    M_c = attention_map(q(C), k(C))
    return equation_1(v(D), M_c, D, **reading)


def BAB(C, D, of_C, of_D, reading_C={}, reading_D={}):
    """Fig. 3(a), bidirectional attention block: each map is refined by the attention map of the other modality.

    `of_C` and `of_D` are the convolutions (q, k, v) that see C and D. All six are different.
    """
    C_q, C_k, C_v = (convolution(C) for convolution in of_C)
    D_q, D_k, D_v = (convolution(D) for convolution in of_D)
    M_c, M_d = attention_map(C_q, C_k), attention_map(D_q, D_k)
    return equation_1(C_v, M_d, C, **reading_C), equation_1(D_v, M_c, D, **reading_D)


def equation_2(L_derm, L_clinc, L_fusion):
    """Eq. 2 (thesis Eq. 5.2): L_total = L_derm + L_clinc + L_fusion."""
    return L_derm + L_clinc + L_fusion


def equation_3(P, G):
    """Eq. 3 (thesis Eq. 5.3): L_K = Σ_j^X Σ_i^Y CE(…, G_i^j, P_i^j) over the tasks i and the cases j of a batch.

    P has the logits of each task, G a class for each case and task. The sum over a batch is read as its mean, so that
    the loss does not grow with the batch.
    """
    return sum(torch.nn.functional.cross_entropy(P_i, G[:, i]) for i, P_i in enumerate(P))


def equation_4(P_D, P_C, P_FU, W_D, W_C, W_FU):
    """Eq. 4 (thesis Eq. 5.4): P_FI = W_D · P_D + W_C · P_C + W_FU · P_FU."""
    return W_D * P_D + W_C * P_C + W_FU * P_FU
