"""Networks run in binary32: every sum by a random tree, fused or not, flushed or not.

Written out number by number from the operators' definitions; shares no code with the library's
bounds. For tiny networks.
"""

from __future__ import annotations

from dataclasses import dataclass
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

F = np.float32
_SMALLEST_NORMAL = F(2.0**-126)


@dataclass
class Arithmetic:
    """One way of summing.

    Attributes:
        generator: chooses the trees.
        fused: products are not rounded before they are added to a partial sum.
        flush: subnormal operands and results are taken for zero.
    """

    generator: np.random.Generator
    fused: bool = False
    flush: bool = False

    def normal(self, value: F) -> F:
        """The number as this arithmetic reads or writes it."""
        return F(0) if self.flush and abs(value) < _SMALLEST_NORMAL else value

    def product(self, a: F, b: F) -> F:
        return self.normal(F(self.normal(a) * self.normal(b)))

    def sum(self, a: F, b: F) -> F:
        return self.normal(F(self.normal(a) + self.normal(b)))

    def multiply_add(self, a: F, b: F, c: F) -> F:
        """``a b + c``, rounded once: the product of two binary32 numbers is exact in binary64."""
        exact = np.float64(self.normal(a)) * np.float64(self.normal(b))
        return self.normal(F(exact + np.float64(self.normal(c))))

    def dot(self, products: list[tuple[F, F]], terms: list[F]) -> F:
        """The sum of some products and further terms, by a random tree."""
        products = [products[i] for i in self.generator.permutation(len(products))]
        sums = list(terms)
        if self.fused:
            # A few chains of fused operations, then their results are added.
            chains = [F(0)] * int(self.generator.integers(1, 4))
            for a, b in products:
                i = int(self.generator.integers(len(chains)))
                chains[i] = self.multiply_add(a, b, chains[i])
            sums += chains
        else:
            sums += [self.product(a, b) for a, b in products]
        while len(sums) > 1:
            i, j = self.generator.choice(len(sums), 2, replace=False)
            joined = self.sum(sums[i], sums[j])
            sums = [s for k, s in enumerate(sums) if k not in (i, j)] + [joined]
        return sums[0]


def run(network: Network, x: Any, arithmetic: Arithmetic) -> Any:
    """The network's output for one float32 input, as such hardware might compute it."""
    return run_all(network, x, arithmetic)[-1]


def run_all(network: Network, x: Any, arithmetic: Arithmetic) -> list[Any]:
    """Every value of the network for one float32 input, as such hardware might compute it."""
    values = [np.asarray(x, dtype=F)]
    for node in network.nodes:
        values.append(_apply(node.operator, [values[i] for i in node.inputs], arithmetic))
    return values


def _apply(operator: Operator, inputs: list[Any], arithmetic: Arithmetic) -> Any:
    (first, *others) = inputs
    match operator:
        case Affine():
            rows = [
                arithmetic.dot(list(zip(row, vector, strict=True)), [bias])
                for vector in first.reshape(-1, first.shape[-1])
                for row, bias in zip(operator.weight, operator.bias, strict=True)
            ]
            return np.array(rows, dtype=F).reshape(operator.output_shape(first.shape))
        case Conv():
            return _conv(operator, first, arithmetic)
        case MatMul():
            numbers = [
                arithmetic.dot(list(zip(row, column, strict=True)), [])
                for x, y in zip(_matrices(first), _matrices(others[0]), strict=True)
                for row in x
                for column in y.T
            ]
            shape = operator.output_shape(first.shape, others[0].shape)
            return np.array(numbers, dtype=F).reshape(shape)
        case Scale():
            scale = np.broadcast_to(operator.scale, first.shape)
            shift = np.broadcast_to(operator.shift, first.shape)
            numbers = [
                arithmetic.dot([(s, v)], [t])
                for s, v, t in zip(scale.flat, first.flat, shift.flat, strict=True)
            ]
            return np.array(numbers, dtype=F).reshape(first.shape)
        case Relu():
            return np.maximum(first, F(0))
        case LeakyRelu():
            slope = np.broadcast_to(operator.slope, first.shape)
            numbers = [
                arithmetic.product(s, v) if v < 0 else v
                for s, v in zip(slope.flat, first.flat, strict=True)
            ]
            return np.array(numbers, dtype=F).reshape(first.shape)
        case Clamp(lower=lower, upper=upper):
            return np.clip(first, F(lower), F(upper))
        case MaxPool():
            padded = np.pad(first, ((0, 0), *operator.pads), constant_values=F(-np.inf))
            shape = operator.output_shape(first.shape)
            windows = [padded[_window(operator, position)].max() for position in np.ndindex(*shape)]
            return np.array(windows, dtype=F).reshape(shape)
        case Add():
            pairs = zip(first.flat, others[0].flat, strict=True)
            return np.array([arithmetic.sum(a, b) for a, b in pairs], F).reshape(first.shape)
    return _moved(operator, inputs)


def _moved(operator: Operator, inputs: list[Any]) -> Any:
    (first, *_) = inputs
    match operator:
        case Reshape(shape=shape):
            return first.reshape(shape)
        case Transpose(permutation=permutation):
            return first.transpose(permutation)
        case Concat(axis=axis):
            return np.concatenate(inputs, axis)
        case Select(axis=axis, places=places):
            return first[(*[slice(None)] * axis, list(places))]
        case Pad():
            padded = np.full(operator.output_shape(first.shape), operator.fill, F)
            padded[operator.inner(first.shape)] = first
            return padded
    raise AssertionError(operator)


def _matrices(value: Any) -> Any:
    return value.reshape(-1, *value.shape[-2:])


def _window(operator: Conv | MaxPool, position: tuple[int, ...]) -> tuple[Any, ...]:
    """What lies under a window, in the padded input, for an output's channel and place."""
    channel, *places = position
    geometry = zip(places, operator.strides, operator.dilations, operator.kernel, strict=True)
    return (channel, *(slice(p * s, p * s + d * (k - 1) + 1, d) for p, s, d, k in geometry))


def _conv(operator: Conv, x: Any, arithmetic: Arithmetic) -> Any:
    padded = np.pad(x, ((0, 0), *operator.pads))
    shape = operator.output_shape(x.shape)
    result = np.empty(shape, dtype=F)
    inputs, outputs = operator.weight.shape[1], operator.weight.shape[0] // operator.groups
    for position in np.ndindex(*shape):
        channel = position[0]
        first = channel // outputs * inputs
        under = padded[(slice(first, first + inputs), *_window(operator, position)[1:])]
        products = list(zip(operator.weight[channel].flat, under.flat, strict=True))
        result[position] = arithmetic.dot(products, [operator.bias[channel]])
    return result
