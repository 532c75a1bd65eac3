"""Finite regions: every member is looked at, or every choice of pixels is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.enumeration import enumerated_margin
from asi_verify.core.evidence import EnumerationEvidence
from asi_verify.core.k_pixel import KPixel, Pieces, shown_count
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict, Witness
from asi_verify.prove.stage import Batch, Stage, StageResult

__all__ = ["Members"]

_AT_ONCE = 256

Image = npt.NDArray[Any]


@dataclass(frozen=True)
class Members(Stage):
    """For k-pixel regions: the choices of pixels as boxes, then the members one by one.

    Attributes:
        most_pieces: of one region; of regions with more members only random ones are tried.
        tries: how many.
        seed: for these.
    """

    most_pieces: int = 1 << 14
    tries: int = 1024
    seed: int = 0
    name: str = "members"

    def attempt(self, batch: Batch) -> StageResult:
        regions = batch.regions
        if regions is None or not isinstance(regions.family, KPixel):
            return StageResult((None,) * len(batch))
        # One region after the other: each is a batch of pieces of its own.
        return StageResult(
            tuple(self._ask(batch, regions.family, regions.images[i], i) for i in range(len(batch)))
        )

    def _ask(self, batch: Batch, family: KPixel, image: Image, i: int) -> Verdict:
        witness = self._replayed(batch, i, batch.centres[[i]], "the sample itself")
        if witness is None and self._proves(batch, family, image, Pieces.RANGE):
            return Proved(EnumerationEvidence(Pieces.RANGE))
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

    def _proves(self, batch: Batch, family: KPixel, image: Image, pieces: Pieces) -> bool:
        if family.count(image.shape, pieces) > self.most_pieces:
            return False
        return enumerated_margin(batch.trusted, family, image, batch.property_, pieces) > 0

    def _any_of(self, batch: Batch, family: KPixel, image: Image, i: int) -> Witness | None:
        for box in family.cover(image, Pieces.EACH, _AT_ONCE):
            for points in (box.lower, box.upper):
                witness = self._replayed(batch, i, points.astype(np.float32), "enumeration")
                if witness is not None:
                    return witness
        return None

    def _random(self, batch: Batch, family: KPixel, image: Image, i: int) -> Witness | None:
        generator = np.random.default_rng([self.seed, batch.keys[i]])
        images = np.repeat(image[None], self.tries, axis=0)
        return self._replayed(batch, i, family.sample(images, generator), "random members")

    @staticmethod
    def _replayed(
        batch: Batch, i: int, points: npt.NDArray[np.float32], found_by: str
    ) -> Witness | None:
        """The first of some members of a region that ONNX Runtime gets wrong."""
        box = batch.box[np.full(len(points), i)]
        session = batch.artifact.session
        witnesses = session.replay(points, box, batch.property_, found_by)
        return next((witness for witness in witnesses if witness is not None), None)
