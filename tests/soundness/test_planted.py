"""More than 500 queries with a planted counterexample, and not one of them is proved."""

from __future__ import annotations

import numpy as np
import pytest
from support.methods import METHODS
from support.planted import FAMILIES, as_deployed, fails, over_the_reals, through_rounding
from support.trees import random_tree

from asi_verify.checker import TrustedPass
from asi_verify.checker.split_tree import tree_margins
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved
from asi_verify.export import Artifact
from asi_verify.prove import AlphaCrown, Batch, Branch
from asi_verify.smt import Unsatisfiable, encoded, solve

COUNTS = {name: 90 if name.startswith("tiny") else 30 for name in FAMILIES}


def proved(planted, semantics):
    """What calls the query proved: names of evidence, and z3 where the network is tiny."""
    trusted = TrustedPass(planted.network, semantics)
    found = [
        m for m in METHODS.values() if trusted.margins(planted.box, planted.property_, m)[0] > 0
    ]
    generator = np.random.default_rng(0)
    rows = len(planted.property_.rows())
    for intermediate in Intermediate:
        tree = random_tree(generator, trusted, rows, 3, planted.box)
        lower = tree_margins(trusted, planted.box, planted.property_, intermediate, [tree])
        found += ["a random tree"] if lower[0] > 0 else []
    if np.prod(planted.network.input_shape) <= 3:
        bounds = trusted.bounds(planted.box, Intermediate.INTERVAL)
        errors = trusted.local_errors(bounds) if semantics is Semantics.FLOAT32 else None
        script = encoded(planted.network, bounds.boxes, planted.property_, 10_000, errors)
        answer = solve(script, int(np.prod(planted.network.input_shape)), 1_000_000)
        found += ["z3"] if isinstance(answer, Unsatisfiable) else []
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_wrong_by_a_hair_is_never_proved(name):
    """Under both semantics, by no method; the planted points are what they are called."""
    for seed in range(COUNTS[name]):
        planted = over_the_reals(name, seed)
        if seed < 5:
            assert fails(planted)
        for semantics in Semantics:
            assert proved(planted, semantics) == [], (name, seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_search_for_a_proof_finds_one(name):
    """Optimised slopes, cuts of phases and of inputs, linear programmes: nothing gets over it."""
    for seed in range(6):
        planted = over_the_reals(name, seed)
        artifact = Artifact.from_network(planted.network)
        for semantics in Semantics:
            batch = Batch(
                artifact, planted.point[None], planted.box, planted.property_, semantics, (seed,)
            )
            for stage in (AlphaCrown(steps=8), Branch(24, 8, 0), Branch(24, 8, 16)):
                (verdict,) = stage.attempt(batch).verdicts
                assert not isinstance(verdict, Proved), (name, seed, stage)


def test_what_a_deployed_cnn_gets_wrong_is_never_proved_in_float32():
    """On 28 x 28 images, where the point is wrong by less than rounding may amount to."""
    for seed in range(20):
        planted = as_deployed(seed)
        trusted = TrustedPass(planted.network, Semantics.FLOAT32)
        assert planted.box.contains(planted.point[None])[0]
        for name in METHODS if seed < 2 else ("interval", "crown-ibp"):
            assert not trusted.margins(planted.box, planted.property_, METHODS[name])[0] > 0
        point = Box(planted.point[None], planted.point[None])
        reals = TrustedPass(planted.network, Semantics.REAL)
        assert reals.margins(point, planted.property_, METHODS["crown-ibp"])[0] > -1e-4, "by a hair"


def test_what_only_rounding_gets_wrong_is_never_proved_in_float32():
    """The published attacks on verifiers, at 100 random sizes; over the reals it is all true."""
    true_over_the_reals = 0
    for seed in range(100):
        planted = through_rounding(seed)
        assert fails(planted), seed
        assert proved(planted, Semantics.FLOAT32) == [], seed
        true_over_the_reals += bool(proved(planted, Semantics.REAL))
    assert true_over_the_reals > 90
