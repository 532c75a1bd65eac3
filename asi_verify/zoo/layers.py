"""What the reference networks have in common: layers by spatial rank, and the normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.errors import UsageError

__all__ = [
    "Normalize",
    "affine_layers",
    "average_pool",
    "convolution",
    "normalised",
    "numbers_after",
    "require_positive",
]

_CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_BATCH_NORMS: dict[int, type[nn.Module]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
_AVERAGE_POOLS: dict[int, type[nn.Module]] = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
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


def convolution(rank: int) -> Any:
    """The class of convolutions in so many spatial dimensions."""
    return _CONVOLUTIONS[rank]


def average_pool(rank: int, side: int) -> nn.Module:
    """The means of windows beside one another."""
    return _AVERAGE_POOLS[rank](side)


def normalised(
    rank: int, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """A convolution and its batch norm, which takes the bias's place."""
    conv = _CONVOLUTIONS[rank](inputs, outputs, kernel, stride, padding, bias=False)
    return [conv, _BATCH_NORMS[rank](outputs)]


def affine_layers(inputs: int, hidden: int, logits: int) -> list[nn.Module]:
    """Two affine layers behind a convolution, batch norm and a ReLU between."""
    return [
        nn.Flatten(),
        nn.Linear(inputs, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(),
        nn.Linear(hidden, logits),
    ]


def numbers_after(spatial: Shape, halvings: int) -> int:
    """How many positions are left of ``spatial`` after layers of stride 2 that round up."""
    return math.prod(-(-extent // 2**halvings) for extent in spatial)


def require_positive(**options: int) -> None:
    """Refuse widths and depths below 1.

    Raises:
        UsageError: one is.
    """
    for name, value in options.items():
        if value < 1:
            raise UsageError(f"{name}: {value} is not possible; a whole number from 1 on")
