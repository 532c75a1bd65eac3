"""Split trees: whatever advice they hold, no bound crosses what really happens on its leaf."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact, float32
from support.float32 import Arithmetic
from support.networks import LARGER, TINY, random_box, sampled, seeds
from support.trees import holds, random_tree, terms_of

from asi_verify.checker import TrustedPass, split_tree
from asi_verify.checker.split_tree import leaf_margins, tree_margins
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import LEAF, NODE, PHASE, THRESHOLD, Slopes, SplitTree
from asi_verify.errors import CertificateError

INTERMEDIATE = list(Intermediate)


def asked(name, seed, semantics, radius):
    """A network, the trusted pass, a box, a property and a random tree for them."""
    generator = np.random.default_rng(seed)
    network = (LARGER | TINY)[name](generator)
    trusted = TrustedPass(network, semantics)
    box = Box(*random_box(generator, network.input_shape, 1, radius))
    wanted = SingleLabel(int(generator.integers(network.logits)), network.logits)
    tree = random_tree(generator, trusted, len(wanted.rows()), 4, box)
    return generator, trusted, box, wanted, tree


def clauses_and_tree(name, seed, semantics, radius):
    """The same for a property of clauses, of which some have several rows."""
    generator, trusted, box, _, _ = asked(name, seed, semantics, radius)
    outputs = trusted.network.logits

    def row():
        coefficients = generator.integers(-3, 4, outputs).tolist()
        return Inequality(tuple(coefficients), Fraction(int(generator.integers(-8, 9)), 7))

    sizes = generator.integers(1, 4, generator.integers(1, 3))
    wanted = Clauses(outputs, tuple(tuple(row() for _ in range(size)) for size in sizes))
    count = len(wanted.summed().rows())
    tree = random_tree(generator, trusted, count, 3, box, terms_of(wanted))
    return generator, trusted, box, wanted, tree


def bounds_of_leaves(trusted, box, wanted, intermediate, tree):
    """The bound on every leaf of a tree."""
    root = trusted.bounds(box, intermediate).take(np.zeros(len(tree.leaves), np.intp))
    again = intermediate if tree.cuts_inputs else Intermediate.INTERVAL
    return leaf_margins(
        trusted, root, wanted, again if len(tree.leaves) > 1 else None,
        [(tree, leaf) for leaf in tree.leaves],
    )  # fmt: skip


@pytest.mark.parametrize("intermediate", INTERMEDIATE)
@pytest.mark.parametrize("name", TINY)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=seeds)
def test_every_leaf_bounds_what_lies_on_it(name, intermediate, seed):
    """Points are evaluated exactly; every one lies on a leaf, and not below that leaf's bound."""
    generator, trusted, box, wanted, tree = asked(name, seed, Semantics.REAL, 0.5)
    bounds = bounds_of_leaves(trusted, box, wanted, intermediate, tree)
    rows = exact.exact(wanted.rows())
    for x in sampled(generator, box.lower[0], box.upper[0], 12):
        values = exact.evaluate_all(trusted.network, x)
        margin = min(rows.dot(values[-1]))
        on = [i for i, leaf in enumerate(tree.leaves) if holds(leaf.cuts, values, trusted.network)]
        assert on, "the leaves cover the region"
        for i in on:
            assert bounds[i] < np.inf
            assert Fraction(float(bounds[i])) <= margin


@pytest.mark.parametrize("intermediate", INTERMEDIATE)
@pytest.mark.parametrize("name", TINY)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=seeds)
def test_sums_of_clauses_prove_nothing_that_is_false(name, intermediate, seed):
    """Whatever the weights, a tree that closes has no point at which a clause fails."""
    generator, trusted, box, wanted, tree = clauses_and_tree(name, seed, Semantics.REAL, 0.5)
    found = tree_margins(trusted, box, wanted, intermediate, [tree])[0]
    points = sampled(generator, box.lower[0], box.upper[0], 8)
    outputs = [exact.evaluate_all(trusted.network, x)[-1] for x in points]
    values = [[row.value(z) for clause in wanted.clauses for row in clause] for z in outputs]
    # Lowered until some point violates the property by a hair, the tree proves it no more.
    clauses = wanted.clauses_of_rows()
    least = min(
        min(max(v for v, c in zip(of_point, clauses, strict=True) if c == clause)
            for clause in set(clauses.tolist()))
        for of_point in values
    )  # fmt: skip
    assert least > 0 or found <= 0
    lowered = Clauses(
        wanted.outputs,
        tuple(
            tuple(Inequality(row.coefficients, row.constant - least) for row in clause)
            for clause in wanted.clauses
        ),
    )
    assert tree_margins(trusted, box, lowered, intermediate, [tree])[0] <= 0


def test_a_sum_proves_what_no_row_proves():
    """Of x + 1/8 and 1/8 - x one is positive everywhere, and neither on all of [-1, 1]."""
    one, none = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    network = Network.sequential((1,), [Affine(one, none)])
    trusted = TrustedPass(network, Semantics.FLOAT32)
    box = Box(np.full((1, 1), -1, np.float32), np.full((1, 1), 1, np.float32))
    rows = tuple(Inequality((sign,), Fraction(1, 8)) for sign in (1, -1))
    wanted = Clauses(1, (rows,))
    leaf = np.array([(LEAF, 1, 0)], dtype=NODE)
    for weights, proves in (((1, 1, 0), True), ((1, 2, 0), False), ((0, 0, 0), False)):
        slopes = Slopes.nearest(np.zeros((3, 0)), np.array(weights, np.uint8))
        tree = SplitTree(3, 0, leaf, (np.zeros((3, 0), np.float32),), (slopes,))
        found = tree_margins(trusted, box, wanted, Intermediate.BACKWARD, [tree])
        assert (found[0] > 0) == proves
    slopes = Slopes.nearest(np.zeros((3, 0)), np.array((1, 1, 1), np.uint8))
    tree = SplitTree(3, 0, leaf, (np.zeros((3, 0), np.float32),), (slopes,))
    with pytest.raises(CertificateError, match="only a term"):
        tree_margins(trusted, box, wanted, Intermediate.BACKWARD, [tree])


@pytest.mark.parametrize("intermediate", INTERMEDIATE)
@pytest.mark.parametrize("name", [*TINY, "grouped"])
def test_every_leaf_bounds_what_hardware_computes_on_it(name, intermediate):
    """A leaf is where the computed numbers have its phases, in any order of summation."""
    for seed in range(6):
        generator, trusted, box, wanted, tree = asked(name, seed, Semantics.FLOAT32, 0.1)
        bounds = bounds_of_leaves(trusted, box, wanted, intermediate, tree)
        for x in sampled(generator, box.lower[0], box.upper[0], 4):
            for fused in (False, True):
                arithmetic = Arithmetic(generator, fused, flush=bool(generator.integers(2)))
                values = float32.run_all(trusted.network, x, arithmetic)
                margin = wanted.margins(values[-1][None])[0]
                for i, leaf in enumerate(tree.leaves):
                    if holds(leaf.cuts, [v.astype(float) for v in values], trusted.network):
                        assert bounds[i] <= margin


@pytest.mark.parametrize("intermediate", INTERMEDIATE)
@pytest.mark.parametrize("name", ["mlp", "residual"])
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_tree_exceeds_the_exact_minimum(name, intermediate, seed):
    """The bound over the leaves is at most the exact minimum over all activation patterns."""
    _, trusted, box, wanted, tree = asked(name, seed, Semantics.REAL, 0.3)
    found = tree_margins(trusted, box, wanted, intermediate, [tree])[0]
    truth = min(
        exact.minimum(trusted.network, box.lower[0], box.upper[0], row) for row in wanted.rows()
    )
    assert Fraction(float(found)) <= truth


def full_split(trusted, rows, generator):
    """Every neuron is divided in turn, on every path, without multipliers."""
    count = max(part.stop for part in trusted.neurons.values())
    nodes, multipliers = [], []

    def grow(depth):
        if depth == count:
            nodes.append((LEAF, 0, 0.0))
            multipliers.append(np.zeros((rows, count), np.float32))
            return
        nodes.append((PHASE, depth, 0.0))
        grow(depth + 1)
        grow(depth + 1)

    grow(0)
    return SplitTree(rows, count, np.array(nodes, dtype=NODE), tuple(multipliers), ())


def test_multipliers_make_the_phases_count():
    """Of ``|x|`` on [-1, 1]: without them a leaf forgets on which side of 0 it lies."""
    network = Network.sequential(
        (1,),
        [
            Affine(np.float32([[1], [-1]]), np.zeros(2, np.float32)),
            Relu(),
            Affine(np.float32([[1, 1], [0, 0]]), np.float32([0.25, 0])),
        ],
    )
    trusted = TrustedPass(network, Semantics.REAL)
    box, wanted = Box(np.float32([[-1]]), np.float32([[1]])), SingleLabel(0, 2)
    forgetful = full_split(trusted, 1, None)
    multipliers = tuple(
        np.float32([[cut.sign > 0 for cut in leaf.cuts]]) for leaf in forgetful.leaves
    )
    mindful = SplitTree(1, 2, forgetful.nodes, multipliers, ())
    for tree, bound in ((forgetful, -0.75), (mindful, 0.25)):
        found = tree_margins(trusted, box, wanted, Intermediate.INTERVAL, [tree])[0]
        assert found == pytest.approx(bound, abs=1e-9)


def test_a_threshold_leaves_each_side_its_inputs():
    """On one side of a threshold the bound is that of the box cut there."""
    for seed in range(10):
        _, trusted, box, wanted, _ = asked("mlp", seed, Semantics.REAL, 0.4)
        middle = np.float32((box.lower[0, 0] + box.upper[0, 0]) / 2)
        nodes = np.array([(THRESHOLD, 0, middle), (LEAF, 0, 0), (LEAF, 0, 0)], dtype=NODE)
        none = np.zeros((1, 0), np.float32)
        tree = SplitTree(1, 3, nodes, (none, none), ())
        bounds = bounds_of_leaves(trusted, box, wanted, Intermediate.BACKWARD, tree)
        whole = SplitTree(1, 3, np.array([(LEAF, 0, 0)], dtype=NODE), (none,), ())
        for side, bound in zip(("upper", "lower"), bounds, strict=True):
            ends = {"lower": box.lower.copy(), "upper": box.upper.copy()}
            ends[side][0, 0] = middle
            alone = tree_margins(trusted, Box(**ends), wanted, Intermediate.BACKWARD, [whole])
            assert bound == pytest.approx(alone[0], abs=1e-9)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_batch_of_trees_gives_each_what_it_gets_alone(name):
    """Trees of all kinds beside one another: bounds do not depend on the neighbours."""
    generator, trusted, _, wanted, _ = asked(name, 1, Semantics.FLOAT32, 0.05)
    box = Box(*random_box(generator, trusted.network.input_shape, 6, 0.05))
    trees = [
        random_tree(generator, trusted, len(wanted.rows()), depth, box[[i]])
        for i, depth in enumerate((0, 3, 0, 4, 2, 1))
    ]
    together = tree_margins(trusted, box, wanted, Intermediate.BACKWARD, trees)
    for i, tree in enumerate(trees):
        alone = tree_margins(trusted, box[[i]], wanted, Intermediate.BACKWARD, [tree])
        assert together[i] == pytest.approx(alone[0], rel=1e-9, abs=1e-12)


def test_how_leaves_are_batched_changes_nothing(monkeypatch):
    """One leaf at a time, or all at once: each leaf keeps its own slopes and multipliers."""
    for seed in range(4):
        generator, trusted, box, wanted, _ = asked("residual", seed, Semantics.REAL, 0.3)
        tree = random_tree(generator, trusted, 1, 4, box)
        together = bounds_of_leaves(trusted, box, wanted, Intermediate.BACKWARD, tree)
        monkeypatch.setattr("asi_verify.checker.trusted._WORKING_SET", 1)
        alone = bounds_of_leaves(trusted, box, wanted, Intermediate.BACKWARD, tree)
        monkeypatch.undo()
        np.testing.assert_allclose(together, alone, rtol=1e-9)
        assert len(set(together.tolist())) > 1


def test_a_leaf_beyond_its_region_proves_and_one_at_its_edge_does_not():
    """A threshold outside of the box leaves one side empty; at the box's end it leaves a face."""
    _, trusted, box, wanted, _ = asked("mlp", 0, Semantics.REAL, 0.4)
    none = np.zeros((1, 0), np.float32)
    for at, empty in ((np.nextafter(box.lower[0, 0], np.float32(-1)), True),
                      (box.lower[0, 0], False)):  # fmt: skip
        nodes = np.array([(THRESHOLD, 0, at), (LEAF, 0, 0), (LEAF, 0, 0)], dtype=NODE)
        tree = SplitTree(1, 3, nodes, (none, none), ())
        below = bounds_of_leaves(trusted, box, wanted, Intermediate.BACKWARD, tree)[0]
        assert bool(below == np.inf) is empty


def test_a_neuron_that_does_not_exist_has_no_place():
    """Trees for other networks are refused before; whoever asks all the same gets no number."""
    trusted = asked("mlp", 0, Semantics.REAL, 0.4)[1]
    assert [split_tree._place(trusted, n) for n in range(3)] == [(1, 0), (1, 1), (1, 2)]
    with pytest.raises(IndexError):
        split_tree._place(trusted, 3)


def test_bounds_out_of_range_are_no_empty_leaf():
    """Where the error analysis does not hold a leaf proves nothing, least of all by being empty."""
    generator = np.random.default_rng(1)
    network = TINY["deep"](generator)
    for node in network.nodes:
        if hasattr(node.operator, "weight"):
            huge = node.operator.weight.astype(np.float64) * 1e140
            object.__setattr__(node.operator, "weight", huge)
    trusted = TrustedPass(network, Semantics.REAL)
    box = Box(*random_box(generator, (2,), 1, 0.1))
    tree = full_split(trusted, 1, generator)
    bounds = bounds_of_leaves(trusted, box, SingleLabel(0, 2), Intermediate.INTERVAL, tree)
    assert bounds.min() == -np.inf
