"""The preprocessing contract: what a model expects instead of NCHW in [0, 1].

It becomes the first layers of the artifact, so that it is part of what is proved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asi_verify.core.network import Network
from asi_verify.core.operators import Conv, Operator, Reshape, Scale, Shape, Transpose
from asi_verify.errors import UsageError

__all__ = ["Preprocess"]

_LAYOUTS = ("NCHW", "NHWC", "flat")


@dataclass(frozen=True)
class Preprocess:
    """How images become what the model reads, in this order.

    Attributes:
        channels: how many the model reads; a grey image is repeated into 3. None: as they are.
        scale: the model's pixel range: 1 for [0, 1], 255 for [0, 255].
        mean: subtracted per channel, in the model's pixel range.
        std: divided by per channel.
        layout: ``"NCHW"`` (channels first), ``"NHWC"`` (channels last) or ``"flat"`` (a vector).
        size: the spatial extents that the model reads; images of another size are refused (load
            the data set in this size instead).

    Raises:
        UsageError: a field has a value that means nothing.
    """

    scale: float = 1.0
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    layout: str = "NCHW"
    channels: int | None = None
    size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.layout not in _LAYOUTS:
            raise UsageError(f"layout: {self.layout!r}; one of {', '.join(_LAYOUTS)} is expected")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"scale: {self.scale}; a positive number is expected")
        if any(not (math.isfinite(value) and value > 0) for value in self.std):
            raise UsageError(f"std: {tuple(self.std)}; positive numbers are expected")
        if any(not math.isfinite(value) for value in self.mean):
            raise UsageError(f"mean: {tuple(self.mean)}; numbers are expected")

    def network(self, image_shape: Shape) -> Network | None:
        """The artifact's first layers for images of this shape; None if there is nothing to do.

        Constants are rounded to float32: the artifact is the truth.

        Raises:
            UsageError: the images do not fit the contract.
        """
        operators: list[Operator] = []
        channels, rank = image_shape[0], len(image_shape) - 1
        if self.size is not None and tuple(self.size) != tuple(image_shape[1:]):
            raise UsageError(
                f"size: the model reads {tuple(self.size)}, the images are {image_shape[1:]}; "
                "load the data set in the model's size"
            )
        if self.channels is not None and self.channels != channels:
            if channels != 1:
                raise UsageError(f"channels: {channels} cannot be made into {self.channels}")
            operators.append(_repeated(self.channels, rank))
            channels = self.channels
        operators += self._normalisation(channels, rank)
        if self.layout == "NHWC":
            operators.append(Transpose((*range(1, rank + 1), 0)))
        if self.layout == "flat":
            operators.append(Reshape((channels * math.prod(image_shape[1:]),)))
        return Network.sequential(image_shape, operators) if operators else None

    def _normalisation(self, channels: int, rank: int) -> list[Operator]:
        shape = (-1,) + (1,) * rank
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, channels):
                raise UsageError(f"{name}: {len(values)} values for {channels} channels")
        mean = np.array(self.mean or [0.0], dtype=np.float64).reshape(shape)
        std = np.array(self.std or [1.0], dtype=np.float64).reshape(shape)
        operators: list[Operator] = []
        one = np.ones((1,) * (rank + 1), dtype=np.float32)
        if self.scale != 1:
            operators.append(Scale(one * np.float32(self.scale), 0 * one))
        if np.any(mean != 0):
            operators.append(Scale(one, (-mean).astype(np.float32)))
        if np.any(std != 1):
            operators.append(Scale((1 / std).astype(np.float32), 0 * one))
        return operators


def _repeated(channels: int, rank: int) -> Conv:
    ones = (1,) * rank
    return Conv(
        np.ones((channels, 1, *ones), dtype=np.float32),
        np.zeros(channels, dtype=np.float32),
        ones,
        ((0, 0),) * rank,
        ones,
    )
