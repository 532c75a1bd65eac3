"""The SMT stage beside the others: what it finds depends on no clock, and nothing of it is left."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from support.networks import mlp

from asi_verify.core.evidence import SolverEvidence, TreeEvidence
from asi_verify.core.network import Network
from asi_verify.core.operators import Reshape
from asi_verify.core.properties import SingleLabel
from asi_verify.core.region import LInf
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, describe
from asi_verify.export import Artifact
from asi_verify.prove import (
    Batch,
    Branch,
    Falsify,
    Solve,
    Stage,
    StageResult,
    default_stages,
    prove,
)
from asi_verify.smt import Solver, process

HANGS = "import sys; sys.stdin.buffer.read()"
DIES = "import os; os.abort()"


def queries(hidden=(8, 6), count=12):
    """Some that branch and bound with few parts settles, and some that it leaves to z3."""
    generator = np.random.default_rng(4)
    artifact = Artifact.from_network(
        Network.sequential((1, 1, 6), [Reshape((6,))]).then(mlp(generator, 6, *hidden, 2))
    )
    images = generator.integers(0, 256, (100, 1, 1, 6), dtype=np.uint8)
    answers = artifact.session.run(images.astype(np.float32) / 255).argmax(axis=1)
    # Of one label, and so of one batch.
    label = int(np.bincount(answers).argmax())
    return artifact, images[answers == label][:count], np.full(count, label)


def ask(stages, radius="30/255", asked=None, **limits):
    artifact, images, labels = asked or queries()
    digests = [f"{i:064x}" for i in range(len(images))]
    properties = [SingleLabel(int(label), 2) for label in labels]
    return prove(artifact, LInf.of(radius), images, digests, properties, stages, **limits)


class Before(Stage):
    """A stage that settles nothing, and does something else."""

    name = "before"

    def __init__(self, do):
        self._do = do

    def attempt(self, batch):
        self._do()
        return StageResult((None,) * len(batch))


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """Puts a Python program in the place of ours, for every solver that is started then."""

    def replaced(code):
        process._close_idle()
        file = tmp_path / "worker.py"
        file.write_text(code)
        monkeypatch.setattr(process, "_WORKER", file)

    yield replaced
    process._close_idle()


@pytest.fixture
def started(monkeypatch):
    """The processes of all solvers, in order."""
    found = []
    running = Solver._running

    def noted(solver):
        made = running(solver)
        if made not in found:
            found.append(made)
        return made

    monkeypatch.setattr(Solver, "_running", noted)
    process._close_idle()
    return found


def kinds(proof):
    return [type(v.evidence) if isinstance(v, Proved) else type(v) for v in proof.verdicts]


STAGES = (Branch(most_leaves=1, few_inputs=0), Solve(most_split=-1))


def test_beside_the_stage_before_or_after_it_the_evidence_is_the_same(monkeypatch):
    """Whichever is ready first: z3 long before, long after, or not begun at all."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    alone = ask(STAGES)
    assert {TreeEvidence, SolverEvidence, Refuted} <= set(kinds(alone))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    asked, attempt = Solver.ask, Branch.attempt
    for z3_takes, branching_takes in ((0, 0), (0.2, 0), (0, 4)):

        def slowly(*given, seconds=z3_takes, **named):
            time.sleep(seconds)
            return asked(*given, **named)

        def after(*given, seconds=branching_takes):
            time.sleep(seconds)
            return attempt(*given)

        monkeypatch.setattr(Solver, "ask", slowly)
        monkeypatch.setattr(Branch, "attempt", after)
        beside = ask(STAGES)
        assert [describe(v) for v in beside.verdicts] == [describe(v) for v in alone.verdicts]
        assert beside.parts == alone.parts
        assert [s.given for s in beside.stages] == [s.given for s in alone.stages]


def test_it_is_at_work_while_the_stage_before_is(monkeypatch):
    """The answers are there when they are asked for."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    answers = []
    asked = Solver.ask

    def noted(*given, **named):
        answers.append(asked(*given, **named))
        return answers[-1]

    monkeypatch.setattr(Solver, "ask", noted)
    there = []

    def wait():
        end = time.monotonic() + 60
        while len(answers) < 12 and time.monotonic() < end:
            time.sleep(0.01)
        there.append(len(answers))

    ask((Before(wait), Solve()))
    assert there == [12]


def test_where_the_stage_before_settles_a_query_z3_is_stopped(worker, started):
    """It would be at it for 20 seconds; nothing of it goes on."""
    worker(HANGS)

    class Settles(Before):
        def attempt(self, batch):
            while not started:
                time.sleep(0.01)
            return StageResult(Branch(few_inputs=0).attempt(batch).verdicts[:1] * len(batch))

    asked = queries()
    proved = kinds(ask((Branch(few_inputs=0),), "1/255", asked))
    assert set(proved) == {TreeEvidence}
    start = time.monotonic()
    ask((Settles(None), Solve(most_seconds=20)), "1/255", asked)
    assert time.monotonic() - start < 15
    assert [made.poll() is None for made in started] == [False]


@pytest.mark.parametrize("before", [(), (Falsify(steps=1),)], ids=["alone", "beside"])
@pytest.mark.parametrize(
    ("limits", "stage"),
    [({"deadline_s": 1.0}, Solve()), ({}, Solve(most_seconds=1))],
    ids=["deadline", "limit"],
)
def test_a_solver_that_hangs_is_killed_at_the_deadline(worker, started, before, limits, stage):
    """The run's or the stage's own: undecided for that reason, and no later stage makes up."""
    worker(HANGS)
    asked = queries(count=2)
    start = time.monotonic()
    proof = ask((*before, stage, Branch(most_leaves=100)), "1/255", asked, **limits)
    assert time.monotonic() - start < 30
    assert [v.reason for v in proof.verdicts] == [Reason.DEADLINE] * 2
    assert proof.stages[-1].given == 0
    assert started
    assert all(made.poll() is not None for made in started)
    assert all(isinstance(v, Proved) for v in ask([Branch()], "1/255", asked).verdicts)


@pytest.mark.parametrize("before", [(), (Falsify(steps=1),)], ids=["alone", "beside"])
def test_a_solver_that_crashes_proves_nothing(worker, before):
    """Undecided, with the exit code; no later stage settles what it left."""
    worker(DIES)
    proof = ask((*before, Solve(), Branch(most_leaves=100)), "1/255", queries(count=3))
    assert [v.reason for v in proof.verdicts] == [Reason.FAILED] * 3
    assert all("ended with -6" in v.detail for v in proof.verdicts)
    assert proof.stages[-1].given == 0


def test_too_little_memory_proves_nothing():
    """The process has not even room for z3's answer; the run goes on."""
    proof = ask((Solve(memory=1 << 20),), "1/255", queries(count=2))
    assert [v.reason for v in proof.verdicts] == [Reason.FAILED] * 2


def test_an_interrupt_leaves_no_process(worker, started):
    """Ctrl-C in the stage before: the solver beside it is ended on the way out."""
    worker(HANGS)

    def interrupt():
        while not started:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask((Before(interrupt), Solve()), asked=queries(count=2))
    process._close_idle()
    assert [made.poll() is None for made in started] == [False]


def test_what_goes_wrong_beside_is_not_swallowed(monkeypatch):
    """It is raised where the answer is asked for, and nowhere if nobody asks."""
    from asi_verify.prove import solve

    def broken(*given):
        raise RuntimeError("a script that cannot be written")

    monkeypatch.setattr(solve, "encoded", broken)
    with pytest.raises(RuntimeError, match="cannot be written"):
        ask((Falsify(), Solve()), "1/255")
    settled = ask((Branch(few_inputs=0), Solve()), "1/255")
    assert set(kinds(settled)) == {TreeEvidence}


def test_a_deadline_does_not_turn_a_tree_into_a_solvers_word(monkeypatch):
    """With time z3's proof is shown as a case split; without, it is undecided and not delegated."""
    asked = queries((6,), 8)
    with_time = ask([Solve(most_split=24)], "1/255", asked)
    assert set(kinds(with_time)) == {TreeEvidence}
    late, attempt = threading.Event(), Branch.attempt
    monkeypatch.setattr(Batch, "is_late", lambda batch: late.is_set())

    def too_late(stage, batch):
        late.set()
        return attempt(stage, batch)

    monkeypatch.setattr(Branch, "attempt", too_late)
    proof = ask([Solve(most_split=24)], "1/255", queries((6,), 1))
    (verdict,) = proof.verdicts
    assert isinstance(verdict, Undecided)
    assert verdict.reason is Reason.DEADLINE


def test_the_default_stages_end_with_it():
    """So that nothing is behind it that a breakdown could keep from a query."""
    assert isinstance(default_stages()[-1], Solve)
