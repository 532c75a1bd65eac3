"""A small vision transformer (Dosovitskiy et al. 2021), spelled out in supported operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.errors import UsageError
from asi_verify.zoo.layers import Normalize, convolution, require_positive

__all__ = ["ViT"]


class _Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, tokens, width)`` as ``(N, heads, tokens, width / heads)``."""
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The factor stands right behind the affine layer, which takes it in at export.
        factor = (x.shape[-1] // self.heads) ** -0.5
        query, key = self._split(self.query(x) * factor), self._split(self.key(x))
        weights = torch.softmax(query @ key.transpose(2, 3), dim=-1)
        mixed = (weights @ self._split(self.value(x))).transpose(1, 2)
        result: torch.Tensor = self.out(mixed.reshape(x.shape))
        return result


class _Layer(nn.Module):
    """Attention and two affine layers, each behind layer normalisation and beside the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(width), _Attention(width, heads))
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attend(x)
        result: torch.Tensor = x + self.think(x)
        return result


class ViT(nn.Module):
    """Vision transformer: patches, attention, layer normalisation and GELU; the mean of its tokens.

    Positions are fixed sines and there is no class token, as in "Better plain ViT baselines for
    ImageNet-1k" (Beyer et al. 2022). Interval bounds through attention are wide: train it in the
    ordinary way; certified training runs, and its bounds hold, but few samples become certified.

    Args:
        input_shape: ``(C, *spatial)``, one to three spatial axes.
        logits: how many outputs.
        mean: per channel, of the training images in [0, 1].
        spread: standard deviation per channel.
        patch: extent of a patch along each axis; it has to divide the image.
        width: numbers in a token.
        depth: layers.
        heads: attentions beside one another; they have to divide ``width``.

    Raises:
        UsageError: patches or heads do not divide evenly.
    """

    batch_norm: ClassVar[bool] = False
    positions: torch.Tensor

    def __init__(
        self,
        input_shape: Shape,
        logits: int,
        mean: Sequence[float],
        spread: Sequence[float],
        patch: int = 7,
        width: int = 48,
        depth: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        require_positive(patch=patch, width=width, depth=depth, heads=heads)
        channels, *spatial = input_shape
        if any(extent % patch for extent in spatial):
            raise UsageError(f"patch: {patch} does not divide images of {tuple(spatial)}")
        if width % heads:
            raise UsageError(f"heads: {heads} heads do not divide a width of {width}")
        tokens = math.prod(extent // patch for extent in spatial)
        self.front = Normalize(mean, spread, len(spatial))
        self.patches = convolution(len(spatial))(channels, width, patch, patch)
        self.register_buffer("positions", _sines(tokens, width))
        self.layers = nn.Sequential(*(_Layer(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(self.front(x)).flatten(2).transpose(1, 2) + self.positions
        result: torch.Tensor = self.last(self.norm(self.layers(tokens)).mean(1))
        return result


def _sines(tokens: int, width: int) -> torch.Tensor:
    """A fixed code for each position, shape ``(tokens, width)`` (Vaswani et al. 2017, 3.5)."""
    position = torch.arange(tokens, dtype=torch.float64)[:, None]
    pair = torch.arange(width, dtype=torch.float64) // 2
    angle = position / 10000 ** (2 * pair / width)
    even = torch.arange(width) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).float()
