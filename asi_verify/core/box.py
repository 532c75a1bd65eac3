"""Boxes: for every number of a value, a lower and an upper bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "SMALLEST_NORMAL",
    "Box",
    "chosen",
    "float32_above",
    "float32_below",
    "float64_above",
    "flushed",
    "read_only",
    "widened",
]

FloatArray = npt.NDArray[np.floating[Any]]

SMALLEST_NORMAL = 2.0**-126
"""The smallest float32 that no runtime takes for 0."""


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array itself, no longer writable through this name."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Box:
    """A batch of boxes: every number of sample ``b`` lies between ``lower[b]`` and ``upper[b]``.

    Attributes:
        lower: shape ``(B, *shape)``, float32 for a box of inputs, float64 inside the trusted pass.
        upper: same shape and dtype.

    Raises:
        ValueError: shapes or dtypes differ, a bound is NaN, or a lower bound exceeds its upper.
    """

    lower: FloatArray
    upper: FloatArray

    def __post_init__(self) -> None:
        if self.lower.shape != self.upper.shape or self.lower.dtype != self.upper.dtype:
            raise ValueError(
                f"the bounds of a box differ in form: lower {self.lower.shape} "
                f"{self.lower.dtype}, upper {self.upper.shape} {self.upper.dtype}"
            )
        # Written so that a NaN, for which every comparison is false, is refused too.
        if not bool(np.all(self.lower <= self.upper)):
            raise ValueError("a box has a lower bound above its upper bound, or a NaN")
        read_only(self.lower)
        read_only(self.upper)

    def __len__(self) -> int:
        return int(self.lower.shape[0])

    def __getitem__(self, rows: slice | Sequence[int] | npt.NDArray[Any]) -> Box:
        """The boxes of some samples, as a batch again."""
        return Box(self.lower[rows], self.upper[rows])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample's value."""
        return tuple(self.lower.shape[1:])

    def contains(self, points: FloatArray) -> npt.NDArray[np.bool_]:
        """For each sample, whether its point lies in its box; exact, NaN lies nowhere.

        Args:
            points: shape ``(B, *shape)``.
        """
        inside = (self.lower <= points) & (points <= self.upper)
        return np.asarray(inside.reshape(len(self), -1).all(axis=1))


def chosen(mask: npt.NDArray[np.bool_], first: Box, second: Box) -> Box:
    """For each sample the box of the first batch where the mask is true, else of the second.

    Args:
        mask: shape ``(B,)``.
        first: shape ``(B, *shape)``.
        second: the same shape and dtype.
    """
    of_sample = mask.reshape(-1, *([1] * len(first.shape)))
    return Box(
        np.where(of_sample, first.lower, second.lower),
        np.where(of_sample, first.upper, second.upper),
    )


def float32_below(value: Fraction) -> np.float32:
    """The largest float32 that is at most ``value``."""
    nearest = np.float32(float(value))
    # float(Fraction) and the cast both round to nearest, so at most one step is needed.
    while Fraction(float(nearest)) > value:
        nearest = np.nextafter(nearest, np.float32(-np.inf))
    return nearest


def float32_above(value: Fraction) -> np.float32:
    """The smallest float32 that is at least ``value``."""
    nearest = np.float32(float(value))
    while Fraction(float(nearest)) < value:
        nearest = np.nextafter(nearest, np.float32(np.inf))
    return nearest


def float64_above(value: Fraction) -> float:
    """A float64 above ``value``, at most two steps from it; 0 for 0."""
    return float(np.nextafter(float(value), np.inf)) if value else 0.0


def widened(box: Box, radius: Fraction) -> Box:
    """All that lies within a radius of some float32 boxes in every number, cut to [0, 1].

    Each end is at most one float32 beyond the exact one, and never inside it.
    """
    # A float64 at least the radius, and one more step outwards after the rounded subtraction.
    distance = float64_above(radius)
    below, above = box.lower.astype(np.float64), box.upper.astype(np.float64)
    if distance:
        below = np.nextafter(below - distance, -np.inf)
        above = np.nextafter(above + distance, np.inf)
    lower, upper = below.astype(np.float32), above.astype(np.float32)
    lower = np.where(lower > below, np.nextafter(lower, np.float32(-np.inf)), lower)
    upper = np.where(upper < above, np.nextafter(upper, np.float32(np.inf)), upper)
    return Box(
        np.clip(lower, np.float32(0), np.float32(1)),
        np.clip(upper, np.float32(0), np.float32(1)),
    )


def flushed(box: Box) -> Box:
    """The float64 box with 0 wherever subnormal float32 numbers are, which may be read as 0."""
    lower = np.where((box.lower > 0) & (box.lower < SMALLEST_NORMAL), 0.0, box.lower)
    return Box(lower, np.where((box.upper < 0) & (box.upper > -SMALLEST_NORMAL), 0.0, box.upper))
