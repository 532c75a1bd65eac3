"""Lower bounds on functionals of the input over images whose intensities change together.

An input is, within the slack, ``clip(g(t), 0, 1)`` with ``g(t) = base + t_1 D_1 + ... + t_K D_K``.
Over the range that ``g_i`` has, ``clip`` lies between two lines, as two ReLUs do; with the one that
the sign of its coefficient asks for, a functional becomes linear in ``t``, and its smallest value
over the box of the parameters is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, up
from asi_verify.checker.rules import Functionals
from asi_verify.core.box import Box
from asi_verify.core.reach import IntensityReach

__all__ = ["lowest_under"]

Array = npt.NDArray[np.float64]


class _Lines(NamedTuple):
    """For samples of one reach, what lies below and above every number, at some positions.

    With ``t = c + s`` for the middle ``c`` of the parameters' box and ``|s_k| <= radii_k``, every
    number ``x_i`` of an input is at least ``at_middle.lower_i + sum_k s_k below_i D_ik`` and at
    most ``at_middle.upper_i + sum_k s_k above_i D_ik``.

    Attributes:
        at_middle: shape ``(S, C, n)``.
        below: slopes in [0, 1], same shape.
        above: same.
        directions: the ``D_k``, each with at most one rounding, same shape.
        radii: shape ``(S, K)``.
    """

    at_middle: Box
    below: Array
    above: Array
    directions: list[Array]
    radii: Array


def lowest_under(
    reach: IntensityReach, used: npt.NDArray[np.intp], functionals: Functionals
) -> Array:
    """At most the smallest value of functionals of some positions of the input, shape ``(P,)``.

    The slope of ``t_k`` is ``w = sum_i a_i m_i D_ik`` with the slopes ``m`` of the lines. Its terms
    are three roundings off, so as computed it is off by at most ``gamma(N + 3)`` times their
    magnitudes and by what underflows: with ``|a| <= LIMIT`` less than ``N ETA``.

    Args:
        reach: of ``B`` samples.
        used: which positions, of all channels; shape ``(n,)``.
        functionals: coefficients ``(P, C, n)``, with an owner each.
    """
    assert functionals.owners is not None
    rows, owners = np.unique(functionals.owners, return_inverse=True)
    lines = _lines(reach.take(rows), used)
    own = Functionals(functionals.coefficients, owners)
    a, size = own.coefficients, own.size
    terms = a * np.where(a > 0, lines.below[owners], lines.above[owners])
    falls = np.zeros(len(a))
    for k, direction in enumerate(lines.directions):
        slope = np.einsum("pcn,pcn->p", terms, direction[owners])
        magnitudes = np.einsum("pcn,pcn->p", np.abs(terms), np.abs(direction[owners]))
        off = up(gamma(size + 3) * enlarged(magnitudes, size)) + 2 * size * ETA
        falls += lines.radii[owners, k] * up(np.abs(slope) + up(off))
    return down(own.lowest(lines.at_middle) - enlarged(falls, len(lines.directions)))


def _lines(reach: IntensityReach, used: npt.NDArray[np.intp]) -> _Lines:
    """The lines of all samples.

    The ``g_i(c)`` as computed are off by at most ``gamma(K + 2)`` times the magnitudes summed, and
    by underflow: each of their terms passes two products and ``K`` sums. A slope of at most 1
    carries no more than that into a line's value.
    """
    form = (*reach.base.shape[:2], -1)
    directions = [reach.direction(k).reshape(form)[:, :, used] for k in range(len(reach.fields))]
    middle = reach.base.reshape(form)[:, :, used]
    centres = 0.5 * (reach.lower + reach.upper)
    radii = up(np.maximum(reach.upper - centres, centres - reach.lower))
    size, spread = np.abs(middle), np.zeros_like(middle)
    for k, direction in enumerate(directions):
        middle = middle + centres[:, k, None, None] * direction
        size = size + np.abs(centres[:, k, None, None] * direction)
        spread = spread + radii[:, k, None, None] * np.abs(direction)
    count = len(directions)
    off = up(gamma(count + 2) * enlarged(size, count + 1)) + 2 * count * ETA
    room = up(off + enlarged(spread, count))
    low, high = down(middle - room), up(middle + room)
    below = _slope_below(low, high)
    # What is above is below when seen from white: 1 - clip(g) = clip(1 - g).
    above = _slope_below(1 - high, 1 - low)
    lower = down(down(down(below * middle) + _offsets(below, low, high)[0]) - off)
    upper = up(up(up(above * middle) + _offsets(above, low, high)[1]) + off)
    at_middle = Box(down(lower - reach.slack), up(upper + reach.slack))
    return _Lines(at_middle, below, above, directions, radii)


def _slope_below(low: Array, high: Array) -> Array:
    """A good slope, from 0 to 1, of a line below ``clip`` between two numbers; any is right.

    From 0 on ``clip`` bends downwards, and the chord is best. Else it is 0 or, through the origin,
    what reaches ``clip`` at the upper end, by which of the two leaves less between.
    """
    wide = np.where(high > low, high - low, 1.0)
    chord = (np.clip(high, 0, 1) - np.clip(low, 0, 1)) / wide
    through_0 = np.where(high >= -low, 1 / np.maximum(high, 1), 0)
    return np.clip(np.where(low < 0, through_0, chord), 0, 1)


def _offsets(slope: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """At most the smallest, and at least the largest, ``clip(g) - slope g`` between two numbers.

    It is linear but for kinks at 0 and 1, so its extremes are there or at the ends.
    """
    least, most = np.full_like(low, np.inf), np.full_like(low, -np.inf)
    for g in (low, high, np.clip(0, low, high), np.clip(1, low, high)):
        value, product = np.clip(g, 0, 1), slope * g
        least = np.minimum(least, down(value - up(product)))
        most = np.maximum(most, up(value - down(product)))
    return least, most
