"""What is known of the inputs of a batch of regions, beyond the boxes that cover them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeAlias

import numpy.typing as npt

from asi_verify.core.box import Box

__all__ = ["BallReach", "Norm", "PixelReach", "Reach", "take"]

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


Reach: TypeAlias = BallReach | PixelReach


def take(reach: Reach | None, rows: Rows) -> Reach | None:
    """What is known of some of the samples."""
    if reach is None:
        return None
    if isinstance(reach, BallReach):
        return replace(reach, centre=reach.centre[rows])
    return replace(reach, centre=reach.centre[rows], hull=reach.hull[rows])
