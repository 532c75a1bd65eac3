"""Slopes by trial, for networks that the torch twin does not relax.

Where softmax or products of two values leave no gradient to follow, the trusted pass itself is
asked: the slope of one open ReLU after the other is moved up and down, all these trials side by
side, and the moves that help are made together. The evidence is that of alpha-CROWN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.checker.relu import open_phases
from asi_verify.checker.split_tree import margins_over
from asi_verify.checker.trusted import Advice, Bounds
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.evidence import Intermediate, TreeEvidence
from asi_verify.core.verdict import Proved, Verdict
from asi_verify.prove.alpha_crown import LARGEST, slopes_tree
from asi_verify.prove.stage import Batch, Stage, StageResult, late_where_open
from asi_verify.prove.twins import by_value, open_slopes, twin_for

__all__ = ["SlopeTrials"]

Array = npt.NDArray[np.float64]
_NUMBERS_AT_ONCE = 1 << 21
"""Slopes of the trials that are bounded side by side."""
_SHARES = (0.1, 0.25, 0.5, 1.0)
"""Of the moves that help one by one: those that help most are made together."""


@dataclass(frozen=True)
class SlopeTrials(Stage):
    """Slopes of the property's rows, found without gradients.

    Attributes:
        steps: rounds; the moves of each are half as large as those of the one before.
        most_open: networks with more open phases over the region are left alone.
    """

    steps: int = 3
    most_open: int = 1024
    name: str = "slope trials"

    def attempt(self, batch: Batch) -> StageResult:
        found: list[Verdict | None] = [None] * len(batch)
        trusted = batch.trusted
        if batch.reach is not None or not trusted.neurons:
            return StageResult(tuple(found))
        if twin_for(batch.artifact.network, "cpu") is not None:  # which has gradients
            return StageResult(tuple(found))
        parts: dict[str, bytes] = {}
        for sample in range(len(batch)):
            if batch.is_late():
                break
            given = batch.take(np.array([sample]))
            bounds = given.root_bounds(Intermediate.BACKWARD)
            slopes = self._improved(given, bounds)
            if slopes is None:
                continue
            kept = open_slopes(trusted, bounds, slopes[None].astype(np.float32), LARGEST)
            tree = slopes_tree(kept[0])
            (margin,) = margins_over(
                trusted, bounds, batch.property_, Intermediate.BACKWARD, [tree]
            )
            if margin > 0:
                data = tree.to_bytes()
                parts[bytes_digest(data)] = data
                evidence = TreeEvidence(Intermediate.BACKWARD, bytes_digest(data))
                found[sample] = Proved(evidence)
        return StageResult(late_where_open(batch, found), 0, parts)

    def _improved(self, batch: Batch, bounds: Bounds) -> Array | None:
        """Slopes of every row, shape ``(R, neurons)``; None where there is nothing to try."""
        boxes = [bounds.boxes[value] for value in batch.trusted.neurons]
        places = np.flatnonzero(np.concatenate([open_phases(b).reshape(-1) for b in boxes]))
        if not 0 < len(places) <= self.most_open:
            return None
        canonical = np.concatenate([(b.upper >= -b.lower).reshape(-1) for b in boxes])
        wanted = batch.property_.summed()
        rows = len(wanted.rows())
        slopes = np.repeat(canonical[None].astype(np.float64), rows, axis=0)
        best = self._values(batch, bounds, slopes[None])[0]
        for step in 0.5 ** np.arange(self.steps):
            if batch.is_late() or wanted.overall(best[None])[0] > 0:
                break
            up, down = (
                self._each_moved(batch, bounds, slopes, places, by) - best for by in (step, -step)
            )
            gain, by = np.maximum(up, down), np.where(up >= down, step, -step)
            together = np.stack([self._together(slopes, places, gain, by, s) for s in _SHARES])
            values = self._values(batch, bounds, together)
            chosen = values.argmax(axis=0)
            for row, which in enumerate(chosen.tolist()):
                if values[which, row] > best[row]:
                    best[row], slopes[row] = values[which, row], together[which, row]
        return slopes

    def _each_moved(
        self, batch: Batch, bounds: Bounds, slopes: Array, places: npt.NDArray[np.intp], by: float
    ) -> Array:
        """The bounds of the rows with one slope moved, for each place, shape ``(places, R)``."""
        values = np.empty((len(places), len(slopes)))
        at_once = max(1, _NUMBERS_AT_ONCE // slopes.size)
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            moved = np.repeat(slopes[None], len(some), axis=0)
            trials = np.arange(len(some))
            moved[trials, :, some] = np.clip(moved[trials, :, some] + by, 0, 1)
            values[start : start + at_once] = self._values(batch, bounds, moved)
        return values

    @staticmethod
    def _together(
        slopes: Array, places: npt.NDArray[np.intp], gain: Array, by: Array, share: float
    ) -> Array:
        """Every row's slopes after the best share of the moves that help it."""
        moved = slopes.copy()
        for row in range(len(slopes)):
            helpful = np.argsort(-gain[:, row], kind="stable")[: int((gain[:, row] > 0).sum())]
            some = helpful[: max(1, int(share * len(helpful)))]
            moved[row, places[some]] = np.clip(moved[row, places[some]] + by[some, row], 0, 1)
        return moved

    @staticmethod
    def _values(batch: Batch, bounds: Bounds, slopes: Array) -> Array:
        """The trusted pass's bounds of the rows with each of some slopes, shape ``(T, R)``."""
        trusted, wanted = batch.trusted, batch.property_.summed()
        repeated = bounds.take(np.zeros(len(slopes), dtype=np.intp))
        advice = Advice(by_value(trusted, slopes))
        return trusted.rows(repeated, wanted, to_input=True, advice=advice)
