"""What the trusted pass says of parts, given what was found for each: it has the last word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asi_verify.checker.split_tree import leaf_bounds
from asi_verify.checker.trusted import Advice, Bounds
from asi_verify.core.evidence import Intermediate
from asi_verify.prove.phases.part import Part, weights_of
from asi_verify.prove.phases.sums import alike
from asi_verify.prove.stage import CLEAR, Batch
from asi_verify.prove.twins import by_value

__all__ = ["Judge"]


class Judge:
    """The trusted pass over parts of some samples' regions.

    Args:
        batch: the samples.
        root: the bounds over their whole regions.

    Attributes:
        neurons: how many can be cut.
    """

    def __init__(self, batch: Batch, root: Bounds) -> None:
        self._batch, self._root = batch, root
        self._property = batch.property_.summed()
        self._rows = len(self._property.rows())
        self.neurons = max(numbers.stop for numbers in batch.trusted.neurons.values())

    def bounds(self, parts: Sequence[Part]) -> Bounds:
        """Of every value, over each part."""
        bounds = self._root.take(np.array([part.sample for part in parts], dtype=np.intp))
        if not any(part.cuts for part in parts):
            return bounds
        paths = [part.cuts for part in parts]
        return leaf_bounds(self._batch.trusted, bounds, paths, Intermediate.INTERVAL)

    def values(self, parts: Sequence[Part], bounds: Bounds) -> npt.NDArray[np.float64]:
        """Bounds of each part's rows with the slopes and multipliers it has, ``(L, R)``."""
        shape = (len(parts), self._rows, self.neurons)
        slopes, multipliers = np.full(shape, np.nan), np.zeros(shape)
        for i, part in enumerate(parts):
            if part.slopes is not None:
                slopes[i] = part.slopes.dense()
            for column, cut in enumerate(part.cuts):
                multipliers[i, :, cut.number] -= cut.sign * part.multipliers[:, column]
        trusted = self._batch.trusted
        values = np.empty(shape[:2])
        for weights, some in alike(weights_of(parts, self._rows)):
            advice = Advice(by_value(trusted, slopes[some]), by_value(trusted, multipliers[some]))
            wanted = self._batch.property_.summed(weights)
            values[some] = trusted.rows(bounds.take(some), wanted, to_input=True, advice=advice)
        return values

    def closed(self, values: npt.NDArray[np.float64], bounds: Bounds) -> npt.NDArray[np.bool_]:
        """Which parts are closed, given the bounds of their rows; shape ``(L,)``."""
        lower = self._property.overall(values)
        return np.asarray(bounds.sound & (bounds.empty | (lower > CLEAR)))

    def still_open(self, parts: Sequence[Part], at_once: int) -> list[Part]:
        """Those that are not closed with what they have; so many are asked about at once."""
        found = []
        for start in range(0, len(parts), at_once):
            some = parts[start : start + at_once]
            bounds = self.bounds(some)
            closed = self.closed(self.values(some, bounds), bounds)
            found += [some[i] for i in np.flatnonzero(~closed).tolist()]
        return found
