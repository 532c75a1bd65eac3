"""The small laws of the trusted pass: rounding constants, refusals, contradictions."""

from __future__ import annotations

import runpy
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import mlp, small_cnn, tiny_conv

from asi_verify.checker import TrustedPass
from asi_verify.checker.arithmetic import ETA, UNIT, down, enlarged, gamma, up
from asi_verify.checker.relu import ReluRule
from asi_verify.checker.rules import Functionals, largest_magnitude, largest_of_each
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.operators import MaxPool, Operator
from asi_verify.core.semantics import Semantics
from asi_verify.errors import UnsupportedOperatorError

finite = st.floats(-1e100, 1e100)


@given(st.integers(0, 2**39))
def test_gamma_is_at_least_its_definition(terms):
    """N u / (1 - n u), evaluated exactly."""
    exact = Fraction(terms, 2**53) / (1 - Fraction(terms, 2**53))
    assert Fraction(gamma(terms)) >= exact
    assert Fraction(gamma(terms)) <= exact * (1 + Fraction(8, 2**53)) + Fraction(1, 2**200)


@pytest.mark.parametrize("terms", [-1, 2**40])
def test_gamma_is_refused_where_it_means_nothing(terms):
    """Negative counts, and sums so long that n u is not small."""
    with pytest.raises(ValueError, match="rounding bound"):
        gamma(terms)


@given(finite, finite)
def test_directed_rounding_brackets_the_exact_result(a, b):
    """Of a sum, a difference and a product, also where the result underflows."""
    for computed, exact in (
        (a + b, Fraction(a) + Fraction(b)),
        (a - b, Fraction(a) - Fraction(b)),
    ):
        assert Fraction(float(down(np.float64(computed)))) < exact
        assert exact < Fraction(float(up(np.float64(computed))))


@given(finite)
def test_directed_rounding_costs_at_most_two_units_in_the_last_place(a):
    """Less would be too little; more would be given away at every operation of every layer."""
    below, above = float(down(np.float64(a))), float(up(np.float64(a)))
    for found, towards in ((below, -np.inf), (above, np.inf)):
        once = np.nextafter(a, towards)
        assert abs(Fraction(found) - Fraction(a)) >= abs(Fraction(once) - Fraction(a))
        twice = np.nextafter(once, towards)
        assert abs(found - a) <= abs(twice - a) + ETA


def test_the_largest_magnitudes_are_those_of_either_end():
    """Exact, on both sides of 0, number by number and for each sample."""
    lower = np.array([[[-3.0, 1.0]], [[-1.0, -7.0]], [[0.0, 2.0]]])
    upper = np.array([[[2.0, 2.0]], [[-0.5, 5.0]], [[0.0, 4.0]]])
    box = Box(lower, upper)
    assert largest_magnitude(box).tolist() == [[[3.0, 2.0]], [[1.0, 7.0]], [[0.0, 4.0]]]
    assert largest_of_each(box).tolist() == [3.0, 7.0, 4.0]


@given(st.lists(st.floats(0, 1e100), min_size=1, max_size=30))
def test_an_enlarged_sum_is_at_least_the_exact_one(terms):
    """Though every term was rounded before and the sum is computed in floats."""
    exact = sum(Fraction(t) for t in terms)
    assert Fraction(float(enlarged(np.float64(sum(terms)), len(terms)))) >= exact * (
        1 + Fraction(4, 2**53)
    )


def test_the_constants_are_what_the_analysis_says():
    """Unit roundoff of binary64; the allowance for underflow far below any bound."""
    assert 1 + UNIT == 1
    assert 1 + 2 * UNIT > 1
    assert 0 < ETA < 1e-150


class Unknown(Operator):
    """An operator that nobody gave a rule."""

    def output_shape(self, *inputs):
        return inputs[0]


def test_an_operator_without_a_rule_is_refused():
    """By name; there is no rule that is used for lack of a better one."""
    with pytest.raises(UnsupportedOperatorError, match="Unknown"):
        rule_for(Unknown(), Semantics.REAL, (3,))


def test_boxes_of_another_shape_are_refused():
    """Broadcasting would prove something about other inputs."""
    trusted = TrustedPass(small_cnn(np.random.default_rng(0)), Semantics.REAL)
    box = Box(np.zeros((2, 8, 8), np.float32), np.ones((2, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"boxes of shape \(8, 8\)"):
        trusted.bounds(box, Intermediate.INTERVAL)


def test_an_enclosure_that_cannot_be_computed_is_refused():
    """Rather than given with bounds that mean nothing."""
    network = mlp(np.random.default_rng(0), 2, 2)
    object.__setattr__(network.nodes[0].operator, "bias", np.full(2, 1e200))
    point = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="range"):
        TrustedPass(network, Semantics.REAL).enclosure(Box(point, point.copy()))


def test_over_the_reals_nothing_rounds():
    """Local errors are float32's; a solver is then asked for equalities."""
    network = tiny_conv(np.random.default_rng(0))
    box = Box(np.zeros((1, *network.input_shape)), np.ones((1, *network.input_shape)))
    for semantics, rounds in ((Semantics.REAL, False), (Semantics.FLOAT32, True)):
        trusted = TrustedPass(network, semantics)
        errors = trusted.local_errors(trusted.bounds(box, Intermediate.INTERVAL))
        assert any(error is not None for error in errors) is rounds


def test_a_relu_refuses_functionals_that_samples_share():
    """Its slopes belong to one sample; sharing them would mix samples up."""
    box = Box(np.full((2, 3), -1.0), np.full((2, 3), 1.0))
    shared = Functionals(np.ones((1, 3)), None)
    with pytest.raises(ValueError, match="of a sample"):
        ReluRule().push_back(shared, box)
    own = shared.one_per_sample(2)
    assert own.one_per_sample(2) is own
    assert own.owners.tolist() == [0, 1]


def test_a_maximum_refuses_functionals_that_samples_share():
    """Its choices belong to one sample, as a ReLU's slopes do."""
    box = Box(np.full((2, 1, 2), -1.0), np.full((2, 1, 2), 1.0))
    rule = rule_for(MaxPool((2,), (2,), ((0, 0),), (1,)), Semantics.REAL, (1, 2))
    with pytest.raises(ValueError, match="of a sample"):
        rule.push_back(Functionals(np.ones((1, 1, 1)), None), box)


def test_each_functional_gets_the_choices_of_its_own_sample():
    """Also where owners come in any order and leave samples out."""
    lower = np.array([[[9.0, 9.0]], [[0.0, 2.0]], [[3.0, 0.0]]])
    rule = rule_for(MaxPool((2,), (2,), ((0, 0),), (1,)), Semantics.REAL, (1, 2))
    functionals = Functionals(np.array([[[2.0]], [[-3.0]], [[5.0]]]), np.array([2, 1, 2]))
    found = rule.push_back(functionals, Box(lower, lower + 1))
    assert found.inputs[0].tolist() == [[[2.0, 0.0]], [[0.0, -3.0]], [[5.0, 0.0]]]
    assert not np.any(found.constant)


def test_the_choices_of_a_maximum_are_the_canonical_ones():
    """From below the largest lower bound, then the largest upper one; from above the chord."""
    box = Box(np.array([[[0.0, 0.0, -1.0, 0.0]]]), np.array([[[1.0, 3.0, 2.0, 3.0]]]))
    rule = rule_for(MaxPool((4,), (1,), ((0, 0),), (1,)), Semantics.REAL, (1, 4))
    for a, wanted in ((2.0, [0, 2, 0, 0]), (-2.0, [0, 0, 0, 0])):
        found = rule.push_back(Functionals(np.full((1, 1, 1), a), np.array([0])), box)
        assert found.inputs[0].tolist() == [[wanted]]
    part = rule_for(MaxPool((3,), (1,), ((0, 0),), (1,)), Semantics.REAL, (1, 3))
    open_box = Box(box.lower[:, :, :3].copy(), box.upper[:, :, :3].copy())
    found = part.push_back(Functionals(np.full((1, 1, 1), -3.0), np.array([0])), open_box)
    np.testing.assert_allclose(found.inputs[0], [[[0, -1, 0]]], rtol=1e-15)
    np.testing.assert_allclose(found.constant, [-6], rtol=1e-15)


def test_the_slopes_are_the_canonical_ones():
    """As ``LinearEvidence`` says: the chord from above; from below 1 where ``u >= -l``, else 0."""
    box = Box(np.array([[-1.0, -3.0, -2.0, 1.0, -2.0]]), np.array([[3.0, 1.0, 2.0, 2.0, -1.0]]))
    above, below = -np.ones((1, 5)), np.ones((1, 5))
    chord = [0.75, 0.25, 0.5, 1.0, 0.0]
    for a, slopes in ((above, chord), (below, [1.0, 0.0, 1.0, 1.0, 0.0])):
        (b,) = ReluRule().push_back(Functionals(a, np.array([0])), box).inputs
        assert (b / a).tolist() == [slopes]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [([[0.0, 2.0]], [[1.0, 1.0]]), ([[np.nan, 0.0]], [[1.0, 1.0]]), ([[0.0]], [[1.0, 1.0]])],
)
def test_a_box_with_crossed_bounds_or_nan_cannot_be_made(lower, upper):
    """An empty box would prove anything."""
    with pytest.raises(ValueError, match="box"):
        Box(np.array(lower), np.array(upper))


def test_the_module_is_a_command(monkeypatch, capsys):
    """``python -m asi_verify.checker`` runs it."""
    monkeypatch.setattr(sys, "argv", ["checker", "nowhere", "--data", "x.npz"])
    with pytest.raises(SystemExit) as leaving:
        runpy.run_module("asi_verify.checker", run_name="__main__", alter_sys=False)
    assert leaving.value.code == 2
    assert "nowhere" in capsys.readouterr().err
