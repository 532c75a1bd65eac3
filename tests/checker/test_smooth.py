"""The laws of the smooth rules inside the boxes, in float32, and at the ends of the range."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact
from support.networks import layer_norm, seeds

from asi_verify.checker.rules import Functionals
from asi_verify.checker.statistics import variance_of
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box
from asi_verify.core.semantics import Semantics
from asi_verify.core.smooth import Erf, Gelu, LayerNormalization, Sigmoid, Softmax, Tanh

REAL, FLOAT32 = Semantics.REAL, Semantics.FLOAT32
CURVES = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "erf": Erf(),
    "gelu": Gelu(),
    "gelu by tanh": Gelu(tanh=True),
}
GROUPS = {
    "softmax": (lambda g: Softmax(0), (6,)),
    "softmax, inner axis": (lambda g: Softmax(1), (2, 4, 2)),
    "layer norm": (lambda g: layer_norm(g, 6), (6,)),
    "layer norm, two axes": (lambda g: layer_norm(g, 2, 3), (2, 2, 3)),
    "layer norm of one": (lambda g: layer_norm(g, 1), (3, 1)),
    "layer norm, small epsilon": (
        lambda g: LayerNormalization(np.ones(3, np.float32), np.zeros(3, np.float32), 2.0**-40),
        (3,),
    ),
}
WIDTHS = (0.0, 1e-9, 1e-3, 0.1, 1.0, 5.0, 30.0)


def keeps_the_laws(operator, semantics, box, x, coefficients, moves=(0,)):
    """All three laws at inner points, for outputs moved by a share of the local error."""
    rule = rule_for(operator, semantics, box.shape)
    found, local = rule.interval(box), rule.local_error(box)
    functionals = Functionals(coefficients, np.zeros(len(coefficients), np.intp))
    pushed = rule.push_back(functionals, box)
    (b,) = pushed.inputs
    for point in x:
        y = exact.apply(operator, exact.exact(point))
        for move in moves:
            off = 0 if local is None else exact.exact(local[0] * move)
            moved = y + off
            assert np.all(exact.exact(found.lower[0]) <= moved)
            assert np.all(moved <= exact.exact(found.upper[0]))
            for which, a in enumerate(coefficients):
                value = exact.exact(a).reshape(-1).dot(moved.reshape(-1))
                bound = exact.exact(b[which]).reshape(-1).dot(exact.exact(point).reshape(-1))
                constant, error = (
                    Fraction(float(part[which])) for part in (pushed.constant, pushed.error)
                )
                assert value >= bound + constant - error


def inner(generator, box, count):
    """Corners and inner points of a box."""
    shares = generator.random((count, *box.shape))
    shares[: count // 2] = np.rint(shares[: count // 2])
    return np.clip(
        box.lower[0] + shares * (box.upper[0] - box.lower[0]), box.lower[0], box.upper[0]
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", CURVES)
def test_lines_bound_the_curve_at_every_point_of_a_grid(name, width):
    """For single coefficients of both signs; number by number, so nothing hides in a sum."""
    generator = np.random.default_rng(7)
    operator, count = CURVES[name], 12
    centre = generator.normal(size=(1, count)) * 3
    centre[0, :3] = (0.0, -0.75, 1e-3)
    reach = width * generator.random((1, count))
    box = Box(centre - reach, centre + reach)
    rule = rule_for(operator, REAL, (count,))
    ones = np.concatenate([np.eye(count), -np.eye(count)]) * 0.7
    pushed = rule.push_back(Functionals(ones, np.zeros(len(ones), np.intp)), box)
    (b,) = pushed.inputs
    interval = rule.interval(box)
    shares = np.linspace(0, 1, 60 if width else 1)
    for x in np.clip(box.lower + shares[:, None] * 2 * reach, box.lower, box.upper):
        y = exact.apply(operator, exact.exact(x))
        assert np.all(exact.exact(interval.lower[0]) <= y)
        assert np.all(y <= exact.exact(interval.upper[0]))
        for which, a in enumerate(ones):
            number = which % count
            line = Fraction(float(b[which, number])) * Fraction(float(x[number]))
            line += Fraction(float(pushed.constant[which])) - Fraction(float(pushed.error[which]))
            assert Fraction(float(a[number])) * y[number] >= line


@pytest.mark.parametrize("name", CURVES)
def test_lines_are_tight(name):
    """They nearly touch, and the two are as far apart as the second derivative asks for."""
    box = Box(np.array([[-0.05, 0.9, -3.1]]), np.array([[0.05, 1.1, -2.9]]))
    rule = rule_for(CURVES[name], REAL, (3,))
    for sign in (1.0, -1.0):
        owners = np.zeros(3, np.intp)
        pushed = rule.push_back(Functionals(sign * np.eye(3), owners), box)
        x = np.linspace(box.lower[0], box.upper[0], 201)
        y = exact.apply(CURVES[name], exact.exact(x)).astype(float)
        slopes = pushed.inputs[0].diagonal()
        gap = sign * y - (x * slopes + pushed.constant - pushed.error)
        assert np.all(gap.min(axis=0) < 1e-5)
        assert np.all(gap.max(axis=0) < 0.01)


@pytest.mark.parametrize("semantics", Semantics)
@pytest.mark.parametrize("name", [*CURVES, *GROUPS])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=seeds)
def test_every_smooth_rule_keeps_its_laws_inside_the_box(name, semantics, seed):
    """At corners and inner points; in float32 with every output off by all of its local error."""
    generator = np.random.default_rng(seed)
    make, shape = GROUPS.get(name, (lambda g: CURVES[name], (5,)))
    operator = make(generator)
    centre = generator.normal(size=(1, *shape)) * 10.0 ** generator.integers(-2, 2)
    centre += generator.choice([0.0, 100.0])
    reach = float(generator.choice(WIDTHS)) * generator.random((1, *shape))
    box = Box(centre - reach, centre + reach)
    coefficients = generator.normal(size=(3, *shape))
    coefficients[0] *= generator.random(shape) < 0.5
    if semantics is FLOAT32 and np.any(rule_for(operator, FLOAT32, shape).local_error(box) > 1e9):
        return
    moves = (0, 1, -1) if semantics is FLOAT32 else (0,)
    keeps_the_laws(operator, semantics, box, inner(generator, box, 6), coefficients, moves)


@pytest.mark.parametrize("semantics", Semantics)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds)
def test_a_softmax_keeps_its_laws_where_its_tangent_is_lowest(semantics, seed):
    """At the corner that the slopes point to and its neighbours, where little is left to spare."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(2, 7))
    centre = generator.normal(size=(1, count)) * 3
    reach = generator.choice([0.01, 0.1, 0.5]) * generator.random((1, count))
    box = Box(centre - reach, centre + reach)
    a = generator.normal(size=(1, count))
    rule = rule_for(Softmax(0), semantics, (count,))
    pushed = rule.push_back(Functionals(a, np.zeros(1, int)), box)
    lowest = np.where(pushed.inputs[0] > 0, box.lower, box.upper)
    highest = np.where(pushed.inputs[0] > 0, box.upper, box.lower)
    ends = np.stack([box.lower[0], box.upper[0]])
    corners = ends[generator.integers(0, 2, (4, count)), np.arange(count)]
    points = np.concatenate([lowest, highest, centre, corners])
    moves = (0, 1, -1) if semantics is FLOAT32 else (0,)
    keeps_the_laws(Softmax(0), semantics, box, points, a, moves)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_rounding_of_a_tangent_is_covered(seed):
    """Far from 0, in boxes so small that curvature leaves no room for what a product loses."""
    generator = np.random.default_rng(seed)
    centre = 1e6 + generator.normal(size=(1, 3))
    box = Box(centre - 1e-7, centre + 1e-7)
    a = generator.normal(size=(2, 3))
    keeps_the_laws(Softmax(0), REAL, box, centre, a, (0,))


@pytest.mark.parametrize("apart", [100.0, 200.1, 299.7, -299.7])
def test_a_softmax_of_numbers_far_apart_is_as_exact_as_their_difference(apart):
    """A difference of hundreds loses hundreds of roundings of its exponential."""
    for shift in (0.1, -0.3, 0.7):
        point = np.array([[shift, shift + apart]])
        keeps_the_laws(
            Softmax(0), REAL, Box(point, point.copy()), point, np.array([[1.0, 0.0]]), (0,)
        )


@pytest.mark.parametrize("count", [2, 5, 300])
def test_a_softmax_of_assumed_exponentials_is_within_its_local_error(count):
    """Of exponentials that are all off by what assumption E3 allows, one in the other direction."""
    rough, generator = 2.0**-19, np.random.default_rng(count)
    rule = rule_for(Softmax(0), FLOAT32, (count,))
    x = generator.normal(size=(1, count)) * 2
    local = rule.local_error(Box(x, x.copy()))
    assert local is not None
    exponentials = np.exp(x[0] - x.max())
    for number, sign in itertools.product(range(count), (1, -1)):
        off = exponentials * (1 - sign * rough)
        off[number] = exponentials[number] * (1 + sign * rough)
        moved = np.abs(off / off.sum() - exponentials / exponentials.sum())
        assert (moved <= local[0]).all()
        assert moved[number] > 2.0**-23 or exponentials[number] < 0.1 * exponentials.sum()


def test_a_softmax_knows_how_its_inputs_depend_on_one_another():
    """The bound varies with inputs of narrow boxes; over wide ones it is a constant."""
    rule = rule_for(Softmax(0), REAL, (3,))
    one = Functionals(np.array([[1.0, -1.0, 0.0]]), np.zeros(1, int))
    for reach, varies in ((0.01, True), (50.0, False)):
        pushed = rule.push_back(one, Box(np.full((1, 3), -reach), np.full((1, 3), reach)))
        assert np.any(pushed.inputs[0] != 0) == varies


@pytest.mark.parametrize("name", [*CURVES, *GROUPS])
@pytest.mark.parametrize("size", [1e-300, 1e-20, 1e6, 1e60])
def test_laws_hold_for_numbers_of_all_sizes(name, size):
    """Where exponentials vanish or overflow, and where squares underflow."""
    generator = np.random.default_rng(2)
    make, shape = GROUPS.get(name, (lambda g: CURVES[name], (4,)))
    centre = generator.normal(size=(1, *shape)) * size
    reach = np.abs(centre) * generator.random((1, *shape)) * 2
    box = Box(centre - reach, centre + reach)
    # mpmath is asked about what it can answer.
    if name in CURVES and size > 1e5:
        box = Box(np.clip(box.lower, -1e4, 1e4), np.clip(box.upper, -1e4, 1e4))
    keeps_the_laws(
        make(generator), REAL, box, inner(generator, box, 4), generator.normal(size=(2, *shape))
    )


@pytest.mark.parametrize("name", [*CURVES, *GROUPS])
def test_a_smooth_rule_refuses_functionals_that_samples_share(name):
    """Its bounds belong to one sample; sharing them would mix samples up."""
    make, shape = GROUPS.get(name, (lambda g: CURVES[name], (4,)))
    rule = rule_for(make(np.random.default_rng(0)), REAL, shape)
    box = Box(np.zeros((2, *shape)), np.ones((2, *shape)))
    with pytest.raises(ValueError, match="of a sample"):
        rule.push_back(Functionals(np.ones((1, *shape)), None), box)


@pytest.mark.parametrize("name", [*CURVES, *GROUPS])
def test_another_box_gets_bounds_of_its_own(name):
    """Lines are kept for the box that was asked about last, and for no other."""
    generator = np.random.default_rng(0)
    make, shape = GROUPS.get(name, (lambda g: CURVES[name], (4,)))
    operator = make(generator)
    used = rule_for(operator, REAL, shape)
    functional = Functionals(np.ones((1, *shape)), np.zeros(1, np.intp))
    for centre in (0.0, 2.0):
        lower = centre + generator.normal(size=(1, *shape))
        box = Box(lower, lower + 0.5)
        fresh = rule_for(operator, REAL, shape).push_back(functional, box)
        for _ in range(2):
            found = used.push_back(functional, box)
            np.testing.assert_array_equal(found.inputs[0], fresh.inputs[0])
            np.testing.assert_array_equal(found.constant, fresh.constant)


def test_softmax_needs_no_more_than_the_differences():
    """A shift changes nothing, and the bounds are attained."""
    lower = np.array([[0.0, 1.0, -1.0]])
    box = Box(lower, lower + 0.5)
    rule = rule_for(Softmax(0), REAL, (3,))
    found, moved = rule.interval(box), rule.interval(Box(box.lower + 1e3, box.upper + 1e3))
    np.testing.assert_allclose(moved.lower, found.lower, rtol=1e-9)
    np.testing.assert_allclose(moved.upper, found.upper, rtol=1e-9)
    for j in range(3):
        x = box.upper[0].copy()
        x[j] = box.lower[0, j]
        attained = exact.apply(Softmax(0), exact.exact(x))[j]
        assert 0 <= attained - Fraction(float(found.lower[0, j])) < Fraction(1, 10**12)


def test_layer_norm_attains_its_largest_output():
    """``sqrt(n - 1)``, where all other numbers are equal; no smaller bound would be right."""
    operator = LayerNormalization(np.ones(5, np.float32), np.zeros(5, np.float32), 2.0**-100)
    x = np.array([[4.0, 0.0, 0.0, 0.0, 0.0]])
    rule = rule_for(operator, REAL, (5,))
    assert rule.interval(Box(x, x.copy())).upper[0, 0] == pytest.approx(2.0)
    wide = rule.interval(Box(x - 9, x + 9))
    assert np.all(wide.upper >= 2.0)
    assert np.all(wide.upper <= 2.0 + 1e-12)
    assert np.all(wide.lower >= -2.0 - 1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_a_variance_lies_between_its_bounds_and_nearly_attains_them(seed):
    """At corners and inner points; the lower bound is that of the best point."""
    generator = np.random.default_rng(seed)
    centre, reach = generator.normal(size=(1, 1, 5)), generator.random((1, 1, 5)) * 0.4
    low, high = (float(v.item()) for v in variance_of(centre - reach, centre + reach))
    best = min(
        float(np.var(np.clip(c, centre - reach, centre + reach))) for c in np.linspace(-3, 3, 4001)
    )
    corners = np.array(np.meshgrid(*[(-1, 1)] * 5)).reshape(5, -1).T
    most = float(np.var(centre[0, 0] + corners * reach[0, 0], axis=1).max())
    assert low <= best <= low + 1e-5
    assert most <= high + 1e-15
    points = centre - reach + 2 * reach * generator.random((200, 1, 5))
    assert np.all(np.var(points, axis=2) >= low - 1e-15)


@pytest.mark.parametrize("count", [3, 7, 100])
def test_equal_numbers_have_no_variance(count):
    """Not even of as much as the rounding of their mean is, which is nothing small at 1e13."""
    for number in np.random.default_rng(0).uniform(1e13, 2e13, 200):
        values = np.full((1, 1, count), number)
        low, high = variance_of(values, values)
        assert low.item() == 0 <= high.item()
