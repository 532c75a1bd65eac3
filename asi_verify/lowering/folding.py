"""Constants that a file computes out of others and of shapes: computed here, exactly or not at all.

Integers are shapes and places; the extent of the batch axis stays open among them (``Extents``)
unless the file fixes it to 1. A constant that a file repeats for every image holds one image here:
its first extent is 1. Runtimes add and multiply floats in float32, and so do we where that rounds
nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.limits import MOST_AXES
from asi_verify.lowering.graph import Extents, Graph, OnnxNode, Value

__all__ = ["arithmetic", "is_constant", "joined", "moved"]

Array = npt.NDArray[Any]
_INTEGERS: dict[str, Callable[[int, int], int]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    # ONNX's division of integers drops what is behind the point.
    "Div": lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),
}


def is_constant(node: OnnxNode, position: int = 0) -> bool:
    """Whether an input is given and does not depend on the network's input."""
    return node.has(position) and not isinstance(node.inputs[position], Value)


def moved(node: OnnxNode, graph: Graph, move: Callable[[Array], Array], *shape: int) -> None:
    """Define what a move makes of the numbers of input 0, a constant; ``shape`` is the result's."""
    given = node.inputs[0]
    graph.admit_constant(node, *shape)
    if isinstance(given, Extents):
        graph.define(node, Extents.of(move(given.numbers)))
    else:
        graph.define(node, move(node.constant(0)).copy())


def joined(node: OnnxNode, graph: Graph, axis: int) -> None:
    """Define constants one after the other along an axis."""
    opened = any(isinstance(given, Extents) for given in node.inputs)
    parts = [
        given.numbers if isinstance(given, Extents) else node.constant(position)
        for position, given in enumerate(node.inputs)
    ]
    kinds = {part.dtype for part in parts} - {np.dtype(np.object_)}
    if (opened and kinds - {np.dtype(np.int64)}) or len(kinds) > 1:
        node.refuse(f"constants of types {sorted(map(str, kinds))} in one")
    graph.admit_constant(node, sum(part.size for part in parts))
    try:
        made = np.concatenate([part.astype(object) if opened else part for part in parts], axis)
    except ValueError as error:
        node.refuse(f"constants of shapes {[part.shape for part in parts]}: {error}")
    graph.define(node, Extents.of(made) if opened else made)


def arithmetic(node: OnnxNode, graph: Graph) -> None:
    """Define the sum, difference, product or quotient of two constants."""
    first, second = node.constant(0), node.constant(1)
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        node.refuse(f"constants of shapes {first.shape} and {second.shape}")
    graph.admit_constant(node, *shape)
    if first.dtype == second.dtype == np.int64:
        graph.define(node, _integers(node, first, second))
    else:
        graph.define(node, _floats(node, node.weights(0), node.weights(1)))


def _integers(node: OnnxNode, first: Array, second: Array) -> Array:
    numbers = np.broadcast(first.astype(object), second.astype(object))
    if numbers.size > MOST_AXES or (node.proto.op_type == "Div" and bool(np.any(second == 0))):
        node.refuse(f"integers of shapes {first.shape} and {second.shape}, or a division by 0")
    found = [_INTEGERS[node.proto.op_type](a, b) for a, b in numbers]
    if not all(-(2**63) <= number < 2**63 for number in found):
        node.refuse("a result beyond 64 bits")
    return np.array(found, dtype=np.int64).reshape(numbers.shape)


def _floats(node: OnnxNode, first: Array, second: Array) -> Array:
    """In float32, if float64 shows that nothing is rounded.

    A product of two float32 numbers is exact in float64. A sum is if what it differs from its terms
    by is nothing (Knuth's two-sum: the error, exactly).
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    kind = node.proto.op_type
    lost = np.zeros(())
    if kind == "Mul":
        made = a * b
    elif kind in ("Add", "Sub"):
        b = b if kind == "Add" else -b
        made = a + b
        taken = made - a
        lost = (a - (made - taken)) + (b - taken)
    else:
        node.refuse("the quotient of two constants; divide before the file is written")
    with np.errstate(over="ignore"):
        rounded = np.asarray(made).astype(np.float32)
    if bool(np.any(lost != 0)) or not bool(np.all(rounded == made)):
        node.refuse("arithmetic of constants that rounds; compute it before the file is written")
    return rounded
