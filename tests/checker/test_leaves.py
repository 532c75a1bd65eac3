"""What the leaves of a split tree are given, on networks small enough to say it by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import mlp, random_box

from asi_verify.checker import TrustedPass
from asi_verify.checker.split_tree import leaf_bounds, require_tree, tree_margins
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, LinearEvidence
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import LEAF, NODE, THRESHOLD, SplitTree
from asi_verify.errors import CertificateError

BACKWARD, INTERVAL = Intermediate.BACKWARD, Intermediate.INTERVAL
WANTED = SingleLabel(0, 2)


def cut(at: float, neurons: int, rows: int = 1) -> SplitTree:
    """The first input number is at most that, or at least."""
    nodes = np.array([(THRESHOLD, 0, at), (LEAF, 0, 0), (LEAF, 0, 0)], dtype=NODE)
    none = np.zeros((rows, 0), np.float32)
    return SplitTree(rows, neurons, nodes, (none, none), ())


def halves(box: Box, at: float) -> list[Box]:
    """The box on both sides of a threshold on its first number."""
    upper, lower = box.upper.copy(), box.lower.copy()
    upper[:, 0] = lower[:, 0] = at
    return [Box(box.lower, upper), Box(lower, box.upper)]


def test_both_halves_of_a_cut_input_are_bounded_as_if_they_were_the_region():
    """With backward bounds of their own, where the evidence says so: intervals would be worse."""
    better = 0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        trusted = TrustedPass(mlp(generator, 2, 6, 6, 2), Semantics.REAL)
        box = Box(*random_box(generator, (2,), 1, 0.5))
        at = float(np.float32((box.lower[0, 0] + box.upper[0, 0]) / 2))
        found = tree_margins(trusted, box, WANTED, BACKWARD, [cut(at, 12)])[0]
        parts = halves(box, at)
        alone, intervals = (
            min(trusted.margins(part, WANTED, LinearEvidence(how))[0] for part in parts)
            for how in (BACKWARD, INTERVAL)
        )
        assert found >= alone - 1e-9
        by_intervals = tree_margins(trusted, box, WANTED, INTERVAL, [cut(at, 12)])[0]
        assert by_intervals >= intervals - 1e-9
        whole = trusted.margins(box, WANTED, LinearEvidence(BACKWARD))[0]
        better += found > whole
    assert better


def test_a_network_without_relus_has_no_neurons_to_split():
    """A tree for one with a single neuron is another network's."""
    trusted = TrustedPass(
        Network.sequential((1,), [Affine(np.float32([[1], [0]]), np.float32([0, 0]))]),
        Semantics.REAL,
    )
    require_tree(trusted, WANTED, cut(0.5, 0))
    with pytest.raises(CertificateError):
        require_tree(trusted, WANTED, cut(0.5, 1))
    box = Box(np.float32([[0.25]]), np.float32([[1]]))
    found = tree_margins(trusted, box, WANTED, INTERVAL, [cut(0.5, 0)])
    np.testing.assert_allclose(found, [0.25], atol=1e-9)


def test_a_leaf_of_an_unsound_region_proves_nothing():
    """Though the bounds on the leaf itself hold: what is known of the region is not to be used."""
    weight: Any = np.float32([[2.0**100], [0]])
    trusted = TrustedPass(
        Network.sequential((1,), [Affine(weight, np.float32([1, 0]))]), Semantics.FLOAT32
    )
    box = Box(np.float32([[0]]), np.float32([[2.0**30]]))
    root = trusted.bounds(box, INTERVAL)
    assert root.sound.tolist() == [False]
    tree = cut(1.0, 0)
    both = root.take(np.array([0, 0]))
    found = leaf_bounds(trusted, both, [leaf.cuts for leaf in tree.leaves], INTERVAL)
    below = trusted.bounds(Box(np.float32([[0]]), np.float32([[1]])), INTERVAL)
    assert below.sound.tolist() == [True]
    assert found.sound.tolist() == [False, False]
    assert tree_margins(trusted, box, WANTED, INTERVAL, [tree]).tolist() == [-np.inf]
