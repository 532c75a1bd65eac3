"""The cascade over boxes of inputs instead of images, under a deadline: what VNN-LIB asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.properties import Property
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict, Witness
from asi_verify.export import Artifact
from asi_verify.prove.falsify import Falsify
from asi_verify.prove.stage import Batch, Begun, Stage, StageResult, is_past

__all__ = ["Ahead", "Boxes", "BoxesProof", "begun", "prove_boxes"]

_BATCH = 256


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes that are asked the same property.

    Attributes:
        artifact: the model.
        box: what is to be proved about, shape ``(B, *input_shape)``.
        searched: where counterexamples are sought, same shape, inside ``box``.
        property_: what must hold.
        semantics: in which arithmetic.
        keys: one whole number per box, for what stages do at random.
        deadline: of ``time.monotonic``, or None.
        cores: as of ``Batch``.
    """

    artifact: Artifact
    box: Box
    searched: Box
    property_: Property
    semantics: Semantics
    keys: tuple[int, ...]
    deadline: float | None = None
    cores: int = 1

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return is_past(self.deadline)

    def batch(self, rows: npt.NDArray[np.intp], stage: Stage) -> Batch:
        """Some of the boxes as a stage takes them; who only searches sees where to search."""
        searched = self.searched[rows]
        middle = 0.5 * (searched.lower.astype(np.float64) + searched.upper)
        return Batch(
            self.artifact,
            np.clip(middle.astype(np.float32), searched.lower, searched.upper),
            searched if isinstance(stage, Falsify) else self.box[rows],
            self.property_,
            self.semantics,
            tuple(self.keys[row] for row in rows),
            self.deadline,
            cores=self.cores,
        )


class Ahead:
    """A stage that has begun with some cases while the stage before it is asked.

    Args:
        name: the stage's.
        cases: what the boxes are called, in order.
        work: on all of them.
    """

    def __init__(self, name: str, cases: Sequence[int], work: Begun) -> None:
        self._name, self._cases, self._work = name, list(cases), work

    def stage(self, cases: Sequence[int]) -> Stage:
        """The stage, for the cases that are still open; the others are given up."""
        rows = np.array([self._cases.index(case) for case in cases], dtype=np.intp)
        return _Finishing(self._name, self._work, rows)

    def close(self) -> None:
        """Give all up."""
        self._work.close()


@dataclass(frozen=True)
class _Finishing(Stage):
    """What a stage that has begun finds."""

    name: str
    work: Begun
    rows: npt.NDArray[np.intp]

    def attempt(self, batch: Batch) -> StageResult:
        return self.work.finish(self.rows)


def begun(asked: Boxes, cases: Sequence[int], stage: Stage) -> Ahead | None:
    """A stage at work on boxes, at most one batch of them; None if it cannot be, or it is late."""
    if asked.is_late or len(asked) > _BATCH:
        return None
    work = stage.begin(asked.batch(np.arange(len(asked)), stage))
    return None if work is None else Ahead(stage.name, cases, work)


@dataclass(frozen=True)
class BoxesProof:
    """What was found.

    Attributes:
        verdicts: one per box, in order.
        parts: binary parts that evidence names, by SHA-256.
    """

    verdicts: tuple[Verdict, ...]
    parts: dict[str, bytes] = field(default_factory=dict)


def prove_boxes(
    asked: Boxes, stages: Sequence[Stage], confirmed: Callable[[int, Witness], bool]
) -> BoxesProof:
    """Ask of every box whether the property holds everywhere in it, until one counterexample.

    Args:
        asked: the boxes.
        stages: in order. Each sees only what is still open; none is begun after the deadline.
        confirmed: judges a witness of a box. Where it says yes the box is refuted and the search
            ends; where it says no the box stays open.

    Returns:
        A verdict for every box; what no stage settles is ``Undecided``.
    """
    verdicts: list[Verdict] = [Undecided(Reason.TOO_LOOSE)] * len(asked)
    parts: dict[str, bytes] = {}
    for start in range(0, len(asked), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(asked)))
        for row, verdict in _settled(asked, rows, stages, parts, confirmed):
            verdicts[row] = verdict
            if isinstance(verdict, Refuted):
                return BoxesProof(tuple(verdicts), parts)
    return BoxesProof(tuple(verdicts), parts)


def _settled(
    asked: Boxes,
    rows: npt.NDArray[np.intp],
    stages: Sequence[Stage],
    parts: dict[str, bytes],
    confirmed: Callable[[int, Witness], bool],
) -> Iterator[tuple[int, Verdict]]:
    """Verdicts as they are found; of one row the last one counts."""
    left = rows
    for stage in stages:
        if len(left) and asked.is_late:
            late = Undecided(Reason.DEADLINE, f"before the stage {stage.name}")
            yield from ((row, late) for row in left.tolist())
            return
        if not len(left):
            return
        result = stage.attempt(asked.batch(left, stage))
        parts.update(result.parts)
        still_open = []
        for row, verdict in zip(left.tolist(), result.verdicts, strict=True):
            match verdict:
                case Proved():
                    yield row, verdict
                case Refuted(witness) if confirmed(row, witness):
                    yield row, verdict
                    return
                case _:
                    still_open.append(row)
                    if isinstance(verdict, Undecided):
                        yield row, verdict
        left = np.array(still_open, dtype=np.intp)
