"""Stages of the cascade: each takes what the ones before left open."""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.family import RegionFamily
from asi_verify.core.properties import Property
from asi_verify.core.reach import Reach
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Verdict
from asi_verify.export import Artifact

__all__ = ["Batch", "Regions", "Stage", "StageResult"]


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of some samples.

    Attributes:
        family: of all of them.
        images: their centres, shape ``(B, C, *spatial)``, uint8 or float32 in [0, 1].
    """

    family: RegionFamily
    images: npt.NDArray[Any]

    def take(self, rows: npt.NDArray[np.intp]) -> Regions:
        """Those of some of the samples."""
        return Regions(self.family, self.images[rows])


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples that are asked the same property.

    Attributes:
        artifact: the model.
        centres: float32 inputs, shape ``(B, *input_shape)``.
        box: their regions.
        property_: what must hold.
        semantics: in which arithmetic.
        keys: one whole number per sample, made from its image's digest: whatever a stage does at
            random, it does from this, so that a batch's make-up changes nothing.
        regions: what the boxes were made from; None where the boxes themselves are asked about.
    """

    artifact: Artifact
    centres: npt.NDArray[np.float32]
    box: Box
    property_: Property
    semantics: Semantics
    keys: tuple[int, ...]
    regions: Regions | None = None

    @property
    def trusted(self) -> TrustedPass:
        """The trusted pass over the model under these semantics."""
        return self.artifact.trusted(self.semantics)

    @property
    def reach(self) -> Reach | None:
        """What is known of the regions' inputs besides their boxes."""
        return None if self.regions is None else self.regions.family.reach(self.regions.images)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: npt.NDArray[np.intp]) -> Batch:
        """Some of the samples."""
        return Batch(
            self.artifact,
            self.centres[rows],
            self.box[rows],
            self.property_,
            self.semantics,
            tuple(self.keys[row] for row in rows),
            None if self.regions is None else self.regions.take(rows),
        )


@dataclass(frozen=True)
class StageResult:
    """What a stage found.

    Attributes:
        verdicts: one per sample; None leaves it to the next stage.
        declined: proposals of an engine that the trusted pass did not confirm.
        parts: binary parts that the evidence names, by SHA-256.
    """

    verdicts: tuple[Verdict | None, ...]
    declined: int = 0
    parts: dict[str, bytes] = field(default_factory=dict)


class Stage(abc.ABC):
    """One way of settling queries.

    Laws: a ``Proved`` has evidence that the checker accepts, or a solver's word; a ``Refuted`` has
    a witness that ONNX Runtime confirmed; an exception or a NaN is never either.

    Attributes:
        name: for results and the command line.
    """

    name: str

    def settings(self) -> dict[str, Any]:
        """What shapes the result, as canonical JSON takes it."""
        described: Any = self  # every stage is a dataclass
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(described) if f.init}

    @abc.abstractmethod
    def attempt(self, batch: Batch) -> StageResult:
        """Try to settle every sample of a batch."""
