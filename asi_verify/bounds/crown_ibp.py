"""CROWN-IBP in torch, differentiable: tighter than intervals, for certified training.

Interval bounds of what every ReLU reads, and one backward pass of the property's rows to the input
(Zhang et al. 2020), in float32 and without outward rounding. It follows the trusted pass's formula;
the transposed maps of linear layers are their own gradients.
"""

from __future__ import annotations

import torch

from asi_verify.bounds.backward_twin import LINEAR
from asi_verify.bounds.twin import interval_values
from asi_verify.core.operators import Relu
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.export import NetworkModule
from asi_verify.export.torch_module import Layer

__all__ = ["crown_ibp_margins"]


def crown_ibp_margins(
    module: NetworkModule, lower: torch.Tensor, upper: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """Lower bounds of linear functionals of the logits, differentiable in the module's weights.

    Args:
        module: the network; of linear layers and ReLUs alone.
        lower: shape ``(B, *input_shape)``.
        upper: same shape.
        rows: shape ``(B, R, logits)``, or ``(1, R, logits)`` for all samples.

    Returns:
        Shape ``(B, R)``.

    Raises:
        UnsupportedOperatorError: another layer, by its name.
    """
    values = interval_values(module, lower, upper)
    samples, count = len(lower), rows.shape[1]
    # Every row of every sample is a functional of its own, one after the other.
    start = rows.expand(samples, -1, -1).reshape(samples * count, *values[-1][0].shape[1:])
    functionals: dict[int, torch.Tensor] = {len(values) - 1: start}
    constants = torch.zeros(samples * count, dtype=start.dtype)
    for output, (layer, inputs) in reversed(list(enumerate(module.steps(), start=1))):
        a = functionals.pop(output, None)
        if a is None:
            continue  # nothing that counts reads it
        if isinstance(layer.operator, Relu):
            centre, radius = (part.repeat_interleave(count, 0) for part in values[inputs[0]])
            pushed, constant = _through_relu(a, centre - radius, centre + radius)
            parts = [pushed]
        elif isinstance(layer.operator, LINEAR):
            shapes = [values[value][0].shape[1:] for value in inputs]
            parts, constant = _through_linear(layer, a, shapes)
        else:
            name = type(layer.operator).__name__
            raise UnsupportedOperatorError(f"{name} has no backward bound in training")
        constants = constants + constant
        for value, part in zip(inputs, parts, strict=True):
            functionals[value] = functionals[value] + part if value in functionals else part
    centre, radius = (part.repeat_interleave(count, 0) for part in values[0])
    a = functionals[0]
    lowest = (a * centre - a.abs() * radius).flatten(1).sum(dim=1)
    return (lowest + constants).reshape(samples, count)


def _through_relu(
    a: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """From below the line of slope 0 or 1 that lies nearer, from above the chord."""
    open_ = (lower < 0) & (upper > 0)
    width = torch.where(open_, upper - lower, torch.ones_like(upper))
    chord = torch.where(open_, upper / width, (lower >= 0).to(a.dtype))
    below = torch.where(open_, (upper >= -lower).to(a.dtype), chord)
    above = torch.where(open_, -chord * lower, torch.zeros_like(lower))
    pushed = torch.where(a >= 0, a * below, a * chord)
    return pushed, (a.clamp_max(0) * above).flatten(1).sum(dim=1)


def _through_linear(
    layer: Layer, a: torch.Tensor, shapes: list[torch.Size]
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The functionals of a linear layer's inputs, and what its bias adds."""
    training = torch.is_grad_enabled()
    with torch.enable_grad():
        zeros = [a.new_zeros(len(a), *shape).requires_grad_(True) for shape in shapes]
        offset = layer(*zeros)
        pushed = torch.autograd.grad(offset, zeros, a, create_graph=training, retain_graph=True)
    return list(pushed), (a * offset).flatten(1).sum(dim=1)
