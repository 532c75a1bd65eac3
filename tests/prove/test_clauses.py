"""Properties of clauses with constants: every stage, against exact arithmetic and each other."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from support import exact
from support.networks import TINY, random_box, sampled

from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Refuted
from asi_verify.export import Artifact
from asi_verify.prove import (
    AlphaCrown,
    Batch,
    Branch,
    Crown,
    CrownIbp,
    Falsify,
    Intervals,
    Solve,
    clause_by_clause,
    prove_all,
)

STAGES = {
    "falsify": Falsify(starts=4),
    "intervals": Intervals(),
    "crown-ibp": CrownIbp(),
    "crown": Crown(proposes=False),
    "alpha-crown": AlphaCrown(steps=8),
    "phases": Branch(most_leaves=64, few_inputs=0),
    "inputs": Branch(most_leaves=500),
    "smt": Solve(),
}


def asked(seed, clauses, rows):
    """A tiny network, a box, and clauses whose constants lie around what is reached there."""
    generator = np.random.default_rng(seed)
    network = TINY["mlp" if seed % 2 else "deep"](generator)
    artifact = Artifact.from_network(network)
    box = Box(*random_box(generator, network.input_shape, 1, 0.4))
    centre = ((box.lower + box.upper) / 2).astype(np.float32)
    logits = artifact.session.run(centre)[0]

    def row():
        given = tuple(int(c) for c in generator.integers(-2, 3, network.logits))
        reached = Fraction(float(np.dot(given, logits)))
        # The value at the centre; more clauses hold less often, longer ones more often.
        mean = (clauses - rows) / 2
        drawn = Fraction(float(generator.normal(mean))).limit_denominator(99)
        return Inequality(given, drawn - reached)

    each = [tuple(row() for _ in range(rows)) for _ in range(clauses)]
    wanted = Clauses(network.logits, tuple(each))
    return Batch(artifact, centre, box, wanted, Semantics.REAL, (seed + 1,))


@pytest.mark.parametrize(("clauses", "rows"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_no_stage_contradicts_the_truth_or_another(clauses, rows):
    """Where one proves none refutes; single rows against the exact minimum, others by points."""
    counts = {Proved: 0, Refuted: 0}
    for seed in range(10):
        batch = asked(seed, clauses, rows)
        network = batch.artifact.network
        found = {name: type(s.attempt(batch).verdicts[0]) for name, s in STAGES.items()}
        assert not {Proved, Refuted} <= set(found.values()), found
        assert found["inputs"] in (Proved, Refuted) or found["smt"] not in (Proved, Refuted)
        for kind in counts:
            counts[kind] += kind in found.values()
        low, high = batch.box.lower[0], batch.box.upper[0]
        points = sampled(np.random.default_rng(seed), low, high, 60)
        holds = (batch.artifact.session.margins(points, batch.property_) > 0).all()
        if Proved in found.values():
            assert holds
            if rows == 1:
                given = zip(batch.property_.rows(), batch.property_.clauses, strict=True)
                for row, (inequality,) in given:
                    assert exact.minimum(network, low, high, row) + inequality.constant > 0
        assert holds or Refuted in found.values()
    assert min(counts.values()) >= 2, counts


def test_both_inequalities_of_a_clause_have_to_fail():
    """The largest of two opposite numbers and 1/8 is proved where each of them alone fails."""
    for seed in range(4):
        batch = asked(seed, 1, 1)
        (((inequality,),),) = (batch.property_.clauses,)
        given = inequality.coefficients
        opposite = tuple(-c for c in given)
        either = Clauses(
            len(given),
            ((Inequality(given, Fraction(1, 8)), Inequality(opposite, Fraction(1, 8))),),
        )
        result = Branch(most_leaves=4000).attempt(replace(batch, property_=either))
        assert isinstance(result.verdicts[0], Proved)


def test_clause_by_clause_says_the_same_as_all_at_once():
    """Proved if every part is; refuted if one is, and then the rest is not asked any more."""
    stages = [Falsify(), Branch(most_leaves=500)]
    kinds = set()
    for seed in range(8):
        batch = asked(seed, 3, 2)
        assert clause_by_clause(batch) == (batch,)
        (whole,) = prove_all([batch], stages).verdicts
        proof = prove_all(clause_by_clause(batch, few_inputs=1), stages)
        parts = {type(verdict) for verdict in proof.verdicts}
        assert len(proof.verdicts) == 3
        assert isinstance(whole, Proved) == (parts == {Proved})
        assert isinstance(whole, Refuted) == (Refuted in parts)
        kinds.add(type(whole))
    assert kinds == {Proved, Refuted}
