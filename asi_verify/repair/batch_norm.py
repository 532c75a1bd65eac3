"""Batch norm in training: statistics of the clean batch, folded into the layer that they follow.

The artifact has no batch norm, and neither does the torch form that bounds are computed on: a
normalised layer is a convolution or an affine layer whose weights are computed, from its own and
from statistics of the images themselves, never of what a perturbation makes of them (Shi et al.
2021). So bounds, rounding and export see weights like any others.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from asi_verify.core.network import Network
from asi_verify.core.operators import Add, Affine, Conv, Operator, Relu
from asi_verify.export import NetworkModule
from asi_verify.export.torch_module import AffineLayer, ConvLayer, WeightLayer, is_average

__all__ = ["BatchNormModule"]

_EPSILON = 1e-5
"""Added to variances; torch's default."""

_CHUNK = 64


class _Normed(WeightLayer):
    """What a normalised layer holds beside its map: its own weights, gains, offsets, statistics.

    ``own``, ``gain`` and ``offset`` are trained, ``weight`` and ``bias`` are computed: with the
    mean ``m`` and variance ``v`` of ``own @ x`` over images and positions, channel by channel,

        ``(own @ x - m) * gain / sqrt(v + eps) + offset  =  weight @ x + bias``.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    own: nn.Parameter
    gain: nn.Parameter
    offset: nn.Parameter

    def normalise(self) -> None:
        """Begin with gain 1, offset 0 and the statistics 0 and 1."""
        own, channels = self.weight, len(self.bias)
        del self.weight, self.bias
        self.own = nn.Parameter(own.detach())
        self.gain, self.offset = (nn.Parameter(f(channels)) for f in (torch.ones, torch.zeros))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        nn.Module.register_load_state_dict_post_hook(self, lambda layer, _: layer.fold())
        self.fold()

    def fold(self) -> None:
        """Compute the weights from the statistics that are kept."""
        with torch.no_grad():
            self.fold_with(self.mean, self.variance)

    def fold_with(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Compute the weights from other statistics, which gradients go through."""
        factor = self.gain * torch.rsqrt(variance + _EPSILON)
        self.weight = self.own * factor.reshape(-1, *[1] * (self.own.ndim - 1))
        self.bias = self.offset - mean * factor

    def statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of ``own @ x`` for each channel, over images and positions."""
        made = self.linear(x, self.own, None)
        channel = 1 if self.own.ndim > 2 else made.ndim - 1
        others = [axis for axis in range(made.ndim) if axis != channel]
        return made.mean(others), made.var(others, unbiased=False)


class _NormedAffine(_Normed, AffineLayer):
    """An affine layer and its batch norm."""

    def __init__(self, operator: Affine) -> None:
        AffineLayer.__init__(self, operator)
        self.normalise()


class _NormedConv(_Normed, ConvLayer):
    """A convolution and its batch norm."""

    def __init__(self, operator: Conv) -> None:
        ConvLayer.__init__(self, operator)
        self.normalise()


class BatchNormModule(NetworkModule):
    """The torch form of a network whose hidden layers of weights are normalised in training.

    Normalised is every convolution and affine layer that is trained and whose output goes into one
    ReLU or one sum and nowhere else: where residual networks and CNN7 have their batch norm.

    After ``measure`` the weights are those of the batch, with gradients through its statistics;
    after ``settle`` those of a whole set, and what is exported. Statistics of a batch are a matter
    of its size: none should be much smaller than the others.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        for position in _normalised(network):
            operator = network.nodes[position].operator
            match operator:
                case Affine():
                    self.layers[position] = _NormedAffine(operator)
                case Conv():
                    self.layers[position] = _NormedConv(operator)

    @classmethod
    def like(cls, network: Network, inputs: torch.Tensor) -> BatchNormModule:
        """One that begins as the function of the network, up to rounding.

        Gains and offsets are what undoes the statistics of ``inputs``, shape
        ``(N, *input_shape)``.
        """
        module, plain = cls(network), NetworkModule(network)
        pool = _Pool()
        with torch.no_grad():
            for some in inputs.tensor_split(math.ceil(len(inputs) / _CHUNK)):
                values = [some]
                for (layer, read), (before, _) in zip(module.steps(), plain.steps(), strict=True):
                    if isinstance(layer, _Normed):
                        pool.add(layer, *layer.statistics(values[read[0]]), len(some))
                    values.append(before(*(values[value] for value in read)))
            pool.hand_out()
            for (layer, _), (before, _) in zip(module.steps(), plain.steps(), strict=True):
                if isinstance(layer, _Normed):
                    assert isinstance(before, WeightLayer)
                    layer.gain.copy_(torch.sqrt(layer.variance + _EPSILON))
                    layer.offset.copy_(layer.mean + before.bias)
                    layer.fold()
        return module

    def measure(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs for a clean batch; from then on the weights are those of its statistics."""
        return self._measured(x, None)

    def settle(self, inputs: torch.Tensor) -> None:
        """Take the statistics of a whole set, shape ``(N, *input_shape)``.

        Means and mean squares are pooled over parts of it, in each of which a layer sees what the
        statistics of the part make of the layers before. Its order should mix the labels.
        """
        pool = _Pool()
        with torch.no_grad():
            for some in inputs.tensor_split(math.ceil(len(inputs) / _CHUNK)):
                self._measured(some, pool)
            pool.hand_out()

    def _measured(self, x: torch.Tensor, pool: _Pool | None) -> torch.Tensor:
        values = [x]
        for layer, read in self.steps():
            if isinstance(layer, _Normed):
                mean, variance = layer.statistics(values[read[0]])
                layer.fold_with(mean, variance)
                if pool is not None:
                    pool.add(layer, mean, variance, len(x))
            values.append(layer(*(values[value] for value in read)))
        return values[-1]


class _Pool:
    """Statistics of parts of a set, made those of the whole, in float64."""

    def __init__(self) -> None:
        self._sums: dict[_Normed, tuple[torch.Tensor, torch.Tensor, int]] = {}

    def add(self, layer: _Normed, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        """Those of ``count`` images."""
        mean, variance = mean.double(), variance.double()
        first, second, n = self._sums.get(layer, (0.0 * mean, 0.0 * mean, 0))
        square = variance + mean * mean
        self._sums[layer] = (first + count * mean, second + count * square, n + count)

    def hand_out(self) -> None:
        """Give each layer its own, and compute its weights from them."""
        for layer, (first, second, n) in self._sums.items():
            mean = first / n
            layer.mean.copy_(mean)
            layer.variance.copy_((second / n - mean * mean).clamp(min=0.0))
            layer.fold()


def _normalised(network: Network) -> list[int]:
    """Positions of the layers that are normalised."""
    readers: dict[int, list[Operator]] = {}
    for node in network.nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node.operator)
    return [
        position
        for position, node in enumerate(network.nodes)
        if isinstance(node.operator, Affine | Conv)
        and not is_average(node.operator)
        and [isinstance(o, Relu | Add) for o in readers.get(position + 1, [])] == [True]
    ]
