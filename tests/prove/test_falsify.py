"""Searches for counterexamples: what they find is one, and they find what is there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from support.networks import mlp, random_box, small_cnn

from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted
from asi_verify.export import Artifact
from asi_verify.prove import Batch, Branch, Falsify
from asi_verify.prove.falsify import descended


def batch_of(network, lower, upper, property_, count=1):
    artifact = Artifact.from_network(network)
    lower, upper = (
        np.repeat(end[None], count, axis=0).astype(np.float32) for end in (lower, upper)
    )
    centres = ((lower + upper) / 2).astype(np.float32)
    keys = tuple(range(1, count + 1))
    return Batch(artifact, centres, Box(lower, upper), property_, Semantics.REAL, keys)


def puzzle(literals):
    """As of a formula over inputs in [0, 1]: a penalty for each clause, and for being in between.

    The first output is 1 less the penalties, the second is 0 only at corners.
    """
    count = literals.shape[1]
    first = np.concatenate([-literals, np.eye(count), 2 * np.eye(count)])
    bias = np.concatenate([1 - (literals < 0).sum(axis=1), np.zeros(count), -np.ones(count)])
    last = np.zeros((2, len(first)))
    last[0, : len(literals)] = -1
    last[1, len(literals) :] = np.repeat([1, -1], count)
    layers = [Affine(first.astype(np.float32), bias.astype(np.float32)), Relu()]
    return Network.sequential(
        (count,), [*layers, Affine(last.astype(np.float32), np.float32([1, 0]))]
    )


SOLVED = Clauses(2, ((Inequality((-1, 0), Fraction(1)), Inequality((0, 1), Fraction(0))),))
"""Some clause is violated, or some input is not at an end."""


def formula(generator, variables, clauses):
    """Three literals a clause, all satisfied by one assignment."""
    hidden = generator.integers(0, 2, variables) * 2 - 1
    rows = []
    while len(rows) < clauses:
        row = np.zeros(variables)
        chosen = generator.choice(variables, 3, replace=False)
        row[chosen] = generator.integers(0, 2, 3) * 2 - 1
        if (row * hidden == 1).any():
            rows.append(row)
    return np.array(rows)


def test_a_puzzle_at_the_corners_is_solved():
    """Formulas that a hidden assignment satisfies: every other start is a corner."""
    for seed in range(4):
        network = puzzle(formula(np.random.default_rng(seed), 12, 36))
        batch = batch_of(network, np.zeros(12), np.ones(12), SOLVED)
        (verdict,) = Falsify(steps=30, restarts=4, starts=32).attempt(batch).verdicts
        assert isinstance(verdict, Refuted)
        assert set(np.unique(verdict.witness.point)) <= {0.0, 1.0}
        assert batch.artifact.session.margins(verdict.witness.point[None], SOLVED)[0] <= 0


def test_a_puzzle_without_a_solution_is_not_refuted_but_proved():
    """All eight clauses over three variables: the parts between the corners close by one row."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
    batch = batch_of(puzzle(signs), np.zeros(3), np.ones(3), SOLVED)
    assert Falsify(steps=20, starts=8).attempt(batch).verdicts == (None,)
    assert isinstance(Branch(most_leaves=200).attempt(batch).verdicts[0], Proved)


def test_all_inequalities_of_a_clause_are_made_to_fail_together():
    """Each alone fails at once on the other's ground; both only in a narrow wedge."""
    rows = np.float32([[1, 0.9], [-0.9, -1]])
    network = Network.sequential((2,), [Affine(rows, np.float32([0, 0]))])
    wedge = Clauses(
        2, ((Inequality((1, 0), Fraction(1, 50)), Inequality((0, 1), Fraction(1, 50))),)
    )
    batch = batch_of(network, -np.ones(2), np.ones(2), wedge, 3)
    for verdict in Falsify(steps=40, starts=4).attempt(batch).verdicts:
        assert isinstance(verdict, Refuted)
        assert (verdict.witness.logits <= -1 / 50).all()


def test_adams_steps_find_a_narrow_set_that_signs_do_not():
    """Two sums of four inputs within a hundredth of a number, for a tilted pair of them."""
    weights = np.float32([[1, 0.7, -0.3, 0.2], [-0.4, 1, 0.6, -0.8]])
    network = Network.sequential((4,), [Affine(weights, np.float32([-0.31, -0.27]))])
    near = Fraction(1, 2000)
    rows = [Inequality(c, -near) for c in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    batch = batch_of(network, np.zeros(4), np.ones(4), Clauses(2, (tuple(rows),)))
    (signs,) = Falsify(steps=20, starts=8).attempt(batch).verdicts
    (moments,) = Falsify(steps=100, starts=64, by_moments=True).attempt(batch).verdicts
    assert signs is None
    assert isinstance(moments, Refuted)
    few = Falsify(steps=100, starts=64, by_moments=True, most_inputs=3)
    assert few.attempt(batch).verdicts == (None,)


def test_more_starts_refute_no_less_and_change_nothing_for_others_in_the_batch():
    """Every sample's random starts are its own."""
    network = small_cnn(np.random.default_rng(3))
    lower, upper = (end[0] for end in random_box(np.random.default_rng(3), (1, 8, 8), 1, 0.1))
    batch = batch_of(network, lower, upper, SingleLabel(1, 3), 4)
    stage = Falsify(steps=3, restarts=2, starts=3)
    together = stage.attempt(batch).verdicts
    for row, verdict in enumerate(together):
        (alone,) = stage.attempt(batch.take(np.array([row]))).verdicts
        assert type(alone) is type(verdict)
    few = Falsify(steps=3).attempt(batch).verdicts
    assert all(isinstance(more, Refuted) for more, less in zip(together, few, strict=True) if less)


def test_the_descent_ends_no_higher_than_it_began():
    """Inside the region, at the smallest margin it has seen."""
    network = mlp(np.random.default_rng(0), 6, 12, 9, 3)
    batch = batch_of(network, np.zeros(6), np.ones(6), SingleLabel(0, 3), 5)
    label = int(batch.artifact.session.run(batch.centres)[0].argmax())
    batch = replace(batch, property_=SingleLabel(label, 3))
    starts = np.random.default_rng(1).random((5, 6)).astype(np.float32)
    ends = descended(batch, starts, 10)
    assert batch.box.contains(ends).all()
    with torch.no_grad():
        before, after = (
            batch.property_.margins(batch.artifact.module(torch.from_numpy(x)).numpy())
            for x in (starts, ends)
        )
    assert np.all(after <= before + 1e-6)
    assert np.any(after < before)


def test_a_larger_network_gets_fewer_starts(monkeypatch):
    """But one at least; what the budget does not touch is found as without it."""
    network = mlp(np.random.default_rng(0), 3, 8, 2)
    batch = batch_of(network, np.zeros(3), np.ones(3), SingleLabel(0, 2))
    used = []
    starts_of = Falsify._starts
    monkeypatch.setattr(
        Falsify, "_starts", lambda self, *given: used.append(self.starts) or starts_of(self, *given)
    )
    # 3 * 8 + 8 + 8 * 2 products and ReLUs of a pass, six passes for each start.
    for most_work, starts in ((None, 50), (6 * 48 * 50, 50), (6 * 48 * 20, 20), (1, 1)):
        search = Falsify(starts=50, most_work=most_work)
        used.clear()
        search.attempt(batch)
        assert set(used) <= {starts}


def test_boxes_wider_than_float32_numbers_are_searched():
    """Starts lie inside, and steps go as far, without a warning."""
    weight = np.float32([[0.1, 0, 0.2], [-0.1, 0, 0.1]])  # the second input changes nothing
    network = Network.sequential((3,), [Affine(weight, np.zeros(2, np.float32))])
    ends = np.full(3, -3e38), np.full(3, 3e38)
    batch = batch_of(network, *ends, SingleLabel(0, 2), count=2)
    starts = Falsify(starts=8)._starts(batch, 1)
    assert np.isfinite(starts).all()
    assert len(np.unique(starts)) > 8
    found = descended(batch, starts[:, 2], 3)
    before, after = (
        batch.artifact.session.margins(points, SingleLabel(0, 2))
        for points in (starts[:, 2], found)
    )
    assert (after < before).all()
