"""Fully connected layers: Gemm and MatMul with a constant matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.core.bilinear import MatMul
from asi_verify.core.operators import Affine, Transpose
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.registry import REGISTRY


@REGISTRY.converts(
    "Gemm", to="Affine", limits="constant B and C; alpha = beta = 1; transA = 0; vectors only"
)
def gemm(node: OnnxNode, graph: Graph) -> None:
    node.require("alpha", 1.0)
    node.require("beta", 1.0)
    node.require("transA", 0)
    weight = node.weights(1)
    if not node.flag("transB", default=False):
        weight = weight.T
    node.done()
    if len(node.value(0).shape) != 1:
        node.refuse(f"a batch of values {node.value(0).shape}; vectors are supported")
    bias = node.weights(2) if node.has(2) else np.zeros(1, dtype=np.float32)
    if bias.size not in (1, weight.shape[0]) or bias.shape[-1:] not in ((), (bias.size,)):
        node.refuse(f"C of shape {bias.shape} for {weight.shape[0]} outputs")
    bias = np.broadcast_to(bias.reshape(-1), weight.shape[:1])
    graph.define(node, graph.add(Affine(weight.copy(), bias.copy()), node.value(0)))


@REGISTRY.converts(
    "MatMul",
    to="Affine or MatMul",
    limits="one factor a constant matrix; or two values, matrices of each image",
)
def matmul(node: OnnxNode, graph: Graph) -> None:
    if all(isinstance(given, Value) for given in node.inputs):
        node.done()
        first, second = node.value(0), node.value(1)
        if min(len(first.shape), len(second.shape)) < 2:
            node.refuse(f"batches of {first.shape} and {second.shape}; matrices are supported")
        graph.define(node, graph.add(MatMul(), first, second))
        return
    swapped = not isinstance(node.inputs[0], Value)
    weight = node.weights(0 if swapped else 1)
    if weight.ndim != 2:
        node.refuse(f"a constant of shape {weight.shape}; a matrix is supported")
    node.done()
    if swapped:
        graph.define(node, _from_the_left(node, graph, weight))
        return
    bias = np.zeros(weight.shape[1], dtype=np.float32)
    product = graph.add(Affine(weight.T.copy(), bias), node.value(0))
    graph.products.add(product.index)
    graph.define(node, product)


def _from_the_left(node: OnnxNode, graph: Graph, weight: npt.NDArray[np.float32]) -> Value:
    """``c x = (x^T c^T)^T`` for the matrices of a value."""
    value = node.value(1)
    rank = len(value.shape)
    if rank < 2:
        node.refuse(f"a batch of values {value.shape} behind a constant; matrices are supported")
    turn = Transpose((*range(rank - 2), rank - 1, rank - 2))
    bias = np.zeros(weight.shape[0], dtype=np.float32)
    product = graph.add(Affine(weight.copy(), bias), graph.add(turn, value))
    return graph.add(turn, product)
