"""Stages of the cascade: each takes what the ones before left open."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker import TrustedPass
from asi_verify.checker.trusted import Bounds
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.family import RegionFamily
from asi_verify.core.properties import Property
from asi_verify.core.reach import Reach
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Reason, Undecided, Verdict
from asi_verify.export import Artifact

__all__ = [
    "CLEAR",
    "Batch",
    "Begun",
    "Regions",
    "Stage",
    "StageResult",
    "is_past",
    "late_where_open",
    "varying",
]

CLEAR = 1e-9
"""A part of a tree is closed above this: another batch, in which sums are ordered otherwise, closes
it too. The trusted pass works in float64, where bounds of order 1 differ by some 1e-14 then."""


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
        deadline: on the clock of ``time.monotonic``; a stage that has not settled a sample by then
            leaves it ``Undecided`` for that reason. A clock never changes what is found before.
        regions: what the boxes were made from; None where the boxes themselves are asked about.
        cores: processes among which a stage may divide its work. Slopes that are optimised beside
            others may differ in their last digits, and the tree of a long search with them.
    """

    artifact: Artifact
    centres: npt.NDArray[np.float32]
    box: Box
    property_: Property
    semantics: Semantics
    keys: tuple[int, ...]
    deadline: float | None = None
    regions: Regions | None = None
    cores: int = 1

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return is_past(self.deadline)

    @property
    def trusted(self) -> TrustedPass:
        """The trusted pass over the model under these semantics."""
        return self.artifact.trusted(self.semantics)

    @property
    def reach(self) -> Reach | None:
        """What is known of the regions' inputs besides their boxes."""
        return None if self.regions is None else self.regions.family.reach(self.regions.images)

    def root_bounds(self, intermediate: Intermediate) -> Bounds:
        """The trusted pass's bounds over the whole regions.

        Those of a single sample are kept for the next stage, and for the next property.
        """
        reach = self.reach
        if len(self) > 1 or reach is not None:
            return self.trusted.bounds(self.box, intermediate, reach=reach)
        return _kept_bounds(self.trusted, _Region(self.box), intermediate)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: npt.NDArray[np.intp]) -> Batch:
        """Some of the samples."""
        return dataclasses.replace(
            self,
            centres=self.centres[rows],
            box=self.box[rows],
            keys=tuple(self.keys[row] for row in rows),
            regions=None if self.regions is None else self.regions.take(rows),
        )


@dataclass(frozen=True)
class _Region:
    """One box, compared by its numbers."""

    box: Box = field(compare=False)
    ends: bytes = field(init=False)

    def __post_init__(self) -> None:
        ends = self.box.lower.tobytes() + self.box.upper.tobytes()
        object.__setattr__(self, "ends", ends)


@lru_cache(maxsize=2)
def _kept_bounds(trusted: TrustedPass, region: _Region, intermediate: Intermediate) -> Bounds:
    return trusted.bounds(region.box, intermediate)


def is_past(deadline: float | None) -> bool:
    """Whether a moment of ``time.monotonic``, which all processes share, has passed."""
    return deadline is not None and time.monotonic() >= deadline


def varying(box: Box) -> npt.NDArray[np.bool_]:
    """Which numbers of the input vary in any sample's region, in C order.

    Those that vary by less than a thousandth of what others do are not counted: they stand for one
    number, with room for its rounding.
    """
    width = (box.upper.astype(np.float64) - box.lower).reshape(len(box), -1)
    return np.asarray((width > 1e-3 * width.max(axis=1, keepdims=True)).any(axis=0))


def late_where_open(batch: Batch, found: Sequence[Verdict | None]) -> tuple[Verdict | None, ...]:
    """A stage's verdicts; once the deadline has passed, what has none is undecided for that."""
    late = Undecided(Reason.DEADLINE) if batch.is_late() else None
    return tuple(late if verdict is None else verdict for verdict in found)


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


class Begun(abc.ABC):
    """A stage at work on a batch beside the stage before it.

    Laws: what it finds for a sample is what ``attempt`` would find; when it is finished or closed,
    nothing of it goes on.
    """

    @abc.abstractmethod
    def finish(self, rows: npt.NDArray[np.intp]) -> StageResult:
        """What is found for some of the samples; the others are given up at once."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give all up."""


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

    def begin(self, batch: Batch) -> Begun | None:
        """Begin with what the stage before has still to try; None if this stage cannot."""
        return None
