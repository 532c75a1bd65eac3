"""Parts on which no phase is open: the network is affine there, and a linear programme is exact."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import BackwardTwin
from asi_verify.checker.trusted import Bounds
from asi_verify.core.box import Box
from asi_verify.core.split_tree import Cut, Slopes
from asi_verify.prove.phases.farkas import balanced, multipliers_for
from asi_verify.prove.phases.part import Array, Part
from asi_verify.prove.phases.sums import Sums
from asi_verify.prove.stage import Batch
from asi_verify.prove.twins import boxes_for

__all__ = ["AffineProof", "affine_proof"]


class AffineProof(NamedTuple):
    """What the programmes say; the trusted pass decides.

    Attributes:
        slopes: the canonical ones, with weights of the sums.
        multipliers: of the part's cuts, shape ``(R, cuts)``.
        points: where rows are smallest, each of shape ``(inputs,)``.
    """

    slopes: Slopes
    multipliers: Array
    points: list[npt.NDArray[np.float64]]


def affine_proof(
    batch: Batch, twin: BackwardTwin, part: Part, bounds: Bounds, lower: Array, sums: Sums
) -> AffineProof | None:
    """Weights and multipliers with which each row is bounded as high as can be.

    Args:
        batch: of the part's sample, among others.
        twin: of the network.
        part: one without an open phase.
        bounds: over it.
        lower: the twin's bounds of its rows; those above 0 keep the multipliers that they have.
        sums: of the property that is asked about.

    Returns:
        None if the solver fails.
    """
    boxes = boxes_for(twin, bounds)
    ends = tuple(end.reshape(-1).astype(np.float64) for end in (boxes[0].lower, boxes[0].upper))
    phases = [_phase(batch, twin, boxes, cut) for cut in part.cuts]
    a = np.array([p for p, _ in phases]).reshape(len(phases), len(ends[0]))
    b = np.array([c for _, c in phases])
    output = batch.artifact.network.output
    every, constants = sums.property_.rows(), sums.property_.constants()
    points: list[npt.NDArray[np.float64]] = []
    weights = np.zeros(len(every), np.uint8)
    for terms in sums.terms.T:
        rows, added = twin.affine(boxes, output, every[terms])
        shares, point = balanced(rows.astype(np.float64), added + constants[terms], a, b, *ends)
        weights[terms] = np.rint(shares * 255)
        points += [] if point is None else [point]
    wanted = batch.property_.summed(weights)
    rows, added = twin.affine(boxes, output, wanted.rows())
    multipliers = part.multipliers.copy()
    for r in np.flatnonzero(~(lower > 0)):
        constant = float(added[r] + wanted.constants()[r])
        found = multipliers_for(rows[r].astype(np.float64), constant, a, b, *ends)
        if found is None:
            return None
        multipliers[r] = found.multipliers
        points += [] if found.point is None else [found.point]
    neurons = max(numbers.stop for numbers in batch.trusted.neurons.values())
    none = np.full((len(every), neurons), np.nan)
    return AffineProof(Slopes.nearest(none, weights), multipliers, points)


def _phase(
    batch: Batch, twin: BackwardTwin, boxes: dict[int, Box], cut: Cut
) -> tuple[npt.NDArray[np.float64], float]:
    """A known phase as an affine function of the input that is not negative."""
    for value, numbers in batch.trusted.neurons.items():
        if numbers.start <= cut.number < numbers.stop:
            one = np.zeros((1, numbers.stop - numbers.start), np.float32)
            one[0, cut.number - numbers.start] = cut.sign
            coefficients, constants = twin.affine(boxes, value, one)
            return coefficients[0].astype(np.float64), float(constants[0])
    raise IndexError(cut.number)
