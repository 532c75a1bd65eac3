"""Sums, means, maxima and minima over some axes of a sample.

The axes that stay are moved to the front and the others made one: a pool with a single window.
"""

from __future__ import annotations

import math

import numpy as np

from asi_verify.core.operators import Conv, MaxPool, Reshape, Shape, Transpose
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.elementwise import negated
from asi_verify.lowering.operators.pooling import average
from asi_verify.lowering.operators.selection import axis_of_sample
from asi_verify.lowering.registry import REGISTRY


@REGISTRY.converts("ReduceMean", to="Transpose, Reshape and Conv", limits="axes by name")
def reduce_mean(node: OnnxNode, graph: Graph) -> None:
    rows, after = _rows(node, graph, 18)
    kernel = rows.shape[1:]
    made = average(graph, rows, kernel, (1,) * len(kernel), ((0, 0),) * len(kernel))
    graph.define(node, _shaped(graph, made, after))


@REGISTRY.converts("ReduceSum", to="Transpose, Reshape and Conv", limits="axes by name")
def reduce_sum(node: OnnxNode, graph: Graph) -> None:
    rows, after = _rows(node, graph, 13)
    graph.admit_constant(node, *rows.shape)
    channels, *kernel = rows.shape
    ones = (1,) * len(kernel)
    weight = np.ones((channels, 1, *kernel), dtype=np.float32)
    bias = np.zeros(channels, dtype=np.float32)
    total = Conv(weight, bias, ones, ((0, 0),) * len(kernel), ones, groups=channels)
    graph.define(node, _shaped(graph, graph.add(total, rows), after))


@REGISTRY.converts("ReduceMax", to="Transpose, Reshape and MaxPool", limits="axes by name")
def reduce_max(node: OnnxNode, graph: Graph) -> None:
    rows, after = _rows(node, graph, 18)
    graph.define(node, _shaped(graph, _maximum(graph, rows), after))


@REGISTRY.converts("ReduceMin", to="Scale, Transpose, Reshape and MaxPool", limits="axes by name")
def reduce_min(node: OnnxNode, graph: Graph) -> None:
    rows, after = _rows(node, graph, 18)
    made = negated(graph, _maximum(graph, negated(graph, rows)))
    graph.define(node, _shaped(graph, made, after))


def _maximum(graph: Graph, rows: Value) -> Value:
    """Over all axes but the first."""
    kernel = rows.shape[1:]
    ones = (1,) * len(kernel)
    return graph.add(MaxPool(kernel, ones, ((0, 0),) * len(kernel), ones), rows)


def _shaped(graph: Graph, value: Value, shape: Shape) -> Value:
    return value if value.shape == shape else graph.add(Reshape(shape), value)


def _rows(node: OnnxNode, graph: Graph, axes_are_input: int) -> tuple[Value, Shape]:
    """The value with what is reduced behind the first axis, and the shape of the result."""
    value = node.value(0)
    rank = len(value.shape) + 1
    given = node.take("axes", ()) if node.version < axes_are_input else ()
    axes = tuple(node.integers(1)) if node.has(1) else given
    keep = node.flag("keepdims", default=True)
    node.flag("noop_with_empty_axes", default=False)
    node.done()
    reduced = sorted({axis_of_sample(node, axis, rank) for axis in axes})
    if not reduced or len(reduced) != len(axes):
        node.refuse(f"axes {axes}; axes of the sample are expected, each once")
    stay = [axis for axis in range(rank - 1) if axis not in reduced]
    kept = tuple(value.shape[axis] for axis in stay)
    after = (
        tuple(1 if axis in reduced else extent for axis, extent in enumerate(value.shape))
        if keep
        else kept
    )
    if stay == [0] and 2 <= rank - 1 <= 4:
        return value, after
    order = (*stay, *reduced)
    if order != tuple(range(rank - 1)):
        value = graph.add(Transpose(order), value)
    count = math.prod(kept)
    return graph.add(Reshape((count, math.prod(value.shape) // count)), value), after
