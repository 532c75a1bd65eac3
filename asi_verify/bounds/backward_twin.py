"""The torch twin of the trusted pass's backward bound: where slopes and multipliers are optimised.

What it computes is the formula of ``checker.trusted`` and ``checker.relu`` in float32, without the
outward rounding: rows pushed from the output to the input over given boxes, ReLUs relaxed by given
slopes, multiples of known phases added. It is differentiable in slopes and multipliers (Xu et al.
2021; Wang et al. 2021), so that what is optimised is what will be checked. It proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from asi_verify.core.box import Box
from asi_verify.core.moves import Pad, Select
from asi_verify.core.network import Network
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.export import NetworkModule
from asi_verify.export.torch_module import AffineLayer, ConvLayer, Layer

__all__ = ["LINEAR", "BackwardTwin", "Optimised"]

Array = npt.NDArray[np.float32]
_Ends = Mapping[int, tuple[torch.Tensor, torch.Tensor]]
"""The ends of the boxes of the input and of what ReLUs read, one row for each functional."""

LINEAR = (Add, Affine, Concat, Conv, Pad, Reshape, Scale, Select, Transpose)
"""What a backward bound in torch goes through exactly, in pieces of its input or output."""

_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_RATE = 0.1
_DECAY = 0.98
_FIRST, _SECOND = 0.9, 0.999
"""How slowly the optimiser's two moments forget."""


@dataclass
class _Relaxation:
    """How ReLUs are relaxed, for ``P`` functionals; keys are the values that ReLUs read.

    Attributes:
        slopes: from below, for open phases, shape ``(P, size)``.
        multipliers: nonnegative multiples of the phases that are known, shape ``(P, size)``.
        signs: of those phases, same shape; +1 for nonnegative, -1 for nonpositive, 0 for unknown.
    """

    slopes: dict[int, torch.Tensor]
    multipliers: dict[int, torch.Tensor]
    signs: dict[int, torch.Tensor]

    @property
    def free(self) -> list[torch.Tensor]:
        """What is optimised."""
        return [*self.slopes.values(), *self.multipliers.values()]

    def copy(self) -> _Relaxation:
        """One that later steps leave as it is."""
        slopes, multipliers = (
            {value: part.detach().clone() for value, part in parts.items()}
            for parts in (self.slopes, self.multipliers)
        )
        return _Relaxation(slopes, multipliers, self.signs)


@dataclass(frozen=True)
class Optimised:
    """The best that was found for ``L`` samples; neurons are numbered as in ``core.split_tree``.

    Attributes:
        lower: float32, shape ``(L, R)``, the rows' constants included.
        slopes: of ReLUs with an open phase, shape ``(L, R, neurons)``.
        multipliers: of known phases, shape ``(L, R, neurons)``.
        costs: how much bound each ReLU's relaxation costs, over the rows that are not positive,
            shape ``(L, neurons)``; 0 where the phase is known.
        coefficients: of the rows' bounds in the input, shape ``(L, R, inputs)``.
    """

    lower: Array
    slopes: Array
    multipliers: Array
    costs: Array
    coefficients: Array


class BackwardTwin:
    """The backward bound of one network.

    Args:
        network: the network.
        device: where to compute.

    Raises:
        UnsupportedOperatorError: an operator that the twin does not relax.
    """

    def __init__(self, network: Network, device: str = "cpu") -> None:
        for node in network.nodes:
            if not isinstance(node.operator, (*LINEAR, Relu)):
                name = type(node.operator).__name__
                raise UnsupportedOperatorError(f"{name} has no backward bound in torch")
        self._network = network
        self._device = device
        module = NetworkModule(network).to(device).requires_grad_(False)
        self._steps = module.steps()
        with torch.no_grad():
            self._constants = [self._at_zero(position) for position in range(len(self._steps))]
        self.relu_inputs = sorted(
            {n.inputs[0] for n in network.nodes if isinstance(n.operator, Relu)}
        )

    def optimised(
        self,
        boxes: Mapping[int, Box],
        rows: npt.NDArray[np.float64],
        steps: int,
        *,
        constants: npt.NDArray[np.float64] | None = None,
        signs: npt.NDArray[np.int8] | None = None,
        slopes: Array | None = None,
        multipliers: Array | None = None,
    ) -> Optimised:
        """Improve slopes and multipliers by gradient steps.

        Args:
            boxes: of value 0 and of every value that a ReLU reads, ``L`` samples.
            rows: shape ``(R, logits)``, or ``(L, R, logits)`` for rows of each sample's own.
            steps: how many; a row stops when it is positive.
            constants: of the rows, shape ``(R,)`` or ``(L, R)``; 0 if not given.
            signs: shape ``(L, neurons)``: +1 where the phase is known to be nonnegative, -1 where
                nonpositive; multiples of these may be used. None for no phases.
            slopes: where to start, shape ``(L, R, neurons)``; NaN, or None altogether, for the
                canonical rule.
            multipliers: same shape; 0 if not given.
        """
        samples, count = len(boxes[0]), rows.shape[-2]
        functionals, added, ends, relaxation = self._started(
            boxes, rows, constants, signs, slopes, multipliers
        )
        best, kept = self._climbed(functionals, added, ends, relaxation, steps)
        costs: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            at_input, _ = self._push(functionals, self._network.output, ends, kept, costs)
        costs = {v: costs.get(v, torch.zeros_like(ends[v][0])) for v in self.relu_inputs}
        unused = {v: torch.zeros_like(ends[v][0]) for v in self.relu_inputs}
        counts = (best <= 0).reshape(samples, count, 1).cpu().numpy()
        return Optimised(
            best.reshape(samples, count).cpu().numpy(),
            _joined(kept.slopes, samples),
            _joined(kept.multipliers or unused, samples),
            (_joined(costs, samples) * counts).sum(axis=1),
            at_input.reshape(samples, count, -1).cpu().numpy(),
        )

    def lower(
        self,
        boxes: Mapping[int, Box],
        rows: npt.NDArray[np.float64],
        *,
        constants: npt.NDArray[np.float64] | None = None,
        signs: npt.NDArray[np.int8] | None = None,
        slopes: Array | None = None,
        multipliers: Array | None = None,
    ) -> Array:
        """The bounds of the rows as they are, shape ``(L, R)``; arguments as of ``optimised``."""
        functionals, added, ends, relaxation = self._started(
            boxes, rows, constants, signs, slopes, multipliers
        )
        with torch.no_grad():
            found = self._lower(functionals, ends, relaxation) + added
        return np.asarray(found.reshape(len(boxes[0]), -1).cpu().numpy())

    def affine(
        self, boxes: Mapping[int, Box], value: int, functionals: npt.NDArray[Any]
    ) -> tuple[Array, Array]:
        """Functionals of a value of one sample as affine functions of the input.

        They are equal to the functionals where no phase is open, and below them otherwise.

        Args:
            boxes: of value 0 and of every value that a ReLU reads, one sample.
            value: which.
            functionals: shape ``(P, size)``.

        Returns:
            Coefficients ``(P, inputs)`` and constants ``(P,)``.
        """
        ends = {key: self._ends(box, len(functionals)) for key, box in boxes.items()}
        relaxation = self._begin(ends, len(functionals), None, None, None)
        wanted = self._tensor(functionals).reshape(-1, *self._network.shapes[value])
        with torch.no_grad():
            coefficients, constants = self._push(wanted, value, ends, relaxation)
        return coefficients.cpu().numpy(), constants.cpu().numpy()

    def _started(
        self,
        boxes: Mapping[int, Box],
        rows: npt.NDArray[np.float64],
        constants: npt.NDArray[np.float64] | None,
        signs: npt.NDArray[np.int8] | None,
        slopes: Array | None,
        multipliers: Array | None,
    ) -> tuple[torch.Tensor, torch.Tensor, _Ends, _Relaxation]:
        """Functionals, their constants, the boxes' ends and the relaxation, as tensors."""
        samples, count = len(boxes[0]), rows.shape[-2]
        ends = {value: self._ends(box, count) for value, box in boxes.items()}
        relaxation = self._begin(ends, count, signs, slopes, multipliers)
        of_samples = np.broadcast_to(rows, (samples, *rows.shape[-2:]))
        functionals = self._tensor(of_samples).reshape(-1, *self._network.output_shape)
        given = np.zeros(count) if constants is None else constants
        added = self._tensor(np.broadcast_to(given, (samples, count))).reshape(-1)
        return functionals, added, ends, relaxation

    def _climbed(
        self,
        functionals: torch.Tensor,
        added: torch.Tensor,
        ends: _Ends,
        relaxation: _Relaxation,
        steps: int,
    ) -> tuple[torch.Tensor, _Relaxation]:
        """The best bounds on the way, and what gave them."""
        free = relaxation.free
        for part in free:
            part.requires_grad_(steps > 0)
        optimiser = _Adam(free)
        kept = relaxation.copy()
        best = torch.full((len(functionals),), -torch.inf, device=self._device)
        for step in range(steps + 1):
            lower = self._lower(functionals, ends, relaxation) + added
            with torch.no_grad():
                # A row that is positive stays as it is: what else is in the batch, and so goes
                # on, changes nothing for it.
                better = (lower > best) & (best <= 0)
                best = torch.where(better, lower, best)
                for old, new in zip(kept.free, free, strict=True):
                    old[better] = new[better]
            if step == steps or not bool((best <= 0).any()):
                break
            loss = lower[best <= 0].sum().neg()
            optimiser.step(
                torch.autograd.grad(loss, free, allow_unused=True, materialize_grads=True)
            )
            with torch.no_grad():
                for slopes in relaxation.slopes.values():
                    slopes.clamp_(0, 1)
                for multipliers in relaxation.multipliers.values():
                    multipliers.clamp_(min=0)
        return best, kept

    def _push(
        self,
        functionals: torch.Tensor,
        start: int,
        ends: _Ends,
        relaxation: _Relaxation,
        costs: dict[int, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Functionals of value ``start`` as affine lower bounds: coefficients and constants."""
        total = torch.zeros(len(functionals), device=self._device)
        pending = {start: functionals}
        for value in range(start, 0, -1):
            if value not in pending:
                continue
            current = pending.pop(value)
            if value in relaxation.multipliers:
                known = relaxation.signs[value] * relaxation.multipliers[value]
                current = current - known.reshape(current.shape)
            layer, inputs = self._steps[value - 1]
            if isinstance(layer.operator, Relu):
                (key,) = inputs
                flat = current.reshape(len(current), -1)
                pushed, lost = _relaxed(flat, *ends[key], relaxation.slopes[key])
                total = total + lost.sum(1)
                if costs is not None:
                    costs[key] = _cost(flat, *ends[key])
                parts = [pushed.reshape(current.shape)]
            else:
                total = total + (current * self._constants[value - 1]).flatten(1).sum(1)
                parts = self._transposed(layer, inputs, current)
            for key, part in zip(inputs, parts, strict=True):
                pending[key] = pending[key] + part if key in pending else part
        none = torch.zeros_like(ends[0][0])
        return pending.get(0, none).reshape(len(functionals), -1), total

    def _lower(
        self, functionals: torch.Tensor, ends: _Ends, relaxation: _Relaxation
    ) -> torch.Tensor:
        at_input, constant = self._push(functionals, self._network.output, ends, relaxation)
        lower, upper = ends[0]
        reach = at_input.abs() * (upper - lower) / 2
        return constant + (at_input * (lower + upper) / 2 - reach).sum(1)

    def _begin(
        self,
        ends: _Ends,
        count: int,
        signs: npt.NDArray[np.int8] | None,
        slopes: Array | None,
        multipliers: Array | None,
    ) -> _Relaxation:
        canonical = {v: (ends[v][1] >= -ends[v][0]).to(torch.float32) for v in self.relu_inputs}
        if slopes is not None:
            for value, given in self._parts(slopes).items():
                canonical[value] = torch.where(given.isnan(), canonical[value], given)
        if signs is None or not signs.any():
            return _Relaxation(canonical, {}, {})
        of_rows = self._parts(np.repeat(signs[:, None], count, axis=1))
        start = (
            np.zeros((len(signs), count, signs.shape[1])) if multipliers is None else multipliers
        )
        return _Relaxation(canonical, self._parts(start), of_rows)

    def _parts(self, dense: npt.NDArray[Any]) -> dict[int, torch.Tensor]:
        """Numbers ``(L, R, neurons)`` value by value, ``(L * R, size)`` each."""
        sizes = [int(np.prod(self._network.shapes[value])) for value in self.relu_inputs]
        flat = self._tensor(dense.reshape(-1, dense.shape[2]))
        split = torch.split(flat, sizes, dim=1)
        return {v: part.clone() for v, part in zip(self.relu_inputs, split, strict=True)}

    def _ends(self, box: Box, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        lower, upper = (
            self._tensor(end.reshape(len(box), -1)).repeat_interleave(count, 0)
            for end in (box.lower, box.upper)
        )
        return lower, upper

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self._device)

    def _at_zero(self, position: int) -> torch.Tensor:
        layer, inputs = self._steps[position]
        shapes = (self._network.shapes[value] for value in inputs)
        result = layer(*(torch.zeros((1, *shape), device=self._device) for shape in shapes))
        assert isinstance(result, torch.Tensor)
        return result

    def _transposed(
        self, layer: Layer, inputs: tuple[int, ...], coefficients: torch.Tensor
    ) -> list[torch.Tensor]:
        """A linear layer's transpose; differentiable."""
        shapes = [self._network.shapes[value] for value in inputs]
        if isinstance(layer, AffineLayer):
            return [coefficients @ layer.weight]
        if isinstance(layer, ConvLayer):
            return [_transposed_convolution(layer, shapes[0], coefficients)]
        if isinstance(layer.operator, Pad):
            return [coefficients[(slice(None), *layer.operator.inner(shapes[0]))]]
        # What torch.func offers for this imports for seconds, more than many queries take.
        zeros = [
            torch.zeros((len(coefficients), *shape), device=self._device, requires_grad=True)
            for shape in shapes
        ]
        with torch.enable_grad():
            result = layer(*zeros)
            pulled = torch.autograd.grad(result, zeros, coefficients, create_graph=True)
        return list(pulled)


class _Adam:
    """Adam (Kingma and Ba 2015) with a rate that decays.

    Written out because the import of torch's own takes seconds, more than many queries do.
    """

    def __init__(self, numbers: Sequence[torch.Tensor]) -> None:
        self._numbers = numbers
        self._first = [torch.zeros_like(part) for part in numbers]
        self._second = [torch.zeros_like(part) for part in numbers]
        self._taken = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor]) -> None:
        """Go down along the gradients."""
        self._taken += 1
        rate = _RATE * _DECAY ** (self._taken - 1) / (1 - _FIRST**self._taken)
        scale = 1 - _SECOND**self._taken
        moments = zip(self._numbers, gradients, self._first, self._second, strict=True)
        for number, gradient, first, second in moments:
            first.lerp_(gradient, 1 - _FIRST)
            second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
            number.addcdiv_(first, (second / scale).sqrt_().add_(1e-8), value=-rate)


def _joined(parts: Mapping[int, torch.Tensor], samples: int) -> Array:
    """Numbers of neurons value by value as ``(L, R, neurons)``."""
    flat = torch.cat([parts[value] for value in sorted(parts)], dim=1)
    return np.asarray(flat.reshape(samples, -1, flat.shape[1]).cpu().numpy())


def _transposed_convolution(
    layer: ConvLayer, shape: Shape, coefficients: torch.Tensor
) -> torch.Tensor:
    """Of the padded input, of which the inner part is taken."""
    conv = layer.conv
    beyond = [
        size + before + after - ((count - 1) * stride + dilation * (extent - 1) + 1)
        for size, (before, after), count, stride, dilation, extent in zip(
            shape[1:],
            conv.pads,
            coefficients.shape[2:],
            conv.strides,
            conv.dilations,
            conv.kernel,
            strict=True,
        )
    ]
    transpose: Any = _TRANSPOSED[len(conv.kernel)]
    padded = transpose(
        coefficients, layer.weight, None, conv.strides, 0, beyond, conv.groups, conv.dilations
    )
    inner = (
        slice(before, before + size) for size, (before, _) in zip(shape[1:], conv.pads, strict=True)
    )
    return cast("torch.Tensor", padded[(..., *inner)])


def _relaxed(
    a: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor, slopes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coefficients on a ReLU's input, and the constants that the chord costs (see checker.relu)."""
    is_open = (lower < 0) & (upper > 0)
    chord = torch.where(is_open, upper / (upper - lower).clamp(min=1e-30), lower >= 0)
    from_below = torch.where(is_open, slopes, chord)
    b = torch.where(a > 0, a * from_below, a * chord)
    lost = torch.where(is_open, a.clamp(max=0) * chord * -lower, 0.0)
    return b, lost


def _cost(a: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> torch.Tensor:
    """How much a ReLU's triangle weighs: the greatest gap between its sides times ``|a|``."""
    is_open = (lower < 0) & (upper > 0)
    gap = -lower * upper / (upper - lower).clamp(min=1e-30)
    return torch.where(is_open, a.abs() * gap, 0.0)
