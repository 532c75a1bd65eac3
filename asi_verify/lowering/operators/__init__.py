"""Converters, one operator family per file; importing this package registers all of them."""

from asi_verify.lowering.operators import (
    activation,
    affine,
    convolution,
    elementwise,
    extents,
    extremes,
    head,
    normalization,
    padding,
    pooling,
    reduction,
    selection,
    shape,
    spelled_gelu,
)

__all__ = [
    "activation",
    "affine",
    "convolution",
    "elementwise",
    "extents",
    "extremes",
    "head",
    "normalization",
    "padding",
    "pooling",
    "reduction",
    "selection",
    "shape",
    "spelled_gelu",
]
