"""Tang's thesis, chapter 4: joint-individual fusion (JIF) and multi-modal fusion attention (MMFA). One function, one
equation.

Written from the thesis alone, with its symbols. `f_I` and `f_M` are the features of the image and of the record, of
lengths `L_I` and `L_M`, one row for each case; `W` and `b` are weights and biases, `BN` is a batch normalization, and
the features are cut into `h` heads of length `s = D_T / h`. Where the thesis can be read in several ways, the function
names the reading.
"""

import torch


def equation_4_4(f_I, f_M, F_1, C_IM):
    """Eq. 4.4, joint fusion: P_IM := C_IM(GT = c | F_1(f_I, f_M)). Before the softmax; C_IM is one fully connected
    layer."""
    return C_IM(F_1(f_I, f_M))


def equation_4_5(f_I, f_M, F_1, C_IM, C_I, C_M):
    """Eq. 4.5, joint-individual fusion: P_IM as in Eq. 4.4, P_I := C_I(f_I), P_M := C_M(f_M). P_GT is F_2 of them."""
    return C_IM(F_1(f_I, f_M)), C_I(f_I), C_M(f_M)


def F_2(*predictions):
    """Section 4.2.2, F_2 of Eq. 4.5: the mean of the predictions of several classifiers, as probabilities."""
    return sum(torch.softmax(P, dim=1) for P in predictions) / len(predictions)


def total_loss(L_I, L_M, L_IM, beta=0.5):
    """Section 4.3.2, no number: L_total = β · L_I + (1 − β) · L_M + L_IM, with β = 0.5."""
    return beta * L_I + (1.0 - beta) * L_M + L_IM


def class_weighted_cross_entropy(P, GT, w):
    """Section 4.3.2, no number: cross-entropy of logits P with a weight w_c for each class; the mean is weighted
    too."""
    minus_log = -torch.log_softmax(P, dim=1)[torch.arange(len(GT)), GT]
    return (w[GT] * minus_log).sum() / w[GT].sum()


def equation_4_6(MHA, f_I, f_M):
    """Eq. 4.6: F_IM := MHA(f_K, f_Q, f_V) ⊕ Concat(f_I, f_M); ⊕ adds element by element."""
    return MHA + torch.cat([f_I, f_M], dim=1)


def multi_head_attention(f_K, f_Q, f_V, h, nn, reading):
    """No number, between Eqs. 4.6 and 4.7: MHA(f_K, f_Q, f_V) = f(Concat(head_1, …, head_h)); f is the `nn` of Eq.
    4.10."""
    heads = zip(f_K.chunk(h, dim=1), f_Q.chunk(h, dim=1), f_V.chunk(h, dim=1))
    return nn(torch.cat([equation_4_7(f_K_i, f_Q_i, f_V_i, **reading) for f_K_i, f_Q_i, f_V_i in heads], dim=1))


def equation_4_7(f_K_i, f_Q_i, f_V_i, product="outer", scale="inside"):
    """Eq. 4.7: head_i = Softmax((f_K^i)^T ⊗ f_Q^i) / √s ⊗ v_I(f_V^i), for vectors of length s.

    * `product`: the text calls ⊗ element-wise, but writes a transpose, and Eqs. 4.9 and 4.10 use ⊗ for a matrix
      product. "outer" makes a map of s × s whose rows are queries and sum to 1 over the keys. "outer_key_rows" is the
      transpose as it is printed: rows are keys and sum to 1 over the queries. "elementwise" follows the text: one
      softmax over s numbers.
    * `scale`: "outside" is the division by √s as printed, "inside" that of Eq. 2.10 of the same thesis.
    * v_I has been applied in Eq. 4.9 already, so it is the identity here.
    """
    s = f_K_i.shape[1]
    inner, outer = (s**0.5, 1.0) if scale == "inside" else (1.0, s**0.5)
    if product == "elementwise":
        return torch.softmax(f_K_i * f_Q_i / inner, dim=1) / outer * f_V_i
    rows, columns = (f_Q_i, f_K_i) if product == "outer" else (f_K_i, f_Q_i)
    attention = torch.softmax(rows[:, :, None] * columns[:, None, :] / inner, dim=2) / outer  # (B, s, s)
    return torch.einsum("brc,bc->br", attention, f_V_i)


def equation_4_8(f_M_part, f_I_part):
    """Eq. 4.8, once for each of K, Q and V: f_K = Concat(f_Mk, f_Ik). The record comes first."""
    return torch.cat([f_M_part, f_I_part], dim=1)


def equation_4_9(f, W, b, BN):
    """Eq. 4.9, once for each of I and M: f_q, f_k, f_v := D(qkv(f)) = D(BN(f ⊗ W + b)). D cuts into equal thirds."""
    return BN(f @ W + b).chunk(3, dim=1)


def equation_4_10(x, W_nn, b_nn, BN):
    """Eq. 4.10: nn(x) = BN(x ⊗ W^nn + b^nn)."""
    return BN(x @ W_nn + b_nn)


def MMFA(f_I, f_M, qkv_I, qkv_M, nn, h, reading):
    """Section 4.2.3: Eqs. 4.6 to 4.10 together. `qkv_I`, `qkv_M` are Eq. 4.9 and `nn` Eq. 4.10 with their weights."""
    f_Iq, f_Ik, f_Iv = qkv_I(f_I)
    f_Mq, f_Mk, f_Mv = qkv_M(f_M)
    f_K, f_Q, f_V = equation_4_8(f_Mk, f_Ik), equation_4_8(f_Mq, f_Iq), equation_4_8(f_Mv, f_Iv)
    return equation_4_6(multi_head_attention(f_K, f_Q, f_V, h, nn, reading), f_I, f_M)


def mutual_attention(f_I, f_M, qkv_I, qkv_M, nn_I, nn_M, h, reading):
    """Mutual attention (MA) of Tables 4.1 to 4.9. The thesis has no equation for it.

    Each modality is refined from its own keys and values by the queries of the other one, and is added again. The parts
    are those of Eqs. 4.7, 4.9 and 4.10; both projections have the same width.
    """
    f_Iq, f_Ik, f_Iv = qkv_I(f_I)
    f_Mq, f_Mk, f_Mv = qkv_M(f_M)
    refined_I = multi_head_attention(f_Ik, f_Mq, f_Iv, h, nn_I, reading) + f_I
    refined_M = multi_head_attention(f_Mk, f_Iq, f_Mv, h, nn_M, reading) + f_M
    return torch.cat([refined_I, refined_M], dim=1)
