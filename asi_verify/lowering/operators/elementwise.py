"""Element-wise arithmetic: with a constant, or the sum and difference of two values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.bilinear import MatMul
from asi_verify.core.limits import MOST_PLACES
from asi_verify.core.moves import Select
from asi_verify.core.operators import Add, Affine, Reshape, Scale
from asi_verify.lowering.folding import arithmetic
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.spelled_gelu import looks_like_a_gate, spelled_gelu
from asi_verify.lowering.registry import REGISTRY

# One rounded division: off by at most one unit of roundoff of the exact reciprocal, so by two of
# the stored one.
_SLACK = 2 * 2.0**-53
_ONE = np.ones((), dtype=np.float32)
_MINUS_ONE = np.array(-1, dtype=np.float32)
_ZERO = np.zeros((), dtype=np.float32)


def for_one_sample(node: OnnxNode, constant: npt.NDArray[Any], value: Value) -> npt.NDArray[Any]:
    """The constant without the batch axis, which it must not vary along."""
    rank = len(value.shape) + 1
    if constant.ndim > rank or (constant.ndim == rank and constant.shape[0] != 1):
        node.refuse(f"a constant of shape {constant.shape} for a batch of values {value.shape}")
    return np.asarray(constant[0]) if constant.ndim == rank else constant


def alike(node: OnnxNode, graph: Graph, first: Value, second: Value) -> tuple[Value, Value]:
    """Both values under one shape: an axis of one number is repeated as often as the other has."""
    if len(first.shape) != len(second.shape):
        node.refuse(f"values of shapes {first.shape} and {second.shape}")
    for axis, (one, other) in enumerate(zip(first.shape, second.shape, strict=True)):
        if one == 1 < other <= MOST_PLACES:
            first = graph.add(Select(axis, (0,) * other), first)
        elif other == 1 < one <= MOST_PLACES:
            second = graph.add(Select(axis, (0,) * one), second)
        elif one != other:
            node.refuse(f"values of shapes {first.shape} and {second.shape}")
    return first, second


def _operands(node: OnnxNode) -> tuple[Value, npt.NDArray[Any], bool]:
    """The value, the constant, and whether the constant stands first."""
    swapped = not isinstance(node.inputs[0], Value)
    value = node.value(1 if swapped else 0)
    return value, for_one_sample(node, node.weights(0 if swapped else 1), value), swapped


def _both_are_values(node: OnnxNode) -> bool:
    return len(node.inputs) == 2 and all(isinstance(given, Value) for given in node.inputs)


def _both_are_constants(node: OnnxNode) -> bool:
    return not any(isinstance(given, Value) for given in node.inputs)


@REGISTRY.converts("Add", to="Add or Scale", limits="a constant; or two values, axes of 1 repeated")
def add(node: OnnxNode, graph: Graph) -> None:
    node.done()
    if _both_are_constants(node):
        arithmetic(node, graph)
        return
    if _both_are_values(node):
        graph.define(node, graph.add(Add(), *alike(node, graph, node.value(0), node.value(1))))
        return
    value, constant, _ = _operands(node)
    graph.define(node, _shifted(graph, value, constant))


def _shifted(graph: Graph, value: Value, constant: npt.NDArray[Any]) -> Value:
    """The sum; as the bias of a matrix product where it is one number for each of its outputs.

    Runtimes take such a sum into the product's, and may begin with it: each of its roundings then
    weighs the constant as well.
    """
    made = graph.made_by(value) if value.index in graph.products else None
    outputs = math.prod(value.shape[-1:])  # 1 where there are no axes
    for_each_output = constant.size == 1 or constant.size == constant.shape[-1] == outputs
    if made is not None and isinstance(made.operator, Affine) and for_each_output:
        bias = np.broadcast_to(constant.reshape(-1), (outputs,)).copy()
        return graph.add(Affine(made.operator.weight, bias), graph.value(made.inputs[0]))
    return graph.add(Scale(_ONE, constant.copy()), value)


@REGISTRY.converts("Sub", to="Add or Scale", limits="a constant; or two values, axes of 1 repeated")
def sub(node: OnnxNode, graph: Graph) -> None:
    node.done()
    if _both_are_constants(node):
        arithmetic(node, graph)
        return
    if _both_are_values(node):
        first, second = alike(node, graph, node.value(0), node.value(1))
        graph.define(node, graph.add(Add(), first, negated(graph, second)))
        return
    value, constant, swapped = _operands(node)
    operator = Scale(_MINUS_ONE, constant.copy()) if swapped else Scale(_ONE, np.asarray(-constant))
    graph.define(node, graph.add(operator, value))


@REGISTRY.converts("Neg", to="Scale")
def neg(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, negated(graph, node.value(0)))


def negated(graph: Graph, value: Value) -> Value:
    """The value with the other sign, which rounds nothing."""
    return graph.add(Scale(_MINUS_ONE, _ZERO), value)


@REGISTRY.converts(
    "Mul",
    to="Scale or MatMul",
    limits="a constant; or two values, axes of 1 repeated; the end of a spelled-out GELU",
)
def mul(node: OnnxNode, graph: Graph) -> None:
    node.done()
    if _both_are_constants(node):
        arithmetic(node, graph)
        return
    if _both_are_values(node):
        found = spelled_gelu(graph, node.value(0), node.value(1))
        if found is None:
            graph.define(node, _product_that_is_no_gelu(node, graph))
        else:
            value, gelu, factor = found
            made = graph.add(gelu, value)
            scale = Scale(np.array(float(factor), dtype=np.float32), _ZERO)
            graph.define(node, made if factor == 1 else graph.add(scale, made))
        return
    value, constant, _ = _operands(node)
    graph.define(node, graph.add(Scale(constant.copy(), _ZERO), value))


def _product_that_is_no_gelu(node: OnnxNode, graph: Graph) -> Value:
    first, second = node.value(0), node.value(1)
    if looks_like_a_gate(graph, first) or looks_like_a_gate(graph, second):
        node.refuse("the product of two values is almost a GELU, x (1 + erf(x / sqrt(2)))")
    return product(graph, *alike(node, graph, first, second))


def product(graph: Graph, first: Value, second: Value) -> Value:
    """Of two values of one shape, number by number: as matrices of one number."""
    numbers = (math.prod(first.shape), 1, 1)
    factors = (graph.add(Reshape(numbers), value) for value in (first, second))
    return graph.add(Reshape(first.shape), graph.add(MatMul(), *factors))


@REGISTRY.converts(
    "Div", to="Scale", limits="the divisor a constant of normal numbers, none of them 0"
)
def div(node: OnnxNode, graph: Graph) -> None:
    node.done()
    if _both_are_constants(node):
        arithmetic(node, graph)
        return
    value, constant, swapped = _operands(node)
    # A subnormal divisor may be taken for zero, which no bound on rounding covers.
    if swapped or not bool(np.all(np.abs(constant) >= np.finfo(np.float32).tiny)):
        node.refuse("only division by a constant is supported, without zeros or subnormal numbers")
    # Arithmetic on an array without axes makes a number, which is no array.
    reciprocal = np.asarray(1.0 / constant.astype(np.float64))
    graph.define(node, graph.add(Scale(reciprocal, _ZERO, slack=_SLACK), value))
