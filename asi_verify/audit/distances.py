"""Distances between samples of different labels; for 8-bit images in integers, but for L2 exact.

A metric is the largest difference of any two numbers (L-infinity), the sum of all differences (L1),
the root of the sum of their squares (L2), or in how many pixels two images differ.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.audit.pruned_search import PrunedSearch
from asi_verify.core.box import Box
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Samples

__all__ = [
    "CHEBYSHEV",
    "EUCLIDEAN",
    "MANHATTAN",
    "PIXELS",
    "LabelDistances",
    "Metric",
    "label_distances",
]

# Rows handled at once, so that a tile of distances to all others stays in the processor's cache.
_TILE = 64


class Metric(abc.ABC):
    """A distance of two images.

    Attributes:
        whole: whether distances of 8-bit images are whole numbers.
    """

    whole: ClassVar[bool] = True

    def between(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """All distances, shape ``(len(some), len(others))``, of ``(N, C, *spatial)`` images."""
        channels = some.shape[1]
        first, second = (
            self.columns(images.reshape(len(images), -1), channels) for images in (some, others)
        )
        return self.compare(first, second)

    def columns(self, images: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
        """Images ``(N, C * pixels)`` as ``compare`` wants them, ``(pixels, C, N)``.

        One contiguous line per number of an image: the loop over numbers reads along it.
        """
        exact = images if images.dtype == np.uint8 else images.astype(np.float64)
        lines = exact.reshape(len(images), channels, -1)
        return np.ascontiguousarray(lines.transpose(2, 1, 0))

    @abc.abstractmethod
    def compare(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """All distances, ``(some, others)``, of ``columns``."""


class _Chebyshev(Metric):
    def compare(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result = np.zeros((some.shape[-1], others.shape[-1]), dtype=some.dtype)
        high, low = np.empty_like(result), np.empty_like(result)
        lines = (array.reshape(-1, array.shape[-1]) for array in (some, others))
        for ours, theirs in zip(*lines, strict=True):
            np.maximum(ours[:, None], theirs[None, :], out=high)
            np.minimum(ours[:, None], theirs[None, :], out=low)
            np.subtract(high, low, out=high)
            np.maximum(result, high, out=result)
        return result


class _DifferingPixels(Metric):
    def compare(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
        result = np.zeros((some.shape[-1], others.shape[-1]), dtype=np.int32)
        for ours, theirs in zip(some, others, strict=True):
            result += (ours[:, :, None] != theirs[:, None, :]).any(axis=0)
        return result


class _Manhattan(Metric):
    def compare(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return _sum(some, others, np.abs)


class _Euclidean(Metric):
    whole = False

    def compare(self, some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(np.sqrt(_sum(some, others, np.square)))


def _sum(some: npt.NDArray[Any], others: npt.NDArray[Any], of: np.ufunc) -> npt.NDArray[np.float64]:
    """Of all differences; in float64, which is exact for whole numbers."""
    result = np.zeros((some.shape[-1], others.shape[-1]))
    lines = (array.reshape(-1, array.shape[-1]).astype(np.float64) for array in (some, others))
    for ours, theirs in zip(*lines, strict=True):
        gap = ours[:, None] - theirs[None, :]
        result += of(gap, out=gap)
    return result


CHEBYSHEV: Metric = _Chebyshev()
"""The largest difference of two numbers; grey levels or pixel units."""

MANHATTAN: Metric = _Manhattan()
"""The sum of the differences of all numbers; grey levels or pixel units."""

EUCLIDEAN: Metric = _Euclidean()
"""The root of the sum of their squares; grey levels or pixel units, rounded."""

PIXELS: Metric = _DifferingPixels()
"""How many pixels differ, in any channel."""


@dataclass(frozen=True, eq=False)
class LabelDistances:
    """For each sample, the nearest one of another label.

    Attributes:
        distance: shape ``(N,)``: int64 grey levels or pixels for 8-bit images (float64 grey levels
            in L2), float64 pixel units otherwise. -1 where every sample has the same label.
        partner: row of the nearest sample, shape ``(N,)``, the lowest among equals; -1 as above.
        close: pairs of rows ``first < second`` of different labels within the limit, in order.
    """

    distance: npt.NDArray[Any]
    partner: npt.NDArray[np.int64]
    close: tuple[tuple[int, int], ...]


def label_distances(
    samples: Samples,
    limit: float,
    metric: Metric = CHEBYSHEV,
    progress: Progress = NO_PROGRESS,
    boxes: Box | None = None,
) -> LabelDistances:
    """The nearest sample of another label of every sample, and all pairs within a limit.

    Exact for whole numbers: absolute differences of 8-bit numbers are 8-bit numbers; those of
    float32 numbers are taken in float64. Time: of the order of N^2 D differences; for L-infinity
    a small share of them where images differ much, for what few numbers tell apart is compared no
    further. Memory: N D numbers; for the other metrics also a tile of 64 x N distances.

    Args:
        samples: N of them.
        limit: pairs at most this far apart, in the metric's unit, are listed; not negative.
        metric: what is measured.
        progress: told of rows compared.
        boxes: one for each sample; if given, pairs whose boxes do not meet are not listed.
    """
    count = len(samples)
    _, group = np.unique(samples.labels.reshape(count, -1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    nearest = _Nearest(count, samples.images.dtype == np.uint8 and metric.whole)
    close = _Close(limit, boxes)
    with progress.task("comparing labels", count) as advance:
        if metric is CHEBYSHEV:
            _compare_few(samples, group, nearest, close, advance)
        else:
            _compare_all(samples, group, metric, nearest, close, advance)
    return LabelDistances(nearest.distance, nearest.partner, tuple(sorted(close.pairs)))


def _compare_few(
    samples: Samples,
    group: npt.NDArray[np.intp],
    nearest: _Nearest,
    close: _Close,
    advance: Callable[[int], None],
) -> None:
    """Row by row, only what few numbers do not tell apart."""
    search = PrunedSearch(samples.images.reshape(len(samples), -1), group)
    for row in range(len(samples)):
        others, distance = search.near(row, close.limit)
        if len(others):
            nearest.update(np.array([row]), others, distance[None])
            later = others > row
            close.add(row, others[later], distance[later])
        advance(1)


def _compare_all(
    samples: Samples,
    group: npt.NDArray[np.intp],
    metric: Metric,
    nearest: _Nearest,
    close: _Close,
    advance: Callable[[int], None],
) -> None:
    """All pairs, a tile of rows at a time."""
    count = len(samples)
    # Rows by label: what a row is compared with, all rows of later labels, is then one slice.
    order = np.argsort(group, kind="stable")
    images = samples.images.reshape(count, -1)[order]
    columns = metric.columns(images, samples.images.shape[1])
    ends = np.searchsorted(group[order], group[order], side="right")
    start = 0
    while start < count:
        stop = min(start + _TILE, int(ends[start]))
        others = slice(int(ends[start]), count)
        if others.start < count:
            distance = metric.compare(columns[..., start:stop], columns[..., others])
            nearest.update(order[start:stop], order[others], distance)
            nearest.update(order[others], order[start:stop], distance.T)
            for row, line in zip(order[start:stop].tolist(), distance, strict=True):
                close.add(row, order[others], line)
        advance(stop - start)
        start = stop


class _Close:
    """Pairs of samples within a limit whose boxes, if they are given, meet."""

    def __init__(self, limit: float, boxes: Box | None) -> None:
        self.limit = limit
        self.pairs: list[tuple[int, int]] = []
        self._boxes = boxes

    def add(self, row: int, others: npt.NDArray[np.intp], distance: npt.NDArray[Any]) -> None:
        """Those that a row forms with others, at distances of shape ``(others,)``."""
        near = others[distance <= self.limit].tolist()
        self.pairs += [
            (min(row, other), max(row, other)) for other in near if self._meet(row, other)
        ]

    def _meet(self, row: int, other: int) -> bool:
        if self._boxes is None:
            return True
        lower, upper = self._boxes.lower, self._boxes.upper
        return bool((lower[row] <= upper[other]).all() and (lower[other] <= upper[row]).all())


class _Nearest:
    """The nearest sample found so far, for each sample."""

    def __init__(self, count: int, whole: bool) -> None:
        self.distance = np.full(count, -1, dtype=np.int64 if whole else np.float64)
        self.partner = np.full(count, -1, dtype=np.int64)

    def update(
        self,
        rows: npt.NDArray[np.intp],
        others: npt.NDArray[np.intp],
        distance: npt.NDArray[Any],
    ) -> None:
        """Take distances of shape ``(rows, others)`` into account."""
        smallest = distance.min(axis=1).astype(self.distance.dtype)
        # The lowest row among equals: of all at the smallest distance, the one that comes first.
        partner = np.where(distance == distance.min(axis=1)[:, None], others, len(self.partner))
        lowest = partner.min(axis=1)
        known, before = self.distance[rows], self.partner[rows]
        better = (before < 0) | (smallest < known) | ((smallest == known) & (lowest < before))
        self.distance[rows] = np.where(better, smallest, known)
        self.partner[rows] = np.where(better, lowest, before)
