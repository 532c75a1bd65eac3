"""Intensity regions: their few parameters in finer and finer cells, each of which is bounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.enumeration import divided_margin
from asi_verify.core.evidence import GridEvidence, Intermediate
from asi_verify.core.intensity import Intensity
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict
from asi_verify.prove.stage import Batch, Stage, StageResult

__all__ = ["Cells"]


@dataclass(frozen=True)
class Cells(Stage):
    """For intensity regions: random members, then grids over the parameters, coarse ones first.

    All parameters are cut into as many parts, twice as many each time. Cells are bounded over
    intermediate bounds by intervals, and where there are few, and that leaves one open, by backward
    passes of their own: those cost as much as many cells.

    Attributes:
        most_cells: of one region.
        most_backward: with backward passes for the intermediate bounds.
        tries: random members.
        seed: for these.
    """

    most_cells: int = 4096
    most_backward: int = 64
    tries: int = 256
    seed: int = 0
    name: str = "cells"

    def attempt(self, batch: Batch) -> StageResult:
        regions = batch.regions
        if regions is None or not isinstance(regions.family, Intensity):
            return StageResult((None,) * len(batch))
        # One region after the other: each is a batch of cells of its own.
        return StageResult(
            tuple(self._ask(batch, regions.family, regions.images[i], i) for i in range(len(batch)))
        )

    def _ask(
        self, batch: Batch, family: Intensity, image: npt.NDArray[Any], i: int
    ) -> Verdict | None:
        generator = np.random.default_rng([self.seed, batch.keys[i]])
        points = family.sample(np.repeat(image[None], self.tries, axis=0), generator)
        box = batch.box[np.full(len(points), i)]
        found = batch.artifact.session.replay(points, box, batch.property_, "random members")
        for witness in found:
            if witness is not None:
                return Refuted(witness)
        for evidence in self._ladder(len(family.parameters(image.ndim - 1))):
            if batch.is_late():
                return Undecided(Reason.DEADLINE)
            if divided_margin(batch.trusted, family, image, batch.property_, evidence) > 0:
                return Proved(evidence)
        return Undecided(Reason.TOO_LOOSE, f"no bound closes on each of {self.most_cells} cells")

    def _ladder(self, parameters: int) -> Iterator[GridEvidence]:
        """What is tried, cheapest first."""
        # The whole is what the stage before, CROWN, looked at.
        for power in itertools.count(1):
            each = 2**power
            if each**parameters > self.most_cells:
                return
            few = each**parameters <= self.most_backward
            intermediate = Intermediate.BACKWARD if few else Intermediate.INTERVAL
            yield GridEvidence((each,) * parameters, intermediate)
