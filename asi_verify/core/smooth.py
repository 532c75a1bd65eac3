"""The operators that are not piecewise linear: sigmoids, GELU, softmax, layer normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asi_verify.core.operators import Activation, FloatArray, Operator, Shape, checked_weight
from asi_verify.errors import ModelError

__all__ = ["Erf", "Gelu", "LayerNormalization", "Sigmoid", "Softmax", "Tanh"]


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``1 / (1 + exp(-x))``, number by number."""


@dataclass(frozen=True)
class Tanh(Activation):
    """``tanh(x)``, number by number."""


@dataclass(frozen=True)
class Erf(Activation):
    """The error function ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to ``x``."""


@dataclass(frozen=True)
class Gelu(Activation):
    """``x (1 + erf(x / sqrt(2))) / 2``, number by number; or its approximation by a tanh.

    Attributes:
        tanh: the function is ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``.
        slack: the exact factor of ``x`` under the error function differs from ``1 / sqrt(2)`` by at
            most this, relative to it; files that spell GELU out hold a float32 there.
    """

    tanh: bool = False
    slack: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.slack <= 2.0**-20 or (self.tanh and self.slack):
            raise ModelError(f"gelu: slack {self.slack}; 0 to 2^-20, without tanh, is supported")


@dataclass(frozen=True)
class Softmax(Operator):
    """``exp(x_j) / sum_k exp(x_k)`` along one axis (0 is the sample's first)."""

    axis: int

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        if not 0 <= self.axis < len(shape):
            raise ModelError(f"softmax: axis {self.axis} of a value {shape}")
        return shape


@dataclass(frozen=True, eq=False)
class LayerNormalization(Operator):
    """``scale (x - mean) / sqrt(variance + epsilon) + shift`` over the last axes.

    Mean and variance (the mean of the squared differences) are those of the numbers along the last
    ``scale.ndim`` axes.

    Attributes:
        scale: its shape is that of the last axes.
        shift: same shape.
        epsilon: a positive number that is a float32.
    """

    scale: FloatArray
    shift: FloatArray
    epsilon: float

    def __post_init__(self) -> None:
        checked_weight(self.scale, "the scale of a layer normalisation")
        checked_weight(self.shift, "the shift of a layer normalisation")
        if self.scale.shape != self.shift.shape or not self.scale.size:
            raise ModelError(f"layer norm: scale {self.scale.shape} and shift {self.shift.shape}")
        if not 0 < self.epsilon < 1 or float(np.float32(self.epsilon)) != self.epsilon:
            raise ModelError(f"layer norm: epsilon {self.epsilon}; a float32 in (0, 1) is expected")

    def output_shape(self, *inputs: Shape) -> Shape:
        (shape,) = inputs
        axes = self.scale.ndim
        if not 0 < axes <= len(shape) or shape[-axes:] != self.scale.shape:
            raise ModelError(f"layer norm: scale {self.scale.shape} for a value {shape}")
        return shape
