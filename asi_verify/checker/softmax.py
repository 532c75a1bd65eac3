"""The trusted rule of softmax along one axis.

*Interval.* ``y_j = 1 / (1 + sum_{k != j} exp(x_k - x_j))`` falls with every ``x_k`` and rises with
``x_j``; so with differences rounded outwards before ``exp`` is taken of them

    1 / (1 + sum exp(u_k - l_j)) <= y_j <= 1 / (1 + sum exp(l_k - u_j)).

Shifts cancel, and where an ``exp`` overflows the quotient is 0, which is off by less than ``ETA``.
E1 of ``checker.curves``, the sum and the division are off by ``2 * RELATIVE + gamma(n + 4)``,
relative to the result.

*In binary32* (assumption E3 of docs/explanation/smooth.md) a runtime computes
``e_k = exp(x_k - m)``, with ``m`` the largest ``x``, ``exp`` within ``ROUGH32`` relative to the
exact value or ``2**-120``, sums in any order and divides, or multiplies with the reciprocal. Let
``d_k = m - x_k >= 0`` and ``S = sum exp(-d_k) >= 1``. The rounded difference moves ``exp(-d_k)``
by at most ``2 u d_k exp(-d_k)``, and ``sum d_k exp(-d_k) / S = H - ln S <= ln n`` for the entropy
``H`` of ``y``; ``d_j y_j <= 1 / e``. So ``S`` is off by ``ROUGH32 + 2 u ln n + gamma32(n)``,
relative to it, and with at most 3 more roundings

    |computed - y_j| <= 2 y_j (ROUGH32 + gamma32(n + 2 ln n + 8)) + u + n 2**-118,

where the factor 2 also pays for products of errors: the bracket is refused above 1/8.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, gamma32, up
from asi_verify.checker.curves import RELATIVE, ROUGH32
from asi_verify.checker.rules import Functionals, PushedBack, Rule
from asi_verify.core.box import Box
from asi_verify.core.operators import Shape
from asi_verify.core.semantics import Semantics

__all__ = ["SoftmaxRule"]

Array = npt.NDArray[np.float64]


class SoftmaxRule(Rule):
    """``exp(x_j) / sum_k exp(x_k)`` along an axis.

    Raises:
        ValueError: the sums are too long for a bound in binary32.
    """

    relaxes: ClassVar[bool] = True

    def __init__(self, axis: int, shape: Shape, semantics: Semantics) -> None:
        self._axis = axis + 1
        self._count = shape[axis]
        self._in_float32 = semantics is Semantics.FLOAT32
        self._local = 0.0
        if self._in_float32:
            roundings = self._count + math.ceil(2 * math.log(self._count)) + 8
            self._local = 2 * (ROUGH32 + gamma32(roundings)) * (1 + 2.0**-40)
            if self._local > 0.25:
                raise ValueError(f"no bound for a softmax over {self._count} numbers in binary32")

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_]:
        return np.asarray(box.lower < box.upper)

    def interval(self, *boxes: Box) -> Box:
        exact = self._exact(*boxes)
        local = self.local_error(*boxes)
        if local is None:
            return exact
        return Box(down(exact.lower - local), up(exact.upper + local))

    def local_error(self, *boxes: Box) -> Array | None:
        if not self._in_float32:
            return None
        return up(self._exact(*boxes).upper * self._local + (2.0**-23 + self._count * 2.0**-110))

    def largest_sum(self, *boxes: Box) -> Array | float:
        return float(self._count)

    def _exact(self, box: Box) -> Box:
        """The box of the exact function."""
        lower, upper = (
            np.moveaxis(a.astype(np.float64), self._axis, 0) for a in (box.lower, box.upper)
        )
        found = down(self._least(lower, upper, -1)), up(self._least(upper, lower, +1))
        low, high = (np.moveaxis(a, 0, self._axis) for a in found)
        return Box(np.maximum(low, 0.0), np.minimum(high, 1.0))

    def _least(self, own: Array, others: Array, sign: int) -> Array:
        """The quotient for ``x_j`` at ``own`` and the rest at ``others``, moved outwards."""
        outwards = up if sign < 0 else down
        total = np.ones_like(own)
        with np.errstate(over="ignore", under="ignore"):
            for k in range(self._count):
                terms = np.exp(outwards(others[k] - own))
                terms[k] = 0.0
                total = total + terms
            return np.asarray(
                (1 / total) * (1 + sign * 2 * (2 * RELATIVE + gamma(self._count + 4)))
            )

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """A constant: the outputs' bounds, used that they add up to 1.

        For any ``c``, exactly: ``a . y = c + (a - c) . y >= c + sum_j min((a_j - c) y_j)``. The
        best ``c`` is one of the ``a_j``; all are tried. Each of the ``n + 1`` terms has at most 3
        roundings and all terms of all softmaxes are summed; in float32 the operator's own rounding
        is added, weighed by ``|a|``.
        """
        if functionals.owners is None:
            raise ValueError("the bounds are those of a sample; give each functional its own")
        owners = functionals.owners
        exact = self._exact(*boxes)
        a, low, high = (
            np.moveaxis(numbers, self._axis, 0)
            for numbers in (functionals.coefficients, exact.lower[owners], exact.upper[owners])
        )
        best, reach = np.full(a.shape[1:], -np.inf), np.zeros(a.shape[1:])
        for k in range(self._count):
            rest = a - a[k]
            found = a[k] + np.minimum(rest * low, rest * high).sum(axis=0)
            better = found > best
            best = np.where(better, found, best)
            reach = np.where(better, np.abs(a[k]) + (np.abs(rest) * high).sum(axis=0), reach)
        count, terms = len(a[0]), functionals.size + 1
        error = gamma(terms + 8) * enlarged(reach.reshape(count, -1).sum(axis=1), terms)
        error = enlarged(error, 1) + 8 * terms * ETA
        local = self.local_error(*boxes)
        if local is not None:
            error = enlarged(error + enlarged(functionals.absolute().dot(local), terms), 2)
        nothing = np.zeros_like(functionals.coefficients)
        return PushedBack((nothing,), best.reshape(count, -1).sum(axis=1), error)
