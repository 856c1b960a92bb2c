"""What Tables 4.1 to 4.9 of Tang's thesis compare MMFA with: MetaBlock (Pacheco & Krohling), MetaNet (Li et al.), and
the mutual attention of Cai et al. as others implemented it.

Written from the description in the papers that compare with them, with the symbols of these: `f_I` and `f_M` are the
features of the image and of the record, one row for each case.
"""

import torch


def meta_block(f_I, f_M, T_1, T_2, columns=32):
    """MetaBlock: V' = σ(tanh(V · T_1) + T_2), with V the image's features in rows of `columns` numbers.

    T_1 and T_2 are a linear layer and a batch normalization of the record, one number for each row of V.
    """
    V = f_I.reshape(len(f_I), -1, columns)
    return torch.sigmoid(torch.tanh(V * T_1(f_M)[:, :, None]) + T_2(f_M)[:, :, None]).flatten(1)


def meta_net(f_I, f_M, first, second, columns=64):
    """MetaNet: the image's features in rows of `columns` numbers, times σ(second(ReLU(first(f_M)))), one number for
    each row."""
    m = torch.sigmoid(second(torch.relu(first(f_M))))
    return (f_I.reshape(len(f_I), -1, columns) * m[:, :, None]).flatten(1)


def perceptron(x, layers):
    """Linear layers of one width, each followed by ReLU6."""
    for layer in layers:
        x = torch.clamp(layer(x), 0.0, 6.0)
    return x


def one_token_attention(q, k, v, heads, W_q, W_k, W_v, W_o):
    """Multi-head attention over sequences of one token: Softmax(Q K^T / √d) V, whose softmax has one element."""
    batch = len(q)
    Q, K, V = (X.reshape(batch, 1, heads, -1).transpose(1, 2) for X in (W_q(q), W_k(k), W_v(v)))
    attention = torch.softmax(Q @ K.transpose(2, 3) / Q.shape[-1] ** 0.5, dim=3)
    return W_o((attention @ V).transpose(1, 2).reshape(batch, -1))


def tiled_mutual_attention(f_I, f_M, of_I, of_M, heads=3):
    """Cai et al. as re-implemented: each modality goes through a perceptron and is repeated once for each head.
    Attention then refines it: the query comes from the other modality, key and value from itself. What comes out is
    brought back to its length and added.

    `of_I` and `of_M` have the layers `perceptron`, `q`, `k`, `v`, `attention` and `output`. What is refined gives the
    width: q maps 3 L_M to 3 L_I for the image, and 3 L_I to 3 L_M for the record; `output` maps 3 L to L. What is added
    is read as the features after the perceptron.
    """
    f_I, f_M = perceptron(f_I, of_I["perceptron"]), perceptron(f_M, of_M["perceptron"])
    tiled_I, tiled_M = f_I.repeat(1, heads), f_M.repeat(1, heads)

    def attended(own, other, of):
        return of["output"](one_token_attention(of["q"](other), of["k"](own), of["v"](own), heads, *of["attention"]))

    return torch.cat([f_I + attended(tiled_I, tiled_M, of_I), f_M + attended(tiled_M, tiled_I, of_M)], dim=1)
