"""Activations."""

from __future__ import annotations

from asi_verify.core.operators import Relu
from asi_verify.core.smooth import Erf, Gelu, Tanh
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY


@REGISTRY.converts("Relu", to="Relu")
def relu(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, graph.add(Relu(), node.value(0)))


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
