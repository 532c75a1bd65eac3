"""The small convolutional network: two strided convolutions and two affine layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.zoo.layers import Normalize, convolution, require_positive

__all__ = ["SmallCNN"]


class SmallCNN(nn.Sequential):
    """Normalisation, two 4-wide convolutions of stride 2 with ReLU, two affine layers.

    The architecture on which certified training is usually shown (Wong and Kolter 2018, small), in
    one to three spatial dimensions.

    Args:
        input_shape: ``(C, *spatial)``; every spatial extent at least 4.
        logits: how many outputs.
        mean: per channel, of the training images in [0, 1].
        spread: standard deviation per channel.
        channels: outputs of the two convolutions.
        hidden: width of the affine layer between.
    """

    batch_norm: ClassVar[bool] = False

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        channels: tuple[int, int] = (32, 64),
        hidden: int = 256,
    ) -> None:
        require_positive(hidden=hidden)
        rank = len(input_shape) - 1
        conv = convolution(rank)
        quarter = [(extent // 2) // 2 for extent in input_shape[1:]]
        super().__init__(
            Normalize(mean, spread, rank),
            conv(input_shape[0], channels[0], 4, stride=2, padding=1),
            nn.ReLU(),
            conv(channels[0], channels[1], 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels[1] * math.prod(quarter), hidden),
            nn.ReLU(),
            nn.Linear(hidden, logits),
        )
