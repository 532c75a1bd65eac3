"""The two laws of the trusted rules, as ``checker.rules`` states them, in exact rationals.

What a network's margin hides, a single rule shows: boxes without width, sums that lose their small
terms, biases far larger than products, products that underflow, weights off by all of their slack.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact
from support.networks import layer_norm, seeds

from asi_verify.checker import TrustedPass
from asi_verify.checker.rules import Functionals
from asi_verify.checker.table import rule_for
from asi_verify.core.bilinear import MatMul
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.moves import Pad, Select
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Erf, Gelu, Sigmoid, Softmax, Tanh
from asi_verify.core.weights import map_weights

REAL = Semantics.REAL
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
    "affine of matrices": (lambda g: Affine(normal(g, 4, 3), normal(g, 4)), [(2, 2, 3)]),
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
    "matmul": (lambda g: MatMul(), [(2, 3, 4), (2, 4, 2)]),
    "products": (lambda g: MatMul(), [(20, 1, 1), (20, 1, 1)]),
    "relu": (lambda g: Relu(), [(60,)]),
    "leaky relu": (lambda g: LeakyRelu(normal(g, 5, 1)), [(5, 12)]),
    "clamp": (lambda g: Clamp(-0.75, 0.5), [(60,)]),
    "clamp from above": (lambda g: Clamp(-np.inf, 0.25), [(60,)]),
    "max pool": (
        lambda g: MaxPool((3, 2), (1, 2), ((1, 0), (0, 1)), (1, 1)),
        [(2, 5, 5)],
    ),
    "max pool, dilated": (lambda g: MaxPool((2, 2), (1, 1), ((1, 1), (0, 0)), (2, 1)), [(3, 4, 3)]),
    "max pool of lines": (lambda g: MaxPool((3,), (1,), ((2, 1),), (2,)), [(2, 9)]),
    "max pool of volumes": (
        lambda g: MaxPool((2, 1, 2), (1, 2, 1), ((0, 1), (0, 0), (1, 0)), (1, 1, 1)),
        [(1, 3, 3, 3)],
    ),
    "max pool of single numbers": (lambda g: MaxPool((1,), (2,), ((0, 0),), (1,)), [(2, 5)]),
    "concat": (lambda g: Concat(0, 3), [(2, 3), (1, 3), (4, 3)]),
    "concat, last axis": (lambda g: Concat(2, 2), [(2, 3, 1), (2, 3, 4)]),
    "sigmoid": (lambda g: Sigmoid(), [(40,)]),
    "tanh": (lambda g: Tanh(), [(40,)]),
    "erf": (lambda g: Erf(), [(40,)]),
    "gelu": (lambda g: Gelu(), [(40,)]),
    "gelu by tanh": (lambda g: Gelu(tanh=True), [(40,)]),
    "softmax": (lambda g: Softmax(1), [(2, 5, 3)]),
    "layer norm": (lambda g: layer_norm(g, 4, 2), [(3, 4, 2)]),
    "select": (lambda g: Select(1, (3, 0, 2)), [(2, 4, 2)]),
    "select, more than once": (lambda g: Select(0, (1, 1, 0, 1, 3)), [(4, 3)]),
    "pad": (lambda g: Pad(((1, 0), (0, 2)), (0, 0), 0.7109375), [(3, 2)]),
    "pad, zeros": (lambda g: Pad(((0, 1), (2, 0), (0, 0)), (0, 1, 3)), [(2, 3, 2)]),
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


def corners(generator, given):
    """Some corners of boxes, exact, one of each at a time."""
    is_point = all(np.array_equal(box.lower, box.upper) for box in given)
    for upper in [0.0] if is_point else [0.0, 1.0, 0.5, 0.5, 0.5]:
        takes_upper = [generator.random(box.lower.shape) < upper for box in given]
        yield [
            exact.exact(np.where(takes, box.upper, box.lower))
            for takes, box in zip(takes_upper, given, strict=True)
        ]


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
    found = rule_for(operator, REAL, *(box.shape for box in given)).interval(*given)
    for points in corners(generator, given):
        for sample in range(len(found)):
            value = exact.apply(truth, *(point[sample] for point in points))
            assert np.all(exact.exact(found.lower[sample]) <= value)
            assert np.all(value <= exact.exact(found.upper[sample]))


def keeps_the_backward_law(operator, truth, given, coefficients, generator):
    """``a . f(x) >= sum_k b_k . x_k + constant - error`` for every input in its box."""
    samples, count = len(given[0]), len(coefficients)
    functionals = Functionals(coefficients, None).one_per_sample(samples)
    rule = rule_for(operator, REAL, *(box.shape for box in given))
    found = rule.push_back(functionals, *given)
    numbers = [np.broadcast_to(part, (samples * count,)) for part in (found.constant, found.error)]
    for points in corners(generator, given):
        outputs = [exact.apply(truth, *(x[sample] for x in points)) for sample in range(samples)]
        for which, sample in enumerate(functionals.owners):
            a = exact.exact(functionals.flat[which])
            pushed = [exact.exact(part[which]).reshape(-1) for part in found.inputs]
            inputs, output = [x[sample].reshape(-1) for x in points], outputs[sample].reshape(-1)
            if isinstance(operator, Relu | LeakyRelu | Clamp):
                inputs = [lowest_corner(operator, a, pushed[0], given[0][[sample]])]
                output = exact.apply(truth, *inputs).reshape(-1)
                inputs = [inputs[0].reshape(-1)]
            constant, error = (Fraction(float(part[which])) for part in numbers)
            parts = [b.dot(x) for b, x in zip(pushed, inputs, strict=True)]
            assert a.dot(output) >= sum(parts, constant) - error


def lowest_corner(operator, a, b, box):
    """The point of a box at which ``a f(z) - b z`` is smallest, number by number."""
    low, high = exact.exact(box.lower[0]), exact.exact(box.upper[0])
    kinks = (operator.lower, operator.upper) if isinstance(operator, Clamp) else (0,)
    inner = [Fraction(kink) for kink in kinks if np.isfinite(kink)]
    ends = [low, *(np.minimum(np.maximum(low, kink), high) for kink in inner), high]
    values = np.stack([(a * exact.apply(operator, end).reshape(-1) - b * end.reshape(-1))
                       for end in ends])  # fmt: skip
    best = values.argmin(axis=0)
    chosen = np.array([ends[k].reshape(-1)[i] for i, k in enumerate(best)], dtype=object)
    return chosen.reshape(low.shape)


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


WINDOWS = {
    "apart": [(0, 1), (2, 3), (-2, -1)],
    "touching": [(0, 1), (1, 2), (-1, 0)],
    "overlapping": [(-1, 2), (0, 1), (-3, 1.5)],
    "one inside all others": [(-1, 1), (-2, 3), (-3, 2)],
    "all alike": [(-1, 1), (-1, 1), (-1, 1)],
    "mostly above": [(0, 4), (-1, 1), (0.5, 0.75)],
    "behind a relu": [(0, 1), (0, 3), (0, 2)],
    "dead, behind a relu": [(0, 0), (0, 0), (0, 0)],
    "points": [(1, 1), (2, 2), (2, 2)],
    "a point above": [(0, 1), (1, 1), (0.5, 0.75)],
    "a point at the upper ends": [(0, 2), (2, 2), (1, 2)],
    "a point in between": [(0, 2), (1, 1), (-1, 1.5)],
    "negative": [(-5, -2), (-4, -3), (-3.5, -1)],
    "no float": [(-0.1, 0.7), (0.3, 1 / 3), (-1 / 7, 0.6)],
}
"""Boxes of the three numbers under a window."""


@pytest.mark.parametrize("a", [1.0, -1.0, 0.3, -1 / 3, 0.0])
@pytest.mark.parametrize("name", WINDOWS)
def test_the_bound_of_a_maximum_holds_where_it_is_weakest(name, a):
    """``a y - b . x`` is piecewise linear; each corner of its pieces has all ``x_j`` at bounds."""
    for bounds in itertools.permutations(WINDOWS[name]):
        low, high = (np.array([[ends]], dtype=np.float64) for ends in zip(*bounds, strict=True))
        rule = rule_for(MaxPool((3,), (1,), ((0, 0),), (1,)), REAL, (1, 3))
        found = rule.push_back(Functionals(np.full((1, 1, 1), a), np.array([0])), Box(low, high))
        (b,) = (exact.exact(part[0, 0]) for part in found.inputs)
        rest = Fraction(float(found.constant[0])) - Fraction(float(found.error[0]))
        ends = sorted({Fraction(end) for both in bounds for end in both})
        inside = [[end for end in ends if lower <= end <= upper] for lower, upper in bounds]
        slack = [
            Fraction(a) * max(x) - b.dot(np.array(x, dtype=object)) - rest
            for x in itertools.product(*inside)
        ]
        assert min(slack) >= 0
        # Equal where one number is the largest throughout, and never off by more than the bounds.
        lowers, uppers = zip(*bounds, strict=True)
        if any(lowers[i] >= max(np.delete(uppers, i)) for i in range(3)):
            assert max(slack) < 1e-12
        assert max(slack) <= abs(a) * (max(uppers) - min(lowers)) + 1e-12


@pytest.mark.parametrize("sign", [1, -1])
def test_coefficients_of_windows_that_share_an_input_are_summed_with_their_rounding(sign):
    """256 windows choose the same number; all but the first coefficient vanish in the sum."""
    count = 256
    values = np.full((1, 1, 2 * count - 1), -1.0)
    values[0, 0, count - 1] = 1.0
    pool, box = MaxPool((count,), (1,), ((0, 0),), (1,)), Box(values, values.copy())
    keeps_the_backward_law(
        pool, pool, [box], sign * lost(count)[None, None], np.random.default_rng(0)
    )


def test_constants_of_open_windows_are_summed_with_their_rounding():
    """Between -1 and 1 each window adds its upper bound; after the first they vanish in the sum."""
    pool, shape = MaxPool((2,), (2,), ((0, 0),), (1,)), (1, 1, 2 * MANY)
    box = Box(np.full(shape, -1.0), np.full(shape, 1.0))
    rule = rule_for(pool, REAL, shape[1:])
    a = -lost(MANY)
    found = rule.push_back(Functionals(a[None, None], np.array([0])), box)
    assert not np.any(found.inputs[0])
    bound = Fraction(float(found.constant[0])) - Fraction(float(found.error[0]))
    assert bound <= sum(exact.exact(a))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_maxima_of_products_that_underflow_are_covered(sign):
    """Bounds and coefficients near the smallest number above 0."""
    smallest = 2.0**-1074
    low = np.tile([-smallest, 0.0], 32)[None, None]
    box = Box(low, low + 2 * smallest)
    pool = MaxPool((2,), (2,), ((0, 0),), (1,))
    coefficients = np.full((1, 1, 32), 0.4 * sign)
    keeps_the_backward_law(pool, pool, [box], coefficients, np.random.default_rng(0))


@pytest.mark.parametrize("sign", [1, -1])
def test_coefficients_of_a_place_that_is_taken_often_are_summed_with_their_rounding(sign):
    """All but the first of 4096 coefficients vanish in the sum."""
    repeated = Select(0, (0,) * MANY)
    keeps_the_backward_law(
        repeated, repeated, [point(1.0)], sign * lost(MANY)[None], np.random.default_rng(0)
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_coefficients_of_what_is_put_around_are_summed_with_their_rounding(sign):
    """As above, of 4096 ones around a number; also where all samples share the functional."""
    around, box = Pad(((0, MANY),), (0,), 1.0), point(0.0)
    coefficients = sign * np.concatenate([[0.0], lost(MANY)])[None]
    keeps_the_backward_law(around, around, [box], coefficients, np.random.default_rng(0))
    rule = rule_for(around, REAL, (1,))
    found = rule.push_back(Functionals(coefficients, None), box)
    assert found.constant.shape == found.error.shape == (1, 1)
    bound = Fraction(float(found.constant.item())) - Fraction(float(found.error.item()))
    assert bound <= sum(exact.exact(coefficients[0]))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("shapes", [((1, 1), (1, MANY)), ((MANY, 1), (1, 1))])
def test_coefficients_of_many_products_with_one_number_are_summed_with_their_rounding(shapes, sign):
    """As above, of 4096 columns that one number is multiplied with, or rows."""
    ones = [Box(np.ones((1, *shape)), np.ones((1, *shape))) for shape in shapes]
    coefficients = sign * lost(MANY).reshape(1, *MatMul().output_shape(*shapes))
    keeps_the_backward_law(MatMul(), MatMul(), ones, coefficients, np.random.default_rng(0))


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
    trusted = TrustedPass(network, REAL)
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
    trusted = TrustedPass(network, REAL)
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
    found = TrustedPass(network, REAL).bounds(box, Intermediate.INTERVAL)
    assert found.sound.all()
    trusted = TrustedPass(network, REAL)
    for to_input in (True, False):
        assert trusted.lower(found, np.array([[1.0]]), to_input=to_input).item() == -np.inf


# In float32: every value that binary32 arithmetic may give, in any order.

FLOAT32 = Semantics.FLOAT32
UNIT32 = 2.0**-24
SMALLEST_NORMAL32 = 2.0**-126


def keeps_the_laws_in_float32(operator, truth, inputs, y, coefficients, given=None):
    """All laws but that of the largest sum, for inputs and a ``y`` that the semantics allow.

    The boxes of the inputs are those numbers alone unless others are given.
    """
    given = given or [Box(x[None].astype(np.float64), x[None].astype(np.float64)) for x in inputs]
    rule = rule_for(operator, FLOAT32, *(box.shape for box in given))
    box, local = rule.interval(*given), rule.local_error(*given)
    assert np.all(exact.exact(box.lower[0]).reshape(-1) <= y)
    assert np.all(y <= exact.exact(box.upper[0]).reshape(-1))
    off = np.abs(y - exact.apply(truth, *map(exact.exact, inputs)).reshape(-1))
    assert np.all(off <= exact.exact(local[0]).reshape(-1))
    pushed = rule.push_back(Functionals(coefficients, None).one_per_sample(1), *given)
    size = len(coefficients)
    numbers = [np.broadcast_to(part, (1, size))[0] for part in (pushed.constant, pushed.error)]
    for which in range(size):
        parts = [
            exact.exact(b[which]).reshape(-1).dot(exact.exact(x).reshape(-1))
            for b, x in zip(pushed.inputs, inputs, strict=True)
        ]
        constant, error = (Fraction(float(part[which])) for part in numbers)
        assert exact.exact(coefficients[which]).reshape(-1).dot(y) >= sum(parts, constant) - error


def rounded(value, generator):
    """A number in binary32; a subnormal one may be flushed to 0."""
    nearest = np.float32(float(value))
    flushed = abs(nearest) < SMALLEST_NORMAL32 and generator.random() < 0.5
    return Fraction(0) if flushed else Fraction(float(nearest))


def some_sum(terms, generator):
    """One of the values of a sum in binary32, and its largest partial sum.

    Products are rounded or fused into an addition; the additions make a random tree, or are made
    one after the other.
    """
    parts = [rounded(term, generator) if generator.random() < 0.5 else term for term in terms]
    generator.shuffle(parts)
    one_by_one = generator.random() < 0.5
    largest = Fraction(0)
    while len(parts) > 1:
        other = 1 if one_by_one else int(generator.integers(1, len(parts)))
        parts[0] = rounded(parts[0] + parts.pop(other), generator)
        largest = max(largest, abs(parts[0]))
        if not one_by_one:
            parts.append(parts.pop(0))
    return rounded(parts[0], generator), largest


def matrix_and_bias(operator, shapes):
    """A linear operator written out: exact, ``(out, in)`` over all inputs, and ``(out,)``."""
    zeros = [exact.exact(np.zeros(shape)) for shape in shapes]
    bias = exact.apply(operator, *zeros).reshape(-1)
    columns = []
    for which, shape in enumerate(shapes):
        for number in np.ndindex(*shape):
            unit = [zero.copy() for zero in zeros]
            unit[which][number] = Fraction(1)
            columns.append(exact.apply(operator, *unit).reshape(-1) - bias)
    return np.array(columns).T, bias


LINEAR = [name for name in OPERATORS if name.startswith(("affine", "conv", "scale", "add"))]


@pytest.mark.parametrize("name", LINEAR)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(seed=seeds)
def test_every_rule_keeps_its_laws_in_float32(name, seed):
    """Also "no partial sum exceeds twice the largest one", for random orders of the operations."""
    generator = np.random.default_rng(seed)
    make, shapes = OPERATORS[name]
    operator = make(generator)
    inputs = [normal(generator, *shape) for shape in shapes]
    matrix, bias = matrix_and_bias(operator, shapes)
    numbers = np.concatenate([exact.exact(x).reshape(-1) for x in inputs])
    sums = [
        some_sum([*(w * x for w, x in zip(row, numbers, strict=True) if w), b], generator)
        for row, b in zip(matrix, bias, strict=True)
    ]
    y = np.array([value for value, _ in sums])
    coefficients = generator.normal(size=(2, *operator.output_shape(*shapes)))
    keeps_the_laws_in_float32(operator, operator, inputs, y, coefficients)
    given = [Box(x[None].astype(np.float64), x[None].astype(np.float64)) for x in inputs]
    largest = np.max(rule_for(operator, FLOAT32, *shapes).largest_sum(*given))
    assert max(partial for _, partial in sums) <= 2 * Fraction(float(largest))


def lost32(count):
    """1, and numbers that vanish when they are added to it one after the other in binary32."""
    return np.float32([1.0] + [UNIT32] * (count - 1))


def gained32(count):
    """1, and numbers that count for almost twice as much when they are added to it in binary32."""
    return np.float32([1.0] + [UNIT32 * (1 + 2.0**-20)] * (count - 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_long_sum_loses_or_gains_in_float32_is_covered(sign):
    """4096 terms of half a unit in the last place, one by one: the bound is almost attained."""
    side, one = math.isqrt(MANY), (1, 1)
    for weight, y in ((lost32(MANY), 1.0), (gained32(MANY), 1 + 2 * UNIT32 * (MANY - 1))):
        kernel = sign * weight.reshape(1, 1, side, side)
        for operator, x in (
            (Affine(sign * weight[None], np.float32([0])), np.ones(MANY)),
            (Conv(kernel, np.float32([0]), one, ((0, 0),) * 2, one), np.ones((1, side, side))),
        ):
            around = Box(-x[None], x[None].copy())
            for box in (None, [around]):
                for a in (1.0, -1.0):
                    functional = np.full((1, *operator.output_shape(x.shape)), a)
                    value = exact.exact([sign * y])
                    keeps_the_laws_in_float32(operator, operator, [x], value, functional, box)


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_that_are_made_at_run_time_are_covered(sign):
    """Those of averages and of batch norm carry roundings of their own, up to 8."""
    weight = np.float32([[0.75]])
    y = exact.exact([sign * 0.75 * (1 + UNIT32) ** 8])
    average = Affine(sign * weight, np.float32([0]), SLACK)
    scale = Scale(sign * weight[0], np.float32([0]))
    for operator in (average, scale):
        for a in (1.0, -1.0):
            keeps_the_laws_in_float32(operator, operator, [np.ones(1)], y, np.full((1, 1), a))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("weight", "x"),
    [
        (2.0**-70, 2.0**-70),  # the products are flushed
        (2.0**100, 2.0**-127),  # the inputs are
        (2.0**-127, 2.0**100),  # the weights are
    ],
)
def test_what_is_flushed_to_zero_is_covered(weight, x, sign):
    """64 products that count as 0, because they or a factor of theirs are subnormal in binary32."""
    operator = Affine(np.full((1, 64), sign * weight, np.float32), np.float32([0]))
    for a in (1.0, -1.0):
        inputs = [np.full(64, x)]
        keeps_the_laws_in_float32(operator, operator, inputs, exact.exact([0]), np.full((1, 1), a))
    flushed = [np.float64([SMALLEST_NORMAL32 / 2]), np.float64([SMALLEST_NORMAL32 / 4])]
    for a in (1.0, -1.0):
        keeps_the_laws_in_float32(Add(), Add(), flushed, exact.exact([0]), np.full((1, 1), a))


@pytest.mark.parametrize("power", [0, -63, -70])
def test_products_of_two_values_keep_the_laws_in_float32(power):
    """For random orders of the operations, of numbers of all sizes."""
    size = 2.0**power
    generator = np.random.default_rng(0)
    for _ in range(20):
        x, y = normal(generator, 2, 2, 5) * np.float32(size), normal(generator, 2, 5, 2)
        y = y * np.float32(size)
        sums = [
            some_sum([p * q for p, q in zip(row, column, strict=True)], generator)
            for left, right in zip(exact.exact(x), exact.exact(y), strict=True)
            for row in left
            for column in right.T
        ]
        values = np.array([value for value, _ in sums])
        coefficients = generator.normal(size=(2, 2, 2, 2))
        keeps_the_laws_in_float32(MatMul(), MatMul(), [x, y], values, coefficients)
        given = [Box(v[None].astype(np.float64), v[None].astype(np.float64)) for v in (x, y)]
        largest = np.max(rule_for(MatMul(), FLOAT32, x.shape, y.shape).largest_sum(*given))
        assert max(partial for _, partial in sums) <= 2 * Fraction(float(largest))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_a_long_product_of_two_values_loses_or_gains_in_float32_is_covered(sign):
    """4096 terms of half a unit in the last place, one by one: the bound is almost attained."""
    ones = np.ones((MANY, 1), np.float32)
    for row, y in ((lost32(MANY), 1.0), (gained32(MANY), 1 + 2 * UNIT32 * (MANY - 1))):
        for a in (1.0, -1.0):
            value, functional = exact.exact([sign * y]), np.full((1, 1, 1), a)
            inputs = [sign * row[None], ones]
            keeps_the_laws_in_float32(MatMul(), MatMul(), inputs, value, functional)


@pytest.mark.parametrize("sign", [1, -1])
def test_terms_that_a_product_of_two_values_loses_are_covered(sign):
    """In the sums of the interval, of both coefficients and of the constant."""
    generator = np.random.default_rng(0)

    def points(*arrays):
        return [Box(array[None].copy(), array[None].copy()) for array in arrays]

    small, ones = sign * lost(MANY), np.ones(MANY)
    keeps_the_interval_law(MatMul(), MatMul(), points(small[None], ones[:, None]), generator)
    wide, tall = points(np.ones((1, 1)), ones[None]), points(ones[:, None], np.ones((1, 1)))
    keeps_the_backward_law(MatMul(), MatMul(), wide, small[None, None], generator)
    keeps_the_backward_law(MatMul(), MatMul(), tall, small[None, :, None], generator)
    many = points(np.ones((MANY, 1, 1)), np.ones((MANY, 1, 1)))
    keeps_the_backward_law(MatMul(), MatMul(), many, small[None, :, None, None], generator)


@pytest.mark.parametrize("slope", [0.1, -0.1, 3.0, 2.0**-100])
def test_the_product_of_a_leaky_relu_is_covered(slope):
    """Rounded or flushed to 0, or the number itself."""
    generator = np.random.default_rng(0)
    leaky = LeakyRelu(np.array(slope, np.float32))
    factor = Fraction(float(leaky.slope))
    for size in (1.0, 2.0**-40, 2.0**-127):
        for _ in range(50):
            x = normal(generator, 1) * np.float32(size)
            number = Fraction(float(x[0]))
            y = rounded(factor * number, generator) if number < 0 else rounded(number, generator)
            for a in (1.0, -1.0):
                values = exact.exact([float(y)])
                keeps_the_laws_in_float32(leaky, leaky, [x], values, np.full((1, 1), a))


def test_a_leaky_relu_that_overflows_proves_nothing():
    """Though the number that it reads is finite."""
    steep = Network.sequential((1,), [LeakyRelu(np.array(2.0**100, np.float32))])
    far = np.full((1, 1), -(2.0**100), np.float32)
    for semantics, sound in ((FLOAT32, False), (REAL, True)):
        trusted = TrustedPass(steep, semantics)
        found = trusted.bounds(Box(far, far.copy()), Intermediate.INTERVAL)
        assert found.sound.tolist() == [sound]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_sum_that_is_taken_into_another_is_covered(sign):
    """A runtime may start a layer's sum from the value that is added to the layer's output."""
    # Each of the products is lost when it is added to 1; together they are 2**-15.
    copies = Affine(np.ones((1024, 1), np.float32), np.zeros(1024, np.float32))
    small = Affine(np.full((1, 1024), sign * UNIT32 / 2, np.float32), np.float32([0]))
    layers = Node(copies, (0,)), Node(small, (1,))
    covers_ones(Network((1,), (*layers, Node(Add(), (0, 2)))))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_sum_that_is_taken_into_a_product_of_two_values_is_covered(sign):
    """As above; both factors depend on the input."""
    copies = Affine(np.ones((1024, 1), np.float32), np.zeros(1024, np.float32))
    small = np.full(1024, sign * UNIT32 / 2, np.float32)
    fixed = Affine(np.zeros((1024, 1), np.float32), small)
    nodes = [Node(copies, (0,)), Node(Reshape((1, 1024)), (1,)), Node(fixed, (0,))]
    nodes += [Node(Reshape((1024, 1)), (3,)), Node(MatMul(), (2, 4)), Node(Reshape((1,)), (5,))]
    covers_ones(Network((1,), (*nodes, Node(Add(), (6, 0)))))


MOVED = {
    "reshape": [(Reshape((1, 1)), 2), (Reshape((1, 1)), 0)],
    "transpose": [(Transpose((0,)), 2), (Transpose((0,)), 0)],
    "concat": [(Concat(0, 2), 0, 2), (Concat(0, 2), 2, 0)],
    "select": [(Select(0, (0, 0)), 2), (Select(0, (0, 0)), 0)],
    "pad": [(Pad(((1, 0),), (0,), 0.5), 2), (Pad(((1, 0),), (0,), 0.5), 0)],
}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_sum_that_is_taken_into_another_behind_a_movement_is_covered(sign):
    """As above, where a runtime exchanges the sum with what moves numbers before it."""
    copies = Affine(np.ones((1024, 1), np.float32), np.zeros(1024, np.float32))
    small = Affine(np.full((1, 1024), sign * UNIT32 / 2, np.float32), np.float32([0]))
    layers = Node(copies, (0,)), Node(small, (1,))
    for first, second in MOVED.values():
        moves = [Node(operator, tuple(inputs)) for operator, *inputs in (first, second)]
        covers_ones(Network((1,), (*layers, *moves, Node(Add(), (3, 4)))))


def covers_ones(network):
    """The bounds of a network that makes ones of a 1 in some order of its sums."""
    trusted = TrustedPass(network, FLOAT32)
    box = Box(np.float32([[1.0]]), np.float32([[1.0]]))
    found = trusted.bounds(box, Intermediate.INTERVAL)
    assert found.boxes[-1].contains(np.ones((1, *network.output_shape)))[0]
    for row in (1.0, -1.0):
        rows = np.full((1, *network.output_shape), row)
        wanted = rows.sum()
        for to_input in (True, False):
            assert trusted.lower(found, rows, to_input=to_input).item() <= wanted


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_local_errors_reach_the_bound_of_the_network(sign):
    """A layer that loses all but the first of its terms, and one more layer: both passes see it."""
    first = Affine(sign * lost32(MANY)[None], np.float32([0]))
    network = Network.sequential((MANY,), [first, Scale(np.float32([1]), np.float32([0]))])
    trusted = TrustedPass(network, FLOAT32)
    point32 = np.ones((1, MANY), np.float32)
    found = trusted.bounds(Box(point32, point32.copy()), Intermediate.INTERVAL)
    for row in (1.0, -1.0):
        for to_input in (True, False):
            bound = trusted.lower(found, np.array([[row]]), to_input=to_input).item()
            assert bound <= row * sign


def test_sums_that_overflow_in_float32_prove_nothing():
    """Some order of the additions gives an infinity, though the result is small."""
    weight = np.float32([[2.0**126, 2.0**126, -(2.0**126), -(2.0**126)]])
    network = Network.sequential((4,), [Affine(weight, np.float32([1.0]))])
    ones = np.ones((1, 4), np.float32)
    for semantics, sound in ((FLOAT32, False), (REAL, True)):
        trusted = TrustedPass(network, semantics)
        found = trusted.bounds(Box(ones, ones.copy()), Intermediate.INTERVAL)
        assert found.sound.tolist() == [sound]
