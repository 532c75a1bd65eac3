"""Operators that move numbers without changing them, and constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from asi_verify.core.moves import Pad
from asi_verify.core.operators import Concat, Reshape, Scale, Transpose
from asi_verify.lowering.folding import is_constant, joined, moved
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.selection import axis_of_sample
from asi_verify.lowering.registry import REGISTRY
from asi_verify.lowering.tensors import read_tensor


@REGISTRY.converts("Flatten", to="Reshape", limits="axis = 1")
def flatten(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    axis = node.take("axis", 1)
    node.done()
    if axis % (len(value.shape) + 1) != 1:
        node.refuse(f"axis={axis}; only axis=1, which keeps the batch, is supported")
    graph.define(node, graph.add(Reshape((math.prod(value.shape),)), value))


@REGISTRY.converts("Reshape", to="Reshape", limits="a constant shape that keeps the batch axis")
def reshape(node: OnnxNode, graph: Graph) -> None:
    target = node.extents(1)
    literal_zeros = node.flag("allowzero", default=False)
    node.done()
    if not target or (literal_zeros and 0 in target):
        node.refuse(f"the shape {target}")
    if is_constant(node):
        _reshaped_constant(node, graph, target)
        return
    value = node.value(0)
    batch, rest = target[0], target[1:]
    # 0 copies an extent of the input, axis by axis.
    rest = [
        value.shape[axis] if extent == 0 and axis < len(value.shape) else extent
        for axis, extent in enumerate(rest)
    ]
    count = math.prod(value.shape)
    extents = [-2 if extent is None else extent for extent in rest]
    known = math.prod(extent for extent in extents if extent != -1)
    # -1 in front is the batch if the rest leaves nothing else for it.
    if extents.count(-1) == 1 and batch != -1 and known > 0 and count % known == 0:
        extents[extents.index(-1)] = count // known
    keeps_batch = batch in (None, 0, -1) or (batch == 1 and graph.batch == 1)
    if not keeps_batch or any(extent < 1 for extent in extents) or math.prod(extents) != count:
        node.refuse(f"the shape {target} does not keep the batch axis of a value {value.shape}")
    graph.define(node, graph.add(Reshape(tuple(extents)), value))


def _reshaped_constant(node: OnnxNode, graph: Graph, target: list[int | None]) -> None:
    given = node.constant(0)
    wanted = [
        given.shape[axis] if extent == 0 and axis < given.ndim else extent
        for axis, extent in enumerate(target)
    ]
    extents = [extent for extent in wanted if extent is not None]
    known = math.prod(extent for extent in extents if extent != -1)
    if extents.count(-1) == 1 and known > 0:
        extents[extents.index(-1)] = given.size // known
    if len(extents) != len(target) or min(extents) < 0 or math.prod(extents) != given.size:
        node.refuse(f"the shape {target} for a constant of shape {given.shape}")
    moved(node, graph, lambda a: a.reshape(extents), *extents)


@REGISTRY.converts("Transpose", to="Transpose", limits="the batch axis stays first")
def transpose(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    rank = len(value.shape) + 1
    permutation = node.take("perm", tuple(reversed(range(rank))))
    node.done()
    if sorted(permutation) != list(range(rank)) or permutation[0] != 0:
        node.refuse(f"perm={permutation} moves the batch axis or is no permutation")
    graph.define(node, graph.add(Transpose(tuple(axis - 1 for axis in permutation[1:])), value))


@REGISTRY.converts("DepthToSpace", to="Reshape and Transpose")
def depth_to_space(node: OnnxNode, graph: Graph) -> None:
    size, mode = node.take("blocksize", 0), node.take("mode", "DCR")
    node.done()
    value, (channels, height, width) = _of_image(node)
    if size < 1 or channels % size**2 or mode not in ("DCR", "CRD"):
        node.refuse(f"blocksize={size}, mode={mode!r} for a value {value.shape}")
    left = channels // size**2
    # A channel's number counts places in a block first or last.
    split, order = (size, size, left), (2, 3, 0, 4, 1)
    if mode == "CRD":
        split, order = (left, size, size), (0, 3, 1, 4, 2)
    blocks = graph.add(Reshape((*split, height, width)), value)
    turned = graph.add(Transpose(order), blocks)
    graph.define(node, graph.add(Reshape((left, height * size, width * size)), turned))


@REGISTRY.converts("SpaceToDepth", to="Reshape and Transpose")
def space_to_depth(node: OnnxNode, graph: Graph) -> None:
    size = node.take("blocksize", 0)
    node.done()
    value, (channels, height, width) = _of_image(node)
    if size < 1 or height % size or width % size:
        node.refuse(f"blocksize={size} for a value {value.shape}")
    rows, columns = height // size, width // size
    blocks = graph.add(Reshape((channels, rows, size, columns, size)), value)
    turned = graph.add(Transpose((2, 4, 0, 1, 3)), blocks)
    graph.define(node, graph.add(Reshape((channels * size**2, rows, columns)), turned))


def _of_image(node: OnnxNode) -> tuple[Value, tuple[int, int, int]]:
    """The value, and its extents: channels, height and width."""
    value = node.value(0)
    if len(value.shape) != 3:
        node.refuse(f"a value {value.shape}; channels, height and width are expected")
    channels, height, width = value.shape
    return value, (channels, height, width)


@REGISTRY.converts(
    "Concat",
    to="Concat; with constants Pad and Scale too",
    limits="not along the batch axis; constants for one image",
)
def concat(node: OnnxNode, graph: Graph) -> None:
    axis = node.take("axis", 0)
    node.done()
    values = [given for given in node.inputs if isinstance(given, Value)]
    if not values:
        joined(node, graph, axis)
        return
    axis = axis_of_sample(node, axis, len(values[0].shape) + 1)
    parts: list[Value] = []
    ahead: list[npt.NDArray[Any]] = []
    position = 0
    while position < len(node.inputs):
        given = node.inputs[position]
        position += 1
        if not isinstance(given, Value):
            ahead.append(_for_one_image(node, position - 1, values[0]))
            continue
        behind: list[npt.NDArray[Any]] = []
        while position < len(node.inputs) and not isinstance(node.inputs[position], Value):
            behind.append(_for_one_image(node, position, values[0]))
            position += 1
        parts.append(_between_constants(node, graph, given, axis, (ahead, behind)))
        ahead = []
    if len(parts) == 1:
        graph.define(node, parts[0])
    else:
        graph.define(node, graph.add(Concat(axis, len(parts)), *parts))


def _for_one_image(node: OnnxNode, position: int, value: Value) -> npt.NDArray[Any]:
    """A constant that stands beside values; runtimes take it for a batch of one image only."""
    constant = node.weights(position)
    if constant.ndim != len(value.shape) + 1 or constant.shape[0] != 1:
        node.refuse(f"a constant of shape {constant.shape} beside a batch of values {value.shape}")
    return np.asarray(constant[0])


def _between_constants(
    node: OnnxNode,
    graph: Graph,
    value: Value,
    axis: int,
    around: tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]],
) -> Value:
    """Zeros around the value, and constants added to them; to the value itself 0 is added."""
    if not any(around):
        return value
    sizes = [sum(constant.shape[axis] for constant in constants) for constants in around]
    pads = [(0, 0)] * len(value.shape)
    pads[axis] = (sizes[0], sizes[1])
    padded = graph.add(Pad(tuple(pads), (0,) * len(pads)), value)
    graph.admit_constant(node, *padded.shape)
    zeros = np.zeros(value.shape, dtype=np.float32)
    try:
        shift = np.concatenate([*around[0], zeros, *around[1]], axis)
    except ValueError as error:
        node.refuse(f"constants beside a value {value.shape}: {error}")
    return graph.add(Scale(np.ones((), dtype=np.float32), shift), padded)


@REGISTRY.converts("Identity", to="nothing")
def identity(node: OnnxNode, graph: Graph) -> None:
    node.done()
    given = node.inputs[0]
    graph.define(node, node.value(0) if given is None else given)


@REGISTRY.converts("Dropout", to="nothing", limits="inference mode")
def dropout(node: OnnxNode, graph: Graph) -> None:
    node.take("seed", 0)
    node.take("ratio", 0.5)
    node.done()
    if node.has(2) and bool(np.any(node.constant(2))):
        node.refuse("training_mode is on")
    graph.define(node, node.value(0))


@REGISTRY.converts("Constant", to="nothing", limits="a tensor, or a list of numbers")
def constant(node: OnnxNode, graph: Graph) -> None:
    tensor: Any = node.take("value", None)
    floats: Any = node.take("value_floats", None)
    integers: Any = node.take("value_ints", None)
    node.done()
    if isinstance(tensor, onnx.TensorProto):
        graph.define(node, read_tensor(tensor))
    elif floats is not None:
        graph.define(node, np.array(floats, dtype=np.float32))
    elif integers is not None:
        graph.define(node, np.array(integers, dtype=np.int64))
    else:
        node.refuse("neither a tensor nor a list of numbers")
