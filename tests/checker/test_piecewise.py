"""The piecewise linear rules where they are weakest: at kinks and ends, in exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from support import exact

from asi_verify.checker.rules import Functionals
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box
from asi_verify.core.piecewise import Clamp, LeakyRelu
from asi_verify.core.semantics import Semantics

REAL = Semantics.REAL


def leaky(slope):
    return LeakyRelu(np.array(slope, np.float32))


OPERATORS = {
    "leaky": leaky(0.1),
    "steep": leaky(1.5),
    "falling": leaky(-0.7),
    "relu": leaky(0.0),
    "linear": leaky(1.0),
    "clamp": Clamp(-0.5, 0.75),
    "clamp from below": Clamp(-0.5, np.inf),
    "clamp from above": Clamp(-np.inf, 0.75),
    "clamp to a point": Clamp(0.5, 0.5),
    "no clamp": Clamp(-np.inf, np.inf),
}
SMALLEST = 2.0**-1074
BOXES = [
    (-1, 1), (-3, 0.25), (-0.25, 3), (-2, -1), (1, 2), (0, 1), (-1, 0), (0.75, 2), (-2, -0.5),
    (-0.5, 0.75), (0.5, 0.5), (0, 0), (-0.75, -0.75), (-0.1, 1 / 3), (-SMALLEST, SMALLEST),
    (-(2.0**60), 2.0**60), (-(2.0**60), 2.0**-60), (0.75 - 2.0**-53, 0.75 + 2.0**-52),
]  # fmt: skip


def points(operator, low, high):
    """The ends, and the kinks between them."""
    kinks = (operator.lower, operator.upper) if isinstance(operator, Clamp) else (0,)
    inner = [Fraction(k) for k in kinks if low < k < high]
    return [Fraction(low), *inner, Fraction(high)]


def values(operator, places):
    return list(exact.apply(operator, np.array(places, dtype=object)))


@pytest.mark.parametrize("name", OPERATORS)
def test_the_interval_holds_all_values_and_hardly_more(name):
    """The function is least and largest at ends and kinks."""
    operator = OPERATORS[name]
    for low, high in BOXES:
        box = Box(np.array([[float(low)]]), np.array([[float(high)]]))
        found = rule_for(operator, REAL, (1,)).interval(box)
        truth = values(operator, points(operator, low, high))
        least, largest = Fraction(found.lower.item()), Fraction(found.upper.item())
        assert least <= min(truth) <= max(truth) <= largest
        size = 1e-15 * max(abs(low), abs(high), 1)
        assert largest - least <= max(truth) - min(truth) + Fraction(size)


@pytest.mark.parametrize("a", [1.0, -1.0, 0.3, -1 / 3, 0.0])
@pytest.mark.parametrize("name", OPERATORS)
def test_the_line_lies_below_and_touches(name, a):
    """``a f(x) - b x`` is nowhere less than said; hardly more somewhere, and without a kink."""
    operator = OPERATORS[name]
    for low, high in BOXES:
        box = Box(np.array([[float(low)]]), np.array([[float(high)]]))
        rule = rule_for(operator, REAL, (1,))
        found = rule.push_back(Functionals(np.full((1, 1), a), np.array([0])), box)
        b = Fraction(found.inputs[0].item())
        rest = Fraction(found.constant.item()) - Fraction(found.error.item())
        places = points(operator, low, high)
        gaps = [
            Fraction(a) * f - b * x - rest
            for x, f in zip(places, values(operator, places), strict=True)
        ]
        size = Fraction(1e-14 * max(abs(low), abs(high), 1))
        assert 0 <= min(gaps) <= size
        if len(places) == 2:
            assert max(gaps) <= size


@pytest.mark.parametrize(("low", "high", "below"), [(-1, 2, 1.0), (-2, 1, 0.25), (-1, 1, 0.25)])
def test_the_slope_is_that_of_the_hull_in_the_middle(low, high, below):
    """From below the piece that the middle lies on, from above the chord."""
    box = Box(np.array([[float(low)]] * 2), np.array([[float(high)]] * 2))
    both = Functionals(np.array([[1.0], [-1.0]]), np.array([0, 1]))
    (b,) = rule_for(leaky(0.25), REAL, (1,)).push_back(both, box).inputs
    chord = (high - 0.25 * low) / (high - low)
    np.testing.assert_allclose(b[:, 0], [below, -chord], rtol=1e-15)


def test_functionals_that_samples_share_are_refused():
    """Slopes belong to one sample, as a ReLU's do."""
    box = Box(np.full((2, 3), -1.0), np.full((2, 3), 1.0))
    with pytest.raises(ValueError, match="of a sample"):
        rule_for(leaky(0.1), REAL, (3,)).push_back(Functionals(np.ones((1, 3)), None), box)


def test_numbers_are_open_where_a_kink_lies_inside():
    """Only then is a tighter box worth a pass of its own."""
    box = Box(np.array([[-1.0, 0.0, 0.5, -2.0]]), np.array([[1.0, 0.7, 1.0, -0.5]]))
    for operator, wanted in (
        (leaky(0.1), [True, False, False, False]),
        (Clamp(-0.5, 0.75), [True, False, True, False]),
        (Clamp(-np.inf, np.inf), [False] * 4),
    ):
        assert rule_for(operator, REAL, (4,)).open_numbers(box).tolist() == [wanted]
