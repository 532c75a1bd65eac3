"""L-infinity regions: every pixel within a radius of the centre's.

Why the box is not simply ``[x - r, x + r]``: ``k / 255`` in double precision and a cast, and
``k * float32(1/255)``, differ at 126 of 256 levels, and a neighbouring level's float32 often lies
just outside the exact box of radius 1/255. A proof over the exact box would miss the neighbouring
images that it is meant to cover.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, float32_above, float32_below, read_only, widened
from asi_verify.core.family import LEVELS, RegionFamily, encodings
from asi_verify.core.images import refuse_unusable_images
from asi_verify.core.radius import Radius, RadiusLike
from asi_verify.errors import CertificateError, RadiusError

__all__ = ["LInf", "common_point"]

_GREY = "grey-levels/255"


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

    @property
    def size(self) -> str:
        return str(self.radius)

    @property
    def extent(self) -> str:
        return f"at radius {self.radius}"

    @property
    def membership(self) -> str:
        levels = self.radius.grey_levels
        amount = f"{float(levels):g} of 255 grey levels" if levels.denominator <= 2 else self.size
        return f"no pixel differs from the image's by more than {amount}"

    def boxes(self, images: npt.NDArray[Any]) -> Box:
        refuse_unusable_images(images)
        if images.dtype == np.uint8:
            lower, upper = self.level_bounds
            return Box(lower[images], upper[images])
        return widened(Box(images.copy(), images.copy()), self.radius.value)

    @cached_property
    def level_bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The ends of the box for each of the 256 grey levels, two arrays of shape ``(256,)``."""
        reach = int(self.radius.grey_levels)
        lower = np.empty(LEVELS, dtype=np.float32)
        upper = np.empty(LEVELS, dtype=np.float32)
        for level in range(LEVELS):
            lowest, highest = max(level - reach, 0), min(level + reach, LEVELS - 1)
            centre = Fraction(level, 255)
            # The encodings of a level grow with it, so the extreme levels give the extreme floats.
            lower[level] = min(
                float32_below(max(centre - self.radius.value, Fraction(0))), *encodings(lowest)
            )
            upper[level] = max(
                float32_above(min(centre + self.radius.value, Fraction(1))), *encodings(highest)
            )
        return (
            read_only(np.clip(lower, np.float32(0), np.float32(1))),
            read_only(np.clip(upper, np.float32(0), np.float32(1))),
        )

    def reach(self, images: npt.NDArray[Any]) -> None:
        """Nothing: the region is the box."""
        del images

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

    def meeting_point(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """As the abstract method says; decided exactly."""
        return common_point(self.boxes(images))

    def contains(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        return self.boxes(images).contains(points)

    def to_json(self) -> dict[str, Any]:
        return {"encoding": _GREY, "kind": "linf", "radius": str(self.radius.value)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LInf:
        """The family that a canonical form of this kind names.

        Raises:
            CertificateError: its radius is none.
        """
        radius = value.get("radius")
        if not isinstance(radius, str) or len(radius) > 1000:
            raise CertificateError(f"the region's radius {radius!r} is not text")
        try:
            return cls.of(radius)
        except RadiusError as error:
            raise CertificateError(f"the region is not valid: {error}") from None

    def __str__(self) -> str:
        return f"L-infinity, radius {self.radius} of the pixel range"


def common_point(box: Box) -> npt.NDArray[np.float32] | None:
    """A point that lies in every float32 box of a batch, or None if there is none.

    Boxes meet if and only if in every coordinate the largest of the lower ends is at most the
    smallest of the upper ends. Decided exactly: comparing floats does not round.
    """
    lower, upper = box.lower.max(axis=0), box.upper.min(axis=0)
    return np.asarray(lower) if bool(np.all(lower <= upper)) else None
