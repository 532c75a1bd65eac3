"""Interval bounds in torch, differentiable, of GELU, softmax and layer normalisation.

The formulas are those of the trusted rules, without outward rounding.
"""

from __future__ import annotations

import torch

from asi_verify.export.smooth_layers import LayerNormalizationLayer, SoftmaxLayer
from asi_verify.export.torch_layer import Layer

__all__ = ["gelu", "layer_normalization", "softmax"]

_Pair = tuple[torch.Tensor, torch.Tensor]

_LOWEST = -0.7518
"""Where GELU is smallest, about -0.17; its tanh form as well, to this precision."""


def gelu(layer: Layer, lower: torch.Tensor, upper: torch.Tensor) -> _Pair:
    """It falls up to its lowest point and rises from there on."""
    at_lower, at_upper = layer(lower), layer(upper)
    least = layer(torch.clamp(torch.full_like(lower, _LOWEST), lower, upper))
    return least, torch.maximum(at_lower, at_upper)


def softmax(layer: SoftmaxLayer, lower: torch.Tensor, upper: torch.Tensor) -> _Pair:
    """Each number is smallest where it is at its lower end and all others at their upper ones."""
    low, high = (x.movedim(layer.axis, -1) for x in (lower, upper))
    own = torch.eye(low.shape[-1], dtype=torch.bool, device=low.device)

    def at(mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        differences = others[..., None, :] - mine[..., :, None]
        total = torch.logsumexp(differences.masked_fill(own, 0.0), dim=-1)
        return torch.exp(-total).movedim(-1, layer.axis)

    return at(low, high), at(high, low)


def layer_normalization(
    layer: LayerNormalizationLayer, centre: torch.Tensor, radius: torch.Tensor
) -> _Pair:
    """Differences from the mean over the root of the variance, each bounded by itself.

    The variance is at least ``(max(0, s - t))^2`` for the standard deviations ``s`` of the centres
    and ``t`` of what is added to them, at most the root mean square of the radii.
    """
    axes = tuple(range(-layer.scale.ndim, 0))
    n = layer.scale.numel()
    middle = centre - centre.mean(axes, keepdim=True)
    reach = radius * (1 - 2 / n) + radius.mean(axes, keepdim=True)
    spread = (middle * middle).mean(axes, keepdim=True)
    added = (radius * radius).mean(axes, keepdim=True)
    # The small numbers keep the roots differentiable at 0.
    deviation, moved = (spread + 1e-12).sqrt(), (added + 1e-12).sqrt()
    least = torch.relu(deviation - moved).square() + layer.epsilon
    most = (deviation + moved).square() + layer.epsilon
    low, high = middle - reach, middle + reach
    fast, slow = least.rsqrt(), most.rsqrt()
    bound = float(n - 1) ** 0.5
    z_low = torch.where(low < 0, (low * fast).clamp(min=-bound), low * slow)
    z_high = torch.where(high > 0, (high * fast).clamp(max=bound), high * slow)
    z_centre, z_radius = (z_low + z_high) / 2, (z_high - z_low) / 2
    return z_centre * layer.scale + layer.shift, z_radius * layer.scale.abs()
