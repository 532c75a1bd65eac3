"""Convolutions in one, two and three spatial dimensions."""

from __future__ import annotations

import numpy as np

from asi_verify.core.moves import Pad
from asi_verify.core.operators import Conv, Shape
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.operators.selection import selected
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


@REGISTRY.converts(
    "ConvTranspose",
    to="Pad and Conv",
    limits="constant kernel; 1, 2 or 3 spatial axes; explicit pads, no output_shape",
)
def conv_transpose(node: OnnxNode, graph: Graph) -> None:
    """A convolution with the kernel turned around, of the input with zeros between its numbers.

    An output is the same sum of products, and of products with those zeros: what a runtime computes
    is one of the trees of it.
    """
    value, weight = node.value(0), node.weights(1)
    rank = weight.ndim - 2
    if not 1 <= rank <= 3 or len(value.shape) != rank + 1:
        node.refuse(f"a kernel of shape {weight.shape} for a value {value.shape}")
    pads = explicit_pads(node, rank)
    strides: Shape = node.take("strides", (1,) * rank)
    dilations: Shape = node.take("dilations", (1,) * rank)
    added: Shape = node.take("output_padding", (0,) * rank)
    groups = node.take("group", 1)
    kernel: Shape = node.take("kernel_shape", tuple(weight.shape[2:]))
    node.done()
    if (
        kernel != tuple(weight.shape[2:])
        or not len(strides) == len(dilations) == len(added) == rank
        or min(strides + dilations) < 1
        or any(not 0 <= a < max(s, d) for a, s, d in zip(added, strides, dilations, strict=True))
        or groups < 1
        or weight.shape[0] % groups
        or weight.shape[0] != value.shape[0]
    ):
        node.refuse(
            f"kernel_shape {kernel}, strides {strides}, dilations {dilations}, output_padding "
            f"{added}, {groups} groups for a kernel of shape {weight.shape} and {value.shape}"
        )
    bias = node.weights(2) if node.has(2) else np.zeros(weight.shape[1] * groups, np.float32)
    if any(stride > 1 for stride in strides):
        between = (0, *(stride - 1 for stride in strides))
        value = graph.add(Pad(((0, 0),) * (rank + 1), between), value)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    margins = [
        (r - before, r - after + a)
        for r, (before, after), a in zip(reach, pads, added, strict=True)
    ]
    for axis, (before, after) in enumerate(margins, start=1):
        places = range(max(-before, 0), value.shape[axis] - max(-after, 0))
        if not places:
            node.refuse(f"pads {pads} that take all of a value {value.shape} away")
        value = selected(node, graph, value, axis, places)
    # (in, out / groups, kernel) to (out, in / groups, kernel), group by group.
    parts = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    turned = np.flip(parts, tuple(range(3, 3 + rank))).reshape(-1, *parts.shape[2:])
    around = tuple((max(before, 0), max(after, 0)) for before, after in margins)
    is_identity = turned.shape[1:] == (1,) * (rank + 1) and len(turned) == groups
    if is_identity and not any(map(any, around)) and np.all(turned == 1) and not bias.any():
        graph.define(node, value)
        return
    operator = Conv(turned.copy(), bias.copy(), (1,) * rank, around, dilations, groups)
    graph.define(node, graph.add(operator, value))
