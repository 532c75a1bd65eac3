"""The closed set of operators that a ``Network`` is made of.

Each is an exact function over the reals; shapes are those of one sample, without the batch axis.
Those that are not piecewise linear stand in ``core.smooth``.
An operator is supported when lowering, torch form and trusted rule are there together; what ONNX
writes in other words (batch norm, average pooling, normalisation) is lowered to these.

``slack``: some ONNX constants are not floats, such as the 1/9 of an average over nine pixels or
the 1/sqrt(variance + epsilon) of batch norm. The operator then holds float64 weights, and promises
that each exact weight ``w`` satisfies ``|w - stored| <= slack * |stored|``; the trusted rules
widen by it. Biases and shifts are always exact.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import read_only
from asi_verify.errors import ModelError

__all__ = [
    "Activation",
    "Add",
    "Affine",
    "Concat",
    "Conv",
    "MaxPool",
    "Operator",
    "Relu",
    "Reshape",
    "Scale",
    "Shape",
    "Transpose",
    "checked_weight",
    "largest_step",
]

Shape = tuple[int, ...]
FloatArray = npt.NDArray[np.floating[Any]]


class Operator(abc.ABC):
    """A function from the values of one sample to a value."""

    @property
    def arity(self) -> int:
        """How many values the operator reads."""
        return 1

    @abc.abstractmethod
    def output_shape(self, *inputs: Shape) -> Shape:
        """The shape of the output for inputs of these shapes.

        Raises:
            ModelError: the operator is not defined for inputs of these shapes.
        """


def _slid(
    sizes: Shape,
    kernel: Shape,
    strides: Shape,
    pads: tuple[tuple[int, int], ...],
    dilations: Shape,
) -> Shape:
    """How often a window fits along each axis; below 1 where it does not fit at all."""
    return tuple(
        (size + sum(pads) - dilation * (extent - 1) - 1) // stride + 1
        for size, extent, stride, pads, dilation in zip(
            sizes, kernel, strides, pads, dilations, strict=True
        )
    )


def checked_weight(array: FloatArray, what: str) -> FloatArray:
    """The array, read-only.

    Raises:
        ModelError: it is neither float32 nor float64, or not finite.
    """
    if array.dtype not in (np.float32, np.float64):
        raise ModelError(f"{what} has dtype {array.dtype}; float32 is supported")
    if not bool(np.isfinite(array).all()):
        raise ModelError(f"{what} holds a NaN or an infinity; the model was not saved soundly")
    return read_only(np.ascontiguousarray(array))


@dataclass(frozen=True, eq=False)
class Affine(Operator):
    """``weight @ x + bias`` for each vector along the last axis (ONNX Gemm and MatMul).

    Attributes:
        weight: shape ``(out, in)``.
        bias: shape ``(out,)``.
    """

    weight: FloatArray
    bias: FloatArray
    slack: float = 0.0

    def __post_init__(self) -> None:
        checked_weight(self.weight, "the weight of an affine layer")
        checked_weight(self.bias, "the bias of an affine layer")
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ModelError(f"affine: weight {self.weight.shape} and bias {self.bias.shape}")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if shape[-1:] != self.weight.shape[1:]:
            raise ModelError(f"affine: input {shape}, weight {self.weight.shape}")
        return (*shape[:-1], int(self.weight.shape[0]))


@dataclass(frozen=True, eq=False)
class Conv(Operator):
    """Cross-correlation in any number of spatial dimensions (ONNX Conv), zero padding.

    Attributes:
        weight: shape ``(out, in / groups, *kernel)``.
        bias: shape ``(out,)``.
        strides: one per spatial axis.
        pads: ``(before, after)`` per spatial axis, in numbers of zeros.
        dilations: one per spatial axis.
        groups: into how many groups the channels are divided.
    """

    weight: FloatArray
    bias: FloatArray
    strides: Shape
    pads: tuple[tuple[int, int], ...]
    dilations: Shape
    groups: int = 1
    slack: float = 0.0

    def __post_init__(self) -> None:
        checked_weight(self.weight, "the kernel of a convolution")
        checked_weight(self.bias, "the bias of a convolution")
        rank = self.weight.ndim - 2
        if rank < 1 or self.bias.shape != self.weight.shape[:1]:
            raise ModelError(f"conv: weight {self.weight.shape} and bias {self.bias.shape}")
        if not len(self.strides) == len(self.pads) == len(self.dilations) == rank:
            raise ModelError(
                f"conv: {rank} spatial axes, but strides {self.strides}, pads {self.pads}, "
                f"dilations {self.dilations}"
            )
        if min(self.strides + self.dilations) < 1 or min(map(min, self.pads)) < 0:
            raise ModelError(
                f"conv: strides {self.strides} and dilations {self.dilations} must be positive, "
                f"pads {self.pads} not negative"
            )
        if self.groups < 1 or self.weight.shape[0] % self.groups:
            raise ModelError(f"conv: {self.weight.shape[0]} outputs in {self.groups} groups")

    @property
    def kernel(self) -> Shape:
        """The kernel's extent along each spatial axis."""
        return tuple(self.weight.shape[2:])

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        channels = self.weight.shape[1] * self.groups
        if len(shape) != self.weight.ndim - 1 or shape[0] != channels:
            raise ModelError(f"conv: input {shape}, weight {self.weight.shape} x {self.groups}")
        spatial = _slid(shape[1:], self.kernel, self.strides, self.pads, self.dilations)
        if min(spatial) < 1:
            raise ModelError(f"conv: the kernel {self.kernel} does not fit into {shape}")
        return (int(self.weight.shape[0]), *spatial)


@dataclass(frozen=True, eq=False)
class Scale(Operator):
    """``scale * x + shift``, number by number (ONNX Mul, Add, Sub, Div by a constant).

    Attributes:
        scale: broadcastable to the input's shape.
        shift: broadcastable to the input's shape.
    """

    scale: FloatArray
    shift: FloatArray
    slack: float = 0.0

    def __post_init__(self) -> None:
        checked_weight(self.scale, "the scale of an element-wise layer")
        checked_weight(self.shift, "the shift of an element-wise layer")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        for array in (self.scale, self.shift):
            try:
                fits = np.broadcast_shapes(array.shape, shape) == shape
            except ValueError:
                fits = False
            if not fits:
                raise ModelError(f"scale: constant of shape {array.shape} for a value {shape}")
        return shape


class Activation(Operator):
    """A function of one number, applied to every number of a value."""

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        return shape


@dataclass(frozen=True)
class Relu(Activation):
    """``max(x, 0)``, number by number."""


@dataclass(frozen=True)
class MaxPool(Operator):
    """The largest number under each window, channel by channel (ONNX MaxPool); padding never is.

    Attributes:
        kernel: the window's extent along each spatial axis.
        strides: one per spatial axis.
        pads: ``(before, after)`` per spatial axis, smaller than the kernel, as runtimes demand.
        dilations: one per spatial axis.
    """

    kernel: Shape
    strides: Shape
    pads: tuple[tuple[int, int], ...]
    dilations: Shape

    def __post_init__(self) -> None:
        rank = len(self.kernel)
        if rank < 1 or not len(self.strides) == len(self.pads) == len(self.dilations) == rank:
            raise ModelError(
                f"max pool: kernel {self.kernel}, but strides {self.strides}, pads {self.pads}, "
                f"dilations {self.dilations}"
            )
        if min(self.kernel + self.strides + self.dilations) < 1 or not all(
            0 <= pad < extent
            for extent, pads in zip(self.kernel, self.pads, strict=True)
            for pad in pads
        ):
            raise ModelError(
                f"max pool: kernel {self.kernel}, strides {self.strides} and dilations "
                f"{self.dilations} must be positive, pads {self.pads} between 0 and less than "
                "the kernel"
            )

    def output_shape(self, *inputs: Shape) -> Shape:
        """As the abstract method says; every window has to hold a number of the input.

        By ``pad < kernel <= reach`` no window ends before the input or begins behind it; one that
        begins before it may still step over it, if its steps are longer than the input.
        """
        (shape,) = inputs
        if len(shape) != len(self.kernel) + 1:
            raise ModelError(f"max pool: input {shape}, kernel {self.kernel}")
        spatial = _slid(shape[1:], self.kernel, self.strides, self.pads, self.dilations)
        if min(spatial) < 1:
            raise ModelError(f"max pool: the kernel {self.kernel} does not fit into {shape}")
        for size, (before, _), dilation in zip(shape[1:], self.pads, self.dilations, strict=True):
            if before > 0 and dilation > size:
                raise ModelError(
                    f"max pool: a window of nothing but padding over {shape}: kernel "
                    f"{self.kernel}, strides {self.strides}, pads {self.pads}, dilations "
                    f"{self.dilations}"
                )
        return (shape[0], *spatial)


@dataclass(frozen=True)
class Reshape(Operator):
    """The same numbers in C order under another shape (ONNX Reshape, Flatten, Squeeze)."""

    shape: Shape

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if math.prod(shape) != math.prod(self.shape):
            raise ModelError(f"reshape: {shape} holds {math.prod(shape)} numbers, not {self.shape}")
        return self.shape


@dataclass(frozen=True)
class Transpose(Operator):
    """The axes of a sample in another order (ONNX Transpose; axis 0 is the sample's first)."""

    permutation: Shape

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if sorted(self.permutation) != list(range(len(shape))):
            raise ModelError(f"transpose: {self.permutation} does not permute {shape}")
        return tuple(shape[axis] for axis in self.permutation)


@dataclass(frozen=True)
class Add(Operator):
    """The sum of two values of one shape (residual connections)."""

    @property
    def arity(self) -> int:
        return 2

    def output_shape(self, *inputs: Shape) -> Shape:
        first, second = inputs
        if first != second:
            raise ModelError(f"add: values of shapes {first} and {second}")
        return first


@dataclass(frozen=True)
class Concat(Operator):
    """Values one after the other along an axis (ONNX Concat).

    Attributes:
        axis: of one sample: 0 is the channels' axis.
        count: how many values; at least two.
    """

    axis: int
    count: int

    def __post_init__(self) -> None:
        if self.axis < 0 or self.count < 2:
            raise ModelError(f"concat: {self.count} values along axis {self.axis}")

    @property
    def arity(self) -> int:
        return self.count

    def output_shape(self, *inputs: Shape) -> Shape:
        rests = {(*shape[: self.axis], *shape[self.axis + 1 :]) for shape in inputs}
        if len(rests) != 1 or any(self.axis >= len(shape) for shape in inputs):
            raise ModelError(f"concat: values of shapes {inputs} along axis {self.axis}")
        (first, *_) = inputs
        extent = sum(shape[self.axis] for shape in inputs)
        return (*first[: self.axis], extent, *first[self.axis + 1 :])


def largest_step(operator: Operator, *inputs: Shape) -> int:
    """How many numbers the operator handles at once for one sample, as a bound on memory.

    Those of its inputs and output; under a maximum, all numbers of all windows; for a convolution
    also its padded input and its columns, the numbers under the kernel at every output position.
    """
    output = operator.output_shape(*inputs)
    step = max(math.prod(output), *(math.prod(shape) for shape in inputs))
    if isinstance(operator, MaxPool):
        return max(step, math.prod(output) * math.prod(operator.kernel))
    if not isinstance(operator, Conv):
        return step
    padded = (size + sum(pads) for size, pads in zip(inputs[0][1:], operator.pads, strict=True))
    columns = inputs[0][0] * math.prod(operator.kernel) * math.prod(output[1:])
    return max(step, columns, inputs[0][0] * math.prod(padded))
