"""The local patch: the last open samples memorised, each by a bonus inside its own region alone.

It teaches the network nothing. What it closes is told apart from everything else: named as a
memorised exception, and never part of a headline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.checker import TrustedPass
from asi_verify.core.evidence import Intermediate, IntervalEvidence
from asi_verify.core.local_patch import SMALLEST_COLLAR, LocalPatches, patched
from asi_verify.core.network import Network
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import Property, SingleLabel, property_for
from asi_verify.errors import UsageError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.repair.checkpoints import Checkpoints
from asi_verify.repair.corrector import Correction, Corrector, Task

__all__ = ["LocalPatch"]

Array = npt.NDArray[np.float64]

_SHARE = 100
"""At most one sample in so many may be memorised."""

_WIDEST_COLLAR = 1 / 510
"""Half a grey level."""

_BATCH = 256
"""So many regions are compared with one at once."""

_LARGEST_BONUS = 2.0**100
"""Far above any bound that says something, and far below where float32 ends."""


@dataclass(frozen=True)
class LocalPatch(Corrector):
    """Memorises open samples: the base network everywhere else, bit by bit, in the same file.

    Each gets a patch of ``core.local_patch`` on the logit of its label, whose whole bonus covers
    its region. A patch does something in no region but those of open samples of the same label:
    where the region of any other sample is too near, the sample stays open.

    Asked when the rounds are over. What it gives back is examined like any other correction, and
    taken only if all that was certified is certified again.

    Attributes:
        most: at most so many samples are memorised, and never more than 1 % of the split.
    """

    kind: ClassVar[str] = "local-patch"
    most: int = 0

    @classmethod
    def of(cls, memorise: int, samples: int) -> LocalPatch | None:
        """For a user's budget; None if nothing is to be memorised.

        Raises:
            UsageError: it is no whole number, below 0, or more than 1 % of the samples.
        """
        if type(memorise) is not int or memorise < 0:
            raise UsageError(f"memorise: {memorise!r}; a number of samples, 0 or more, is expected")
        if memorise > samples // _SHARE:
            raise UsageError(
                f"memorise: {memorise}; at most {samples // _SHARE} of {samples} samples (1 %) may "
                "be memorised. More is no correction: train longer or certify a smaller radius"
            )
        return cls(memorise) if memorise else None

    def attempt(
        self,
        network: Network,
        task: Task,
        checkpoints: Checkpoints | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Correction:
        """Patches for as many open samples as the budget allows, those that lack least first.

        ``effect`` of the result has ``reason`` (text), ``repaired`` (rows that are now memorised)
        and ``left`` (for every other open row, ``row`` and ``reason``). ``network`` is the given
        object if no patch is made.
        """
        del checkpoints  # takes seconds: done again if it was killed
        draft = _Draft(network, task, min(self.most, len(task.samples) // _SHARE))
        made, repaired = draft.network_with_patches()
        reason = f"{len(repaired)} of {len(task.open)} open samples memorised"
        progress.say(f"local patch: {reason}")
        effect = {
            "left": [{"reason": why, "row": row} for row, why in sorted(draft.left.items())],
            "reason": reason,
            "repaired": repaired,
        }
        screened = len(task.rows) - len(task.open) + len(repaired)
        return Correction(made, 0, screened, (), effect)


@dataclass(frozen=True)
class _Planned:
    """A patch that is to be made.

    Attributes:
        row: the sample whose region it covers.
        collar: its width.
        bonus: on the logits.
        reached: all open rows of that label that are not safely beyond the collar.
    """

    row: int
    collar: float
    bonus: npt.NDArray[np.float32]
    reached: frozenset[int]


class _Draft:
    """Patches under construction.

    Attributes:
        left: why an open row gets none.
    """

    def __init__(self, network: Network, task: Task, most: int) -> None:
        self._network, self._task, self._most = network, task, most
        self._samples, self._open = task.samples, sorted(task.open.tolist())
        self._box = task.family.boxes(task.samples.images)
        self.left: dict[int, str] = {}

    def network_with_patches(self) -> tuple[Network, list[int]]:
        """The network with a patch for each of some rows; it is the given one if there are none."""
        plans: list[_Planned] = []
        reached: frozenset[int] = frozenset()
        for row, lacking in self._by_need():
            room = row in reached or len(reached) < self._most
            planned = self._planned(row, lacking) if room else None
            if planned is not None and len(reached | planned.reached) <= self._most:
                reached |= planned.reached
                plans.append(planned)
            else:
                self.left.setdefault(row, f"at most {self._most} samples may be memorised")
        while plans:
            network, refused = self._built(plans)
            if not refused:
                return network, sorted(plan.row for plan in plans)
            self.left |= refused
            plans = [plan for plan in plans if plan.row not in refused]
        return self._network, []

    def _by_need(self) -> list[tuple[int, float]]:
        """Open rows with what the base lacks in their regions, by intervals; the least first."""
        trusted = TrustedPass(self._network, self._task.semantics)
        lacking = np.maximum(-self._margins(trusted, self._open), 0)
        order = np.argsort(lacking, kind="stable")
        return [(self._open[i], float(lacking[i])) for i in order]

    def _planned(self, row: int, lacking: float) -> _Planned | None:
        """The patch of a row; None, with the reason in ``left``, if it can have none."""
        if not lacking < _LARGEST_BONUS:
            self.left[row] = "no bound on the logits is known in its region"
            return None
        labels, gaps = self._samples.labels, self._gaps(row)
        alike = [other for other in self._open if np.array_equal(labels[other], labels[row])]
        foreign = np.delete(np.arange(len(gaps)), alike)
        nearest = min(foreign, key=gaps.__getitem__, default=None)
        room = _WIDEST_COLLAR if nearest is None else min(_WIDEST_COLLAR, gaps[nearest] / 2)
        collar = _power_of_two(float(room))
        if collar < SMALLEST_COLLAR:
            self.left[row] = f"its region meets that of row {nearest}, or almost does"
            return None
        # Twice what is lacking: float32 rounds sums with the bonus, and long sums a lot.
        wanted = property_for(labels[row], self._network.logits)
        bonus = np.float32(2 * lacking + 1) * _direction(wanted)
        reached = frozenset(other for other in alike if gaps[other] < 2 * collar)
        return _Planned(row, collar, bonus, reached)

    def _gaps(self, row: int) -> Array:
        """From the region of a row to each region: the most by which a number is apart, or 0.

        Differences of float32 numbers in float64: their signs are exact.
        """
        gaps = np.zeros(len(self._box))
        lower, upper = (e[row].astype(np.float64) for e in (self._box.lower, self._box.upper))
        for start in range(0, len(gaps), _BATCH):
            some = self._box[start : start + _BATCH]
            apart = np.maximum(lower - some.upper, some.lower - upper).reshape(len(some), -1)
            gaps[start : start + _BATCH] = np.maximum(apart.max(axis=1), 0)
        return gaps

    def _margins(self, trusted: TrustedPass, rows: Sequence[int]) -> Array:
        """What intervals prove of some rows, shape ``(rows,)``."""
        margins, places = np.empty(len(rows)), np.array(rows, dtype=np.intp)
        labels, label_of = np.unique(self._samples.labels[places], axis=0, return_inverse=True)
        for number, label in enumerate(labels):
            some = np.flatnonzero(label_of.reshape(-1) == number)
            wanted = property_for(label, self._network.logits)
            margins[some] = trusted.margins(self._box[places[some]], wanted, IntervalEvidence())
        return margins

    def _built(self, plans: Sequence[_Planned]) -> tuple[Network, dict[int, str]]:
        """The network with these patches; and which of the rows to do without, with the reasons."""
        rows = [plan.row for plan in plans]
        collars = np.array([plan.collar for plan in plans])
        bonus = np.stack([plan.bonus for plan in plans], axis=1)
        made = patched(self._network, LocalPatches.around(self._box[rows], collars, bonus))
        try:
            trusted = TrustedPass(read_network(write_artifact(made)), self._task.semantics)
        except ValueError as error:
            # A limit, or sums of more pixels than there are rounding bounds for; fewer might do.
            return made, {rows[-1]: f"the network with its patch cannot be used: {error}"}
        margins = self._margins(trusted, rows)
        refused = {
            row: "its region is not proved with a patch either"
            for row, margin in zip(rows, margins, strict=True)
            if not margin > 0
        }
        return made, refused | self._elsewhere(plans, trusted)

    def _elsewhere(self, plans: Sequence[_Planned], trusted: TrustedPass) -> dict[int, str]:
        """Patches that the trusted pass cannot exclude from regions that they must not change.

        It knows less than the proof in ``core.local_patch``: how sums of very many pixels are
        rounded, but not that their terms have one sign.
        """
        found = {}
        for part in trusted.batches(len(self._samples)):
            bounds = trusted.bounds(self._box[part], Intermediate.INTERVAL)
            # What the last affine map of the patches reads: one number for each.
            active = bounds.boxes[-3].upper > 0
            for number, plan in enumerate(plans):
                rows = part.start + np.flatnonzero(active[:, number])
                others = np.setdiff1d(rows, list(plan.reached))
                if len(others):
                    found[plan.row] = f"its patch cannot be kept out of the region of {others[0]}"
        return found


def _direction(wanted: Property) -> npt.NDArray[np.float32]:
    """What raises every row of a property by 1 or more, shape ``(logits,)``."""
    if isinstance(wanted, SingleLabel):
        return np.asarray(np.arange(wanted.classes) == wanted.label, dtype=np.float32)
    return np.asarray(wanted.rows().sum(axis=0), dtype=np.float32)


def _power_of_two(value: float) -> float:
    """The largest that is at most ``value``; 0 for 0."""
    return math.ldexp(0.5, math.frexp(value)[1]) if value else 0.0
