"""k-pixel regions: at most so many pixels or voxels take other values; a finite set of images."""

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
from asi_verify.core.family import LEVELS
from asi_verify.core.images import encode, refuse_unusable_images
from asi_verify.core.linf import LInf
from asi_verify.core.pieces import Divided, Pieces
from asi_verify.core.reach import PixelReach
from asi_verify.errors import CertificateError, DataError, UsageError

__all__ = ["KPixel"]

Images = npt.NDArray[np.uint8]
_TEXT = re.compile(r"\s*(?P<count>[0-9]{1,9})\s*(pixel|voxel)s?\s*")
_POINT = LInf.of(0)
"""An image itself, in all its encodings."""


@dataclass(frozen=True)
class KPixel(Divided):
    """All 8-bit images in which at most ``pixels`` pixels differ from the centre's.

    A pixel is one position with all its channels. Each channel of a pixel that differs has a value
    out of ``values``, or keeps its own. Every member is meant in all the usual encodings of its
    grey levels (see ``core.linf``).

    Attributes:
        pixels: at most so many, at least 1.
        values: grey levels in order, each once.

    Raises:
        UsageError: another number of pixels, or values that are not such levels.
    """

    pixels: int
    values: tuple[int, ...] = tuple(range(LEVELS))

    ways: ClassVar[tuple[Pieces, ...]] = tuple(Pieces)

    def __post_init__(self) -> None:
        if type(self.pixels) is not int or self.pixels < 1:
            raise UsageError(f"pixels: {self.pixels!r}; a whole number from 1 on is expected")
        levels = all(type(v) is int and 0 <= v < LEVELS for v in self.values)
        if not self.values or not levels or list(self.values) != sorted(set(self.values)):
            raise UsageError(
                f"values: {self.values!r:.200}; grey levels from 0 to 255 in order, each once, are "
                "expected"
            )

    @staticmethod
    def pixels_in(text: object) -> int | None:
        """How many pixels a text such as ``"2 pixels"`` or ``"1 voxel"`` says; None if none."""
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        return int(match["count"]) if match else None

    @property
    def size(self) -> str:
        return "1 pixel" if self.pixels == 1 else f"{self.pixels} pixels"

    @property
    def extent(self) -> str:
        return f"with up to {self.size} changed"

    @property
    def membership(self) -> str:
        values = ", ".join(map(str, self.values[:8])) + (", ..." if len(self.values) > 8 else "")
        levels = f"one of {len(self.values)} grey levels ({values})"
        return f"at most {self.size} differ from the image's, each being {levels} in every channel"

    def boxes(self, images: npt.NDArray[Any]) -> Box:
        _refuse_other_than_8_bit(images)
        centre = _POINT.boxes(images)
        lowest, highest = self._ends
        return Box(np.minimum(centre.lower, lowest), np.maximum(centre.upper, highest))

    def reach(self, images: npt.NDArray[Any]) -> PixelReach:
        return PixelReach(_POINT.boxes(images), self.boxes(images), self.pixels)

    def count(self, shape: tuple[int, ...], pieces: Pieces) -> int:
        positions = math.prod(shape[1:])
        chosen = min(self.pixels, positions)
        choices = (len(self.values) + 1) ** (shape[0] * chosen) if pieces is Pieces.EACH else 1
        return math.comb(positions, chosen) * choices

    def cover(self, image: npt.NDArray[Any], pieces: Pieces, at_once: int) -> Iterator[Box]:
        """As the abstract method says; for ``RANGE`` the boxes hold more than the region.

        Fewer pixels than ``k`` differ where a chosen one keeps its value, so only choices of
        exactly ``k`` pixels need to be gone through.
        """
        _refuse_other_than_8_bit(image[None])
        positions = math.prod(image.shape[1:])
        chosen = min(self.pixels, positions)
        each = pieces is Pieces.EACH
        options = self._options(len(image)) if each else np.empty((1, 0), np.int64)
        choices = len(options) ** chosen if each else 1
        every = itertools.combinations(range(positions), chosen)
        # Some at a time: each choice of nearly all pixels is as long as the image.
        while some := list(itertools.islice(every, at_once)):
            places = np.array(some)
            for start in range(0, len(places) * choices, at_once):
                number = np.arange(start, min(start + at_once, len(places) * choices))
                where = places[number // choices]
                if not each:
                    yield self._ranges(image, where)
                    continue
                picked = np.unravel_index(number % choices, (len(options),) * chosen)
                yield _POINT.boxes(_changed(image, where, options[np.stack(picked, axis=1)]))

    def sample(
        self, images: npt.NDArray[Any], generator: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        _refuse_other_than_8_bit(images)
        changed = np.empty_like(images)
        for row, image in enumerate(images):
            positions = math.prod(image.shape[1:])
            some = generator.permutation(positions)[: min(self.pixels, positions)]
            values = generator.choice(self.values, (1, len(some), len(image)))
            changed[row] = _changed(image, some[None], values)[0]
        return encode(changed)

    def project(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32]:
        """As the abstract method says, in the Euclidean distance."""
        kept, moved = self._nearest(points, images)
        gain = ((points - kept) ** 2 - (points - moved) ** 2).astype(np.float64)
        by_pixel = gain.reshape(*gain.shape[:2], -1).sum(axis=1)
        best = np.argsort(-by_pixel, axis=1, kind="stable")[:, : self.pixels]
        chosen = np.zeros(by_pixel.shape, dtype=np.bool_)
        np.put_along_axis(chosen, best, True, axis=1)
        mask = chosen.reshape(len(points), 1, *points.shape[2:])
        return np.where(mask, moved, kept)

    def contains(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        kept, moved = self._nearest(points, images)
        possible = (points == moved).reshape(len(points), -1).all(axis=1)
        differs = (points != kept).any(axis=1).reshape(len(points), -1).sum(axis=1)
        return np.asarray(possible & (differs <= self.pixels))

    def meeting_point(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """As the abstract method says; decided in whole numbers.

        Where two images agree a common member may agree with both. Where they differ it differs
        from one of them at least: it has the pixel of the first, if the values allow the second
        to take it, or that of the second, or, differing from both, any value.
        """
        _refuse_other_than_8_bit(images)
        first, second = images.reshape(2, images.shape[1], -1)
        allowed = np.isin(np.arange(LEVELS), self.values)
        differs = (first != second).any(axis=0)
        takes_first = differs & (allowed[first] | (first == second)).all(axis=0)
        takes_second = differs & (allowed[second] | (first == second)).all(axis=0)
        # From each of the two the common member may differ in so many pixels.
        neither = differs & ~takes_first & ~takes_second
        left_of_first = left_of_second = self.pixels - int(neither.sum())
        left_of_first -= int((takes_second & ~takes_first).sum())
        left_of_second -= int((takes_first & ~takes_second).sum())
        either = np.flatnonzero(takes_first & takes_second)
        if min(left_of_first, left_of_second) < 0 or left_of_first + left_of_second < len(either):
            return None
        common = np.where(neither & (first != second), np.uint8(self.values[0]), first)
        from_second = takes_second & ~takes_first
        from_second[either[:left_of_first]] = True
        common = np.where(from_second, second, common)
        return np.asarray(encode(common.reshape(1, *images.shape[1:]))[0])

    def to_json(self) -> dict[str, Any]:
        return {
            "encoding": "grey-levels/255",
            "kind": "k-pixel",
            "pixels": self.pixels,
            "values": list(self.values),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> KPixel:
        """The family that a canonical form of this kind names.

        Raises:
            CertificateError: its numbers are none.
        """
        match value:
            case {"pixels": int(pixels), "values": [*values]}:
                pass
            case _:
                raise CertificateError(f"the region {value!r:.200} has no pixels or no values")
        try:
            return cls(pixels, tuple(values))
        except UsageError as error:
            raise CertificateError(f"the region is not valid: {error}") from None

    def __str__(self) -> str:
        return f"at most {self.size} changed, to {len(self.values)} grey levels"

    @property
    def _ends(self) -> tuple[np.float32, np.float32]:
        lower, upper = _POINT.level_bounds
        return lower[self.values[0]], upper[self.values[-1]]

    def _options(self, channels: int) -> npt.NDArray[np.int64]:
        """All values that one pixel may take, shape ``(options, channels)``; -1 for its own."""
        each = [(-1, *self.values)] * channels
        return np.array(list(itertools.product(*each)))

    def _ranges(self, image: Images, where: npt.NDArray[np.intp]) -> Box:
        """One box for each choice of pixels, shape ``(n, k)``."""
        centre, whole = _POINT.boxes(image[None]), self.boxes(image[None])
        rows = np.arange(len(where))[:, None]
        ends = []
        for inside, outside in ((centre.lower, whole.lower), (centre.upper, whole.upper)):
            flat = np.repeat(inside.reshape(1, len(image), -1), len(where), axis=0)
            flat[rows, :, where] = outside.reshape(len(image), -1).T[where]
            ends.append(flat.reshape(len(where), *image.shape))
        return Box(*ends)

    def _nearest(
        self, points: npt.NDArray[np.float32], images: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """For each number the nearest of the centre's encodings, and of all that it may take."""
        _refuse_other_than_8_bit(images)
        lower, upper = _POINT.level_bounds
        kept = np.clip(points, lower[images], upper[images])
        moved = kept
        for value in self.values:
            other = np.clip(points, lower[value], upper[value])
            moved = np.where(np.abs(points - other) < np.abs(points - moved), other, moved)
        return kept, moved


def _changed(image: Images, where: npt.NDArray[np.intp], values: npt.NDArray[np.int64]) -> Images:
    """The image with some pixels changed, ``(n, *shape)``.

    Args:
        image: shape ``(C, *spatial)``.
        where: positions, shape ``(n, k)``.
        values: shape ``(n, k, C)``; -1 for the pixel's own.
    """
    changed = np.repeat(image.reshape(1, len(image), -1), len(where), axis=0)
    rows = np.arange(len(where))[:, None]
    own = changed[rows, :, where]
    changed[rows, :, where] = np.where(values < 0, own, values)
    return changed.reshape(len(where), *image.shape)


def _refuse_other_than_8_bit(images: npt.NDArray[Any]) -> None:
    refuse_unusable_images(images)
    if images.dtype != np.uint8:
        raise DataError(
            f"images: dtype {images.dtype}; k-pixel regions are sets of 8-bit images: give uint8"
        )
