"""Every error that the rules state, against the formula of its derivation, in exact rationals.

Two kinds of measure. *Relative*: on small integers, where centres, radii and middles are exact, the
stated error is at least the formula and exceeds it by less than one part in 2**36. *In units*: on
powers of two every step is exact but for the enlargements, each of which adds whole units in the
last place; these are counted. A term that is missing or counted twice shows in one of them.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support import exact

from asi_verify.checker.arithmetic import (
    ETA,
    LIMIT,
    LIMIT32,
    UNIT,
    down,
    enlarged,
    gamma,
    gamma32,
    tiny32,
    up,
)
from asi_verify.checker.rules import Functionals, LinearRule, Rule
from asi_verify.checker.table import rule_for
from asi_verify.core.bilinear import MatMul
from asi_verify.core.box import Box
from asi_verify.core.moves import Pad, Select
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.semantics import Semantics
from asi_verify.core.weights import map_weights

REAL, FLOAT32 = Semantics.REAL, Semantics.FLOAT32
U, U32 = Fraction(1, 2**53), Fraction(1, 2**24)
SMALL = Fraction(1, 2**500)
"""What an underflow may cost, as the analysis has it."""
FLUSHED = Fraction(1, 2**126)
CLOSE = Fraction(1, 2**36)
MADE = 8
"""Roundings of a weight that is made at run time."""


def rounding(terms: int, unit: Fraction = U) -> Fraction:
    """``n u / (1 - n u)``."""
    return terms * unit / (1 - terms * unit)


def units(value: Any, base: Fraction | float = 1) -> Fraction:
    """By how many units in the last place of 1 a value exceeds ``base``, in parts of ``base``."""
    return (Fraction(float(value)) / Fraction(base) - 1) * 2**52


def is_close_above(found: Any, wanted: Any) -> None:
    """At least the formula, and hardly more."""
    for one, other in zip(np.ravel(found), np.ravel(wanted), strict=True):
        assert other <= Fraction(float(one)) <= other * (1 + CLOSE) + 2**10 * SMALL, (one, other)


def is_close(found: Any, wanted: Fraction) -> None:
    """At least the formula, and hardly more, underflow included."""
    assert wanted <= Fraction(found) <= wanted * (1 + CLOSE)


def point(*numbers: float) -> Box:
    values = np.array([numbers], dtype=np.float64)
    return Box(values, values.copy())


def affine(weight: Any, bias: Any, slack: float = 0.0) -> Affine:
    return Affine(np.array(weight, np.float32), np.array(bias, np.float32), slack)


# The constants.


def test_the_constants_are_those_of_the_analysis():
    """Roundoffs of both formats; what underflow may cost; limits inside which nothing overflows."""
    assert Fraction(UNIT) == U
    assert Fraction(ETA) == SMALL
    # Nothing below the limit overflows when it is multiplied with another such number, and what
    # flushing an operand may cost is far below what is allowed for.
    assert Fraction(LIMIT) == 1 / SMALL
    assert np.isfinite(LIMIT * LIMIT)
    assert LIMIT * np.finfo(np.float64).smallest_normal < ETA / 4
    # Twice the limit is finite in binary32, and that is as much as can be had.
    assert np.isfinite(np.float32(2 * LIMIT32))
    assert float(np.finfo(np.float32).max) < 4 * LIMIT32


@pytest.mark.parametrize("terms", [0, 1, 2, 3, 7, 64, 1000, 2**21])
def test_rounding_bounds_are_their_definitions(terms):
    """Of both formats, from above and almost exactly."""
    for found, unit in ((gamma(terms), U), (gamma32(terms), U32)):
        assert rounding(terms, unit) <= Fraction(found) <= rounding(terms, unit) * (1 + 8 * U)
    assert units(gamma(4), 4 * U) == 4


def test_rounding_bounds_are_refused_exactly_where_they_end():
    """The last length that has one, and the first that has none, which is named."""
    assert gamma(2**40 - 1) < 2.0**-12
    assert gamma32(2**22 - 1) < 0.5
    for bound, first, name in ((gamma, 2**40, "rounding"), (gamma32, 2**22, "binary32 rounding")):
        for terms in (-1, first, first + 1):
            with pytest.raises(ValueError, match=f"no {name} bound for a sum of {terms} terms"):
                bound(terms)
        assert bound(0) == 0


@pytest.mark.parametrize("terms", [1, 2, 5, 30])
def test_enlarging_adds_a_unit_for_each_term_and_eight(terms):
    """And for underflow two allowances for each of them."""
    assert units(enlarged(1.0, terms)) == terms + 8
    assert Fraction(float(enlarged(0.0, terms))) == 2 * (terms + 8) * SMALL


def test_outward_rounding_is_by_two_roundoffs_and_the_allowance():
    """Exactly, for numbers on which it can be seen."""
    for value in (1.0, -1.0, 2.0**40):
        size = abs(Fraction(value))
        assert Fraction(float(up(value))) == Fraction(value) + 2 * U * size
        assert Fraction(float(down(value))) == Fraction(value) - 2 * U * size
    assert Fraction(float(up(0.0))) == SMALL
    assert Fraction(float(down(0.0))) == -SMALL
    values = np.array([[1.0], [-4.0]])
    assert up(values).shape == down(values).shape == (2, 1)
    assert values.tolist() == [[1.0], [-4.0]]


def test_flushing_is_bounded_as_the_analysis_says():
    """Twice ``n (4 + max |x| + max |y|)`` smallest normal numbers."""
    found = tiny32(3, np.array([2.0, 10.0]), 2.0)
    is_close_above(found, [2 * 3 * (4 + x + 2) * FLUSHED for x in (2, 10)])
    assert units(tiny32(2, 1.0, 3.0), 32 * FLUSHED) == 4


# Linear rules: intervals.


def local_of(rule: Any, *, made: bool) -> Fraction:
    """The rounding of one output in binary32: its terms, one for a fused sum, and made weights."""
    return rounding(rule.terms_forward + 1 + (MADE if made else 0), U32)


def spread_by_formula(operator: Any, rule: Any, box: Box, *, float32: bool, made: bool) -> Any:
    """The half-width of the output's box as ``LinearRule.interval`` derives it, and its middle."""
    zero = exact.exact(np.zeros(box.shape))
    bias = exact.apply(operator, zero)
    low, high = exact.exact(box.lower[0]), exact.exact(box.upper[0])
    centre, radius = (low + high) / 2, (high - low) / 2
    magnitude = exact._magnitude(operator)
    slack = Fraction(operator.slack)
    local = local_of(rule, made=made) if float32 else Fraction(0)
    g = rounding(rule.terms_forward) + slack
    on_radius, on_centre = (1 + slack) * (1 + local), g + local * (1 + slack)
    spread = exact.apply(magnitude, radius * on_radius + np.abs(centre) * on_centre)
    spread = spread + np.abs(bias) * (g + local)
    if float32:
        largest = max(1, *np.abs(low).reshape(-1), *np.abs(high).reshape(-1))
        spread = spread + flushing(operator, rule, largest)
    return spread, exact.apply(operator, centre)


def flushing(operator: Any, rule: Any, largest: Any) -> Fraction:
    weight = Fraction(
        float(np.abs(getattr(operator, "weight", getattr(operator, "scale", 0))).max())
    )
    weight = weight * (1 + 2 * Fraction(operator.slack))
    return 2 * rule.terms_forward * (4 + largest + weight) * FLUSHED


def integers(generator: np.random.Generator, *shape: int) -> Any:
    return generator.integers(-4, 5, shape).astype(np.float32)


ONE = (1, 1)
LINEAR: dict[str, Any] = {
    "affine": (lambda g, s: Affine(integers(g, 3, 6), integers(g, 3), s), (6,)),
    "conv": (
        lambda g, s: Conv(
            integers(g, 6, 2, 3, 2), integers(g, 6), (2, 1), ((1, 0), (0, 2)), (1, 2), 2, s
        ),
        (4, 4, 4),
    ),
    "conv in one dimension": (
        lambda g, s: Conv(integers(g, 2, 3, 2), integers(g, 2), (3,), ((0, 1),), (2,), 1, s),
        (3, 7),
    ),
    "scale": (lambda g, s: Scale(integers(g, 3, 1), integers(g, 3, 2), s), (3, 2)),
}
"""Operators with small integers, and their inputs' shapes."""
BACKWARD = {"affine": 3, "conv": 3 * 6, "conv in one dimension": 2 * 2, "scale": 1}
"""How many numbers at most make one coefficient of an input."""
FORWARD = {"affine": 7, "conv": 13, "conv in one dimension": 7, "scale": 2}
"""How many make one output, the bias among them."""
SLACKS = [0.0, 0.5]


@pytest.mark.parametrize("name", LINEAR)
def test_terms_are_counted_as_they_are_summed(name):
    """Forward with the bias; back once for each output that a kernel may reach an input from."""
    make, shape = LINEAR[name]
    rule = rule_for(make(np.random.default_rng(0), 0.0), REAL, shape)
    assert (rule.terms_forward, rule.terms_backward) == (FORWARD[name], BACKWARD[name])


@pytest.mark.parametrize("semantics", [REAL, FLOAT32])
@pytest.mark.parametrize("slack", SLACKS)
@pytest.mark.parametrize("name", LINEAR)
def test_intervals_are_as_wide_as_derived(name, slack, semantics):
    """Every number's half-width is the formula's; the middle is exact on these integers."""
    make, shape = LINEAR[name]
    made = slack > 0 or name == "scale"
    for seed in range(3):
        generator = np.random.default_rng(seed)
        operator = make(generator, slack)
        rule = rule_for(operator, semantics, shape)
        # The radius is made small beside the centre, or 0, or large, so that each term is seen.
        centre = integers(generator, 2, *shape).astype(np.float64)
        radius = [0.0, 2.0**-20, 2.0][seed] * np.ones_like(centre)
        box = Box(centre - radius, centre + radius)
        found = rule.interval(box)
        for sample in range(2):
            spread, middle = spread_by_formula(
                operator, rule, box[[sample]], float32=semantics is FLOAT32, made=made
            )
            for end, sign in ((found.upper, 1), (found.lower, -1)):
                width = sign * (exact.exact(end[sample]) - middle)
                wanted = spread
                # The sum of middle and half-width is rounded, then rounded outward.
                room = (np.abs(middle) + spread) * 4 * U + spread * CLOSE + 2**10 * SMALL
                assert np.all(wanted <= width)
                assert np.all(width <= wanted + room)


def test_what_surrounds_a_middle_of_0_is_known_to_all_digits():
    """Two weights that cancel: no digit of the half-width is lost to the middle."""
    for slack in SLACKS:
        operator = affine([[1, -1, 0, 0]], [0], slack)
        biased = affine([[-1, 0, 0, 0]], [1], slack)
        for semantics in Semantics:
            for which in (operator, biased):
                rule = rule_for(which, semantics, (4,))
                box = point(1, 1, 1, 1)
                spread, middle = spread_by_formula(
                    which, rule, box, float32=semantics is FLOAT32, made=slack > 0
                )
                assert middle.tolist() == [0]
                found = rule.interval(box)
                is_close_above(found.upper[0], spread)
                is_close_above(-found.lower[0], spread)


@pytest.mark.parametrize("width", [1, 2, 9])
def test_the_enlargements_of_an_interval_are_counted(width):
    """A weight of 1 on [-1, 1]: the radius' factor, one for each term and nine, and the ends."""
    weight = np.zeros((1, width), np.float32)
    weight[0, 0] = 1
    rule = rule_for(Affine(weight, np.zeros(1, np.float32)), REAL, (width,))
    box = Box(-np.ones((1, width)), np.ones((1, width)))
    found = rule.interval(box)
    terms = width + 1
    assert units(found.upper.item()) == units(-found.lower.item()) == 1 + (terms + 1 + 8) + 1


def test_flushing_widens_an_interval_by_the_samples_own_largest_number():
    """Where all products are 0, what is left is flushing: one sample's, and at least of 1."""
    operator = affine([[0, 0, 0.25]], [0])
    rule = rule_for(operator, FLOAT32, (3,))
    lower = np.array([[-8.0, 0, 0], [0, 0, 0], [-2, 0, 0]])
    upper = np.array([[1.0, 0, 0], [0, 0, 0], [16, 0, 0]])
    found = rule.interval(Box(lower, upper))
    wanted = [2 * 4 * (4 + largest + Fraction(1, 4)) * FLUSHED for largest in (8, 1, 16)]
    is_close_above(found.upper[:, 0], wanted)
    is_close_above(-found.lower[:, 0], wanted)
    real = rule_for(operator, REAL, (3,)).interval(Box(lower, upper))
    assert np.all(real.upper < 2.0**-400)


@pytest.mark.parametrize("name", LINEAR)
def test_flushing_knows_the_largest_weight_of_every_operator(name):
    """Also where all of them are small; inputs count as at least 1."""
    make, shape = LINEAR[name]
    operator = map_weights(make(np.random.default_rng(0), 0.0), lambda a: a / np.float32(64))
    name_of_bias = "shift" if isinstance(operator, Scale) else "bias"
    object.__setattr__(operator, name_of_bias, getattr(operator, name_of_bias) * np.float32(0))
    rule: Any = rule_for(operator, FLOAT32, shape)
    nothing = np.zeros((1, *shape))
    found = rule.local_error(Box(nothing, nothing.copy()))
    is_close_above(found[0], np.full(found[0].size, flushing(operator, rule, 1)))


# Linear rules: local errors, largest sums, and the way back.


def magnitudes(operator: Any, size: Any) -> Any:
    """``|W'| |x| + |b|``, exactly."""
    zero = exact.exact(np.zeros(np.shape(size)))
    bias = np.abs(exact.apply(operator, zero))
    return exact.apply(exact._magnitude(operator), size * (1 + Fraction(operator.slack))) + bias


@pytest.mark.parametrize("slack", SLACKS)
@pytest.mark.parametrize("name", LINEAR)
def test_local_errors_and_largest_sums_are_as_derived(name, slack):
    """``local (|W'| |x| + |b|) + tiny``, and the largest row for the largest input, at least 1."""
    make, shape = LINEAR[name]
    generator = np.random.default_rng(1)
    operator = make(generator, slack)
    rule = rule_for(operator, FLOAT32, shape)
    assert rule_for(operator, REAL, shape).local_error() is None
    lower = integers(generator, 2, *shape).astype(np.float64) * np.reshape(
        [3.0, 2.0**-130], (2,) + (1,) * len(shape)
    )
    box = Box(lower, lower + np.reshape([1.0, 0.0], (2,) + (1,) * len(shape)))
    local = local_of(rule, made=slack > 0 or name == "scale")
    ones = magnitudes(operator, exact.exact(np.ones(shape))).max()
    sums = []
    for sample in range(2):
        size = np.maximum(
            np.abs(exact.exact(box.lower[sample])), np.abs(exact.exact(box.upper[sample]))
        )
        largest = max(Fraction(1), *size.reshape(-1))
        wanted = local * magnitudes(operator, size) + flushing(operator, rule, largest)
        is_close_above(rule.local_error(box)[sample], wanted)
        sums.append(largest * ones)
    for _ in range(2):  # the largest row is kept from the first time on
        is_close_above(rule.largest_sum(box), sums)


def test_an_average_may_be_added_up_before_it_is_divided():
    """Its largest sum is that of the numbers themselves; of no other convolution."""
    ones = np.ones((1, 2, 2, 2))
    box = Box(-ones, 3 * ones)

    def largest(weight: Any, groups: int) -> Any:
        filters = np.array(weight, np.float32)
        none = np.zeros(len(filters), np.float32)
        conv = Conv(filters, none, ONE, ((0, 0),) * 2, ONE, groups)
        return rule_for(conv, FLOAT32, (2, 2, 2)).largest_sum(box)

    average = np.full((2, 1, 2, 2), 0.25)
    uneven = average.copy()
    uneven[1, 0, 1, 1] = 0.125
    is_close_above(largest(average, 2), [3 * 4])
    is_close_above(largest(uneven, 2), [3])
    is_close_above(largest(average / 2, 2), [Fraction(3, 2)])
    is_close_above(largest(average * 2, 2), [6])
    # Over both channels at once it is a sum of two averages.
    is_close_above(largest(np.full((2, 2, 2, 2), 0.25), 1), [6])
    is_close_above(largest(np.full((1, 2, 2, 2), 0.25), 1), [6])


def test_the_enlargements_of_local_errors_and_sums_are_counted():
    """One weight of 1: ten for the sum with flushing, and the magnitudes' own."""
    rule: Any = rule_for(affine([[1, 0]], [0]), FLOAT32, (2,))
    terms = 3
    assert units(rule.largest_sum(Box(-np.ones((1, 2)), np.zeros((1, 2)))).item()) == terms + 8
    # 2 n (4 + 1 + 3) is a power of two for n = 4.
    flush: Any = rule_for(affine([[0, 0, 3]], [0]), FLOAT32, (3,))
    assert units(flush.local_error(point(0, 0, 0)).item(), 64 * FLUSHED) == 4 + (2 + 8)


@pytest.mark.parametrize("semantics", [REAL, FLOAT32])
@pytest.mark.parametrize("slack", SLACKS)
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("owned", [False, True])
def test_the_error_of_a_step_back_is_as_derived(name, slack, semantics, owned):
    """``(gamma(max(p, N)) + slack + local) |a| . m + |a| . tiny``, for shared and owned ones."""
    make, shape = LINEAR[name]
    generator = np.random.default_rng(2)
    operator = make(generator, slack)
    rule: Any = rule_for(operator, semantics, shape)
    out = operator.output_shape(shape)
    coefficients = integers(generator, 3, *out).astype(np.float64)
    owners = np.array([1, 0, 1]) if owned else None
    lower = integers(generator, 2, *shape).astype(np.float64) * 2
    box = Box(lower, lower + 1)
    pushed = rule.push_back(Functionals(coefficients, owners), box)
    count = int(np.prod(out))
    local = local_of(rule, made=slack > 0 or name == "scale") if semantics is FLOAT32 else 0
    factor = rounding(max(rule.terms_backward, count)) + Fraction(slack) + local
    pairs = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    if owned:
        pairs = [(1, 0), (0, 1), (1, 2)]
    wanted, constants = [], []
    bias = exact.apply(operator, exact.exact(np.zeros(shape)))
    for sample, which in pairs:
        size = np.maximum(
            np.abs(exact.exact(box.lower[sample])), np.abs(exact.exact(box.upper[sample]))
        )
        a = exact.exact(coefficients[which])
        one = factor * np.sum(np.abs(a) * magnitudes(operator, size))
        if semantics is FLOAT32:
            one += np.sum(np.abs(a)) * flushing(operator, rule, max(1, *size.reshape(-1)))
        wanted.append(one)
        constants.append(np.sum(a * bias))
    shape_of = (2, 3) if not owned else (3,)
    assert np.shape(pushed.error) == shape_of
    is_close_above(pushed.error, wanted)
    found = np.broadcast_to(pushed.constant, shape_of)
    assert exact.exact(found).reshape(-1).tolist() == constants
    (back,) = pushed.inputs
    # On integers both sides are exact: a W . x = a . (W x + b) - a . b.
    for x in integers(generator, 4, *shape):
        value = exact.apply(operator, exact.exact(x)) - bias
        for which in range(3):
            wanted_back = np.sum(exact.exact(coefficients[which]) * value)
            assert np.sum(exact.exact(back[which]) * exact.exact(x)) == wanted_back


@pytest.mark.parametrize("outputs", [1, 4])
def test_the_enlargements_of_a_step_back_are_counted(outputs):
    """A slack of 1 makes the factor one unit more than 1; each sum adds its terms and eight."""
    weight = np.zeros((outputs, 1), np.float32)
    weight[0] = 1
    stored = Affine(weight, np.zeros(outputs, np.float32), 1.0)
    a = np.zeros((1, outputs))
    a[0, 0] = 1.0
    pushed = rule_for(stored, REAL, (1,)).push_back(Functionals(a, None), point(1.0))
    factor = Fraction(gamma(outputs) + 1.0)
    assert units(factor) == (outputs + 1) // 2
    counted = (2 + 8) + (outputs + 8) + units(factor) + (1 + 8) + (3 + 8)
    assert units(np.asarray(pushed.error).item(), 2) == counted


def test_the_enlargements_of_flushing_on_the_way_back_are_counted():
    """Inputs of 0: what is left is the sum of the coefficients times a power of two."""
    rule = rule_for(affine([[0, 0, 3], [0, 0, 0]], [0, 0]), FLOAT32, (3,))
    pushed = rule.push_back(Functionals(np.array([[1.0, 0.0]]), None), point(0, 0, 0))
    counted = 4 + (2 + 8) + (1 + 8) + (3 + 8)
    assert units(np.asarray(pushed.error).item(), 64 * FLUSHED) == counted


def test_underflow_on_the_way_back_is_allowed_for():
    """``2 (p sum |x| + N)`` allowances, seen where all coefficients are 0 and inputs are large."""
    rule = rule_for(affine(np.ones((3, 2)), np.zeros(3)), REAL, (2,))
    box = Box(np.array([[-(2.0**60), 0.0], [0, 0]]), np.array([[1.0, 2.0**61], [0, 0]]))
    pushed = rule.push_back(Functionals(np.zeros((1, 3)), None), box)
    large, small = (Fraction(float(value)) for value in np.ravel(pushed.error))
    wanted = 2 * (3 * (2**60 + 2**61) + 3) * SMALL
    is_close(large, wanted)
    # gamma and its enlargement vanish; 18 and 22 are those of an empty sum of one and three.
    is_close(small, (2 * 3 + 18 + 22) * SMALL)


# Sums of two values.


def test_sums_of_two_values_are_as_derived():
    """``gamma32(n + 1) (|x| + |y|) + tiny``, with the terms of the sum it may be taken into."""
    first = Box(np.array([[-3.0, 0.0], [1, 1]]), np.array([[1.0, 0.0], [1, 1]]))
    second = Box(np.array([[0.0, 0.0], [8, -5]]), np.array([[2.0, 0.0], [8, -4]]))
    size = [[5, 0], [9, 6]]
    for summed in (0, 6):
        rule = rule_for(Add(), FLOAT32, (2,), (2,), summed=summed)
        largest = [5, 9]
        wanted = [
            [
                rounding(summed + 1, U32) * s + 2 * (summed + 1) * (4 + most + 1) * FLUSHED
                for s in row
            ]
            for row, most in zip(size, largest, strict=True)
        ]
        is_close_above(rule.local_error(first, second), wanted)
        is_close_above(rule.largest_sum(first, second), largest)
        found = rule.interval(first, second)
        for end, side, sign in ((found.upper, "upper", 1), (found.lower, "lower", -1)):
            middle = exact.exact(getattr(first, side)) + exact.exact(getattr(second, side))
            width = sign * (exact.exact(end) - middle)
            assert np.all(width >= np.array(wanted))
            assert np.all(width <= np.array(wanted) * (1 + CLOSE) + 8 * 8 * U)
        a = np.array([[2.0, -1.0]])
        pushed = rule.push_back(Functionals(a, None), first, second)
        is_close_above(pushed.error, [2 * row[0] + row[1] for row in wanted])
        assert [part.tolist() for part in pushed.inputs] == [a.tolist()] * 2
        assert pushed.constant == 0
    real = rule_for(Add(), REAL, (2,), (2,))
    pushed = real.push_back(Functionals(a, None), first, second)
    assert (pushed.constant, pushed.error, real.local_error(first, second)) == (0, 0, None)
    found = real.interval(first, second)
    assert found.upper.tolist() == up(first.upper + second.upper).tolist()
    assert found.lower.tolist() == down(first.lower + second.lower).tolist()


def test_the_enlargements_of_a_sum_of_two_values_are_counted():
    """Zeros beside a 3: 4 + 3 + 1 is a power of two but for the outward rounding of the 3."""
    rule = rule_for(Add(), FLOAT32, (2,), (2,))
    first, second = point(0.0, 3.0), point(0.0, 0.0)
    local = rule.local_error(first, second)
    assert units(local[0, 0], 16 * FLUSHED) == 4 + (2 + 8)
    pushed = rule.push_back(Functionals(np.array([[1.0, 0.0]]), None), first, second)
    assert units(np.asarray(pushed.error).item(), 16 * FLUSHED) == 4 + (2 + 8) + (2 + 8)


@pytest.mark.parametrize(("rows", "terms", "columns"), [(1, 1, 6), (5, 1, 1), (2, 3, 4)])
def test_products_of_two_values_cost_their_rows_columns_terms_and_outputs(rows, terms, columns):
    """Of ones: ``gamma(m + n + K + N + 4)`` of all products that the functional is made of."""
    shapes = (rows, terms), (terms, columns)
    rule = rule_for(MatMul(), REAL, *shapes)
    ones = [Box(np.ones((1, *shape)), np.ones((1, *shape))) for shape in shapes]
    outputs = rows * columns
    functionals = Functionals(np.ones((1, rows, columns)), np.array([0]))
    pushed = rule.push_back(functionals, *ones)
    assert np.array_equal(pushed.inputs[0], np.full((1, rows, terms), columns))
    assert np.array_equal(pushed.inputs[1], np.full((1, terms, columns), rows))
    assert pushed.constant == -outputs * terms
    count = rows + columns + terms + outputs + 4
    is_close(np.asarray(pushed.error).item(), count * U * outputs * terms)


# What moves numbers, and ReLU.


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (Reshape((3, 2)), (2, 3)),
        (Transpose((1, 0)), (2, 3)),
        (Select(1, (2, 0, 1)), (2, 3)),
        (Pad(((0, 0), (0, 0)), (1, 0)), (2, 3)),
    ],
)
def test_moving_numbers_costs_nothing(operator, shape):
    """No constant and no error; forward and back every number is where it belongs."""
    numbers = np.arange(12.0).reshape(2, *shape)
    rule = rule_for(operator, FLOAT32, shape)
    found = rule.interval(Box(numbers, numbers + 1))
    wanted = [exact.apply(operator, x) for x in numbers]
    assert found.lower.tolist() == np.array(wanted).tolist()
    above = [exact.apply(operator, x + 1) for x in numbers]
    assert found.upper.tolist() == np.array(above).tolist()
    pushed = rule.push_back(Functionals(found.lower, None), Box(numbers, numbers + 1))
    assert [part.tolist() for part in pushed.inputs] == [numbers.tolist()]
    assert (pushed.constant, pushed.error) == (0, 0)
    box = Box(numbers, numbers + 1)
    assert rule.local_error(box) is None
    assert rule.largest_sum(box) == 0


def test_what_is_taken_often_is_added_up_with_its_rounding():
    """Of four numbers at one place: ``gamma(4)`` of what all are at most, enlarged twice."""
    rule = rule_for(Select(0, (1, 1, 0, 1, 1)), REAL, (3,))
    given = Box(np.array([[-1.0, -4.0, 9.0]]), np.array([[4.0, 1.0, 9.0]]))
    pushed = rule.push_back(Functionals(np.array([[1.0, -2.0, 4.0, 8.0, 1.0]]), None), given)
    assert np.array_equal(pushed.inputs, [[[4.0, 8.0, 0.0]]])
    assert np.all(pushed.constant == 0)
    reach = 4 * (1 + 2 + 4 + 8 + 1)
    # gamma(4) exceeds 4 u by 4 u and by 4 u of itself.
    assert units(np.asarray(pushed.error).item(), 4 * U * reach) == 4 + (5 + 8) + (1 + 8)


@pytest.mark.parametrize("fill", [0.5, -0.5])
@pytest.mark.parametrize("owners", [None, np.array([0])])
def test_what_is_put_around_makes_a_constant(fill, owners):
    """Of five numbers around two: ``gamma(8)`` of their magnitudes, enlarged twice."""
    rule = rule_for(Pad(((2, 3),), (0,), fill), REAL, (2,))
    given = Box(np.zeros((1, 2)), np.ones((1, 2)))
    found = rule.interval(given)
    assert found.lower.tolist() == [[fill, fill, 0, 0, fill, fill, fill]]
    assert found.upper.tolist() == [[fill, fill, 1, 1, fill, fill, fill]]
    row = np.array([[1.0, 0.5, 5.0, 7.0, 2.0, 4.0, -0.5]])
    pushed = rule.push_back(Functionals(row, owners), given)
    assert np.array_equal(pushed.inputs, [[[5.0, 7.0]]])
    shape = (1,) if owners is not None else (1, 1)
    assert np.array_equal(pushed.constant, np.full(shape, 7 * fill))
    assert np.shape(pushed.error) == shape
    assert units(pushed.error.item(), 8 * U * 0.5 * 8) == (4 + 2) + (8 + 8) + (1 + 8)
    nothing = rule.push_back(Functionals(0 * row, owners), given)
    is_close(nothing.error.item(), (2 * (1 + 8) + 2) * SMALL)


def test_joined_values_are_taken_apart_again():
    """Three of them along their second axis: each gets the coefficients of its own numbers."""
    shapes = [(2, 1), (2, 3), (2, 2)]
    rule = rule_for(Concat(1, 3), FLOAT32, *shapes)
    parts = [np.arange(2.0 * np.prod(s)).reshape(2, *s) + 100 * k for k, s in enumerate(shapes)]
    given = [Box(part, part + 1) for part in parts]
    found = rule.interval(*given)
    assert found.lower.tolist() == np.concatenate(parts, 2).tolist()
    assert found.upper.tolist() == (np.concatenate(parts, 2) + 1).tolist()
    pushed = rule.push_back(Functionals(found.lower, None), *given)
    assert [part.tolist() for part in pushed.inputs] == [part.tolist() for part in parts]
    assert (pushed.constant, pushed.error) == (0, 0)


def test_rules_say_what_kind_they_are_of():
    """What relaxes, and what moves numbers only; ReLU alone has numbers of open phase."""
    box = Box(np.array([[-1.0, 0.0, -1.0]]), np.array([[1.0, 1.0, 0.0]]))
    affine_rule = rule_for(affine(np.eye(3), np.zeros(3)), REAL, (3,))
    add, relu = rule_for(Add(), REAL, (3,), (3,)), rule_for(Relu(), REAL, (3,))
    reshape, transpose = rule_for(Reshape((3,)), REAL, (3,)), rule_for(Transpose((0,)), REAL, (3,))
    concat = rule_for(Concat(0, 2), REAL, (3,), (3,))
    select, pad = (
        rule_for(Select(0, (2, 0, 1)), REAL, (3,)),
        rule_for(Pad(((0, 0),), (0,)), REAL, (3,)),
    )
    for rule in (affine_rule, add, reshape, transpose, concat, select, pad):
        assert not rule.relaxes
        assert rule.open_numbers(box) is None
        assert rule.moves is (rule in {reshape, transpose, concat, select, pad})
    assert relu.relaxes
    assert not relu.moves
    opened = relu.open_numbers(box)
    assert opened is not None
    assert opened.tolist() == [[True, False, False]]


def test_a_relu_cuts_both_ends_at_0():
    """Exactly, number by number."""
    box = Box(np.array([[-3.0, -2.0, 0.25]]), np.array([[-1.0, 0.5, 0.75]]))
    found = rule_for(Relu(), REAL, (3,)).interval(box)
    assert found.lower.tolist() == [[0, 0, 0.25]]
    assert found.upper.tolist() == [[0, 0.5, 0.75]]


def test_the_error_of_a_relu_is_as_derived():
    """``gamma(N + 3) sum (|a| + |b|) max(-l, u)`` over open phases, and the constants are exact."""
    lower = np.array([[-1.0, -2.0, 1.0, -4.0], [-2, -2, -2, -2]])
    upper = np.array([[1.0, 2.0, 8.0, -1.0], [2, 2, 2, 2]])
    a = np.array([[4.0, -8.0, 1.0, 1.0], [1, -1, 0, 0]])
    pushed = rule_for(Relu(), REAL, (4,)).push_back(
        Functionals(a, np.array([0, 1])), Box(lower, upper)
    )
    assert pushed.inputs[0].tolist() == [[4, -4, 1, 0], [1, -0.5, 0, 0]]
    assert np.ravel(pushed.constant).tolist() == [-8, -1]
    reach = [8 * 1 + 12 * 2, 2 * 2 + Fraction(3, 2) * 2]
    is_close_above(pushed.error, [rounding(7) * r for r in reach])


def test_a_relus_own_slopes_and_its_reach_are_those_of_its_box():
    """A box that is wider on one side: a chord of 1/4, the lower end counts three times as much."""
    box = Box(np.array([[-3.0]]), np.array([[1.0]]))
    rule = rule_for(Relu(), REAL, (1,))
    for a, b, constant in ((-8.0, -2.0, -6.0), (-0.5, -0.125, -0.375), (8.0, 0.0, 0.0)):
        pushed = rule.push_back(Functionals(np.array([[a]]), np.array([0])), box)
        assert pushed.inputs[0].item() == b
        assert np.asarray(pushed.constant).item() == constant
        is_close_above(pushed.error, [rounding(4) * (abs(a) + abs(b)) * 3])


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.25, 1.0, 2.0])
def test_any_slope_gets_the_constant_that_makes_it_right(slope):
    """``min(a relu(z) - b z)`` over the box, attained at an end or at 0."""
    rule: Any = rule_for(Relu(), REAL, (1,))
    for low, high in ((-3.0, 1.0), (-1.0, 4.0)):
        box = Box(np.array([[low]]), np.array([[high]]))
        own = Functionals(np.array([[8.0]]), np.array([0]))
        pushed = rule.push_back(own, box, slopes=np.array([[slope]]))
        assert pushed.inputs[0].item() == 8 * slope
        ends = [8 * max(z, 0) - 8 * slope * z for z in (low, 0, high)]
        assert pushed.constant.item() == min(ends)
        # From above, and where the phase is fixed, a slope that is given changes nothing.
        for a, region in ((-8.0, box), (8.0, Box(box.upper, box.upper + 1))):
            others = Functionals(np.array([[a]]), np.array([0]))
            given = rule.push_back(others, region, slopes=np.array([[slope]]))
            alone = rule.push_back(others, region)
            assert given.inputs[0].tolist() == alone.inputs[0].tolist()


def test_the_enlargements_of_a_relu_are_counted():
    """gamma(4) is four units above four roundoffs; two sums of one term."""
    box = Box(np.array([[-1.0]]), np.array([[1.0]]))
    rule = rule_for(Relu(), REAL, (1,))
    pushed = rule.push_back(Functionals(np.array([[1.0]]), np.array([0])), box)
    assert units(np.asarray(pushed.error).item(), 2 * 4 * U) == 4 + (1 + 8) + (1 + 8)
    for count in (1, 5):
        wide = Box(np.tile(box.lower, count), np.tile(box.upper, count))
        nothing = rule.push_back(Functionals(np.zeros((1, count)), np.array([0])), wide)
        is_close(nothing.error.item(), (2 * 9 + 8 * count) * SMALL)


def test_a_phase_is_open_only_with_0_strictly_inside():
    """At 0 a neuron is on or off, and nothing is lost: the slope is 1 or 0."""
    box = Box(np.array([[0.0, -1.0, 0.0]]), np.array([[2.0, 0.0, 0.0]]))
    rule: Rule = rule_for(Relu(), REAL, (3,))
    for sign in (1.0, -1.0):
        pushed = rule.push_back(Functionals(np.full((1, 3), sign), np.array([0])), box)
        assert pushed.inputs[0].tolist() == [[sign, 0, sign]]
        assert np.asarray(pushed.constant).item() == 0
        is_close(pushed.error.item(), (2 * 9 + 8 * 3) * SMALL)


# Functionals.


def test_functionals_are_asked_of_their_samples():
    """Shared ones of all, owned ones of one; results in the form that is promised."""
    coefficients = np.array([[[1.0, 2.0]], [[0.0, -1.0]], [[3.0, 0.0]]])
    values = np.array([[[5.0, 7.0]], [[-2.0, 4.0]]])
    shared = Functionals(coefficients, None)
    owned = Functionals(coefficients, np.array([1, 0, 1]))
    assert shared.size == 2
    assert shared.flat.tolist() == [[1, 2], [0, -1], [3, 0]]
    assert shared.absolute().coefficients.tolist() == [[[1, 2]], [[0, 1]], [[3, 0]]]
    assert owned.absolute().owners is owned.owners
    assert shared.dot(values).tolist() == [[19, -7, 15], [6, -4, -6]]
    assert owned.dot(values).tolist() == [6, -7, -6]
    assert shared.dot_constant(values[0]).tolist() == [[19, -7, 15]]
    assert owned.dot_constant(values[0]).tolist() == [19, -7, 15]
    numbers = np.array([10, 20])
    assert shared.of_owner(numbers).tolist() == [[10], [20]]
    assert owned.of_owner(numbers).tolist() == [20, 10, 20]
    each = shared.one_per_sample(2)
    assert each.owners.tolist() == [0, 0, 0, 1, 1, 1]
    assert each.coefficients.tolist() == coefficients.tolist() * 2


def test_functionals_and_rules_are_what_they_promise():
    """Functionals do not change, and a rule without one of its parts cannot be made."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Functionals(np.zeros((1, 1)), None).owners = np.array([0])
    assert Rule.__abstractmethods__ == {"interval", "push_back"}
    applied = {"apply", "apply_magnitude", "apply_transposed", "bias"}
    assert LinearRule.__abstractmethods__ == applied
