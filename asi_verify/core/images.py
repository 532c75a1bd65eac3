"""How images are held: channels first, as the data set stores them, 8-bit or float32 in [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.errors import DataError

__all__ = ["channels_first", "encode", "refuse_unusable_images"]

_COLOURS = 3
_LEVELS = 256


def channels_first(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images in MedMNIST's layout as ``(N, C, *spatial)``.

    Args:
        images: ``(N, H, W)`` grey, ``(N, H, W, 3)`` colour, or ``(N, D, H, W)`` volumes.

    Raises:
        DataError: another number of axes.
    """
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] == _COLOURS:
        return np.ascontiguousarray(np.moveaxis(images, 3, 1))
    if images.ndim == 4:
        return images[:, None]
    raise DataError(
        f"images: shape {images.shape}; (N, H, W), (N, H, W, 3) or (N, D, H, W) is expected"
    )


def refuse_unusable_images(images: npt.NDArray[Any]) -> None:
    """Raise ``DataError`` unless images are ``(N, C, *spatial)``, uint8 or float32 in [0, 1]."""
    if images.ndim < 3 or 0 in images.shape:
        raise DataError(f"images: shape {images.shape}; (N, C, *spatial) without 0 is expected")
    if images.dtype == np.uint8:
        return
    if images.dtype != np.float32:
        raise DataError(f"images: dtype {images.dtype}; uint8, or float32 in [0, 1], is expected")
    if bool(np.isnan(images).any()):
        raise DataError("images: some pixels are NaN; remove or repair these images")
    lowest, highest = float(images.min()), float(images.max())
    if lowest < 0 or highest > 1:
        raise DataError(
            f"images: float values from {lowest:g} to {highest:g}; [0, 1] is expected. Give 8-bit "
            "images as uint8, or divide by the range"
        )


def encode(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The float32 inputs that stand for images, in a new array: ``float32(k / 255)`` for 8-bit.

    Args:
        images: shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].
    """
    if images.dtype == np.uint8:
        table = (np.arange(_LEVELS, dtype=np.float64) / 255).astype(np.float32)
        return np.asarray(table[images])
    return np.array(images, dtype=np.float32)
