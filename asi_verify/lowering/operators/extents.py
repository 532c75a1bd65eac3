"""Shapes as numbers: what files compute their reshapes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from asi_verify.lowering.folding import is_constant
from asi_verify.lowering.graph import Extents, Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY
from asi_verify.lowering.tensors import read_tensor, refuse_unreadable


@REGISTRY.converts("Shape", to="nothing", limits="the extent of the batch stays open, or is 1")
def shape(node: OnnxNode, graph: Graph) -> None:
    start, end = node.take("start", 0), node.take("end", 2**31)
    node.done()
    if is_constant(node):
        numbers = np.array(node.constant(0).shape, dtype=object)
    else:
        numbers = np.array([graph.batch, *node.value(0).shape], dtype=object)
    graph.define(node, Extents.of(numbers[start:end]))


@REGISTRY.converts("Cast", to="nothing", limits="constants, from integers to int64")
def cast(node: OnnxNode, graph: Graph) -> None:
    target = node.take("to", 0)
    node.done()
    given = node.inputs[0]
    if target != onnx.TensorProto.INT64 or not is_constant(node):
        node.refuse(f"to={target} of a value or to another type; constants to int64 are supported")
    if isinstance(given, Extents):
        graph.define(node, given)
        return
    numbers = node.constant(0)
    if numbers.dtype not in (np.int32, np.int64):
        node.refuse(f"a constant of type {numbers.dtype}; integers are supported")
    graph.admit_constant(node, *numbers.shape)
    graph.define(node, numbers.astype(np.int64))


@REGISTRY.converts("ConstantOfShape", to="nothing", limits="the batch, if any, the first of two")
def constant_of_shape(node: OnnxNode, graph: Graph) -> None:
    tensor: Any = node.take("value", None)
    node.done()
    first, *rest = [*node.extents(0), 1] if node.extents(0) == [] else node.extents(0)
    # Alone, the extent of the batch would later meet another axis.
    if (first is None and not rest) or any(extent is None for extent in rest):
        node.refuse(f"the shape {[first, *rest]}; the batch has to be the first of several extents")
    extents = [1 if extent is None else extent for extent in [first, *rest]]
    number = np.zeros(1, np.float32)
    if isinstance(tensor, onnx.TensorProto):
        refuse_unreadable(tensor)
        number = read_tensor(tensor)
    if number.size != 1:
        node.refuse(f"a value of shape {number.shape}; one number is expected")
    graph.admit_constant(node, *extents)
    graph.define(node, np.full(extents, number.reshape(-1)[0], dtype=number.dtype))
