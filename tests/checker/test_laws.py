"""The two laws of the trusted rules, as ``checker.rules`` states them, in exact rationals.

What a network's margin hides, a single rule shows: boxes without width, sums that lose their small
terms, biases far larger than products, products that underflow, weights off by all of their slack.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact
from support.networks import seeds

from asi_verify.checker import TrustedPass
from asi_verify.checker.rules import Functionals
from asi_verify.checker.trusted import rule_for
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Conv,
    Relu,
    Reshape,
    Scale,
    Transpose,
    map_weights,
)

SLACK = 2.0**-20
MANY = 4096


def normal(generator, *shape):
    return generator.normal(size=shape).astype(np.float32)


def conv(generator):
    """Two groups of two inputs and three outputs; kernel, stride, dilation and padding uneven."""
    return Conv(
        normal(generator, 6, 2, 3, 2), normal(generator, 6), (2, 1), ((1, 0), (0, 2)), (1, 2), 2
    )


OPERATORS = {
    "affine": (lambda g: Affine(normal(g, 4, 5), normal(g, 4)), [(5,)]),
    "affine, large bias": (
        lambda g: Affine(normal(g, 30, 2) * np.float32(1e-12), normal(g, 30)),
        [(2,)],
    ),
    "conv": (conv, [(4, 4, 4)]),
    "conv, large bias": (
        lambda g: map_weights(conv(g), lambda a: a * np.float32(1e-12 if a.ndim > 1 else 1)),
        [(4, 4, 4)],
    ),
    "scale": (lambda g: Scale(normal(g, 3, 1), normal(g, 3, 2)), [(3, 2)]),
    "scale, large shift": (
        lambda g: Scale(np.float32([1e-12]), normal(g, 40)),
        [(40,)],
    ),
    "add": (lambda g: Add(), [(40,), (40,)]),
    "relu": (lambda g: Relu(), [(60,)]),
    "reshape": (lambda g: Reshape((2, 9)), [(3, 2, 3)]),
    "transpose": (lambda g: Transpose((1, 2, 0)), [(3, 3, 3)]),
}


def boxes(generator, shapes):
    """Two boxes for each input, on both sides of 0; a third of the numbers have no width."""
    made = []
    for shape in shapes:
        centre = generator.normal(size=(2, *shape))
        reach = np.maximum(generator.normal(size=(2, *shape)), 0)
        made.append(Box(centre - reach, centre + reach))
    return made


def corners(generator, box):
    """Some corners of a box, exact."""
    for upper in (0.0, 1.0, 0.5, 0.5, 0.5):
        takes_upper = generator.random(box.lower.shape) < upper
        yield exact.exact(np.where(takes_upper, box.upper, box.lower))


def off_by_its_slack(operator, generator):
    """An operator that holds what was stored, and one whose weights are off by all of the slack."""
    names = {Affine: "weight", Conv: "weight", Scale: "scale"}
    name = names.get(type(operator))
    if name is None:
        return operator, operator
    stored = map_weights(operator, lambda a: a.astype(np.float64))
    # 24 bits by 21 bits: the product is exact.
    signs = np.where(generator.random(getattr(stored, name).shape) < 0.5, -1.0, 1.0)
    moved = map_weights(stored, np.copy)
    object.__setattr__(moved, name, getattr(stored, name) * (1 + SLACK * signs))
    object.__setattr__(stored, "slack", SLACK)
    return stored, moved


def keeps_the_interval_law(operator, truth, given, generator):
    """If every input lies in its box, the output lies in the returned box."""
    found = rule_for(operator, *(box.shape for box in given)).interval(*given)
    for points in zip(*(corners(generator, box) for box in given), strict=True):
        for sample in range(len(found)):
            value = exact.apply(truth, *(point[sample] for point in points))
            assert np.all(exact.exact(found.lower[sample]) <= value)
            assert np.all(value <= exact.exact(found.upper[sample]))


def keeps_the_backward_law(operator, truth, given, coefficients, generator):
    """``a . f(x) >= sum_k b_k . x_k + constant - error`` for every input in its box."""
    samples, count = len(given[0]), len(coefficients)
    functionals = Functionals(coefficients, None).one_per_sample(samples)
    rule = rule_for(operator, *(box.shape for box in given))
    found = rule.push_back(functionals, *given)
    numbers = [np.broadcast_to(part, (samples * count,)) for part in (found.constant, found.error)]
    for points in zip(*(corners(generator, box) for box in given), strict=True):
        outputs = [exact.apply(truth, *(x[sample] for x in points)) for sample in range(samples)]
        for which, sample in enumerate(functionals.owners):
            a = exact.exact(functionals.flat[which])
            pushed = [exact.exact(part[which]).reshape(-1) for part in found.inputs]
            inputs, output = [x[sample].reshape(-1) for x in points], outputs[sample].reshape(-1)
            if isinstance(operator, Relu):
                inputs = [lowest_corner(a, pushed[0], given[0][[sample]])]
                output = exact.apply(truth, *inputs)
            constant, error = (Fraction(float(part[which])) for part in numbers)
            parts = [b.dot(x) for b, x in zip(pushed, inputs, strict=True)]
            assert a.dot(output) >= sum(parts, constant) - error


def lowest_corner(a, b, box):
    """The point of a box at which ``a relu(z) - b z`` is smallest, number by number."""
    low, high = exact.exact(box.lower[0]), exact.exact(box.upper[0])
    ends = [low, np.minimum(np.maximum(low, Fraction(0)), high), high]
    values = [a * exact.apply(Relu(), end) - b * end for end in ends]
    best = [min(range(3), key=lambda k, i=i: values[k][i]) for i in range(len(a))]
    return np.array([ends[k][i] for i, k in enumerate(best)], dtype=object)


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=seeds)
def test_every_rule_keeps_the_interval_law(name, seed):
    """If every input lies in its box, the output lies in the returned box."""
    generator = np.random.default_rng(seed)
    make, shapes = OPERATORS[name]
    operator, given = make(generator), boxes(generator, shapes)
    keeps_the_interval_law(operator, operator, given, generator)
    keeps_the_interval_law(*off_by_its_slack(operator, generator), given, generator)


@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=seeds)
def test_every_rule_keeps_the_backward_law(name, seed):
    """``a . f(x) >= sum_k b_k . x_k + constant - error`` for every input in its box."""
    generator = np.random.default_rng(seed)
    make, shapes = OPERATORS[name]
    operator, given = make(generator), boxes(generator, shapes)
    coefficients = generator.normal(size=(2, *operator.output_shape(*shapes)))
    keeps_the_backward_law(operator, operator, given, coefficients, generator)
    stored, moved = off_by_its_slack(operator, generator)
    keeps_the_backward_law(stored, moved, given, coefficients, generator)


def lost(count):
    """1, and numbers that vanish when they are added to it one after the other."""
    return np.array([1.0] + [2.0**-54] * (count - 1))


def point(*numbers):
    values = np.array([numbers])
    return Box(values, values.copy())


def test_terms_that_a_long_sum_loses_are_covered():
    """One by one, 4096 terms of half a unit of roundoff change nothing; together they do."""
    generator = np.random.default_rng(0)
    ones = point(*np.ones(MANY))
    for sign in (1, -1):
        wide = Affine((sign * lost(MANY)[None]).astype(np.float32), np.zeros(1, np.float32))
        keeps_the_interval_law(wide, wide, [ones], generator)
        tall = Affine(np.ones((MANY, 1), np.float32), np.zeros(MANY, np.float32))
        keeps_the_backward_law(tall, tall, [point(1.0)], sign * lost(MANY)[None], generator)
        shift = Affine(np.zeros((MANY, 1), np.float32), np.ones(MANY, np.float32))
        keeps_the_backward_law(shift, shift, [point(1.0)], sign * lost(MANY)[None], generator)
        size = math.isqrt(MANY)
        kernel = (sign * lost(MANY)).astype(np.float32).reshape(1, 1, size, size)
        one = (1, 1)
        square = Conv(kernel, np.zeros(1, np.float32), one, ((0, 0),) * 2, one)
        image = np.ones((1, 1, size, size))
        keeps_the_interval_law(square, square, [Box(image, image.copy())], generator)


@pytest.mark.parametrize("sign", [1, -1])
def test_terms_that_the_last_sum_loses_are_covered(sign):
    """The functional that reaches the input is multiplied with it once more, and that rounds."""
    network = Network.sequential((MANY,), [Reshape((MANY,))])
    trusted = TrustedPass(network)
    box = point(*np.ones(MANY))
    row = sign * lost(MANY)[None]
    bound = trusted.lower(trusted.bounds(box, Intermediate.INTERVAL), row, to_input=True)
    assert Fraction(float(bound.item())) <= sum(exact.exact(row[0]))


@pytest.mark.parametrize("sign", [1, -1])
def test_products_that_underflow_are_covered(sign):
    """64 products of 0.4 of the smallest number above 0 are each computed as 0."""
    generator = np.random.default_rng(0)
    smallest, part = 2.0**-1074, np.float32(0.4)
    wide = Affine(np.full((1, 64), sign * part), np.zeros(1, np.float32))
    keeps_the_interval_law(wide, wide, [point(*np.full(64, smallest))], generator)
    tall = Affine(np.full((64, 1), sign * part), np.zeros(64, np.float32))
    keeps_the_backward_law(tall, tall, [point(1.0)], np.full((1, 64), smallest), generator)
    box = Box(np.full((1, 64), -smallest), np.full((1, 64), smallest))
    keeps_the_backward_law(Relu(), Relu(), [box], np.full((1, 64), 0.4 * sign), generator)


def bounds(network, box, row):
    """The lower bound of a row by each kind of pass."""
    trusted = TrustedPass(network)
    for intermediate in Intermediate:
        for to_input in (True, False):
            found = trusted.lower(trusted.bounds(box, intermediate), row, to_input=to_input)
            yield Fraction(float(found.item()))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_error_of_every_rule_is_counted(sign):
    """Two layers whose exact weights are smaller than the stored ones by all of their slack."""
    stored = Affine(np.eye(2), np.zeros(2), SLACK)
    moved = Affine(np.eye(2) * (1 - sign * SLACK), np.zeros(2))
    box = point(1.0, 1.0)
    truth = exact.evaluate(Network.sequential((2,), [moved, moved]), box.lower[0]).sum()
    for bound in bounds(Network.sequential((2,), [stored, stored]), box, np.full((1, 2), sign)):
        assert bound <= sign * truth


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rounding_of_every_merged_branch_is_counted(sign):
    """60 residual sums, each of which adds less to a coefficient of 1 than a float can show."""
    small = Affine(np.float32([[-sign * 2.0**-54 * 0.99]]), np.zeros(1, np.float32))
    nodes = []
    for block in range(60):
        nodes += [Node(small, (2 * block,)), Node(Add(), (2 * block, 2 * block + 1))]
    network = Network((1,), tuple(nodes))
    truth = sign * exact.evaluate(network, np.float32([1.0])).item()
    for bound in bounds(network, point(1.0), np.array([[sign]])):
        assert bound <= truth


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rounding_of_every_added_constant_is_counted(sign):
    """200 shifts, each of which takes less from 1 than a float can show."""
    small = Scale(np.float32([1.0]), np.float32([-sign * 2.0**-55]))
    last = Scale(np.float32([1.0]), np.float32([sign]))
    network = Network.sequential((1,), [*[small] * 200, last])
    truth = sign * exact.evaluate(network, np.float32([0.0])).item()
    for bound in bounds(network, point(0.0), np.array([[sign]])):
        assert bound <= truth


def test_coefficients_beyond_the_range_of_the_analysis_prove_nothing():
    """Though every value stays inside it: the inputs are tiny."""
    large = Affine(np.array([[1e80]]), np.zeros(1))
    network = Network.sequential((1,), [large, large])
    box = Box(np.array([[-1e-45]]), np.array([[0.0]]))
    found = TrustedPass(network).bounds(box, Intermediate.INTERVAL)
    assert found.sound.all()
    trusted = TrustedPass(network)
    for to_input in (True, False):
        assert trusted.lower(found, np.array([[1.0]]), to_input=to_input).item() == -np.inf
