"""Multipliers for a leaf on which the network is affine: the duals of a linear programme.

Farkas' lemma: if no input of the leaf's box satisfies the leaf's phases and violates the row, some
nonnegative multiples of the phases show it. HiGHS finds them; the trusted pass decides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.prove.phases.highs import minimised

__all__ = ["Multipliers", "balanced", "multipliers_for"]

Array = npt.NDArray[np.float64]
_ENOUGH = 2.0


class Multipliers(NamedTuple):
    """What the programme says.

    Attributes:
        multipliers: one for each phase, not negative.
        point: where the row is smallest; None if no input satisfies the phases.
    """

    multipliers: Array
    point: Array | None


def balanced(
    rows: Array, constants: Array, phases: Array, phase_constants: Array, lower: Array, upper: Array
) -> tuple[Array, Array | None]:
    """Shares of rows whose mean is positive on a leaf on which one of them always is.

    The duals of the programme that looks for the input at which the largest row is smallest.

    Args:
        rows: shape ``(m, n)``, affine on the leaf.
        constants: shape ``(m,)``.
        phases: as for ``multipliers_for``.
        phase_constants: shape ``(k,)``.
        lower: shape ``(n,)``.
        upper: shape ``(n,)``.

    Returns:
        Shares, shape ``(m,)``, the largest of them 1; and that input. Equal shares and None if the
        solver fails, as where no input satisfies the phases.
    """
    count, n = rows.shape
    below_top = np.hstack([rows, -np.ones((count, 1))])
    known = np.hstack([-phases, np.zeros((len(phases), 1))])
    bounds = np.vstack([np.stack([lower, upper], axis=1), [-np.inf, np.inf]])
    found = minimised(
        np.append(np.zeros(n), 1.0),
        np.vstack([below_top, known]),
        np.concatenate([-constants, phase_constants]),
        bounds,
    )
    shares = np.ones(count)
    if found.status != 0:
        return shares, None
    duals = np.maximum(-found.ineqlin.marginals[:count], 0)
    return (duals / duals.max() if duals.max() > 0 else shares), np.asarray(found.x[:-1])


def multipliers_for(
    row: Array, constant: float, phases: Array, constants: Array, lower: Array, upper: Array
) -> Multipliers | None:
    """Minimise a row over a box where affine functions are not negative.

    Args:
        row: coefficients, shape ``(n,)``.
        constant: of the row.
        phases: shape ``(k, n)``; each ``phases @ x + constants`` is known to be at least 0.
        constants: shape ``(k,)``.
        lower: shape ``(n,)``.
        upper: shape ``(n,)``.

    Returns:
        The multipliers, or None if the solver fails.
    """
    bounds = np.stack([lower, upper], axis=1)
    found = minimised(row, -phases, constants, bounds)
    if found.status == 0:
        return Multipliers(np.maximum(-found.ineqlin.marginals, 0), np.asarray(found.x))
    # No such input, then: by how much is some phase violated everywhere? The duals of that show it,
    # and enough of them outweigh the row.
    k, n = phases.shape
    elastic = np.hstack([-phases, -np.ones((k, 1))])
    found = minimised(
        np.append(np.zeros(n), 1.0), elastic, constants, np.vstack([bounds, [0, np.inf]])
    )
    if found.status != 0 or found.fun <= 0:
        return None
    lowest = constant + np.minimum(row * lower, row * upper).sum()
    scale = _ENOUGH * max(1.0 - lowest, 1.0) / found.fun
    return Multipliers(np.maximum(-found.ineqlin.marginals, 0) * scale, None)
