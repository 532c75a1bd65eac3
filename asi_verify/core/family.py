"""Families of regions, and how an 8-bit grey level reaches a network."""

from __future__ import annotations

import abc
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, float32_above, float32_below
from asi_verify.core.reach import Reach

__all__ = ["LEVELS", "RegionFamily", "encodings"]

LEVELS = 256


class RegionFamily(abc.ABC):
    """A rule that makes a region out of an image.

    Everything lies in the artifact's input space: NCHW in [0, 1].
    """

    @property
    @abc.abstractmethod
    def size(self) -> str:
        """How large the regions are, for tables: "1/255"."""

    @property
    @abc.abstractmethod
    def extent(self) -> str:
        """How large the regions are, for sentences: "at radius 1/255"."""

    @property
    @abc.abstractmethod
    def membership(self) -> str:
        """What is true of every picture in a region, for people who know no mathematics."""

    @abc.abstractmethod
    def boxes(self, images: npt.NDArray[Any]) -> Box:
        """The smallest float32 boxes that cover the regions around some images.

        Every float32 input that any usual encoding gives for a member of the region lies in the
        box, and so does every real member; nothing outside [0, 1] does.

        Args:
            images: shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].

        Raises:
            DataError: another dtype, NaN, or values outside [0, 1].
        """

    @abc.abstractmethod
    def reach(self, images: npt.NDArray[Any]) -> Reach | None:
        """What is true of every input in the regions besides lying in its box; None if nothing.

        Of every float32 input and every real member that ``boxes`` covers.

        Args:
            images: as for ``boxes``; raises what that does.
        """

    @abc.abstractmethod
    def sample(
        self, images: npt.NDArray[Any], generator: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """One random float32 member of each image's region, shape ``(N, C, *spatial)``."""

    @abc.abstractmethod
    def project(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32]:
        """For each point the nearest float32 member of its image's region, or one near it."""

    @abc.abstractmethod
    def contains(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        """For each point, whether it is a member of its image's region; NaN is in none.

        Args:
            points: float32, shape ``(N, C, *spatial)``.
            images: as many.
        """

    @abc.abstractmethod
    def meeting_point(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """A float32 member of the regions of both of two images, or None if there is none.

        Args:
            images: shape ``(2, C, *spatial)``.
        """

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which ``family_from_json`` makes an equal family."""


def encodings(level: int) -> tuple[np.float32, ...]:
    """The float32 numbers that programs make of a grey level, and those around the exact one."""
    product = np.float32(level) * np.float32(np.float64(1) / np.float64(255))
    quotient = np.float32(np.float64(level) / np.float64(255))
    exact = Fraction(level, 255)
    return np.float32(product), quotient, float32_below(exact), float32_above(exact)
