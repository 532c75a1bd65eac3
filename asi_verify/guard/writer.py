"""What the passes of a guard's graph are written with: constants, truths, and ends of boxes."""

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.operators import Conv, Reshape, Shape
from asi_verify.lowering import GraphWriter

__all__ = ["Value", "Writer"]


class Value(NamedTuple):
    """Names of one value of the network: for the image itself, and the ends of its box."""

    point: str
    lower: str
    upper: str


class Writer(GraphWriter):
    """A graph in which equal constants are held once."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[tuple[str, Shape, bytes], str] = {}

    def constant(self, array: npt.NDArray[Any]) -> str:
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self._held:
            self._held[key] = super().constant(array)
        return self._held[key]

    def number(self, value: float | np.floating[Any] | npt.NDArray[np.float32]) -> str:
        """A float32 constant of shape ``()``."""
        return self.constant(np.array(value, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """A constant list of integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def all_of(self, truths: str) -> str:
        """Whether all are true for each image, ``(N, k)`` to ``(N,)``."""
        numbers = self.node("Cast", [truths], to=1)
        least = self.node("ReduceMin", [numbers], axes=[1], keepdims=0)
        return self.node("Greater", [least, self.number(0.5)])

    def within(self, values: str, lower: npt.NDArray[Any], upper: npt.NDArray[Any]) -> str:
        """Whether all values ``(N, k)`` lie between some bounds, ``(N,)``; a NaN never does."""
        above = self.node("GreaterOrEqual", [values, self.constant(lower.astype(np.float32))])
        below = self.node("LessOrEqual", [values, self.constant(upper.astype(np.float32))])
        return self.all_of(self.node("And", [above, below]))

    def vector(self, value: str, shape: Shape) -> str:
        """A value of any shape as ``(N, k)``."""
        return self.operator(Reshape((math.prod(shape),)), [value], shape)

    def of_label(self, rows: str, label: str, labels: int) -> str:
        """Of ``(N, labels * (labels - 1))`` the label's own, ``(N, labels - 1)``.

        Args:
            rows: for each label in turn one number for each other one.
            label: int64 ``(N, 1)``.
            labels: how many there are.
        """
        table = self.operator(Reshape((labels, labels - 1)), [rows], (labels * (labels - 1),))
        return self.node("GatherND", [table, label], batch_dims=1)

    def transposed(self, operator: Conv, coefficients: str, shape: Shape) -> str:
        """``a W``: coefficients on the input of a convolution, for those on its output.

        Args:
            operator: the convolution; its bias is not looked at.
            coefficients: ``(M, *output_shape)``.
            shape: of its input.
        """
        slid = zip(
            shape[1:],
            operator.kernel,
            operator.strides,
            operator.pads,
            operator.dilations,
            strict=True,
        )
        # Where the last window ends before the padded input does, what is left has coefficients 0.
        left = [
            (size + sum(pads) - dilation * (extent - 1) - 1) % stride
            for size, extent, stride, pads, dilation in slid
        ]
        before, after = zip(*operator.pads, strict=True)
        return self.node(
            "ConvTranspose",
            [coefficients, self.constant(operator.weight)],
            dilations=operator.dilations,
            group=operator.groups,
            kernel_shape=operator.kernel,
            output_padding=left,
            pads=[*before, *after],
            strides=operator.strides,
        )
