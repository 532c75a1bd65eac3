"""The graph under construction while a file is read, and a converter's view of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import onnx

from asi_verify.core.limits import (
    LARGEST_FOLDED,
    LARGEST_NETWORK,
    LARGEST_STEP,
    LARGEST_VALUE,
    MOST_AXES,
    MOST_CONSTANTS,
    MOST_OPERATORS,
)
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Operator, Shape, largest_step
from asi_verify.errors import ModelError, UnsupportedOperatorError

__all__ = ["Extents", "Given", "Graph", "OnnxNode", "Value"]

T = TypeVar("T")
Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Extents:
    """Integers that a file computes out of shapes, where the extent of the batch axis is left open.

    Attributes:
        numbers: an object array; each an int, or None for the extent of the batch axis.
    """

    numbers: Array

    @staticmethod
    def of(numbers: Array) -> Array | Extents:
        """Numbers of this kind; plain integers where the batch is not among them."""
        opened = any(number is None for number in numbers.reshape(-1))
        return Extents(numbers) if opened else numbers.astype(np.int64)


@dataclass(frozen=True)
class Value:
    """A value that depends on the input.

    Attributes:
        index: its index in the network.
        shape: the shape for one sample.
    """

    index: int
    shape: Shape


Given = Value | Array | Extents
"""What a name of the file may stand for."""


@dataclass
class OnnxNode:
    """One node of the file: its inputs looked up, its attributes handed out once each."""

    proto: onnx.NodeProto
    version: int
    inputs: tuple[Given | None, ...]
    _attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for attribute in self.proto.attribute:
            if attribute.name in self._attributes:
                # Readers differ in which of the two they take.
                self.refuse(f"the attribute {attribute.name!r} is given twice")
            try:
                value = onnx.helper.get_attribute_value(attribute)
            except ValueError as error:
                self.refuse(f"the attribute {attribute.name!r} cannot be read: {error}")
            self._attributes[attribute.name] = value

    @property
    def name(self) -> str:
        """The operator and the node's name, for messages."""
        return (
            f"{self.proto.op_type} '{self.proto.name}'" if self.proto.name else self.proto.op_type
        )

    def take(self, name: str, default: T) -> T:
        """An attribute's value, or the default; what is never taken is refused by ``done``."""
        value = self._attributes.pop(name, default)
        kind = (
            str if isinstance(value, bytes) else tuple if isinstance(value, list) else type(value)
        )
        if default is not None and kind is not type(default):
            self.refuse(f"the attribute {name!r} has the wrong type")
        if isinstance(default, str) and isinstance(value, bytes):
            value = value.decode("utf-8", errors="replace")
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        return cast("T", value)

    def flag(self, name: str, *, default: bool) -> bool:
        """An attribute that is 0 or 1; of other numbers runtimes differ in what they take them for.

        Some compare with 1, others with 0.
        """
        value = self.take(name, int(default))
        if value not in (0, 1):
            self.refuse(f"{name}={value}; 0 or 1 is expected")
        return bool(value)

    def require(self, name: str, allowed: T, default: T | None = None) -> None:
        """Refuse the node unless an attribute has the one allowed value."""
        value = self.take(name, allowed if default is None else default)
        if value != allowed:
            self.refuse(f"{name}={value!r} is not supported, only {allowed!r}")

    def done(self) -> None:
        """Refuse the node if an attribute was not looked at: it could change the meaning."""
        if self._attributes:
            self.refuse(f"the attribute {sorted(self._attributes)[0]!r} is not supported")

    def refuse(self, why: str) -> None:
        """Raise ``UnsupportedOperatorError`` with the node's name and the reason."""
        raise UnsupportedOperatorError(f"{self.name}: {why}")

    def value(self, position: int) -> Value:
        """The input at a position, which must depend on the network's input."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if not isinstance(found, Value):
            self.refuse(f"input {position} must depend on the network's input")
        return cast("Value", found)

    def constant(self, position: int) -> Array:
        """The input at a position, which must be a constant."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if not isinstance(found, np.ndarray):
            self.refuse(f"input {position} must be a constant of the file")
        return cast("Array", found)

    def weights(self, position: int) -> npt.NDArray[np.float32]:
        """A constant input that must be float32."""
        found = self.constant(position)
        if found.dtype != np.float32:
            self.refuse(f"input {position} is {found.dtype}; only float32 weights are supported")
        if not found.size:
            # Its other extents would be free to be anything.
            self.refuse(f"input {position} of shape {found.shape} holds no numbers")
        return found

    def integers(self, position: int) -> list[int]:
        """A constant input that must be a short list of integers, such as a shape or axes."""
        found = self.constant(position)
        if found.dtype != np.int64 or found.ndim > 1 or found.size > MOST_AXES:
            self.refuse(
                f"input {position} is {found.dtype} of shape {found.shape}; a list of at most "
                f"{MOST_AXES} int64 is expected"
            )
        return [int(number) for number in found.reshape(-1)]

    def extents(self, position: int) -> list[int | None]:
        """An input that must be a short list of extents, None for that of the batch axis."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if not isinstance(found, Extents):
            return list(self.integers(position))
        if found.numbers.size > MOST_AXES:
            self.refuse(f"input {position} holds {found.numbers.size} extents")
        return list(found.numbers.reshape(-1))

    def has(self, position: int) -> bool:
        """Whether the optional input at a position is given."""
        return position < len(self.inputs) and self.inputs[position] is not None


@dataclass
class Graph:
    """The network so far: named ONNX values on one side, core operators on the other.

    ``products`` are the values that a MatMul with a constant makes.
    """

    input_shape: Shape
    batch: int | None
    output_name: str = ""
    nodes: list[Node] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    names: dict[str, Given] = field(default_factory=dict)
    head: str | None = None
    products: set[int] = field(default_factory=set)
    _constants: int = 0
    _numbers: int = 0
    _folded: int = 0

    def __post_init__(self) -> None:
        self._admit(self.input_shape)
        self.shapes.append(self.input_shape)

    def input(self) -> Value:
        """The network's input."""
        return Value(0, self.input_shape)

    def add(self, operator: Operator, *inputs: Value) -> Value:
        """Append an operator and return its value.

        Raises:
            ModelError: the shapes do not fit, or a limit of ``core.limits`` is passed.
        """
        shapes = [value.shape for value in inputs]
        shape = operator.output_shape(*shapes)
        self._admit(shape)
        self._admit_operator(operator, shapes)
        self.nodes.append(Node(operator, tuple(value.index for value in inputs)))
        self.shapes.append(shape)
        return Value(len(self.nodes), shape)

    def is_last(self, node: OnnxNode) -> bool:
        """Whether the node computes the model's output."""
        return self.output_name in node.proto.output

    def made_by(self, value: Value) -> Node | None:
        """The operator that makes a value, with what it reads; None for the network's input."""
        return self.nodes[value.index - 1] if value.index else None

    def value(self, index: int) -> Value:
        """The value with an index in the network."""
        return Value(index, self.shapes[index])

    def define(self, node: OnnxNode, *results: Given) -> None:
        """Name the node's results, as many as there are.

        Raises:
            ModelError: a name is taken already; the graph is not in single-assignment form.
        """
        outputs = [name for name in node.proto.output if name]
        if len(outputs) != len(results):
            node.refuse(f"{len(outputs)} outputs; {len(results)} expected")
        for name, result in zip(outputs, results, strict=True):
            if name in self.names:
                raise ModelError(f"the value {name!r} is computed twice")
            self.names[name] = result

    def admit_constant(self, node: OnnxNode, *shape: int) -> None:
        """Count a constant that is about to be computed out of others; refuse what is too large."""
        size = 1
        for extent in shape:
            # Written so that no product of hostile extents is large itself.
            size = min(size * max(extent, 0), LARGEST_FOLDED + 1)
        self._folded += size
        if self._folded > LARGEST_FOLDED or len(shape) > MOST_AXES or min(shape, default=0) < 0:
            node.refuse(
                f"a constant of shape {shape[: MOST_AXES + 1]} computed from others; at most "
                f"{MOST_AXES} axes, and {LARGEST_FOLDED} numbers in all of them, are supported"
            )

    def network(self, output: Value) -> Network:
        """The finished network, up to an output; operators that it does not need are left out."""
        needed = {output.index}
        for position in range(output.index, 0, -1):
            if position in needed:
                needed.update(self.nodes[position - 1].inputs)
        renumbered = {0: 0}
        kept: list[Node] = []
        for position, node in enumerate(self.nodes, start=1):
            if position in needed:
                inputs = tuple(renumbered[value] for value in node.inputs)
                kept.append(Node(node.operator, inputs))
                renumbered[position] = len(kept)
        return Network(self.input_shape, tuple(kept), self.head)

    def _admit(self, shape: Shape) -> None:
        size = 1
        if len(shape) >= MOST_AXES:
            raise ModelError(
                f"the model declares a value with {len(shape)} axes for one image; fewer than "
                f"{MOST_AXES} are supported"
            )
        for extent in shape:
            size *= extent
            if not 0 < size <= LARGEST_VALUE:
                raise ModelError(
                    f"the model declares a value of shape {shape} for one image; between 1 and "
                    f"{LARGEST_VALUE} numbers are supported"
                )
        self._numbers += size
        if self._numbers > LARGEST_NETWORK:
            raise ModelError(
                f"the model's values hold more than {LARGEST_NETWORK} numbers for one image, which "
                "is the limit; use smaller images or fewer channels"
            )

    def _admit_operator(self, operator: Operator, inputs: list[Shape]) -> None:
        if len(self.nodes) >= MOST_OPERATORS:
            raise ModelError(f"the model has more than {MOST_OPERATORS} operators")
        arrays = (array for array in vars(operator).values() if isinstance(array, np.ndarray))
        self._constants += sum(array.size for array in arrays)
        if self._constants > MOST_CONSTANTS:
            raise ModelError(
                f"the model's operators use more than {MOST_CONSTANTS} constants, which is the "
                "limit; use a smaller model"
            )
        step = largest_step(operator, *inputs)
        if step > LARGEST_STEP:
            raise ModelError(
                f"{type(operator).__name__} on a value {inputs[0]} handles {step} numbers at once; "
                f"{LARGEST_STEP} are supported. Use smaller kernels, less padding or smaller images"
            )
