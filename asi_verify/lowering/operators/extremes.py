"""The larger and the smaller of values and constants, number by number."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from asi_verify.core.operators import Add, Relu, Scale
from asi_verify.lowering.folding import is_constant
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.activation import clamped
from asi_verify.lowering.operators.elementwise import alike, for_one_sample, negated
from asi_verify.lowering.registry import REGISTRY

_LIMITS = "at least one value; axes of 1 are repeated between values, constants for one image"
_ONE = np.ones((), dtype=np.float32)
_MINUS_ONE = np.array(-1, dtype=np.float32)


@REGISTRY.converts("Max", to="Clamp, or Relu and Add", limits=_LIMITS)
def maximum(node: OnnxNode, graph: Graph) -> None:
    _extreme(node, graph, largest=True)


@REGISTRY.converts("Min", to="Clamp, or Relu and Add", limits=_LIMITS)
def minimum(node: OnnxNode, graph: Graph) -> None:
    _extreme(node, graph, largest=False)


def _extreme(node: OnnxNode, graph: Graph, *, largest: bool) -> None:
    node.done()
    places = range(len(node.inputs))
    values = [node.value(place) for place in places if not is_constant(node, place)]
    if not values:
        node.refuse("all inputs are constants; at least one must depend on the network's input")

    def of_two(first: Value, second: Value) -> Value:
        return _of_two(graph, *alike(node, graph, first, second), largest=largest)

    value = functools.reduce(of_two, values)
    for place in places:
        if is_constant(node, place):
            constant = for_one_sample(node, node.weights(place), value)
            value = _with_constant(graph, value, constant, largest=largest)
    graph.define(node, value)


def _of_two(graph: Graph, first: Value, second: Value, *, largest: bool) -> Value:
    """``second + relu(first - second)``, or ``second - relu(second - first)``.

    Where the file's runtime only compares, these sums round: what the float32 semantics allow them
    holds the exact result.
    """
    if largest:
        excess = graph.add(Relu(), graph.add(Add(), first, negated(graph, second)))
    else:
        excess = graph.add(Relu(), graph.add(Add(), second, negated(graph, first)))
        excess = negated(graph, excess)
    return graph.add(Add(), second, excess)


def _with_constant(
    graph: Graph, value: Value, constant: npt.NDArray[np.float32], *, largest: bool
) -> Value:
    """A clamp where it is one number, otherwise as for two values."""
    if constant.size == 1:
        end = float(constant.item())
        return clamped(graph, value, *((end, np.inf) if largest else (-np.inf, end)))
    sign = _ONE if largest else _MINUS_ONE
    excess = graph.add(Scale(sign, np.asarray(-sign * constant)), value)
    return graph.add(Scale(sign, constant.copy()), graph.add(Relu(), excess))
