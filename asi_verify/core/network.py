"""Networks: a graph of operators from the closed set, in an order in which it can be computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from asi_verify.core.operators import Operator, Reshape, Shape
from asi_verify.core.weights import map_weights
from asi_verify.errors import ModelError

__all__ = ["Network", "Node"]


@dataclass(frozen=True, eq=False)
class Node:
    """One operator and the values that it reads.

    Attributes:
        operator: the function.
        inputs: indices of earlier values; value 0 is the network's input, value ``i + 1`` the
            output of node ``i``.
    """

    operator: Operator
    inputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Network:
    """A function from one input to one output, over the reals.

    Attributes:
        input_shape: shape of one sample, ``(C, *spatial)`` for images.
        nodes: in topological order; the last node's value is the output, the logits.
        head: the name of a trailing softmax or sigmoid that was stripped, or None. Both keep the
            order of the logits, and the sigmoid is above 1/2 where its logit is above 0.
        shapes: shape of every value; computed.

    Raises:
        ModelError: a node reads a later value, or an operator does not fit its inputs' shapes.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    head: str | None = None
    shapes: tuple[Shape, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not self.nodes:
            before = f" before its {self.head}" if self.head else ""
            raise ModelError(f"the model has no operators{before}: it answers what it is given")
        shapes: list[Shape] = [self.input_shape]
        for position, node in enumerate(self.nodes):
            if len(node.inputs) != node.operator.arity:
                raise ModelError(f"{type(node.operator).__name__} reads {len(node.inputs)} values")
            if not all(0 <= value <= position for value in node.inputs):
                raise ModelError(f"operator {position} reads a value that is computed later")
            shapes.append(node.operator.output_shape(*(shapes[value] for value in node.inputs)))
        object.__setattr__(self, "shapes", tuple(shapes))

    @classmethod
    def sequential(cls, input_shape: Shape, operators: Sequence[Operator]) -> Network:
        """A chain: each operator reads the one before."""
        return cls(
            tuple(input_shape),
            tuple(Node(operator, (position,)) for position, operator in enumerate(operators)),
        )

    @property
    def output_shape(self) -> Shape:
        """The shape of the output."""
        return self.shapes[-1]

    @property
    def output(self) -> int:
        """The index of the output value."""
        return len(self.nodes)

    @property
    def logits(self) -> int:
        """How many logits there are.

        Raises:
            ModelError: the output of one sample is not a vector.
        """
        if len(self.output_shape) != 1:
            raise ModelError(
                f"the model's output for one image has shape {self.output_shape}; "
                "a vector of logits is expected"
            )
        return self.output_shape[0]

    @property
    def parameters(self) -> int:
        """How many numbers the operators hold."""
        return sum(
            array.size
            for node in self.nodes
            for array in vars(node.operator).values()
            if isinstance(array, np.ndarray)
        )

    @property
    def is_exact_float32(self) -> bool:
        """Whether every constant is a float32 and stands for itself, so that it can be written."""
        return all(
            held == 0.0 if name == "slack" else held.dtype == np.float32
            for node in self.nodes
            for name, held in vars(node.operator).items()
            if name == "slack" or isinstance(held, np.ndarray)
        )

    def rounded(self) -> Network:
        """The network with every constant rounded to float32: another function, and an exact one.

        Only for models that are still to be written as an artifact, which then is the truth; never
        for an artifact that exists.
        """
        return Network(
            self.input_shape,
            tuple(
                Node(map_weights(node.operator, lambda a: a.astype(np.float32)), node.inputs)
                for node in self.nodes
            ),
            self.head,
        )

    def flattened(self) -> Network:
        """The same network with a vector as its output, in C order."""
        if len(self.output_shape) == 1:
            return self
        last = Node(Reshape((math.prod(self.output_shape),)), (self.output,))
        return Network(self.input_shape, (*self.nodes, last), self.head)

    def then(self, network: Network) -> Network:
        """This network followed by another one, which reads this one's output.

        Raises:
            ModelError: the other one reads a value of another shape.
        """
        if self.output_shape != network.input_shape:
            raise ModelError(
                f"a value of shape {self.output_shape} goes into a model that reads "
                f"{network.input_shape}"
            )
        moved = tuple(
            Node(node.operator, tuple(value + self.output for value in node.inputs))
            for node in network.nodes
        )
        return Network(self.input_shape, self.nodes + moved, network.head)
