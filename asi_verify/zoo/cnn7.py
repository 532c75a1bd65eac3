"""CNN7: five convolutions and two affine layers, on which certified training is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.zoo.layers import (
    Normalize,
    affine_layers,
    normalised,
    numbers_after,
    require_positive,
)

__all__ = ["CNN7"]


class CNN7(nn.Sequential):
    """Five 3-wide convolutions with batch norm, the third of stride 2, two affine layers.

    As in Shi et al. 2021 and most of what followed: channels 64, 64, 128, 128, 128, then 512.

    Args:
        input_shape: ``(C, *spatial)``, one to three spatial axes.
        logits: how many outputs.
        mean: per channel, of the training images in [0, 1].
        spread: standard deviation per channel.
        width: channels of the first two convolutions; the others have twice as many.
        hidden: width of the affine layer between.
    """

    batch_norm: ClassVar[bool] = True

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        width: int = 64,
        hidden: int = 512,
    ) -> None:
        require_positive(width=width, hidden=hidden)
        rank = len(input_shape) - 1
        widths = (input_shape[0], width, width, 2 * width, 2 * width, 2 * width)
        layers: list[nn.Module] = [Normalize(mean, spread, rank)]
        for position in range(5):
            stride = 2 if position == 2 else 1
            layers += normalised(rank, widths[position], widths[position + 1], 3, stride, 1)
            layers.append(nn.ReLU())
        super().__init__(
            *layers,
            *affine_layers(2 * width * numbers_after(input_shape[1:], 1), hidden, logits),
        )
