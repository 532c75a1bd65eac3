"""The trusted rule of ReLU: linear bounds that are right whatever slope they are given.

For one coefficient ``a`` on ``relu(z)`` with ``z`` in ``[l, u]``, and *any* number ``b`` as the
coefficient on ``z`` that replaces it, the function ``a relu(z) - b z`` is piecewise linear with
its only kink at 0. Its minimum over ``[l, u]`` is therefore attained at ``l``, at ``u`` or at 0
if 0 lies between, and

    a relu(z) >= b z + min(a relu(l) - b l, a relu(u) - b u, 0 if l < 0 < u).

The slope rule decides how good the bound is, never whether it is one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, enlarged, gamma
from asi_verify.checker.rules import Functionals, PushedBack, Rule
from asi_verify.core.box import Box

__all__ = ["ReluRule", "open_phases"]

Array = npt.NDArray[np.float64]


def open_phases(box: Box) -> npt.NDArray[np.bool_]:
    """Where a ReLU's input may lie on either side of 0, shape ``(B, *shape)``."""
    return np.asarray((box.lower < 0) & (box.upper > 0))


class ReluRule(Rule):
    """``max(x, 0)``, number by number."""

    relaxes = True

    def open_numbers(self, box: Box) -> npt.NDArray[np.bool_]:
        return open_phases(box)

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        return Box(np.maximum(box.lower, 0.0), np.maximum(box.upper, 0.0))

    def push_back(
        self, functionals: Functionals, *boxes: Box, slopes: Array | None = None
    ) -> PushedBack:
        """The chord from above; from below the slopes given, else 1 or 0.

        Args:
            functionals: each with its owner.
            boxes: that of the input.
            slopes: shape ``(P, size)``, for open phases; NaN, or None altogether, for the canonical
                rule.

        Where the phase is fixed the slope is exactly 1 or 0 and nothing is lost: ``b = a`` or
        ``b = 0``, and the minimum above is 0. Where it is open, with ``l < 0 < u``,

            min(-b l, (a - b) u, 0)

        is computed with at most three roundings a term, and ``N`` terms are summed: off by at
        most ``gamma(N + 3) sum (|a| + |b|) max(-l, u) + 4 N ETA`` in all.
        """
        (box,) = boxes
        if functionals.owners is None:
            raise ValueError("a ReLU's slopes are those of a sample; give each functional its own")
        owners = functionals.owners
        shape = (len(box), -1)
        lower, upper = box.lower.reshape(shape), box.upper.reshape(shape)
        is_open = open_phases(box).reshape(shape)
        active = lower >= 0
        with np.errstate(divide="ignore", invalid="ignore"):
            chord = np.where(is_open, upper / (upper - lower), active)
        from_below = np.where(is_open, upper >= -lower, active)
        open_lower, open_upper = np.where(is_open, lower, 0.0), np.where(is_open, upper, 0.0)

        a = functionals.flat
        chosen = from_below[owners]
        if slopes is not None:
            chosen = np.where(is_open[owners] & ~np.isnan(slopes), slopes, chosen)
        b = a * np.where(a > 0, chosen, chord[owners])
        below, above = open_lower[owners], open_upper[owners]
        constants = np.minimum(np.minimum(-b * below, (a - b) * above), 0.0)
        terms = a.shape[1]
        reach = np.einsum("pn,pn->p", np.abs(a) + np.abs(b), np.maximum(-below, above))
        return PushedBack(
            (b.reshape(functionals.coefficients.shape),),
            constants.sum(axis=1),
            enlarged(gamma(terms + 3) * enlarged(reach, terms), 1) + 8 * terms * ETA,
        )
