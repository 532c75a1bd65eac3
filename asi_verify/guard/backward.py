"""CROWN-IBP in a guard's graph: differences of logits, bounded by one linear backward pass.

What is computed, and why it is a bound in float32, stands in ``guard.backward_slack``: the letters
are those. Slopes follow the canonical rule of ``checker.relu`` and ``checker.max_pool``.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from asi_verify.core.network import Network
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
from asi_verify.errors import ModelError
from asi_verify.guard.backward_slack import BackwardSlack, terms_backward
from asi_verify.guard.forward import Forward, centre_and_width
from asi_verify.guard.slack import UNIT, LinearOperator, raised, terms_of
from asi_verify.guard.writer import Writer

__all__ = ["crown_ibp"]

_LEAST_WIDTH = 2.0**-100
"""Of what is divided by; any slope is right."""
_MOST_TAKEN = 1 << 26
"""Constants that take the numbers under the windows of one pooling: 256 MiB."""


def crown_ibp(network: Network, writer: Writer, forward: Forward, label: str) -> str:
    """Lower bounds of the label's logit less each other one, float32 ``(N, classes - 1)``.

    Args:
        network: one that ends in an affine layer.
        writer: of the graph.
        forward: every value but the logits, bounded.
        label: int64 ``(N, 1)``.

    Raises:
        ModelError: coefficients could overflow, a sum has too many terms, or a pooling is too wide.
    """
    return _Backward(network, writer, forward).differences(label)


class _Backward:
    """The pass under way; coefficients have the shape ``(N, R, size)``, sums ``(N, R, 1)``."""

    def __init__(self, network: Network, writer: Writer, forward: Forward) -> None:
        self._network = network
        self._writer = writer
        self._forward = forward
        self._slack = BackwardSlack.of(network, forward.largest)
        self._classes = max(2, network.logits)
        self._magnitudes: dict[int, str] = {}
        self._sums: list[str] = []
        self._spreads: list[str] = []

    def differences(self, label: str) -> str:
        """Lower bounds, float32 ``(N, R)``."""
        writer, last = self._writer, self._network.nodes[-1]
        (value,) = last.inputs
        if not isinstance(last.operator, Affine):
            raise TypeError("a network that ends in an affine layer is expected")
        d, e, spread = self._slack.last(last.operator)
        rows, size = self._classes - 1, self._size(value)
        coefficients = self._of_label(d, label, size)
        self._sums.append(self._of_label(e, label, 1))
        each = writer.operator(spread, [self._largest(value)], (size,))
        chosen = writer.of_label(each, label, self._classes)
        self._spreads.append(writer.node("Reshape", [chosen, writer.integers(-1, rows, 1)]))
        pending, terms = {value: coefficients}, {value: 1}
        for read in range(value, 0, -1):
            if read not in pending:
                continue
            node = self._network.nodes[read - 1]
            pushed = self._pushed(read, node.operator, node.inputs, pending.pop(read))
            summed = terms_backward(node.operator, terms.pop(read))
            for source, given in zip(node.inputs, pushed, strict=True):
                if source in pending:
                    terms[source] += summed
                    pending[source] = self._joined(source, pending[source], given, terms[source])
                else:
                    pending[source], terms[source] = given, summed
        self._at_the_image(pending[0])
        lower = writer.node("Sub", [self._total(self._sums), self._total(self._spreads)])
        return writer.node("Reshape", [lower, writer.integers(-1, rows)])

    def _total(self, addends: list[str]) -> str:
        """Their sum, ``(N, R, 1)``: by itself, so that no dot product is summed into it."""
        every = self._writer.node("Concat", addends, axis=2)
        return self._writer.node("ReduceSum", [every, self._writer.integers(2)], keepdims=1)

    def _of_label(self, table: npt.NDArray[np.float32], label: str, size: int) -> str:
        """What a table of all pairs holds for the label, ``(N, R, size)``."""
        writer, rows = self._writer, self._classes - 1
        each = writer.integers(self._classes, rows * size)
        labels = writer.node("Reshape", [writer.constant(table), each])
        chosen = writer.node("Gather", [labels, label])
        return writer.node("Reshape", [chosen, writer.integers(-1, rows, size)])

    def _pushed(
        self, value: int, operator: Operator, inputs: tuple[int, ...], a: str
    ) -> tuple[str, ...]:
        """Coefficients on what an operator reads, for those on what it puts out."""
        writer = self._writer
        match operator:
            case Affine() | Conv() | Scale():
                return (self._through_layer(value, operator, inputs[0], a),)
            case Relu():
                return (self._through_relu(inputs[0], a),)
            case MaxPool():
                return (self._through_pool(value, operator, inputs[0], a),)
            case Add():
                return self._through_sum(value, inputs, a)
            case Reshape():
                return (a,)
            case Transpose(permutation=permutation):
                back = np.argsort(permutation) + 1
                moved = writer.node(
                    "Transpose", [self._folded(a, value)], perm=[0, *map(int, back)]
                )
                return (self._flat(moved, inputs[0]),)
            case Concat(axis=axis):
                return self._parts(value, axis, inputs, a)
            case _:
                raise TypeError(f"no backward rule for {type(operator).__name__}")

    def _through_layer(self, value: int, operator: LinearOperator, source: int, a: str) -> str:
        writer, size = self._writer, self._size(value)
        shape = self._network.shapes[source]
        factor, spread = self._slack.layer(operator, size)
        weighed = writer.node("Mul", [self._largest(source), writer.number(factor)])
        weights = writer.operator(spread, [weighed], shape)
        self._add_spread(writer.node("Abs", [a]), weights, size, terms_of(operator))
        bias = _bias(operator, self._network.shapes[value])
        if bias.any():
            self._add(writer.node("MatMul", [a, writer.constant(bias.reshape(size, 1))]))
        folded = self._folded(a, value)
        match operator:
            case Affine(weight=weight) if len(shape) == 1:
                pushed = writer.node("Gemm", [folded, writer.constant(weight)])
            case Affine(weight=weight):
                pushed = writer.node("MatMul", [folded, writer.constant(weight)])
            case Conv():
                pushed = writer.transposed(operator, folded, shape)
            case Scale(scale=scale):
                pushed = writer.node("Mul", [folded, writer.constant(scale)])
        return self._flat(pushed, source)

    def _through_relu(self, source: int, a: str) -> str:
        writer, box = self._writer, self._forward.values[source]
        zero, one = writer.number(0), writer.number(1)
        low, high = writer.node("Min", [box.lower, zero]), writer.node("Max", [box.upper, zero])
        depth = writer.node("Neg", [low])
        width = writer.node("Max", [writer.node("Sub", [high, low]), writer.number(_LEAST_WIDTH)])
        chord = writer.node("Div", [high, width])
        from_below = writer.node("Cast", [writer.node("GreaterOrEqual", [high, depth])], to=1)
        height = writer.node(
            "Max",
            [
                writer.node("Mul", [chord, depth]),
                writer.node("Mul", [writer.node("Sub", [one, chord]), high]),
            ],
        )
        rounding = writer.node("Mul", [self._largest(source), writer.number(raised(2 * UNIT))])
        lost = writer.node("Add", [height, writer.node("Mul", [chord, rounding])])
        rising, falling = writer.node("Max", [a, zero]), writer.node("Min", [a, zero])
        self._add_spread(writer.node("Neg", [falling]), lost, self._size(source), 0)
        return writer.node(
            "Add",
            [
                writer.node("Mul", [rising, self._row(from_below, source)]),
                writer.node("Mul", [falling, self._row(chord, source)]),
            ],
        )

    def _through_sum(self, value: int, inputs: tuple[int, ...], a: str) -> tuple[str, ...]:
        writer = self._writer
        longest = max(self._forward.terms[source] for source in inputs)
        both = writer.node("Add", [self._largest(source) for source in inputs])
        weights = writer.node("Mul", [both, writer.number(self._slack.deployed_sum(longest))])
        self._add_spread(writer.node("Abs", [a]), weights, self._size(value), 0)
        return (a, a)

    def _through_pool(self, value: int, operator: MaxPool, source: int, a: str) -> str:
        writer, shape = self._writer, self._network.shapes[source]
        box, size, kernel = (
            self._forward.values[source],
            self._size(value),
            math.prod(operator.kernel),
        )
        if shape[0] * kernel**2 > _MOST_TAKEN:
            raise ModelError(
                f"the backward pass takes {shape[0]} x {kernel} x {kernel} constants for a max "
                f"pooling; at most {_MOST_TAKEN} are supported; make the guard by intervals"
            )
        gather, inside = _windows(operator, shape)
        windows = len(inside[0])
        nothing, zero, one = writer.number(-np.inf), writer.number(0), writer.number(1)
        at_windows = writer.integers(0, shape[0], kernel, windows)

        def under(ends: str) -> str:
            """The numbers under each window, ``(N, C, kernel, windows)``; padding never is."""
            found = writer.node("Reshape", [writer.operator(gather, [ends], shape), at_windows])
            return writer.node("Where", [writer.constant(inside), found, nothing])

        def largest(numbers: str) -> str:
            return writer.node("ReduceMax", [numbers], axes=[2], keepdims=1)

        def is_first_largest(numbers: str) -> str:
            place = writer.node("ArgMax", [numbers], axis=2, keepdims=1)
            places = np.arange(kernel, dtype=np.int64).reshape(1, 1, kernel, 1)
            return writer.node("Equal", [place, writer.constant(places)])

        lower, upper = under(box.lower), under(box.upper)
        highest = writer.node("Equal", [lower, largest(lower)])
        below = is_first_largest(writer.node("Where", [highest, upper, nothing]))
        top = is_first_largest(upper)
        others = largest(writer.node("Where", [top, nothing, upper]))
        of_top = largest(writer.node("Where", [top, lower, nothing]))
        is_open = writer.node("Less", [of_top, others])
        low, high, rest = (
            writer.node("Where", [is_open, number, zero])
            for number in (of_top, largest(upper), others)
        )
        width = writer.node("Max", [writer.node("Sub", [high, low]), writer.number(_LEAST_WIDTH)])
        slope = writer.node("Div", [writer.node("Sub", [high, rest]), width])
        chord = writer.node("Where", [is_open, slope, one])
        height = writer.node(
            "Max",
            [
                writer.node("Sub", [rest, writer.node("Mul", [chord, low])]),
                writer.node("Mul", [writer.node("Sub", [one, chord]), high]),
            ],
        )
        rising, falling = writer.node("Max", [a, zero]), writer.node("Min", [a, zero])
        self._add(writer.node("MatMul", [falling, self._column(height, value)]))
        largest_under = writer.operator(operator, [self._largest(source)], shape)
        rounding = writer.node("Mul", [largest_under, writer.number(self._slack.window(kernel))])
        of_sum = writer.number(raised(self._slack.of_sum(size)))
        summed = writer.node("Mul", [writer.node("Abs", [height]), of_sum])
        weights = writer.node("Add", [self._column(rounding, value), self._column(summed, value)])
        self._add_spread(writer.node("Abs", [a]), weights, size, 0)

        per_window = writer.integers(0, -1, shape[0], 1, windows)
        per_number = writer.integers(0, 1, shape[0], kernel, windows)

        def spread_out(coefficients: str, share: str) -> str:
            return writer.node(
                "Mul",
                [
                    writer.node("Reshape", [coefficients, per_window]),
                    writer.node("Reshape", [share, per_number]),
                ],
            )

        on_below = writer.node("Cast", [below], to=1)
        on_top = writer.node("Mul", [writer.node("Cast", [top], to=1), chord])
        pushed = writer.node("Add", [spread_out(rising, on_below), spread_out(falling, on_top)])
        spatial = self._network.shapes[value][1:]
        channels = writer.integers(-1, shape[0] * kernel, *spatial)
        folded = writer.node("Reshape", [pushed, channels])
        return self._flat(writer.transposed(gather, folded, shape), source)

    def _parts(self, value: int, axis: int, inputs: tuple[int, ...], a: str) -> tuple[str, ...]:
        writer, folded, start = self._writer, self._folded(a, value), 0
        found = []
        for source in inputs:
            end = start + self._network.shapes[source][axis]
            ends = [writer.integers(number) for number in (start, end, axis + 1)]
            found.append(self._flat(writer.node("Slice", [folded, *ends]), source))
            start = end
        return tuple(found)

    def _joined(self, value: int, first: str, second: str, terms: int) -> str:
        """The sum of the coefficients that two readers of a value have.

        Args:
            value: which.
            first: those of one.
            second: those of the other.
            terms: of the sums that both are made of.
        """
        writer = self._writer
        both = writer.node("Add", [writer.node("Abs", [first]), writer.node("Abs", [second])])
        factor = writer.number(self._slack.joined(terms))
        rounding = writer.node("Mul", [self._largest(value), factor])
        self._add_spread(both, rounding, self._size(value), 2)
        return writer.node("Add", [first, second])

    def _at_the_image(self, a: str) -> None:
        writer, size = self._writer, self._size(0)
        centre, width = centre_and_width(writer, self._forward.values[0])
        self._add(writer.node("MatMul", [a, self._column(centre, 0)]))
        on_width = writer.number(raised((1 + 2 * UNIT) / 2))
        on_centre = writer.number(raised(2 * UNIT + self._slack.of_sum(size)))
        weights = writer.node(
            "Add",
            [
                writer.node("Mul", [width, on_width]),
                writer.node("Mul", [writer.node("Abs", [centre]), on_centre]),
            ],
        )
        self._add_spread(writer.node("Abs", [a]), weights, size, 0)

    def _add(self, terms: str) -> None:
        """To ``P``; the caller adds to ``Q`` what the sums of these terms are off by."""
        self._sums.append(terms)

    def _add_spread(self, magnitudes: str, weights: str, numbers: int, terms: int) -> None:
        """To ``Q``: a dot product for each functional, of nonnegative numbers.

        Args:
            magnitudes: ``|a|``.
            weights: one for each number of the value, for each image.
            numbers: how many the value has.
            terms: of the sum that each weight is.
        """
        writer = self._writer
        column = writer.node("Reshape", [weights, writer.integers(0, numbers, 1)])
        product = writer.node("MatMul", [magnitudes, column])
        enlarge = writer.number(self._slack.enlarge(numbers, terms))
        self._spreads.append(writer.node("Mul", [product, enlarge]))

    def _largest(self, value: int) -> str:
        """``X``, of the value's shape."""
        if value not in self._magnitudes:
            writer, box = self._writer, self._forward.values[value]
            depth = writer.node("Neg", [box.lower])
            self._magnitudes[value] = writer.node("Max", [box.upper, depth])
        return self._magnitudes[value]

    def _size(self, value: int) -> int:
        return math.prod(self._network.shapes[value])

    def _column(self, numbers: str, value: int) -> str:
        shape = self._writer.integers(0, self._size(value), 1)
        return self._writer.node("Reshape", [numbers, shape])

    def _row(self, numbers: str, value: int) -> str:
        """For all functionals of an image, ``(N, 1, size)``."""
        shape = self._writer.integers(0, 1, self._size(value))
        return self._writer.node("Reshape", [numbers, shape])

    def _folded(self, a: str, value: int) -> str:
        """Coefficients in the value's shape, ``(N R, *shape)``."""
        shape = self._writer.integers(-1, *self._network.shapes[value])
        return self._writer.node("Reshape", [a, shape])

    def _flat(self, folded: str, value: int) -> str:
        """Coefficients as they are kept, from ``(N R, *shape)``."""
        shape = self._writer.integers(-1, self._classes - 1, self._size(value))
        return self._writer.node("Reshape", [folded, shape])


def _bias(operator: LinearOperator, shape: Shape) -> npt.NDArray[np.float32]:
    """``b`` in the shape of the layer's output."""
    match operator:
        case Affine(bias=bias):
            found = np.broadcast_to(bias, shape)
        case Conv(bias=bias):
            found = np.broadcast_to(bias.reshape(-1, *(1 for _ in shape[1:])), shape)
        case Scale(shift=shift):
            found = np.broadcast_to(shift, shape)
    return np.asarray(found, dtype=np.float32)


def _windows(operator: MaxPool, shape: Shape) -> tuple[Conv, npt.NDArray[np.bool_]]:
    """What takes the numbers under each window, and where they are no padding.

    Returns:
        A convolution with one output channel for each channel and place of the kernel; and a mask
        of shape ``(kernel, windows)``.
    """
    channels, kernel = shape[0], math.prod(operator.kernel)
    one_each = np.eye(kernel, dtype=np.float32).reshape(kernel, 1, *operator.kernel)
    gather = Conv(
        np.tile(one_each, (channels, *(1 for _ in one_each.shape[1:]))),
        np.zeros(channels * kernel, dtype=np.float32),
        operator.strides,
        operator.pads,
        operator.dilations,
        channels,
    )
    spatial = operator.output_shape(shape)[1:]
    inside = np.ones((kernel, *spatial), dtype=np.bool_)
    for place, offsets in enumerate(itertools.product(*map(range, operator.kernel))):
        for axis, offset in enumerate(offsets):
            start = np.arange(spatial[axis]) * operator.strides[axis] - operator.pads[axis][0]
            found = start + offset * operator.dilations[axis]
            is_inside = (found >= 0) & (found < shape[axis + 1])
            inside[place] &= is_inside.reshape(-1, *(1 for _ in spatial[axis + 1 :]))
    return gather, inside.reshape(kernel, -1)
