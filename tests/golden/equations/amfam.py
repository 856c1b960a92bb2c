"""Wang et al. 2022 (AMFAM), Eqs. 1 to 4 and the sentences of section 3.2 between them.

Written from the paper alone, with its symbols: `x^c`, `x^d` are the clinical and the dermoscopic image, `G` the
backbone, `D` the discriminator, `RC` and `RD` the reconstructions, `C` the classifier, `m` an attention map. Layers are
given as functions.
"""

import torch
from torch.nn import functional


class GradientReversal(torch.autograd.Function):
    """Section 3.2.1, GRL of Ganin et al.: the identity forward, the gradient times a negative number backward."""

    @staticmethod
    def forward(context, x, strength):
        context.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return -context.strength * gradient, None


def GAP(X):
    """Global average pooling: `[B, C, H, W]` to `[B, C]`."""
    return X.mean(dim=(2, 3))


def discriminator(features, hidden, output):
    """Section 3.2.1: a hidden layer with ReLU and an output layer, before the softmax: logits of (dermoscopic,
    clinical).

    The paper does not say which logit is which. D(·) in Eq. 1 is the probability of the clinical modality.
    """
    return output(torch.relu(hidden(features)))


def equation_1(logits_c, logits_d, clinical=1):
    """Eq. 1: V(D, G) = E[log D(G(x^c))] + E[log(1 − D(G(x^d)))]; D is the softmax's probability of "clinical".

    D maximises V, so what is minimised is −V; G gets the opposite sign through the GRL. The two expectations are read
    as one mean over all features of the batch, as a cross-entropy makes it.
    """
    log_D = torch.log_softmax(logits_c, dim=1)[:, clinical]
    log_not_D = torch.log_softmax(logits_d, dim=1)[:, 1 - clinical]
    V = torch.cat([log_D, log_not_D]).mean()
    return -V


def cSE(F, squeeze, reduce, expand):
    """Section 3.2.2: weights of the c maps from layers of c, c / 2 and c neurons. ReLU between and a sigmoid at the end
    are those of the cited cSE. `squeeze` is what turns the maps into a vector and the layer of c neurons."""
    z = torch.relu(squeeze(F))
    return torch.sigmoid(expand(torch.relu(reduce(z))))


def attention_map(F, w):
    """Section 3.2.2: m is the weighted sum of all feature maps: m = Σ_k w_k F_k."""
    return torch.einsum("bk,bkhw->bhw", w, F)[:, None]


def normalized(m, size):
    """Section 3.2.2: m at the size of the image by bicubic interpolation, then m̂ = (m − min(m)) / (max(m) −
    min(m))."""
    m = functional.interpolate(m, size=size, mode="bicubic", align_corners=False)
    low, high = m.amin(dim=(1, 2, 3), keepdim=True), m.amax(dim=(1, 2, 3), keepdim=True)
    return (m - low) / (high - low + 1e-8)


def reconstruction(F, convolutions, norms, output, size, crop=False):
    """Section 3.2.2: three blocks (upsampling by 4, 4 and 2, convolution, normalization, leaky ReLU) and a convolution.

    Upsampling repeats values, and the slope is 0.01. Ten maps times 32 are 320 pixels, not 299: the picture is resized,
    or cut.
    """
    x = F
    for scale, convolution, BN in zip((4, 4, 2), convolutions, norms):
        x = functional.interpolate(x, scale_factor=scale, mode="nearest")
        x = functional.leaky_relu(BN(convolution(x)), 0.01)
    x_hat = output(x)
    if crop:
        top, left = ((have - want) // 2 for have, want in zip(x_hat.shape[2:], size))
        return x_hat[:, :, top : top + size[0], left : left + size[1]]
    return functional.interpolate(x_hat, size=size, mode="bilinear", align_corners=False)


def equation_2(x_hat, x, m_hat, factor="exponential", colors="sum"):
    """Eq. 2, for RC and RD alike: L_R = 1 / (w · h) Σ_ij e^(m̂_ij) (x̂_ij − x_ij)².

    `colors` says how the three channels join, "sum" or "mean". `factor` is "exponential" as printed; "attention" is the
    row "without E" of Table 2, with m̂_ij itself, and "one" the row without attention. The loss is the mean over the
    images of a batch.
    """
    squares = (x_hat - x) ** 2
    squares = squares.sum(dim=1, keepdim=True) if colors == "sum" else squares.mean(dim=1, keepdim=True)
    weight = {"exponential": torch.exp, "attention": lambda m: m, "one": torch.ones_like}[factor](m_hat)
    return (weight * squares).mean()


def classification(F_c, F_d, hidden, tasks):
    """Section 3.2.3: the maps side by side, global average pooling, a layer of 512 neurons (read with ReLU), and the
    output layers."""
    features = torch.relu(hidden(GAP(torch.cat([F_c, F_d], dim=1))))
    return [task(features) for task in tasks]


def equation_3(P, Y):
    """Eq. 3: L_P = Σ_i^T L_P_i, the cross-entropies of the T tasks."""
    return sum(functional.cross_entropy(P_i, Y[:, i]) for i, P_i in enumerate(P))


def equation_4(L_P, L_D, L_RC, L_RD, lambda_=0.8, gamma=0.4):
    """Eq. 4: L = L_P + λ L_D + γ (L_RC + L_RD). Section 4.2 finds λ = 0.8 and γ = 0.4."""
    return L_P + lambda_ * L_D + gamma * (L_RC + L_RD)
