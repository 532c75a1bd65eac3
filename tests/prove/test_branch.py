"""Optimised slopes and branch and bound: true verdicts, with evidence that the checker accepts."""

from __future__ import annotations

import dataclasses
import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from support import exact
from support.networks import (
    LARGER,
    SMOOTH,
    TINY,
    attention,
    mlp,
    random_box,
    small_cnn,
    weights,
)

from asi_verify.checker.split_tree import tree_margins
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.evidence import Intermediate, LinearEvidence, SolverEvidence, TreeEvidence
from asi_verify.core.limits import LARGEST_TREE
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import SplitTree
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided
from asi_verify.export import Artifact
from asi_verify.prove import (
    AlphaCrown,
    Batch,
    Branch,
    SlopeTrials,
    Solve,
    branch,
)
from asi_verify.prove.phases import affine, conflicts, search
from asi_verify.prove.phases.farkas import multipliers_for
from asi_verify.prove.stage import varying


def batch_of(network, radius, seed=0, count=6, semantics=Semantics.FLOAT32):
    """Boxes around random points of one class, asked whether they stay in it."""
    generator = np.random.default_rng(seed)
    artifact = Artifact.from_network(network)
    box = Box(*random_box(generator, network.input_shape, 5 * count, radius))
    centres = ((box.lower + box.upper) / 2).astype(np.float32)
    labels = artifact.session.run(centres).argmax(axis=1)
    label = int(np.bincount(labels).argmax())
    rows = np.flatnonzero(labels == label)[:count]
    wanted, keys = SingleLabel(label, network.logits), tuple(range(len(rows)))
    return Batch(artifact, centres[rows], box[rows], wanted, semantics, keys)


def accepted(batch, result):
    """Every proof's tree is in the parts, within the budget, and closes for the checker."""
    proved = [i for i, v in enumerate(result.verdicts) if isinstance(v, Proved)]
    for i in proved:
        evidence = result.verdicts[i].evidence
        assert isinstance(evidence, TreeEvidence)
        data = result.parts[evidence.tree]
        assert len(data) <= LARGEST_TREE
        tree = SplitTree.from_bytes(data)
        margins = tree_margins(
            batch.trusted, batch.box[[i]], batch.property_, evidence.intermediate, [tree]
        )
        assert margins[0] > 0
    return proved


def by_crown(batch):
    """What canonical slopes prove."""
    evidence = LinearEvidence(Intermediate.BACKWARD)
    return set(np.flatnonzero(batch.trusted.margins(batch.box, batch.property_, evidence) > 0))


@pytest.mark.parametrize("few_inputs", [0, 16])
@pytest.mark.parametrize("name", ["mlp", "deep", "residual"])
def test_nothing_stays_open_on_tiny_networks(name, few_inputs):
    """By phases or by inputs: proved where the exact minimum is positive, refuted where not."""
    for seed in range(3):
        network = TINY[name](np.random.default_rng(seed))
        batch = batch_of(network, 0.3, seed, 4, Semantics.REAL)
        result = Branch(most_leaves=200, few_inputs=few_inputs).attempt(batch)
        proved = accepted(batch, result)
        for i, verdict in enumerate(result.verdicts):
            low, high = batch.box.lower[i], batch.box.upper[i]
            truth = min(exact.minimum(network, low, high, r) for r in batch.property_.rows())
            if i in proved:
                assert truth > 0
            else:
                assert isinstance(verdict, Refuted)
                assert batch.box[[i]].contains(verdict.witness.point[None])[0]
                assert truth <= 1e-5


def test_slopes_and_cuts_prove_what_canonical_slopes_do_not():
    """On the same queries: CROWN, then optimised slopes, then cuts; each proves more."""
    counts = np.zeros(3, dtype=int)
    for seed in range(4):
        network = mlp(np.random.default_rng(seed), 6, 24, 24, 3)
        batch = batch_of(network, 0.2, seed, 10)
        crown = by_crown(batch)
        slopes = set(accepted(batch, AlphaCrown().attempt(batch)))
        cuts = set(accepted(batch, Branch(most_leaves=64, few_inputs=0).attempt(batch)))
        assert crown <= slopes <= cuts
        counts += len(crown), len(slopes), len(cuts)
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("name", LARGER)
def test_no_verdict_contradicts_another(name):
    """On networks with convolutions: what one proves no other refutes."""
    batch = batch_of(LARGER[name](np.random.default_rng(2)), 0.06, 2)
    proved = set(accepted(batch, AlphaCrown(steps=10).attempt(batch))) | by_crown(batch)
    result = Branch(most_leaves=12, steps=8).attempt(batch)
    refuted = {i for i, v in enumerate(result.verdicts) if isinstance(v, Refuted)}
    assert not refuted & (proved | set(accepted(batch, result)))


def test_the_budget_ends_in_undecided():
    """What is still open then says why, and how far it came."""
    network = mlp(np.random.default_rng(0), 6, 12, 9, 3)
    batch = batch_of(network, 0.3, 0, 12)
    result = Branch(most_leaves=2, steps=1, few_inputs=0).attempt(batch)
    reasons = {v.reason for v in result.verdicts if isinstance(v, Undecided)}
    assert reasons == {Reason.BUDGET}
    assert any("2 parts" in v.detail for v in result.verdicts if isinstance(v, Undecided))


def test_bounds_too_small_to_be_clear_end_by_the_budget():
    """Positive, but within what sums in another order may change: divided, not asked for ever."""
    network = mlp(np.random.default_rng(1), 4, 8, 6, 3)
    last = network.nodes[-1].operator
    tiny = Affine(last.weight * np.float32(1e-10), last.bias * np.float32(1e-10))
    nodes = (*network.nodes[:-1], Node(tiny, network.nodes[-1].inputs))
    batch = batch_of(Network((4,), nodes), 0.3, 1, 2, Semantics.REAL)
    assert by_crown(batch) == {0, 1}
    batch = dataclasses.replace(batch, deadline=time.monotonic() + 20)
    for verdict in Branch(most_leaves=8, few_inputs=0).attempt(batch).verdicts:
        assert isinstance(verdict, Undecided)
        assert verdict.reason in {Reason.BUDGET, Reason.TOO_LOOSE}


def test_how_many_parts_are_bounded_at_once_changes_no_verdict(monkeypatch):
    """One after the other, or as many as memory allows."""
    batch = batch_of(mlp(np.random.default_rng(0), 6, 24, 24, 3), 0.2, 0, 6)
    stage = Branch(most_leaves=12, steps=8, few_inputs=0)
    together = stage.attempt(batch)
    monkeypatch.setattr(search, "_NUMBERS_AT_ONCE", 1)
    alone = stage.attempt(batch)
    assert [type(v) for v in together.verdicts] == [type(v) for v in alone.verdicts]
    assert accepted(batch, together) == accepted(batch, alone)
    assert len({type(v) for v in alone.verdicts}) > 1


def test_a_tree_that_is_too_large_is_no_proof(monkeypatch):
    """It could not be checked: undecided, with its size."""
    monkeypatch.setattr(branch, "LARGEST_TREE", 10)
    batch = batch_of(mlp(np.random.default_rng(0), 6, 12, 9, 3), 0.01, 0, 3)
    for verdict in Branch().attempt(batch).verdicts:
        assert verdict == Undecided(Reason.BUDGET, verdict.detail)
        assert "bytes" in verdict.detail


@pytest.mark.parametrize("stage", [AlphaCrown(), Branch()], ids=["alpha-crown", "branch"])
def test_what_the_trusted_pass_does_not_confirm_is_declined(stage, monkeypatch):
    """An optimiser that promises too much proves nothing, and is counted."""
    module = f"asi_verify.prove.{type(stage).__module__.rsplit('.', 1)[-1]}.margins_over"
    monkeypatch.setattr(module, lambda *given: np.full(len(given[-1]), -1.0))
    batch = batch_of(mlp(np.random.default_rng(0), 6, 12, 9, 3), 0.01, 0, 3)
    result = stage.attempt(batch)
    assert result.verdicts == (None,) * 3
    assert result.declined == 3
    assert result.parts == {}


@pytest.mark.parametrize(
    "stage", [AlphaCrown(), Branch(few_inputs=0)], ids=["alpha-crown", "branch"]
)
def test_a_network_without_relus_is_left_to_the_others(stage):
    """There is nothing to relax, and nothing to divide."""
    affine = Affine(np.float32([[1, 2], [2, 1]]), np.float32([0, 1]))
    batch = batch_of(Network.sequential((2,), [affine]), 0.1)
    assert stage.attempt(batch).verdicts == (None,) * 6


def test_slopes_stay_within_their_budget():
    """16 KB a sample, however many rows and neurons there are."""
    network = small_cnn(np.random.default_rng(0), side=16, outputs=9)
    batch = batch_of(network, 0.02, 0, 3)
    result = AlphaCrown(steps=3).attempt(batch)
    assert all(len(part) <= (16 << 10) + 64 for part in result.parts.values())


def test_a_solvers_word_becomes_a_case_split():
    """Where z3 proves and few phases are open, the evidence is one that nobody has to believe."""
    kinds = []
    for seed in range(6):
        network = TINY["mlp"](np.random.default_rng(seed))
        batch = batch_of(network, 0.4, seed, 3)
        result = Solve().attempt(batch)
        kinds += [type(v.evidence) for v in result.verdicts if isinstance(v, Proved)]
        told = Solve(most_split=-1).attempt(batch)
        words = {type(v.evidence) for v in told.verdicts if isinstance(v, Proved)}
        assert words <= {SolverEvidence}
        assert [type(v) for v in told.verdicts] == [type(v) for v in result.verdicts]
    assert kinds.count(TreeEvidence) == len(kinds) > 5


def test_multipliers_are_those_of_farkas():
    """With them the row is at least its constrained minimum on the whole box."""
    generator = np.random.default_rng(0)
    infeasible = 0
    for _ in range(60):
        row, phases = generator.normal(size=4), generator.normal(size=(3, 4))
        constant, constants = generator.normal(), generator.normal(size=3) - 0.5
        lower, upper = np.zeros(4), np.ones(4)
        found = multipliers_for(row, constant, phases, constants, lower, upper)
        assert found is not None
        assert np.all(found.multipliers >= 0)
        merged = row - found.multipliers @ phases
        bound = constant - found.multipliers @ constants + np.minimum(merged, 0).sum()
        if found.point is None:
            infeasible += 1
            assert bound > 0
        else:
            assert np.all(phases @ found.point + constants >= -1e-7)
            assert bound == pytest.approx(row @ found.point + constant, abs=1e-7)
    assert 5 < infeasible < 55


def test_a_leaf_on_which_the_network_is_affine_is_decided_by_a_linear_programme(monkeypatch):
    """Without a single step of the optimiser, the duals alone close full splits."""
    calls = []

    def watched(*arguments):
        calls.append(1)
        return multipliers_for(*arguments)

    monkeypatch.setattr(affine, "multipliers_for", watched)
    proved = 0
    for seed in range(8):
        batch = batch_of(TINY["mlp"](np.random.default_rng(seed)), 0.5, seed, 4, Semantics.REAL)
        result = Branch(most_leaves=64, steps=0, few_inputs=0).attempt(batch)
        proved += len(accepted(batch, result))
        assert all(v is not None and not isinstance(v, Undecided) for v in result.verdicts)
    assert calls
    assert proved > 5


def test_inputs_are_cut_where_only_a_few_of_many_vary():
    """Of the inputs of an image all but three are fixed; the network may hold anything."""
    for name in ("smooth cnn", "normalised"):
        generator = np.random.default_rng(0)
        network = SMOOTH[name](generator)
        batch = batch_of(network, 0.0, 0, 3)
        upper = np.array(batch.box.lower)
        upper.reshape(len(batch), -1)[:, :3] += 0.2
        batch = dataclasses.replace(batch, box=Box(np.array(batch.box.lower), upper))
        stage = Branch(most_leaves=60, few_inputs=3)
        result = stage.attempt(batch)
        assert accepted(batch, result)
        assert Branch(few_inputs=2).attempt(batch).verdicts == (None,) * len(batch)


def test_flat_slopes_close_what_canonical_ones_do_not():
    """A sum of ReLUs is not negative, which says more than that each is above its input."""
    first = Affine(np.eye(2, dtype=np.float32), np.float32([-0.25, -0.25]))
    last = Affine(np.float32([[1, 1]]), np.float32([0.125]))
    network = Network.sequential((2,), [first, Relu(), last])
    artifact = Artifact.from_network(network)
    box = Box(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32))
    wanted = MultiLabel((1,))
    batch = Batch(artifact, box.lower, box, wanted, Semantics.FLOAT32, (1,))
    assert not by_crown(batch)
    result = Branch().attempt(batch)
    assert accepted(batch, result) == [0]
    (data,) = result.parts.values()
    assert len(SplitTree.from_bytes(data).leaves) == 1


def test_the_lowest_bound_is_bounded_first_and_most_leaves_is_kept():
    """A budget of n leaves makes a tree of at most n; more of them prove at least as much."""
    batch = batch_of(mlp(np.random.default_rng(0), 6, 12, 9, 3), 0.3, 0, 8)
    before: set[int] = set()
    for most in (1, 8, 64):
        result = Branch(most_leaves=most).attempt(batch)
        now = set(accepted(batch, result))
        assert before <= now
        assert all(len(SplitTree.from_bytes(d).leaves) <= most for d in result.parts.values())
        before = now
    assert before


def test_the_rounding_that_float32_allows_for_does_not_stop_the_search():
    """Large values: parts that the twin closes and the trusted pass does not are divided on."""
    kinds = []
    for seed in range(3):
        generator = np.random.default_rng(seed)
        network = mlp(generator, 6, 12, 9, 2)
        shifted = [n.operator for n in network.nodes]
        last = shifted[-1]
        shifted[-1] = Affine(last.weight, last.bias + np.float32(5000))
        batch = batch_of(Network.sequential((6,), shifted), 0.2, seed, 4)
        result = Branch(most_leaves=64, few_inputs=0).attempt(batch)
        accepted(batch, result)
        assert None not in result.verdicts
        kinds += [type(v) for v in result.verdicts]
    assert Proved in kinds


def transformer(generator):
    """Attention and two layers with a ReLU between, which the torch twin does not relax."""
    (*nodes, last) = attention(generator).nodes
    nodes += [
        Node(Affine(weights(generator, 16, 12), weights(generator, 16)), last.inputs),
        Node(Relu(), (len(nodes) + 1,)),
        Node(Affine(weights(generator, 3, 16), weights(generator, 3)), (len(nodes) + 2,)),
    ]
    return Network((3, 4), tuple(nodes))


def test_trials_find_slopes_without_gradients():
    """For some regions around attention they prove what CROWN does not, and the checker agrees."""
    more = 0
    for seed in range(8):
        batch = batch_of(transformer(np.random.default_rng(seed)), 0.2, seed, 8)
        result = SlopeTrials().attempt(batch)
        more += len(set(accepted(batch, result)) - by_crown(batch))
    assert more >= 2


def test_trials_leave_networks_with_gradients_alone():
    """There alpha-CROWN and branching do better."""
    batch = batch_of(mlp(np.random.default_rng(0), 4, 8, 3), 0.01)
    assert SlopeTrials().attempt(batch).verdicts == (None,) * len(batch)


@pytest.mark.parametrize("few_inputs", [0, 32])
def test_a_tree_that_is_not_bounded_again_is_the_same_tree(few_inputs):
    """The parts are the same to the last bit, and the checker accepts each."""
    batch = batch_of(mlp(np.random.default_rng(3), 4, 12, 12, 3), 0.3, count=12)
    first, second = (
        Branch(most_leaves=200, few_inputs=few_inputs, confirms=confirms).attempt(batch)
        for confirms in (True, False)
    )
    assert first.parts == second.parts
    assert len(accepted(batch, second)) >= 3


def test_inputs_that_vary_by_rounding_alone_are_not_counted():
    """Among wide ranges; where all are narrow they all count."""
    lower = np.zeros((2, 4), np.float32)
    wide = np.array([[1, 1e-7, 0, 1e-2], [1e-7, 1e-7, 0, 0]], np.float32)
    assert varying(Box(lower[:1], wide[:1])).tolist() == [True, False, False, True]
    assert varying(Box(lower[1:], wide[1:])).tolist() == [True, True, False, False]
    assert varying(Box(lower, wide)).tolist() == [True, True, False, True]


def test_phases_decide_clauses_of_which_no_row_always_holds():
    """Of c + z and c - z one is positive everywhere; only their sum says so."""
    by_sums = 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        network = mlp(generator, 2, 6, 2)
        box = Box(*random_box(generator, (2,), 1, 0.6))
        row = generator.integers(1, 4, 2)
        constant = Fraction(1, 16)
        rows = tuple(Inequality(tuple((sign * row).tolist()), constant) for sign in (1, -1))
        artifact, wanted = Artifact.from_network(network), Clauses(2, (rows,))
        batch = Batch(artifact, box.lower, box, wanted, Semantics.FLOAT32, (1,))
        assert accepted(batch, Branch(most_leaves=500, few_inputs=0).attempt(batch)) == [0]
        least = [
            exact.minimum(network, box.lower[0], box.upper[0], sign * row.astype(float))
            for sign in (1, -1)
        ]
        by_sums += max(least) < -constant
    assert by_sums >= 2


def patterns(most_leaves=1, **settings):
    """Branch and bound that divides hardly anything itself."""
    return Branch(most_leaves=most_leaves, few_inputs=0, steps=1, solve_leaves=64, **settings)


def test_patterns_of_phases_settle_a_part_as_it_is():
    """Undivided: proved where the exact minimum is positive, refuted where it is not."""
    found = {Proved: 0, Refuted: 0}
    for name, seed in itertools.product(("mlp", "deep", "residual"), range(2)):
        network = TINY[name](np.random.default_rng(seed))
        batch = batch_of(network, 0.6, seed, 4, Semantics.REAL)
        result = patterns().attempt(batch)
        proved = accepted(batch, result)
        for i, verdict in enumerate(result.verdicts):
            low, high = batch.box.lower[i], batch.box.upper[i]
            truth = min(exact.minimum(network, low, high, r) for r in batch.property_.rows())
            assert (truth > 0) if i in proved else (truth <= 1e-5)
            found[type(verdict)] += 1
    assert min(found.values()) > 2, found


def tied(clauses, numbers):
    """A formula as a network: its two outputs are 0 together at corners that satisfy it."""
    w = np.zeros((len(clauses), numbers))
    for row, clause in zip(w, clauses, strict=True):
        for literal in clause:
            row[abs(literal) - 1] = -np.sign(literal)
    # A clause counts 1 where all its literals are false; min(x, 1 - x) is 0 at corners alone.
    first = np.concatenate([w, np.eye(numbers), 2 * np.eye(numbers)]).astype(np.float32)
    bias = [1 - sum(literal < 0 for literal in clause) for clause in clauses]
    shift = np.float32([*bias, *[0] * numbers, *[-1] * numbers])
    last = np.zeros((2, len(first)), np.float32)
    last[0, : len(clauses)] = 1
    last[1, len(clauses) :] = np.repeat([1, -1], numbers)
    network = Network.sequential(
        (numbers,), [Affine(first, shift), Relu(), Affine(last, np.zeros(2, np.float32))]
    )
    box = Box(np.zeros((1, numbers), np.float32), np.ones((1, numbers), np.float32))
    rows = tuple(Inequality(row, Fraction(0)) for row in ((1, 0), (0, 1)))
    artifact, wanted = Artifact.from_network(network), Clauses(2, (rows,))
    return Batch(artifact, box.lower + np.float32(0.25), box, wanted, Semantics.FLOAT32, (1,))


def partition(generator, free, chosen=()):
    """Clauses of which every assignment makes exactly one false: the leaves of a random tree."""
    if not free or (len(chosen) > 2 and generator.random() < 0.4):
        return [tuple(-literal for literal in chosen)]
    number = int(generator.choice(free))
    rest = [n for n in free if n != number]
    return [
        clause
        for literal in (number, -number)
        for clause in partition(generator, rest, (*chosen, literal))
    ]


def test_conflicts_close_a_formula_that_branching_does_not():
    """No relaxation is above 0 before some clause is false: dividing by bounds is blind."""
    clauses = partition(np.random.default_rng(2), [*range(1, 9)])
    batch = tied(clauses, 8)
    assert len(clauses) > 20
    budget = {"most_leaves": 64, "few_inputs": 0, "steps": 4}
    (alone,) = Branch(**budget).attempt(batch).verdicts
    assert isinstance(alone, Undecided)
    (asked,) = Solve().attempt(batch).verdicts
    assert isinstance(asked, Undecided)
    result = Branch(**budget, solve_leaves=64).attempt(batch)
    assert accepted(batch, result) == [0]
    # Without one of them there is an assignment, and a witness.
    (verdict,) = patterns().attempt(tied(clauses[1:], 8)).verdicts
    assert isinstance(verdict, Refuted)


def test_what_the_search_through_patterns_claims_is_not_believed(monkeypatch):
    """A conflict without its phases would close everything: its leaves stay open, counted."""
    learn = conflicts._Search._learn

    def wrongly(search, phases):
        found = learn(search, phases)
        search._conflicts[-1:] = 0
        return found

    monkeypatch.setattr(conflicts._Search, "_learn", wrongly)
    batch = tied(partition(np.random.default_rng(2), [*range(1, 9)]), 8)
    result = patterns().attempt(batch)
    assert isinstance(result.verdicts[0], Undecided)
    assert result.declined > 0


def test_a_late_search_through_patterns_ends_in_undecided(monkeypatch):
    """The clock is looked at before every linear programme; the reason is the deadline."""
    batch = tied(partition(np.random.default_rng(2), [*range(1, 9)]), 8)
    late, learn = [], conflicts._Search._learn

    def slowly(search, phases):
        late.append(1)
        return learn(search, phases)

    monkeypatch.setattr(conflicts._Search, "_learn", slowly)
    monkeypatch.setattr(Batch, "is_late", lambda batch: len(late) > 3)
    (verdict,) = patterns(most_leaves=64).attempt(batch).verdicts
    assert verdict.reason is Reason.DEADLINE
    assert len(late) == 4
