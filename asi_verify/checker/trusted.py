"""The trusted pass: lower bounds on a property's rows over boxes, rigorous in float32 or the reals.

Forward, every value of the network gets a box by interval arithmetic. Backward, the property's rows
are pushed from the output towards the input as linear functionals:

- *intervals*: through linear operators only, down to the outputs of the last that are not, where
  the boxes finish them. Merging the property into the last linear layers this way is what makes
  differences of logits tight;
- *linear*: through every operator down to the input, those that are not linear relaxed linearly
  (CROWN; with interval boxes for their inputs, CROWN-IBP).

Every verdict of this library rests on the numbers returned here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.arithmetic import ETA, LIMIT, LIMIT32, UNIT, down, enlarged
from asi_verify.checker.reach import carried, lowest_over
from asi_verify.checker.relu import ReluRule
from asi_verify.checker.rules import Functionals, Rule, largest_magnitude, largest_of_each
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box, flushed
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.limits import LARGEST_PASS
from asi_verify.core.network import Network
from asi_verify.core.operators import Relu, largest_step
from asi_verify.core.properties import Property
from asi_verify.core.reach import Reach, take, told_of
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ModelError

__all__ = ["Advice", "Bounds", "TrustedPass"]

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

# Bytes of coefficients and boxes that one step may hold at once; batches are cut to fit. Small
# enough for a processor's cache, which keeps some ten such arrays: twice as much takes half longer.
_WORKING_SET = 4 << 20


@dataclass(frozen=True)
class Bounds:
    """Boxes of every value of a network, for a batch of boxes of inputs.

    Attributes:
        boxes: one float64 box per value, value 0 the input.
        sound: shape ``(B,)``. Where False some bound left the range in which the error analysis
            holds; the sample's boxes are then meaningless and nothing is proved of it.
        empty: shape ``(B,)``. Where True, and ``sound``, no input of the sample's box gives values
            that all lie where they are known to lie.
        reach: what else is known of the inputs, or of the first means that are made of them.
    """

    boxes: tuple[Box, ...]
    sound: npt.NDArray[np.bool_]
    empty: npt.NDArray[np.bool_]
    reach: Reach | None = None

    def take(self, rows: slice | npt.NDArray[np.intp]) -> Bounds:
        """The bounds of some samples, as a batch again."""
        boxes, reach = tuple(box[rows] for box in self.boxes), take(self.reach, rows)
        return Bounds(boxes, self.sound[rows], self.empty[rows], reach)


@dataclass(frozen=True)
class Advice:
    """What a backward pass may use besides the boxes; nothing in it has to be believed.

    Keys are the values that ReLUs read; arrays have the shape ``(P, size)``, one row for each
    functional in the order of ``Functionals.one_per_sample``.

    Attributes:
        slopes: from below, for open phases; NaN where the canonical rule holds.
        multipliers: what is added to the coefficients. Where it is not 0 the number is known to
            have the other sign, or to be 0: then the sum is at most the functional.
    """

    slopes: Mapping[int, Array] = field(default_factory=dict)
    multipliers: Mapping[int, Array] = field(default_factory=dict)

    def take(self, functionals: slice) -> Advice:
        """The advice for some functionals."""
        return Advice(
            {value: array[functionals] for value, array in self.slopes.items()},
            {value: array[functionals] for value, array in self.multipliers.items()},
        )


NO_ADVICE = Advice()


class _Total:
    """A running sum of lower-bound terms and of their errors."""

    def __init__(self, constant: Array) -> None:
        self.constant = constant
        self.error = np.zeros_like(constant)
        self.terms = 1

    def add(self, constant: Array | float, error: Array | float) -> None:
        self.constant = self.constant + constant
        # The addition just made is off by at most one unit of roundoff of its result.
        self.error = self.error + (error + 2 * UNIT * np.abs(self.constant))
        self.terms += 2

    def lower(self) -> Array:
        return down(self.constant - enlarged(self.error, self.terms))

    def for_each(self, batch: int, count: int) -> None:
        """One entry per sample and functional, in the order of ``Functionals.one_per_sample``."""
        self.constant = np.broadcast_to(self.constant, (batch, count)).reshape(-1)
        self.error = np.broadcast_to(self.error, (batch, count)).reshape(-1)


class TrustedPass:
    """The trusted pass over one network; built once, used for any number of boxes.

    Args:
        network: the network.
        semantics: what arithmetic it is run in; every bound holds under these.

    Attributes:
        rules: one per node of the network.

    Raises:
        UnsupportedOperatorError: an operator has no trusted rule.
        ModelError: the passes would need too much memory (``core.limits.LARGEST_PASS``).
    """

    def __init__(self, network: Network, semantics: Semantics) -> None:
        self.network = network
        self.semantics = semantics
        _refuse_too_large(network)
        self.rules = _rules(network, semantics)
        self._sizes = [math.prod(shape) for shape in network.shapes]
        self._total = sum(self._sizes)
        self._relaxed = _values_behind_a_relaxation(network, self.rules)

    @cached_property
    def neurons(self) -> dict[int, slice]:
        """For each value that a ReLU reads, in order, the numbers of its neurons."""
        read = {n.inputs[0] for n in self.network.nodes if isinstance(n.operator, Relu)}
        ends = np.cumsum([math.prod(self.network.shapes[value]) for value in sorted(read)]).tolist()
        return {
            value: slice(start, end)
            for value, start, end in zip(sorted(read), [0, *ends], ends, strict=False)
        }

    def margins(
        self,
        box: Box,
        property_: Property,
        evidence: IntervalEvidence | LinearEvidence,
        reach: Reach | None = None,
    ) -> Array:
        """A lower bound on the property's rows, taken together, over each box.

        The property is proved of a sample where the bound is above 0.

        Args:
            box: float32 or float64, shape ``(B, *input_shape)``.
            property_: one property for all samples of the batch.
            evidence: which pass to make.
            reach: what else is known of the inputs.

        Returns:
            Shape ``(B,)``; -inf where the error analysis does not hold. Never NaN.
        """
        result = np.empty(len(box))
        for part in self.batches(len(box)):
            bounds = self.bounds(box[part], evidence.intermediate, reach=take(reach, part))
            lower = self.rows(bounds, property_, to_input=isinstance(evidence, LinearEvidence))
            result[part] = property_.overall(lower)
        return result

    def enclosure(self, box: Box) -> Box:
        """A float64 box that holds the logits of every input in the box, by intervals.

        Raises:
            ValueError: a bound left the range in which the error analysis holds.
        """
        lower = np.empty((len(box), *self.network.output_shape))
        upper = np.empty_like(lower)
        for part in self.batches(len(box)):
            bounds = self.bounds(box[part], Intermediate.INTERVAL)
            if not bool(bounds.sound.all()):
                raise ValueError("the logits leave the range in which bounds can be computed")
            lower[part], upper[part] = bounds.boxes[-1].lower, bounds.boxes[-1].upper
        return Box(lower, upper)

    def bounds(
        self,
        box: Box,
        intermediate: Intermediate,
        known: Sequence[tuple[Floats, Floats]] | None = None,
        reach: Reach | None = None,
    ) -> Bounds:
        """Boxes of every value: the forward pass.

        Args:
            box: shape ``(B, *input_shape)``, float32 or float64.
            intermediate: ``BACKWARD`` also makes a backward pass of its own for the input of every
                ReLU whose phase intervals leave open, of every smooth operator and of products of
                two values, and keeps the tighter of the two.
            known: lower and upper bounds for every value; the boxes are then those of the inputs
                for which every value lies between its own.
            reach: what else is known of the inputs. Boxes are loose then from the first layer on,
                and ``BACKWARD`` tightens there too.

        Raises:
            ValueError: the boxes are not of the network's input shape.
        """
        if box.shape != self.network.input_shape:
            raise ValueError(f"boxes of shape {box.shape} for inputs {self.network.input_shape}")
        first = Box(box.lower.astype(np.float64), box.upper.astype(np.float64))
        sound, empty = np.ones(len(box), dtype=np.bool_), np.zeros(len(box), dtype=np.bool_)
        first = first if known is None else _meet(first, *known[0], empty)
        first = flushed(first) if self.semantics is Semantics.FLOAT32 else first
        boxes = [_within_limit(first, sound)]
        reach = carried(reach, self.network, self.rules, boxes[0])
        for node, rule in zip(self.network.nodes, self.rules, strict=True):
            for value in dict.fromkeys(node.inputs):
                loose = self._relaxed[value] or reach is not None
                if intermediate is Intermediate.BACKWARD and loose:
                    worth_it = rule.open_numbers(boxes[value])
                    if worth_it is not None:
                        so_far = Bounds(tuple(boxes), sound, empty, reach)
                        boxes[value] = self._tightened(so_far, value, worth_it)
            inputs = [boxes[value] for value in node.inputs]
            if self.semantics is Semantics.FLOAT32:
                sound &= rule.largest_sum(*inputs) <= LIMIT32
            found = _within_limit(rule.interval(*inputs), sound)
            boxes.append(found if known is None else _meet(found, *known[len(boxes)], empty))
        # A whole box of inputs is never empty: bounds that say so are wrong and prove nothing.
        sound = sound & ~empty if known is None else sound
        return Bounds(tuple(boxes), sound, empty, reach)

    def local_errors(self, bounds: Bounds) -> tuple[Array | None, ...]:
        """For each value at least ``|y - f(x)|``, ``x`` as really computed; None if it is exact."""
        found = (
            rule.local_error(*(bounds.boxes[value] for value in node.inputs))
            for node, rule in zip(self.network.nodes, self.rules, strict=True)
        )
        return (None, *found)

    def rows(
        self,
        bounds: Bounds,
        property_: Property,
        *,
        to_input: bool,
        advice: Advice = NO_ADVICE,
    ) -> Array:
        """Lower bounds on every row of a property, shape ``(B, R)``; see ``lower``."""
        rows = property_.rows().reshape(-1, *self.network.output_shape)
        lower = self.lower(bounds, rows, to_input=to_input, advice=advice)
        constants = property_.constants()
        # One rounding more where there is something to add.
        return np.where(constants == 0, lower, down(lower + constants))

    def lower(
        self, bounds: Bounds, rows: Array, *, to_input: bool, advice: Advice = NO_ADVICE
    ) -> Array:
        """Lower bounds on linear functionals of the output: the backward pass.

        Args:
            bounds: boxes of every value, from ``bounds``.
            rows: shape ``(R, *output_shape)``, asked of every sample.
            to_input: push through every operator down to the input; otherwise stop at the outputs
                of those that are not linear.
            advice: slopes and multipliers for ``B * R`` functionals; used on the way to the input.

        Returns:
            Shape ``(B, R)``; -inf where the error analysis does not hold. Never NaN.
        """
        samples, count = len(bounds.sound), len(rows)
        result = np.empty((samples, count))
        functionals, output = Functionals(rows.astype(np.float64), None), self.network.output
        largest = max(self._sizes[told_of(bounds.reach) :])
        for part in self._batches(samples, 4 * count * largest if to_input else self._total):
            some = advice.take(slice(part.start * count, part.stop * count))
            result[part] = self._push_back(bounds.take(part), functionals, output, to_input, some)
        return result

    def _push_back(
        self,
        bounds: Bounds,
        functionals: Functionals,
        start: int,
        to_input: bool,
        advice: Advice = NO_ADVICE,
    ) -> Array:
        """Lower bounds on functionals of value ``start``.

        The invariant before each step: for every input in its box, the wanted functional is at
        least the sum of the pending functionals of their values, plus the total's constant, minus
        its error.
        """
        batch, count = len(bounds.sound), len(functionals.coefficients)
        shared = functionals.owners is None
        total = _Total(np.zeros((batch, count)) if shared else np.zeros(count))
        usable = np.ones(count, dtype=np.bool_)
        pending = {start: functionals}
        ends = {0: None, told_of(bounds.reach): bounds.reach}
        for value in range(start, -1, -1):
            if value not in pending:
                continue
            current = _refuse_beyond_limit(pending.pop(value), usable)
            if value in ends:
                total.add(lowest_over(ends[value], current, bounds.boxes[value]), 0.0)
                continue
            rule, inputs = self.rules[value - 1], self.network.nodes[value - 1].inputs
            if rule.relaxes and not to_input:
                total.add(current.lowest(bounds.boxes[value]), 0.0)
                continue
            if (rule.relaxes or value in advice.multipliers) and current.owners is None:
                # What follows differs from sample to sample: from here on each has its own.
                pending = {key: rest.one_per_sample(batch) for key, rest in pending.items()}
                current = current.one_per_sample(batch)
                total.for_each(batch, count)
                usable = np.tile(usable, batch)
            if value in advice.multipliers:
                more = advice.multipliers[value].reshape(current.coefficients.shape)
                known = Functionals(more, current.owners)
                current = _merge(current, known, bounds.boxes[value], total)
            boxes = [bounds.boxes[key] for key in inputs]
            if isinstance(rule, ReluRule):
                pushed = rule.push_back(current, *boxes, slopes=advice.slopes.get(inputs[0]))
            else:
                pushed = rule.push_back(current, *boxes)
            total.add(pushed.constant, pushed.error)
            for key, coefficients in zip(inputs, pushed.inputs, strict=True):
                new = Functionals(coefficients, current.owners)
                pending[key] = (
                    _merge(pending[key], new, bounds.boxes[key], total) if key in pending else new
                )
        # Shared functionals have one row of results per sample, whether or not they were split up.
        form = (-1, count) if functionals.owners is None else (-1,)
        proves = usable.reshape(form) & functionals.of_owner(bounds.sound)
        lower = total.lower().reshape(form)
        return np.where(proves & np.isfinite(lower), lower, -np.inf)

    def _tightened(self, bounds: Bounds, value: int, worth_it: npt.NDArray[np.bool_]) -> Box:
        """The box of a value, with a backward pass for each number that is worth it."""
        box = bounds.boxes[value]
        lower, upper = (end.reshape(len(box), -1).copy() for end in (box.lower, box.upper))
        samples, numbers = np.nonzero(worth_it.reshape(lower.shape))
        for part in self._batches(len(samples), 4 * max(self._sizes[told_of(bounds.reach) :])):
            owners, chosen = samples[part], numbers[part]
            some = bounds.take(slice(owners[0], owners[-1] + 1))  # they are in order
            for sign, bound in ((1.0, lower), (-1.0, upper)):
                one_hot = np.where(np.arange(lower.shape[1]) == chosen[:, None], sign, 0.0)
                functionals = Functionals(one_hot.reshape(-1, *box.shape), owners - owners[0])
                found = self._push_back(some, functionals, value, to_input=True)
                bound[owners, chosen] = sign * found
        form = box.lower.shape
        return _meet(box, lower.reshape(form), upper.reshape(form), bounds.empty)

    def batches(self, samples: int) -> Iterator[slice]:
        """Slices of samples whose boxes fit into the working set together."""
        return self._batches(samples, self._total)

    @staticmethod
    def _batches(count: int, numbers_each: int) -> Iterator[slice]:
        size = max(1, _WORKING_SET // (8 * numbers_each))
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))


def _refuse_too_large(network: Network) -> None:
    """Refuse a network before its passes allocate what it asks for."""
    step = max(
        largest_step(node.operator, *(network.shapes[value] for value in node.inputs))
        for node in network.nodes
    )
    outputs = int(np.prod(network.output_shape))
    if step * outputs > LARGEST_PASS:
        raise ModelError(
            f"{outputs} outputs of a network with up to {step} numbers in one step are too many "
            f"for a backward pass, which may hold {LARGEST_PASS}; use a smaller model"
        )


def _rules(network: Network, semantics: Semantics) -> tuple[Rule, ...]:
    """One rule per node; sums know the length of the sums that they may be taken into."""
    terms = [0]
    rules = []
    for node in network.nodes:
        shapes = (network.shapes[value] for value in node.inputs)
        summed = max(terms[value] for value in node.inputs)
        rule = rule_for(node.operator, semantics, *shapes, summed=summed)
        rules.append(rule)
        # A runtime may exchange a sum with what only moves numbers before it.
        terms.append(summed if rule.moves else rule.terms_forward)
    return tuple(rules)


def _values_behind_a_relaxation(network: Network, rules: tuple[Rule, ...]) -> tuple[bool, ...]:
    """For each value, whether a relaxation lies before it; else intervals are tight enough."""
    behind = [False]
    for node, rule in zip(network.nodes, rules, strict=True):
        behind.append(rule.relaxes or any(behind[v] for v in node.inputs))
    return tuple(behind)


def _within_limit(box: Box, sound: npt.NDArray[np.bool_]) -> Box:
    """The box, with samples that leave the range of the error analysis marked and set to 0."""
    inside = largest_of_each(box) <= LIMIT
    if bool(inside.all()):
        return box
    sound &= inside
    mask = inside.reshape(-1, *([1] * len(box.shape)))
    return Box(np.where(mask, box.lower, 0.0), np.where(mask, box.upper, 0.0))


def _meet(box: Box, lower: Floats, upper: Floats, empty: npt.NDArray[np.bool_]) -> Box:
    """The part of a box between further bounds; samples of which none is left are marked."""
    met_lower, met_upper = np.maximum(box.lower, lower), np.minimum(box.upper, upper)
    crossed = (met_lower > met_upper).reshape(len(box), -1).any(axis=1)
    if not bool(crossed.any()):
        return Box(met_lower, met_upper)
    empty |= crossed
    mask = crossed.reshape(-1, *([1] * len(box.shape)))
    return Box(np.where(mask, box.lower, met_lower), np.where(mask, box.upper, met_upper))


def _refuse_beyond_limit(functionals: Functionals, usable: npt.NDArray[np.bool_]) -> Functionals:
    """The functionals, with those that left the range of the error analysis marked and set to 0."""
    # Written so that a NaN counts as beyond the limit.
    inside = (np.abs(functionals.flat) <= LIMIT).all(axis=1)
    if bool(inside.all()):
        return functionals
    usable &= inside
    mask = inside.reshape(-1, *([1] * (functionals.coefficients.ndim - 1)))
    return Functionals(np.where(mask, functionals.coefficients, 0.0), functionals.owners)


def _merge(first: Functionals, second: Functionals, box: Box, total: _Total) -> Functionals:
    """The sum of two functionals of one value, with its rounding added to the error."""
    merged = Functionals(first.coefficients + second.coefficients, first.owners)
    reach = enlarged(merged.absolute().dot(largest_magnitude(box)), merged.size)
    total.add(0.0, enlarged(2 * UNIT * reach, 1) + 2 * merged.size * ETA)
    return merged
