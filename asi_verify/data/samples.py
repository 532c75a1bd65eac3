"""Samples and data sets: images, labels and what they mean, checked once, then read-only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import read_only
from asi_verify.core.canonical import array_digest
from asi_verify.core.images import refuse_unusable_images
from asi_verify.core.operators import Shape
from asi_verify.errors import DataError

__all__ = ["Dataset", "Samples", "Task", "refuse_different_splits"]


class Task(Enum):
    """What a label is."""

    BINARY = "binary"
    MULTI_CLASS = "multi-class"
    MULTI_LABEL = "multi-label"
    """One decision of 0 or 1 for each class."""
    ORDINAL = "ordinal"
    """A grade; what is asked of a model is the exact grade."""


@dataclass(frozen=True, eq=False)
class Samples:
    """One split.

    Attributes:
        images: shape ``(N, C, *spatial)``, uint8 as the data set stores them, or float32 in [0, 1].
        labels: int64, shape ``(N,)``; or ``(N, decisions)`` for several labels.
        votes: what each annotator said, int64, shape ``(N, annotators)``, -1 for nothing; None if
            it is not known. For the audit alone.

    Raises:
        DataError: shapes, dtypes or values that cannot be used.
    """

    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    votes: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        refuse_unusable_images(self.images)
        if self.labels.ndim not in (1, 2) or self.labels.dtype != np.int64:
            raise DataError(
                f"labels: shape {self.labels.shape}, dtype {self.labels.dtype}; "
                "(N,) or (N, decisions) of int64 is expected"
            )
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images, but {len(self.labels)} labels")
        read_only(self.images)
        read_only(self.labels)
        if self.votes is not None:
            if self.votes.dtype != np.int64 or self.votes.ndim != 2 or len(self.votes) != len(self):
                raise DataError(
                    f"votes: shape {self.votes.shape}, dtype {self.votes.dtype}; "
                    f"({len(self)}, annotators) of int64 is expected"
                )
            read_only(self.votes)

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.NDArray[np.intp] | slice) -> Samples:
        """Some of the samples."""
        votes = None if self.votes is None else self.votes[rows]
        return Samples(self.images[rows], self.labels[rows], votes)

    @cached_property
    def image_digests(self) -> tuple[str, ...]:
        """``array_digest`` of each image: the centre of its region, by name."""
        return tuple(array_digest(image) for image in self.images)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Named splits of samples with their task.

    Attributes:
        name: for people.
        task: what a label is.
        classes: the names of the classes, or of the decisions.
        splits: ``train`` and whatever else there is (``val``, ``test``).
        source: the file it came from, if any; the checker can read it again from there.
        license: under which the images may be used, if known.

    Raises:
        DataError: labels out of range, or splits of different shapes or dtypes.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    splits: Mapping[str, Samples]
    source: Path | None = None
    license: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.splits:
            raise DataError(f"{self.name}: no splits")
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))
        refuse_different_splits(self.name, self.splits)
        for name, samples in self.splits.items():
            self._refuse_labels_out_of_range(name, samples.labels)

    def _refuse_labels_out_of_range(self, split: str, labels: npt.NDArray[np.int64]) -> None:
        several = self.task is Task.MULTI_LABEL
        if several != (labels.ndim == 2):
            raise DataError(f"{self.name}, {split}: labels {labels.shape} for {self.task.value}")
        if several and labels.shape[1] != len(self.classes):
            raise DataError(
                f"{self.name}, {split}: {labels.shape[1]} decisions, {len(self.classes)} classes"
            )
        highest = 1 if several else len(self.classes) - 1
        wrong = np.argwhere((labels < 0) | (labels > highest))
        if len(wrong):
            position = tuple(int(i) for i in wrong[0])
            raise DataError(
                f"{self.name}, {split}: the label of row {position[0]} is {labels[position]}, "
                f"outside 0..{highest}"
            )

    @property
    def image_shape(self) -> Shape:
        """The shape of one image, ``(C, *spatial)``."""
        return tuple(next(iter(self.splits.values())).images.shape[1:])

    @property
    def grey_levels(self) -> tuple[int, ...]:
        """The grey levels that occur in any split, in order; none for float images."""
        occurs = np.zeros(256, dtype=np.bool_)
        for samples in self.splits.values():
            if samples.images.dtype == np.uint8:
                occurs |= np.bincount(samples.images.reshape(-1), minlength=256) > 0
        return tuple(int(level) for level in np.flatnonzero(occurs))

    def split(self, name: str) -> Samples:
        """The samples of a split.

        Raises:
            DataError: there is no such split.
        """
        if name not in self.splits:
            raise DataError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]


def refuse_different_splits(name: str, splits: Mapping[str, Samples]) -> None:
    """Raise ``DataError`` unless all splits of a data set hold images of one form.

    One shape; and one dtype, for grey levels and pixels in [0, 1] cannot be compared: neither as
    duplicates nor by distance.
    """
    shapes = {samples.images.shape[1:] for samples in splits.values()}
    if len(shapes) != 1:
        raise DataError(f"{name}: the splits hold images of shapes {sorted(shapes)}")
    dtypes = {str(samples.images.dtype) for samples in splits.values()}
    if len(dtypes) != 1:
        raise DataError(
            f"{name}: the splits hold images of the dtypes {', '.join(sorted(dtypes))}; give all "
            "of them as uint8, or all as float32 in [0, 1]"
        )
