"""The trusted rules of element-wise affine maps and of sums of two values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import down, enlarged, gamma32, tiny32, up
from asi_verify.checker.rules import Functionals, LinearRule, PushedBack, Rule, largest_magnitude
from asi_verify.core.box import Box
from asi_verify.core.operators import Scale, Shape
from asi_verify.core.semantics import Semantics

__all__ = ["AddRule", "ScaleRule"]

Array = npt.NDArray[np.float64]


class ScaleRule(LinearRule):
    """``s x + t``, number by number: a diagonal matrix."""

    def __init__(self, operator: Scale, shape: Shape, semantics: Semantics) -> None:
        self._scale = np.broadcast_to(operator.scale.astype(np.float64), shape)
        self._shift = np.broadcast_to(operator.shift.astype(np.float64), shape)
        super().__init__(
            semantics,
            slack=operator.slack,
            terms_forward=2,
            terms_backward=1,
            # Batch norm's first half has exact constants of its own and shares its roundings.
            constants=True,
            largest_weight=float(np.abs(self._scale).max(initial=0.0)),
        )

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
    """``x + y``.

    In float32 the sum may be taken inside that of the operator that makes ``x`` or ``y``, as
    runtimes do that start a convolution's sums from the other summand. Each term then passes
    through one rounding for each of that operator's terms, and one more. That operator may stand
    behind others that only move numbers, which runtimes exchange with the sum.

    Args:
        semantics: what arithmetic the network is run in.
        terms: most terms of an operator that makes ``x`` or ``y``; 0 if they are not sums.
    """

    def __init__(self, semantics: Semantics, terms: int) -> None:
        self._in_float32 = semantics is Semantics.FLOAT32
        self._terms = terms + 1
        self._local = gamma32(self._terms) if self._in_float32 else 0.0

    def interval(self, *boxes: Box) -> Box:
        first, second = boxes
        error = self.local_error(first, second)
        lower, upper = down(first.lower + second.lower), up(first.upper + second.upper)
        if error is None:
            return Box(lower, upper)
        return Box(down(lower - error), up(upper + error))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """``a . (x + y) = a . x + a . y``, exactly; in float32 less ``|a|`` times the error."""
        inputs = (functionals.coefficients, functionals.coefficients)
        error = self.local_error(*boxes)
        if error is None:
            return PushedBack(inputs, 0.0, 0.0)
        reach = functionals.absolute().dot(error)
        return PushedBack(inputs, 0.0, enlarged(reach, functionals.size))

    def local_error(self, *boxes: Box) -> Array | None:
        """``gamma32 (|x| + |y|)``, and what flushing to zero may do."""
        if not self._in_float32:
            return None
        size = self._size(*boxes)
        largest = size.reshape(len(size), -1).max(axis=1).reshape(-1, *([1] * (size.ndim - 1)))
        return enlarged(self._local * size + tiny32(self._terms, largest, 1.0), 2)

    def largest_sum(self, *boxes: Box) -> Array | float:
        size = self._size(*boxes)
        return np.asarray(size.reshape(len(size), -1).max(axis=1))

    @staticmethod
    def _size(*boxes: Box) -> Array:
        first, second = boxes
        return up(largest_magnitude(first) + largest_magnitude(second))
