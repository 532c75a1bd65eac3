"""The solver's stage against exact brute force: over the rationals it is exact, both ways."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact, float32
from support.float32 import Arithmetic
from support.networks import LARGER, TINY, grouped_cnn, random_box, sampled, seeds
from support.onnx_files import model, node

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, MaxPool, Reshape, Scale
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.lowering import read_network
from asi_verify.smt import (
    EncodingTooLarge,
    Satisfiable,
    Unknown,
    Unsatisfiable,
    encoded,
    has_more_choices,
    solve,
)

STEPS = 10_000_000


def script_for(network, box, property_, most_terms=10_000):
    bounds = TrustedPass(network, Semantics.REAL).bounds(box, Intermediate.INTERVAL)
    return encoded(network, bounds.boxes, property_, most_terms)


@pytest.mark.parametrize("name", TINY)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_answer_is_the_exact_one(name, seed):
    """Unsatisfiable exactly where the minimum of every row is positive; else a true point."""
    generator = np.random.default_rng(seed)
    network = TINY[name](generator)
    box = Box(*random_box(generator, network.input_shape, 1, radius=0.4))
    property_ = SingleLabel(int(generator.integers(2)), 2)
    smallest = exact.minimum(network, box.lower[0], box.upper[0], property_.rows()[0])
    answer = solve(script_for(network, box, property_), int(np.prod(network.input_shape)), STEPS)
    match answer:
        case Unsatisfiable():
            assert smallest > 0
        case Satisfiable(point):
            assert smallest <= 0
            middle = exact.exact(box.lower[0]).reshape(-1)
            filled = np.empty(len(point), dtype=object)
            filled[:] = [m if p is None else p for p, m in zip(point, middle, strict=True)]
            low, high = (exact.exact(b[0]).reshape(-1) for b in (box.lower, box.upper))
            assert np.all(low <= filled)
            assert np.all(filled <= high)
            value = _evaluate(network, filled)
            assert value.dot(exact.exact(property_.rows()[0])) <= 0
        case _:
            pytest.fail(f"{answer} on a network with at most four ReLUs")


def _evaluate(network, point):
    values = [point.reshape(network.input_shape)]
    for step in network.nodes:
        values.append(exact.apply(step.operator, *(values[i] for i in step.inputs)))
    return values[-1]


@pytest.mark.parametrize("name", TINY)
def test_in_float32_no_summation_order_contradicts_an_answer(name):
    """What is unsatisfiable with free rounding errors is over the reals too, and in any order."""
    answers = set()
    for seed in range(30):
        generator = np.random.default_rng(seed)
        network = TINY[name](generator)
        lower, upper = random_box(generator, network.input_shape, 1, radius=0.3)
        property_ = SingleLabel(int(generator.integers(2)), 2)
        trusted = TrustedPass(network, Semantics.FLOAT32)
        bounds = trusted.bounds(Box(lower, upper), Intermediate.INTERVAL)
        errors = trusted.local_errors(bounds)
        script = encoded(network, bounds.boxes, property_, 10_000, errors)
        answer = solve(script, int(np.prod(network.input_shape)), STEPS)
        answers.add(type(answer))
        if not isinstance(answer, Unsatisfiable):
            continue
        assert exact.minimum(network, lower[0], upper[0], property_.rows()[0]) > 0
        for x in sampled(generator, lower[0], upper[0], 5):
            logits = float32.run(network, x, Arithmetic(generator))
            assert property_.margins(logits[None])[0] > 0
    assert answers == {Satisfiable, Unsatisfiable}


def test_what_rounding_undoes_is_satisfiable_in_float32():
    """A margin of 1 beside 2**24: unsatisfiable over the reals, not so with rounding."""
    large = np.float32(2**24)
    network = Network.sequential((1,), [Affine(np.float32([[1], [0]]), np.float32([large, large]))])
    box = Box(np.float32([[1]]), np.float32([[1]]))
    property_ = SingleLabel(0, 2)
    assert isinstance(solve(script_for(network, box, property_), 1, STEPS), Unsatisfiable)
    trusted = TrustedPass(network, Semantics.FLOAT32)
    bounds = trusted.bounds(box, Intermediate.INTERVAL)
    script = encoded(network, bounds.boxes, property_, 100, trusted.local_errors(bounds))
    assert isinstance(solve(script, 1, STEPS), Satisfiable)


def test_groups_dilations_and_sums_are_encoded_as_they_are_computed():
    """On a point the script's only solution is the network's exact output."""
    generator = np.random.default_rng(4)
    network = grouped_cnn(generator)
    point = generator.random((1, *network.input_shape)).astype(np.float32)
    output = exact.evaluate(network, point[0])
    box = Box(point, point.copy())
    size = int(np.prod(network.input_shape))
    for label in range(3):
        property_ = SingleLabel(label, 3)
        holds = all(output[label] > output[k] for k in range(3) if k != label)
        answer = solve(script_for(network, box, property_), size, STEPS)
        assert isinstance(answer, Unsatisfiable if holds else Satisfiable)


def test_windows_and_joined_values_are_encoded_as_they_are_computed():
    """On a point the script's only solution is the network's exact output; nothing is chosen."""
    generator = np.random.default_rng(4)
    for name in ("pooled", "densely connected"):
        network = LARGER[name](generator)
        point = generator.random((1, *network.input_shape)).astype(np.float32)
        output = exact.evaluate(network, point[0])
        box = Box(point, point.copy())
        for label in range(3):
            property_ = SingleLabel(label, 3)
            holds = all(output[label] > output[k] for k in range(3) if k != label)
            answer = solve(
                script_for(network, box, property_), int(np.prod(network.input_shape)), STEPS
            )
            assert isinstance(answer, Unsatisfiable if holds else Satisfiable)


def pool_of(*bounds):
    """A maximum of numbers in given boxes, and those boxes."""
    pool = MaxPool((len(bounds),), (1,), ((0, 0),), (1,))
    network = Network.sequential((1, len(bounds)), [pool, Reshape((1,))])
    low, high = (np.float32([[ends]]) for ends in zip(*bounds, strict=True))
    return network, Box(low, high)


@pytest.mark.parametrize(
    ("bounds", "choices"),
    [
        ([(0, 1), (2, 3), (1, 2)], 0),
        ([(0, 1), (0, 2), (0, 0)], 1),
        ([(1, 1), (1, 1), (0, 1)], 0),
        ([(-1, 1), (-1, 2), (0, 3)], 2),
    ],
)
def test_only_numbers_that_may_be_the_largest_are_chosen_from(bounds, choices):
    """And they are counted; the answer is exact whichever they are."""
    network, box = pool_of(*bounds)
    boxes = TrustedPass(network, Semantics.REAL).bounds(box, Intermediate.INTERVAL).boxes
    assert not has_more_choices(network, boxes, choices)
    assert has_more_choices(network, boxes, choices - 1)
    low, high = max(lower for lower, _ in bounds), max(upper for _, upper in bounds)
    for row, least in ((1.0, low), (-1.0, -high)):
        for shift, kind in ((2.0**-20, Satisfiable), (-(2.0**-20), Unsatisfiable)):
            # row * y <= least + shift, as a network that adds the constant.
            ends = Scale(np.float32([row]), np.float32([-(least + shift)]))
            moved = Network(network.input_shape, (*network.nodes, Node(ends, (2,))))
            script = script_for(moved, box, MultiLabel((1,)))
            assert isinstance(solve(script, len(bounds), STEPS), kind)


def test_a_maximum_of_too_many_numbers_is_not_asked():
    """Its alternatives count as terms."""
    network, box = pool_of((0, 1), (0, 1), (0, 1))
    with pytest.raises(EncodingTooLarge):
        script_for(network, box, MultiLabel((1,)), most_terms=2)


def test_constants_are_exact():
    """A margin of one part in 2**80 is decided right; floats would call it zero."""
    from asi_verify.core.network import Network
    from asi_verify.core.operators import Affine

    tiny = np.float32(2.0**-80)
    network = Network.sequential(
        (1,), [Affine(np.zeros((2, 1), np.float32), np.array([1 + 0.0, 1.0], np.float32))]
    )
    apart = Network.sequential(
        (1,), [Affine(np.zeros((2, 1), np.float32), np.array([tiny, 0.0], np.float32))]
    )
    box = Box(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    property_ = SingleLabel(0, 2)
    assert isinstance(solve(script_for(network, box, property_), 1, STEPS), Satisfiable)
    assert isinstance(solve(script_for(apart, box, property_), 1, STEPS), Unsatisfiable)


def test_what_is_too_large_is_not_asked():
    """The number of terms is a budget."""
    network = TINY["mlp"](np.random.default_rng(0))
    box = Box(*random_box(np.random.default_rng(0), (2,), 1, radius=0.4))
    with pytest.raises(EncodingTooLarge):
        script_for(network, box, SingleLabel(0, 2), most_terms=3)


def test_a_budget_that_is_used_up_is_no_answer():
    """Neither proved nor refuted."""
    hard = "(declare-const x0 Real)(declare-const y Real)(assert (= (* x0 x0 y) (+ y 3.0)))"
    answer = solve(hard + "(assert (> (* y y x0) 5.0))(check-sat)", 1, 5)
    assert isinstance(answer, Unknown)
    assert answer.reason


def test_constants_that_are_no_float32_are_refused():
    """The solver's answer would be about another network."""
    network = read_network(model([node("AveragePool", "x", kernel_shape=[3, 3])], (1, 3, 3)))
    box = Box(np.zeros((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32))
    with pytest.raises(UnsupportedOperatorError, match="exact"):
        script_for(network, box, MultiLabel((1,)))


def test_the_script_can_be_asked_of_any_solver():
    """Plain SMT-LIB of linear real arithmetic, with rationals and without z3's extensions."""
    network = TINY["mlp"](np.random.default_rng(0))
    box = Box(*random_box(np.random.default_rng(0), (2,), 1, radius=0.4))
    script = script_for(network, box, SingleLabel(0, 2))
    assert script.startswith("(set-logic QF_LRA)")
    assert script.rstrip().endswith("(check-sat)")
    assert script.count("(") == script.count(")")
    assert not re.search(r"[0-9]e", script)


def test_points_are_rationals():
    """What z3 answers is read exactly."""
    script = "(declare-const x0 Real)(declare-const x1 Real)(assert (= (* 3.0 x0) 1.0))(check-sat)"
    answer = solve(script, 3, STEPS)
    assert isinstance(answer, Satisfiable)
    assert answer.point[0] == Fraction(1, 3)
    assert answer.point[2] is None
