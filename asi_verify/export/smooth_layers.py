"""The torch forms of the operators that are not piecewise linear."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from asi_verify.core.operators import Operator
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.export.torch_layer import Layer, array_of, tensor_of

__all__ = ["LayerNormalizationLayer", "SoftmaxLayer", "smooth_layer_for"]


class SigmoidLayer(Layer):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x)


class TanhLayer(Layer):
    """``tanh(x)``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)


class ErfLayer(Layer):
    """``erf(x)``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erf(x)


class GeluLayer(Layer):
    """GELU, by the error function or by tanh."""

    def __init__(self, operator: Gelu) -> None:
        super().__init__(operator)
        self._approximate = "tanh" if operator.tanh else "none"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x, approximate=self._approximate)

    def to_operator(self) -> Operator:
        # Exact from then on, as weights are.
        return Gelu(self._approximate == "tanh")


class SoftmaxLayer(Layer):
    """Softmax along one axis."""

    def __init__(self, operator: Softmax) -> None:
        super().__init__(operator)
        self.axis = operator.axis + 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, self.axis)


class LayerNormalizationLayer(Layer):
    """Layer normalisation; its scale and shift are parameters."""

    def __init__(self, operator: LayerNormalization) -> None:
        super().__init__(operator)
        self.scale = nn.Parameter(tensor_of(operator.scale))
        self.shift = nn.Parameter(tensor_of(operator.shift))
        self.epsilon = operator.epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.scale.shape, self.scale, self.shift, self.epsilon)

    def to_operator(self) -> Operator:
        return LayerNormalization(array_of(self.scale), array_of(self.shift), self.epsilon)


def smooth_layer_for(
    operator: Sigmoid | Tanh | Erf | Gelu | Softmax | LayerNormalization,
) -> Layer:
    """The torch form of an operator."""
    match operator:
        case Sigmoid():
            return SigmoidLayer(operator)
        case Tanh():
            return TanhLayer(operator)
        case Erf():
            return ErfLayer(operator)
        case Gelu():
            return GeluLayer(operator)
        case Softmax():
            return SoftmaxLayer(operator)
        case LayerNormalization():
            return LayerNormalizationLayer(operator)
