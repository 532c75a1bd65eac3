"""The torch twin of the trusted pass's backward bound: where slopes and multipliers are optimised.

What it computes is the formula of ``checker.trusted`` and ``checker.relu`` in float32, without the
outward rounding: rows pushed from the output to the input over given boxes, ReLUs relaxed by given
slopes, multiples of known phases added. Slopes and multipliers follow its derivatives (Xu et al.
2021; Wang et al. 2021), so that what is optimised is what will be checked. It proves nothing.
The derivatives are written out: recorded by torch they take twice as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
LINEAR = (Add, Affine, Concat, Conv, Pad, Reshape, Scale, Select, Transpose)
"""What a backward bound in torch goes through exactly, in pieces of its input or output."""

_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_RATE = 0.1
_DECAY = 0.98
_FIRST, _SECOND = 0.9, 0.999
"""How slowly the optimiser's two moments forget."""


@dataclass(frozen=True)
class _Known:
    """The phases of some value that are known, those of each functional from the left.

    Attributes:
        places: int64, shape ``(P, most)``, different ones in a row.
        signs: same shape; +1 for nonnegative, -1 for nonpositive, 0 where there are no more.
        multipliers: nonnegative, same shape.
    """

    places: torch.Tensor
    signs: torch.Tensor
    multipliers: torch.Tensor


@dataclass(frozen=True)
class _Relaxation:
    """How ReLUs are relaxed, for ``P`` functionals, neuron by neuron.

    Attributes:
        lower: of the inputs, shape ``(P, inputs)``; ``upper`` likewise.
        is_open: which phases, shape ``(P, neurons)``.
        chord: the slope from above, or of a phase that is not open, same shape.
        shift: what the chord is above its line through 0, same shape; 0 where no phase is open.
        slopes: from below, same shape; that of the chord where no phase is open.
        known: by the values that ReLUs read; none where no phase is known.
    """

    lower: torch.Tensor
    upper: torch.Tensor
    is_open: torch.Tensor
    chord: torch.Tensor
    shift: torch.Tensor
    slopes: torch.Tensor
    known: dict[int, _Known]

    @property
    def free(self) -> list[torch.Tensor]:
        """What is optimised."""
        return [self.slopes, *(known.multipliers for known in self.known.values())]

    def at(self, part: slice, weight: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """Some ReLUs relaxed as their outputs' coefficients ask, at what they read."""
        above = torch.addcmul(self.shift[:, part], read, self.chord[:, part])
        return torch.where(weight > 0, read * self.slopes[:, part], above)

    def copy(self) -> _Relaxation:
        """One that later steps leave as it is."""
        known = {v: replace(k, multipliers=k.multipliers.clone()) for v, k in self.known.items()}
        return replace(self, slopes=self.slopes.clone(), known=known)


@dataclass(frozen=True)
class Optimised:
    """The best that was found for ``L`` samples; neurons are numbered as in ``core.split_tree``.

    Attributes:
        lower: float32, shape ``(L, R)``, the rows' constants included.
        slopes: of ReLUs with an open phase, shape ``(L, R, neurons)``.
        multipliers: of known phases, shape ``(L, R, neurons)``.
        costs: how much bound each ReLU's relaxation costs at most, over the rows that are not
            positive, shape ``(L, neurons)``; 0 where the phase is known.
        gaps: how much of that it costs at the input at which a row's bound is lowest.
        coefficients: of the rows' bounds in the input, shape ``(L, R, inputs)``.
    """

    lower: Array
    slopes: Array
    multipliers: Array
    costs: Array
    gaps: Array
    coefficients: Array

    def take(self, samples: npt.NDArray[np.intp]) -> Optimised:
        """What was found for some of the samples."""
        return Optimised(
            self.lower[samples],
            self.slopes[samples],
            self.multipliers[samples],
            self.costs[samples],
            self.gaps[samples],
            self.coefficients[samples],
        )


class BackwardTwin:
    """The backward bound of one network.

    Args:
        network: the network.
        device: where to compute.

    Attributes:
        device: as given.
        relu_inputs: the values that ReLUs read, in order.

    Raises:
        UnsupportedOperatorError: an operator that the twin does not relax.
    """

    def __init__(self, network: Network, device: str = "cpu") -> None:
        for node in network.nodes:
            if not isinstance(node.operator, (*LINEAR, Relu)):
                name = type(node.operator).__name__
                raise UnsupportedOperatorError(f"{name} has no backward bound in torch")
        self._network = network
        self.device = device
        module = NetworkModule(network).to(device).requires_grad_(False)
        self._steps = module.steps()
        with torch.no_grad():
            self._constants = [self._at_zero(position) for position in range(len(self._steps))]
        self.relu_inputs = sorted(
            {n.inputs[0] for n in network.nodes if isinstance(n.operator, Relu)}
        )
        sizes = [int(np.prod(network.shapes[value])) for value in self.relu_inputs]
        ends = np.cumsum(sizes).tolist()
        starts = [0, *ends]
        self._neurons = {
            value: slice(start, end)
            for value, start, end in zip(self.relu_inputs, starts, ends, strict=False)
        }

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
        functionals, added, relaxation = self._started(
            boxes, rows, constants, signs, slopes, multipliers
        )
        best, kept = self._climbed(functionals, added, relaxation, steps)
        weights: dict[int, torch.Tensor] = {}
        at_input, total = self._push(functionals, self._network.output, kept, weights)
        _, lowest = _lowest(at_input, total, kept)
        costs, gaps = self._costs(weights, self._carried(lowest, weights, kept), kept)
        counts = (best <= 0)[:, None]
        dense = torch.zeros_like(kept.slopes)
        for value, known in kept.known.items():
            dense[:, self._neurons[value]].scatter_add_(1, known.places, known.multipliers)

        def of_samples(numbers: torch.Tensor) -> Array:
            return np.asarray(numbers.reshape(samples, count, -1).cpu().numpy())

        return Optimised(
            of_samples(best)[..., 0],
            of_samples(kept.slopes),
            of_samples(dense),
            of_samples(costs * counts).sum(axis=1),
            of_samples(gaps * counts).sum(axis=1),
            of_samples(at_input),
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
        functionals, added, relaxation = self._started(
            boxes, rows, constants, signs, slopes, multipliers
        )
        pushed = self._push(functionals, self._network.output, relaxation)
        found = _lowest(*pushed, relaxation)[0] + added
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
        relaxation = self._begin(boxes, len(functionals), None, None, None)
        wanted = self._tensor(functionals).reshape(-1, *self._network.shapes[value])
        coefficients, constants = self._push(wanted, value, relaxation)
        return coefficients.cpu().numpy(), constants.cpu().numpy()

    def _started(
        self,
        boxes: Mapping[int, Box],
        rows: npt.NDArray[np.float64],
        constants: npt.NDArray[np.float64] | None,
        signs: npt.NDArray[np.int8] | None,
        slopes: Array | None,
        multipliers: Array | None,
    ) -> tuple[torch.Tensor, torch.Tensor, _Relaxation]:
        """Functionals, their constants and the relaxation, as tensors."""
        samples, count = len(boxes[0]), rows.shape[-2]
        relaxation = self._begin(boxes, count, signs, slopes, multipliers)
        of_samples = np.broadcast_to(rows, (samples, *rows.shape[-2:]))
        functionals = self._tensor(of_samples).reshape(-1, *self._network.output_shape)
        given = np.zeros(count) if constants is None else constants
        added = self._tensor(np.broadcast_to(given, (samples, count))).reshape(-1)
        return functionals, added, relaxation

    def _climbed(
        self,
        functionals: torch.Tensor,
        added: torch.Tensor,
        relaxation: _Relaxation,
        steps: int,
    ) -> tuple[torch.Tensor, _Relaxation]:
        """The best bounds on the way, and what gave them."""
        free = relaxation.free
        optimiser = _Adam(free)
        kept = relaxation.copy()
        best = torch.full((len(functionals),), -torch.inf, device=self.device)
        for step in range(steps + 1):
            weights: dict[int, torch.Tensor] = {}
            pushed = self._push(functionals, self._network.output, relaxation, weights)
            lower, lowest = _lowest(*pushed, relaxation)
            lower = lower + added
            # A row that is positive stays as it is: what else is in the batch, and so goes
            # on, changes nothing for it.
            better = (lower > best) & (best <= 0)
            best = torch.where(better, lower, best)
            for old, new in zip(kept.free, free, strict=True):
                torch.where(better[:, None], new, old, out=old)
            if step == steps or not bool((best <= 0).any()):
                break
            carried = self._carried(lowest, weights, relaxation)
            optimiser.step(self._falls(weights, carried, relaxation))
            relaxation.slopes.clamp_(0, 1)
            for known in relaxation.known.values():
                known.multipliers.clamp_(min=0)
        return best, kept

    def _push(
        self,
        functionals: torch.Tensor,
        start: int,
        relaxation: _Relaxation,
        weights: dict[int, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Functionals of value ``start`` as affine lower bounds: coefficients and constants.

        ``weights`` is given the coefficients of the ReLUs' outputs.
        """
        count = len(functionals)
        total = torch.zeros(count, device=self.device)
        pending = {start: functionals}
        for value in range(start, 0, -1):
            if value not in pending:
                continue
            current = pending.pop(value)
            if value in relaxation.known:
                known = relaxation.known[value]
                more = -known.signs * known.multipliers
                flat = current.reshape(count, -1).scatter_add(1, known.places, more)
                current = flat.reshape(current.shape)
            layer, inputs = self._steps[value - 1]
            if isinstance(layer.operator, Relu):
                flat = current.reshape(count, -1)
                part = self._neurons[inputs[0]]
                above, below = flat.clamp(min=0), flat.clamp(max=0)
                pushed = (above * relaxation.slopes[:, part]).addcmul_(
                    below, relaxation.chord[:, part]
                )
                total = total + below.mul_(relaxation.shift[:, part]).sum(1)
                if weights is not None:
                    weights[value] = flat
                parts = [pushed.reshape(current.shape)]
            else:
                total = total + (current * self._constants[value - 1]).flatten(1).sum(1)
                parts = self._transposed(layer, inputs, current)
            for key, more in zip(inputs, parts, strict=True):
                pending[key] = pending[key] + more if key in pending else more
        at_input = pending.get(0, torch.zeros_like(relaxation.lower))
        return at_input.reshape(count, -1), total

    def _carried(
        self, lowest: torch.Tensor, weights: Mapping[int, torch.Tensor], relaxation: _Relaxation
    ) -> dict[int, torch.Tensor]:
        """Inputs carried forward through the relaxed network, to what ReLUs read.

        A bound is a functional at the input where it is lowest; what is carried there is the number
        by which a coefficient is multiplied, and so the bound's derivative in it.
        """
        carried = {}
        values = {0: lowest.reshape(-1, *self._network.input_shape)}
        for value in range(1, max(weights, default=0) + 1):
            layer, inputs = self._steps[value - 1]
            if not isinstance(layer.operator, Relu):
                values[value] = layer(*(values[key] for key in inputs))
                continue
            (key,) = inputs
            carried[key] = values[key].reshape(len(lowest), -1)
            # What nothing weighs may be anything.
            weight = weights.get(value, torch.ones_like(carried[key]))
            relaxed = relaxation.at(self._neurons[key], weight, carried[key])
            values[value] = relaxed.reshape(values[key].shape)
        return carried

    def _falls(
        self,
        weights: Mapping[int, torch.Tensor],
        carried: Mapping[int, torch.Tensor],
        relaxation: _Relaxation,
    ) -> list[torch.Tensor]:
        """The bounds' derivatives in what is free, with the sign turned."""
        slopes = torch.zeros_like(relaxation.slopes)
        for value, weight in weights.items():
            (key,) = self._steps[value - 1][1]
            slopes[:, self._neurons[key]].addcmul_(weight.clamp(min=0), carried[key], value=-1)
        slopes *= relaxation.is_open
        multipliers = (
            known.signs * carried[value].gather(1, known.places)
            for value, known in relaxation.known.items()
        )
        return [slopes, *multipliers]

    def _costs(
        self,
        weights: Mapping[int, torch.Tensor],
        carried: Mapping[int, torch.Tensor],
        relaxation: _Relaxation,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """How far the relaxations are from the ReLUs: at most, and at what is carried."""
        costs, gaps = torch.zeros_like(relaxation.slopes), torch.zeros_like(relaxation.slopes)
        for value, weight in weights.items():
            (key,) = self._steps[value - 1][1]
            part = self._neurons[key]
            # A triangle is highest at 0.
            costs[:, part] += weight.abs() * relaxation.shift[:, part]
            relaxed = relaxation.at(part, weight, carried[key])
            gaps[:, part] += (weight * (carried[key].clamp(min=0) - relaxed)).clamp(min=0)
        return costs, gaps * relaxation.is_open

    def _begin(
        self,
        boxes: Mapping[int, Box],
        count: int,
        signs: npt.NDArray[np.int8] | None,
        slopes: Array | None,
        multipliers: Array | None,
    ) -> _Relaxation:
        ends = [self._ends(boxes[value], count) for value in self.relu_inputs]
        nothing = [torch.zeros((len(boxes[0]) * count, 0), device=self.device)]
        lower, upper = (torch.cat([e[i] for e in ends] or nothing, dim=1) for i in range(2))
        is_open = (lower < 0) & (upper > 0)
        chord = torch.where(is_open, upper / (upper - lower).clamp(min=1e-30), lower >= 0)
        start = torch.where(is_open, upper >= -lower, chord)
        if slopes is not None:
            given = self._tensor(slopes).reshape(start.shape)
            start = torch.where(is_open & ~given.isnan(), given, start)
        shift = torch.where(is_open, -lower * chord, 0)
        known = {}
        if signs is not None and signs.any():
            dense = np.zeros((len(signs), count, signs.shape[1]), np.float32)
            dense = dense if multipliers is None else multipliers
            for value, part in self._neurons.items():
                if signs[:, part].any():
                    known[value] = self._known(signs[:, part], dense[:, :, part], count)
        return _Relaxation(*self._ends(boxes[0], count), is_open, chord, shift, start, known)

    def _known(self, signs: npt.NDArray[np.int8], multipliers: Array, count: int) -> _Known:
        """The phases of one value that are known."""
        most = int((signs != 0).sum(axis=1).max())
        places = np.argsort(signs == 0, axis=1, kind="stable")[:, :most]
        given = np.take_along_axis(multipliers, places[:, None], axis=2)
        of_places = self._tensor(np.take_along_axis(signs, places, axis=1))
        return _Known(
            torch.from_numpy(places).to(self.device).repeat_interleave(count, 0),
            of_places.repeat_interleave(count, 0),
            self._tensor(given).reshape(-1, most),
        )

    def _ends(self, box: Box, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        lower, upper = (
            self._tensor(end.reshape(len(box), -1)).repeat_interleave(count, 0)
            for end in (box.lower, box.upper)
        )
        return lower, upper

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self.device)

    def _at_zero(self, position: int) -> torch.Tensor:
        layer, inputs = self._steps[position]
        shapes = (self._network.shapes[value] for value in inputs)
        result = layer(*(torch.zeros((1, *shape), device=self.device) for shape in shapes))
        assert isinstance(result, torch.Tensor)
        return result

    def _transposed(
        self, layer: Layer, inputs: tuple[int, ...], coefficients: torch.Tensor
    ) -> list[torch.Tensor]:
        """A linear layer's transpose."""
        shapes = [self._network.shapes[value] for value in inputs]
        if isinstance(layer, AffineLayer):
            return [coefficients @ layer.weight]
        if isinstance(layer, ConvLayer):
            return [_transposed_convolution(layer, shapes[0], coefficients)]
        if isinstance(layer.operator, Add):
            return [coefficients, coefficients]
        if isinstance(layer.operator, Pad):
            return [coefficients[(slice(None), *layer.operator.inner(shapes[0]))]]
        # What torch.func offers for this imports for seconds, more than many queries take.
        zeros = [
            torch.zeros((len(coefficients), *shape), device=self.device, requires_grad=True)
            for shape in shapes
        ]
        with torch.enable_grad():
            result = layer(*zeros)
            pulled = torch.autograd.grad(result, zeros, coefficients)
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


def _lowest(
    at_input: torch.Tensor, total: torch.Tensor, relaxation: _Relaxation
) -> tuple[torch.Tensor, torch.Tensor]:
    """The least that affine functions are in the inputs' boxes, and where."""
    where = torch.where(at_input > 0, relaxation.lower, relaxation.upper)
    return total + (at_input * where).sum(1), where


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
