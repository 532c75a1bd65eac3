"""Lines below and above a smooth function of one number: right whatever slope they are given.

For any slope ``k``, and points ``l = g_0 <= ... <= g_n = u``, a function ``f`` and its interpolant
differ on each cell by at most ``(g_{i+1} - g_i)^2 / 8`` times the largest ``|f''|`` there (the
classical remainder of linear interpolation), and the interpolant of ``f(x) - k x`` is smallest at a
point. Therefore, for every ``x`` in ``[l, u]``,

    f(x) >= k x + min_i (min(f(g_i) - k g_i, f(g_{i+1}) - k g_{i+1}) - (g_{i+1} - g_i)^2 B_i / 8)

and likewise from above. The choice of ``k`` decides how good the bound is, never whether it is one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import down, up
from asi_verify.checker.curves import EVALUATION, Curve
from asi_verify.core.box import Box
from asi_verify.core.operators import FloatArray

__all__ = ["Lines", "lines_of", "range_of"]

Array = npt.NDArray[np.float64]
Lines = tuple[Array, Array, Array, Array]
"""Slope and constant of the line below, and of the line above."""

_CELLS = 32
_AT_ONCE = 4096
"""How many numbers are bounded at a time: their grids and chords fit into a processor's cache."""
_FALLS, _RISES = -0.753, -0.751
"""Up to where both kinds of GELU fall, and from where they rise; between the two they are convex.
"""
_STEEPEST = 2.0
"""No slope need be steeper: the derivatives are at most 1.13."""


def range_of(curve: Curve, lower: FloatArray, upper: FloatArray) -> tuple[Array, Array]:
    """Bounds of ``f`` over ``[lower, upper]``."""
    ends = curve.value(lower.astype(np.float64)), curve.value(upper.astype(np.float64))
    error = EVALUATION * (1 + np.maximum(np.abs(lower), np.abs(upper))) + curve.off
    low, high = ends
    if curve.floor is not None:
        inside = (lower < _RISES) & (upper > _FALLS)
        low = np.where(inside, curve.floor, np.minimum(*ends))
        high = np.maximum(*ends)
    return down(low - up(2 * error)), up(high + up(2 * error))


def lines_of(curve: Curve, box: Box) -> Lines:
    """The lines of every number of every sample, each array of shape ``(B, size)``."""
    lower, upper = (a.astype(np.float64).reshape(-1) for a in (box.lower, box.upper))
    parts = [
        _some_lines(curve, lower[i : i + _AT_ONCE], upper[i : i + _AT_ONCE])
        for i in range(0, len(lower), _AT_ONCE)
    ]
    made = (np.concatenate(part).reshape(len(box), -1) for part in zip(*parts, strict=True))
    below, low, above, high = made
    return below, low, above, high


def _some_lines(curve: Curve, lower: Array, upper: Array) -> Lines:
    """The lines for a few numbers, shape ``(N,)``."""
    shares = np.arange(_CELLS + 1) / _CELLS
    points = np.clip(
        lower[:, None] + (upper - lower)[:, None] * shares, lower[:, None], upper[:, None]
    )
    points[:, -1] = upper
    values = curve.value(points)
    gaps = up(np.diff(points, axis=1))
    distance = np.maximum(np.maximum(points[:, :-1], -points[:, 1:]), 0.0)
    bends = gaps * gaps * curve.curvature(distance) * ((1 + 2.0**-40) / 8)
    # What evaluation is off by, and the roundings of f(g) - k g with |k| <= 2.
    off = 2 * EVALUATION * (1 + np.maximum(np.abs(lower), np.abs(upper))) + curve.off
    flat_low, flat_high = range_of(curve, lower, upper)
    middle = points[:, _CELLS // 2]

    def line(sign: float, flat: Array) -> tuple[Array, Array]:
        """The line below ``sign f``; a flat one where that is higher in the middle."""
        slope = _hull_slope(points[:, ::2], sign * values[:, ::2])
        heights = sign * values - slope[:, None] * points
        cells = np.minimum(heights[:, :-1], heights[:, 1:]) - bends
        constant = down(cells.min(axis=1) - up(2 * off))
        better = flat > slope * middle + constant
        return np.where(better, 0.0, slope), np.where(better, flat, constant)

    below, low = line(1.0, flat_low)
    above, high = line(-1.0, -flat_high)
    return below, low, -above, -high


def _hull_slope(points: Array, values: Array) -> Array:
    """The slope of the convex hull of some points where it crosses the middle, ``(N, odd)``.

    It is that of the lowest chord there. Any slope would do: see above.
    """
    half = points.shape[1] // 2
    left, right = points[:, :half, None], points[:, None, half + 1 :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slopes = (values[:, None, half + 1 :] - values[:, :half, None]) / (right - left)
        there = values[:, :half, None] + slopes * (points[:, half, None, None] - left)
    chosen = there.reshape(len(points), -1).argmin(axis=1)
    found = slopes.reshape(len(points), -1)[np.arange(len(points)), chosen]
    return np.where(np.isfinite(found), np.clip(found, -_STEEPEST, _STEEPEST), 0.0)
