"""Tang's thesis, section 5.4: a single shared network with shared cross-attention and a biased loss (PEMM), Eqs. 5.5 to
5.7.

Written from the thesis alone, with its symbols: `C` and `D` are maps of the clinical and of the dermoscopy image, `[B,
C, H, W]`, and a 1 × 1 convolution is given as a function. Section 5.4.2.2 has no numbered equation; its sentences are
`map_of`, `attentive` and `refined`.
"""

import torch


def map_of(X_q, X_k):
    """Section 5.4.2.2: M = Softmax(X_q · X_k) over N = H · W places; rows are the places of X_q and sum to 1.

    The text names "C_v and C_q" here; that is read as C_k and C_q, since C_v is used in the next sentence.
    """
    return torch.softmax(torch.einsum("bchw,bcyx->bhwyx", X_q, X_k).flatten(3).flatten(1, 2), dim=2)


def attentive(X_v, M, product="transposed"):
    """Section 5.4.2.2: A = X_v · M. "transposed" makes each place a mean over places, "literal" is the product as it is
    printed."""
    return torch.einsum("bcm,bnm->bcn" if product == "transposed" else "bcm,bmn->bcn", X_v.flatten(2), M)


def refined(X, A, gamma=1.0):
    """Section 5.4.2.2: X_refined = X + A. `gamma` is a learnt factor of A, which is not in the thesis."""
    return X + gamma * A.view_as(X)


def CA(C, D, of_C, of_D, source="cross", product="transposed", gammas=(1.0, 1.0)):
    """Section 5.4.2.2, cross-attention: three convolutions (q, k, v) for C and three others for D.

    `source`: the text takes the map of a modality from itself ("self"); the module's name and the work it cites cross
    them ("cross"), so that C is refined by M_d and D by M_c.
    """
    C_q, C_k, C_v = (convolution(C) for convolution in of_C)
    D_q, D_k, D_v = (convolution(D) for convolution in of_D)
    M_c, M_d = map_of(C_q, C_k), map_of(D_q, D_k)
    for_C, for_D = (M_d, M_c) if source == "cross" else (M_c, M_d)
    gamma_C, gamma_D = gammas
    return refined(C, attentive(C_v, for_C, product), gamma_C), refined(D, attentive(D_v, for_D, product), gamma_D)


def SCA(C, D, shared, source="cross", product="transposed", gamma=1.0):
    """Section 5.4.2.2, shared cross-attention: CA whose three convolutions see both modalities."""
    return CA(C, D, shared, shared, source, product, (gamma, gamma))


def equation_5_5(L_C, L_D, L_F):
    """Eq. 5.5: L_total = (L_C + L_D + L_F) / 3."""
    return (L_C + L_D + L_F) / 3


def equation_5_6(L_C, L_D, L_F, W_C, W_D, W_F):
    """Eq. 5.6: L_total = W_C · L_C + W_D · L_D + W_F · L_F."""
    return W_C * L_C + W_D * L_D + W_F * L_F


def equation_5_7(L_C, L_D, L_F, W=0.1):
    """Eq. 5.7: L_total = W · L_C + (0.5 − W) · L_D + 0.5 · L_F."""
    return W * L_C + (0.5 - W) * L_D + 0.5 * L_F
