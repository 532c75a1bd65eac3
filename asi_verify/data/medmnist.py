"""The 18 MedMNIST v2 sets: their facts, where their files lie, checksums, download.

The facts in ``medmnist.json`` (names, tasks, sizes, checksums) are those of the ``medmnist``
package; a test compares them. The package itself is not needed: it would bring torchvision, pandas
and scikit-image for the sake of a table and a download.
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pooch

from asi_verify.core.images import channels_first
from asi_verify.data.arrays import labels_from
from asi_verify.data.samples import Dataset, Samples, Task
from asi_verify.errors import ChecksumError, DataError, DataNotFoundError

__all__ = [
    "UNREADABLE_NPZ",
    "MedMNIST",
    "find_file",
    "load_medmnist",
    "medmnist_sets",
    "not_an_npz",
    "search_path",
]

_URL = "https://zenodo.org/records/10519652/files/{file}?download=1"
_DATA = "ASI_VERIFY_DATA"
_SHARED = "ASI_VERIFY_SHARED"
_log = logging.getLogger(__name__)

UNREADABLE_NPZ = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    RuntimeError,  # encrypted, or compressed in a way that zipfile does not know
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading an NPZ file that was damaged can raise."""


@dataclass(frozen=True)
class MedMNIST:
    """The published facts of one set (Yang et al., Scientific Data 2023).

    Attributes:
        name: ``breastmnist``.
        task: what a label is.
        channels: 1 grey, 3 colour.
        dimensions: 2 for images, 3 for volumes.
        samples: how many in each split.
        labels: names of the classes or decisions.
        license: under which the images may be used.
        md5: of the published file, for each size there is.
    """

    name: str
    task: Task
    channels: int
    dimensions: int
    samples: Mapping[str, int]
    labels: tuple[str, ...]
    license: str
    md5: Mapping[int, str]

    def file(self, size: int) -> str:
        """The name of the file with images of this size.

        Raises:
            DataError: there is no such size.
        """
        if size not in self.md5:
            raise DataError(f"size: {size}; {self.name} is published in {sorted(self.md5)}")
        return f"{self.name}.npz" if size == 28 else f"{self.name}_{size}.npz"

    def stored_shape(self, split: str, size: int) -> tuple[int, ...]:
        """The shape of a split's images in the file."""
        colours = (3,) if self.channels == 3 else ()
        return (self.samples[split], *([size] * self.dimensions), *colours)


@cache
def medmnist_sets() -> Mapping[str, MedMNIST]:
    """The 18 sets by name."""
    text = resources.files("asi_verify.data").joinpath("medmnist.json").read_text("utf-8")
    return MappingProxyType(
        {
            name: MedMNIST(
                name,
                Task(facts["task"]),
                facts["channels"],
                facts["dimensions"],
                MappingProxyType(facts["samples"]),
                tuple(facts["labels"]),
                facts["license"],
                MappingProxyType({int(size): md5 for size, md5 in facts["md5"].items()}),
            )
            for name, facts in json.loads(text).items()
        }
    )


def search_path(data_root: str | Path | None = None) -> list[Path]:
    """The folders that are looked at for a file, in order.

    ``data_root``, ``$ASI_VERIFY_DATA``, ``$ASI_VERIFY_SHARED/data/medmnist``, ``~/.medmnist``.
    """
    places = [Path(data_root)] if data_root is not None else []
    if os.environ.get(_DATA):
        places.append(Path(os.environ[_DATA]))
    if os.environ.get(_SHARED):
        places.append(Path(os.environ[_SHARED]) / "data" / "medmnist")
    return [*places, Path.home() / ".medmnist"]


def find_file(name: str, size: int = 28, data_root: str | Path | None = None) -> Path | None:
    """The set's file in the first folder of the search path that has one, or None."""
    file = medmnist_sets()[name].file(size)
    for place in search_path(data_root):
        if (place / file).is_file():
            return place / file
    return None


def load_medmnist(
    name: str,
    *,
    size: int = 28,
    data_root: str | Path | None = None,
    download: bool = True,
    progressbar: bool = False,
) -> Dataset:
    """Load a set, its file's checksum verified; download it if it lies nowhere.

    Args:
        name: one of ``medmnist_sets()``.
        size: 28, 64, 128 or 224 where published.
        data_root: looked at first, and downloaded to.
        download: whether to download.
        progressbar: show the download's progress.

    Raises:
        DataError: no such set or size, or the file does not hold what its checksum promises.
        ChecksumError: the file is truncated or another's.
        DataNotFoundError: it lies nowhere and cannot be downloaded.
    """
    if name not in medmnist_sets():
        raise DataError(f"{name!r} is not a MedMNIST set; {', '.join(medmnist_sets())}")
    facts = medmnist_sets()[name]
    path = find_file(name, size, data_root)
    if path is None:
        path = _download(facts, size, data_root, download, progressbar)
    elif pooch.file_hash(str(path), "md5") != facts.md5[size]:
        raise ChecksumError(
            f"{path}: not the published file (MD5 {facts.md5[size]} is expected); it is truncated "
            "or changed. Delete it and run again to download it"
        )
    notes = ("MedMNIST is not intended for clinical use.",)
    splits = read_npz(path, tuple(facts.samples))
    for split, samples in splits.items():
        expected = channels_first(np.empty((1, *facts.stored_shape(split, size)[1:]))).shape[1:]
        if len(samples) != facts.samples[split] or samples.images.shape[1:] != expected:
            raise DataError(f"{path}: {split} holds {samples.images.shape}")
    shown = name if size == 28 else f"{name}_{size}"
    return Dataset(shown, facts.task, facts.labels, splits, path, facts.license, notes)


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, Samples]:
    """The splits of an NPZ file in MedMNIST's layout; nothing is unpickled.

    Raises:
        DataError: it is not such a file, or lacks a split.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {
                name: Samples(
                    channels_first(file[f"{name}_images"]), labels_from(file[f"{name}_labels"])
                )
                for name in names
            }
    except UNREADABLE_NPZ as error:
        if isinstance(error, DataError):
            raise type(error)(f"{path}: {error}") from None
        raise not_an_npz(path, error) from None


def not_an_npz(path: Path, error: Exception) -> DataError:
    """The error for what reading an NPZ file raised."""
    # numpy calls whatever it does not know pickled, and advises to unpickle it.
    reason = "it is of another kind" if "pickle" in str(error) else str(error)
    return DataError(
        f"{path}: not an NPZ file in MedMNIST's layout, with arrays such as train_images and "
        f"train_labels: {reason}"
    )


def _download(
    facts: MedMNIST,
    size: int,
    data_root: str | Path | None,
    allowed: bool,
    progressbar: bool,
) -> Path:
    file = facts.file(size)
    looked = ", ".join(str(place) for place in search_path(data_root))
    url = _URL.format(file=file)
    if not allowed:
        raise DataNotFoundError(f"{file} is in none of {looked}; get it from {url}")
    target = search_path(data_root)[0] if data_root or os.environ.get(_DATA) else None
    place = target or Path.home() / ".medmnist"
    fetch: Any = pooch.HTTPDownloader(progressbar=progressbar, timeout=60)
    _log.info("downloading %s to %s", url, place)
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        got = pooch.retrieve(
            url, known_hash=f"md5:{facts.md5[size]}", fname=file, path=place, downloader=fetch
        )
    except (OSError, ValueError) as error:
        # requests' errors are OSErrors; pooch raises ValueError for a wrong checksum.
        reason = "wrong checksum" if isinstance(error, ValueError) else type(error).__name__
        raise DataNotFoundError(
            f"{file} is in none of {looked}, and downloading it failed ({reason}). Without a "
            f"network, get {url} elsewhere and put it into one of these folders"
        ) from None
    return Path(got)
