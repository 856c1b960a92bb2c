"""The attention blocks between maps: the equations of AMMFM and PEMM with named weights, as functions of the two maps.

Each entry of `MODULES` makes a block of weights `p`, whose names begin with `prefix`, for maps of so many channels.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "equations"))
import ammfm
import pemm


def qk(p, name, channels, reduction):
    """The convolutions of queries and keys, which keep C / `reduction` of C channels: so the published counts of
    parameters say."""
    return [p.convolution(f"{name}.{part}", channels, channels // reduction) for part in ("query", "key")]


def v(p, name, channels):
    return p.convolution(f"{name}.value", channels, channels)


def gamma(p, name, wanted):
    """A learnt factor of what attention adds, if the block has one."""
    return p.leaf(f"{name}.factor", 1) if wanted else 1.0


def qkv(p, name, channels, reduction):
    return [*qk(p, f"{name}.resemblance", channels, reduction), v(p, f"{name}.refinement", channels)]


def asymmetric_attention(p, prefix, C_channels, D_channels, attention):
    q, k = qk(p, f"{prefix}clinical", C_channels, attention["reduction"])
    of_D = v(p, f"{prefix}dermoscopic", D_channels)
    reading = {"product": attention["product"], "gamma": gamma(p, f"{prefix}dermoscopic", attention["gamma"])}
    return lambda C, D: (C, ammfm.AAB(C, D, q, k, of_D, **reading))


def bidirectional_attention(p, prefix, C_channels, D_channels, attention):
    names = [(f"{prefix}clinical", C_channels), (f"{prefix}dermoscopic", D_channels)]
    convolutions = [qkv(p, name, channels, attention["reduction"]) for name, channels in names]
    gammas = [gamma(p, f"{name}.refinement", attention["gamma"]) for name, _ in names]
    readings = [{"product": attention["product"], "gamma": factor} for factor in gammas]
    return lambda C, D: ammfm.BAB(C, D, *convolutions, *readings)


def cross_attention(p, prefix, C_channels, D_channels, source, attention):
    names = [(f"{prefix}clinical", C_channels), (f"{prefix}dermoscopic", D_channels)]
    of_C, of_D = (qkv(p, name, channels, attention["reduction"]) for name, channels in names)
    gammas = [gamma(p, f"{name}.refinement", attention["gamma"]) for name, _ in names]
    return lambda C, D: pemm.CA(C, D, of_C, of_D, source, attention["product"], gammas)


def shared_cross_attention(p, prefix, C_channels, D_channels, source, attention):
    assert C_channels == D_channels
    shared = qkv(p, f"{prefix}shared", C_channels, attention["reduction"])
    factor = gamma(p, f"{prefix}shared.refinement", attention["gamma"])
    return lambda C, D: pemm.SCA(C, D, shared, source, attention["product"], factor)


BLOCKS = (asymmetric_attention, bidirectional_attention, cross_attention, shared_cross_attention)
MODULES = {make.__name__: make for make in BLOCKS}
