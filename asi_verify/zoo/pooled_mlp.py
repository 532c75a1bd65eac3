"""A pool and an MLP: the means of windows, then two hidden affine layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.errors import UsageError
from asi_verify.zoo.layers import Normalize, average_pool, require_positive

__all__ = ["PooledMLP"]


class PooledMLP(nn.Sequential):
    """Normalisation, the means of windows that do not overlap, two hidden affine layers.

    One pixel moves one mean, by a share of its own change, so few changed pixels move the answer
    little. The quickest to train and to prove of the reference networks.

    Args:
        input_shape: ``(C, *spatial)``.
        logits: how many outputs.
        mean: per channel, of the training images in [0, 1].
        spread: standard deviation per channel.
        pool: side of a window; it divides every spatial extent.
        width: of the first hidden layer.
        hidden: of the second.

    Raises:
        UsageError: the windows do not divide the images.
    """

    batch_norm: ClassVar[bool] = False

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        pool: int = 4,
        width: int = 256,
        hidden: int = 64,
    ) -> None:
        require_positive(pool=pool, width=width, hidden=hidden)
        channels, *spatial = input_shape
        if any(extent % pool for extent in spatial):
            raise UsageError(f"pool: {pool} does not divide images of {tuple(spatial)}")
        means = channels * math.prod(extent // pool for extent in spatial)
        super().__init__(
            Normalize(mean, spread, len(spatial)),
            average_pool(len(spatial), pool),
            nn.Flatten(),
            nn.Linear(means, width),
            nn.ReLU(),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, logits),
        )
