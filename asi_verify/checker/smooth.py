"""The trusted rule of smooth functions of one number; its lines are those of ``checker.lines``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, down, enlarged, gamma, up
from asi_verify.checker.curves import Curve
from asi_verify.checker.lines import Lines, lines_of, range_of
from asi_verify.checker.rules import Functionals, PushedBack, Rule, largest_magnitude
from asi_verify.core.box import Box
from asi_verify.core.semantics import Semantics

__all__ = ["SmoothRule"]

Array = npt.NDArray[np.float64]


class SmoothRule(Rule):
    """``f(x)``, number by number."""

    relaxes: ClassVar[bool] = True

    def __init__(self, curve: Curve, semantics: Semantics) -> None:
        self._curve = curve
        self._in_float32 = semantics is Semantics.FLOAT32
        self._last: tuple[Box, Lines] | None = None

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_]:
        return np.asarray(box.lower < box.upper)

    def interval(self, *boxes: Box) -> Box:
        """The ends' values, or the floor where the lowest point may lie inside."""
        (box,) = boxes
        lower, upper = range_of(self._curve, box.lower, box.upper)
        local = self.local_error(box)
        if local is None:
            return Box(lower, upper)
        return Box(down(lower - local), up(upper + local))

    def local_error(self, *boxes: Box) -> Array | None:
        if not self._in_float32:
            return None
        (box,) = boxes
        return up(self._curve.rough(largest_magnitude(box)) * (1 + 2.0**-50))

    def largest_sum(self, *boxes: Box) -> Array | float:
        (box,) = boxes
        size = largest_magnitude(box).reshape(len(box), -1).max(axis=1)
        # Beyond 2^200 the cube is out of range, whatever it is.
        reach = np.minimum(1 + size, 2.0**200) ** 3 if self._curve.cubes else 2 * (1 + size)
        return np.asarray(reach)

    def push_back(self, functionals: Functionals, *boxes: Box) -> PushedBack:
        """A line for each number: the one below where its coefficient is positive, else above.

        Coefficients ``a k`` are off by one rounding each, which ``x`` multiplies; constants
        ``a c`` by one each and by their sum's: ``gamma(N + 3)`` covers both. In float32 the
        operator's own rounding is added, weighed by ``|a|``.
        """
        (box,) = boxes
        if functionals.owners is None:
            raise ValueError("the lines are those of a sample; give each functional its own")
        owners, a = functionals.owners, functionals.flat
        below, low, above, high = self._lines(box)
        b = a * np.where(a > 0, below[owners], above[owners])
        constants = a * np.where(a > 0, low[owners], high[owners])
        size = largest_magnitude(box).reshape(len(box), -1)
        terms = a.shape[1]
        reach = np.einsum("pn,pn->p", np.abs(b), size[owners]) + np.abs(constants).sum(axis=1)
        error = enlarged(gamma(terms + 3) * enlarged(reach, terms), 1) + 8 * terms * ETA
        local = self.local_error(box)
        if local is not None:
            error = enlarged(error + enlarged(functionals.absolute().dot(local), terms), 2)
        return PushedBack(
            (b.reshape(functionals.coefficients.shape),), constants.sum(axis=1), error
        )

    def _lines(self, box: Box) -> Lines:
        """The lines of every number of every sample, each array of shape ``(B, size)``."""
        # Backward passes ask for those of the same box again and again.
        last = self._last
        if last is None or last[0] is not box:
            last = (box, lines_of(self._curve, box))
            self._last = last
        return last[1]
