"""Trailing softmax and sigmoid, stripped to logits and named."""

from __future__ import annotations

from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY


def _strip(node: OnnxNode, graph: Graph, name: str) -> None:
    node.done()
    value = node.value(0)
    if len(value.shape) != 1:
        node.refuse(f"over a value {value.shape}; only over the vector of logits, at the end")
    graph.head = name
    graph.define(node, value)


@REGISTRY.converts("Softmax", to="nothing (stripped)", limits="last operator; last axis")
def softmax(node: OnnxNode, graph: Graph) -> None:
    if node.take("axis", -1) not in (-1, 1):
        node.refuse("only over the last axis of the logits")
    _strip(node, graph, "softmax")


@REGISTRY.converts("LogSoftmax", to="nothing (stripped)", limits="as Softmax")
def log_softmax(node: OnnxNode, graph: Graph) -> None:
    if node.take("axis", -1) not in (-1, 1):
        node.refuse("only over the last axis of the logits")
    _strip(node, graph, "log-softmax")


@REGISTRY.converts("Sigmoid", to="nothing (stripped)", limits="last operator")
def sigmoid(node: OnnxNode, graph: Graph) -> None:
    _strip(node, graph, "sigmoid")
