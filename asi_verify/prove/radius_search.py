"""The largest radius at which each sample is proved: bisection, all samples at once."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.evidence import SolverEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import Property
from asi_verify.core.radius import Radius
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted, Verdict
from asi_verify.export import Artifact
from asi_verify.prove.cascade import default_stages, prove
from asi_verify.prove.stage import Stage

__all__ = ["RadiusBounds", "search_radii"]

_QUICK = {"falsify", "interval", "crown-ibp"}


@dataclass(frozen=True)
class RadiusBounds:
    """What was found of one sample.

    Attributes:
        proved: the largest radius tried at which the property was proved; None if at none.
        refuted: the smallest radius on the grid whose region holds a witness; None if none was
            found.
    """

    proved: Radius | None
    refuted: Radius | None


class _Grid:
    """The radii that are tried: multiples of a step."""

    def __init__(self, step: Radius, most: Radius) -> None:
        count = int(most.value / step.value) if step.value else 0
        self.families = [LInf(Radius(step.value * Fraction(i))) for i in range(count + 1)]

    def __len__(self) -> int:
        return len(self.families)

    def first_with(self, point: npt.NDArray[np.float32], image: npt.NDArray[Any]) -> int:
        """The first radius whose region around the image holds a point."""
        return bisect.bisect_left(
            range(len(self)),
            True,
            key=lambda i: bool(self.families[i].contains(point[None], image[None])[0]),
        )


class _Search:
    """Samples with, on the grid, the last place proved and the first place known not to be."""

    def __init__(self, grid: _Grid, asked: _Asked) -> None:
        self._grid, self._asked = grid, asked
        count = len(asked.images)
        self.proved = np.full(count, -1)
        self.refuted = np.full(count, len(grid))

    def run(self, stages: Sequence[Stage], *, gallop: bool) -> None:
        """Bisect with some stages; from the last place proved upwards if ``gallop``.

        Dear stages rarely reach much further than cheap ones, and fail dearly where they fail:
        galloping asks them about as few hopeless places as it can.
        """
        limit = self.refuted.copy()
        stride = np.ones_like(limit)
        while True:
            some = np.flatnonzero(limit - self.proved > 1)
            if len(some) == 0:
                return
            middle = (self.proved + limit) // 2
            reach = np.minimum(self.proved + stride, middle) if gallop else middle
            for row, place, proved in self._tried(some, reach, stages):
                if proved:
                    self.proved[row], stride[row] = place, 2 * stride[row]
                else:
                    limit[row], stride[row] = place, 1
            limit = np.minimum(limit, self.refuted)

    def _tried(
        self, rows: npt.NDArray[np.intp], places: npt.NDArray[np.intp], stages: Sequence[Stage]
    ) -> list[tuple[int, int, bool]]:
        by_place: dict[int, list[int]] = defaultdict(list)
        for row in rows.tolist():
            by_place[int(places[row])].append(row)
        found = []
        for place, some in sorted(by_place.items()):
            verdicts = self._asked.prove(self._grid.families[place], some, stages)
            for row, verdict in zip(some, verdicts, strict=True):
                if isinstance(verdict, Refuted):
                    first = self._grid.first_with(verdict.witness.point, self._asked.images[row])
                    self.refuted[row] = min(self.refuted[row], first)
                found.append((row, place, _is_certified(verdict)))
        return found


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked, whatever the radius."""

    artifact: Artifact
    images: npt.NDArray[Any]
    digests: Sequence[str]
    properties: Sequence[Property]
    semantics: Semantics
    cores: int

    def prove(self, family: LInf, rows: list[int], stages: Sequence[Stage]) -> Sequence[Verdict]:
        """Verdicts on some samples at one radius."""
        return prove(
            self.artifact,
            family,
            self.images[rows],
            [self.digests[row] for row in rows],
            [self.properties[row] for row in rows],
            stages,
            self.semantics,
            cores=self.cores,
        ).verdicts


def _is_certified(verdict: Verdict) -> bool:
    """Proved, and not by a solver's word."""
    return isinstance(verdict, Proved) and not isinstance(verdict.evidence, SolverEvidence)


def search_radii(
    artifact: Artifact,
    images: npt.NDArray[Any],
    digests: Sequence[str],
    properties: Sequence[Property],
    step: Radius,
    most: Radius,
    stages: Sequence[Stage] | None = None,
    semantics: Semantics = Semantics.FLOAT32,
    progress: Progress = NO_PROGRESS,
    cores: int = 1,
) -> list[RadiusBounds]:
    """The largest radius proved and the smallest refuted, for each sample.

    Work is shared between radii: a witness refutes every radius whose region holds it, what is
    proved holds at every smaller radius, and dear stages start where cheap ones ended. A stage that
    proves a region and fails on a smaller one is possible and not looked for.

    Args:
        artifact: the model.
        images: shape ``(N, C, *spatial)``.
        digests: the images' digests.
        properties: one per sample.
        step: the radii tried are its multiples, 0 included.
        most: up to here.
        stages: ``default_stages()`` if not given.
        semantics: in which arithmetic.
        progress: told of the two passes.
        cores: processes that share the samples.
    """
    chosen = default_stages() if stages is None else tuple(stages)
    grid = _Grid(step, most)
    search = _Search(grid, _Asked(artifact, images, digests, properties, semantics, cores))
    quick = [stage for stage in chosen if stage.name in _QUICK]
    with progress.task("searching radii", 2) as advance:
        if quick and len(quick) < len(chosen):
            search.run(quick, gallop=False)
        advance(1)
        search.run(chosen, gallop=bool(quick) and len(quick) < len(chosen))
        advance(1)

    def radius(place: int) -> Radius | None:
        return grid.families[place].radius if 0 <= place < len(grid) else None

    return [
        RadiusBounds(radius(proved), radius(refuted))
        for proved, refuted in zip(search.proved.tolist(), search.refuted.tolist(), strict=True)
    ]
