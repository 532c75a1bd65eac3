"""The reference networks, tiny, for the tests that go through all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from asi_verify.data import Dataset, Samples, Task
from asi_verify.zoo import build

TINY_OPTIONS: dict[str, dict[str, int]] = {
    "small-cnn": {"hidden": 8},
    "cnn7": {"width": 4, "hidden": 16},
    "cnn3d": {"width": 2, "hidden": 8},
    "resnet18": {"width": 4},
    "resnet50": {"width": 2},
    "vit": {"patch": 4, "width": 8, "depth": 1, "heads": 2},
    "pooled-mlp": {"width": 16, "hidden": 8},
}


def shape_for(name: str, side: int = 8, channels: int = 1) -> tuple[int, ...]:
    """A shape of images that the network reads."""
    return (channels, *(side,) * (3 if name == "cnn3d" else 2))


def tiny_network(name: str, shape: tuple[int, ...], logits: int = 2, seed: int = 0) -> nn.Module:
    """The network with a few hundred or thousand weights and random statistics of batch norm."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        statistics: dict[str, Any] = {"mean": [0.4] * shape[0], "spread": [0.2] * shape[0]}
        module = build(name, shape, logits, options=TINY_OPTIONS[name], **statistics)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            for tensor, low in (
                (part.running_mean, -0.5),
                (part.running_var, 0.5),
                (part.weight, 0.5),
                (part.bias, -0.5),
            ):
                assert tensor is not None
                tensor.data.copy_(low + torch.rand(tensor.shape, generator=generator))
    return module


def dark_and_bright(shape: tuple[int, ...], count: int = 24) -> Dataset:
    """Two classes that a few epochs tell apart."""
    generator = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", count), ("val", 10), ("test", 10)):
        labels = np.arange(n) % 2
        level = (90 + 70 * labels).reshape(-1, *[1] * len(shape))
        images = np.clip(generator.normal(level, 12, (n, *shape)), 0, 255).astype(np.uint8)
        splits[name] = Samples(images, labels.astype(np.int64))
    return Dataset("dark and bright", Task.BINARY, ("dark", "bright"), splits)
