"""Goldens of AMFAM and its pieces: Eqs. 1 to 4 of Wang et al. 2022 and section 3.2, with formula-filled weights; the
whole stands on torchvision's ResNet-18.

Run: `python generate.py` (torch, torchvision, numpy). The equations are in `../../equations`.
"""

import json
import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "equations")]
import amfam
from parameters import Parameters, loss_weights, numbers, sampled
from two_images import Backbone, OfEquations, versions

STRENGTH = 0.7
CLASSES = [5, 3]
HIDDEN, CHANNELS = 16, 512
SIZE, TRAINING_SIZE = (96, 128), (75, 75)
LABELS = [[4, 0], [0, 1], [1, 2], [2, 1]]


def number(tensor):
    return float(f"{tensor.item():.9g}")


def discriminator(p, prefix, features, hidden):
    """Section 3.2.1 with its weights."""
    layers = p.linear(f"{prefix}hidden", features, hidden), p.linear(f"{prefix}output", hidden, 2)
    return lambda f: amfam.discriminator(f, *layers)


def attention_map(p, prefix, c, side=None):
    """m̂ of maps and a size. What turns maps into a vector is pooling and a layer of c neurons, or a convolution over
    all of each map of `side` by `side`."""
    if side is None:
        layer = p.linear(f"{prefix}pooled", c, c)
        squeeze = lambda F: layer(amfam.GAP(F))
    else:
        convolution = p.convolution(f"{prefix}depthwise", c, c, side, groups=c, padding=0)
        squeeze = lambda F: convolution(F).flatten(1)
    reduce, expand = p.linear(f"{prefix}reduce", c, c // 2), p.linear(f"{prefix}expand", c // 2, c)

    def m_hat(F, size):
        return amfam.normalized(amfam.attention_map(F, amfam.cSE(F, squeeze, reduce, expand)), size)

    return m_hat


def reconstruction(p, prefix, c, crop=False):
    """RC or RD with its weights: x̂ of maps and a size."""
    sizes = [(c, 128), (128, 128), (128, 64)]
    convolutions = [p.convolution(f"{prefix}convolutions.{i}", *size, 3) for i, size in enumerate(sizes)]
    norms = [p.BN(f"{prefix}norms.{i}", outputs) for i, (_, outputs) in enumerate(sizes)]
    output = p.convolution(f"{prefix}output", 64, 3, 3)
    return lambda F, size: amfam.reconstruction(F, convolutions, norms, output, size, crop)


def training():
    p = Parameters()
    p.training = True
    return p


def leaf(name, *shape):
    return numbers(name, *shape).requires_grad_()


def golden_of_discriminator():
    p = training()
    D = discriminator(p, "", 24, 8)
    f_c, f_d = leaf("clinical", 3, 24), leaf("dermoscopic", 2, 24)
    reversed_c, reversed_d = (amfam.GradientReversal.apply(f, STRENGTH) for f in (f_c, f_d))
    L_D = amfam.equation_1(D(reversed_c), D(reversed_d))
    L_D.backward()
    return {
        "strength": STRENGTH,
        "logits": sampled(D(f_c)),
        "loss": number(L_D),
        "clinical_gradient": sampled(f_c.grad),
        "dermoscopic_gradient": sampled(f_d.grad),
        "gradient_norms": p.gradient_norms(),
    }


def golden_of_attention(side):
    p, F = training(), leaf("maps", 2, 6, 4, 4)
    m_hat = attention_map(p, "", 6, side)(F, (9, 13))
    (m_hat * loss_weights("loss", m_hat.shape)).sum().backward()
    return {
        "side": side,
        "output": sampled(m_hat),
        "gradient": sampled(F.grad),
        "gradient_norms": p.gradient_norms(),
    }


def golden_of_reconstruction(crop):
    p, F = training(), leaf("maps", 2, 5, 3, 2)
    x_hat = reconstruction(p, "", 5, crop)(F, (75, 60))
    (x_hat * loss_weights("loss", x_hat.shape)).sum().backward()
    return {
        "crop": crop,
        "output": sampled(x_hat, 97),
        "gradient": sampled(F.grad),
        "gradient_norms": p.gradient_norms(),
    }


def golden_of_loss(factor, colors, detached):
    """The gradient of Eq. 2 reaches the maps through the reconstruction and, unless detached, through the attention
    map."""
    attention, decoder = training(), training()
    F, x = leaf("maps", 2, 5, 3, 2), numbers("image", 2, 3, 60, 44)
    m_hat = attention_map(attention, "", 5)(F, (60, 44))
    x_hat = reconstruction(decoder, "", 5)(F, (60, 44))
    L_R = amfam.equation_2(x_hat, x, m_hat.detach() if detached else m_hat, factor, colors)
    L_R.backward()
    return {
        "factor": factor,
        "colors": colors,
        "detached": detached,
        "loss": number(L_R),
        "gradient": sampled(F.grad),
        "attention_norms": attention.gradient_norms(),
        "decoder_norms": decoder.gradient_norms(),
    }


class AMFAM(OfEquations):
    """Section 3.2: G is one network for both modalities or one for each; all the rest is apart but for the
    discriminator."""

    def __init__(self, shared, joined):
        super().__init__()
        p, self.joined = self.p, joined
        self.backbones = torch.nn.ModuleList(Backbone("resnet18") for _ in range(1 if shared else 2))
        for backbone, name in zip(self.backbones, ("clinical", "dermoscopic")):
            backbone.fill(name)
        hidden = p.linear("hidden.0", 2 * CHANNELS, HIDDEN)
        tasks = [p.linear(f"tasks.{t}", HIDDEN, classes) for t, classes in enumerate(CLASSES)]
        self.C = lambda F_c, F_d: amfam.classification(F_c, F_d, hidden, tasks)
        self.D = discriminator(p, "discriminator.", CHANNELS, 512)
        self.m = [attention_map(p, f"attention.{modality}.", CHANNELS) for modality in range(2)]
        self.R = [reconstruction(p, f"decoders.{modality}.", CHANNELS) for modality in range(2)]

    def G(self, images):
        """F^c and F^d; one batch normalization for both modalities at once if these are joined."""
        if self.joined:
            return self.map_of(self.backbones[0], torch.cat(images)).chunk(2)
        return [self.map_of(self.backbones[min(m, len(self.backbones) - 1)], x) for m, x in enumerate(images)]

    @staticmethod
    def map_of(backbone, x):
        for stage in range(4):
            x = backbone.stage(stage, x)
        return x


def pair(batch, size):
    return [numbers(name, batch, 3, *size) for name in ("clinical", "dermoscopic")]


def golden_of_network(shared, joined, factor, detached, colors, strength):
    model = AMFAM(shared, joined)
    model.double().eval()
    logits = torch.cat(model.C(*model.G(pair(1, SIZE))), dim=1)

    model.train()
    images = pair(len(LABELS), TRAINING_SIZE)
    F = model.G(images)
    L_P = amfam.equation_3(model.C(*F), torch.tensor(LABELS))
    L_D = amfam.equation_1(*(model.D(amfam.GradientReversal.apply(amfam.GAP(X), strength)) for X in F))
    m_hats = [m(X, TRAINING_SIZE) for m, X in zip(model.m, F)]
    m_hats = [m_hat.detach() for m_hat in m_hats] if detached else m_hats
    x_hats = [R(X, TRAINING_SIZE) for R, X in zip(model.R, F)]
    L_RC, L_RD = (amfam.equation_2(x_hat, x, m, factor, colors) for x_hat, x, m in zip(x_hats, images, m_hats))
    L = amfam.equation_4(L_P, L_D, L_RC, L_RD)
    L.backward()

    norms = model.p.gradient_norms(lambda name: ".".join(name.split(".")[:2]))
    for index, backbone in enumerate(model.backbones):
        squares = [weight.grad.square().sum() for weight in backbone.parameters() if weight.grad is not None]
        norms[f"backbones.{index}"] = number(sum(squares) ** 0.5)
    running = [buffer for name, buffer in model.named_buffers() if name.endswith("running_mean")]
    return {
        "shared": shared,
        "batches": "joined" if joined else "separate",
        "factor": factor,
        "detached": detached,
        "colors": colors,
        "strength": strength,
        "logits": sampled(logits),
        "auxiliary": {
            "modality": number(L_D),
            "reconstruction_clinical": number(L_RC),
            "reconstruction_dermoscopic": number(L_RD),
        },
        "loss": number(L),
        "gradient_norms": norms,
        "running_mean_norm": number(sum(buffer.square().sum() for buffer in running) ** 0.5),
    }


golden = {
    "generator": "tests/golden/networks/amfam/generate.py",
    "versions": versions(),
    "discriminator": golden_of_discriminator(),
    "attention": [golden_of_attention(None), golden_of_attention(4)],
    "decoders": [golden_of_reconstruction(False), golden_of_reconstruction(True)],
    "losses": [
        golden_of_loss("one", "sum", False),
        golden_of_loss("attention", "mean", False),
        golden_of_loss("exponential", "sum", False),
        golden_of_loss("exponential", "sum", True),
    ],
    "classes": CLASSES,
    "hidden": HIDDEN,
    "size": SIZE,
    "training_size": TRAINING_SIZE,
    "labels": LABELS,
    "networks": [
        golden_of_network(True, False, "exponential", False, "sum", 1.0),
        golden_of_network(False, False, "attention", True, "mean", 0.5),
        golden_of_network(True, True, "exponential", False, "sum", 1.0),
    ],
}
text = json.dumps(golden, separators=(",", ":"))
for part in ("discriminator", "attention", "decoders", "losses", "classes", "networks"):
    text = text.replace(f'"{part}":', f'\n"{part}":', 1)
(HERE / "golden.json").write_text(text + "\n")
for network in golden["networks"]:
    print({key: value for key, value in network.items() if key != "logits"})
