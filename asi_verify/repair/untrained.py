"""Reference networks with their initial weights, for the shape and statistics of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from asi_verify.core.images import encode
from asi_verify.core.network import Network
from asi_verify.data import Dataset
from asi_verify.export import network_from_torch
from asi_verify.zoo import build

__all__ = ["untrained_network"]


def untrained_network(
    architecture: str, data: Dataset, seed: int, options: Mapping[str, int] | None = None
) -> Network:
    """A reference network for a data set, normalised by the statistics of its split ``train``.

    Args:
        architecture: one of ``asi_verify.zoo.ARCHITECTURES``.
        data: with a split ``train``.
        seed: of the weights.
        options: of the architecture; the others keep their defaults.

    Raises:
        UsageError: there is no such split or architecture, or an option does not fit.
    """
    inputs = encode(data.split("train").images).astype("float64")
    axes = (0, *range(2, inputs.ndim))
    statistics: dict[str, Any] = {
        "mean": inputs.mean(axis=axes).tolist(),
        "spread": inputs.std(axis=axes).tolist(),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build(
            architecture, data.image_shape, len(data.classes), options=options, **statistics
        )
    return network_from_torch(module, data.image_shape)
