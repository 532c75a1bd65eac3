"""The trusted rule of convolutions, in any number of spatial dimensions.

A convolution is a matrix product with the *columns* of its input: for every output position, the
numbers under the kernel. Gathering columns and scattering them back move numbers; all arithmetic
is the matrix product, and in the scatter the sum over the kernel positions that share an input.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from types import EllipsisType

import numpy as np
import numpy.typing as npt

from asi_verify.checker.rules import LinearRule
from asi_verify.core.box import Box
from asi_verify.core.operators import Conv, Shape
from asi_verify.core.semantics import Semantics

__all__ = ["ConvRule"]

Array = npt.NDArray[np.float64]
Index = tuple[slice | int | EllipsisType, ...]


class ConvRule(LinearRule):
    """Cross-correlation with zero padding, strides, dilations and groups."""

    def __init__(self, operator: Conv, input_shape: Shape, semantics: Semantics) -> None:
        self._operator = operator
        self._input_shape = input_shape
        self._output_shape = operator.output_shape(input_shape)
        self._padded = tuple(
            size + sum(pads) for size, pads in zip(input_shape[1:], operator.pads, strict=True)
        )
        # (groups, outputs per group, inputs per group * kernel positions)
        self._weight = operator.weight.astype(np.float64).reshape(
            operator.groups, operator.weight.shape[0] // operator.groups, -1
        )
        self._magnitude = np.abs(self._weight)
        # An average, whose terms runtimes add up before they divide.
        count = math.prod(operator.kernel)
        is_average = operator.weight.shape[1] == 1 and bool(np.all(self._weight == 1.0 / count))
        self._added_first = float(count) if is_average else 1.0
        per_channel = (-1,) + (1,) * len(operator.kernel)
        self._bias = operator.bias.astype(np.float64).reshape(per_channel)
        super().__init__(
            semantics,
            slack=operator.slack,
            terms_forward=self._weight.shape[2] + 1,
            # An input is under at most every kernel position, once for each output channel.
            terms_backward=self._weight.shape[1] * math.prod(operator.kernel),
            constants=operator.slack > 0,
            largest_weight=float(self._magnitude.max(initial=0.0)),
        )

    @property
    def bias(self) -> Array:
        return np.broadcast_to(self._bias, self._output_shape)

    def apply(self, x: Array) -> Array:
        return np.asarray(self._correlate(self._weight, x) + self._bias)

    def largest_sum(self, *boxes: Box) -> Array | float:
        return super().largest_sum(*boxes) * self._added_first

    def apply_magnitude(self, x: Array, bias_factor: float) -> Array:
        return np.asarray(self._correlate(self._magnitude, x) + bias_factor * np.abs(self._bias))

    def apply_transposed(self, a: Array) -> Array:
        groups, inputs = self._operator.groups, self._input_shape[0] // self._operator.groups
        positions = self._output_shape[1:]
        batch = len(a)
        # (groups, outputs per group, batch * positions)
        moved = np.moveaxis(a, 0, 1).reshape(groups, self._weight.shape[1], -1)
        columns = np.matmul(self._weight.transpose(0, 2, 1), moved)
        columns = columns.reshape(groups, inputs, *self._operator.kernel, batch, *positions)
        padded = np.zeros((groups, inputs, batch, *self._padded))
        for offset, window in self._windows():
            padded[window] += columns[offset]
        given = (self._input_shape[0], batch, *self._input_shape[1:])
        return np.ascontiguousarray(np.moveaxis(padded[self._inner()].reshape(given), 1, 0))

    def _correlate(self, weight: Array, x: Array) -> Array:
        groups, inputs = self._operator.groups, self._input_shape[0] // self._operator.groups
        positions = self._output_shape[1:]
        batch = len(x)
        padded = np.zeros((groups, inputs, batch, *self._padded))
        given = (groups, inputs, batch, *self._input_shape[1:])
        padded[self._inner()] = np.moveaxis(x, 0, 1).reshape(given)
        columns = np.empty((groups, inputs, *self._operator.kernel, batch, *positions))
        for offset, window in self._windows():
            columns[offset] = padded[window]
        columns = columns.reshape(groups, weight.shape[2], -1)
        result = np.matmul(weight, columns).reshape(-1, batch, *positions)
        return np.ascontiguousarray(np.moveaxis(result, 1, 0))

    def _inner(self) -> Index:
        """Where the input lies inside the padded input."""
        sizes, pads = self._input_shape[1:], self._operator.pads
        inner = (slice(pad, pad + size) for size, (pad, _) in zip(sizes, pads, strict=True))
        return (..., *inner)

    def _windows(self) -> Iterator[tuple[Index, Index]]:
        """For each kernel position, its place in the columns and the inputs that lie under it."""
        operator = self._operator
        axes = list(zip(operator.dilations, operator.strides, self._output_shape[1:], strict=True))
        for offset in itertools.product(*map(range, operator.kernel)):
            inputs = (
                slice(k * dilation, k * dilation + (count - 1) * stride + 1, stride)
                for k, (dilation, stride, count) in zip(offset, axes, strict=True)
            )
            yield (slice(None), slice(None), *offset), (..., *inputs)
