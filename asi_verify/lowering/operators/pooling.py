"""Pooling: maxima as they are, averages as a convolution of each channel with equal weights.

Where the windows of an average hold different counts of numbers, it is the convolution with ones
and a division by each window's count.
"""

from __future__ import annotations

import math

import numpy as np

from asi_verify.core.limits import MOST_CONSTANTS
from asi_verify.core.operators import Conv, MaxPool, Scale, Shape
from asi_verify.errors import ModelError
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.convolution import explicit_pads
from asi_verify.lowering.registry import REGISTRY

# One rounded division: off by at most one unit of roundoff of the exact weight, so by two of the
# stored one.
_SLACK = 2 * 2.0**-53

Pads = tuple[tuple[int, int], ...]


def average(graph: Graph, value: Value, kernel: Shape, strides: Shape, pads: Pads) -> Value:
    """The mean under each window, padding counted."""
    count = math.prod(kernel)
    channels = value.shape[0]
    if channels * count > MOST_CONSTANTS:
        raise ModelError(
            f"an average over a window {kernel} of {channels} channels; {MOST_CONSTANTS} weights "
            "are supported"
        )
    exact = count & (count - 1) == 0
    # 1/count is a float for powers of two only.
    dtype = np.float32 if exact else np.float64
    return graph.add(
        Conv(
            np.full((channels, 1, *kernel), 1.0 / count, dtype=dtype),
            np.zeros(channels, dtype=dtype),
            strides,
            pads,
            (1,) * len(kernel),
            groups=channels,
            slack=0.0 if exact else _SLACK,
        ),
        value,
    )


def _average_of_what_is_there(
    graph: Graph,
    value: Value,
    kernel: Shape,
    strides: Shape,
    pads: Pads,
) -> Value:
    """The sum under each window, divided by how many numbers of the input lie under it."""
    channels, ones = value.shape[0], (1,) * len(kernel)
    weight = np.ones((channels, 1, *kernel), dtype=np.float32)
    bias = np.zeros(channels, dtype=np.float32)
    total = graph.add(Conv(weight, bias, strides, pads, ones, groups=channels), value)
    counts = np.ones((1,) * len(total.shape))
    for axis, (extent, stride, (before, _)) in enumerate(
        zip(kernel, strides, pads, strict=True), start=1
    ):
        first = np.arange(total.shape[axis]) * stride - before
        along = np.minimum(first + extent, value.shape[axis]) - np.maximum(first, 0)
        counts = counts * along.reshape([-1 if a == axis else 1 for a in range(len(total.shape))])
    return graph.add(Scale(1.0 / counts, np.zeros((), np.float32), slack=_SLACK), total)


def _refuse_larger_than(
    node: OnnxNode, kernel: Shape, value: Value, pads: Shape, dilations: Shape | None = None
) -> None:
    spatial = value.shape[1:]
    if len(kernel) != len(spatial) or not 1 <= len(spatial) <= 3:
        node.refuse(f"a window {kernel} over a value {value.shape}")
    reach = tuple(
        d * (k - 1) + 1 for k, d in zip(kernel, dilations or (1,) * len(kernel), strict=True)
    )
    if any(k < 1 or r > s + p for k, r, s, p in zip(kernel, reach, spatial, pads, strict=True)):
        node.refuse(f"a window {kernel} that does not fit into {value.shape}")


def _window(node: OnnxNode, value: Value) -> tuple[Shape, Shape, Pads, Shape, Pads]:
    """Kernel, strides, pads, dilations, and the pads with what ceil_mode adds behind them.

    With ceil_mode a last window may reach beyond the padded input. One that would begin behind the
    input is ignored by some versions of the operator and by others not, and is refused.
    """
    kernel: Shape = node.take("kernel_shape", ())
    rank = len(kernel)
    strides: Shape = node.take("strides", (1,) * rank)
    dilations: Shape = node.take("dilations", (1,) * rank)
    pads = explicit_pads(node, rank)
    rounds_up = node.flag("ceil_mode", default=False)
    if not len(strides) == len(dilations) == rank or min(strides + dilations, default=0) < 1:
        node.refuse(f"strides {strides} and dilations {dilations} of a window {kernel}")
    if min(map(min, pads)) < 0:
        node.refuse(f"pads {pads}")
    _refuse_larger_than(node, kernel, value, tuple(map(sum, pads)), dilations)
    if not rounds_up:
        return kernel, strides, pads, dilations, pads
    enlarged = []
    for size, extent, stride, (before, after), dilation in zip(
        value.shape[1:], kernel, strides, pads, dilations, strict=True
    ):
        left = size + before + after - dilation * (extent - 1) - 1
        beyond = -left % stride
        if left + beyond - before >= size:
            node.refuse(f"ceil_mode=1 with a window that begins behind the input {value.shape}")
        enlarged.append((before, after + beyond))
    return kernel, strides, pads, dilations, tuple(enlarged)


@REGISTRY.converts(
    "MaxPool",
    to="MaxPool",
    limits="1, 2 or 3 spatial axes; explicit padding; no indices, storage_order = 0",
)
def max_pool(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    kernel, strides, _, dilations, pads = _window(node, value)
    node.require("storage_order", 0)
    node.done()
    graph.define(node, graph.add(MaxPool(kernel, strides, pads, dilations), value))


@REGISTRY.converts("GlobalMaxPool", to="MaxPool", limits="1, 2 or 3 spatial axes")
def global_max_pool(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, _global_max(node, graph, node.value(0)))


def _global_max(node: OnnxNode, graph: Graph, value: Value) -> Value:
    kernel, ones, none = _one_window(node, value)
    return graph.add(MaxPool(kernel, ones, none, ones), value)


def _one_window(node: OnnxNode, value: Value) -> tuple[Shape, Shape, Pads]:
    """A window over all that a channel has, with its strides (or dilations) and pads."""
    kernel = value.shape[1:]
    _refuse_larger_than(node, kernel, value, (0,) * len(kernel))
    return kernel, (1,) * len(kernel), ((0, 0),) * len(kernel)


@REGISTRY.converts(
    "AveragePool",
    to="Conv, or Conv and Scale",
    limits="1, 2 or 3 spatial axes; no dilation; "
    "no window that reaches beyond padding that is counted (ceil_mode = count_include_pad = 1)",
)
def average_pool(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    kernel, strides, given, dilations, pads = _window(node, value)
    includes = node.flag("count_include_pad", default=False)
    node.done()
    if max(dilations) > 1:
        node.refuse(f"dilations={dilations} is not supported, only 1")
    if includes and pads != given:
        node.refuse(
            "ceil_mode=1 with count_include_pad=1: runtimes divide what reaches beyond the padding "
            "by different counts; export with count_include_pad=0"
        )
    if not includes and any(before or after for before, after in pads):
        _refuse_windows_of_padding(node, kernel, pads)
        graph.define(node, _average_of_what_is_there(graph, value, kernel, strides, pads))
    else:
        graph.define(node, average(graph, value, kernel, strides, pads))


def _refuse_windows_of_padding(node: OnnxNode, kernel: Shape, pads: Pads) -> None:
    """An average over no numbers is 0 / 0."""
    if any(max(both) >= extent for extent, both in zip(kernel, pads, strict=True)):
        node.refuse(f"pads {pads} that hold a whole window {kernel}")


@REGISTRY.converts("GlobalAveragePool", to="Conv")
def global_average_pool(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, _global_average(node, graph, node.value(0)))


def _global_average(node: OnnxNode, graph: Graph, value: Value) -> Value:
    return average(graph, value, *_one_window(node, value))
