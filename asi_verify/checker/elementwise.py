"""The trusted rules of element-wise affine maps and of sums of two values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import down, up
from asi_verify.checker.rules import Functionals, LinearRule, PushedBack, Rule
from asi_verify.core.box import Box
from asi_verify.core.operators import Scale, Shape

__all__ = ["AddRule", "ScaleRule"]

Array = npt.NDArray[np.float64]


class ScaleRule(LinearRule):
    """``s x + t``, number by number: a diagonal matrix."""

    def __init__(self, operator: Scale, shape: Shape) -> None:
        self._scale = np.broadcast_to(operator.scale.astype(np.float64), shape)
        self._shift = np.broadcast_to(operator.shift.astype(np.float64), shape)
        self.slack = operator.slack
        self.terms_forward = 2
        self.terms_backward = 1

    @property
    def bias(self) -> Array:
        return self._shift

    def apply(self, x: Array) -> Array:
        return np.asarray(x * self._scale + self._shift)

    def apply_magnitude(self, x: Array, bias_factor: float) -> Array:
        return np.asarray(x * np.abs(self._scale) + bias_factor * np.abs(self._shift))

    def apply_transposed(self, a: Array) -> Array:
        return np.asarray(a * self._scale)


class AddRule(Rule):
    """``x + y``."""

    def interval(self, *boxes: Box) -> Box:
        first, second = boxes
        return Box(down(first.lower + second.lower), up(first.upper + second.upper))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """``a . (x + y) = a . x + a . y``, exactly."""
        return PushedBack((functionals.coefficients, functionals.coefficients), 0.0, 0.0)
