"""Operators that pick some numbers of a value, or surround them with a constant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asi_verify.core.operators import Operator, Shape
from asi_verify.errors import ModelError

__all__ = ["Pad", "Select"]


@dataclass(frozen=True)
class Select(Operator):
    """What stands at some places along one axis (ONNX Gather, Slice, Split, Expand).

    Attributes:
        axis: of one sample: 0 is the channels' axis.
        places: counted from 0, in any order, each as often as it is wanted.
    """

    axis: int
    places: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.axis < 0 or not self.places or min(self.places) < 0:
            raise ModelError(f"select: places {self.places[:8]} along axis {self.axis}")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if self.axis >= len(shape) or max(self.places) >= shape[self.axis]:
            raise ModelError(f"select: place {max(self.places)} of axis {self.axis} of {shape}")
        return (*shape[: self.axis], len(self.places), *shape[self.axis + 1 :])


@dataclass(frozen=True)
class Pad(Operator):
    """A value with one number put around it, or zeros between its numbers (ONNX Pad).

    With a convolution behind them, zeros between the numbers make a transposed convolution.

    Attributes:
        pads: ``(before, after)`` for each axis of a sample, in numbers of the fill.
        between: for each axis, how many zeros stand between two neighbours.
        fill: a float32; 0 if something stands between neighbours.
    """

    pads: tuple[tuple[int, int], ...]
    between: Shape
    fill: float = 0.0

    def __post_init__(self) -> None:
        if len(self.pads) != len(self.between) or not self.pads:
            raise ModelError(f"pad: pads {self.pads} and {self.between} between neighbours")
        if min(map(min, self.pads)) < 0 or min(self.between) < 0:
            raise ModelError(f"pad: negative pads {self.pads} or {self.between}")
        if not np.isfinite(self.fill) or float(np.float32(self.fill)) != self.fill:
            raise ModelError(f"pad: the fill {self.fill}; a finite float32 is expected")
        if self.fill != 0 and any(self.between):
            raise ModelError(f"pad: {self.fill} between neighbours; zeros are supported")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if len(shape) != len(self.pads):
            raise ModelError(f"pad: {len(self.pads)} axes of pads for a value {shape}")
        return tuple(
            before + size + (size - 1) * gap + after
            for size, gap, (before, after) in zip(shape, self.between, self.pads, strict=True)
        )

    def inner(self, shape: Shape) -> tuple[slice, ...]:
        """Where the numbers of a value of this shape stand in the output, axis by axis."""
        return tuple(
            slice(before, before + (size - 1) * (gap + 1) + 1, gap + 1)
            for size, gap, (before, _) in zip(shape, self.between, self.pads, strict=True)
        )
