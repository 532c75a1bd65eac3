"""Accepted regions of training images, to look up whether an image lies in one of them.

Exact: floats are compared, nothing is computed. A member's file holds the pixels of the training
images, unlike everything else that this library writes; it is made only where it is asked for.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, read_only
from asi_verify.core.canonical import array_digest, digest
from asi_verify.core.images import refuse_unusable_images
from asi_verify.core.linf import LInf
from asi_verify.core.query import is_digest
from asi_verify.data.medmnist import UNREADABLE_NPZ
from asi_verify.errors import DataError
from asi_verify.lowering.files import FileLike, read_file

__all__ = ["Members"]

_LARGEST = 1 << 30
_REMEDY = "make it anew with asi_verify.build_guard(membership=True)"
_PIXELS = 64
"""Compared at a time: most regions are ruled out by the first few, which lie all over the image."""


@dataclass(frozen=True, eq=False)
class Members:
    """Training images with accepted certificates for L-infinity regions.

    Attributes:
        artifact: SHA-256 of the model that they are about.
        family: the regions.
        images: shape ``(M, C, *spatial)``, as the data set stores them.
        labels: the labels that are proved, shape ``(M,)``.
        rows: the images' rows in the certified split, shape ``(M,)``.
    """

    artifact: str
    family: LInf
    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def find(self, points: npt.NDArray[np.float32]) -> list[tuple[int, int] | None]:
        """For each point the first row whose region holds it, and that row's label; else None.

        Args:
            points: shape ``(N, C, *spatial)``.

        Raises:
            DataError: they have another shape.
        """
        if points.shape[1:] != self.images.shape[1:]:
            raise DataError(
                f"images: shape {points.shape[1:]}; the members have {self.images.shape[1:]}"
            )
        found: list[tuple[int, int] | None] = []
        everything = np.arange(len(self.images))
        for point in points.reshape(len(points), len(self._order))[:, self._order]:
            left = everything
            for start in range(0, len(point), _PIXELS):
                part = slice(start, start + _PIXELS)
                rows = slice(None) if left is everything else left  # a view, where it can be one
                lower, upper = self._box.lower[rows, part], self._box.upper[rows, part]
                left = left[((lower <= point[part]) & (point[part] <= upper)).all(axis=1)]
                if not len(left):
                    break
            first = int(left[0]) if len(left) else None
            found.append(
                None if first is None else (int(self.rows[first]), int(self.labels[first]))
            )
        return found

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        """Pixels in the order in which they are compared: every so many, then those beside them."""
        count = self.images[0].size
        return np.argsort(np.arange(count) % max(1, count // _PIXELS), kind="stable")

    @cached_property
    def _box(self) -> Box:
        flat = self.images.reshape(len(self.images), 1, -1)
        box = self.family.boxes(flat[:, :, self._order])
        return Box(box.lower[:, 0], box.upper[:, 0])

    @property
    def seal(self) -> str:
        """The digest of everything, by which a file shows that nothing in it was changed."""
        return digest(
            {
                "artifact": self.artifact,
                "images": array_digest(self.images),
                "labels": array_digest(self.labels),
                "radius": str(self.family.radius.value),
                "rows": array_digest(self.rows),
            }
        )

    def to_bytes(self) -> bytes:
        """As an NPZ file."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            artifact=np.array(self.artifact),
            radius=np.array(str(self.family.radius.value)),
            images=self.images,
            labels=self.labels,
            rows=self.rows,
            seal=np.array(self.seal),
        )
        return buffer.getvalue()

    @classmethod
    def read(cls, file: FileLike) -> Members:
        """Read such a file.

        Raises:
            DataError: it is none, or not as it was made.
        """
        data = read_file(file, _LARGEST, DataError)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                artifact, seal = str(held["artifact"]), str(held["seal"])
                family = LInf.of(str(held["radius"]))
                images, labels, rows = held["images"], held["labels"], held["rows"]
        except (*UNREADABLE_NPZ, AttributeError, TypeError) as error:
            # The last two of an NPY file in its place, which is an array and no archive.
            raise DataError(
                f"members: not a file of accepted regions: {error}; {_REMEDY}"
            ) from None
        one_each = labels.shape == rows.shape == images.shape[:1]
        if not (one_each and is_digest(artifact) and labels.dtype == rows.dtype == np.int64):
            raise DataError(f"members: the fields of the file do not fit one another; {_REMEDY}")
        refuse_unusable_images(images)
        members = cls(artifact, family, read_only(images), labels, rows)
        if members.seal != seal:
            raise DataError(f"members: the file was changed after it was made; {_REMEDY}")
        return members
