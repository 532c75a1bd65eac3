"""How the passes keep their books: totals, owners, batches, limits, and what nothing is proved of.

Errors are counted as in ``test_error_analysis``.
"""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from support.networks import mlp, residual, small_cnn

from asi_verify.checker import TrustedPass, trusted
from asi_verify.checker.arithmetic import LIMIT, LIMIT32
from asi_verify.checker.rules import Functionals
from asi_verify.checker.table import rule_for
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Conv,
    Operator,
    Relu,
    Reshape,
    Scale,
    Transpose,
    largest_step,
)
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ModelError, UnsupportedOperatorError

REAL, FLOAT32 = Semantics.REAL, Semantics.FLOAT32
INTERVAL, BACKWARD = Intermediate.INTERVAL, Intermediate.BACKWARD
U, SMALL = Fraction(1, 2**53), Fraction(1, 2**500)
CLOSE = Fraction(1, 2**36)
BEYOND = float(np.nextafter(LIMIT, np.inf))


def units(value: Any, base: Fraction | float = 1) -> Fraction:
    """By how many units in the last place of 1 a value exceeds ``base``, in parts of ``base``."""
    return (Fraction(float(value)) / Fraction(base) - 1) * 2**52


def affine(weight: Any, bias: Any) -> Affine:
    return Affine(np.array(weight, np.float64), np.array(bias, np.float64))


def box(lower: Any, upper: Any) -> Box:
    return Box(np.array(lower, np.float64), np.array(upper, np.float64))


# Totals.


def test_every_addition_to_a_total_costs_a_unit_of_its_result():
    """And counts for two terms of the sum of errors."""
    total = trusted._Total(np.zeros(2))
    total.add(np.array([1.0, -4.0]), 0.0)
    assert [Fraction(e) for e in total.error] == [2 * U, 8 * U]
    total.add(0.0, np.array([1.0, 0.0]))
    assert units(total.error[0]) == 2  # the two roundings of 1
    assert Fraction(total.error[1]) == 16 * U
    assert total.constant.tolist() == [1, -4]
    assert total.terms == 1 + 2 + 2


def test_a_total_is_at_least_its_constant_less_the_enlarged_error():
    """Eight units more than there are terms, and one outward."""
    total = trusted._Total(np.zeros(1))
    total.add(0.0, 1.0)
    assert units(-total.lower().item()) == (3 + 8) + 1


def test_a_total_is_repeated_for_every_functional_of_its_sample():
    """Sample by sample, as the functionals are."""
    total = trusted._Total(np.zeros((2, 3)))
    total.add(np.array([[1.0, 2, 3], [4, 5, 6]]), 0.5)
    errors = total.error.reshape(-1).tolist()
    total.for_each(2, 3)
    assert total.constant.tolist() == [1, 2, 3, 4, 5, 6]
    assert total.error.tolist() == errors
    shared = trusted._Total(np.zeros((1, 3)))
    shared.add(np.array([[1.0, 2, 3]]), 0.0)
    shared.for_each(2, 3)
    assert shared.constant.tolist() == [1, 2, 3, 1, 2, 3]


def test_the_end_of_a_functional_is_as_derived():
    """``|a| . (r + gamma(N) |c|)``: around 0 the radius alone, in a point the centre's rounding."""
    nothing = Functionals(np.array([[0.0, 0.0]]), None).lowest(box([[-1, 0]], [[1, 0]]))
    wanted = (2 * (2 + 8) + 1) * SMALL
    assert wanted <= Fraction(-nothing.item()) <= wanted * (1 + CLOSE)
    found = Functionals(np.array([[1.0, -1.0]]), None).lowest(box([[1, 1]], [[1, 1]]))
    wanted = 2 * (2 * U / (1 - 2 * U))
    assert wanted <= Fraction(-found.item()) <= wanted * (1 + CLOSE)
    found = Functionals(np.array([[2.0]]), None).lowest(box([[-5], [2]], [[1], [4]]))
    assert found.shape == (2, 1)
    for lowest, wanted in zip(found.reshape(-1), (-10, 4), strict=True):
        assert wanted - 1e-13 <= lowest < wanted


def test_the_rounding_of_a_merged_functional_is_as_derived():
    """Two roundoffs of ``|a + b| |x|``, and for underflow two allowances for each number."""
    total = trusted._Total(np.zeros((1, 1)))
    first, second = (Functionals(np.array([[v, 0.0]]), None) for v in (3.0, 1.0))
    merged = trusted._merge(first, second, box([[-8, 0]], [[2, 0]]), total)
    assert merged.coefficients.tolist() == [[4, 0]]
    assert units(total.error.item(), 2 * 4 * 8 * U) == (2 + 8) + (1 + 8)
    assert total.constant.item() == 0
    total = trusted._Total(np.zeros((1, 1)))
    opposite = Functionals(-first.coefficients, None)
    trusted._merge(first, opposite, box([[-8, 0]], [[2, 0]]), total)
    wanted = (2 * (1 + 8) + 2 * 2) * SMALL
    assert wanted <= Fraction(total.error.item()) <= wanted * (1 + CLOSE)


# Limits.


def test_values_up_to_the_limit_are_sound_and_beyond_it_are_not():
    """To the last float; what is not is marked and set to 0, its neighbours are left alone."""
    lower, upper = [[-LIMIT, 0], [0, 0], [-BEYOND, -1]], [[0, 1], [3, LIMIT], [0, 1]]
    sound = np.array([True, True, True])
    found = trusted._within_limit(box(lower, upper), sound)
    assert sound.tolist() == [True, True, False]
    assert found.lower.tolist() == [lower[0], lower[1], [0, 0]]
    assert found.upper.tolist() == [upper[0], upper[1], [0, 0]]
    sound = np.array([True, False, True])
    whole = box(lower[:2], upper[:2])
    assert trusted._within_limit(whole, sound[:2]) is whole
    assert sound.tolist() == [True, False, True]
    deep = box(np.full((2, 1, 2), [[[1.0]], [[BEYOND]]]), np.full((2, 1, 2), [[[2.0]], [[BEYOND]]]))
    sound = np.array([True, True])
    assert trusted._within_limit(deep, sound).upper.tolist() == [[[2, 2]], [[0, 0]]]


def test_coefficients_up_to_the_limit_are_usable_and_beyond_it_are_not():
    """To the last float, on both sides; NaN is beyond."""
    rows = [[LIMIT, -LIMIT], [BEYOND, 1.0], [0.0, -BEYOND], [np.nan, 0.0], [5.0, 6.0]]
    usable = np.array([True, True, True, True, False])
    owners = np.arange(5)
    found = trusted._refuse_beyond_limit(Functionals(np.array(rows), owners), usable)
    assert usable.tolist() == [True, False, False, False, False]
    assert found.coefficients.tolist() == [rows[0], [0, 0], [0, 0], [0, 0], [5, 6]]
    assert found.owners is owners
    inside = Functionals(np.array(rows)[[0, 4]].reshape(2, 1, 2), None)
    assert trusted._refuse_beyond_limit(inside, usable[[0, 4]]) is inside
    deep = Functionals(np.array(rows).reshape(5, 1, 2), None)
    found = trusted._refuse_beyond_limit(deep, np.ones(5, dtype=bool))
    assert found.coefficients.tolist()[1] == [[0, 0]]


def test_sums_up_to_the_limit_of_binary32_are_sound_and_beyond_it_are_not():
    """To the last float."""
    network = Network.sequential((1,), [Scale(np.float32([1]), np.float32([0]))])
    passes = TrustedPass(network, FLOAT32)
    row = passes.rules[0].largest_sum(box([[1]], [[1]])).item()
    size = LIMIT32 / row
    while size * row < LIMIT32:
        size = float(np.nextafter(size, np.inf))
    while size * row > LIMIT32:
        size = float(np.nextafter(size, 0))
    above = size
    while above * row <= LIMIT32:
        above = float(np.nextafter(above, np.inf))
    assert size * row == LIMIT32
    found = passes.bounds(box([[-size], [-above], [0], [1]], [[0], [0], [above], [2]]), INTERVAL)
    assert found.sound.tolist() == [True, False, False, True]
    real = TrustedPass(network, REAL).bounds(box([[-size], [-above]], [[0], [0]]), INTERVAL)
    assert real.sound.tolist() == [True, True]


def test_one_sample_beyond_the_limit_spoils_no_other():
    """In every pass: its bound is -inf, and its neighbours have what they have alone."""
    network = mlp(np.random.default_rng(0), 2, 3, 2)
    passes = TrustedPass(network, REAL)
    good = box([[0.1, 0.2], [0.5, 0.5]], [[0.2, 0.4], [0.5, 0.75]])
    mixed = box([good.lower[0], [0, 0], good.lower[1]], [good.upper[0], [0, BEYOND], good.upper[1]])
    for evidence in (IntervalEvidence(), LinearEvidence(INTERVAL), LinearEvidence(BACKWARD)):
        alone = passes.margins(good, SingleLabel(0, 2), evidence)
        found = passes.margins(mixed, SingleLabel(0, 2), evidence)
        assert np.isfinite(alone).all()
        assert found.tolist() == [alone[0], -np.inf, alone[1]]


def test_an_unusable_functional_spoils_no_other():
    """One row of the property beyond the limit: that row proves nothing, of every sample."""
    network = mlp(np.random.default_rng(0), 2, 3, 2)
    passes = TrustedPass(network, REAL)
    bounds = passes.bounds(box([[0, 0], [0.5, 0]], [[1, 1], [1, 1]]), INTERVAL)
    rows = np.array([[1.0, -1.0], [BEYOND, 0.0], [0.0, 1.0]])
    for to_input in (True, False):
        found = passes.lower(bounds, rows, to_input=to_input)
        alone = passes.lower(bounds, rows[[0, 2]], to_input=to_input)
        assert found[:, 1].tolist() == [-np.inf, -np.inf]
        np.testing.assert_allclose(found[:, [0, 2]], alone, rtol=1e-12)
        assert np.isfinite(alone).all()


# Batches.


def test_batches_cover_every_sample_once_within_the_working_set():
    """Slices in order; as many as fit, at least one."""
    each = trusted._WORKING_SET // (8 * 8)
    assert list(TrustedPass._batches(20, each)) == [slice(0, 8), slice(8, 16), slice(16, 20)]
    assert list(TrustedPass._batches(16, each)) == [slice(0, 8), slice(8, 16)]
    assert list(TrustedPass._batches(2, each * 9)) == [slice(0, 1), slice(1, 2)]
    assert list(TrustedPass._batches(0, each)) == []


@pytest.mark.parametrize("evidence", [IntervalEvidence(), LinearEvidence(BACKWARD)])
def test_cutting_a_batch_changes_nothing(evidence, monkeypatch):
    """Not even the order of the results; one sample and one functional at a time."""
    network = small_cnn(np.random.default_rng(2))
    passes = TrustedPass(network, REAL)
    lower = np.random.default_rng(3).random((5, 1, 8, 8))
    boxes = Box(lower, lower + 0.02)
    together = passes.margins(boxes, SingleLabel(1, 3), evidence)
    enclosure = passes.enclosure(boxes)
    assert len(set(together.tolist())) == 5
    monkeypatch.setattr(trusted, "_WORKING_SET", 1)
    np.testing.assert_allclose(
        passes.margins(boxes, SingleLabel(1, 3), evidence), together, rtol=1e-9
    )
    cut = passes.enclosure(boxes)
    np.testing.assert_allclose(cut.lower, enclosure.lower, rtol=1e-9)
    np.testing.assert_allclose(cut.upper, enclosure.upper, rtol=1e-9)


@pytest.mark.parametrize("numbers_at_once", [1, 3, 1000])
def test_each_number_is_tightened_over_its_own_samples_boxes(numbers_at_once, monkeypatch):
    """However the numbers of several samples fall into batches."""
    passes = TrustedPass(opened(), REAL)
    lower = np.random.default_rng(4).uniform(-1, 0, (5, 2))
    boxes = Box(lower, lower + np.linspace(0.5, 1.5, 5)[:, None])
    alone = [passes.bounds(boxes[[row]], BACKWARD).boxes[3] for row in range(5)]
    assert len({float(one.upper[0, 0]) for one in alone}) == 5
    monkeypatch.setattr(trusted, "_WORKING_SET", 8 * 4 * 3 * numbers_at_once)
    found = passes.bounds(boxes, BACKWARD).boxes[3]
    for row, one in enumerate(alone):
        np.testing.assert_allclose(found.lower[row], one.lower[0], rtol=1e-12)
        np.testing.assert_allclose(found.upper[row], one.upper[0], rtol=1e-12)


# What the passes do.


def opened() -> Network:
    """Two ReLU layers; over [-1, 1] the second one's inputs are tighter by a backward pass."""
    return Network.sequential(
        (2,),
        [
            affine([[1, 1], [1, -1]], [0.5, 0]),
            Relu(),
            affine([[1, -1], [-1, 1], [1, 1]], [0, 0.25, 7]),
            Relu(),
            affine([[1, 1, -1], [0, 0, 0]], [0, 0]),
        ],
    )


def test_intermediate_bounds_are_the_tighter_of_two_where_a_phase_is_open():
    """By hand: the chords of the two open neurons; a neuron that is on keeps its interval."""
    passes = TrustedPass(opened(), REAL)
    region = box([[-1, -1]], [[1, 1]])
    intervals = passes.bounds(region, INTERVAL)
    tightened = passes.bounds(region, BACKWARD)
    # z1 in [-1.5, 2.5], z2 in [-2, 2]: chords 0.625 z + 0.9375 and 0.5 z + 1, slopes 1 from below.
    first = [2.5, 2.0]
    np.testing.assert_allclose(intervals.boxes[2].upper, [first], rtol=1e-12)
    np.testing.assert_allclose(intervals.boxes[3].lower, [[-2, -2.25, 7]], rtol=1e-12)
    np.testing.assert_allclose(intervals.boxes[3].upper, [[2.5, 2.25, 11.5]], rtol=1e-12)
    # The first row from above: 0.625 (x + y + 0.5) + 0.9375 - (x - y), slope 1 from below:
    # -0.375 x + 1.625 y + 1.25, at most 3.25: the interval stays. Before it is read, each row is at
    # least what its relaxation is in the corner that is worst for it.
    np.testing.assert_allclose(tightened.boxes[3].upper[0, 0], 2.5, rtol=1e-12)
    np.testing.assert_allclose(tightened.boxes[3].lower[0, 0], -2.0, rtol=1e-12)
    assert np.array_equal(tightened.boxes[3].lower[0, 2], intervals.boxes[3].lower[0, 2])
    assert np.array_equal(tightened.boxes[1].lower, intervals.boxes[1].lower)


def test_the_first_relu_is_left_to_intervals():
    """They are exact there but for rounding; behind it every ReLU has a pass of its own."""
    behind = TrustedPass(opened(), Semantics.REAL)._relaxed
    assert behind == (False, False, True, True, True, True)
    joined = TrustedPass(residual(np.random.default_rng(0), 2, 2), Semantics.REAL)
    assert joined._relaxed == (False, False, True, True, True, True, True)


def test_backward_bounds_are_tighter_than_intervals_on_both_sides():
    """Of a difference of equals, which intervals do not see, for each number of its own."""
    network = Network.sequential(
        (1,),
        [
            affine([[1], [1]], [0.5, 0.5]),
            Relu(),
            affine([[1, -1], [-2, 2], [1, 0]], [0.25, -0.125, -0.5]),
            Relu(),
            affine([[1, 1, 1], [0, 0, 0]], [0, 0]),
        ],
    )
    passes = TrustedPass(network, REAL)
    region = box([[0.0], [0.25]], [[1.0], [0.5]])
    found = passes.bounds(region, BACKWARD).boxes[3]
    wanted = [[0.25, -0.125, 0], [0.25, -0.125, 0.25]]
    np.testing.assert_allclose(found.lower, wanted, atol=1e-12)
    np.testing.assert_allclose(found.upper, [[0.25, -0.125, 1], [0.25, -0.125, 0.5]], atol=1e-12)
    intervals = passes.bounds(region, INTERVAL).boxes[3]
    np.testing.assert_allclose(intervals.lower[0], [-0.75, -2.125, 0], atol=1e-12)
    assert np.all(intervals.lower <= found.lower)


@pytest.mark.parametrize("operator", [Affine, Conv, Scale, Add])
def test_sums_know_into_which_sums_they_may_be_taken(operator):
    """An addition behind a linear operator counts that operator's terms; behind another none."""
    makes: dict[type[Operator], Operator] = {
        Affine: affine(np.eye(3), np.zeros(3)),
        Conv: Conv(np.ones((1, 1, 1), np.float32), np.zeros(1, np.float32), (1,), ((0, 0),), (1,)),
        Scale: Scale(np.float32([1]), np.float32([0])),
        Add: Relu(),
    }
    terms = {Affine: 4, Conv: 2, Scale: 2, Add: 0}
    shape = (1, 3) if operator is Conv else (3,)
    network = Network(shape, (Node(makes[operator], (0,)), Node(Add(), (0, 1))))
    rule = TrustedPass(network, FLOAT32).rules[1]
    ones = Box(np.ones((1, *shape)), np.ones((1, *shape)))
    error = Fraction(rule.local_error(ones, ones).reshape(-1)[0])
    count = terms[operator] + 1
    wanted = 2 * Fraction(count, 2**24) / (1 - Fraction(count, 2**24))
    assert wanted <= error <= wanted * (1 + CLOSE)


def test_a_sum_behind_moved_numbers_may_be_taken_into_the_sum_before_them():
    """Runtimes exchange a sum with what only moves numbers."""
    shifts = np.zeros(4, np.float32)
    nodes = (
        Node(affine(np.eye(4), shifts), (0,)),
        Node(Reshape((2, 2)), (1,)),
        Node(Transpose((1, 0)), (2,)),
        Node(Add(), (3, 3)),
        Node(Relu(), (2,)),
        Node(Reshape((2, 2)), (5,)),
        Node(Add(), (4, 6)),
        Node(Add(), (6, 6)),
    )
    rules = TrustedPass(Network((4,), nodes), FLOAT32).rules
    ones = Box(np.ones((1, 2, 2)), np.ones((1, 2, 2)))
    for number, count in ((3, 5 + 1), (6, 1), (7, 1)):
        error = rules[number].local_error(ones, ones)
        assert error is not None
        wanted = 2 * Fraction(count, 2**24) / (1 - Fraction(count, 2**24))
        assert wanted <= Fraction(float(error.max())) <= wanted * (1 + CLOSE)


def test_networks_whose_passes_are_too_large_are_refused(monkeypatch):
    """Exactly beyond the limit, with both numbers that make it."""
    network = Network.sequential((4,), [affine(np.ones((3, 4)), np.zeros(3)), Relu()])
    step = max(largest_step(n.operator, network.shapes[n.inputs[0]]) for n in network.nodes)
    monkeypatch.setattr(trusted, "LARGEST_PASS", 3 * step)
    TrustedPass(network, REAL)
    monkeypatch.setattr(trusted, "LARGEST_PASS", 3 * step - 1)
    says = f"^3 outputs of a network with up to {step} numbers in one step .* hold {3 * step - 1};"
    with pytest.raises(ModelError, match=says):
        TrustedPass(network, REAL)


def test_a_sum_of_what_is_no_sum_rounds_once():
    """Of the input with itself, and of a ReLU's output."""
    twice = (Node(Relu(), (0,)), Node(Add(), (0, 0)), Node(Add(), (1, 1)))
    ones = box([[1, 1]], [[1, 1]])
    for rule in TrustedPass(Network((2,), twice), FLOAT32).rules[1:]:
        error = rule.local_error(ones, ones)
        assert error is not None
        assert 2 * 2.0**-24 <= error.min() <= error.max() <= 2.001 * 2.0**-24


def test_a_rule_that_cannot_be_made_names_its_operator():
    """With the reason, and without the inner error's traceback."""
    wide = Affine(np.zeros((1, 2**22), np.float32), np.zeros(1, np.float32))
    with pytest.raises(UnsupportedOperatorError, match=r"^Affine: no binary32") as refused:
        rule_for(wide, FLOAT32, (2**22,))
    assert refused.value.__suppress_context__


def test_numbers_of_neurons_follow_the_values_that_relus_read():
    """In order, each value once, though two ReLUs read it."""
    network = Network(
        (2,),
        (
            Node(affine(np.ones((3, 2)), np.zeros(3)), (0,)),
            Node(Relu(), (1,)),
            Node(Relu(), (1,)),
            Node(Add(), (2, 3)),
            Node(affine(np.ones((4, 3)), np.zeros(4)), (4,)),
            Node(Relu(), (5,)),
        ),
    )
    assert TrustedPass(network, REAL).neurons == {1: slice(0, 3), 5: slice(3, 7)}


def test_every_row_of_a_property_counts():
    """The margin is that of the smallest row, and with intervals the last layer is merged."""
    network = Network.sequential((1,), [affine([[1], [2], [3]], [0, 0, 0])])
    passes = TrustedPass(network, REAL)
    region = box([[1.0]], [[2.0]])
    for evidence in (IntervalEvidence(), LinearEvidence(INTERVAL)):
        margin = passes.margins(region, SingleLabel(2, 3), evidence)
        # 3 x - 2 x is at least 1, and 3 x - x at least 2.
        np.testing.assert_allclose(margin, [1.0], atol=1e-12)
        several = passes.margins(region, MultiLabel((1, 1, 0)), evidence)
        np.testing.assert_allclose(several, [-6.0], atol=1e-12)


def test_constants_of_rows_are_added_to_their_bounds():
    """Rounded down; where there is none the bound stays what it is."""
    network = Network.sequential((1,), [affine([[1]], [0])])
    passes, region = TrustedPass(network, REAL), box([[1.0]], [[2.0]])
    numbers = [Fraction(n, 2) for n in (-3, -2, -1, 0, 1, 2, 3)]
    rows = tuple((Inequality((1,), number),) for number in numbers)
    bounds = passes.bounds(region, INTERVAL)
    found = passes.rows(bounds, Clauses(1, rows), to_input=True)[0]
    plain = passes.lower(bounds, np.ones((1, 1)), to_input=True).item()
    for number, bound in zip(numbers, found.tolist(), strict=True):
        total = plain + float(number)
        assert bound == total if number == 0 else np.nextafter(total, -9) >= bound > total - 1e-15
        assert Fraction(bound) <= 1 + number


@pytest.mark.parametrize("semantics", Semantics)
def test_subnormal_inputs_may_be_taken_for_zero_in_float32_alone(semantics):
    """Boxes of them reach 0 then; in real arithmetic they are what they are."""
    network = Network.sequential((2,), [affine([[1, 1]], [0])])
    lower, upper = [[2.0**-130, -(2.0**-128)]], [[2.0**-128, -(2.0**-130)]]
    found = TrustedPass(network, semantics).bounds(box(lower, upper), INTERVAL).boxes[0]
    if semantics is FLOAT32:
        lower[0][0] = upper[0][1] = 0.0
    assert found.lower.tolist() == lower
    assert found.upper.tolist() == upper


def test_boxes_are_tightened_behind_the_first_relaxation_alone(monkeypatch):
    """Before it intervals are exact but for rounding, and a backward pass is a waste."""
    asked, tightened = [], TrustedPass._tightened

    def watched(passes, bounds, value, numbers):
        asked.append(value)
        return tightened(passes, bounds, value, numbers)

    monkeypatch.setattr(TrustedPass, "_tightened", watched)
    region = box(np.full((1, 6), -1.0), np.full((1, 6), 1.0))
    layers = mlp(np.random.default_rng(0), 6, 5, 4, 3)
    TrustedPass(layers, REAL).bounds(region, BACKWARD)
    assert asked == [3]


def test_a_pass_stops_at_the_outputs_of_relus_or_goes_on_to_the_input():
    """By intervals each ReLU's output stands for itself; to the input the chord is pushed on."""
    network = Network.sequential((1,), [affine([[1], [1]], [0, 0]), Relu(), affine([[1, -1]], [0])])
    passes = TrustedPass(network, REAL)
    bounds = passes.bounds(box([[-1.0], [1.0]], [[1.0], [3.0]]), INTERVAL)
    row = np.array([[1.0]])
    stopped = passes.lower(bounds, row, to_input=False)
    np.testing.assert_allclose(stopped, [[-1], [-2]], atol=1e-12)
    # x - (x + 1) / 2 is at least -1; where both are on they are equal.
    onward = passes.lower(bounds, row, to_input=True)
    np.testing.assert_allclose(onward, [[-1], [0]], atol=1e-12)


def test_local_errors_are_those_of_each_value():
    """In the order of the values, None for the input and for what does not round."""
    network = Network.sequential(
        (1, 2),
        [Reshape((2,)), affine([[1, 1]], [0]), Relu(), Scale(np.float32([2]), np.float32([0]))],
    )
    passes = TrustedPass(network, FLOAT32)
    bounds = passes.bounds(box([[[1, 1]]], [[[1, 1]]]), INTERVAL)
    errors = passes.local_errors(bounds)
    assert [error is None for error in errors] == [True, True, False, True, False]
    assert 4 * 2 * 2.0**-24 <= errors[2].item() <= 4.001 * 2 * 2.0**-24
    assert 11 * 4 * 2.0**-24 <= errors[4].item() <= 11.001 * 4 * 2.0**-24


def test_an_output_that_reads_the_input_directly_is_bounded():
    """A residual sum: both ways to the input are merged before it is replaced by its box."""
    network = Network((1,), (Node(affine([[-1]], [0.5]), (0,)), Node(Add(), (0, 1))))
    passes = TrustedPass(network, REAL)
    bounds = passes.bounds(box([[-3.0]], [[5.0]]), INTERVAL)
    for to_input in (True, False):
        found = passes.lower(bounds, np.array([[1.0], [-2.0]]), to_input=to_input)
        np.testing.assert_allclose(found, [[0.5, -1.0]], atol=1e-12)


def test_values_that_nothing_reads_and_branches_beside_a_relu_are_passed_by():
    """The way back goes on to what is still pending."""
    one = affine([[1]], [0])
    unread = Network((1,), (Node(affine([[2]], [1]), (0,)), Node(one, (0,)), Node(one, (1,))))
    beside = Network((1,), (Node(one, (0,)), Node(Relu(), (1,)), Node(Add(), (1, 2))))
    region, row = box([[-1.0]], [[1.0]]), np.array([[1.0]])
    for network, wanted in ((unread, -1.0), (beside, -1.0)):
        passes = TrustedPass(network, REAL)
        bounds = passes.bounds(region, INTERVAL)
        found = passes.lower(bounds, row, to_input=False)
        np.testing.assert_allclose(found, [[wanted]], atol=1e-12)
    upward = passes.lower(bounds, -row, to_input=False)
    np.testing.assert_allclose(upward, [[-2]], atol=1e-12)


def test_an_output_may_be_that_of_a_relu():
    """Every sample then has slopes of its own from the first step on."""
    passes = TrustedPass(Network.sequential((1,), [affine([[1]], [0]), Relu()]), REAL)
    bounds = passes.bounds(box([[-1.0], [2.0]], [[1.0], [3.0]]), INTERVAL)
    found = passes.lower(bounds, np.array([[1.0], [-1.0]]), to_input=True)
    np.testing.assert_allclose(found, [[-1, -1], [2, -3]], atol=1e-12)


def test_boxes_of_every_other_shape_are_refused():
    """Larger or smaller, with the shape that is wrong and the one that is right."""
    passes = TrustedPass(small_cnn(np.random.default_rng(0)), REAL)
    for shape in ((1, 4, 4), (2, 8, 8), (8, 8)):
        wrong = Box(np.zeros((1, *shape)), np.ones((1, *shape)))
        says = re.escape(f"boxes of shape {shape} for inputs (1, 8, 8)")
        with pytest.raises(ValueError, match=says):
            passes.bounds(wrong, INTERVAL)


# Known bounds and advice, of which split trees are made.


def test_known_bounds_narrow_every_value_and_may_leave_nothing():
    """Where a value cannot lie between them no input is left, of that sample alone."""
    network = Network.sequential((1,), [affine([[2]], [0]), Relu()])
    passes = TrustedPass(network, REAL)
    region = box([[-1], [-1], [-1], [-1]], [[1], [1], [1], [1]])
    all_of_it = (np.full((4, 1), -9.0), np.full((4, 1), 9.0))
    inputs = (np.array([[-9.0], [0.5], [-9], [2]]), np.full((4, 1), 9.0))
    affine_values = (np.array([[0.0], [-9], [3], [-9]]), np.full((4, 1), 9.0))
    found = passes.bounds(region, INTERVAL, [inputs, affine_values, all_of_it])
    assert found.empty.tolist() == [False, False, True, True]
    assert found.sound.tolist() == [True] * 4
    np.testing.assert_allclose(found.boxes[0].lower, [[-1], [0.5], [-1], [-1]])
    np.testing.assert_allclose(found.boxes[1].lower[:2], [[0], [1]], atol=1e-12)
    # What is empty keeps a box, so that what follows can be computed.
    np.testing.assert_allclose(found.boxes[1].lower[2:], [[-2], [-2]], atol=1e-12)
    part = found.take(slice(1, 3))
    assert part.empty.tolist() == [False, True]
    assert len(part.boxes[0]) == len(part.sound) == 2


def test_touching_bounds_are_not_empty():
    """A single point is left; beyond it nothing is."""
    empty = np.zeros(2, dtype=bool)
    found = trusted._meet(
        box([[0, 0], [0, 0]], [[1, 1], [1, 1]]),
        np.array([[1.0, 0], [0, np.nextafter(1, 2)]]),
        np.array([[2.0, 2], [2, 2]]),
        empty,
    )
    assert empty.tolist() == [False, True]
    assert found.lower.tolist() == [[1, 0], [0, 0]]
    assert found.upper.tolist() == [[1, 1], [1, 1]]
    deep = box(np.zeros((2, 1, 2)), np.ones((2, 1, 2)))
    found = trusted._meet(
        deep, np.full((2, 1, 2), [[[0.5]], [[3]]]), np.full((2, 1, 2), 9.0), empty
    )
    assert found.lower.tolist() == [[[0.5, 0.5]], [[0, 0]]]


def test_slopes_and_multipliers_are_used_for_their_functional():
    """Slopes from below for open phases; a multiplier is added to the coefficients it is for."""
    network = Network.sequential((1,), [affine([[1]], [0]), Relu(), affine([[1]], [0])])
    passes = TrustedPass(network, REAL)
    bounds = passes.bounds(box([[-1.0], [-1.0]], [[2.0], [3.0]]), INTERVAL)
    rows = np.array([[1.0], [-1.0], [2.0]])
    slopes = np.array([[0.5], [np.nan], [1.0], [np.nan], [0.25], [0.0]])
    advice = trusted.Advice(slopes={1: slopes})
    found = passes.lower(bounds, rows, to_input=True, advice=advice)
    # 0.5 x on [-1, 2]; the chord 2/3 x + 2/3 at 2; 2 x at -1. Then x at -1; the chord at 3, as
    # slopes from below say nothing of functionals that are bounded from above; and 0.
    np.testing.assert_allclose(found, [[-0.5, -2, -2], [-1, -3, 0]], atol=1e-12)
    multipliers = np.array([[-0.5], [0], [0], [0], [0], [0]])
    advice = trusted.Advice(slopes={1: slopes}, multipliers={1: multipliers})
    found = passes.lower(bounds, rows, to_input=True, advice=advice)
    # Where x is known to be at least 0, x - 0.5 x is at most x: 0 on its slope of 0.5.
    np.testing.assert_allclose(found, [[0, -2, -2], [-1, -3, 0]], atol=1e-12)
    some = advice.take(slice(1, 3))
    assert some.multipliers[1].tolist() == [[0], [0]]
    np.testing.assert_array_equal(some.slopes[1], [[np.nan], [1.0]])


def test_a_whole_box_that_is_called_empty_proves_nothing():
    """Without known bounds an empty box can only be an error."""
    network = opened()
    passes = TrustedPass(network, REAL)
    found = passes.bounds(box([[-1, -1]], [[1, 1]]), BACKWARD)
    assert found.sound.tolist() == [True]
    assert found.empty.tolist() == [False]


def test_bounds_and_advice_do_not_change():
    """What one step was given, another finds."""
    bounds = TrustedPass(opened(), REAL).bounds(box([[0, 0]], [[1, 1]]), INTERVAL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bounds.sound = np.array([True])
    with pytest.raises(dataclasses.FrozenInstanceError):
        trusted.NO_ADVICE.slopes = {}
