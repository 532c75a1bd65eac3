"""The small convolutional network: two strided convolutions and two affine layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from asi_verify.core.operators import Shape

__all__ = ["Normalize", "SmallCNN"]

_CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_SMALLEST_SPREAD = 1e-3


class Normalize(nn.Module):
    """Subtract a mean and divide by a spread, per channel: the first layer of a network.

    Inside the network it is part of what is proved. Without it certified training at 1/255 on
    BreastMNIST needs several times the epochs, because the pixels' spread is far below 1.
    """

    mean: torch.Tensor
    inverse: torch.Tensor

    def __init__(self, mean: Sequence[float], spread: Sequence[float], rank: int) -> None:
        super().__init__()
        shape = (len(mean),) + (1,) * rank
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(shape))
        inverse = [1.0 / max(value, _SMALLEST_SPREAD) for value in spread]
        self.register_buffer("inverse", torch.tensor(inverse, dtype=torch.float32).reshape(shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) * self.inverse


class SmallCNN(nn.Module):
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

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        channels: tuple[int, int] = (32, 64),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        rank = len(input_shape) - 1
        conv = _CONVOLUTIONS[rank]
        quarter = [(extent // 2) // 2 for extent in input_shape[1:]]
        self.body = nn.Sequential(
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.body(x)
        return result
