"""The assumptions about computed functions, measured densely, and the constants of the curves."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from support import precise

from asi_verify.checker.curves import EVALUATION, RELATIVE, curve_of
from asi_verify.checker.lines import _FALLS, _RISES
from asi_verify.core.operators import Relu
from asi_verify.core.smooth import Erf, Gelu, Sigmoid, Tanh

CURVES = {
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "erf": Erf(),
    "gelu": Gelu(),
    "gelu by tanh": Gelu(tanh=True),
}
TINY = mpmath.mpf(2) ** -1000


def points():
    """A dense grid, all sizes from the smallest to the largest, and where functions saturate."""
    generator = np.random.default_rng(0)
    sizes = 2.0 ** generator.uniform(-1074, 500, 600)
    edges = np.concatenate([c + np.linspace(-1, 1, 21) for c in (6, 9, 19, 27, 37, 708, 745)])
    grid = np.concatenate([np.linspace(0, 12, 2401), generator.exponential(40, 600)])
    return np.concatenate([s * part for part in (grid, sizes, edges) for s in (1.0, -1.0)])


@pytest.mark.parametrize(
    ("computed", "exact"),
    [
        (np.exp, mpmath.exp),
        (np.tanh, mpmath.tanh),
        (np.vectorize(math.erf), mpmath.erf),
        (np.vectorize(math.erfc), mpmath.erfc),
    ],
)
def test_elementary_functions_are_within_e1_of_the_exact_ones(computed, exact):
    """With a factor of 8 to spare; also where they underflow."""
    x = points()
    x = x[x < 709]
    with np.errstate(under="ignore"):
        found = computed(x)
    with mpmath.workdps(40):
        for given, value in zip(x, found, strict=True):
            truth = exact(mpmath.mpf(float(given)))
            assert abs(mpmath.mpf(float(value)) - truth) <= abs(truth) * RELATIVE / 8 + TINY


def test_exp_overflows_to_infinity_alone():
    """The one thing that is used of it there."""
    with np.errstate(over="ignore"):
        assert np.all(np.exp(np.array([709.0, 710.0, 1e5, 2.0**500])) > 2.0**1000)


@pytest.mark.parametrize("name", CURVES)
def test_values_are_within_their_error(name):
    """Over the whole line, with a factor of 8 to spare."""
    x = points()
    curve, exact = curve_of(CURVES[name]), precise.function(CURVES[name])
    found = curve.value(x)
    assert np.isfinite(found).all()
    with mpmath.workdps(precise.DIGITS):
        for given, value in zip(x, found, strict=True):
            number = mpmath.mpf(float(given))
            # Beyond 2^50 mpmath's own functions are slow; all of these are then 0, 1, -1 or x.
            if abs(given) > 2.0**50:
                limit = max(number, 0) if "gelu" in name else mpmath.sign(number)
                truth = (limit + 1) / 2 if name == "sigmoid" else limit
            else:
                truth = exact(number)
            off = abs(mpmath.mpf(float(value)) - truth)
            assert off <= EVALUATION / 8 * (1 + abs(number))


iv = mpmath.iv


def sigmoid_derivatives(x):
    """Of the sigmoid at ``x >= 0``: ``1 - s``, ``s'`` and ``-s''``, without cancellation."""
    e = iv.exp(-x)
    return e / (1 + e), e / (1 + e) ** 2, e * (1 - e) / (1 + e) ** 3


def density(x):
    return iv.exp(-x * x / 2) / iv.sqrt(2 * iv.pi)


def second(name, x):
    """``f''`` up to its sign, as an interval, for ``x >= 0``."""
    if name == "sigmoid":
        return sigmoid_derivatives(x)[2]
    if name == "tanh":
        return 8 * sigmoid_derivatives(2 * x)[2]
    if name == "erf":
        return -4 / iv.sqrt(iv.pi) * x * iv.exp(-x * x)
    if name == "gelu":
        return density(x) * (2 - x * x)
    c = iv.sqrt(2 / iv.pi) * 2
    inner, first, bend = c * x * (1 + 0.044715 * x * x), c * (1 + 0.134145 * x * x), c * 0.26829 * x
    _, d, dd = sigmoid_derivatives(inner)
    return 2 * d * first + x * (d * bend - dd * first * first)


def holds_on(low, high, claim, depth=0):
    """Whether a claim about intervals holds on all of one, by cutting it into pieces."""
    if claim(iv.mpf([low, high])):
        return True
    middle = (low + high) / 2
    return depth < 30 and all(
        holds_on(*part, claim, depth + 1) for part in ((low, middle), (middle, high))
    )


@pytest.mark.parametrize("name", CURVES)
def test_curvatures_are_bounded_on_the_whole_line(name):
    """By interval arithmetic, which is a proof, up to 40; beyond it there is nothing to prove.

    All second derivatives are even or odd. Beyond 40 that of the sigmoid is at most ``exp(-x)``,
    that of tanh at most ``8 exp(-2 x)``, and the others' exponents fall with ``x^2`` or faster.
    """
    curve = curve_of(CURVES[name])

    def claim(x):
        tail = curve.height * iv.exp(-curve.rate * iv.mpf([x.b, x.b]))
        return abs(second(name, x)).b <= min(mpmath.mpf(curve.bend), tail.a)

    with mpmath.workdps(20):
        iv.dps = 20
        assert holds_on(0, 40, claim)
    # What is computed is not less.
    distance = np.linspace(0, 800, 5000)
    tail = [curve.height * mpmath.exp(-curve.rate * d) for d in distance]
    for value, exact in zip(curve.curvature(distance), tail, strict=True):
        assert value == curve.bend or mpmath.mpf(float(value)) >= exact - TINY


def first(name, x):
    """``f'`` of a GELU at ``-x`` up to a positive factor, as an interval, for ``x >= 0``."""
    if name == "gelu":
        # erf is not among mpmath's interval functions; it increases.
        tail = iv.mpf([mpmath.ncdf(-mpmath.mpf(x.b)), mpmath.ncdf(-mpmath.mpf(x.a))])
        return tail * (1 + iv.mpf([-1, 1]) * 2.0**-40) - x * density(x)
    c = iv.sqrt(2 / iv.pi) * 2
    rest, _, _ = sigmoid_derivatives(c * x * (1 + 0.044715 * x * x))
    return 1 - x * (1 - rest) * c * (1 + 0.134145 * x * x)


@pytest.mark.parametrize("name", ["gelu", "gelu by tanh"])
def test_gelu_falls_and_rises_and_stays_above_its_floor(name):
    """Up to -0.753, from -0.751 on, and convex between.

    Below -6 the signs are clear: ``Phi(x) < phi(x) / |x|``, and ``|x|`` times the slope of what is
    under the tanh is above 9. Above 0 every term of the derivative is positive.
    """
    operator = CURVES[name]
    with mpmath.workdps(30):
        iv.dps = 30
        assert holds_on(-_FALLS, 6, lambda x: first(name, x).b < 0)
        assert holds_on(0, -_RISES, lambda x: first(name, x).a > 0)
        assert holds_on(-_RISES, -_FALLS, lambda x: second(name, x).a > 0)
        exact = precise.function(operator)
        lowest = min(exact(mpmath.mpf(x)) for x in np.linspace(_FALLS, _RISES, 401))
        # Between two of the points it changes by less than 1e-8.
        floor = curve_of(operator).floor
        assert floor < lowest - 1e-8
        assert floor > lowest - 1e-4


def test_an_operator_without_a_curve_is_refused():
    """By name."""
    with pytest.raises(ValueError, match="Relu is no smooth function"):
        curve_of(Relu())


def test_a_factor_that_is_off_moves_gelu_by_less_than_is_allowed_for():
    """By the whole slack, on a dense grid."""
    slack = 2.0**-21
    off = curve_of(Gelu(slack=slack)).off
    with mpmath.workdps(40):
        for x in np.linspace(-10, 10, 801):
            number = mpmath.mpf(float(x))
            for sign in (1, -1):
                moved = number / 2 * mpmath.erf(number / mpmath.sqrt(2) * (1 + sign * slack))
                assert abs(moved - number / 2 * mpmath.erf(number / mpmath.sqrt(2))) <= off
