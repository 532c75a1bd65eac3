"""What can be promised about a data set before any model is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.audit.distances import (
    CHEBYSHEV,
    EUCLIDEAN,
    MANHATTAN,
    PIXELS,
    LabelDistances,
    Metric,
    label_distances,
)
from asi_verify.audit.duplicates import DuplicateGroup, find_duplicates
from asi_verify.core.balls import L1, L2
from asi_verify.core.canonical import array_digest
from asi_verify.core.family import RegionFamily
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.patch import Patch
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Dataset, Samples
from asi_verify.errors import UsageError

__all__ = ["Audit", "Contradiction", "Unit", "audit"]

_SCHEMA = "asi-verify/audit/1"


class Unit(Enum):
    """Of distances."""

    GREY_LEVELS = "grey levels"
    PIXEL_UNITS = "pixel units"
    """The range of a pixel is [0, 1]."""
    PIXELS = "pixels"


@dataclass(frozen=True)
class Contradiction:
    """Two samples of different labels whose regions meet: no model can be right on both.

    Attributes:
        rows: in the audited split, in order.
        labels: the labels of each.
        distance: as in ``LabelDistances``.
        meeting_point: digest of a float32 input that lies in both regions.
    """

    rows: tuple[int, int]
    labels: tuple[tuple[int, ...], tuple[int, ...]]
    distance: Fraction
    meeting_point: str

    def to_json(self) -> dict[str, Any]:
        """For ``audit.json`` and the report."""
        return {
            "distance": str(self.distance),
            "labels": [list(label) for label in self.labels],
            "meeting_point": self.meeting_point,
            "rows": list(self.rows),
        }


@dataclass(frozen=True, eq=False)
class Audit:
    """The findings.

    Attributes:
        split: the split that is to be certified.
        family: the regions.
        duplicates: over all splits.
        contradictions: within the split, at the family's radius.
        distances: nearest sample of another label, for each sample of the split.
        unit: of the distances.
        never_miss: the classes whose samples have larger regions, if there are any.
        named_contradictions: pairs of which at least one sample is of these classes and whose
            regions meet, each of its own size. Those of ``contradictions`` are among them.
    """

    split: str
    family: RegionFamily
    duplicates: tuple[DuplicateGroup, ...]
    contradictions: tuple[Contradiction, ...]
    distances: LabelDistances
    unit: Unit
    never_miss: NeverMiss | None = None
    named_contradictions: tuple[Contradiction, ...] = ()

    @property
    def contradicted(self) -> tuple[int, ...]:
        """Rows in any contradiction, in order."""
        return _rows_in(self.contradictions)

    @property
    def contradicted_named(self) -> tuple[int, ...]:
        """Rows in any of ``named_contradictions``, in order; of whatever class."""
        return _rows_in(self.named_contradictions)

    @property
    def has_ceilings(self) -> bool:
        """Whether the size of such regions is a distance, in which ceilings are told."""
        return isinstance(self.family, KPixel | L1 | L2 | LInf)

    def ceiling(self, row: int) -> Fraction | None:
        """The radius below which a row's region meets none of another label.

        In pixel units, or in pixels for regions of changed pixels. None if every sample has the
        same label, or the size of such regions is no distance.
        """
        distance = self.distances.distance[row]
        if distance < 0 or not self.has_ceilings:
            return None
        unit = Fraction(1, 255) if self.unit is Unit.GREY_LEVELS else Fraction(1)
        return Fraction(float(distance)) * unit / 2

    def ceilings(self) -> Mapping[str, Fraction | None]:
        """The smallest ceiling of all rows, and of the rows outside the contradictions."""
        outside = np.setdiff1d(np.arange(len(self.distances.distance)), self.contradicted)
        return {
            "all": self._smallest(np.arange(len(self.distances.distance))),
            "outside_contradictions": self._smallest(outside),
        }

    def _smallest(self, rows: Any) -> Fraction | None:
        distances = self.distances.distance[rows]
        known = rows[distances >= 0]
        if len(known) == 0:
            return None
        return self.ceiling(int(known[np.argmin(self.distances.distance[known])]))

    def to_json(self) -> dict[str, Any]:
        """For ``audit.json`` and the report."""
        named = (
            {
                "never_miss": {
                    "contradictions": [pair.to_json() for pair in self.named_contradictions],
                    "family": self.never_miss.family.to_json(),
                    **self.never_miss.to_json(),
                }
            }
            if self.never_miss is not None
            else {}
        )
        return named | {
            "ceilings": {
                name: None if value is None else str(value)
                for name, value in self.ceilings().items()
            },
            "contradictions": [pair.to_json() for pair in self.contradictions],
            "duplicates": [group.to_json() for group in self.duplicates],
            "family": self.family.to_json(),
            "nearest_other_label": {
                "distance": [str(Fraction(float(d))) for d in self.distances.distance],
                "partner": [int(row) for row in self.distances.partner],
                "unit": self.unit.value,
            },
            "schema": _SCHEMA,
            "split": self.split,
        }


def _rows_in(pairs: tuple[Contradiction, ...]) -> tuple[int, ...]:
    return tuple(sorted({row for pair in pairs for row in pair.rows}))


def audit(
    dataset: Dataset,
    family: RegionFamily,
    split: str = "train",
    progress: Progress = NO_PROGRESS,
    never_miss: NeverMiss | None = None,
) -> Audit:
    """Audit a split for certification at a radius, and all splits for duplicates.

    Args:
        dataset: its labels are single ones where classes are never to be missed.
        family: the regions.
        split: the split that is to be certified.
        progress: told of samples.
        never_miss: classes whose samples have larger regions; ``others`` is ``family``.

    Raises:
        DataError: there is no such split, or the family has no regions of its images.
    """
    samples = dataset.split(split)
    family.boxes(samples.images[:1])
    unit = _unit(family, samples)
    metric = _metric(family)
    widest = family if never_miss is None else never_miss.family
    limit = _farthest_meeting(widest, unit, samples.images.shape[1:])
    # Changes in proportion allow large distances of bright pixels, and none of dark ones.
    boxes = family.boxes(samples.images) if isinstance(family, Intensity) else None
    distances = label_distances(samples, limit, metric, progress, boxes)
    contradictions = _contradictions(
        samples, metric, distances.close, lambda pair: family.meeting_point(samples.images[pair])
    )
    named: tuple[Contradiction, ...] = ()
    if never_miss is not None:
        is_named = never_miss.named(samples.labels)
        some = [pair for pair in distances.close if is_named[list(pair)].any()]
        named = _contradictions(
            samples,
            metric,
            some,
            lambda pair: never_miss.meeting_point(samples.images[pair], samples.labels[pair]),
        )
    duplicates = find_duplicates(dataset.splits)
    return Audit(split, family, duplicates, contradictions, distances, unit, never_miss, named)


def _unit(family: RegionFamily, samples: Samples) -> Unit:
    if isinstance(family, KPixel | Patch):
        return Unit.PIXELS
    return Unit.GREY_LEVELS if samples.images.dtype == np.uint8 else Unit.PIXEL_UNITS


def _metric(family: RegionFamily) -> Metric:
    """In which regions are as large as they are said to be."""
    match family:
        case KPixel() | Patch():
            return PIXELS
        case L1():
            return MANHATTAN
        case L2():
            return EUCLIDEAN
        case _:
            return CHEBYSHEV


def _farthest_meeting(family: RegionFamily, unit: Unit, shape: tuple[int, ...]) -> float:
    """A distance beyond which no two regions of images of a shape ``(C, *spatial)`` meet."""
    match family:
        case KPixel(pixels=pixels):
            return 2 * pixels
        case Patch(side=side):
            return 2 * math.prod(min(side, extent) for extent in shape[1:])
        case LInf(radius=radius) if unit is Unit.PIXEL_UNITS:
            # The boxes reach at most one float32 beyond the radius on each side.
            return float(2 * radius.value) + 1e-6
        case LInf():
            return _levels_that_meet(family)
        case L1(radius=radius) | L2(radius=radius):
            # The usual encodings of a centre lie within 2**-23 of it in every number.
            in_pixel_units = 2 * radius + math.prod(shape) * Fraction(1, 10**6)
            return float(in_pixel_units * (255 if unit is Unit.GREY_LEVELS else 1))
        case Intensity():
            # A pixel changes by its brightness, and by a share of itself, which is 1 at most.
            parameters, slack = family.parameters(len(shape) - 1), family.slack(len(shape) - 1)
            one_way = sum((p.radius for p in parameters), slack)
            return float(2 * one_way * (255 if unit is Unit.GREY_LEVELS else 1)) + 1e-6
        case _:
            raise UsageError(f"{family}: contradictions of such regions are not known")


def _levels_that_meet(family: LInf) -> float:
    """The largest difference of two grey levels whose boxes meet."""
    lower, upper = family.level_bounds
    meets = lower[None, :] <= upper[:, None]
    levels = np.arange(len(lower))
    return float(np.where(meets, levels[None, :] - levels[:, None], 0).max())


def _contradictions(
    samples: Samples,
    metric: Metric,
    close: Sequence[tuple[int, int]],
    meeting_point: Callable[[list[int]], npt.NDArray[np.float32] | None],
) -> tuple[Contradiction, ...]:
    """Those of some pairs whose regions meet after all, with their evidence."""
    found = []
    for first, second in close:
        pair = samples.images[[first, second]]
        point = meeting_point([first, second])
        if point is not None:
            distance = Fraction(float(metric.between(pair[:1], pair[1:]).item()))
            one, other = samples.labels[[first, second]].reshape(2, -1).tolist()
            found.append(
                Contradiction(
                    (first, second), (tuple(one), tuple(other)), distance, array_digest(point)
                )
            )
    return tuple(found)


def ceiling_text(value: str | None, unit: str) -> str:
    """A ceiling in words; the unit is that of the audit's distances."""
    if value is None:
        return "none: all labels are equal, or the size of these regions is no distance"
    fraction = Fraction(value)
    if unit == Unit.PIXELS.value:
        return f"{float(fraction):g} pixels"
    return f"{float(fraction * 255):g}/255"
