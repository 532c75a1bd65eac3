"""The smooth functions of one number: how they are computed, how far they bend, how they round.

Assumptions, numbered as in docs/explanation/smooth.md; each is measured densely by a test:

- E1: ``exp`` and ``tanh`` of numpy and ``erf`` and ``erfc`` of the standard library are within
  ``2**-48`` of the exact value, relative to it, or within ``2**-1000``, in binary64.
- E2: a runtime's sigmoid, tanh and erf are within ``ROUGH32 = 2**-19`` of the exact value, in
  binary32. They may lie outside of the function's range by as much; a runtime's GELU is made of
  these, or within the bound derived below.

*Values.* ``value`` is within ``EVALUATION (1 + |x|)`` of the exact function. For the sigmoid,
tanh and erf the error of E1 and at most three roundings make up less than ``2**-46``. Both kinds
of GELU are computed as ``max(x, 0) - |x| q(|x|)`` with ``q(t)`` either ``erfc(t / sqrt(2)) / 2`` or
``1 / (1 + exp(2 s))``, ``s = sqrt(2 / pi) (t + 0.044715 t^3)``: relative errors ``d`` of the
argument, at most 10 roundings, move the subtracted term by at most ``0.3 d`` and by at most
``t 2 s q(t) d <= 0.5 d``; it is at most 0.2, so E1 and the roundings make up less than
``2**-46 (1 + |x|)``.

*Curvature.* ``|f''(x)| <= min(bend, height exp(-rate |x|))``. With ``s`` the sigmoid,
``s'' = s (1 - s) (1 - 2 s)`` is at most ``sqrt(3) / 18`` and at most ``exp(-|x|)``; ``tanh(x) =
2 s(2 x) - 1``, so 8 times that at ``2 x``; ``erf'' = -4 / sqrt(pi) x exp(-x^2)`` and ``gelu'' =
phi(x) (2 - x^2)``. The constants, and those of the tanh form, are proved by interval arithmetic
over the whole line in the tests; they are not quite the least.

*Shape.* The sigmoid, tanh and erf increase. Both kinds of GELU decrease up to -0.753, are
convex from there to -0.751, increase from there on and are at least ``floor``; by interval
arithmetic too.

*GELU in binary32*, ``x (1 + erf(c x)) / 2`` in any order, is off by at most ``2**-19 |x|``, besides
``2**-120`` for what is flushed to zero. Its argument is off by at most 3 roundings and the factor's
own ``2**-22``, which move erf by at most half of that; E2 adds ``2**-19`` to it; the sum of 1 and
erf, and the products, make at most 6 roundings of a term of at most ``(2 + 2**-18) |x| / 2``:

    |x| / 2 (2**-19 + (2**-22 + 3 u) / 2 + 12 u (1 + 2**-18)) < 2**-19 |x|,      u = 2**-24.

With tanh the argument passes at most 10 roundings, its constants' own among them; the same sum has
``10 u / 2`` in its second term and stays below ``2**-19`` too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.operators import Operator
from asi_verify.core.smooth import Erf, Gelu, Sigmoid, Tanh

__all__ = ["EVALUATION", "RELATIVE", "ROUGH32", "Curve", "curve_of"]

Array = npt.NDArray[np.float64]

RELATIVE = 2.0**-48
EVALUATION = 2.0**-45
ROUGH32 = 2.0**-19
_FLUSHED32 = 2.0**-120


@dataclass(frozen=True)
class Curve:
    """One function of one number.

    Attributes:
        value: the function as computed in binary64.
        bend: at least the largest ``|f''|``.
        height: see ``curvature``.
        rate: see ``curvature``.
        floor: None for a function that increases; else a lower bound of the function, which has
            the shape of GELU.
        off: by how much the exact function may differ from this one, over the reals.
        cubes: whether a runtime computes ``x^3`` on the way.
    """

    value: Callable[[Array], Array]
    bend: float
    height: float
    rate: float
    floor: float | None = None
    off: float = 0.0
    cubes: bool = False

    def curvature(self, distance: Array) -> Array:
        """At least ``|f''(x)|`` wherever ``|x|`` is at least ``distance``."""
        tail = self.height * np.exp(-self.rate * distance)
        return np.asarray(np.minimum(self.bend, tail * (1 + 2.0**-40)))

    def rough(self, size: Array) -> Array:
        """What a runtime may be off by in binary32 for ``|x|`` at most ``size``."""
        if self.floor is None:
            return np.full(size.shape, ROUGH32)
        return np.asarray(ROUGH32 * size + _FLUSHED32)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    made = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(made(x), dtype=np.float64)


_ERF, _ERFC = _each(math.erf), _each(math.erfc)


def _gelu(x: Array) -> Array:
    size = np.abs(x)
    return np.asarray(np.maximum(x, 0.0) - size * (0.5 * _ERFC(size * math.sqrt(0.5))))


def _gelu_by_tanh(x: Array) -> Array:
    size = np.abs(x)
    inner = 2 * math.sqrt(2 / math.pi) * (size * (1 + 0.044715 * (size * size)))
    return np.asarray(np.maximum(x, 0.0) - size / (1 + np.exp(inner)))


def _quiet(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The function; where ``exp`` overflows, what is computed with it underflows, as it should."""

    def quiet(x: Any) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return function(x)

    return quiet


def curve_of(operator: Operator) -> Curve:
    """The curve of an operator.

    Raises:
        ValueError: it is not a smooth function of one number.
    """
    match operator:
        case Sigmoid():
            return Curve(_quiet(_sigmoid), bend=0.097, height=1.2, rate=1.0)
        case Tanh():
            return Curve(np.tanh, bend=0.776, height=9.6, rate=2.0)
        case Erf():
            return Curve(_ERF, bend=0.975, height=2.4, rate=1.0)
        case Gelu(tanh=False, slack=slack):
            # The factor off by d: |x / 2 (erf(c x (1 + d)) - erf(c x))| <= 0.294 d / (1 - d)^2.
            return Curve(
                _quiet(_gelu), bend=0.805, height=1.2, rate=1.0, floor=-0.16998, off=0.3 * slack
            )
        case Gelu():
            return Curve(
                _quiet(_gelu_by_tanh), bend=0.805, height=1.3, rate=1.0, floor=-0.17005, cubes=True
            )
        case _:
            raise ValueError(f"{type(operator).__name__} is no smooth function of one number")
