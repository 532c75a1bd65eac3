"""How many samples of a split a module in training gets right."""

from __future__ import annotations

import torch

from asi_verify.core.images import encode
from asi_verify.core.properties import label_margins
from asi_verify.data import Samples
from asi_verify.export import NetworkModule

__all__ = ["right_answers"]

_BATCH = 256
"""Images at once."""


def right_answers(module: NetworkModule, samples: Samples) -> int:
    """How many of the samples have a positive margin, in torch; a choice needs no more than that.

    A module whose batch norm is trained answers with the statistics that it holds.
    """
    inputs = torch.from_numpy(encode(samples.images))
    with torch.no_grad():
        outputs = torch.cat([module(some) for some in inputs.split(_BATCH)]).numpy()
    return int((label_margins(samples.labels, outputs) > 0).sum())
