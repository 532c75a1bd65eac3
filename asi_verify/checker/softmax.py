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
        """For each softmax its tangent or a constant, whichever a curved function suits better.

        The tangent is taken where what it loses by curvature is at most half of what it varies by:
        unlike a constant, it keeps how the inputs depend on one another. All softmaxes of a
        functional are summed; in float32 the operator's own rounding is added, weighed by ``|a|``.
        """
        if functionals.owners is None:
            raise ValueError("the bounds are those of a sample; give each functional its own")
        (box,), owners = boxes, functionals.owners
        a = np.moveaxis(functionals.coefficients, self._axis, 0)
        low, high = self._ends(self._exact(box), owners)
        flat = self._constant(a, low, high)
        slopes, tangent, lost, varies = self._tangent(a, low, high, flat, box, owners)
        bent = lost <= varies / 2
        value = np.where(bent, tangent[0], flat[0])
        error = np.where(bent, tangent[1], flat[1])
        count, groups = len(a[0]), a[0, 0].size
        values, errors = value.reshape(count, -1), error.reshape(count, -1)
        summed = enlarged(gamma(groups + 1) * np.abs(values).sum(axis=1), groups)
        total = enlarged(errors.sum(axis=1) + summed, groups + 1)
        local = self.local_error(*boxes)
        if local is not None:
            weighed = enlarged(functionals.absolute().dot(local), functionals.size)
            total = enlarged(total + weighed, 2)
        return PushedBack(
            (np.moveaxis(np.where(bent, slopes, 0.0), 0, self._axis),), values.sum(axis=1), total
        )

    def _ends(self, box: Box, owners: npt.NDArray[np.intp]) -> tuple[Array, Array]:
        """Each functional's own sample's box, the softmaxes along the first axis."""
        lower, upper = (
            np.moveaxis(end[owners].astype(np.float64), self._axis, 0)
            for end in (box.lower, box.upper)
        )
        return lower, upper

    def _constant(self, a: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """At most ``a . y`` for every ``y`` between the ends that adds up to 1, less an error.

        For any ``c``, exactly: ``a . y = c + (a - c) . y >= c + sum_j min((a_j - c) y_j)``. The
        best ``c`` is one of the ``a_j``; all are tried. A term has 2 roundings and passes through
        at most ``n + 1`` additions.
        """
        best, reach = np.full(a.shape[1:], -np.inf), np.zeros(a.shape[1:])
        for k in range(self._count):
            rest = a - a[k]
            found = a[k] + np.minimum(rest * low, rest * high).sum(axis=0)
            better = found > best
            best = np.where(better, found, best)
            reach = np.where(better, np.abs(a[k]) + (np.abs(rest) * high).sum(axis=0), reach)
        terms = self._count + 1
        error = gamma(terms + 8) * enlarged(reach, terms)
        return best, enlarged(error, 1) + 8 * terms * ETA

    def _tangent(
        self,
        a: Array,
        low: Array,
        high: Array,
        flat: tuple[Array, Array],
        box: Box,
        owners: npt.NDArray[np.intp],
    ) -> tuple[Array, tuple[Array, Array], Array, Array]:
        """Slopes, the constant beside them with its error, what curvature costs, and the variation.

        By the mean value theorem ``g(x) = a . y(x)`` is ``g(c) + s . (x - c)`` plus
        ``(g'(z) - s) . (x - c)`` for some ``z`` of the box, and ``g'_k = y_k (a_k - a . y)``. That
        lies between bounds that follow from those of ``y`` and of ``a . y``; with ``s`` their
        middle, the last term is at least ``-sum_k off_k r_k``. Any ``c`` of the box and any ``s``
        will do.
        """
        lower, upper = self._ends(box, owners)
        middle = np.clip(0.5 * (lower + upper), lower, upper)
        centre = np.clip(0.5 * (box.lower + box.upper), box.lower, box.upper)
        value, error = self._constant(a, *self._ends(self._exact(Box(centre, centre)), owners))
        least = down(flat[0] - flat[1])
        most = self._constant(-a, low, high)
        below, above = down(a + down(most[0] - most[1])), up(a - least)
        smallest = down(np.minimum(low * below, high * below))
        largest = up(np.maximum(low * above, high * above))
        slopes = 0.5 * (smallest + largest)
        off = up(np.maximum(largest - slopes, slopes - smallest))
        radius = up(np.maximum(upper - middle, middle - lower))
        lost = enlarged((off * radius).sum(axis=0), self._count)
        moved = (slopes * middle).sum(axis=0)
        size = enlarged((np.abs(slopes) * np.abs(middle)).sum(axis=0), self._count)
        terms = self._count + 4
        rounded = enlarged(gamma(terms) * (np.abs(value) + size + lost), 4) + 8 * terms * ETA
        varies = (np.abs(slopes) * radius).sum(axis=0)
        return slopes, (value - moved - lost, enlarged(error + rounded, 2)), lost, varies
