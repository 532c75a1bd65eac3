"""Residual networks of 18 and 50 layers (He et al. 2016), with the stem for 28 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.zoo.layers import Normalize, normalised, require_positive

__all__ = ["ResNet18", "ResNet50"]


class _Block(nn.Module):
    """A residual branch beside the identity, or a 1-wide convolution where shapes differ."""

    def __init__(self, rank: int, branch: list[nn.Module], inputs: int, outputs: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(*branch)
        same = stride == 1 and inputs == outputs
        self.beside = nn.Sequential(*([] if same else normalised(rank, inputs, outputs, 1, stride)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.branch(x) + self.beside(x))


class _ResNet(nn.Module):
    """Stem, four stages of residual blocks, the average over all positions, an affine layer.

    The stem is one 3-wide convolution of stride 1 without a pool, so that 28 pixels keep 28, 14, 7
    and 4 positions an axis in the four stages; larger images work and cost accordingly.

    Args:
        input_shape: ``(C, *spatial)``, one to three spatial axes.
        logits: how many outputs.
        mean: per channel, of the training images in [0, 1].
        spread: standard deviation per channel.
        width: channels of the stem and of the first stage's 3-wide convolutions; each further
            stage has twice as many as the one before.
    """

    batch_norm: ClassVar[bool] = True
    blocks: ClassVar[tuple[int, int, int, int]]
    expansion: ClassVar[int]

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        width: int = 64,
    ) -> None:
        super().__init__()
        require_positive(width=width)
        rank = len(input_shape) - 1
        layers = [
            Normalize(mean, spread, rank),
            *normalised(rank, input_shape[0], width, 3, 1, 1),
            nn.ReLU(),
        ]
        channels = width
        for stage, count in enumerate(self.blocks):
            inner = width * 2**stage
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                branch = self.branch(rank, channels, inner, stride)
                layers.append(_Block(rank, branch, channels, inner * self.expansion, stride))
                channels = inner * self.expansion
        self.body = nn.Sequential(*layers)
        self.last = nn.Linear(channels, logits)

    @staticmethod
    def branch(rank: int, inputs: int, inner: int, stride: int) -> list[nn.Module]:
        """The layers of a residual branch."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.body(x)
        result: torch.Tensor = self.last(features.mean(tuple(range(2, features.ndim))))
        return result


class ResNet18(_ResNet):
    """ResNet-18 with batch norm and a stem for 28 pixels: blocks of two 3-wide convolutions."""

    blocks = (2, 2, 2, 2)
    expansion = 1

    @staticmethod
    def branch(rank: int, inputs: int, inner: int, stride: int) -> list[nn.Module]:
        return [
            *normalised(rank, inputs, inner, 3, stride, 1),
            nn.ReLU(),
            *normalised(rank, inner, inner, 3, 1, 1),
        ]


class ResNet50(_ResNet):
    """ResNet-50 with batch norm and a stem for 28 pixels: bottlenecks of three convolutions."""

    blocks = (3, 4, 6, 3)
    expansion = 4

    @staticmethod
    def branch(rank: int, inputs: int, inner: int, stride: int) -> list[nn.Module]:
        return [
            *normalised(rank, inputs, inner, 1),
            nn.ReLU(),
            *normalised(rank, inner, inner, 3, stride, 1),
            nn.ReLU(),
            *normalised(rank, inner, 4 * inner, 1),
        ]
