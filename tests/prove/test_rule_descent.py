"""The search that loads no engine: its gradients are torch's, and what it claims is there."""

from __future__ import annotations

import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from support.networks import LARGER, SMOOTH, TINY, mlp, random_box
from support.vnnlib import declared

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.export import NetworkModule
from asi_verify.lowering import write_artifact
from asi_verify.prove.rule_descent import gradients, rule_descent
from asi_verify.runtime import Session

NETWORKS = TINY | LARGER | SMOOTH
IDENTITY = Network.sequential((1,), [Affine(np.eye(1, dtype=np.float32), np.zeros(1, np.float32))])


def searched(network, box, properties, deadline=None):
    trusted = TrustedPass(network, Semantics.FLOAT32)
    session = Session(write_artifact(network))
    return list(rule_descent(trusted, session, box, properties, deadline))


def unit_box(count):
    return Box(np.zeros((count, 1), np.float32), np.ones((count, 1), np.float32))


def sure_to_fail(logits):
    """What no output satisfies."""
    return Clauses(logits, ((Inequality((0,) * logits, Fraction(-1)),),))


def above(constant):
    """The only output is larger."""
    return Inequality((1,), -Fraction(constant))


def sum_below(logits, constant):
    """One clause of one row for every logit: not all of them are at least ``constant``."""
    rows = -np.eye(logits, dtype=int)
    clause = tuple(Inequality(tuple(map(int, row)), Fraction(constant)) for row in rows)
    return Clauses(logits, (clause,))


ROUGH = {"pooled", "normalised", "smooth cnn"}
"""Maxima of equal numbers have several gradients; a layer's norm is taken for a constant."""


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_torch(name):
    """Over every operator, of one functional for each point; two of the points are one."""
    for seed in range(4):
        generator = np.random.default_rng(seed)
        network = NETWORKS[name](generator)
        points = generator.uniform(0.1, 0.9, (5, *network.input_shape)).astype(np.float32)
        points[3] = points[1]
        rows = generator.normal(size=(5, network.logits))
        found = gradients(TrustedPass(network, Semantics.FLOAT32), points, rows)
        x = torch.from_numpy(points).double().requires_grad_(True)
        outputs = NetworkModule(network).double()(x)
        (wanted,) = torch.autograd.grad((outputs * torch.from_numpy(rows)).sum(), x)
        found, wanted = found.reshape(5, -1), wanted.numpy().reshape(5, -1)
        if name in ROUGH:
            assert ((found * wanted).sum(axis=1) > 0).all()
        else:
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_claims_lie_in_their_box_and_violate_its_property(name):
    """As ONNX Runtime answers, of boxes with properties of their own, some of several rows."""
    generator = np.random.default_rng(3)
    network = NETWORKS[name](generator)
    box = Box(*random_box(generator, network.input_shape, 3, 0.5))
    labels = [SingleLabel(number % network.logits, network.logits) for number in range(2)]
    properties = [*labels, sum_below(network.logits, -1000)]
    session = Session(write_artifact(network))
    for number, point in searched(network, box, properties):
        assert box[[number]].contains(point[None])[0]
        assert session.margins(point[None], properties[number])[0] <= 0


def test_every_box_is_searched_for_its_own_property():
    """Each at once where the centre violates it, and nothing where no point does."""
    network = mlp(np.random.default_rng(0), 4, 6, 2)
    box = Box(*random_box(np.random.default_rng(1), (4,), 40, 0.1))
    everywhere = [sure_to_fail(2)] * 40
    assert {number for number, _ in searched(network, box, everywhere)} == set(range(40))
    assert not searched(network, box, [sum_below(2, 1000)] * 40)


def test_a_violation_at_one_corner_of_many_inputs_is_found():
    """A plane over 60 inputs that is below 0 at one of its corners alone: one step goes there."""
    weight = np.random.default_rng(2).normal(size=(1, 60)).astype(np.float32)
    lowest = -float(np.abs(weight.astype(np.float64)).sum())
    bias = np.float32([-lowest - 0.001])
    layers = [Affine(np.eye(60, dtype=np.float32), np.zeros(60, np.float32))]
    network = Network.sequential((60,), [*layers, Affine(weight, bias)])
    box = Box(np.full((1, 60), -1, np.float32), np.ones((1, 60), np.float32))
    ((number, point), *_) = searched(network, box, [Clauses(1, ((above(0),),))])
    assert number == 0
    np.testing.assert_array_equal(point, -np.sign(weight[0]))


def test_all_rows_of_a_clause_are_descended():
    """Two rows that fail at opposite ends of their inputs, together at one corner of four."""
    network = Network.sequential(
        (2,), [Affine(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)), Relu()]
    )
    box = Box(np.full((1, 2), 1, np.float32), np.full((1, 2), 3, np.float32))
    # Not both: x <= 1 and y >= 3.
    rows = Inequality((1, 0), Fraction(-1)), Inequality((0, -1), Fraction(3))
    found = searched(network, box, [Clauses(2, (rows,))])
    assert [tuple(point) for _, point in found[:1]] == [(1.0, 3.0)]


def test_rows_that_fail_already_are_left_alone():
    """The second fails everywhere; descending it as well would lead away from the first's end."""
    clause = Inequality((-1,), Fraction(1)), Inequality((3,), Fraction(-100))
    assert searched(IDENTITY, unit_box(1), [Clauses(1, (clause,))])[0][1] == 1.0


def test_a_clause_of_fewer_rows_than_another_fails_where_all_of_its_own_do():
    """It is found beside a longer one that cannot be reached."""
    far = Inequality((-1,), Fraction(1000))
    longer, shorter = Clauses(1, ((far,) * 3,)), Clauses(1, ((Inequality((-1,), Fraction(1)),),))
    assert searched(IDENTITY, unit_box(2), [longer, shorter])[0] == (1, 1.0)


@pytest.fixture
def runs(monkeypatch):
    """How many points ONNX Runtime was asked about, each time."""
    asked, run = [], Session.run
    monkeypatch.setattr(Session, "run", lambda s, x: asked.append(len(x)) or run(s, x))
    return asked


def test_the_nearest_of_many_clauses_are_tried():
    """The last of a thousand can be reached, the others by far not."""
    far = [(Inequality((-1,), Fraction(1000)),)] * 1000
    clauses = Clauses(1, (*far, (Inequality((-1,), Fraction(1)),)))
    assert searched(IDENTITY, unit_box(1), [clauses])[0][1] == 1.0


def test_the_first_step_of_each_box_goes_to_its_own_end(runs):
    """Of ``|x - 500|``; the nearest comes last, and its box is wider and on the other side."""
    weight, bias = np.float32([[1], [-1]]), np.float32([-500, 500])
    layers = [Affine(weight, bias), Relu(), Affine(np.ones((1, 2), "f4"), np.zeros(1, "f4"))]
    network = Network.sequential((1,), layers)
    ends = np.float32([[1000], [-100]]), np.float32([[1000.25], [300]])
    far, near = (Clauses(1, ((Inequality((1,), Fraction(n)),),)) for n in (9000, -205))
    trusted = TrustedPass(network, Semantics.FLOAT32)
    session = Session(write_artifact(network))
    assert next(rule_descent(trusted, session, Box(*ends), [far, near])) == (1, 300.0)
    assert len(runs) == 2


def test_no_step_is_begun_after_the_deadline(runs):
    """The centre is asked about, and nothing else."""
    network = mlp(np.random.default_rng(0), 4, 6, 2)
    box = Box(*random_box(np.random.default_rng(1), (4,), 3, 0.1))
    searched(network, box, [sum_below(2, 1000)] * 3, time.monotonic() - 1)
    assert runs == [3]


def test_fewer_targets_are_tried_with_every_step(runs):
    """As many boxes as there are cases; of a network of many numbers fewer still."""
    away, count = sum_below(1, 10**9), 40
    searched(IDENTITY, unit_box(count), [away] * count)
    assert runs[0] == 1
    start = np.arange(count, dtype=np.float32)[:, None]
    boxes = Box(start, start + np.float32(0.5))
    runs.clear()
    searched(IDENTITY, boxes, [away] * count)
    assert runs[:2] == [40, 32]
    weight = np.ones((1 << 12, 1), np.float32)
    layers = [
        Affine(weight, np.zeros(len(weight), np.float32)),
        Relu(),
        Affine(weight.T.copy(), np.zeros(1, "f4")),
    ]
    runs.clear()
    searched(Network.sequential((1,), layers), boxes, [away] * count)
    assert runs[:3] == [40, 32, 3]


def test_outputs_that_are_no_numbers_end_nothing():
    """Where the difference of two that overflow is none, nothing is claimed or warned of."""
    weight = np.full((2, 2), 3e38, np.float32)
    layers = [Affine(weight, np.zeros(2, np.float32)), Relu(), Affine(-weight, np.zeros(2, "f4"))]
    network = Network.sequential((2,), layers)
    box = Box(np.full((1, 2), 0.5, np.float32), np.full((1, 2), 1, np.float32))
    difference = Clauses(2, ((Inequality((1, -1), Fraction(1)),),))
    assert not searched(network, box, [difference])


@pytest.mark.parametrize(("size", "layers"), [(1e38, 9), (1e30, 12)])
def test_gradients_beyond_all_numbers_end_nothing(size, layers):
    """They overflow in float64 too; what is no number is no direction, and no warning is given."""
    weight = (size * np.array([[1, -1], [-1, 1]])).astype(np.float32)
    stack = [Affine(weight, np.zeros(2, np.float32)), Relu()] * layers
    network = Network.sequential((2,), [*stack, Affine(weight, np.zeros(2, np.float32))])
    generator = np.random.default_rng(0)
    points = generator.uniform(-1, 1, (3, 2)).astype(np.float32)
    rows = generator.normal(size=(3, 2))
    found = gradients(TrustedPass(network, Semantics.FLOAT32), points, rows)
    assert np.isfinite(found).all()
    box = Box(points - np.float32(0.5), points + np.float32(0.5))
    for number, point in searched(network, box, [sum_below(2, 0.0)] * 3):
        assert box[[number]].contains(point[None])[0]


def test_steps_become_smaller():
    """Of ``|x - 0.8|``: 0.5, then an end, then less of the way back each time."""
    weight, bias = np.float32([[1], [-1]]), np.float32([-0.8, 0.8])
    layers = [Affine(weight, bias), Relu(), Affine(np.ones((1, 2), "f4"), np.zeros(1, "f4"))]
    network = Network.sequential((1,), layers)
    ((_, point),) = searched(network, unit_box(1), [Clauses(1, ((above(0.05),),))])
    assert abs(point[0] - 0.8) <= 0.05


def test_ties_are_claimed_once_and_keep_no_other_from_being_tried():
    """Forty boxes in which a row is 0 everywhere, and one that a step answers."""
    count = 40
    lower = np.zeros((count + 1, 1), np.float32)
    network = Network.sequential((1,), [Affine(np.float32([[1], [0]]), np.zeros(2, np.float32))])
    tie = Clauses(2, ((Inequality((0, 1), Fraction(0)),),))
    reached = Clauses(2, ((Inequality((-1, 0), Fraction(1)),),))
    found = searched(network, Box(lower, lower + np.float32(1)), [tie] * count + [reached])
    assert [number for number, _ in found][:count] == list(range(count))
    assert (count, 1.0) in [(number, float(point[0])) for number, point in found]
    assert len(found) == count + 1


def test_large_networks_are_left_to_torch(runs):
    """Nothing is asked about them."""
    wide = [Affine(np.ones((1 << 20, 1), np.float32), np.zeros(1 << 20, np.float32))]
    wide.append(Affine(np.ones((1, 1 << 20), np.float32), np.zeros(1, np.float32)))
    network = Network.sequential((1,), wide)
    assert not searched(network, unit_box(1), [sure_to_fail(1)])
    assert not runs


def test_a_query_that_a_step_answers_loads_no_torch(tmp_path):
    """Nor anything else that takes a second: the command answers an easy query in half of one."""
    network = Network.sequential(
        (400,), [Affine(np.full((1, 400), 0.1, np.float32), np.zeros(1, np.float32))]
    )
    (tmp_path / "model.onnx").write_bytes(write_artifact(network))
    ends = "".join(f"(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(400))
    text = f"{declared(400, 1)}{ends}(assert (>= Y_0 39.99))"
    (tmp_path / "property.vnnlib").write_text(text)
    code = (
        "import sys, asi_verify as asi\n"
        "found = asi.solve_vnnlib(sys.argv[1], sys.argv[2])\n"
        "print(found.reason, sorted({'torch', 'scipy', 'z3'} & set(sys.modules)), sep='\\n')"
    )
    files = [str(tmp_path / name) for name in ("model.onnx", "property.vnnlib")]
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["found by a few steps along gradients", "[]"]
