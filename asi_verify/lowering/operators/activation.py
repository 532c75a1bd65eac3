"""Activations."""

from __future__ import annotations

from asi_verify.core.operators import Relu
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY


@REGISTRY.converts("Relu", to="Relu")
def relu(node: OnnxNode, graph: Graph) -> None:
    node.done()
    graph.define(node, graph.add(Relu(), node.value(0)))
