"""The reference networks by name, and how one is built for a data set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from asi_verify.core.operators import Shape
from asi_verify.errors import UsageError
from asi_verify.zoo.cnn3d import CNN3D
from asi_verify.zoo.cnn7 import CNN7
from asi_verify.zoo.pooled_mlp import PooledMLP
from asi_verify.zoo.resnet import ResNet18, ResNet50
from asi_verify.zoo.small_cnn import SmallCNN
from asi_verify.zoo.vit import ViT

__all__ = ["ARCHITECTURES", "architecture", "build", "options_of", "require_options"]

ARCHITECTURES: dict[str, Any] = {
    "small-cnn": SmallCNN,
    "cnn7": CNN7,
    "cnn3d": CNN3D,
    "resnet18": ResNet18,
    "resnet50": ResNet50,
    "vit": ViT,
    "pooled-mlp": PooledMLP,
}
"""The reference networks by name; each is built from the data set's shape and statistics.

``batch_norm`` of a class says whether its training normalises batches; the artifact has none, it
is folded into the layers of weights.
"""


def architecture(name: str) -> Any:
    """The class of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UsageError(f"architecture: {name!r} is not known; {known}")
    return ARCHITECTURES[name]


def options_of(name: str) -> dict[str, int]:
    """The options of a reference network, all whole numbers, with their defaults.

    Raises:
        UsageError: there is no network of this name.
    """
    parameters = inspect.signature(architecture(name)).parameters.values()
    return {p.name: p.default for p in parameters if isinstance(p.default, int)}


def require_options(name: str, options: Mapping[str, int]) -> None:
    """Raise ``UsageError`` unless a reference network has these options, all whole numbers."""
    known = options_of(name)
    for option, value in options.items():
        if option not in known:
            there = ", ".join(f"{k} (default {v})" for k, v in known.items())
            raise UsageError(f"options: {name} has no {option!r}; {there}")
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"options: {option} is {value!r}; a whole number is expected")


def build(
    name: str,
    image_shape: Shape,
    classes: int,
    *,
    mean: Sequence[float],
    spread: Sequence[float],
    options: Mapping[str, int] | None = None,
) -> nn.Module:
    """An untrained reference network.

    Args:
        name: one of ``ARCHITECTURES``.
        image_shape: ``(C, *spatial)`` of the images.
        classes: how many logits.
        mean: per channel, of the training images in [0, 1].
        spread: standard deviation per channel.
        options: see ``options_of``.

    Raises:
        UsageError: the name or an option is not known, or does not fit the images.
    """
    require_options(name, options or {})
    made: nn.Module = architecture(name)(image_shape, classes, mean, spread, **(options or {}))
    return made
