"""Corruptions of images at five severities, as robustness benchmarks have them.

The kinds and, where they have them, the constants are those of CIFAR-10-C (Hendrycks and Dietterich
2019), which are made for images of about this size; in volumes each acts along all axes, or slice
by slice where it is one of pictures.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from asi_verify.core.images import encode
from asi_verify.errors import UsageError

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupted"]

Array = npt.NDArray[np.float32]

SEVERITIES = (1, 2, 3, 4, 5)
"""From hardly visible to hard to read."""


def corrupted(kind: str, severity: int, images: npt.NDArray[Any], seed: int) -> Array:
    """Images as a corruption leaves them, float32 in [0, 1].

    Args:
        kind: one of ``CORRUPTIONS``.
        severity: one of ``SEVERITIES``.
        images: shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].
        seed: for noise.

    Raises:
        UsageError: no such kind or severity.
    """
    if kind not in CORRUPTIONS:
        raise UsageError(f"corruption: {kind!r}; one of {', '.join(CORRUPTIONS)} is expected")
    if severity not in SEVERITIES:
        raise UsageError(f"severity: {severity!r}; one of 1 to {SEVERITIES[-1]} is expected")
    found = CORRUPTIONS[kind](encode(images), severity - 1, np.random.default_rng(seed))
    return np.asarray(np.clip(found, 0, 1), dtype=np.float32)


def _gaussian_noise(x: Array, at: int, generator: np.random.Generator) -> npt.NDArray[Any]:
    spread = (0.04, 0.06, 0.08, 0.09, 0.10)[at]
    return np.asarray(x + spread * generator.standard_normal(x.shape))


def _speckle_noise(x: Array, at: int, generator: np.random.Generator) -> npt.NDArray[Any]:
    spread = (0.06, 0.1, 0.12, 0.16, 0.2)[at]
    return x * (1 + spread * generator.standard_normal(x.shape))


def _impulse_noise(x: Array, at: int, generator: np.random.Generator) -> npt.NDArray[Any]:
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[at]
    drawn = generator.random(x.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 1, x))


def _gaussian_blur(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    width = (0.4, 0.6, 0.7, 0.8, 1.0)[at]
    return np.asarray(ndimage.gaussian_filter(x, (0, 0, *[width] * (x.ndim - 2)), mode="nearest"))


def _motion_blur(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    """Along the last axis, as of a table that moves."""
    length = (2, 3, 4, 5, 7)[at]
    return np.asarray(ndimage.uniform_filter1d(x, length, axis=-1, mode="nearest"))


def _brightness(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    return x + np.float32((0.05, 0.1, 0.15, 0.2, 0.3)[at])


def _darkness(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    return x - np.float32((0.05, 0.1, 0.15, 0.2, 0.3)[at])


def _contrast(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    factor = np.float32((0.75, 0.5, 0.4, 0.3, 0.15)[at])
    mean = x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)
    return np.asarray((x - mean) * factor + mean)


def _compression(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    return _by_slice(x, lambda picture: _through_jpeg(picture, (80, 65, 58, 50, 40)[at]))


def _down_sampling(x: Array, at: int, _: np.random.Generator) -> npt.NDArray[Any]:
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[at]

    def sampled(picture: Image.Image) -> Image.Image:
        small = tuple(max(1, round(share * length)) for length in picture.size)
        coarse = picture.resize((small[0], small[1]), Image.Resampling.BOX)
        return coarse.resize(picture.size, Image.Resampling.NEAREST)

    return _by_slice(x, sampled)


def _through_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=quality)
    file.seek(0)
    return Image.open(file).convert(picture.mode)


def _by_slice(x: Array, changed: Callable[[Image.Image], Image.Image]) -> npt.NDArray[Any]:
    """Each 8-bit picture of two axes through Pillow; three channels are colours."""
    whole = np.rint(x * 255).astype(np.uint8)
    if whole.ndim == 4 and whole.shape[1] == 3:
        pictures = np.moveaxis(whole, 1, -1)
        made = [np.asarray(changed(Image.fromarray(picture))) for picture in pictures]
        return np.moveaxis(np.stack(made), -1, 1) / 255
    pictures = whole.reshape(-1, *whole.shape[-2:])
    made = [np.asarray(changed(Image.fromarray(picture))) for picture in pictures]
    return np.stack(made).reshape(x.shape) / 255


CORRUPTIONS: Mapping[str, Callable[[Array, int, np.random.Generator], npt.NDArray[Any]]] = (
    MappingProxyType(
        {
            "gaussian noise": _gaussian_noise,
            "speckle noise": _speckle_noise,
            "impulse noise": _impulse_noise,
            "gaussian blur": _gaussian_blur,
            "motion blur": _motion_blur,
            "brightness": _brightness,
            "darkness": _darkness,
            "contrast": _contrast,
            "jpeg compression": _compression,
            "down-sampling": _down_sampling,
        }
    )
)
"""What each does, by name."""
