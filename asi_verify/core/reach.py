"""What is known of the inputs of a batch of regions, beyond the boxes that cover them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box

__all__ = [
    "BallReach",
    "IntensityReach",
    "MeansReach",
    "Norm",
    "PatchReach",
    "PixelReach",
    "Reach",
    "take",
    "told_of",
]

Rows: TypeAlias = "slice | npt.NDArray[Any]"


class Norm(Enum):
    """In which distances are measured, over all numbers of an image together."""

    L1 = "l1"
    """The sum of the differences."""

    L2 = "l2"
    """The root of the sum of their squares."""


@dataclass(frozen=True, eq=False)
class BallReach:
    """Every input ``x`` of sample ``b`` has some ``c`` in ``centre[b]`` within the radius of it.

    Attributes:
        centre: float32, shape ``(B, *shape)``.
        radius: not below the exact one.
        norm: of ``x - c``.
    """

    centre: Box
    radius: float
    norm: Norm


@dataclass(frozen=True, eq=False)
class PixelReach:
    """At most ``pixels`` pixels of an input of sample ``b`` lie outside ``centre[b]``.

    A pixel is one position with all its channels. Those lie in ``hull[b]``.

    Attributes:
        centre: float32, shape ``(B, C, *spatial)``.
        hull: as large, holds ``centre``.
        pixels: at least 1.
    """

    centre: Box
    hull: Box
    pixels: int


@dataclass(frozen=True, eq=False)
class MeansReach:
    """What at most ``pixels`` changed pixels make of the means of windows, a value of a network.

    Every such value of sample ``b`` is some ``c`` in ``centre[b]``, and a change. At most
    ``pixels`` pixels have a part in that, each in the change of one number alone; any ``m`` of them
    lower number ``j`` by at most ``below[b, 0, j] + ... + below[b, m - 1, j]``, and raise it by at
    most as much of ``above``.

    Attributes:
        centre: float64, shape ``(B, 1, *spatial)``.
        below: float64, shape ``(B, M, positions)``, largest first; ``M`` is ``pixels``, or all of a
            window if those are fewer.
        above: same shape.
        pixels: at least 1.
        value: which one of the network's it is.
    """

    centre: Box
    below: npt.NDArray[np.float64]
    above: npt.NDArray[np.float64]
    pixels: int
    value: int

    def take(self, rows: Rows) -> MeansReach:
        """What is known of some of the samples."""
        below, above = self.below[rows], self.above[rows]
        return replace(self, centre=self.centre[rows], below=below, above=above)


@dataclass(frozen=True, eq=False)
class PatchReach:
    """All pixels of an input of sample ``b`` that lie outside ``centre[b]`` fit into one window.

    A pixel is one position with all its channels. Those lie in ``hull[b]``.

    Attributes:
        centre: float32, shape ``(B, C, *spatial)``.
        hull: as large, holds ``centre``.
        window: its extent along each spatial axis, at least 1 and at most the axis's own.
    """

    centre: Box
    hull: Box
    window: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class IntensityReach:
    """Every input is within the slack of ``clip(base + t_1 D_1 + ... + t_K D_K, 0, 1)``.

    In every number, for some real ``t`` between ``lower[b]`` and ``upper[b]`` for sample ``b``;
    ``D_k`` is ``fields[k]``, the same for all channels, times ``base[b]`` where ``scaled[k]``. All
    of these are the exact numbers that the arrays hold.

    Attributes:
        base: float64 in [0, 1], shape ``(B, C, *spatial)``.
        fields: float64 in [-1, 1], shape ``(K, *spatial)``.
        scaled: as above.
        lower: float64, shape ``(B, K)``.
        upper: same shape.
        slack: as above.
    """

    base: npt.NDArray[np.float64]
    fields: npt.NDArray[np.float64]
    scaled: tuple[bool, ...]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    slack: float

    def direction(self, k: int) -> npt.NDArray[np.float64]:
        """``D_k`` of every sample, with one rounding where scaled; shape of ``base``."""
        if self.scaled[k]:
            return np.asarray(self.base * self.fields[k])
        return np.broadcast_to(self.fields[k], self.base.shape)

    def take(self, rows: Rows) -> IntensityReach:
        """What is known of some of the samples."""
        return replace(self, base=self.base[rows], lower=self.lower[rows], upper=self.upper[rows])


Reach: TypeAlias = BallReach | PixelReach | MeansReach | PatchReach | IntensityReach


def told_of(reach: Reach | None) -> int:
    """The value of a network that is known more of than its box; 0 is the input."""
    return reach.value if isinstance(reach, MeansReach) else 0


def take(reach: Reach | None, rows: Rows) -> Reach | None:
    """What is known of some of the samples."""
    if reach is None:
        return None
    if isinstance(reach, IntensityReach | MeansReach):
        return reach.take(rows)
    if isinstance(reach, BallReach):
        return replace(reach, centre=reach.centre[rows])
    return replace(reach, centre=reach.centre[rows], hull=reach.hull[rows])
