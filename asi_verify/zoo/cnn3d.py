"""The network for volumes: three strided convolutions in three dimensions, two affine layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.errors import UsageError
from asi_verify.zoo.layers import (
    Normalize,
    affine_layers,
    normalised,
    numbers_after,
    require_positive,
)

__all__ = ["CNN3D"]


class CNN3D(nn.Sequential):
    """For volumes: three 3-wide convolutions of stride 2 with batch norm, two affine layers.

    Args:
        input_shape: ``(C, depth, height, width)``.
        logits: how many outputs.
        mean: per channel, of the training volumes in [0, 1].
        spread: standard deviation per channel.
        width: channels of the first convolution; the second has twice, the third four times as
            many.
        hidden: width of the affine layer between.

    Raises:
        UsageError: the images are no volumes.
    """

    batch_norm: ClassVar[bool] = True

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        width: int = 16,
        hidden: int = 128,
    ) -> None:
        require_positive(width=width, hidden=hidden)
        if len(input_shape) != 4:
            raise UsageError(
                f"cnn3d: images of shape {input_shape}; volumes (C, depth, height, width) are read"
            )
        super().__init__(
            Normalize(mean, spread, 3),
            *normalised(3, input_shape[0], width, 3, 2, 1),
            nn.ReLU(),
            *normalised(3, width, 2 * width, 3, 2, 1),
            nn.ReLU(),
            *normalised(3, 2 * width, 4 * width, 3, 2, 1),
            nn.ReLU(),
            *affine_layers(4 * width * numbers_after(input_shape[1:], 3), hidden, logits),
        )
