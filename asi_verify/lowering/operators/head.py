"""Softmax and sigmoid: stripped to logits and named at the end, operators elsewhere."""

from __future__ import annotations

from asi_verify.core.smooth import Sigmoid, Softmax
from asi_verify.lowering.graph import Graph, OnnxNode
from asi_verify.lowering.registry import REGISTRY


def _is_head(node: OnnxNode, graph: Graph) -> bool:
    """Whether the node makes the model's output out of a vector of logits."""
    return graph.is_last(node) and len(node.value(0).shape) == 1


def _strip(node: OnnxNode, graph: Graph, name: str) -> None:
    graph.head = name
    graph.define(node, node.value(0))


def _axis(node: OnnxNode) -> int:
    """The axis of a softmax, 0 the sample's first."""
    rank = len(node.value(0).shape) + 1
    given = node.take("axis", -1 if node.version >= 13 else 1)
    node.done()
    axis = given % rank if -rank <= given < rank else 0
    if axis == 0:
        node.refuse(f"axis={given} of a batch of values {node.value(0).shape}")
    if node.version < 13 and axis != rank - 1:
        node.refuse(f"axis={given}; before operator set 13 it is over all axes from there on")
    return axis - 1


@REGISTRY.converts(
    "Softmax",
    to="nothing (stripped) at the end, Softmax elsewhere",
    limits="one axis, not the batch axis",
)
def softmax(node: OnnxNode, graph: Graph) -> None:
    axis = _axis(node)
    if _is_head(node, graph):
        _strip(node, graph, "softmax")
    else:
        graph.define(node, graph.add(Softmax(axis), node.value(0)))


@REGISTRY.converts("LogSoftmax", to="nothing (stripped)", limits="last operator; over the logits")
def log_softmax(node: OnnxNode, graph: Graph) -> None:
    _axis(node)
    if not _is_head(node, graph):
        node.refuse("supported over the vector of logits at the end only")
    _strip(node, graph, "log-softmax")


@REGISTRY.converts("Sigmoid", to="nothing (stripped) at the end, Sigmoid elsewhere")
def sigmoid(node: OnnxNode, graph: Graph) -> None:
    node.done()
    if _is_head(node, graph):
        _strip(node, graph, "sigmoid")
    else:
        graph.define(node, graph.add(Sigmoid(), node.value(0)))
