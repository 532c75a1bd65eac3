"""The rule of max pooling against its derivation, window by window, in exact rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support import exact

from asi_verify.checker.arithmetic import gamma
from asi_verify.checker.max_pool import MaxPoolRule
from asi_verify.checker.rules import Functionals
from asi_verify.core.box import Box
from asi_verify.core.operators import MaxPool

U, SMALL = Fraction(1, 2**53), Fraction(1, 2**500)
CLOSE = Fraction(1, 2**36)
POOLS: dict[str, tuple[MaxPool, tuple[int, ...]]] = {
    "lines": (MaxPool((3,), (2,), ((1, 0),), (2,)), (2, 9)),
    "lines with far padding": (MaxPool((3,), (1,), ((2, 2),), (1,)), (2, 5)),
    "images": (MaxPool((3, 2), (1, 2), ((1, 0), (0, 1)), (1, 2)), (2, 4, 5)),
    "volumes": (MaxPool((2, 1, 2), (1, 2, 1), ((0, 1), (0, 0), (1, 0)), (1, 1, 1)), (2, 3, 3, 2)),
    "single numbers": (MaxPool((1,), (2,), ((0, 0),), (1,)), (2, 5)),
}


def boxes(generator: np.random.Generator, shape: tuple[int, ...]) -> Box:
    """Two boxes with integer ends, many of them equal, on both sides of 0."""
    lower = generator.integers(-4, 4, (2, *shape)).astype(np.float64)
    return Box(lower, lower + generator.integers(0, 5, lower.shape))


@pytest.mark.parametrize("name", POOLS)
def test_intervals_are_the_maxima_of_both_ends(name):
    """Exactly; padding is never the largest number."""
    pool, shape = POOLS[name]
    box = boxes(np.random.default_rng(0), shape)
    found = MaxPoolRule(pool, shape).interval(box)
    for sample in range(2):
        for end, ours in ((box.lower, found.lower), (box.upper, found.upper)):
            wanted = exact.apply(pool, exact.exact(end[sample]))
            assert exact.exact(ours[sample]).tolist() == wanted.tolist()


def by_definition(pool: MaxPool, box: Box, a: Any) -> tuple[Any, Fraction, Fraction, Fraction]:
    """Coefficients, constant, the sum of ``|a| M`` and that of windows, as derived.

    The box is that of one sample.
    """
    low, high = exact.exact(box.lower[0]), exact.exact(box.upper[0])
    back = exact.exact(np.zeros(low.shape))
    constant = reach = Fraction(0)
    for position in np.ndindex(*a.shape):
        places = exact.under(pool, low, position)
        coefficient = Fraction(float(a[position]))
        reach += abs(coefficient) * max(max(abs(low[p]), abs(high[p])) for p in places)
        if coefficient >= 0:
            best = max(places, key=lambda p: (low[p], high[p]))
            back[best] += coefficient
            continue
        top = max(places, key=lambda p: high[p])
        others = [high[p] for p in places if p != top]
        if not others or low[top] >= max(others):
            back[top] += coefficient
            continue
        rest = max(others)
        slope = coefficient * (high[top] - rest) / (high[top] - low[top])
        back[top] += slope
        constant += min(coefficient * rest - slope * low[top], (coefficient - slope) * high[top])
    return back, constant, reach, Fraction(a.size)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("seed", range(3))
def test_choices_chords_and_errors_are_as_derived(name, seed):
    """Of functionals with owners in any order; the error is that of all terms together."""
    pool, shape = POOLS[name]
    generator = np.random.default_rng(seed)
    box = boxes(generator, shape)
    a = generator.integers(-3, 4, (3, *pool.output_shape(shape))) / 4
    owners = np.array([1, 0, 1])
    found = MaxPoolRule(pool, shape).push_back(Functionals(a, owners), box)
    (back,) = found.inputs
    assert back.shape == (3, *shape)
    for which, owner in enumerate(owners):
        wanted, constant, reach, windows = by_definition(pool, box[[owner]], a[which])
        np.testing.assert_allclose(back[which], wanted.astype(float), rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(
            np.asarray(found.constant)[which], float(constant), rtol=1e-14, atol=1e-13
        )
        terms = windows + np.prod(pool.kernel) + 3
        error = 2 * (terms * U / (1 - terms * U)) * reach
        ours = Fraction(float(np.asarray(found.error)[which]))
        assert error <= ours <= error * (1 + CLOSE) + 2**12 * SMALL


def test_the_enlargements_of_a_maximum_are_counted():
    """One window of four numbers: gamma(8), one sum of one term, and the error's own."""
    rule = MaxPoolRule(MaxPool((4,), (4,), ((0, 0),), (1,)), (1, 4))
    box = Box(-np.ones((1, 1, 4)), np.zeros((1, 1, 4)))
    found = rule.push_back(Functionals(np.ones((1, 1, 1)), np.array([0])), box)
    of_gamma = (Fraction(gamma(8)) / (8 * U) - 1) * 2**52
    units = (Fraction(np.asarray(found.error).item()) / (16 * U) - 1) * 2**52
    assert units == of_gamma + (1 + 8) + (1 + 8)


@pytest.mark.parametrize("windows", [1, 3])
def test_underflow_is_allowed_for_in_every_window(windows):
    """Eight allowances each, seen where all coefficients are 0."""
    rule = MaxPoolRule(MaxPool((2,), (2,), ((0, 0),), (1,)), (1, 2 * windows))
    box = Box(np.zeros((1, 1, 2 * windows)), np.ones((1, 1, 2 * windows)))
    found = rule.push_back(Functionals(np.zeros((1, 1, windows)), np.array([0])), box)
    wanted = (2 * (1 + 8) + 8 * windows) * SMALL
    assert wanted <= Fraction(np.asarray(found.error).item()) <= wanted * (1 + CLOSE)


def test_an_overtaken_maximum_gets_the_chord_and_a_certain_one_itself():
    """From above, at the very point where the largest number is certain to be the largest."""
    rule = MaxPoolRule(MaxPool((2,), (2,), ((0, 0),), (1,)), (1, 2))
    down = Functionals(np.full((1, 1, 1), -4.0), np.array([0]))
    for low, high, back, constant in (
        ([1, 0], [4, 1], -4, 0),
        ([0, 0], [4, 1], -3, -4),
        ([-4, 0], [4, 0], -2, -8),
    ):
        box = Box(np.array([[low]], np.float64), np.array([[high]], np.float64))
        found = rule.push_back(down, box)
        assert found.inputs[0].tolist() == [[[back, 0.0]]]
        assert np.asarray(found.constant).item() == constant


def test_nothing_is_lost_where_the_maximum_is_certain():
    """All of the coefficient, to the last digit, and no constant."""
    rule = MaxPoolRule(MaxPool((3,), (3,), ((0, 0),), (1,)), (1, 3))
    box = Box(np.array([[[0.1, 5.3, -2.0]]]), np.array([[[0.7, 9.1, 1.0]]]))
    for a in (0.3, -0.3):
        found = rule.push_back(Functionals(np.full((1, 1, 1), a), np.array([0])), box)
        assert found.inputs[0].tolist() == [[[0, a, 0]]]
        assert np.asarray(found.constant).item() == 0
    assert rule.relaxes
    assert not rule.moves
    assert rule.open_numbers(box) is None
