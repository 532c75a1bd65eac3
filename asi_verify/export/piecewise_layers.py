"""The torch forms of the piecewise linear functions of one number."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from asi_verify.core.operators import Relu
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.export.torch_layer import Layer, tensor_of

__all__ = ["ClampLayer", "LeakyReluLayer", "ReluLayer", "piecewise_layer_for"]


class ReluLayer(Layer):
    """``max(x, 0)``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x)


class LeakyReluLayer(Layer):
    """``x`` where it is not negative, else ``slope * x``; the slope is not trained."""

    slope: torch.Tensor

    def __init__(self, operator: LeakyRelu) -> None:
        super().__init__(operator)
        self.register_buffer("slope", tensor_of(operator.slope))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x < 0, self.slope * x, x)


class ClampLayer(Layer):
    """``min(max(x, lower), upper)``."""

    def __init__(self, operator: Clamp) -> None:
        super().__init__(operator)
        self._ends = operator.lower, operator.upper

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(x, *self._ends)


def piecewise_layer_for(operator: Relu | LeakyRelu | Clamp) -> Layer:
    """The torch form of an operator."""
    match operator:
        case Relu():
            return ReluLayer(operator)
        case LeakyRelu():
            return LeakyReluLayer(operator)
        case Clamp():
            return ClampLayer(operator)
