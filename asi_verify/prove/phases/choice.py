"""At which phase a part is divided: the one whose two halves are bounded best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import Optimised
from asi_verify.prove.phases.part import Weights
from asi_verify.prove.phases.part_bounds import Asked, PartBounds
from asi_verify.prove.phases.sums import Sums

__all__ = ["Choice"]

_CANDIDATES = 4
"""Phases of which one is chosen by bounding both halves: where the product of what they gain is
largest, as mixed integer programming does it (Achterberg 2007). A sum would prefer phases of which
one half closes and the other gains nothing, and make chains. Four are taken of those that may cost
most, which are mostly late ones, and four of those that do where the bound is lowest, mostly early
ones: each kind alone makes trees several times as large on some images of an ordinary CNN. So does
the product alone where it compares the kinds, ..."""
_TRIAL_STEPS = 2
"""... which is why the best of either are compared again after some steps of the optimiser: what a
late phase gains shows when slopes and multipliers follow. One step is too few; three take longer
and make trees no smaller."""
_SHARE = 0.1
"""Of what a phase may cost, added to what it does where the bound is lowest: several inputs may be
nearly as low."""
_LEAST = 1e-3
"""What a half gains at least, as a share of what its whole lacks: a product with 0 says nothing."""


@dataclass(frozen=True, eq=False)
class Choice:
    """For some parts that are bounded together.

    Attributes:
        own: the bounds over such parts.
        asked: of each part, as of ``own``.
        weights: of the parts' rows in their clauses' sums.
        whole: the property's bounds over the parts, shape ``(L,)``.
        sums: where the sums are.
        at_once: halves that are bounded at once.
    """

    own: PartBounds
    asked: Asked
    weights: Weights
    whole: npt.NDArray[np.float64]
    sums: Sums
    at_once: int

    def among(self, best: Optimised) -> npt.NDArray[np.intp]:
        """The number of the neuron at which each part is best divided, shape ``(L,)``.

        Args:
            best: what was found for the parts: what their phases cost.
        """
        rows, found = np.arange(len(self.whole)), []
        for costs in (best.costs, best.gaps + _SHARE * best.costs):
            some = np.argsort(-costs, axis=1, kind="stable")[:, :_CANDIDATES]
            scores = self._scores(some)
            scores[np.take_along_axis(costs, some, axis=1) <= 0] = -np.inf
            found.append(some[rows, scores.argmax(axis=1)])
        chosen, other = found
        unsure = np.flatnonzero(chosen != other)
        if len(unsure):
            both = np.stack(found, axis=1)[unsure]
            first = self._of(unsure)._scores(both, steps=_TRIAL_STEPS).argmax(axis=1)
            chosen[unsure] = both[np.arange(len(unsure)), first]
        return np.asarray(self.own.numbers[chosen])

    def _of(self, parts: npt.NDArray[np.intp]) -> Choice:
        """For some of the parts."""
        asked, weights, whole = self.asked.take(parts), self.weights[parts], self.whole[parts]
        return Choice(self.own, asked, weights, whole, self.sums, self.at_once)

    def _scores(self, neurons: npt.NDArray[np.intp], steps: int = 0) -> npt.NDArray[np.float64]:
        """The products of what both halves gain after some steps, of each part at each neuron."""
        halves = np.indices((*neurons.shape, 2)).reshape(3, -1)
        lower = np.empty(halves.shape[1])
        for start in range(0, len(lower), self.at_once):
            now = slice(start, start + self.at_once)
            part, column, side = halves[:, now]
            some = self.asked.take(part).divided(neurons[part, column], 2 * side - 1)
            found = self.own.optimised(some, steps).lower if steps else self.own.lower(some)
            lower[now] = self.sums.overall(found, self.weights[part])
        gains = np.minimum(lower.reshape(*neurons.shape, 2), 0) - self.whole[:, None, None]
        least = _LEAST * np.abs(self.whole)[:, None, None]
        return np.asarray(np.maximum(gains, least).prod(axis=2))
