"""Data sets from a folder of images, one sub-folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from asi_verify.core.images import channels_first
from asi_verify.data.samples import Dataset, Samples, Task
from asi_verify.errors import DataError

__all__ = ["from_folder"]

_SPLITS = ("train", "val", "test")
_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def from_folder(folder: str | Path) -> Dataset:
    """A data set from ``FOLDER/CLASS/*.png``, or ``FOLDER/{train,val,test}/CLASS/*.png``.

    Classes are numbered in the order of their names, files taken in the order of theirs. Images
    are read as 8-bit grey if all of them are grey, as RGB otherwise.

    Raises:
        DataError: no classes or images, unreadable files, or images of different sizes.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder")
    split_folders = {name: root / name for name in _SPLITS if (root / name).is_dir()}
    places = split_folders or {"train": root}
    classes = sorted({c.name for place in places.values() for c in place.iterdir() if c.is_dir()})
    if len(classes) < 2:
        raise DataError(f"{root}: {len(classes)} classes; at least two sub-folders are expected")
    found = {
        split: [
            (path, label)
            for label, name in enumerate(classes)
            for path in sorted((place / name).glob("*"))
            if path.suffix.lower() in _ENDINGS
        ]
        for split, place in places.items()
    }
    is_grey = all(_is_grey(path) for files in found.values() for path, _ in files)
    splits = {
        split: _samples(root / split, files, "L" if is_grey else "RGB")
        for split, files in found.items()
    }
    task = Task.BINARY if len(classes) == 2 else Task.MULTI_CLASS
    return Dataset(root.name, task, tuple(classes), splits, source=root)


def _samples(place: Path, files: list[tuple[Path, int]], mode: str) -> Samples:
    if not files:
        raise DataError(f"{place}: no images ({', '.join(sorted(_ENDINGS))})")
    pictures = []
    for path, _ in files:
        try:
            with Image.open(path) as image:
                pictures.append(np.asarray(image.convert(mode), dtype=np.uint8))
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for broken files
            raise DataError(f"{path}: not a readable image: {error}") from None
        if pictures[-1].shape != pictures[0].shape:
            raise DataError(
                f"{path}: size {pictures[-1].shape}, the first image has {pictures[0].shape}; "
                "resize the images to one size first"
            )
    labels = np.array([label for _, label in files], dtype=np.int64)
    return Samples(channels_first(np.stack(pictures)).copy(), labels)


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P", "RGB", "RGBA"):
                raise DataError(
                    f"{path}: mode {image.mode}; 8-bit grey or colour is expected. Convert deeper "
                    "images to 8 bits by the window that the model was trained with"
                )
            return image.mode in ("1", "L")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path}: not a readable image: {error}") from None
