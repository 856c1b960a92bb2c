"""The modules that refine feature maps, written from the papers' equations: what the generators share."""

import torch
from torch import nn


class Resemblance(nn.Module):
    """Eq. 1: the map M = softmax(q k), [B, N, N], rows sum to 1."""

    def __init__(self, channels, reduction):
        super().__init__()
        self.query = nn.Conv2d(channels, channels // reduction, 1)
        self.key = nn.Conv2d(channels, channels // reduction, 1)

    def forward(self, x):
        q = self.query(x).flatten(2).transpose(1, 2)
        k = self.key(x).flatten(2)
        return torch.softmax(q @ k, -1)


class Refinement(nn.Module):
    """x + v M^T, or x + v M as typeset; with gamma, x + gamma * ..."""

    def __init__(self, channels, product, gamma):
        super().__init__()
        self.value = nn.Conv2d(channels, channels, 1)
        self.factor = nn.Parameter(torch.zeros(1)) if gamma else None
        self.literal = product == "literal"

    def forward(self, x, m):
        v = self.value(x).flatten(2)
        found = (v @ m if self.literal else v @ m.transpose(1, 2)).reshape(x.shape)
        return x + (found if self.factor is None else self.factor * found)


class Modality(nn.Module):
    def __init__(self, channels, attention):
        super().__init__()
        self.resemblance = Resemblance(channels, attention["reduction"])
        self.refinement = Refinement(channels, attention["product"], attention["gamma"])


class AsymmetricAttention(nn.Module):
    def __init__(self, clinical, dermoscopic, attention):
        super().__init__()
        self.clinical = Resemblance(clinical, attention["reduction"])
        self.dermoscopic = Refinement(dermoscopic, attention["product"], attention["gamma"])

    def forward(self, clinical, dermoscopic):
        return clinical, self.dermoscopic(dermoscopic, self.clinical(clinical))


class CrossAttention(nn.Module):
    def __init__(self, clinical, dermoscopic, attention, source="cross"):
        super().__init__()
        self.clinical, self.dermoscopic = Modality(clinical, attention), Modality(dermoscopic, attention)
        self.crosses = source == "cross"

    def forward(self, clinical, dermoscopic):
        m_c, m_d = self.clinical.resemblance(clinical), self.dermoscopic.resemblance(dermoscopic)
        for_c, for_d = (m_d, m_c) if self.crosses else (m_c, m_d)
        return self.clinical.refinement(clinical, for_c), self.dermoscopic.refinement(dermoscopic, for_d)


class SharedCrossAttention(nn.Module):
    def __init__(self, channels, _, attention, source):
        super().__init__()
        self.shared = Modality(channels, attention)
        self.crosses = source == "cross"

    def forward(self, clinical, dermoscopic):
        m_c, m_d = self.shared.resemblance(clinical), self.shared.resemblance(dermoscopic)
        for_c, for_d = (m_d, m_c) if self.crosses else (m_c, m_d)
        return self.shared.refinement(clinical, for_c), self.shared.refinement(dermoscopic, for_d)


MODULES = {
    "asymmetric_attention": AsymmetricAttention,
    "bidirectional_attention": CrossAttention,
    "cross_attention": CrossAttention,
    "shared_cross_attention": SharedCrossAttention,
}
