"""Piecewise linear functions of one number other than ReLU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asi_verify.core.operators import Activation, FloatArray, Shape, checked_weight
from asi_verify.errors import ModelError

__all__ = ["Clamp", "LeakyRelu"]


@dataclass(frozen=True, eq=False)
class LeakyRelu(Activation):
    """``x`` where it is not negative, ``slope * x`` where it is (ONNX LeakyRelu, PRelu, Abs).

    Attributes:
        slope: of any size and sign, broadcastable to the input's shape.
    """

    slope: FloatArray

    def __post_init__(self) -> None:
        checked_weight(self.slope, "the slope of a leaky ReLU")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        try:
            fits = np.broadcast_shapes(self.slope.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ModelError(f"leaky ReLU: slopes of shape {self.slope.shape} for a value {shape}")
        return shape


@dataclass(frozen=True)
class Clamp(Activation):
    """``min(max(x, lower), upper)``, number by number (ONNX Clip).

    Attributes:
        lower: a float32, or minus infinity.
        upper: a float32 that is not smaller, or infinity.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        # Written so that a NaN is refused too.
        if not -np.inf <= self.lower <= self.upper <= np.inf:
            raise ModelError(f"clamp: between {self.lower} and {self.upper}")
        if self.lower == np.inf or self.upper == -np.inf:
            raise ModelError(f"clamp: between {self.lower} and {self.upper}")
        if any(float(np.float32(end)) != end for end in (self.lower, self.upper)):
            raise ModelError(f"clamp: {self.lower} or {self.upper} is no float32")
