"""An interpreter in exact rationals, and brute force over activation patterns: what is right.

Nothing here shares code with the library's bounds. Slow, and for tiny networks only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from asi_verify.core.bilinear import MatMul
from asi_verify.core.moves import Pad, Select
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
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh
from support import precise

Exact = Any  # an object array of Fractions


def exact(array: Any) -> Exact:
    """The array's numbers as Fractions."""
    flat = [Fraction(float(value)) for value in np.asarray(array).reshape(-1)]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(np.shape(array))


def apply(operator: Operator, *inputs: Exact) -> Exact:
    """One operator, without rounding; those that are not rational to 60 digits."""
    (first, *others) = inputs
    match operator:
        case Affine():
            return first.dot(exact(operator.weight).T) + exact(operator.bias)
        case Conv():
            return _conv(operator, first)
        case Scale():
            return first * exact(operator.scale) + exact(operator.shift)
        case Relu():
            return np.vectorize(lambda v: max(v, Fraction(0)), otypes=[object])(first)
        case LeakyRelu():
            slope = np.broadcast_to(exact(operator.slope), first.shape)
            return np.where(first < 0, slope * first, first)
        case Clamp(lower=lower, upper=upper):
            low, high = (Fraction(end) if np.isfinite(end) else None for end in (lower, upper))
            flat = [v if low is None else max(v, low) for v in first.reshape(-1)]
            flat = [v if high is None else min(v, high) for v in flat]
            return np.array(flat, dtype=object).reshape(first.shape)
        case Add():
            return first + others[0]
        case MatMul():
            return np.matmul(first, others[0])
        case MaxPool():
            result = np.empty(operator.output_shape(first.shape), dtype=object)
            for position in np.ndindex(*result.shape):
                result[position] = max(first[place] for place in under(operator, first, position))
            return result
        case Sigmoid() | Tanh() | Erf() | Gelu() | Softmax() | LayerNormalization():
            return precise.apply(operator, first)
    return _moved(operator, *inputs)


def _moved(operator: Operator, *inputs: Exact) -> Exact:
    (first, *_) = inputs
    match operator:
        case Reshape(shape=shape):
            return first.reshape(shape)
        case Transpose(permutation=permutation):
            return first.transpose(permutation)
        case Concat(axis=axis):
            return np.concatenate(inputs, axis)
        case Select(axis=axis, places=places):
            return np.stack([first.take(place, axis) for place in places], axis)
        case Pad():
            return _padded(operator, first)
    raise AssertionError(operator)


def _padded(operator: Pad, x: Exact) -> Exact:
    result = exact(np.full(operator.output_shape(x.shape), operator.fill))
    for position in np.ndindex(*x.shape):
        place = tuple(
            before + p * (gap + 1)
            for p, gap, (before, _) in zip(position, operator.between, operator.pads, strict=True)
        )
        result[place] = x[position]
    return result


def under(operator: MaxPool, x: Exact, position: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The places in a value that lie under one window, padding left out."""
    channel, *places = position
    found = []
    for offset in np.ndindex(*operator.kernel):
        source = tuple(
            place * stride - pads[0] + k * dilation
            for place, stride, pads, k, dilation in zip(
                places, operator.strides, operator.pads, offset, operator.dilations, strict=True
            )
        )
        if all(0 <= s < n for s, n in zip(source, x.shape[1:], strict=True)):
            found.append((channel, *source))
    return found


def _conv(operator: Conv, x: Exact) -> Exact:
    shape = operator.output_shape(x.shape)
    weight, bias = exact(operator.weight), exact(operator.bias)
    per_group_out = weight.shape[0] // operator.groups
    result = np.empty(shape, dtype=object)
    for position in np.ndindex(*shape):
        channel, places = position[0], position[1:]
        total = bias[channel]
        base = channel // per_group_out * weight.shape[1]
        for offset in np.ndindex(*weight.shape[1:]):
            source = [
                place * stride + k * dilation - pads[0]
                for place, stride, k, dilation, pads in zip(
                    places,
                    operator.strides,
                    offset[1:],
                    operator.dilations,
                    operator.pads,
                    strict=True,
                )
            ]
            inside = all(0 <= s < n for s, n in zip(source, x.shape[1:], strict=True))
            if inside:
                total = total + weight[(channel, *offset)] * x[(base + offset[0], *source)]
        result[position] = total
    return result


def evaluate(network: Network, x: Any) -> Exact:
    """The network's output for one input, without rounding."""
    return evaluate_all(network, x)[-1]


def evaluate_all(network: Network, x: Any) -> list[Exact]:
    """Every value of the network for one input, without rounding."""
    values = [exact(x)]
    for node in network.nodes:
        values.append(apply(node.operator, *(values[i] for i in node.inputs)))
    return values


MONOTONE = Relu | MaxPool | Reshape | Transpose | Add | Concat | Select | Pad | Clamp


def interval(network: Network, lower: Any, upper: Any) -> list[tuple[Exact, Exact]]:
    """Exact interval arithmetic: the best box of each value given the boxes before it."""
    boxes = [(exact(lower), exact(upper))]
    for node in network.nodes:
        inputs = [boxes[i] for i in node.inputs]
        if isinstance(node.operator, MatMul):
            low, high = _product(*inputs)
        elif isinstance(node.operator, LeakyRelu):
            ends = [*inputs[0], np.clip(Fraction(0), *inputs[0])]
            values = np.stack([apply(node.operator, end) for end in ends])
            low, high = values.min(axis=0), values.max(axis=0)
        elif isinstance(node.operator, MONOTONE):
            low = apply(node.operator, *(box[0] for box in inputs))
            high = apply(node.operator, *(box[1] for box in inputs))
        else:
            centre = (inputs[0][0] + inputs[0][1]) / Fraction(2)
            radius = (inputs[0][1] - inputs[0][0]) / Fraction(2)
            middle = apply(node.operator, centre)
            spread = apply(_magnitude(node.operator), radius)
            low, high = middle - spread, middle + spread
        boxes.append((low, high))
    return boxes


def _product(first: tuple[Exact, Exact], second: tuple[Exact, Exact]) -> tuple[Exact, Exact]:
    """Sums of products, each between its least and its largest corner."""
    corners = [x[..., :, :, None] * y[..., None, :, :] for x in first for y in second]
    return np.min(corners, axis=0).sum(axis=-2), np.max(corners, axis=0).sum(axis=-2)


def _magnitude(operator: Operator) -> Operator:
    """The operator with the magnitudes of its weights and no bias."""
    match operator:
        case Affine():
            return Affine(np.abs(operator.weight), np.zeros_like(operator.bias))
        case Conv():
            return Conv(
                np.abs(operator.weight),
                np.zeros_like(operator.bias),
                operator.strides,
                operator.pads,
                operator.dilations,
                operator.groups,
            )
        case Scale():
            return Scale(np.abs(operator.scale), np.zeros_like(operator.shift))
    raise AssertionError(operator)


@dataclass(frozen=True)
class _Linear:
    """An affine function of the input: coefficients ``(n,)`` and a constant."""

    coefficients: Exact
    constant: Fraction

    def __add__(self, other: _Linear | Fraction | int) -> _Linear:
        if isinstance(other, _Linear):
            return _Linear(self.coefficients + other.coefficients, self.constant + other.constant)
        return _Linear(self.coefficients, self.constant + other)

    __radd__ = __add__

    def __mul__(self, factor: Fraction) -> _Linear:
        return _Linear(self.coefficients * factor, self.constant * factor)

    __rmul__ = __mul__


def minimum(network: Network, lower: Any, upper: Any, row: Any) -> Fraction:
    """The smallest value of ``row @ network(x)`` over the box, exactly.

    On each activation pattern the network is affine on a polytope, so the minimum is attained at a
    vertex of one of them.
    """
    low, high = exact(lower).reshape(-1), exact(upper).reshape(-1)
    smallest: Fraction | None = None
    for constraints, outputs in _patterns(network, len(low)):
        objective = sum(
            (Fraction(float(c)) * output for c, output in zip(row, outputs, strict=True)),
            start=_Linear(exact(np.zeros(len(low))), Fraction(0)),
        )
        for vertex in _vertices(low, high, constraints):
            value = objective.coefficients.dot(vertex) + objective.constant
            smallest = value if smallest is None else min(smallest, value)
    assert smallest is not None
    return smallest


def _patterns(network: Network, size: int) -> Iterator[tuple[list[_Linear], list[_Linear]]]:
    """Every activation pattern: linear functions that are >= 0 on it, and the outputs on it."""
    identity = exact(np.eye(size))
    for pattern in itertools.product(*_choices(network)):
        phases = iter(pattern)
        first = np.empty(size, dtype=object)
        first[:] = [_Linear(identity[i], Fraction(0)) for i in range(size)]
        values = [first.reshape(network.input_shape)]
        constraints: list[_Linear] = []
        zero = _Linear(exact(np.zeros(size)), Fraction(0))
        for node in network.nodes:
            inputs = [values[i] for i in node.inputs]
            if isinstance(node.operator, Relu):
                result = np.empty_like(inputs[0])
                for position in np.ndindex(*inputs[0].shape):
                    active, z = next(phases), inputs[0][position]
                    constraints.append(z if active else z * Fraction(-1))
                    result[position] = z if active else zero
                values.append(result)
            elif isinstance(node.operator, MaxPool):
                result = np.empty(node.operator.output_shape(inputs[0].shape), dtype=object)
                for position in np.ndindex(*result.shape):
                    places = under(node.operator, inputs[0], position)
                    largest = inputs[0][next(phases)]
                    others = [inputs[0][p] for p in places if inputs[0][p] is not largest]
                    constraints += [largest + other * Fraction(-1) for other in others]
                    result[position] = largest
                values.append(result)
            else:
                values.append(apply(node.operator, *inputs))
        yield constraints, list(values[-1].reshape(-1))


def _choices(network: Network) -> Iterator[Sequence[Any]]:
    """For each ReLU whether it is active, for each window the place of its largest number."""
    for value, node in enumerate(network.nodes, start=1):
        for position in np.ndindex(*network.shapes[value]):
            if isinstance(node.operator, Relu):
                yield (True, False)
            if isinstance(node.operator, MaxPool):
                given = np.empty(network.shapes[node.inputs[0]])
                yield under(node.operator, given, position)


def _vertices(low: Exact, high: Exact, constraints: list[_Linear]) -> Iterator[Exact]:
    """All vertices of the part of the box in which every constraint is >= 0."""
    size = len(low)
    planes = [*constraints]
    for i in range(size):
        unit = exact(np.eye(size)[i])
        planes.append(_Linear(unit, -low[i]))
        planes.append(_Linear(unit * Fraction(-1), high[i]))
    for chosen in itertools.combinations(planes, size):
        point = _solve([list(p.coefficients) for p in chosen], [-p.constant for p in chosen])
        if point is None:
            continue
        if all(p.coefficients.dot(point) + p.constant >= 0 for p in planes):
            yield point


def _solve(matrix: list[list[Fraction]], right: list[Fraction]) -> Exact | None:
    """Gaussian elimination; None for a singular matrix."""
    size = len(matrix)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = next((r for r in range(column, size) if rows[r][column] != 0), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for other in range(size):
            if other != column and rows[other][column] != 0:
                factor = rows[other][column]
                rows[other] = [
                    a - factor * b for a, b in zip(rows[other], rows[column], strict=True)
                ]
    result = np.empty(size, dtype=object)
    result[:] = [row[-1] for row in rows]
    return result
