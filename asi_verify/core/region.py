"""Regions: the bounded sets of inputs that a proof covers.

A *family* (``LInf("1/255")``) makes a region out of an image; a ``Region`` is a family and the
digest of the image at its centre. Everything downstream sees a region as the smallest float32 box
that covers it, in the artifact's input space: NCHW in [0, 1].

Why not simply ``[x - r, x + r]``: an 8-bit grey level k reaches a network as some float32 near
k/255, and which one depends on the program that divided. ``k / 255`` in double precision and a
cast, and ``k * float32(1/255)``, differ at 126 of 256 levels, and a neighbouring level's float32
often lies just outside the exact box of radius 1/255. A proof over the exact box would miss the
neighbouring images that it is meant to cover.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, float32_above, float32_below, read_only
from asi_verify.core.canonical import digest
from asi_verify.core.images import refuse_unusable_images
from asi_verify.core.radius import Radius, RadiusLike
from asi_verify.errors import CertificateError, RadiusError

__all__ = ["LInf", "Region", "RegionFamily", "family_from_json"]

_LEVELS = 256
_GREY = "grey-levels/255"


class RegionFamily(abc.ABC):
    """A rule that makes a region out of an image."""

    @abc.abstractmethod
    def boxes(self, images: npt.NDArray[Any]) -> Box:
        """The smallest float32 boxes that cover the regions around some images.

        Every float32 input that any usual encoding gives for a member of the region lies in the
        box, and so does every real value within the family's bound; nothing outside [0, 1] does.

        Args:
            images: shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].

        Raises:
            DataError: another dtype, NaN, or values outside [0, 1].
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
        """For each point the nearest float32 member of its image's region."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which ``family_from_json`` makes an equal family."""


@dataclass(frozen=True)
class LInf(RegionFamily):
    """All images in which no pixel differs by more than a radius from the centre's.

    For 8-bit images the box covers, for a pixel of grey level k: the reals within the radius of
    k/255; and for every level j within the radius of k, the exact j/255, the float32 product
    ``j * float32(1/255)`` and the cast of the double quotient ``j / 255``.
    """

    radius: Radius

    @classmethod
    def of(cls, radius: RadiusLike) -> LInf:
        """The family of a radius given as text, fraction or float (see ``Radius.of``)."""
        return cls(Radius.of(radius))

    def boxes(self, images: npt.NDArray[Any]) -> Box:
        refuse_unusable_images(images)
        if images.dtype == np.uint8:
            lower, upper = self.level_bounds
            return Box(lower[images], upper[images])
        return self._float_boxes(images)

    @cached_property
    def level_bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The ends of the box for each of the 256 grey levels, two arrays of shape ``(256,)``."""
        reach = int(self.radius.grey_levels)
        lower = np.empty(_LEVELS, dtype=np.float32)
        upper = np.empty(_LEVELS, dtype=np.float32)
        for level in range(_LEVELS):
            lowest, highest = max(level - reach, 0), min(level + reach, _LEVELS - 1)
            centre = Fraction(level, 255)
            # The encodings of a level grow with it, so the extreme levels give the extreme floats.
            lower[level] = min(
                float32_below(max(centre - self.radius.value, Fraction(0))), *_encodings(lowest)
            )
            upper[level] = max(
                float32_above(min(centre + self.radius.value, Fraction(1))), *_encodings(highest)
            )
        return (
            read_only(np.clip(lower, np.float32(0), np.float32(1))),
            read_only(np.clip(upper, np.float32(0), np.float32(1))),
        )

    def _float_boxes(self, images: npt.NDArray[Any]) -> Box:
        # A float64 at least the radius, and one more step outwards after the rounded subtraction:
        # at most one float32 wider than the smallest box, never narrower.
        radius = np.nextafter(float(self.radius.value), np.inf) if self.radius.value else 0.0
        centre = images.astype(np.float64)
        below = np.nextafter(centre - radius, -np.inf) if radius else centre
        above = np.nextafter(centre + radius, np.inf) if radius else centre
        lower, upper = below.astype(np.float32), above.astype(np.float32)
        lower = np.where(lower > below, np.nextafter(lower, np.float32(-np.inf)), lower)
        upper = np.where(upper < above, np.nextafter(upper, np.float32(np.inf)), upper)
        return Box(
            np.clip(lower, np.float32(0), np.float32(1)),
            np.clip(upper, np.float32(0), np.float32(1)),
        )

    def sample(
        self, images: npt.NDArray[Any], generator: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        box = self.boxes(images)
        share = generator.random(box.lower.shape, dtype=np.float32)
        inside = box.lower + share * (box.upper - box.lower)
        return np.asarray(np.clip(inside, box.lower, box.upper), dtype=np.float32)

    def project(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32]:
        box = self.boxes(images)
        return np.asarray(np.clip(points, box.lower, box.upper), dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        return {"encoding": _GREY, "kind": "linf", "radius": str(self.radius.value)}

    def __str__(self) -> str:
        return f"L-infinity {self.radius}"


def _encodings(level: int) -> tuple[np.float32, ...]:
    product = np.float32(level) * np.float32(np.float64(1) / np.float64(255))
    quotient = np.float32(np.float64(level) / np.float64(255))
    exact = Fraction(level, 255)
    return np.float32(product), quotient, float32_below(exact), float32_above(exact)


def family_from_json(value: Any) -> RegionFamily:
    """The family with this canonical form.

    Raises:
        CertificateError: it is not the canonical form of any family.
    """
    if not isinstance(value, dict) or value.get("kind") != "linf":
        raise CertificateError(f"the region {value!r} is of no known kind; known: linf")
    radius = value.get("radius")
    if not isinstance(radius, str) or len(radius) > 1000:
        raise CertificateError(f"the region's radius {radius!r} is not text")
    try:
        family = LInf.of(radius)
    except RadiusError as error:
        raise CertificateError(f"the region is not valid: {error}") from None
    if family.to_json() != value:
        raise CertificateError(f"the region {value!r} is not in its canonical form")
    return family


@dataclass(frozen=True)
class Region:
    """A family and the digest of the image at its centre (``core.canonical.array_digest``)."""

    family: RegionFamily
    centre: str

    def to_json(self) -> dict[str, Any]:
        """The canonical form, with the centre's digest and never its pixels."""
        return {**self.family.to_json(), "centre": self.centre}

    @classmethod
    def from_json(cls, value: Any) -> Region:
        """The region with this canonical form; raises ``CertificateError`` if it is none."""
        if not isinstance(value, dict) or not isinstance(value.get("centre"), str):
            raise CertificateError(f"the region {value!r} has no centre")
        rest = {key: item for key, item in value.items() if key != "centre"}
        return cls(family_from_json(rest), value["centre"])

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical form."""
        return digest(self.to_json())
