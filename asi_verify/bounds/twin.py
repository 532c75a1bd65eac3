"""Interval bounds in torch, differentiable: for certified training, and as a proposal.

The torch twin of the trusted pass's interval formula, in float32 and without its outward rounding:
centre and radius through linear layers, ends through ReLU and max pooling, the property's rows
merged into the last affine layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.bounds.method import Method, Proposer
from asi_verify.bounds.smooth_intervals import gelu, layer_normalization, softmax
from asi_verify.core.bilinear import MatMul
from asi_verify.core.box import Box
from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.export import NetworkModule
from asi_verify.export.smooth_layers import LayerNormalizationLayer, SoftmaxLayer
from asi_verify.export.torch_module import AffineLayer, Layer, ScaleLayer, WeightLayer

__all__ = ["TwinIntervals", "interval_margins", "interval_values"]

_Value = tuple[torch.Tensor, torch.Tensor]
"""Centre and radius, each of shape ``(B, *shape)``."""


def interval_margins(
    module: NetworkModule, lower: torch.Tensor, upper: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """Lower bounds of linear functionals of the logits, differentiable in the module's weights.

    Args:
        module: the network.
        lower: shape ``(B, *input_shape)``.
        upper: same shape.
        rows: shape ``(B, R, logits)``, or ``(1, R, logits)`` for all samples.

    Returns:
        Shape ``(B, R)``.
    """
    *before, (last, last_inputs) = module.steps()
    values = _values(before, lower, upper)
    if not isinstance(last, AffineLayer) or values[last_inputs[0]][0].ndim != 2:
        centre, radius = _interval(last, [values[value] for value in last_inputs])
        return _apply(rows, centre) - _apply(rows.abs(), radius)
    centre, radius = values[last_inputs[0]]
    merged = rows @ last.weight
    return _apply(merged, centre) + rows @ last.bias - _apply(merged.abs(), radius)


def interval_values(
    module: NetworkModule, lower: torch.Tensor, upper: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Centre and radius of the input and of every layer's output, each ``(B, *shape)``."""
    return _values(module.steps(), lower, upper)


def _values(
    steps: Sequence[tuple[Layer, Sequence[int]]], lower: torch.Tensor, upper: torch.Tensor
) -> list[_Value]:
    values: list[_Value] = [((lower + upper) / 2, (upper - lower) / 2)]
    for layer, inputs in steps:
        values.append(_interval(layer, [values[value] for value in inputs]))
    return values


def _apply(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``(B or 1, R, n)`` applied to ``(B, n)``: shape ``(B, R)``."""
    if rows.shape[0] == 1:
        return values @ rows[0].T
    return torch.einsum("brn,bn->br", rows, values)


def _centred(lower: torch.Tensor, upper: torch.Tensor) -> _Value:
    return (lower + upper) / 2, (upper - lower) / 2


def _leaky(layer: Layer, lower: torch.Tensor, upper: torch.Tensor) -> _Value:
    """The ends of a leaky ReLU, which falls up to 0 where its slope is negative."""
    kink = torch.clamp(torch.zeros_like(lower), lower, upper)
    values = torch.stack([layer(lower), layer(kink), layer(upper)])
    return values.amin(0), values.amax(0)


def _product(first: _Value, second: _Value) -> _Value:
    """Sums of products, each between its least and its largest corner."""
    corners = torch.stack(
        [
            (first[0] + i * first[1])[..., :, :, None]
            * (second[0] + j * second[1])[..., None, :, :]
            for i in (-1, 1)
            for j in (-1, 1)
        ]
    )
    return _centred(corners.amin(0).sum(-2), corners.amax(0).sum(-2))


def _interval(layer: Layer, inputs: list[_Value]) -> _Value:
    (centre, radius), *others = inputs
    match layer.operator:
        case Affine() | Conv():
            assert isinstance(layer, WeightLayer)
            return layer(centre), layer.linear(radius, layer.weight.abs(), None)
        case Scale():
            assert isinstance(layer, ScaleLayer)
            return layer(centre), radius * layer.scale.abs()
        case LeakyRelu():
            return _centred(*_leaky(layer, centre - radius, centre + radius))
        case Relu() | MaxPool() | Clamp() | Sigmoid() | Tanh() | Erf():
            return _centred(layer(centre - radius), layer(centre + radius))
        case Gelu():
            return _centred(*gelu(layer, centre - radius, centre + radius))
        case Softmax():
            assert isinstance(layer, SoftmaxLayer)
            return _centred(*softmax(layer, centre - radius, centre + radius))
        case LayerNormalization():
            assert isinstance(layer, LayerNormalizationLayer)
            return layer_normalization(layer, centre, radius)
        case Reshape() | Transpose() | Select() | Pad():
            # What is put around has no radius.
            return layer(centre), layer(radius) - layer(torch.zeros_like(radius))
        case MatMul():
            return _product(*inputs)
        case Add():
            (other_centre, other_radius) = others[0]
            return centre + other_centre, radius + other_radius
        case Concat():
            centres, radii = zip(*inputs, strict=True)
            return layer(*centres), layer(*radii)
        case operator:
            raise UnsupportedOperatorError(f"{type(operator).__name__} has no interval in torch")


class TwinIntervals(Proposer):
    """Intervals by the torch twin; always there."""

    method = Method.INTERVAL

    def __init__(self, module: NetworkModule) -> None:
        self._module = module
        self.engine = f"torch twin (torch {torch.__version__})"

    def lower(self, box: Box, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            bound = interval_margins(
                self._module,
                torch.from_numpy(box.lower.copy()),
                torch.from_numpy(box.upper.copy()),
                torch.from_numpy(rows.astype(np.float32))[None],
            )
        return np.asarray(bound.numpy())
