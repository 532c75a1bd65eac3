"""Split trees as bytes: what can be read covers its region, and everything else is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from support.networks import LARGER, TINY, seeds
from support.trees import random_tree

from asi_verify.checker import TrustedPass
from asi_verify.core.limits import LARGEST_TREE
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import (
    LEAF,
    NODE,
    PHASE,
    THRESHOLD,
    Slopes,
    SplitTree,
)
from asi_verify.errors import CertificateError

A_LEAF = (LEAF, 0, 0.0)


def tree(nodes, depths, rows=2, neurons=3, slopes=()):
    """A tree with these nodes, and multipliers for leaves at these depths."""
    return SplitTree(
        rows,
        neurons,
        np.array(nodes, dtype=NODE),
        tuple(np.ones((rows, depth), np.float32) for depth in depths),
        slopes,
    )


GOOD = [(PHASE, 1, 0.0), A_LEAF, (THRESHOLD, 0, 0.5), A_LEAF, A_LEAF]


@pytest.mark.parametrize("name", ["mlp", "residual", "cnn"])
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds)
def test_what_is_written_is_read(name, seed):
    """Any tree comes back with its leaves, and its bytes are its only form."""
    generator = np.random.default_rng(seed)
    network = (TINY | LARGER)[name](generator)
    trusted = TrustedPass(network, Semantics.REAL)
    made = random_tree(generator, trusted, 2, 5)
    read = SplitTree.from_bytes(made.to_bytes())
    assert read.to_bytes() == made.to_bytes()
    assert [leaf.cuts for leaf in read.leaves] == [leaf.cuts for leaf in made.leaves]
    for ours, theirs in zip(read.slopes, made.slopes, strict=True):
        np.testing.assert_array_equal(ours.dense(), theirs.dense())
    for ours, theirs in zip(read.leaves, made.leaves, strict=True):
        np.testing.assert_array_equal(ours.multipliers, theirs.multipliers)
        assert ours.slopes == theirs.slopes


def test_leaves_are_the_two_sides_of_every_node():
    """Preorder, the side below first; a phase has the threshold 0."""
    made = tree(GOOD, [1, 1, 1])
    cuts = [[(c.kind, c.number, c.sign, c.threshold) for c in leaf.cuts] for leaf in made.leaves]
    above = (PHASE, 1, 1, 0.0)
    assert cuts == [
        [(PHASE, 1, -1, 0.0)],
        [above, (THRESHOLD, 0, -1, 0.5)],
        [above, (THRESHOLD, 0, 1, 0.5)],
    ]
    assert made.cuts_inputs
    assert not tree([A_LEAF], [0]).cuts_inputs


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=seeds)
def test_changed_bytes_are_refused_or_another_tree(seed):
    """A flipped bit never gives a tree with a hole, a negative multiplier or a NaN."""
    generator = np.random.default_rng(seed)
    trusted = TrustedPass(TINY["mlp"](generator), Semantics.REAL)
    data = bytearray(random_tree(generator, trusted, 2, 4).to_bytes())
    for _ in range(generator.integers(1, 4)):
        data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
    try:
        read = SplitTree.from_bytes(bytes(data))
    except CertificateError:
        return
    assert read.to_bytes() == bytes(data)
    for leaf in read.leaves:
        assert np.all(leaf.multipliers >= 0)
        assert np.all(np.isfinite(leaf.multipliers))
    # Every inner node has both sides: the leaves' shares of the region add up to all of it.
    assert sum(0.5 ** len(leaf.cuts) for leaf in read.leaves) == 1.0


@pytest.mark.parametrize(
    ("nodes", "depths", "reason"),
    [
        ([], [], "does not cover"),
        ([(PHASE, 1, 0.0), A_LEAF], [1], "does not cover"),
        ([(PHASE, 1, 0.0)], [], "does not cover"),
        ([A_LEAF, A_LEAF], [0, 0], "behind its last leaf"),
        ([(PHASE, 3, 0.0), A_LEAF, A_LEAF], [1, 1], "which is none"),
        ([(PHASE, 1, 0.5), A_LEAF, A_LEAF], [1, 1], "which is none"),
        ([(THRESHOLD, 0, np.nan), A_LEAF, A_LEAF], [0, 0], "which is none"),
        ([(THRESHOLD, 0, np.inf), A_LEAF, A_LEAF], [0, 0], "which is none"),
        ([(3, 0, 0.0), A_LEAF, A_LEAF], [0, 0], "which is none"),
        ([(LEAF, 1, 0.0)], [0], "which is none"),
        ([(LEAF, 0, 1.0)], [0], "which is none"),
        ([(PHASE, 1, 0.0), A_LEAF, A_LEAF], [1], "for other leaves"),
        ([(PHASE, 1, 0.0), A_LEAF, A_LEAF], [1, 2], "for other phases"),
    ],
)
def test_what_is_no_tree_is_refused(nodes, depths, reason):
    """A missing side, a node too many, a neuron that does not exist: each with its reason."""
    with pytest.raises(CertificateError, match=reason):
        tree(nodes, depths)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, -1e-30])
def test_a_multiplier_is_finite_and_not_negative(number):
    """A negative multiple of a phase would be an upper bound where a lower one is wanted."""
    multipliers = (np.full((2, 1), number, np.float32), np.zeros((2, 1), np.float32))
    with pytest.raises(CertificateError, match="negative or no number"):
        SplitTree(2, 3, np.array([(PHASE, 1, 0), A_LEAF, A_LEAF], dtype=NODE), multipliers, ())


def test_slopes_are_those_of_the_tree():
    """Slopes for other rows or neurons are refused; steps of 1/255 are what can be written."""
    wanted = np.array([[0.0, np.nan, 1.0], [0.25, 0.5, np.nan]])
    slopes = Slopes.nearest(wanted)
    np.testing.assert_allclose(slopes.dense(), wanted, atol=1 / 510)
    assert SplitTree.from_bytes(tree([(LEAF, 1, 0.0)], [0], slopes=(slopes,)).to_bytes())
    with pytest.raises(CertificateError, match="other rows or neurons"):
        tree([(LEAF, 1, 0.0)], [0], neurons=4, slopes=(slopes,))


def test_depth_and_size_are_bounded():
    """A chain of nodes would make paths of quadratic length; it is refused, and so is a giant."""

    def chain(depth):
        return [(THRESHOLD, 0, 0.5), A_LEAF] * depth + [A_LEAF]

    assert len(tree(chain(128), [0] * 129).leaves) == 129
    with pytest.raises(CertificateError, match="128 deep"):
        tree(chain(129), [0] * 130)
    data = bytearray(tree([A_LEAF], [0], neurons=0).to_bytes())
    data[16:20] = b"\xff" * 4
    with pytest.raises(CertificateError, match="4294967295 slopes"):
        SplitTree.from_bytes(bytes(data))
    with pytest.raises(CertificateError, match="allowed"):
        SplitTree.from_bytes(b"ASIVTRE2" + bytes(LARGEST_TREE))


@pytest.mark.parametrize("change", [b"", b"ASIVTREF", b"rest"])
def test_other_bytes_are_refused(change):
    """Nothing, another magic, and bytes behind the end."""
    data = tree(GOOD, [1, 1, 1]).to_bytes()
    changed = {b"": b"", b"ASIVTREF": change + data[8:], b"rest": data + change}[change]
    with pytest.raises(CertificateError):
        SplitTree.from_bytes(changed)


def test_every_shorter_file_is_refused():
    """Wherever a tree is cut off."""
    slopes = Slopes.nearest(np.full((2, 3), 0.5))
    data = tree([(PHASE, 1, 0.0), (LEAF, 1, 0.0), A_LEAF], [1, 1], slopes=(slopes,)).to_bytes()
    for length in range(len(data)):
        with pytest.raises(CertificateError):
            SplitTree.from_bytes(data[:length])


def test_padding_is_part_of_the_form():
    """Bits behind the last slope's have to be 0: two files never mean the same tree."""
    slopes = Slopes.nearest(np.full((2, 3), np.nan))
    data = bytearray(tree([(LEAF, 1, 0.0)], [0], slopes=(slopes,)).to_bytes())
    data[-3] |= 1  # before the two weights
    with pytest.raises(CertificateError, match="canonical"):
        SplitTree.from_bytes(bytes(data))


@pytest.mark.parametrize(("logits", "neurons", "inputs"), [(2, 3, 5), (3, 4, 5), (3, 3, 0)])
def test_a_tree_is_for_one_network_and_property(logits, neurons, inputs):
    """Other rows, other neurons, or an input that does not exist."""
    made = tree(GOOD, [1, 1, 1])
    made.require(SingleLabel(0, 3), 3, 1)
    with pytest.raises(CertificateError, match="split tree for 2 rows"):
        made.require(SingleLabel(0, logits), neurons, inputs)


def test_weights_are_for_the_clauses_of_one_property():
    """A row that is no term of a sum has none, whether a leaf uses them or not."""
    weights = np.array([0, 1], np.uint8)
    for number in (0, 1):
        slopes = Slopes.nearest(np.full((2, 3), np.nan), weights)
        made = tree([(LEAF, number, 0.0)], [0], slopes=(slopes,))
        with pytest.raises(CertificateError, match="no clause has several rows"):
            made.require(SingleLabel(0, 3), 3, 1)
