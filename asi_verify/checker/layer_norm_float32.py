"""The rounding of layer normalisation in binary32.

Assumption E4 of docs/explanation/smooth.md: a runtime computes the mean by a sum of any order, the
variance as the mean of the ``(x - mean)^2`` or as the mean of the squares less the square of the
mean, ``r = 1 / sqrt(variance + epsilon)`` by at most 3 roundings, and ``(x - mean) r scale +
shift`` in this order or multiplied out.

With ``g(k) = gamma32(k)``, ``M`` the mean of ``|x|`` and ``Q`` that of ``x^2``, the mean is off by
at most ``e = g(n + 2) M``, and the variance ``v`` by at most ``4 g(n + 8) (Q + epsilon)``: in both
forms the squares' mean by ``g(n + 4) Q``, and what the mean's error adds by ``2 M e + e^2``, at
most ``2 g Q + g^2 Q``. Where this is at most ``q (v + epsilon)`` with ``q <= 1/2``, ``r`` is off by
at most ``k r``, ``k = q + g(8) (1 + q)``; where it is not, nothing is proved. Then ``y`` is off by
at most, with ``d = x - mean`` and ``z = d r``,

    |scale| (|z| k + r (1 + k) (e + g(8) (|x| + M))) + g(8) (|shift| + |scale z| (1 + k)).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import LIMIT, down, enlarged, gamma32
from asi_verify.checker.statistics import Statistics

__all__ = ["rounding"]

Array = npt.NDArray[np.float64]


def rounding(found: Statistics, size: Array, epsilon: float, scale: Array, shift: Array) -> Array:
    """What each output may be off by; more than ``LIMIT`` where there is no bound.

    Args:
        found: the bounds of the exact statistics.
        size: at least ``|x|``, shape ``(B, G, n)``.
        epsilon: what is added to the variance.
        scale: the magnitudes of the scale, shape ``(n,)``.
        shift: the magnitudes of the shift, shape ``(n,)``.
    """
    n = size.shape[2]
    small, long = gamma32(8), gamma32(n + 8)
    largest = size.max(axis=2, keepdims=True)
    mean = enlarged(size.sum(axis=2, keepdims=True), n) / n
    squares = enlarged((size * size).sum(axis=2, keepdims=True), n) / n
    e = long * mean + 2.0**-120
    v_off = 4 * long * (squares + epsilon) + 2.0**-120 * (1 + largest)
    q = v_off / down(found.v_low + epsilon) * (1 + 2.0**-40)
    k = np.minimum(q, 0.5) + small * (1 + np.minimum(q, 0.5))
    z = np.maximum(np.abs(found.z[0]), np.abs(found.z[1]))
    r = found.r[1]
    moved = r * (1 + k) * (e + small * (size + mean))
    rounded = small * (shift + scale * z * (1 + k))
    flushed = 2.0**-100 * (1 + r) * (1 + scale) * (1 + largest)
    total = (scale * (z * k + moved) + rounded + flushed) * (1 + 2.0**-40)
    return np.where(q <= 0.5, total, 2 * LIMIT)
