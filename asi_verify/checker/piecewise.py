"""The trusted rule of piecewise linear functions of one number: leaky ReLU and clamping.

For one coefficient ``a`` on ``f(x)`` with ``x`` in ``[l, u]``, and *any* number ``b``, the function
``a f(x) - b x`` is linear between two neighbours of ``l``, the kinks of ``f`` in ``[l, u]``, and
``u``. It is smallest at one of these points ``p``, and

    a f(x) >= b x + min_p (a f(p) - b p).

Which ``b`` is taken decides how good the bound is, never whether it is one. It is ``a`` times the
slope of the convex hull of ``f`` in the middle of the box: that of the lowest chord between two
points around the middle, or of the highest where ``a`` is negative. A kink outside of the box is
moved to its end, which is a point already.

*In binary32* clamping does not round. A leaky ReLU is the number itself, or one product with the
slope, which may be added to 0.
"""

from __future__ import annotations

import abc
import itertools
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, gamma32, tiny32, up
from asi_verify.checker.rules import Functionals, PushedBack, Rule, largest_of_each
from asi_verify.core.box import Box
from asi_verify.core.operators import Shape
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.semantics import Semantics

__all__ = ["ClampRule", "LeakyReluRule"]

Array = npt.NDArray[np.float64]


class _PiecewiseRule(Rule):
    """``f(x)``, number by number; subclasses state ``f`` and its kinks, in ascending order."""

    relaxes: ClassVar[bool] = True
    kinks: tuple[float, ...]

    @abc.abstractmethod
    def value(self, points: Array) -> Array:
        """``f``, ``(..., *shape)``, computed with at most one rounding."""

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_]:
        found = np.zeros(box.lower.shape, dtype=np.bool_)
        for kink in self.kinks:
            found |= (box.lower < kink) & (kink < box.upper)
        return found

    def interval(self, *boxes: Box) -> Box:
        """The least and the largest of the values at the points, outwards."""
        values = self.value(self._points(*boxes))
        lower, upper = down(values.min(axis=0)), up(values.max(axis=0))
        local = self.local_error(*boxes)
        return Box(lower, upper) if local is None else Box(down(lower - local), up(upper + local))

    def _points(self, *boxes: Box) -> Array:
        """The ends of the box and the kinks between them, ``(K, B, *shape)``, ascending."""
        (box,) = boxes
        inner = [np.clip(kink, box.lower, box.upper) for kink in self.kinks]
        return np.stack([box.lower, *inner, box.upper]).astype(np.float64)

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """As above. A product or a difference rounds once each, and so does ``f`` itself.

        With ``F`` and ``P`` the largest magnitudes of ``f(p)`` and ``p``, a term is off by at most
        ``gamma(4) (|a| F + |b| P)``, and the sum of ``N`` by ``gamma(N + 4)`` times theirs; three
        products may underflow. In float32 the operator's own rounding is added, weighed by ``|a|``.
        """
        if functionals.owners is None:
            raise ValueError("the slopes are those of a sample; give each functional its own")
        owners, a, points = functionals.owners, functionals.flat, self._points(*boxes)
        values = self.value(points).reshape(*points.shape[:2], -1)
        points = points.reshape(values.shape)
        below, above = _hull(points, values, 1), _hull(points, values, -1)
        b = a * np.where(a > 0, below[owners], above[owners])
        constants = np.min(
            [a * f[owners] - b * p[owners] for f, p in zip(values, points, strict=True)], axis=0
        )
        terms = a.shape[1]
        most, farthest = np.abs(values).max(axis=0)[owners], np.abs(points).max(axis=0)[owners]
        reach = (np.abs(a) * most + np.abs(b) * farthest).sum(axis=1)
        error = enlarged(gamma(terms + 4) * enlarged(reach, 2 * terms), 1) + 8 * terms * ETA
        local = self.local_error(*boxes)
        if local is not None:
            error = enlarged(error + enlarged(functionals.absolute().dot(local), terms), 2)
        pushed = b.reshape(functionals.coefficients.shape)
        return PushedBack((pushed,), constants.sum(axis=1), error)


def _hull(points: Array, values: Array, sign: int) -> Array:
    """The slope in the middle of the hull from below, or from above for ``sign`` -1, ``(B, N)``."""
    middle = 0.5 * (points[0] + points[-1])
    best, chosen = np.full(middle.shape, np.inf), np.zeros(middle.shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for i, j in itertools.combinations(range(len(points)), 2):
            slope = (values[j] - values[i]) / (points[j] - points[i])
            height = sign * (values[i] + slope * (middle - points[i]))
            # A chord without length has no slope, and compares with nothing.
            better = (points[i] <= middle) & (middle <= points[j]) & (height < best)
            best, chosen = np.where(better, height, best), np.where(better, slope, chosen)
    return np.where(np.isfinite(chosen), chosen, 0.0)


class ClampRule(_PiecewiseRule):
    """``min(max(x, lower), upper)``; comparisons do not round."""

    def __init__(self, operator: Clamp) -> None:
        self.kinks = tuple(end for end in (operator.lower, operator.upper) if np.isfinite(end))
        self._ends = operator.lower, operator.upper

    def value(self, points: Array) -> Array:
        return np.clip(points, *self._ends)


class LeakyReluRule(_PiecewiseRule):
    """``x`` where it is not negative, else ``slope * x``."""

    kinks = (0.0,)

    def __init__(self, operator: LeakyRelu, shape: Shape, semantics: Semantics) -> None:
        self._slope = np.broadcast_to(operator.slope.astype(np.float64), shape)
        self._steepest = float(np.abs(self._slope).max())
        self._in_float32 = semantics is Semantics.FLOAT32

    def value(self, points: Array) -> Array:
        return np.where(points < 0, self._slope * points, points)

    def local_error(self, *boxes: Box) -> Array | None:
        """``gamma32(2) |slope x|`` where ``x`` may be negative, and what is flushed to zero."""
        if not self._in_float32:
            return None
        (box,) = boxes
        flushed = tiny32(1, largest_of_each(box), self._steepest + 1)
        flushed = flushed.reshape(-1, *([1] * len(box.shape)))
        product = up(np.abs(self._slope) * np.maximum(-box.lower, 0.0))
        return enlarged(gamma32(2) * product + flushed, 2)

    def largest_sum(self, *boxes: Box) -> Array | float:
        (box,) = boxes
        return up(largest_of_each(box) * self._steepest)
