"""Operators that move numbers without changing them, and constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from asi_verify.core.operators import Concat, Reshape, Transpose
from asi_verify.lowering.graph import Graph, OnnxNode, Value
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
    value = node.value(0)
    target = node.integers(1)
    literal_zeros = node.take("allowzero", 0)
    node.done()
    if not target or (literal_zeros and 0 in target):
        node.refuse(f"the shape {target}")
    batch, rest = target[0], target[1:]
    # 0 copies an extent of the input, axis by axis.
    rest = [
        value.shape[axis] if extent == 0 and axis < len(value.shape) else extent
        for axis, extent in enumerate(rest)
    ]
    count = math.prod(value.shape)
    known = math.prod(extent for extent in rest if extent != -1)
    if rest.count(-1) == 1 and known > 0 and count % known == 0:
        rest[rest.index(-1)] = count // known
    keeps_batch = batch in (0, -1) or (batch == 1 and graph.batch == 1)
    if not keeps_batch or any(extent < 1 for extent in rest) or math.prod(rest) != count:
        node.refuse(f"the shape {target} does not keep the batch axis of a value {value.shape}")
    graph.define(node, graph.add(Reshape(tuple(rest)), value))


@REGISTRY.converts("Transpose", to="Transpose", limits="the batch axis stays first")
def transpose(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    rank = len(value.shape) + 1
    permutation = node.take("perm", tuple(reversed(range(rank))))
    node.done()
    if sorted(permutation) != list(range(rank)) or permutation[0] != 0:
        node.refuse(f"perm={permutation} moves the batch axis or is no permutation")
    graph.define(node, graph.add(Transpose(tuple(axis - 1 for axis in permutation[1:])), value))


@REGISTRY.converts(
    "Concat", to="Concat or nothing", limits="values, no constants; not along the batch axis"
)
def concat(node: OnnxNode, graph: Graph) -> None:
    values = [node.value(position) for position in range(len(node.inputs))]
    axis = node.take("axis", 0)
    node.done()
    rank = len(values[0].shape) + 1
    if not -rank <= axis < rank or axis % rank == 0:
        node.refuse(f"axis={axis} of values with {rank} axes; the batch axis has to stay")
    if len(values) == 1:
        graph.define(node, values[0])
    else:
        graph.define(node, graph.add(Concat(axis % rank - 1, len(values)), *values))


@REGISTRY.converts("Identity", to="nothing")
def identity(node: OnnxNode, graph: Graph) -> None:
    node.done()
    given = node.inputs[0]
    graph.define(node, given if isinstance(given, np.ndarray | Value) else node.value(0))


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
