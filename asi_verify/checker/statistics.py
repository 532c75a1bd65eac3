"""Bounds of what layer normalisation is made of: differences from the mean, variance, quotient.

Let ``d_i = x_i - mean``, ``v`` the variance of ``n`` numbers, ``r = 1 / sqrt(v + epsilon)``.

*Differences.* ``n d_i = (n - 1) x_i - sum_{j != i} x_j`` rises with ``x_i`` and falls with the
rest.

*Variance.* It is the least mean of ``(x_i - c)^2`` over all ``c``. From above any ``c`` will do.
From below it is at least the least ``h(c) = mean_i dist(c, [l_i, u_i])^2``, which is convex: with
``c`` between the least ``l`` and the greatest ``u``, at most ``W`` apart, ``h(c) >= h(c_0) -
|h'(c_0)| W`` whatever ``c_0``.

*Size.* The other differences add up to ``-d_i``, so the sum of their squares is at least
``d_i^2 / (n - 1)``; hence ``n v >= d_i^2 n / (n - 1)`` and ``|d_i| r <= sqrt(n - 1)``. It is
attained when all other numbers are equal.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, UNIT, down, enlarged, gamma, up

__all__ = ["Statistics", "constant_below", "line_below", "statistics_of", "variance_of"]

Array = npt.NDArray[np.float64]


class Statistics(NamedTuple):
    """Bounds of ``z = d r``, ``(B, G, n)``, and of ``v`` and ``r``, ``(B, G, 1)``."""

    z: tuple[Array, Array]
    v_low: Array
    r: tuple[Array, Array]


def statistics_of(lower: Array, upper: Array, epsilon: float) -> Statistics:
    """The bounds for numbers in boxes, ``(B, G, n)``, normalised along the last axis."""
    n = lower.shape[2]
    size = np.maximum(np.abs(lower), np.abs(upper))
    off = enlarged(gamma(n + 8) * enlarged(size.sum(axis=2, keepdims=True), n) / n, 2)
    off = off + enlarged(gamma(8) * size, 1)

    def least(own: Array, rest: Array) -> Array:
        others = rest.sum(axis=2, keepdims=True) / n - rest / n
        return down((n - 1) / n * own - others - up(2 * off))

    d_low, d_high = least(lower, upper), -least(-upper, -lower)
    v_low, v_high = variance_of(lower, upper)
    r_low = down(1 / up(np.sqrt(up(v_high + epsilon))))
    r_high = up(1 / down(np.sqrt(down(v_low + epsilon))))
    most = float(up(math.sqrt(n - 1)))

    def greatest(d: Array) -> Array:
        return np.where(d >= 0, np.minimum(up(d * r_high), most), up(d * r_low))

    return Statistics((-greatest(-d_low), greatest(d_high)), v_low, (r_low, r_high))


def variance_of(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Bounds of the variance of numbers in boxes, ``(B, G, n)`` to ``(B, G, 1)``."""
    n = lower.shape[2]
    middle = (0.5 * (lower + upper)).mean(axis=2, keepdims=True)
    farthest = up(np.maximum(np.abs(upper - middle), np.abs(middle - lower)))
    high = enlarged((farthest * farthest).sum(axis=2, keepdims=True), n) / n
    first, last = lower.min(axis=2, keepdims=True), upper.max(axis=2, keepdims=True)
    below, above = first, last
    c = middle
    for _ in range(30):
        c = 0.5 * (below + above)
        rises = (c - np.clip(c, lower, upper)).sum(axis=2, keepdims=True) > 0
        below, above = np.where(rises, below, c), np.where(rises, c, above)
    for _ in range(3):
        # Never away from the least: the mean is the best c for the nearest points.
        c = np.clip(c, lower, upper).mean(axis=2, keepdims=True)
    # Rounding may have led the mean of equal numbers out of their range, where W is no bound.
    c = np.clip(c, first, last)
    away = c - np.clip(c, lower, upper)
    squares = (away * away).sum(axis=2, keepdims=True) / n
    slope = 2 * np.abs(away.sum(axis=2, keepdims=True)) / n
    slope = slope + enlarged(2 * gamma(n + 4) * np.abs(away).sum(axis=2, keepdims=True) / n, n)
    low = squares * (1 - 4 * gamma(n + 4)) - up(up(slope) * up(last - first)) * (1 + 2.0**-40)
    return np.maximum(down(low), 0.0), up(high * (1 + 2.0**-50))


def line_below(w: tuple[Array, Array], r: tuple[Array, Array]) -> tuple[Array, Array]:
    """Slope and constant of a line in ``w`` below ``r w``."""
    least = [np.minimum(r[0] * end, r[1] * end) for end in w]
    chord = (least[1] - least[0]) / (w[1] - w[0])
    k = np.clip(np.where(np.isfinite(chord), chord, r[0]), *r)
    ends = [m - k * end for m, end in zip(least, w, strict=True)]
    # Three roundings of terms of at most this size.
    largest = r[1] * np.maximum(np.abs(w[0]), np.abs(w[1]))
    return k, np.minimum(*ends) - enlarged(8 * UNIT * largest, 2) - 8 * ETA


def constant_below(low: Array, high: Array) -> Array:
    """A lower bound of a sum over the last axis, each term between the two."""
    n = low.shape[2]
    most = enlarged(np.maximum(np.abs(low), np.abs(high)).sum(axis=2), n)
    least = np.minimum(low, high).sum(axis=2)
    return np.asarray(least - enlarged(gamma(n + 4) * most, 1) - 8 * n * ETA)
