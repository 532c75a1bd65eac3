"""Activations."""

from __future__ import annotations

import numpy as np

from asi_verify.core.operators import Operator, Relu, Scale
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.smooth import Erf, Gelu, Tanh
from asi_verify.lowering.graph import Graph, OnnxNode, Value
from asi_verify.lowering.operators.elementwise import for_one_sample, product
from asi_verify.lowering.registry import REGISTRY


@REGISTRY.converts("Relu", to="Relu")
def relu(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, graph.add(Relu(), node.value(0)))


@REGISTRY.converts("LeakyRelu", to="LeakyRelu")
def leaky_relu(node: OnnxNode, graph: Graph) -> None:
    slope = np.array(node.take("alpha", float(np.float32(0.01))), dtype=np.float32)
    node.done()
    graph.define(node, graph.add(LeakyRelu(slope), node.value(0)))


@REGISTRY.converts("PRelu", to="LeakyRelu", limits="constant slopes")
def prelu(node: OnnxNode, graph: Graph) -> None:
    node.done()
    value = node.value(0)
    slope = for_one_sample(node, node.weights(1), value)
    graph.define(node, graph.add(LeakyRelu(slope.copy()), value))


@REGISTRY.converts("Abs", to="LeakyRelu")
def absolute(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, graph.add(LeakyRelu(np.array(-1, dtype=np.float32)), node.value(0)))


@REGISTRY.converts("HardSigmoid", to="Scale and Clamp")
def hard_sigmoid(node: OnnxNode, graph: Graph) -> None:
    factor = np.array(node.take("alpha", float(np.float32(0.2))), dtype=np.float32)
    shift = np.array(node.take("beta", 0.5), dtype=np.float32)
    node.done()
    graph.define(node, clamped(graph, graph.add(Scale(factor, shift), node.value(0)), 0, 1))


@REGISTRY.converts("HardSwish", to="Scale, Clamp and MatMul", since=14)
def hard_swish(node: OnnxNode, graph: Graph) -> None:
    node.done()
    value = node.value(0)
    line = graph.add(Scale(np.array(1 / 6), np.array(0.5, dtype=np.float32), slack=_SIXTH), value)
    graph.define(node, product(graph, value, clamped(graph, line, 0, 1)))


_SIXTH = 2.0**-24
"""Relative: runtimes multiply by the float32 that is next to 1/6, or divide by 6."""
_LARGEST = float(np.finfo(np.float32).max)
"""What stands for no end in old files: no float32 is beyond it."""


@REGISTRY.converts("Clip", to="Clamp, Relu or nothing", limits="constant ends, the lower one first")
def clip(node: OnnxNode, graph: Graph) -> None:
    ends = [-_LARGEST, _LARGEST]
    for position, name in enumerate(("min", "max")):
        if node.version < 11:
            ends[position] = node.take(name, ends[position])
        elif node.has(position + 1):
            given = node.weights(position + 1)
            if given.size != 1:
                node.refuse(f"{name} of shape {given.shape}; one number is expected")
            ends[position] = float(given.item())
    node.done()
    lower = -np.inf if ends[0] <= -_LARGEST else ends[0]
    upper = np.inf if ends[1] >= _LARGEST else ends[1]
    graph.define(node, clamped(graph, node.value(0), lower, upper))


def clamped(graph: Graph, value: Value, lower: float, upper: float) -> Value:
    """``min(max(value, lower), upper)``; an infinite end is none."""
    if (lower, upper) == (-np.inf, np.inf):
        return value
    operator: Operator = Relu() if (lower, upper) == (0, np.inf) else Clamp(lower, upper)
    return graph.add(operator, value)


@REGISTRY.converts("Tanh", to="Tanh")
def tanh(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, graph.add(Tanh(), node.value(0)))


@REGISTRY.converts("Erf", to="Erf")
def erf(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, graph.add(Erf(), node.value(0)))


@REGISTRY.converts("Gelu", to="Gelu", since=20)
def gelu(node: OnnxNode, graph: Graph) -> None:
    approximate = node.take("approximate", "none")
    node.done()
    if approximate not in ("none", "tanh"):
        node.refuse(f"approximate={approximate!r}; none and tanh are supported")
    graph.define(node, graph.add(Gelu(approximate == "tanh"), node.value(0)))
