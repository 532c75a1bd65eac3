"""Several processes: what comes out is what one would find, and nothing of theirs is lost."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.folders import make_folder
from support.networks import mlp, random_box, small_cnn

import asi_verify as asi
from asi_verify.checker import CheckResult, Outcome, check_files
from asi_verify.checker.folder import reader_of
from asi_verify.checker.split_tree import tree_margins
from asi_verify.core.box import Box
from asi_verify.core.canonical import array_digest
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import SplitTree
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Witness
from asi_verify.errors import SoundnessAlarm, UsageError
from asi_verify.export import Artifact
from asi_verify.prove import (
    Branch,
    Crown,
    Falsify,
    Intervals,
    input_splitting,
    prove,
)
from asi_verify.prove.phases import search
from asi_verify.prove.processes import margins_on, portions, spread
from asi_verify.prove.stage import Batch, Stage, StageResult


@pytest.fixture(scope="module")
def artifact():
    return Artifact.from_network(small_cnn(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def images(artifact):
    shape = artifact.network.input_shape
    return np.random.default_rng(1).integers(0, 256, (40, *shape), dtype=np.uint8)


def ask(artifact, images, stages, **options):
    digests = [array_digest(image) for image in images]
    logits = artifact.network.logits
    wanted = [SingleLabel(row % logits, logits) for row in range(len(images))]
    return prove(artifact, LInf.of("3/255"), images, digests, wanted, stages, **options)


def test_verdicts_and_evidence_are_those_of_one_process(artifact, images):
    """Every verdict stands at its own sample, with the same evidence and the same binary parts."""
    stages = (Falsify(), Intervals(), Crown(proposes=False), Branch(8))
    alone, together = (ask(artifact, images, stages, cores=cores) for cores in (1, 2))
    kinds = {type(verdict) for verdict in alone.verdicts}
    assert kinds >= {Proved, Refuted}
    for one, other in zip(alone.verdicts, together.verdicts, strict=True):
        if isinstance(one, Refuted):
            assert np.array_equal(one.witness.point, other.witness.point)
        else:
            assert one == other
    assert alone.parts == together.parts
    for one, other in zip(alone.stages, together.stages, strict=True):
        assert (one.name, one.given, one.proved, one.refuted, one.declined) == (
            (other.name, other.given, other.proved, other.refuted, other.declined)
        )


def boxes_of(artifact, radius):
    """Boxes around random points of one class, asked whether they stay in it."""
    generator = np.random.default_rng(2)
    box = Box(*random_box(generator, artifact.network.input_shape, 40, radius))
    centres = ((box.lower + box.upper) / 2).astype(np.float32)
    labels = artifact.session.run(centres).argmax(axis=1)
    rows = np.flatnonzero(labels == labels[0])
    wanted = SingleLabel(int(labels[0]), artifact.network.logits)
    keys = tuple(range(len(rows)))
    return Batch(artifact, centres[rows], box[rows], wanted, Semantics.FLOAT32, keys)


def test_a_tree_of_inputs_is_that_of_one_process(monkeypatch):
    """Parts that are bounded elsewhere are cut in the same places, and close in the same."""
    monkeypatch.setattr(input_splitting, "_MANY", 2)
    network = mlp(np.random.default_rng(0), 6, 24, 24, 3)
    batch = boxes_of(Artifact.from_network(network), 0.4)
    alone, together = (
        Branch(200, confirms=False).attempt(replace(batch, cores=cores)) for cores in (1, 2)
    )
    assert len(alone.parts) >= 2
    assert max(len(SplitTree.from_bytes(tree).leaves) for tree in alone.parts.values()) > 8
    assert alone.parts == together.parts
    assert [type(verdict) for verdict in alone.verdicts] == [type(v) for v in together.verdicts]
    late = replace(batch, cores=2, deadline=time.monotonic() + 0.05)
    for verdict in Branch(10**6, confirms=False).attempt(late).verdicts:
        assert not isinstance(verdict, Undecided) or verdict.reason is Reason.DEADLINE


def test_a_tree_of_phases_is_found_by_several_as_by_one(monkeypatch):
    """The same samples are proved and refuted, the checker accepts the trees, and budgets hold."""
    monkeypatch.setattr(search, "_MANY", 1)
    monkeypatch.setattr(search, "_ROUNDS", 2)
    network = mlp(np.random.default_rng(0), 6, 24, 24, 3)
    batch = boxes_of(Artifact.from_network(network), 0.4)
    kinds, most = set(), 0
    for leaves in (4, 24, 40, 56, 70, 400):
        stage = Branch(leaves, few_inputs=0)
        alone, together = (stage.attempt(replace(batch, cores=cores)) for cores in (1, 2))
        assert [type(v) for v in alone.verdicts] == [type(v) for v in together.verdicts]
        for row, verdict in enumerate(together.verdicts):
            kinds.add(type(verdict))
            if isinstance(verdict, Proved):
                tree = SplitTree.from_bytes(together.parts[verdict.evidence.tree])
                most = max(most, len(tree.leaves))
                assert len(tree.leaves) <= leaves
                way = verdict.evidence.intermediate
                box, wanted = batch.box[[row]], batch.property_
                assert tree_margins(batch.trusted, box, wanted, way, [tree])[0] > 0
    assert kinds == {Proved, Refuted, Undecided}
    assert most > 16


def test_a_counterexample_comes_before_a_budget(monkeypatch):
    """One process gives up, the other finds a witness of the same sample: it is refuted."""
    batch = boxes_of(Artifact.from_network(mlp(np.random.default_rng(0), 6, 24, 24, 3)), 0.4)
    witness = Refuted(
        Witness(batch.centres[0], batch.artifact.session.run(batch.centres[:1])[0], "test")
    )

    @contextlib.contextmanager
    def two_answers(_, jobs, cores):
        count = len(batch)
        for_all = [[Undecided(Reason.BUDGET)] * count, [witness] * count]
        zeros = [0] * count
        yield (
            search._Done(job.parts, [], verdicts, zeros, 0)
            for job, verdicts in zip(jobs, for_all, strict=True)
        )

    monkeypatch.setattr(search, "_MANY", 1)
    monkeypatch.setattr(search, "spread", two_answers)
    result = Branch(few_inputs=0).attempt(replace(batch, cores=2))
    assert set(map(type, result.verdicts)) == {Refuted}


def checked(made, cores) -> CheckResult:
    return check_files(reader_of(made.place), made.images, made.labels, margins_on(cores))


def test_the_checker_finds_the_same_with_helpers(tmp_path):
    """Each margin comes back to its own certificate: what does not close is rejected, no other."""
    made = make_folder(tmp_path)
    wrong = [c for c in made.certificates if c.evidence != IntervalEvidence()]
    made.certificates = [replace(c, evidence=IntervalEvidence()) for c in made.certificates]
    made = made.write()
    alone, together = (checked(made, cores) for cores in (1, 2))
    assert alone.rows(Outcome.REJECTED) == [c.row for c in wrong]
    assert alone.rows(Outcome.ACCEPTED)
    assert together == alone


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 40, 1000])
@pytest.mark.parametrize("cores", [1, 2, 3, 16])
def test_portions_cover_everything_once(count, cores):
    """In order, with no gap; enough of them for all cores where there is enough to do."""
    parts = portions(count, cores, 256)
    covered = [i for part in parts for i in range(part.start, part.stop)]
    assert covered == list(range(count))
    assert max(part.stop - part.start for part in parts) <= 256
    assert len(parts) >= min(count, cores)


def margin_of(job: int) -> tuple[int, int]:
    return job, os.getpid()


def test_answers_come_in_the_order_of_the_jobs():
    """Whichever process is done first; and none of them is this one."""
    found = done(margin_of, iter(range(20)))
    assert [job for job, _ in found] == list(range(20))
    assert os.getpid() not in {process for _, process in found}
    for count, cores in ((3, 1), (1, 2), (0, 2)):
        with spread(margin_of, range(count), cores) as answers:
            assert list(answers) == [(job, os.getpid()) for job in range(count)]


def done(work, jobs=range(1, 7)):
    with spread(work, jobs, 2) as answers:
        return list(answers)


def jobs_done():
    """Of four that are shared: whoever asks gets processes, whatever became of those before."""
    return [job for job, _ in done(margin_of, range(4))]


def test_what_cannot_be_copied_is_said():
    """What a stage holds or finds; memory is not to blame, and others can go on."""
    with pytest.raises(UsageError, match=r"copied between processes.*use cores=1"):
        done(margin_of, [threading.Lock(), threading.Lock()])
    with pytest.raises(UsageError, match=r"copied between processes.*use cores=1"):
        done(unloadable)
    assert jobs_done() == [0, 1, 2, 3]


class Unloadable:
    """Can be written down and not be read."""

    def __reduce__(self):
        return int, ("no number",)


def unloadable(job: int) -> Unloadable:
    return Unloadable()


def begun_and_broken_off():
    with spread(margin_of, range(40), 2) as answers:
        next(answers)
        raise KeyboardInterrupt


# The thread that hands out work may come upon work that was just taken back; it ends with the
# processes that it belongs to.
@pytest.mark.filterwarnings(
    "ignore:Exception in thread ExecutorManagerThread:pytest.PytestUnhandledThreadExceptionWarning"
)
def test_a_run_that_breaks_off_leaves_the_next_one_alone():
    """As at Ctrl-C in a notebook, which keeps what was raised, and all that hangs on it."""
    with pytest.raises(KeyboardInterrupt) as kept:
        begun_and_broken_off()
    with spread(margin_of, range(8), 2) as answers:
        first = next(answers)
        del kept
        gc.collect()
        assert [first[0], *(job for job, _ in answers)] == list(range(8))


def failing(job: int) -> int:
    time.sleep(0.05)
    raise ValueError(job)


def test_a_run_that_fails_does_not_end_that_of_another_thread():
    """They have the processes one after the other."""
    with ThreadPoolExecutor(2) as threads:
        fails = threads.submit(done, failing)
        works = [threads.submit(jobs_done) for _ in range(3)]
        assert all(work.result() == [0, 1, 2, 3] for work in works)
        with pytest.raises(ValueError, match=r"^[1-6]$"):
            fails.result()


ORPHANS = """
import os, sys
from asi_verify.prove.processes import spread
from {module} import slow
with spread(slow, range(4), 2) as answers:
    list(answers)
"""


def slow(job: int) -> int:
    with Path(os.environ["ASI_VERIFY_PROCESSES"]).open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(300)
    return job


def test_processes_end_with_whoever_started_them(tmp_path):
    """Killed, it cannot tell them: they see that they are somebody else's children."""
    module = tmp_path / "slow_work.py"
    module.write_text(
        "import os, time\nfrom pathlib import Path\n" + inspect.getsource(slow), encoding="utf-8"
    )
    noted = tmp_path / "processes"
    script = tmp_path / "script.py"
    script.write_text(ORPHANS.format(module="slow_work"), encoding="utf-8")
    paths = [str(tmp_path), *sys.path]
    environment = os.environ | {
        "ASI_VERIFY_PROCESSES": str(noted),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    wait_until(lambda: noted.exists() and len(noted.read_text().split()) == 2)
    children = [int(number) for number in noted.read_text().split()]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(is_running, children)))


def wait_until(is_so, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def is_running(process: int) -> bool:
    """Not so of one that has ended and waits for somebody to ask how."""
    try:
        state = Path(f"/proc/{process}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def died(job: int) -> int:
    os._exit(job)


def test_a_process_that_dies_is_an_error_and_no_answer():
    """As where the system ends it for want of memory; the remedy is named."""
    with pytest.raises(UsageError, match=r"cores: 2; .*use fewer"):
        done(died)
    assert jobs_done() == [0, 1, 2, 3]


class Alarmed(Stage):
    """A stage that finds two components at odds."""

    name = "alarmed"

    def attempt(self, batch: Batch) -> StageResult:
        raise SoundnessAlarm(f"{len(batch)} samples")


def test_an_alarm_in_a_process_is_an_alarm(artifact, images):
    """Nothing that was raised elsewhere becomes a verdict."""
    with pytest.raises(SoundnessAlarm, match="samples"):
        ask(artifact, images, (Alarmed(),), cores=2)


def test_the_deadline_is_kept_by_all(artifact, images):
    """The clock is the same in all processes: what is not begun before it ends is undecided."""
    proof = ask(artifact, images, (Intervals(), Crown(proposes=False)), deadline_s=0.0, cores=2)
    assert set(proof.verdicts) == {Undecided(Reason.DEADLINE)}


@pytest.mark.parametrize("cores", [0, -1, True, 2.0, "2"])
def test_no_number_of_processes_is_refused(cores, artifact, images, tmp_path):
    """One clear line, before anything is read or written."""
    with pytest.raises(UsageError, match="cores: "):
        ask(artifact, images, (Intervals(),), cores=cores)
    with pytest.raises(UsageError, match="cores: "):
        asi.certify("no model", "no data", out=tmp_path / "out", cores=cores)
    assert not list(tmp_path.iterdir())


def test_an_artifact_travels_as_its_bytes(artifact):
    """What arrives is what was read from the file, and is read once."""
    first, second = (pickle.loads(pickle.dumps(artifact)) for _ in range(2))
    assert first is second
    assert first.data == artifact.data
    assert first.digest == artifact.digest
    assert first.network.shapes == artifact.network.shapes


PROGRAM = """
import sys
import numpy as np
import asi_verify as asi
import asi_verify.checker
model, out = sys.argv[1:]
data = np.load(model + ".npz")
result = asi.certify(model, (data["images"], data["labels"]), out=out, cores=2)
checked = asi.check(out, (data["images"], data["labels"]), cores=2)
print(len(checked.rows(asi.checker.Outcome.ACCEPTED)), result.status, checked.status, sep=";")
"""


def test_a_script_needs_no_main_guard(artifact, images, tmp_path):
    """A run by two processes, written down and checked by two, from the plainest of scripts."""
    model = tmp_path / "model.onnx"
    model.write_bytes(artifact.data)
    labels = artifact.session.run(images.astype(np.float32) / 255).argmax(axis=1)
    data = images[:, 0], labels  # grey images have no axis of channels in a data set
    np.savez(f"{model}.npz", images=data[0], labels=data[1])
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    out, alone = tmp_path / "out", tmp_path / "alone"
    command = [sys.executable, str(script), str(model), str(out)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    accepted, status, again = said.stdout.strip().split(";")
    result = asi.certify(model, data, out=alone)
    assert status == again == str(result.status)
    assert int(accepted) == len(asi.check(alone, data).rows(Outcome.ACCEPTED)) > 0
    for name in ("00000.jsonl", "claims.json"):
        assert (out / "certificates" / name).read_bytes() == (
            (alone / "certificates" / name).read_bytes()
        )
