"""Batch normalisation at inference, an element-wise affine map; layer normalisation."""

from __future__ import annotations

import numpy as np

from asi_verify.core.operators import Scale
from asi_verify.core.smooth import LayerNormalization
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY

# Addition, square root and division, each rounded once in float64, the first under the root:
# below 3 units of roundoff of the exact factor, so below 4 of the stored one.
_SLACK = 4 * 2.0**-53

# Runtimes compute x s + (B - mean s) with s = scale / sqrt(variance + epsilon) in binary32. Here it
# is s (x - mean) + B, whose sums say nothing of variance + epsilon, and nothing of mean s where the
# two terms cancel. Between these ends none of the former is subnormal or overflows.
_SMALLEST_SPREAD = 2.0**-126
_LARGEST_SPREAD = 2.0**126
_LARGEST_TERM = 2.0**100


@REGISTRY.converts(
    "BatchNormalization",
    to="Scale",
    limits="inference mode; constant statistics without overflow in float32",
)
def batch_normalization(node: OnnxNode, graph: Graph) -> None:
    epsilon = node.take("epsilon", float(np.float32(1e-5)))
    node.take("momentum", 0.9)
    node.require("training_mode", 0)
    if node.version < 9:
        node.require("spatial", 1)
    node.done()
    value = node.value(0)
    per_channel = (-1,) + (1,) * (len(value.shape) - 1)
    gamma, beta, mean, variance = (node.weights(i).reshape(per_channel) for i in range(1, 5))
    spread = variance.astype(np.float64) + epsilon
    # Written so that a NaN is refused too.
    if not bool(np.all((spread >= _SMALLEST_SPREAD) & (spread <= _LARGEST_SPREAD))):
        node.refuse("variance + epsilon is not a positive normal float32 in every channel")
    factor = gamma.astype(np.float64) / np.sqrt(spread)
    terms = np.abs(factor) * np.maximum(np.abs(mean), 1.0) + np.abs(beta)
    if not bool(np.all(terms <= _LARGEST_TERM)):
        node.refuse(f"its factors and shifts go beyond {_LARGEST_TERM:g} and may overflow")
    centred = graph.add(Scale(np.ones((), dtype=np.float32), -mean), value)
    graph.define(node, graph.add(Scale(factor, beta.astype(np.float64), slack=_SLACK), centred))


@REGISTRY.converts(
    "LayerNormalization",
    to="LayerNormalization",
    since=17,
    limits="constant scale and bias; over axes of the sample",
)
def layer_normalization(node: OnnxNode, graph: Graph) -> None:
    value = node.value(0)
    rank = len(value.shape) + 1
    axis = node.take("axis", -1)
    epsilon = float(node.take("epsilon", float(np.float32(1e-5))))
    node.require("stash_type", 1)
    node.done()
    first = axis % rank if -rank <= axis < rank else 0
    if first == 0:
        node.refuse(f"axis={axis} of a batch of values {value.shape}")
    shape = value.shape[first - 1 :]
    scale, shift = (
        node.weights(position) if node.has(position) else np.zeros(1, dtype=np.float32)
        for position in (1, 2)
    )
    try:
        scale, shift = (np.broadcast_to(array, shape).copy() for array in (scale, shift))
    except ValueError:
        node.refuse(f"scale {scale.shape} and bias {shift.shape} for axes {shape}")
    operator = LayerNormalization(scale, shift, epsilon)
    graph.define(node, graph.add(operator, value))
