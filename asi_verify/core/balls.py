"""L2 and L1 regions: balls, in which the changes of all pixels count together."""

from __future__ import annotations

import abc
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, float64_above, widened
from asi_verify.core.family import RegionFamily
from asi_verify.core.linf import LInf
from asi_verify.core.radius import RadiusLike, ball_radius
from asi_verify.core.reach import BallReach, Norm
from asi_verify.errors import CertificateError, RadiusError

__all__ = ["L1", "L2", "ball_in"]

Points = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
_TEXT = re.compile(r"\s*[lL](?P<power>[12])\s+(?P<radius>.+)", re.DOTALL)
_POINT = LInf.of(0)
"""An image itself, in all its encodings."""
_SHARES = (1.0, 1 - 2.0**-22, 1 - 2.0**-16, 1 - 2.0**-8, 0.0)
"""Of the way from the centre to a point: rounding to float32 can lead out of a ball."""


@dataclass(frozen=True)
class _Ball(RegionFamily):
    """All images within a distance of the centre, in a norm of all their numbers together.

    Every real ``x`` in [0, 1] whose distance to the box of the centre's usual encodings (see
    ``core.linf``) is at most the radius. With ``p`` the norm's power, the distance is the p-th root
    of the sum of ``|x - c|**p`` over all numbers, ``c`` being the nearest in the box.

    Attributes:
        radius: exact, at least 0, in units of the pixel range.

    Raises:
        RadiusError: another radius.
    """

    radius: Fraction

    norm: ClassVar[Norm]
    power: ClassVar[int]

    def __post_init__(self) -> None:
        if not isinstance(self.radius, Fraction):
            raise TypeError(f"a ball holds a Fraction, not {self.radius!r}; use L2.of(...)")
        ball_radius(self.radius)

    @classmethod
    def of(cls, radius: RadiusLike) -> Self:
        """The family of a radius as ``Radius.of`` reads it, which may be of any size here."""
        return cls(ball_radius(radius))

    @property
    def size(self) -> str:
        return f"L{self.power} {self.radius}"

    @property
    def extent(self) -> str:
        return f"at L{self.power} radius {self.radius}"

    def boxes(self, images: npt.NDArray[Any]) -> Box:
        return widened(_POINT.boxes(images), self.radius)

    def reach(self, images: npt.NDArray[Any]) -> BallReach:
        return BallReach(_POINT.boxes(images), float64_above(self.radius), self.norm)

    def sample(self, images: npt.NDArray[Any], generator: np.random.Generator) -> Points:
        box = _POINT.boxes(images)
        shape = box.lower.shape
        # Many small changes or few large ones, by chance: balls of high dimension have both.
        few = generator.random(shape) < generator.random((len(images), *([1] * (len(shape) - 1))))
        changes = generator.normal(size=shape) * few
        length = self._length(changes)
        share = generator.random(len(images)) * float(self.radius)
        scale = np.divide(share, length, out=np.zeros_like(length), where=length > 0)
        points = box.lower + changes * _column(scale, changes)
        return self.project(points.astype(np.float32), images)

    def project(self, points: Points, images: npt.NDArray[Any]) -> Points:
        """For each point a float32 member near it.

        The nearest in [0, 1], then the nearest to that in the ball; up to rounding, which is
        towards the centre. A member stays what it is.
        """
        box = _POINT.boxes(images)
        inside = np.clip(points, np.float32(0), np.float32(1))
        nearest = np.clip(inside, box.lower, box.upper)
        changes = self._shortened(inside.astype(np.float64) - nearest)
        found = inside
        for share in _SHARES:
            outside = ~self.contains(found, images)
            if not bool(outside.any()):
                break
            nearer = (nearest + share * changes).astype(np.float32)
            found = np.where(_column(outside, found), nearer, found)
        return found

    def contains(self, points: Points, images: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """As the abstract method says; decided in whole numbers where float64 is not sure."""
        box = _POINT.boxes(images)
        nearest = np.clip(points, box.lower, box.upper)
        changes = np.abs(points.astype(np.float64) - nearest).reshape(len(points), -1)
        found = (changes**self.power).sum(axis=1)
        limit = float(self.radius**self.power)
        # Neither sum is off by more than (N + 4) 2**-53 of it, less than 2e-9 for any image;
        # differences of float32 numbers are 0 or too large for their squares to underflow.
        unsure = np.abs(found - limit) <= 1e-8 * (found + limit)
        inside = ((points >= 0) & (points <= 1)).reshape(len(points), -1).all(axis=1)
        inside &= unsure | (found < limit)
        for row in np.flatnonzero(inside & unsure):
            inside[row] = self._holds(points[row], nearest[row])
        return np.asarray(inside)

    def _holds(self, point: Points, nearest: Points) -> bool:
        """Whether two float32 arrays in [0, 1] are within the radius of each other, exactly."""
        # Every float32 is a multiple of 2**-149.
        whole = [np.ldexp(x.reshape(-1).astype(np.float64), 149) for x in (point, nearest)]
        total = sum(abs(int(a) - int(b)) ** self.power for a, b in zip(*whole, strict=True))
        over, under = self.radius.as_integer_ratio()
        return bool(total * under**self.power <= over**self.power << (149 * self.power))

    def meeting_point(self, images: npt.NDArray[Any]) -> Points | None:
        """As the abstract method says, if there is one about half way between the two images.

        Whether the point that is returned lies in both regions is decided exactly. Of regions that
        only just touch, none of whose common points may be float32 numbers, none is found.
        """
        box = _POINT.boxes(images)
        first = np.clip(box.lower[1], box.lower[0], box.upper[0])
        second = np.clip(first, box.lower[1], box.upper[1])
        middle = (0.5 * (first.astype(np.float64) + second)).astype(np.float32)
        for point in (middle, *self.project(np.stack([middle, middle]), images)):
            if bool(self.contains(np.stack([point, point]), images).all()):
                return np.asarray(point)
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "encoding": "grey-levels/255",
            "kind": self.norm.value,
            "radius": str(self.radius),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The family that a canonical form of this kind names.

        Raises:
            CertificateError: its radius is none.
        """
        radius = value.get("radius")
        if not isinstance(radius, str) or len(radius) > 1000:
            raise CertificateError(f"the region's radius {radius!r:.200} is not text")
        try:
            return cls.of(radius)
        except RadiusError as error:
            raise CertificateError(f"the region is not valid: {error}") from None

    def __str__(self) -> str:
        return f"L{self.power}, radius {self.radius} of the pixel range"

    def _length(self, changes: Wide) -> Wide:
        """The norm of each sample's changes, shape ``(B,)``; rounded."""
        flat = np.abs(changes).reshape(len(changes), -1)
        length: Wide = (flat**self.power).sum(axis=1) ** (1 / self.power)
        return length

    @abc.abstractmethod
    def _shortened(self, changes: Wide) -> Wide:
        """The nearest changes within the radius, up to rounding."""


@dataclass(frozen=True)
class L2(_Ball):
    """All images at most so far from the centre's in the Euclidean distance.

    The root of the sum, over all pixels and channels, of the squared changes.
    """

    norm: ClassVar[Norm] = Norm.L2
    power: ClassVar[int] = 2

    @property
    def membership(self) -> str:
        return (
            "the changes of all pixels from the image's, each squared, add up to at most "
            f"{self.radius**2}, black and white being 1 apart"
        )

    def _shortened(self, changes: Wide) -> Wide:
        length = self._length(changes)
        shrink = np.divide(float(self.radius), length, out=np.ones_like(length), where=length > 0)
        shorter: Wide = changes * _column(np.minimum(shrink, 1), changes)
        return shorter


@dataclass(frozen=True)
class L1(_Ball):
    """All images whose changes from the centre's, over all pixels and channels, sum to so much."""

    norm: ClassVar[Norm] = Norm.L1
    power: ClassVar[int] = 1

    @property
    def membership(self) -> str:
        return (
            "the changes of all pixels from the image's add up to at most "
            f"{self.radius}, black and white being 1 apart"
        )

    def _shortened(self, changes: Wide) -> Wide:
        """All changes lose the same, but none more than it has (Duchi et al. 2008)."""
        sizes = np.abs(changes).reshape(len(changes), -1)
        ordered = -np.sort(-sizes, axis=1)
        # What each would lose if just the largest so many stayed; the right number gives the most.
        lost = (ordered.cumsum(axis=1) - float(self.radius)) / np.arange(1, sizes.shape[1] + 1)
        left = np.maximum(sizes - np.maximum(lost.max(axis=1), 0)[:, None], 0)
        return np.asarray(np.sign(changes) * left.reshape(changes.shape))


def ball_in(text: object) -> L1 | L2 | None:
    """The balls that a text such as ``"l2 0.5"`` or ``"L1 3"`` says; None if it says none.

    Raises:
        RadiusError: what follows the norm is no radius.
    """
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    return (L1 if match["power"] == "1" else L2).of(match["radius"])


def _column(numbers: npt.NDArray[Any], like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One number per sample, to be broadcast over its image."""
    return numbers.reshape(-1, *([1] * (like.ndim - 1)))
