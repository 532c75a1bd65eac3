"""The trusted rule of the matrix product of two values, ``z_ij = sum_k x_ik y_kj``.

*Interval.* Each product is smallest and largest at corners of the two intervals; ``K`` of them are
added. With ``S`` the sum of the products of the largest magnitudes, the computed sum of corners is
off by at most ``gamma(K + 1) S + K ETA``.

*Backwards.* For any ``p``, ``q`` exactly ``x y = q x + p y - p q + (x - p)(y - q)``. With ``p`` and
``q`` in the middle of the intervals, of radii ``r`` and ``s``, the last term is at least ``-r s``
and at most ``r s``: of the two planes of McCormick (1976) on either side this is the mean. Summed,

    a . z >= (a Q^T) . x + (P^T a) . y - a . (P Q) - |a| . (R S).

Which ``p`` and ``q`` are taken decides how good the bound is, never whether it is one.

*In binary32* a number of the output is any tree of its ``K`` products; each term passes through at
most ``K`` roundings. Three more are allowed for: a factor that a runtime multiplies the sum with
inside of it, and another value that it adds there (see ``AddRule``).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, gamma32, tiny32, up
from asi_verify.checker.rules import (
    Functionals,
    PushedBack,
    Rule,
    largest_magnitude,
    largest_of_each,
)
from asi_verify.core.box import Box
from asi_verify.core.operators import Shape
from asi_verify.core.semantics import Semantics

__all__ = ["MatMulRule"]

Array = npt.NDArray[np.float64]

_AT_ONCE = 1 << 16
"""How many products are looked at together, unless a batch has more outputs than that."""


class MatMulRule(Rule):
    """``x y`` along the last two axes.

    Raises:
        ValueError: the sums are too long for a bound in binary32.
    """

    relaxes: ClassVar[bool] = True

    def __init__(self, first: Shape, second: Shape, semantics: Semantics) -> None:
        self._rows, self.terms_forward, self._columns = first[-2], first[-1], second[-1]
        self._in_float32 = semantics is Semantics.FLOAT32
        self._local = gamma32(self.terms_forward + 3) if self._in_float32 else 0.0

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_]:
        return np.asarray(box.lower < box.upper)

    def _reach(self, *boxes: Box) -> Array:
        """At least the sum of the magnitudes of the products that each output is made of."""
        first, second = (largest_magnitude(box) for box in boxes)
        return enlarged(first @ second, self.terms_forward)

    def interval(self, *boxes: Box) -> Box:
        first, second = boxes
        reach = self._reach(*boxes)
        low, high = np.zeros(reach.shape), np.zeros(reach.shape)
        terms, step = self.terms_forward, max(1, _AT_ONCE // reach.size)
        for start in range(0, terms, step):
            some = slice(start, start + step)
            corners = [
                x[..., :, some, None] * y[..., None, some, :]
                for x in (first.lower, first.upper)
                for y in (second.lower, second.upper)
            ]
            low += np.min(corners, axis=0).sum(axis=-2)
            high += np.max(corners, axis=0).sum(axis=-2)
        spread = enlarged(gamma(terms + 1) * reach, 1) + 2 * terms * ETA
        local = self.local_error(*boxes)
        if local is not None:
            spread = enlarged(spread + local, 2)
        return Box(down(low - spread), up(high + spread))

    def local_error(self, *boxes: Box) -> Array | None:
        """``gamma32(K + 3) S``, and what flushing to zero may do."""
        if not self._in_float32:
            return None
        reach = self._reach(*boxes)
        x, y = (largest_of_each(box) for box in boxes)
        flushed = tiny32(self.terms_forward + 1, x, y).reshape(-1, *([1] * (reach.ndim - 1)))
        return enlarged(self._local * reach + flushed, 2)

    def largest_sum(self, *boxes: Box) -> Array | float:
        reach = self._reach(*boxes)
        return np.asarray(reach.reshape(len(reach), -1).max(axis=1))

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """As above.

        With ``n`` columns, ``m`` rows and ``N`` outputs, the computed ``a Q^T`` and ``P^T a`` are
        off by at most ``gamma(n) |a| |Q|^T`` and ``gamma(m) |P|^T |a|``, the products with ``x``
        and ``y`` therefore by ``gamma(n) |a| . S`` and ``gamma(m) |a| . S``; the constant by
        ``gamma(K + N + 2) |a| . S``, as ``|P| |Q| <= S``: centres lie in their intervals. What
        underflows adds ``n ETA sum |x| + m ETA sum |y| + 2 K N ETA`` at most. The radii cover both
        ends from the computed centre. In float32 the operator's own rounding is added, weighed by
        ``|a|``.
        """
        if functionals.owners is None:
            raise ValueError("the middles are those of a sample; give each functional its own")
        a, owners = functionals.coefficients, functionals.owners
        p, q = (0.5 * (box.lower + box.upper) for box in boxes)
        r, s = (
            up(np.maximum(box.upper - middle, middle - box.lower))
            for box, middle in zip(boxes, (p, q), strict=True)
        )
        terms, size = self.terms_forward, functionals.size
        lost = enlarged(r @ s, terms)
        rounding = gamma(self._rows + self._columns + terms + size + 4)
        weighed = enlarged(rounding * self._reach(*boxes), 1) + lost
        local = self.local_error(*boxes)
        weighed = enlarged(weighed if local is None else weighed + local, 2)
        tiny = np.full(len(p), 2.0 * terms * size)
        for box, count in zip(boxes, (self._columns, self._rows), strict=True):
            tiny += count * largest_magnitude(box).reshape(len(p), -1).sum(axis=1)
        error = enlarged(functionals.absolute().dot(weighed), size)
        return PushedBack(
            (
                a @ np.swapaxes(q, -1, -2)[owners],
                np.swapaxes(p, -1, -2)[owners] @ a,
            ),
            -functionals.dot(p @ q),
            enlarged(error + functionals.of_owner(4 * ETA * tiny), 2),
        )
