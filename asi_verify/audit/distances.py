"""Distances between samples of different labels: exact, in integers for 8-bit images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.data import Samples

__all__ = ["LabelDistances", "label_distances"]

# Rows handled at once, so that a tile of distances to all others stays in the processor's cache.
_TILE = 64


@dataclass(frozen=True, eq=False)
class LabelDistances:
    """For each sample, the nearest one of another label.

    Attributes:
        distance: L-infinity distance, shape ``(N,)``: int64 grey levels for 8-bit images, float64
            pixel units otherwise. -1 where every sample has the same label.
        partner: row of the nearest sample, shape ``(N,)``, the lowest among equals; -1 as above.
        close: pairs of rows ``first < second`` of different labels within the limit, in order.
    """

    distance: npt.NDArray[Any]
    partner: npt.NDArray[np.int64]
    close: tuple[tuple[int, int], ...]


def label_distances(
    samples: Samples, limit: float, progress: Progress = NO_PROGRESS
) -> LabelDistances:
    """Compare every pair of samples with different labels.

    Exact: absolute differences of 8-bit numbers are 8-bit numbers; those of float32 numbers are
    taken in float64. Memory: a tile of 64 x N distances; time: N^2 D / 2 differences.

    Args:
        samples: N of them.
        limit: pairs at most this far apart (levels, or pixel units for floats) are listed.
        progress: told of rows compared.
    """
    count = len(samples)
    images = samples.images.reshape(count, -1)
    is_grey = images.dtype == np.uint8
    _, group = np.unique(samples.labels.reshape(count, -1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    # Rows by label: what a row is compared with, all rows of later labels, is then one slice.
    order = np.argsort(group, kind="stable")
    # One contiguous line per pixel position: the loop over positions reads along it.
    columns = np.ascontiguousarray((images if is_grey else images.astype(np.float64))[order].T)
    ends = np.searchsorted(group[order], group[order], side="right")
    nearest = _Nearest(count, is_grey)
    close: list[tuple[int, int]] = []
    with progress.task("comparing labels", count) as advance:
        start = 0
        while start < count:
            stop = min(start + _TILE, int(ends[start]))
            others = slice(int(ends[start]), count)
            if others.start < count:
                distance = _chebyshev(columns[:, start:stop], columns[:, others])
                nearest.update(order[start:stop], order[others], distance)
                nearest.update(order[others], order[start:stop], distance.T)
                for i, j in np.argwhere(distance <= limit).tolist():
                    first, second = sorted((int(order[start + i]), int(order[others.start + j])))
                    close.append((first, second))
            advance(stop - start)
            start = stop
    return LabelDistances(nearest.distance, nearest.partner, tuple(sorted(close)))


class _Nearest:
    """The nearest sample found so far, for each sample."""

    def __init__(self, count: int, is_grey: bool) -> None:
        self.distance = np.full(count, -1, dtype=np.int64 if is_grey else np.float64)
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


def _chebyshev(some: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Distances, ``(some, others)``, of arrays ``(pixels, some)`` and ``(pixels, others)``."""
    result = np.zeros((some.shape[1], others.shape[1]), dtype=some.dtype)
    high, low = np.empty_like(result), np.empty_like(result)
    for ours, theirs in zip(some, others, strict=True):
        np.maximum(ours[:, None], theirs[None, :], out=high)
        np.minimum(ours[:, None], theirs[None, :], out=low)
        np.subtract(high, low, out=high)
        np.maximum(result, high, out=result)
    return result
