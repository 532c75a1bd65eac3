"""The torch form of a ``Network``: generated, trainable, and readable back."""

from __future__ import annotations

import abc
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from asi_verify.core.bilinear import MatMul
from asi_verify.core.moves import Pad, Select
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Operator,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.export.moving_layers import moving_layer_for
from asi_verify.export.piecewise_layers import piecewise_layer_for
from asi_verify.export.smooth_layers import smooth_layer_for
from asi_verify.export.torch_layer import Layer, array_of, tensor_of

__all__ = [
    "AffineLayer",
    "ConvLayer",
    "Layer",
    "NetworkModule",
    "ScaleLayer",
    "WeightLayer",
    "is_average",
    "layer_for",
]

_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


class WeightLayer(Layer, abc.ABC):
    """An affine map with weights and a bias of its own."""

    weight: torch.Tensor
    bias: torch.Tensor

    @abc.abstractmethod
    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """The layer's map with other weights of the same shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x, self.weight, self.bias)


class AffineLayer(WeightLayer):
    """``weight @ x + bias``."""

    def __init__(self, operator: Affine) -> None:
        super().__init__(operator)
        self.weight = nn.Parameter(tensor_of(operator.weight))
        self.bias = nn.Parameter(tensor_of(operator.bias))

    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        return F.linear(x, weight, bias)

    def to_operator(self) -> Operator:
        return Affine(array_of(self.weight), array_of(self.bias))


class ConvLayer(WeightLayer):
    """Cross-correlation in one to three spatial dimensions."""

    def __init__(self, operator: Conv) -> None:
        super().__init__(operator)
        rank = len(operator.kernel)
        if rank not in _CONVOLUTIONS:
            raise UnsupportedOperatorError(f"Conv with {rank} spatial axes has no torch form")
        self.conv = operator
        trained = not is_average(operator)
        self.weight = nn.Parameter(tensor_of(operator.weight), trained)
        self.bias = nn.Parameter(tensor_of(operator.bias), trained)
        # torch pads both ends alike; what differs is padded by hand, last axis first.
        self._same = all(before == after for before, after in operator.pads)
        self._by_hand = [n for pads in reversed(operator.pads) for n in pads]

    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        operator = self.conv
        padding = tuple(before for before, _ in operator.pads) if self._same else 0
        if not self._same:
            x = F.pad(x, self._by_hand)
        convolve = cast("Any", _CONVOLUTIONS[len(operator.kernel)])
        return cast(
            "torch.Tensor",
            convolve(
                x, weight, bias, operator.strides, padding, operator.dilations, operator.groups
            ),
        )

    def to_operator(self) -> Operator:
        operator = self.conv
        return Conv(
            array_of(self.weight),
            array_of(self.bias),
            operator.strides,
            operator.pads,
            operator.dilations,
            operator.groups,
        )


class ScaleLayer(Layer):
    """``scale * x + shift``, fixed: normalisation is not trained."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, operator: Scale) -> None:
        super().__init__(operator)
        self.register_buffer("scale", tensor_of(operator.scale))
        self.register_buffer("shift", tensor_of(operator.shift))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift

    def to_operator(self) -> Operator:
        return Scale(array_of(self.scale), array_of(self.shift))


class MaxPoolLayer(Layer):
    """The largest number under each window, in one to three spatial dimensions."""

    def __init__(self, operator: MaxPool) -> None:
        super().__init__(operator)
        rank = len(operator.kernel)
        if rank not in _MAX_POOLS:
            raise UnsupportedOperatorError(f"MaxPool with {rank} spatial axes has no torch form")
        self._pool = operator
        # torch pads both ends alike, by half a window at most; here by hand, last axis first.
        self._pads = [n for pads in reversed(operator.pads) for n in pads]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if any(self._pads):
            x = F.pad(x, self._pads, value=-torch.inf)
        operator = self._pool
        pool = cast("Any", _MAX_POOLS[len(operator.kernel)])
        return cast(
            "torch.Tensor", pool(x, operator.kernel, operator.strides, 0, operator.dilations)
        )


class AddLayer(Layer):
    """``x + y``."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


class MatMulLayer(Layer):
    """``x @ y`` along the last two axes."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x @ y


def is_average(operator: Operator) -> bool:
    """Whether it is an average or a sum over windows, as pooling is lowered: nothing to train.

    A window of one number is recognised by its weight of 1.
    """
    return (
        isinstance(operator, Conv)
        and operator.weight.shape[1] == 1
        and (operator.weight[0].size > 1 or operator.weight.flat[0] == 1)
        and operator.groups == len(operator.weight)
        and not operator.bias.any()
        and bool((operator.weight == operator.weight.flat[0]).all())
    )


def layer_for(operator: Operator) -> Layer:
    """The torch form of an operator.

    Raises:
        UnsupportedOperatorError: there is none.
    """
    match operator:
        case Affine():
            return AffineLayer(operator)
        case Conv():
            return ConvLayer(operator)
        case Scale():
            return ScaleLayer(operator)
        case Relu() | LeakyRelu() | Clamp():
            return piecewise_layer_for(operator)
        case MaxPool():
            return MaxPoolLayer(operator)
        case Add():
            return AddLayer(operator)
        case MatMul():
            return MatMulLayer(operator)
        case Reshape() | Transpose() | Concat() | Select() | Pad():
            return moving_layer_for(operator)
        case Sigmoid() | Tanh() | Erf() | Gelu() | Softmax() | LayerNormalization():
            return smooth_layer_for(operator)
        case _:
            raise UnsupportedOperatorError(f"{type(operator).__name__} has no torch form")


class NetworkModule(nn.Module):
    """A torch module that computes what a ``Network`` does, in float32.

    Input ``(N, *input_shape)``, output ``(N, *output_shape)``: logits, without a stripped head.
    Weights of affine and convolution layers are parameters; normalisation and averages are fixed.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer_for(node.operator) for node in network.nodes)
        self._inputs = tuple(node.inputs for node in network.nodes)
        self.input_shape: Shape = network.input_shape
        self._head = network.head

    def steps(self) -> list[tuple[Layer, tuple[int, ...]]]:
        """The layers in order, each with the values that it reads (as ``Node.inputs``)."""
        return list(zip(cast("Any", self.layers), self._inputs, strict=True))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for layer, inputs in self.steps():
            values.append(layer(*(values[value] for value in inputs)))
        return values[-1]

    def to_network(self) -> Network:
        """The network with the module's present weights, exact in float32."""
        nodes = tuple(Node(layer.to_operator(), inputs) for layer, inputs in self.steps())
        return Network(self.input_shape, nodes, self._head).rounded()
