"""From whatever a user passes as a data set to a ``Dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from asi_verify.data.arrays import SizedDataset, from_arrays, from_torch_dataset
from asi_verify.data.folder import from_folder
from asi_verify.data.medmnist import (
    UNREADABLE_NPZ,
    load_medmnist,
    medmnist_sets,
    not_an_npz,
    read_npz,
)
from asi_verify.data.phantom import phantom_named
from asi_verify.data.samples import Dataset, refuse_different_splits
from asi_verify.errors import DataError

__all__ = ["DatasetLike", "load_dataset"]

DatasetLike = Any
"""A name, a path, ``(images, labels)``, a torch data set, or a ``Dataset``."""


def load_dataset(
    given: DatasetLike,
    *,
    data_root: str | Path | None = None,
    download: bool = True,
    progressbar: bool = False,
) -> Dataset:
    """The data set that is meant.

    Args:
        given: a ``Dataset``; the name of a MedMNIST set (``"breastmnist"``, ``"breastmnist_64"``)
            or ``"phantom"``, ``"phantom-3"`` (the seed), or any name that ``phantom`` gives; the
            path of a folder of images by class, or of an NPZ file in MedMNIST's layout;
            ``(images, labels)``; a torch data set or a MedMNIST object.
        data_root: where MedMNIST files are looked for first.
        download: whether a missing MedMNIST file is downloaded.
        progressbar: show the download's progress.

    Raises:
        DataError: it is none of these, or cannot be used.
    """
    match given:
        case Dataset():
            return given
        case str() | Path():
            return _named(str(given), data_root, download, progressbar)
        case (images, labels):
            return from_arrays(images, labels)
        case _ if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
            return from_torch_dataset(cast("SizedDataset", given))
        case _:
            raise DataError(
                f"a data set of type {type(given).__name__} is not understood; give a MedMNIST "
                "name, a folder, an NPZ file, (images, labels) or a torch data set"
            )


def _named(name: str, data_root: str | Path | None, download: bool, progressbar: bool) -> Dataset:
    base, _, size = name.partition("_")
    if base in medmnist_sets() and (not size or size.isdigit()):
        return load_medmnist(
            base,
            size=int(size or 28),
            data_root=data_root,
            download=download,
            progressbar=progressbar,
        )
    if (made := phantom_named(name)) is not None:
        return made
    path = Path(name)
    try:
        is_folder, is_npz = bool(name) and path.is_dir(), path.suffix == ".npz" and path.is_file()
    except OSError as error:  # no right to look there, or a name that no file can have
        raise DataError(
            f"{name[:100]!r} cannot be looked at ({error.strerror}); give the name of a data set, "
            "or a folder or NPZ file that can be read"
        ) from None
    if is_folder:
        return from_folder(path)
    if is_npz:
        return _npz(path)
    raise DataError(
        f"{name!r} is neither a data set's name nor a folder or NPZ file; names: "
        f"{', '.join(medmnist_sets())}, phantom"
    )


def _npz(path: Path) -> Dataset:
    names = ("train", "val", "test")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            present = tuple(name for name in names if f"{name}_images" in file.files)
    except UNREADABLE_NPZ as error:
        raise not_an_npz(path, error) from None
    if not present:
        raise DataError(
            f"{path}: no train_images, val_images or test_images; give an NPZ file in MedMNIST's "
            "layout, with these and train_labels, ..."
        )
    splits = read_npz(path, present)
    refuse_different_splits(path.stem, splits)
    whole = from_arrays(
        np.concatenate([splits[name].images for name in present]),
        np.concatenate([splits[name].labels for name in present]),
        layout="channels-first",
    )
    return Dataset(path.stem, whole.task, whole.classes, splits, source=path)
