"""Which images are near one in every number (L-infinity), without comparing all numbers of all.

The largest difference over some of the numbers of two images is at most that over all of them. So
whoever is too far away in a few numbers, spread over the image, needs no further look, and nobody
is missed. Nothing is rounded on the way: differences of 8-bit numbers are 8-bit numbers, and each
one of float32 numbers is taken in float64, in the same way at every stage.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PrunedSearch"]

# On 165,000 images of 28 x 28 numbers, 12 and 48 as well as 16 and 64 were slower.
_FIRST = 24
"""In how many numbers an image is compared with all others."""
_SECOND = 96
"""In how many with those that are left."""

_STRETCHES = 128
"""From each of so many stretches of samples one is compared first: all of them are far too many to
sort, and the nearest of these bounds how far away the nearest of all can be."""

_AT_ONCE = 1 << 22
"""Numbers of other images that are compared at once, for the memory they take."""

_GOLDEN = (math.sqrt(5) - 1) / 2


class PrunedSearch:
    """Samples by label, and some of their numbers in the order in which they are looked at.

    Args:
        images: shape ``(N, D)``, uint8 or float32.
        group: shape ``(N,)``, whole numbers: which label each has.
    """

    def __init__(self, images: npt.NDArray[Any], group: npt.NDArray[np.intp]) -> None:
        # By label: those of a sample's own are then one stretch.
        self._rows = np.argsort(group, kind="stable")
        self._place = np.argsort(self._rows)
        in_order = group[self._rows]
        self._start = np.searchsorted(in_order, in_order, side="left")
        self._end = np.searchsorted(in_order, in_order, side="right")
        exact = images if images.dtype == np.uint8 else images.astype(np.float64)
        self._all = np.ascontiguousarray(exact[self._rows][:, _spread(images.shape[1])])
        self._some = np.ascontiguousarray(self._all[:, :_SECOND])
        # One contiguous line per number: the loop over numbers reads along it.
        self._lines = np.ascontiguousarray(self._all[:, :_FIRST].T)
        self._farthest = 255 if images.dtype == np.uint8 else math.inf
        self._space = [np.empty(len(images), dtype=self._all.dtype) for _ in range(4)]

    def near(self, row: int, limit: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
        """The samples of other labels that are nearest to one or within a limit, and how far.

        All of the nearest, all at most ``limit`` (not negative) away, and no other.

        Returns:
            Their rows, in no order, and their distances, in the unit of the images.
        """
        place = int(self._place[row])
        own = slice(int(self._start[place]), int(self._end[place]))
        if own == slice(0, len(self._rows)):
            return self._rows[:0], self._all[:0, 0]
        at_least = self._first_numbers(place)
        at_least[own] = self._farthest
        size = math.ceil(len(at_least) / _STRETCHES)
        whole = len(at_least) // size
        tried = at_least[: whole * size].reshape(whole, size).argmin(axis=1)
        tried = _without(own, tried + np.arange(whole) * size)
        farthest = self._reach(self._compared(self._all, place, tried), limit)
        left = _without(own, np.flatnonzero(at_least <= farthest))
        left = left[self._compared(self._some, place, left) <= farthest]
        distance = self._compared(self._all, place, left)
        found = distance <= self._reach(distance, limit)
        return self._rows[left[found]], distance[found]

    def _reach(self, distances: npt.NDArray[Any], limit: float) -> float:
        """How far away samples are looked for, some distances being known.

        Whole for 8-bit images, because those are compared several times faster with whole numbers.
        """
        reach = max(distances.min(initial=self._farthest).item(), limit)
        return int(min(reach, self._farthest)) if self._all.dtype == np.uint8 else reach

    def _first_numbers(self, place: int) -> npt.NDArray[Any]:
        """The largest difference in the first few numbers, from every sample.

        The array is used again by the next call.
        """
        largest, high, low, ours = self._space
        largest.fill(0)
        for line, number in zip(self._lines, self._all[place], strict=False):
            # An array for the one number: numpy has fast loops only for arrays of equal length.
            ours.fill(number)
            np.maximum(line, ours, out=high)
            np.minimum(line, ours, out=low)
            np.subtract(high, low, out=high)
            np.maximum(largest, high, out=largest)
        return largest

    def _compared(
        self, numbers: npt.NDArray[Any], place: int, others: npt.NDArray[np.intp]
    ) -> npt.NDArray[Any]:
        """The largest difference in ``numbers`` of one sample from each of some others."""
        ours = numbers[place]
        result = np.empty(len(others), dtype=numbers.dtype)
        size = max(_AT_ONCE // len(ours), 1)
        for start in range(0, len(others), size):
            theirs = numbers.take(others[start : start + size], axis=0)
            low = np.minimum(theirs, ours)
            np.maximum(theirs, ours, out=theirs)
            np.subtract(theirs, low, out=theirs)
            theirs.max(axis=1, out=result[start : start + size])
        return result


def _spread(count: int) -> npt.NDArray[np.intp]:
    """All positions, an order whose beginnings are spread evenly over the whole.

    Multiples of the golden section of a circle are spread evenly, wherever one stops; neighbouring
    pixels differ little, so one of them says most of what both do.
    """
    step = max(round(count * _GOLDEN), 1)
    while math.gcd(step, count) > 1:
        step += 1
    positions: npt.NDArray[np.intp] = np.arange(count) * step % count
    return positions


def _without(own: slice, places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.asarray(places[(places < own.start) | (places >= own.stop)])
