"""Patch regions: all pixels of one window, wherever it lies, take any values."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.pieces import Divided, Pieces
from asi_verify.core.reach import PatchReach
from asi_verify.errors import CertificateError, UsageError

__all__ = ["Patch"]

Points = npt.NDArray[np.float32]
_TEXT = re.compile(r"\s*patch\s+(?P<side>[0-9]{1,9})\s*")
_POINT = LInf.of(0)
"""An image itself, in all its encodings."""


@dataclass(frozen=True)
class Patch(Divided):
    """All images that differ from the centre's inside one window at most.

    The window has ``side`` pixels along every spatial axis, ends at the image's border, and lies
    anywhere; inside it every number of every channel is any real in [0, 1] (Chiang et al. 2020).
    Everything else is the centre's, in any usual encoding (see ``core.linf``).

    Attributes:
        side: at least 1.

    Raises:
        UsageError: another side.
    """

    side: int

    ways: ClassVar[tuple[Pieces, ...]] = (Pieces.RANGE,)

    def __post_init__(self) -> None:
        if type(self.side) is not int or self.side < 1:
            raise UsageError(f"side: {self.side!r}; a whole number from 1 on is expected")

    @classmethod
    def in_text(cls, text: object) -> Patch | None:
        """The patches that a text such as ``"patch 3"`` says; None if it says none."""
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        return cls(int(match["side"])) if match else None

    @property
    def size(self) -> str:
        return f"patch {self.side}"

    @property
    def extent(self) -> str:
        return f"with any patch of side {self.side}"

    @property
    def membership(self) -> str:
        side = "1 pixel" if self.side == 1 else f"{self.side} pixels"
        return (
            f"all that differs from the image lies in one window, wherever it is, of {side} along "
            "each side, whose pixels may be anything"
        )

    def boxes(self, images: npt.NDArray[Any]) -> Box:
        zero = np.zeros_like(_POINT.boxes(images).lower)
        return Box(zero, np.ones_like(zero))

    def reach(self, images: npt.NDArray[Any]) -> PatchReach:
        window = self._window(images.shape[2:])
        return PatchReach(_POINT.boxes(images), self.boxes(images), window)

    def count(self, shape: tuple[int, ...], pieces: Pieces) -> int:
        del pieces
        return math.prod(len(starts) for starts in self._starts(shape[1:]))

    def cover(self, image: npt.NDArray[Any], pieces: Pieces, at_once: int) -> Iterator[Box]:
        """As the abstract method says: one box for each place of the window, and nothing else."""
        del pieces
        centre, window = _POINT.boxes(image[None]), self._window(image.shape[1:])
        places = np.array(list(itertools.product(*self._starts(image.shape[1:]))))
        for start in range(0, len(places), at_once):
            inside = _inside(places[start : start + at_once], window, image.shape[1:])[:, None]
            yield Box(
                np.where(inside, np.float32(0), centre.lower),
                np.where(inside, np.float32(1), centre.upper),
            )

    def sample(self, images: npt.NDArray[Any], generator: np.random.Generator) -> Points:
        values = generator.random((len(images), *images.shape[1:]), dtype=np.float32)
        # Black and white ones too, by chance: they are what networks are most often wrong on.
        values = np.where(generator.random(len(images)) < 0.5, values.T, np.rint(values).T).T
        starts = self._starts(images.shape[2:])
        places = np.stack([generator.integers(len(s), size=len(images)) for s in starts], axis=1)
        inside = _inside(places, self._window(images.shape[2:]), images.shape[2:])
        return np.where(inside[:, None], values, encode(images))

    def project(self, points: Points, images: npt.NDArray[Any]) -> Points:
        """As the abstract method says, in the Euclidean distance."""
        box, window = _POINT.boxes(images), self._window(images.shape[2:])
        kept = np.clip(points, box.lower, box.upper)
        moved = np.clip(points, np.float32(0), np.float32(1))
        gain = ((points - kept) ** 2 - (points - moved) ** 2).astype(np.float64).sum(axis=1)
        for axis, side in enumerate(window, 1):
            gain = np.lib.stride_tricks.sliding_window_view(gain, side, axis).sum(axis=-1)
        best = gain.reshape(len(points), -1).argmax(axis=1)
        places = np.stack(np.unravel_index(best, gain.shape[1:]), axis=1)
        inside = _inside(places, window, images.shape[2:])
        return np.where(inside[:, None], moved, kept)

    def contains(self, points: Points, images: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        box = _POINT.boxes(images)
        found = np.array(((points >= 0) & (points <= 1)).reshape(len(points), -1).all(axis=1))
        differs = np.any((points < box.lower) | (points > box.upper), axis=1)
        for row in np.flatnonzero(found):
            places = np.argwhere(differs[row])
            if len(places):
                found[row] = bool((np.ptp(places, axis=0) < self.side).all())
        return found

    def meeting_point(self, images: npt.NDArray[Any]) -> Points | None:
        """As the abstract method says; decided in whole numbers, and without fail.

        A common member is the first image outside one window and the second outside another, so
        the two windows together hold every pixel at which the images differ, and where they do
        there is one. If two windows hold these pixels, then so do two at opposite corners of the
        smallest box around them: along an axis on which the box is longer than a window, one of
        the two ends where the box begins and the other where it ends; along any other axis both
        may lie wherever they hold the whole of the box.
        """
        box, spatial = _POINT.boxes(images), images.shape[2:]
        lower, upper = box.lower.max(axis=0), box.upper.min(axis=0)
        places = np.argwhere((lower > upper).any(axis=0))
        if len(places) == 0:
            return np.asarray(lower)
        window = np.array(self._window(spatial))
        low, high = places.min(axis=0), places.max(axis=0) - window + 1
        for corner in itertools.product((False, True), repeat=len(spatial)):
            starts = np.stack([np.where(corner, high, low), np.where(corner, low, high)])
            starts = np.clip(starts, 0, np.array(spatial) - window)
            first, second = _inside(starts, tuple(window.tolist()), spatial)
            if bool((first | second)[tuple(places.T)].all()):
                outside = np.where(second, box.lower[0], lower)
                return np.asarray(np.where(first, box.lower[1], outside))
        return None

    def to_json(self) -> dict[str, Any]:
        return {"encoding": "grey-levels/255", "kind": "patch", "side": self.side}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Patch:
        """The family that a canonical form of this kind names.

        Raises:
            CertificateError: its side is none.
        """
        side: Any = value.get("side")
        try:
            return cls(side)  # which refuses what is no side
        except UsageError as error:
            raise CertificateError(f"the region is not valid: {error}") from None

    def __str__(self) -> str:
        return f"any patch of side {self.side}"

    def _window(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """The window's extent along each axis."""
        return tuple(min(self.side, extent) for extent in spatial)

    def _starts(self, spatial: tuple[int, ...]) -> list[range]:
        """Along each axis, where a window may begin."""
        window = self._window(spatial)
        return [range(n - side + 1) for n, side in zip(spatial, window, strict=True)]


def _inside(
    places: npt.NDArray[Any], window: tuple[int, ...], spatial: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """Which pixels windows that begin at ``places``, ``(n, axes)``, hold: ``(n, *spatial)``."""
    inside = np.ones((len(places), *spatial), dtype=np.bool_)
    for axis, side in enumerate(window):
        start = places[:, axis].reshape(-1, *([1] * len(spatial)))
        along = np.arange(spatial[axis]).reshape(-1, *([1] * (len(spatial) - axis - 1)))
        inside &= (start <= along) & (along < start + side)
    return inside
