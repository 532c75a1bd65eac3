"""Operators that take some of the numbers of a value, or repeat them: all become ``Select``."""

from __future__ import annotations

import itertools

import numpy as np

from asi_verify.core.limits import MOST_PLACES
from asi_verify.core.moves import Select
from asi_verify.core.operators import Reshape
from asi_verify.lowering.folding import is_constant, moved
from asi_verify.lowering.graph import Extents, Graph, OnnxNode, Value
from asi_verify.lowering.registry import REGISTRY

_FOR_EVER = 2**31 - 1
"""What exporters write for "to the end"."""


def axis_of_sample(node: OnnxNode, axis: int, rank: int) -> int:
    """An axis of a batch of values as an axis of one sample; the batch axis is refused."""
    if not -rank <= axis < rank or axis % rank == 0:
        node.refuse(f"axis={axis} of values with {rank} axes; the batch axis has to stay")
    return axis % rank - 1


def selected(node: OnnxNode, graph: Graph, value: Value, axis: int, places: range) -> Value:
    """The value at these places, itself if they are all in order."""
    if places == range(value.shape[axis]):
        return value
    if len(places) > MOST_PLACES:
        node.refuse(f"{len(places)} places along an axis; {MOST_PLACES} are supported")
    return graph.add(Select(axis, tuple(places)), value)


@REGISTRY.converts(
    "Gather", to="Select", limits="constant places along one axis, not that of the batch"
)
def gather(node: OnnxNode, graph: Graph) -> None:
    axis = node.take("axis", 0)
    node.done()
    places = node.constant(1)
    if places.dtype not in (np.int32, np.int64) or places.size > MOST_PLACES or not places.size:
        node.refuse(f"places of type {places.dtype} and shape {places.shape}")
    given = node.inputs[0]
    if is_constant(node):
        shape = given.numbers.shape if isinstance(given, Extents) else node.constant(0).shape
        axis = _axis_of_constant(node, axis, len(shape))
        places = _from_zero(node, places, shape[axis])
        after = (*shape[:axis], *places.shape, *shape[axis + 1 :])
        moved(node, graph, lambda a: np.asarray(np.take(a, places, axis)), *after)
        return
    value = node.value(0)
    axis = axis_of_sample(node, axis, len(value.shape) + 1)
    places = _from_zero(node, places, value.shape[axis])
    taken = graph.add(Select(axis, tuple(places.reshape(-1).tolist())), value)
    wanted = (*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])
    graph.define(node, taken if taken.shape == wanted else graph.add(Reshape(wanted), taken))


def _axis_of_constant(node: OnnxNode, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        node.refuse(f"axis={axis} of a constant with {rank} axes")
    return axis % rank


def _from_zero(node: OnnxNode, places: np.ndarray, extent: int) -> np.ndarray:
    """The places without negative ones, which count from the end."""
    places = places.astype(np.int64)
    if places.min() < -extent or places.max() >= extent:
        node.refuse(f"places {places.min()} to {places.max()} of an axis of {extent}")
    return np.where(places < 0, places + extent, places)


@REGISTRY.converts("Slice", to="Select", limits="constant ends; the batch axis is taken whole")
def slice_(node: OnnxNode, graph: Graph) -> None:
    starts: list[int]
    if node.version < 10:
        starts, ends = list(node.take("starts", ())), list(node.take("ends", ()))
        axes = list(node.take("axes", tuple(range(len(starts)))))
        steps = [1] * len(starts)
    else:
        starts, ends = node.integers(1), node.integers(2)
        axes = node.integers(3) if node.has(3) else list(range(len(starts)))
        steps = node.integers(4) if node.has(4) else [1] * len(starts)
    node.done()
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        node.refuse(f"starts {starts}, ends {ends}, axes {axes}, steps {steps}")
    given = node.inputs[0]
    if isinstance(given, Value):
        graph.define(node, _sliced(node, graph, given, (starts, ends, axes, steps)))
        return
    shape = given.numbers.shape if isinstance(given, Extents) else node.constant(0).shape
    along = [range(extent) for extent in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = _axis_of_constant(node, axis, len(shape))
        along[place] = _places(node, start, end, step, shape[place])
    moved(node, graph, lambda a: a[np.ix_(*along)], *map(len, along))


def _places(node: OnnxNode, start: int, end: int, step: int, extent: int) -> range:
    """What a slice takes of an axis: what Python takes, but for backward slices.

    Ends count from behind if they are negative, and are then clamped. A backward slice that starts
    before the first number starts at it in ONNX, and takes nothing in Python. To one that ends "for
    ever" ahead the standard gives nothing and ONNX Runtime everything.
    """
    if step < 0 and end >= _FOR_EVER:
        node.refuse(f"a slice from {start} back to {end}; runtimes differ in what that takes")
    first, last = (n + extent if n < 0 else n for n in (start, end))
    if step > 0:
        return range(min(max(first, 0), extent), min(max(last, 0), extent), step)
    return range(min(max(first, 0), extent - 1), min(max(last, -1), extent - 1), step)


def _sliced(node: OnnxNode, graph: Graph, value: Value, slices: tuple[list[int], ...]) -> Value:
    rank = len(value.shape) + 1
    seen = set()
    for start, end, axis, step in zip(*slices, strict=True):
        if not -rank <= axis < rank or axis % rank in seen:
            node.refuse(f"axis {axis} of values with {rank} axes, or given twice")
        seen.add(axis % rank)
        if axis % rank == 0:
            whole = graph.batch is None and (start, step) == (0, 1) and end >= _FOR_EVER
            if not whole and not (graph.batch == 1 and _places(node, start, end, step, 1)):
                node.refuse(f"images {start} to {end} of a batch; the batch axis has to stay")
            continue
        places = _places(node, start, end, step, value.shape[axis % rank - 1])
        value = selected(node, graph, value, axis % rank - 1, places)
    return value


@REGISTRY.converts("Split", to="Select", limits="values; not along the batch axis")
def split(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    axis = axis_of_sample(node, node.take("axis", 0), len(value.shape) + 1)
    extent, count = value.shape[axis], len(node.proto.output)
    sizes = list(node.take("split", ())) if node.version < 13 else []
    wanted = node.take("num_outputs", count)
    node.done()
    if node.has(1):
        given = node.constant(1)
        sizes = given.reshape(-1).tolist() if given.dtype == np.int64 else []
    elif not sizes:
        # Of equal size; since operator set 18 the last may be smaller.
        size = -(-extent // count) if node.version >= 18 else extent // count
        sizes = [size] * (count - 1) + [extent - size * (count - 1)]
        if node.version < 18 and extent % count:
            node.refuse(f"an axis of {extent} in {count} parts")
    if len(sizes) != count or wanted != count or sum(sizes) != extent or min(sizes) < 1:
        node.refuse(f"parts {sizes[:8]} of an axis of {extent}, {count} outputs")
    if not all(node.proto.output):
        node.refuse("an output without a name")
    graph.define(
        node,
        *(
            selected(node, graph, value, axis, range(end - size, end))
            for end, size in zip(itertools.accumulate(sizes), sizes, strict=True)
        ),
    )


@REGISTRY.converts("Expand", to="Select", limits="a constant shape that keeps the batch axis")
def expand(node: OnnxNode, graph: Graph) -> None:
    node.done()
    target = node.extents(1)
    if is_constant(node):
        _expanded_constant(node, graph, target)
        return
    value = node.value(0)
    rank = len(value.shape) + 1
    if len(target) > rank:
        node.refuse(
            f"the shape {target} for a batch of values {value.shape}; the batch stays first"
        )
    first, *rest = [1] * (rank - len(target)) + target
    if first not in (None, 1, graph.batch):
        node.refuse(f"the shape {target} repeats images")
    for axis, extent in enumerate(rest):
        if extent is None or (extent not in (1, value.shape[axis]) and value.shape[axis] != 1):
            node.refuse(f"the shape {target} for a batch of values {value.shape}")
        elif extent not in (1, value.shape[axis]):
            if not 0 < extent <= MOST_PLACES:
                node.refuse(f"{extent} places along an axis; {MOST_PLACES} are supported")
            value = graph.add(Select(axis, (0,) * extent), value)
    graph.define(node, value)


def _expanded_constant(node: OnnxNode, graph: Graph, target: list[int | None]) -> None:
    if any(extent is None for extent in target[1:]) or (target == [None]):
        node.refuse(f"the shape {target}; the batch has to be the first of several extents")
    wanted = [1 if extent is None else extent for extent in target]
    given = node.constant(0)
    if target[:1] == [None] and given.ndim == len(target) and given.shape[0] != 1:
        node.refuse(f"a constant of shape {given.shape} for a batch {target}")
    try:
        shape = np.broadcast_shapes(given.shape, tuple(wanted))
    except ValueError:
        node.refuse(f"the shape {target} for a constant of shape {given.shape}")
    moved(node, graph, lambda a: np.broadcast_to(a, shape), *shape)


def _axes(node: OnnxNode) -> list[int]:
    """An attribute before operator set 13, an input since."""
    if node.version < 13:
        return list(node.take("axes", ()))
    return node.integers(1) if node.has(1) else []


def _constant_shape(node: OnnxNode) -> tuple[int, ...]:
    given = node.inputs[0]
    return given.numbers.shape if isinstance(given, Extents) else node.constant(0).shape


@REGISTRY.converts("Unsqueeze", to="Reshape", limits="the batch axis stays first")
def unsqueeze(node: OnnxNode, graph: Graph) -> None:
    axes = _axes(node)
    node.done()
    constant = is_constant(node)
    before = _constant_shape(node) if constant else (0, *node.value(0).shape)
    rank = len(before) + len(axes)
    places = {axis % rank for axis in axes if -rank <= axis < rank}
    if not axes or len(places) != len(axes) or (not constant and 0 in places):
        node.refuse(f"axes {axes} of a value that then has {rank}")
    rest = iter(before)
    after = tuple(1 if axis in places else next(rest) for axis in range(rank))
    if constant:
        moved(node, graph, lambda a: np.asarray(a).reshape(after), *after)
    else:
        graph.define(node, graph.add(Reshape(after[1:]), node.value(0)))


@REGISTRY.converts("Squeeze", to="Reshape", limits="the batch axis stays first")
def squeeze(node: OnnxNode, graph: Graph) -> None:
    axes = _axes(node)
    node.done()
    constant = is_constant(node)
    before = _constant_shape(node) if constant else (0, *node.value(0).shape)
    rank = len(before)
    # Without axes a batch of one image would lose its axis.
    chosen = axes or ([a for a, extent in enumerate(before) if extent == 1] if constant else [])
    places = {axis % rank for axis in chosen if -rank <= axis < rank}
    if (
        len(places) != len(chosen)
        or any(before[p] != 1 for p in places)
        or (not chosen and not constant)
    ):
        node.refuse(f"axes {axes} of a value with {rank}; extents of 1 by name are supported")
    after = tuple(extent for axis, extent in enumerate(before) if axis not in places)
    if constant:
        moved(node, graph, lambda a: np.asarray(a).reshape(after), *after)
    else:
        graph.define(node, graph.add(Reshape(after[1:]), node.value(0)))
