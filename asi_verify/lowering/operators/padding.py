"""Padding: with a constant by ``Pad``, with numbers of the value itself by ``Select``."""

from __future__ import annotations

import numpy as np

from asi_verify.core.limits import MOST_PLACES
from asi_verify.core.moves import Pad, Select
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.selection import axis_of_sample, selected
from asi_verify.lowering.registry import REGISTRY


@REGISTRY.converts(
    "Pad",
    to="Pad or Select",
    limits="constant pads and fill; constant, edge or reflect; not along the batch axis",
)
def pad(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    rank = len(value.shape) + 1
    mode = node.take("mode", "constant")
    if node.version < 11:
        given = list(node.take("pads", ()))
        fill = np.float32(node.take("value", 0.0))
    else:
        numbers = node.constant(1)
        given = numbers.reshape(-1).tolist() if numbers.dtype == np.int64 else []
        fill = node.weights(2).reshape(-1)[0] if node.has(2) else np.float32(0)
    axes = node.integers(3) if node.has(3) else list(range(rank))
    node.done()
    if len(given) != 2 * len(axes) or len({axis % rank for axis in axes}) != len(axes):
        node.refuse(f"{len(given)} pads for the axes {axes}, each of which is to be given once")
    pads = [(0, 0)] * (rank - 1)
    for axis, before, after in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
        if (before, after) != (0, 0):
            pads[axis_of_sample(node, axis, rank)] = (int(before), int(after))
    if mode == "constant":
        graph.define(node, _surrounded(node, graph, value, pads, float(fill)))
    elif mode in ("edge", "reflect"):
        graph.define(node, _continued(node, graph, value, pads, mode))
    else:
        node.refuse(f"mode={mode!r}; constant, edge and reflect are supported")


def _surrounded(
    node: OnnxNode, graph: Graph, value: Value, pads: list[tuple[int, int]], fill: float
) -> Value:
    """Negative pads take numbers away."""
    for axis, (before, after) in enumerate(pads):
        places = range(max(-before, 0), value.shape[axis] - max(-after, 0))
        if not places:
            node.refuse(f"pads {pads} that take all of a value {value.shape} away")
        value = selected(node, graph, value, axis, places)
    added = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    if not any(map(any, added)):
        return value
    return graph.add(Pad(added, (0,) * len(added), fill), value)


def _continued(
    node: OnnxNode, graph: Graph, value: Value, pads: list[tuple[int, int]], mode: str
) -> Value:
    for axis, (before, after) in enumerate(pads):
        last = value.shape[axis] - 1
        most = MOST_PLACES - last if mode == "edge" else last
        if not 0 <= before <= most or not 0 <= after <= most or before + after > MOST_PLACES:
            node.refuse(f"pads {pads} of a value {value.shape} in mode {mode}")
        along = np.arange(-before, last + 1 + after)
        # Reflected at either end; within one extent, as was checked.
        along = np.clip(along, 0, last) if mode == "edge" else last - np.abs(last - np.abs(along))
        if before or after:
            value = graph.add(Select(axis, tuple(along.tolist())), value)
    return value
