"""Average pooling, as a convolution of each channel with equal weights."""

from __future__ import annotations

import math

import numpy as np

from asi_verify.core.limits import MOST_CONSTANTS
from asi_verify.core.operators import Conv, Reshape, Shape
from asi_verify.errors import ModelError
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.convolution import explicit_pads
from asi_verify.lowering.registry import REGISTRY

# One rounded division: off by at most one unit of roundoff of the exact weight, so by two of the
# stored one.
_SLACK = 2 * 2.0**-53


def _average(
    graph: Graph, value: Value, kernel: Shape, strides: Shape, pads: tuple[tuple[int, int], ...]
) -> Value:
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


def _refuse_larger_than(node: OnnxNode, kernel: Shape, value: Value, pads: Shape) -> None:
    spatial = value.shape[1:]
    if len(kernel) != len(spatial) or not 1 <= len(spatial) <= 3:
        node.refuse(f"a window {kernel} over a value {value.shape}")
    if any(k < 1 or k > s + p for k, s, p in zip(kernel, spatial, pads, strict=True)):
        node.refuse(f"a window {kernel} that does not fit into {value.shape}")


@REGISTRY.converts(
    "AveragePool",
    to="Conv",
    limits="ceil_mode = 0; no dilation; padding only with count_include_pad = 1",
)
def average_pool(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    kernel: Shape = node.take("kernel_shape", ())
    rank = len(kernel)
    strides: Shape = node.take("strides", (1,) * rank)
    pads = explicit_pads(node, rank)
    includes = node.take("count_include_pad", 0)
    node.require("ceil_mode", 0)
    node.require("dilations", (1,) * rank)
    node.done()
    if not includes and any(before or after for before, after in pads):
        node.refuse("count_include_pad=0 with padding, whose divisor differs at the border")
    _refuse_larger_than(node, kernel, value, tuple(map(sum, pads)))
    graph.define(node, _average(graph, value, kernel, strides, pads))


@REGISTRY.converts("GlobalAveragePool", to="Conv")
def global_average_pool(node: OnnxNode, graph: Graph) -> None:
    node.done()
    value = node.value(0)
    kernel = value.shape[1:]
    _refuse_larger_than(node, kernel, value, (0,) * len(kernel))
    ones, none = (1,) * len(kernel), ((0, 0),) * len(kernel)
    graph.define(node, _average(graph, value, kernel, ones, none))


@REGISTRY.converts("ReduceMean", to="Conv and Reshape", limits="over all spatial axes")
def reduce_mean(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    rank = len(value.shape) + 1
    axes = tuple(node.integers(1)) if node.has(1) else node.take("axes", ())
    keep = node.take("keepdims", 1)
    node.take("noop_with_empty_axes", 0)
    node.done()
    spatial = tuple(range(2, rank))
    if not spatial or tuple(sorted(axis % rank for axis in axes)) != spatial:
        node.refuse(f"axes {axes}; only the mean over all spatial axes is supported")
    kernel = value.shape[1:]
    _refuse_larger_than(node, kernel, value, (0,) * len(kernel))
    pooled = _average(graph, value, kernel, (1,) * len(kernel), ((0, 0),) * len(kernel))
    graph.define(node, pooled if keep else graph.add(Reshape(value.shape[:1]), pooled))
