"""Whole runs that take seconds: a very small network, few epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import asi_verify as asi
from asi_verify.repair import CertifiedTraining
from asi_verify.zoo import SmallCNN


def tiny_model(data: Any, seed: int = 0) -> SmallCNN:
    """A small CNN of a few thousand weights, untrained."""
    torch.manual_seed(seed)
    return SmallCNN(data.image_shape, len(data.classes), [0.4], [0.15], (4, 6), 16)


def trained(data: Any, epochs: int = 12, seed: int = 0) -> Any:
    """The small CNN after some ordinary epochs, better than the majority class."""
    from asi_verify.export import NetworkModule, network_from_torch
    from asi_verify.repair import OrdinaryTraining

    network = network_from_torch(tiny_model(data, seed), data.image_shape)
    training = OrdinaryTraining(epochs=epochs, batch_size=8, learning_rate=3e-3)
    return NetworkModule(training.train(network, data, seed))


def quick_run(data: Any, epochs: int = 120, out: Path | None = None, radius: str = "1/255") -> Any:
    """A correction of the small CNN, one round."""
    corrector = CertifiedTraining(
        epochs=epochs, ramp_steps=60, ramp_epochs=10, batch_size=16, learning_rate=3e-3
    )
    return asi.correct(trained(data), data, radius, corrector=corrector, rounds=1, out=out)
