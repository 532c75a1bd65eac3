"""Rounding-error bounds for float64 arithmetic: the constants on which every proof rests.

Let ``u = 2**-53`` be the unit roundoff of binary64, round to nearest. A single operation gives
``fl(x op y) = (x op y)(1 + d) + e`` with ``|d| <= u`` and ``e`` an underflow term.

*Sums and products.* Let ``s = x_1 y_1 + ... + x_n y_n`` be computed with any order of additions,
each product rounded or fused. Then (Higham, Accuracy and Stability of Numerical Algorithms, 2nd
ed., section 3.1; the order does not matter because no term passes through more than n roundings)

    |fl(s) - s| <= gamma(n) * (|x_1 y_1| + ... + |x_n y_n|) + n * ETA,
    gamma(n) = n u / (1 - n u).

This holds of what BLAS does with a matrix product as long as it multiplies and adds (assumption:
no Strassen-like algorithm), whatever its blocking, threads or vector width.

*Underflow.* An operation whose result is subnormal is off by at most 2**-1075, and by at most
2**-1022 if the processor flushes subnormal results to zero. If it also reads subnormal operands as
zero, a product with a factor below ``LIMIT`` is off by at most ``2**-1022 * LIMIT``. ``ETA`` covers
all of it, and is far below anything that matters.

*Overflow.* A bound that is not finite, or larger in magnitude than ``LIMIT``, proves nothing: the
caller treats it as no bound at all. Inside ``LIMIT`` no product of a bound and a weight overflows.

*Sums of nonnegative terms* have relative error below gamma(n), so ``enlarged(fl(s), n)`` is at
least ``s``.

*binary32.* The same holds of a network's own arithmetic with ``u = 2**-24``: whatever tree of
additions computes ``s`` in binary32 from the exact products of float32 numbers,

    |fl32(s) - s| <= gamma32(n) * (|x_1 y_1| + ... + |x_n y_n|) + tiny32(n, max |x|, max |y|).

``tiny32`` covers what flushing subnormal results and operands to zero can do: an operation whose
result is flushed is off by at most ``2**-126``, an addition with flushed operands by twice that,
and a product with one by ``2**-126`` times the other factor; ``n`` products and ``n - 1`` additions
make at most ``n (4 + max |x| + max |y|) 2**-126``, and later roundings less than double it.

No partial sum of any tree exceeds twice ``|x_1 y_1| + ...``; where that is at most ``LIMIT32``
nothing overflows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ETA",
    "LIMIT",
    "LIMIT32",
    "UNIT",
    "down",
    "enlarged",
    "gamma",
    "gamma32",
    "tiny32",
    "up",
]

Array = npt.NDArray[np.float64]

UNIT = 2.0**-53
LIMIT = 2.0**500
ETA = 2.0**-500
_UNIT32 = 2.0**-24
LIMIT32 = 2.0**126
_SMALLEST_NORMAL32 = 2.0**-126


def gamma(terms: int) -> float:
    """An upper bound on ``n u / (1 - n u)``; ``terms`` is ``n``.

    Raises:
        ValueError: ``n u`` is not small; no sum that fits into memory is that long.
    """
    if not 0 <= terms < 2**40:
        raise ValueError(f"no rounding bound for a sum of {terms} terms")
    # n u is exact; the division rounds once and the factor (1 + 2u) makes up for it.
    return terms * UNIT / (1 - terms * UNIT) * (1 + 4 * UNIT)


def gamma32(terms: int) -> float:
    """An upper bound on ``n u / (1 - n u)`` for binary32; ``terms`` is ``n``.

    Raises:
        ValueError: ``n u`` is not small: sums that long have no useful bound in binary32.
    """
    if not 0 <= terms < 2**22:
        raise ValueError(f"no binary32 rounding bound for a sum of {terms} terms")
    return terms * _UNIT32 / (1 - terms * _UNIT32) * (1 + 4 * UNIT)


def tiny32(terms: int, first: Any, second: Any) -> Array:
    """What flushing to zero can do to a binary32 sum of ``terms`` products, from above.

    Args:
        terms: how many products, the bias counted as one.
        first: at least the magnitude of all first factors.
        second: at least the magnitude of all second factors.
    """
    return np.asarray(2 * terms * (4 + (first + second)) * _SMALLEST_NORMAL32 * (1 + 8 * UNIT))


def down(values: Any) -> Array:
    """Below the exact result of the one operation that gave ``values`` (underflow included).

    That is off by at most half a unit in the last place, or by underflow. What is subtracted here
    is at least a whole unit, ``2 u |v|``, and at least ``ETA``; as rounding is monotone, so is the
    difference as computed. (``nextafter`` would do, and takes eight times as long.)
    """
    return np.asarray(values - _unit_in_the_last_place(values))


def up(values: Any) -> Array:
    """Above the exact result of the one operation that gave ``values``: see ``down``."""
    return np.asarray(values + _unit_in_the_last_place(values))


def _unit_in_the_last_place(values: Any) -> Any:
    """At least that, and at least ``ETA``; in place, because large arrays cost their memory.

    The product with a power of two is exact, or so small that ``ETA`` makes up for it; a sum of
    nonnegative terms is rounded to no less than each of them.
    """
    unit = np.abs(values)
    unit *= 2 * UNIT
    unit += ETA
    return unit


def enlarged(values: Any, terms: int) -> Array:
    """Above the exact sum of ``terms`` nonnegative terms whose computed sum is ``values``.

    Each term may itself be the result of up to four roundings, upwards or to nearest.

    The exact sum is at most ``values / (1 - gamma(n + 4)) + (n + 4) ETA``, and
    ``1 / (1 - gamma(m)) <= 1 + 2 gamma(m)`` for the sizes allowed; the multiplication and the
    addition here round twice more, which two further terms pay for.
    """
    return np.asarray(values * (1 + 2 * gamma(terms + 8)) + 2 * (terms + 8) * ETA)
