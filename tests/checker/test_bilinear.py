"""The rule of products of two values where it is weakest: at the corners, in exact rationals."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from support.networks import random_box, weights

from asi_verify.checker import TrustedPass
from asi_verify.checker.rules import Functionals
from asi_verify.checker.table import rule_for
from asi_verify.core.bilinear import MatMul
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Relu, Reshape
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ModelError, UnsupportedOperatorError

ENDS = [(-1, 1), (0, 1), (1, 3), (-2, -1), (-0.1, 1 / 3), (0.7, 0.7), (0, 0), (-3, 0)]
NUMBER = (1, 1)


def box(ends):
    """A box of one 1 x 1 matrix."""
    low, high = (np.full((1, 1, 1), float(end)) for end in ends)
    return Box(low, high)


@pytest.mark.parametrize("a", [1.0, -1.0, 0.3, -1 / 3])
def test_the_plane_lies_below_at_every_corner(a):
    """``a x y`` less the plane is linear in each factor, so least and largest at corners."""
    rule = rule_for(MatMul(), Semantics.REAL, NUMBER, NUMBER)
    for first, second in itertools.product(ENDS, repeat=2):
        given = box(first), box(second)
        found = rule.push_back(Functionals(np.full((1, 1, 1), a), np.array([0])), *given)
        b, c = (Fraction(part.item()) for part in found.inputs)
        rest = Fraction(found.constant.item()) - Fraction(found.error.item())
        gaps = [
            Fraction(a) * x * y - b * x - c * y - rest
            for x in map(Fraction, first)
            for y in map(Fraction, second)
        ]
        assert min(gaps) >= 0
        area = (first[1] - first[0]) * (second[1] - second[0])
        assert max(gaps) <= abs(a) * area / 2 + 1e-12
        interval = rule.interval(*given)
        products = [Fraction(x) * Fraction(y) for x in first for y in second]
        assert Fraction(interval.lower.item()) <= min(products)
        assert max(products) <= Fraction(interval.upper.item())
        assert (
            interval.upper.item() - interval.lower.item() <= max(products) - min(products) + 1e-12
        )


def test_both_factors_get_a_pass_of_their_own():
    """Of each, the box from backward passes is narrower than that from intervals alone."""
    generator = np.random.default_rng(0)

    def affine(after, before):
        return Affine(weights(generator, after, before), weights(generator, after))

    nodes = [Node(affine(6, 4), (0,)), Node(Relu(), (1,))]
    nodes += [Node(affine(4, 6), (2,)), Node(affine(4, 6), (2,))]
    nodes += [Node(Reshape((2, 2)), (3,)), Node(Reshape((2, 2)), (4,)), Node(MatMul(), (5, 6))]
    trusted = TrustedPass(Network((4,), tuple(nodes)), Semantics.REAL)
    region = Box(*random_box(generator, (4,), 2, radius=0.3))
    wide, narrow = (
        trusted.bounds(region, kind).boxes
        for kind in (Intermediate.INTERVAL, Intermediate.BACKWARD)
    )
    for value in (5, 6, 7):
        before, after = wide[value], narrow[value]
        assert np.all(after.upper - after.lower < before.upper - before.lower)


def test_functionals_that_samples_share_are_refused():
    """Middles and radii belong to one sample."""
    rule = rule_for(MatMul(), Semantics.REAL, NUMBER, NUMBER)
    with pytest.raises(ValueError, match="of a sample"):
        rule.push_back(Functionals(np.ones((1, 1, 1)), None), box((0, 1)), box((0, 1)))


def test_products_that_may_overflow_in_float32_prove_nothing():
    """Though both factors are finite."""
    network = Network((1, 1), (Node(MatMul(), (0, 0)), Node(Reshape((1,)), (1,))))
    far = np.full((1, 1, 1), 2.0**64, np.float32)
    for semantics, sound in ((Semantics.FLOAT32, False), (Semantics.REAL, True)):
        found = TrustedPass(network, semantics).bounds(Box(far, far.copy()), Intermediate.INTERVAL)
        assert found.sound.tolist() == [sound]


def test_sums_that_are_too_long_for_float32_are_refused():
    """A bound on their rounding would say nothing."""
    shapes = (1, 2**22), (2**22, 1)
    rule_for(MatMul(), Semantics.REAL, *shapes)
    with pytest.raises(UnsupportedOperatorError, match="binary32"):
        rule_for(MatMul(), Semantics.FLOAT32, *shapes)


@pytest.mark.parametrize(
    ("first", "second"),
    [((3,), (3,)), ((2, 3), (2, 3)), ((1, 2, 3), (3, 2)), ((2, 2, 3), (1, 3, 2))],
)
def test_matrices_that_do_not_fit_are_refused(first, second):
    """Nothing is repeated, and vectors are no matrices."""
    with pytest.raises(ModelError, match="matmul"):
        MatMul().output_shape(first, second)
