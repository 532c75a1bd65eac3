"""Data sets from arrays and from torch data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from asi_verify.core.images import channels_first
from asi_verify.data.samples import Dataset, Samples, Task
from asi_verify.errors import DataError

__all__ = ["from_arrays", "from_torch_dataset"]

_LAYOUTS = ("auto", "channels-first")


def from_arrays(
    images: Any,
    labels: Any,
    *,
    name: str = "arrays",
    split: str = "train",
    classes: Sequence[str] | None = None,
    ordinal: bool = False,
    layout: str = "auto",
) -> Dataset:
    """A data set with one split from an array of images and an array of labels.

    Args:
        images: ``(N, H, W)``, ``(N, H, W, 3)`` or ``(N, D, H, W)``; with
            ``layout="channels-first"`` ``(N, C, *spatial)``. uint8, or floats in [0, 1].
        labels: ``(N,)`` or ``(N, 1)`` classes; ``(N, decisions)`` of 0 and 1 for several labels.
        name: for reports.
        split: the split's name.
        classes: names of the classes; by default their numbers, as many as the labels use.
        ordinal: whether the classes are grades.
        layout: ``"auto"`` or ``"channels-first"``.

    Raises:
        DataError: shapes, values or labels that cannot be used.
    """
    if layout not in _LAYOUTS:
        raise DataError(f"layout: {layout!r}; one of {', '.join(_LAYOUTS)} is expected")
    pixels = _pixels(np.asarray(images))
    if layout == "auto":
        pixels = channels_first(pixels)
    samples = Samples(pixels.copy(), labels_from(labels))
    task, names = _task(samples.labels, classes, ordinal)
    return Dataset(name, task, names, {split: samples})


def _pixels(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if images.dtype == np.uint8 or images.dtype == np.float32:
        return images
    if np.issubdtype(images.dtype, np.floating):
        # The cast comes first: what the network will see is what has to be in range.
        return images.astype(np.float32)
    if np.issubdtype(images.dtype, np.integer):
        lowest, highest = int(images.min(initial=0)), int(images.max(initial=0))
        if lowest >= 0 and highest <= 255:
            return images.astype(np.uint8)
        raise DataError(f"images: integers from {lowest} to {highest}; 0 to 255 is expected")
    raise DataError(f"images: dtype {images.dtype}; uint8, or floats in [0, 1], is expected")


def labels_from(labels: Any, argument: str = "labels") -> npt.NDArray[np.int64]:
    """Labels as int64, without a trailing axis of length 1.

    Args:
        labels: whole numbers of any type.
        argument: what errors call them.

    Raises:
        DataError: they are not whole numbers.
    """
    given = np.asarray(labels)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.dtype == object or not np.issubdtype(given.dtype, np.number):
        raise DataError(f"{argument}: dtype {given.dtype}; whole numbers are expected")
    whole = given.astype(np.int64)
    if not np.array_equal(whole, given):
        raise DataError(f"{argument}: some are not whole numbers")
    return whole


def _task(
    labels: npt.NDArray[np.int64], classes: Sequence[str] | None, ordinal: bool
) -> tuple[Task, tuple[str, ...]]:
    if labels.ndim == 2:
        names = classes or [str(number) for number in range(labels.shape[1])]
        return Task.MULTI_LABEL, tuple(names)
    count = max(int(labels.max(initial=0)) + 1, 2)
    names = tuple(classes or [str(number) for number in range(count)])
    if ordinal:
        return Task.ORDINAL, names
    return (Task.BINARY if len(names) == 2 else Task.MULTI_CLASS), names


class SizedDataset(Protocol):
    """What is asked of a torch data set: a length, and ``(image, label)`` by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Any: ...


def from_torch_dataset(dataset: SizedDataset, *, name: str = "dataset") -> Dataset:
    """A data set from a map-style torch data set of ``(image, label)`` pairs.

    Images may be tensors ``(C, *spatial)`` in [0, 1] or of uint8, or PIL images. A MedMNIST
    object's own arrays are taken as they are stored, without its transforms.

    Raises:
        DataError: an item is not a pair, or the images differ in shape.
    """
    if hasattr(dataset, "imgs") and hasattr(dataset, "labels"):
        info: dict[str, Any] = getattr(dataset, "info", {})
        classes = [info["label"][key] for key in sorted(info["label"], key=int)] if info else None
        return from_arrays(
            dataset.imgs,
            dataset.labels,
            name=getattr(dataset, "flag", name),
            split=getattr(dataset, "split", "train"),
            classes=classes,
            ordinal="ordinal" in info.get("task", ""),
        )
    images, labels = [], []
    for position in range(len(dataset)):
        item = dataset[position]
        if not isinstance(item, tuple) or len(item) != 2:
            raise DataError(f"item {position} of the data set is not an (image, label) pair")
        array = np.asarray(item[0])
        is_picture = not hasattr(item[0], "detach")
        images.append(channels_first(array[None])[0] if is_picture else array)
        labels.append(np.asarray(item[1]))
    if len({image.shape for image in images}) != 1:
        raise DataError("the data set is empty, or its images differ in shape; resize them first")
    return from_arrays(np.stack(images), np.stack(labels), name=name, layout="channels-first")
