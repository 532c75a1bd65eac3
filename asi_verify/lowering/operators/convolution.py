"""Convolutions in one, two and three spatial dimensions."""

from __future__ import annotations

import numpy as np

from asi_verify.core.operators import Conv, Shape
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY


def explicit_pads(node: OnnxNode, rank: int) -> tuple[tuple[int, int], ...]:
    """The padding of a convolution or pool as ``(before, after)`` per spatial axis."""
    automatic = node.take("auto_pad", "NOTSET")
    pads = node.take("pads", (0,) * (2 * rank))
    if automatic not in ("NOTSET", "VALID"):
        node.refuse(f"auto_pad={automatic!r}; export with explicit pads")
    if automatic == "VALID" and any(pads):
        node.refuse("auto_pad='VALID' with pads")
    if len(pads) != 2 * rank:
        node.refuse(f"{len(pads)} pads for {rank} spatial axes")
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


@REGISTRY.converts(
    "Conv", to="Conv", limits="constant kernel; 1, 2 or 3 spatial axes; explicit zero padding"
)
def conv(node: OnnxNode, graph: Graph) -> None:
    weight = node.weights(1)
    rank = weight.ndim - 2
    if not 1 <= rank <= 3:
        node.refuse(f"a kernel of shape {weight.shape}; 1 to 3 spatial axes are supported")
    bias = node.weights(2) if node.has(2) else np.zeros(weight.shape[0], dtype=np.float32)
    pads = explicit_pads(node, rank)
    strides: Shape = node.take("strides", (1,) * rank)
    dilations: Shape = node.take("dilations", (1,) * rank)
    groups = node.take("group", 1)
    kernel: Shape = node.take("kernel_shape", tuple(weight.shape[2:]))
    if kernel != tuple(weight.shape[2:]):
        node.refuse(f"kernel_shape {kernel} for a kernel of shape {weight.shape}")
    node.done()
    operator = Conv(weight.copy(), bias.copy(), strides, pads, dilations, groups)
    graph.define(node, graph.add(operator, node.value(0)))
