"""Deadlines: what a clock ends is undecided for that reason, and nothing is dropped."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from support.networks import mlp, random_box, small_cnn

from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.properties import SingleLabel
from asi_verify.core.region import LInf
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Reason, Refuted, Undecided
from asi_verify.export import Artifact
from asi_verify.prove import (
    AlphaCrown,
    Batch,
    Branch,
    Falsify,
    Solve,
    prove,
    prove_all,
    single_query_stages,
)


def hard(inputs=6, seconds=None, radius=0.4, samples=2):
    """Queries that no stage settles at once."""
    generator = np.random.default_rng(1)
    artifact = Artifact.from_network(mlp(generator, inputs, 40, 40, 2))
    box = Box(*random_box(generator, (inputs,), samples, radius))
    centres = ((box.lower + box.upper) / 2).astype(np.float32)
    label = int(artifact.session.run(centres[:1])[0].argmax())
    deadline = None if seconds is None else time.monotonic() + seconds
    keys = tuple(range(1, samples + 1))
    return Batch(artifact, centres, box, SingleLabel(label, 2), Semantics.REAL, keys, deadline)


@pytest.mark.parametrize(
    "stage",
    [
        Falsify(),
        AlphaCrown(),
        Branch(few_inputs=0),
        Branch(few_inputs=16),
        Solve(),
    ],
    ids=["falsify", "alpha-crown", "phases", "inputs", "smt"],
)
def test_after_the_deadline_a_stage_leaves_all_that_is_open_undecided(stage):
    """For that reason; only the sample itself, which is looked at first, may be refuted."""
    result = stage.attempt(hard(seconds=-1))
    for verdict in result.verdicts:
        assert isinstance(verdict, Refuted | Undecided)
        assert isinstance(verdict, Refuted) or verdict.reason is Reason.DEADLINE


@pytest.mark.parametrize("few_inputs", [0, 16])
def test_a_search_that_would_not_end_ends_at_the_deadline(few_inputs, monkeypatch):
    """Between two rounds, or two batches of one; the detail says how far it came."""
    batch = hard(12, samples=1, radius=1.0)
    monkeypatch.setattr("asi_verify.runtime.Session.replay", lambda *given: [None] * len(given[1]))
    start = time.monotonic()
    batch = dataclasses.replace(batch, deadline=start + 1)
    (verdict,) = Branch(most_leaves=10**7, few_inputs=few_inputs).attempt(batch).verdicts
    assert isinstance(verdict, Undecided)
    assert verdict.reason is Reason.DEADLINE
    assert "parts" in verdict.detail
    assert time.monotonic() - start < 30


def test_a_run_that_has_no_time_left_drops_nothing():
    """Every sample gets a verdict, undecided for the deadline where no stage was asked."""
    artifact = Artifact.from_network(small_cnn(np.random.default_rng(0)))
    images = np.random.default_rng(0).random((5, 1, 8, 8)).astype(np.float32)
    digests = [f"{i:064x}" for i in range(5)]
    for seconds in ({"deadline_s": 0.0}, {"per_query_s": 0.0}):
        asked = artifact, LInf.of("1/255"), images, digests, [SingleLabel(0, 3)] * 5
        proof = prove(*asked, **seconds)
        assert [v.reason for v in proof.verdicts] == [Reason.DEADLINE] * 5
        assert all(count.given == 0 for count in proof.stages)


def test_time_enough_changes_nothing():
    """With an hour for each query the verdicts are those without a clock."""
    stages = [Falsify(), Branch(most_leaves=20)]
    without, within = (prove_all([hard(seconds=s)], stages) for s in (None, 3600))
    assert [type(v) for v in without.verdicts] == [type(v) for v in within.verdicts]
    assert without.parts == within.parts


def test_samples_keep_their_batchs_deadline():
    """And what is kept for a single sample is what the trusted pass says of its region."""
    batch = hard(seconds=3600)
    for row in range(2):
        one = batch.take(np.array([row]))
        assert one.deadline == batch.deadline
        for intermediate in Intermediate:
            kept = one.root_bounds(intermediate)
            fresh = one.trusted.bounds(one.box, intermediate)
            for a, b in zip(kept.boxes, fresh.boxes, strict=True):
                assert np.array_equal(a.lower, b.lower)
                assert np.array_equal(a.upper, b.upper)
            assert one.root_bounds(intermediate) is kept


def test_a_single_query_has_stages_that_end_with_its_deadline():
    """No engine; z3 comes before what may prove, and branch and bound has the last word."""
    assert [stage.name for stage in single_query_stages()] == [
        "falsify",
        "crown",
        "falsify longer",
        "falsify narrow",
        "slope trials",
        "smt",
        "patterns",
        "branch",
    ]
