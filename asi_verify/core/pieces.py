"""Regions that are written as a union of boxes, to be proved one after the other."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from enum import Enum
from typing import Any, ClassVar

import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.family import RegionFamily

__all__ = ["Divided", "Pieces", "shown_count"]


class Pieces(Enum):
    """How a region is written as a union of boxes, one or more for each choice of pixels."""

    RANGE = "range"
    """The chosen pixels take anything between their smallest and their largest value, in one box
    for each choice of pixels."""

    EACH = "each"
    """The chosen pixels take one value each: the region itself, image by image."""


class Divided(RegionFamily):
    """A family whose regions are unions of not too many boxes.

    Attributes:
        ways: the pieces that its regions are divided into.
    """

    ways: ClassVar[tuple[Pieces, ...]]

    @abc.abstractmethod
    def count(self, shape: tuple[int, ...], pieces: Pieces) -> int:
        """How many boxes ``cover`` gives for one image of a shape ``(C, *spatial)``."""

    @abc.abstractmethod
    def cover(self, image: npt.NDArray[Any], pieces: Pieces, at_once: int) -> Iterator[Box]:
        """Boxes whose union holds the region of an image, and for ``EACH`` nothing else.

        Args:
            image: shape ``(C, *spatial)``.
            pieces: which boxes, one of ``ways``.
            at_once: at most so many in one batch, at least 1.

        Yields:
            Float32 boxes of inputs; ``count`` of them in all.
        """


def shown_count(count: int) -> str:
    """A number of boxes as text; Python writes no integer of thousands of digits."""
    return str(count) if count < 10**18 else "10**18 or more"
