"""Divided regions: every choice of pixels is bounded, or every member is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.enumeration import divided_margin
from asi_verify.core.evidence import EnumerationEvidence
from asi_verify.core.pieces import Divided, Pieces, shown_count
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict, Witness
from asi_verify.prove.falsify import descended
from asi_verify.prove.stage import Batch, Stage, StageResult

__all__ = ["Members"]

_AT_ONCE = 256

Image = npt.NDArray[Any]


@dataclass(frozen=True)
class Members(Stage):
    """For k-pixel and patch regions: all choices of pixels as boxes, then single members.

    Attributes:
        most_pieces: of one region; of regions with more members only random ones are tried.
        tries: how many.
        steps: of a descent inside each box, where there are not more boxes than that and members
            cannot be gone through.
        seed: for the random ones.
    """

    most_pieces: int = 1 << 14
    tries: int = 1024
    steps: int = 5
    seed: int = 0
    name: str = "members"

    def attempt(self, batch: Batch) -> StageResult:
        regions = batch.regions
        if regions is None or not isinstance(regions.family, Divided):
            return StageResult((None,) * len(batch))
        # One region after the other: each is a batch of pieces of its own.
        return StageResult(
            tuple(self._ask(batch, regions.family, regions.images[i], i) for i in range(len(batch)))
        )

    def _ask(self, batch: Batch, family: Divided, image: Image, i: int) -> Verdict:
        if batch.is_late():
            return Undecided(Reason.DEADLINE)
        witness = self._replayed(batch, i, batch.centres[[i]], "the sample itself")
        if witness is None and self._proves(batch, family, image, Pieces.RANGE):
            return Proved(EnumerationEvidence(Pieces.RANGE))
        if Pieces.EACH not in family.ways:
            for search in (self._random, self._descended):
                witness = witness or search(batch, family, image, i)
            if witness is not None:
                return Refuted(witness)
            return Undecided(Reason.TOO_LOOSE, "no member was found wrong, but no bound closes")
        count = family.count(image.shape, Pieces.EACH)
        if witness is None:
            few = count <= self.most_pieces
            search = self._any_of if few else self._random
            witness = search(batch, family, image, i)
        if witness is not None:
            return Refuted(witness)
        if count > self.most_pieces:
            return Undecided(Reason.BUDGET, f"a region of {shown_count(count)} members")
        if self._proves(batch, family, image, Pieces.EACH):
            return Proved(EnumerationEvidence(Pieces.EACH))
        return Undecided(Reason.TOO_LOOSE, "no member was found wrong, but no bound closes on each")

    def _proves(self, batch: Batch, family: Divided, image: Image, pieces: Pieces) -> bool:
        if family.count(image.shape, pieces) > self.most_pieces:
            return False
        evidence = EnumerationEvidence(pieces)
        return divided_margin(batch.trusted, family, image, batch.property_, evidence) > 0

    def _any_of(self, batch: Batch, family: Divided, image: Image, i: int) -> Witness | None:
        for box in family.cover(image, Pieces.EACH, _AT_ONCE):
            for points in (box.lower, box.upper):
                witness = self._replayed(batch, i, points.astype(np.float32), "enumeration")
                if witness is not None:
                    return witness
        return None

    def _random(self, batch: Batch, family: Divided, image: Image, i: int) -> Witness | None:
        generator = np.random.default_rng([self.seed, batch.keys[i]])
        images = np.repeat(image[None], self.tries, axis=0)
        return self._replayed(batch, i, family.sample(images, generator), "random members")

    def _descended(self, batch: Batch, family: Divided, image: Image, i: int) -> Witness | None:
        """From the middle of each box, which holds members alone."""
        if family.count(image.shape, Pieces.RANGE) > self.most_pieces:
            return None
        for box in family.cover(image, Pieces.RANGE, _AT_ONCE):
            inside = replace(batch.take(np.full(len(box), i)), box=box)
            middle = np.clip((box.lower + box.upper) / 2, box.lower, box.upper)
            points = descended(inside, middle.astype(np.float32), self.steps)
            witness = self._replayed(batch, i, points, "projected gradient descent")
            if witness is not None:
                return witness
        return None

    @staticmethod
    def _replayed(
        batch: Batch, i: int, points: npt.NDArray[np.float32], found_by: str
    ) -> Witness | None:
        """The first of some members of a region that ONNX Runtime gets wrong."""
        box = batch.box[np.full(len(points), i)]
        session = batch.artifact.session
        witnesses = session.replay(points, box, batch.property_, found_by)
        return next((witness for witness in witnesses if witness is not None), None)
