"""Training and the loop: deterministic, resumable to the bit, honest about not converging."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import torch
from support.networks import small_cnn, weights

from asi_verify.audit import audit
from asi_verify.bounds import interval_margins
from asi_verify.checker import TrustedPass
from asi_verify.core.bug import BugState
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Concat, Conv, MaxPool, Relu, Reshape
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, Samples, Task, phantom
from asi_verify.errors import RunFolderError, SoundnessAlarm, UsageError
from asi_verify.export import NetworkModule
from asi_verify.lowering import write_artifact
from asi_verify.repair import (
    CertifiedTraining,
    Checkpoints,
    Correction,
    Corrector,
    Loop,
    OrdinaryTraining,
    Subject,
    certified_training,
)
from asi_verify.repair import (
    Task as RepairTask,
)
from asi_verify.repair import checkpoints as checkpoint_module
from asi_verify.repair.objective import Objective, deterministic
from asi_verify.repair.training_state import TrainingState
from asi_verify.store import MemoryFiles, RunFolder

examine_module = importlib.import_module("asi_verify.repair.examine")


def easy(count=40, seed=0):
    """Dark and bright images of 8 x 8 pixels: certified within a few epochs."""
    generator = np.random.default_rng(seed)
    splits = {}
    for name, n in (("train", count), ("val", 10), ("test", 10)):
        labels = np.arange(n) % 2
        images = generator.normal(90 + 70 * labels[:, None, None, None], 12, (n, 1, 8, 8))
        splits[name] = Samples(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64))
    return Dataset("easy", Task.BINARY, ("dark", "bright"), splits)


DATA = easy()
FAMILY = LInf.of("1/255")
QUICK = CertifiedTraining(epochs=60, ramp_steps=10, ramp_epochs=5, batch_size=16)


def start():
    return small_cnn(np.random.default_rng(0), outputs=2)


def subject(data=DATA):
    return Subject(data.name, "train", data.split("train"), audit(data, FAMILY))


def everything(round_=1, data=DATA):
    rows = np.arange(len(data.split("train")))
    return RepairTask(data.split("train"), FAMILY, rows, rows, seed=0, round=round_)


def test_the_loss_is_the_cross_entropy():
    """Of single labels; and the sum of binary ones for several decisions."""
    generator = np.random.default_rng(0)
    outputs = torch.from_numpy(generator.normal(size=(6, 3)).astype(np.float32))
    images = np.zeros((6, 1, 2, 2), np.uint8)
    labels = np.array([0, 1, 2, 2, 1, 0])
    rows = torch.arange(6)
    single = Objective.of(Samples(images, labels), 3)
    expected = torch.nn.functional.cross_entropy(outputs, torch.tensor(labels))
    torch.testing.assert_close(single.loss(single.margins(outputs, rows)), expected)
    decisions = np.array([[1, 0, 1]] * 3 + [[0, 0, 1]] * 3)
    several = Objective.of(Samples(images.copy(), decisions), 3)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs, torch.tensor(decisions).float(), reduction="sum"
    )
    torch.testing.assert_close(several.loss(several.margins(outputs, rows)), expected / 6)


@pytest.mark.parametrize("property_", [SingleLabel(1, 2), MultiLabel((0, 1))])
def test_interval_bounds_can_be_trained(property_):
    """Gradients reach every weight."""
    module = NetworkModule(start())
    box = FAMILY.boxes(DATA.split("train").images[:8])
    rows = torch.from_numpy(property_.rows().astype(np.float32))[None]
    lower, upper = (torch.from_numpy(b.copy()) for b in (box.lower, box.upper))
    interval_margins(module, lower, upper, rows).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_ordinary_training_learns_and_repeats_itself():
    """The same seed gives the same weights to the bit, another seed others."""
    training = OrdinaryTraining(epochs=8, batch_size=8)
    first, again = (training.train(start(), DATA, seed=0) for _ in range(2))
    assert write_artifact(first) == write_artifact(again)
    assert write_artifact(training.train(start(), DATA, seed=1)) != write_artifact(first)


def test_ordinary_training_looks_at_validation_and_never_at_test():
    """Without a test split, and with a spoiled one, the result is the same."""
    training = OrdinaryTraining(epochs=4, batch_size=8)
    spoiled = Samples(DATA.split("test").images, 1 - DATA.split("test").labels)
    results = [
        training.train(start(), Dataset("x", Task.BINARY, ("a", "b"), splits), seed=0)
        for splits in (
            DATA.splits,
            {**DATA.splits, "test": spoiled},
            {k: DATA.splits[k] for k in ("train", "val")},
        )
    ]
    assert len({write_artifact(network) for network in results}) == 1
    last_epoch = training.train(
        start(), Dataset("x", Task.BINARY, ("a", "b"), {"train": DATA.splits["train"]}), seed=0
    )
    assert last_epoch.logits == 2


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.fixture
def every_epoch(monkeypatch):
    """Checkpoints after every epoch instead of every ten seconds."""
    monkeypatch.setattr(checkpoint_module, "_SECONDS_BETWEEN", 0.0)


def kill_after(monkeypatch, writes):
    """Let a checkpoint's write be the last thing that happens."""
    original = MemoryFiles.write
    left = [writes]

    def write(self, name, data):
        original(self, name, data)
        left[0] -= 1
        if left[0] == 0:
            raise KilledError

    monkeypatch.setattr(MemoryFiles, "write", write)


@pytest.mark.parametrize("kills", [(1,), (3, 2), (5, 1, 1)])
def test_a_training_that_was_killed_ends_with_the_same_weights(kills, every_epoch, monkeypatch):
    """Whenever it was killed, and however often; history included."""
    whole = QUICK.attempt(start(), everything())
    files = MemoryFiles()
    for writes in kills:
        with monkeypatch.context() as patched:
            kill_after(patched, writes)
            with pytest.raises(KilledError):
                QUICK.attempt(start(), everything(), Checkpoints(files, "c"))
    resumed = QUICK.attempt(start(), everything(), Checkpoints(files, "c"))
    assert write_artifact(resumed.network) == write_artifact(whole.network)
    assert resumed.epochs == whole.epochs
    assert resumed.history == whole.history


def test_a_training_that_was_killed_at_its_end_has_ended(every_epoch, monkeypatch):
    """The last checkpoint says that all are certified: not one epoch more is trained."""
    whole = QUICK.attempt(start(), everything())
    files = MemoryFiles()
    with monkeypatch.context() as patched:
        kill_after(patched, whole.epochs)
        with pytest.raises(KilledError):
            QUICK.attempt(start(), everything(), Checkpoints(files, "c"))
    resumed = QUICK.attempt(start(), everything(), Checkpoints(files, "c"))
    assert resumed.epochs == whole.epochs
    assert write_artifact(resumed.network) == write_artifact(whole.network)


def test_a_training_in_parts_is_the_same_training():
    """Stopped after some epochs and gone on with: weights, epochs and history to the bit."""
    whole = QUICK.attempt(start(), everything())
    checkpoints = Checkpoints(MemoryFiles(), "c")
    for until in (2, 3, 3, whole.epochs, 1000):
        part = QUICK.attempt(start(), everything(), checkpoints, until=until)
        assert part.epochs == min(until, whole.epochs)
    assert write_artifact(part.network) == write_artifact(whole.network)
    assert part.history == whole.history


# At the radius below, some epochs certify no more than those before them.
PATIENT = CertifiedTraining(epochs=40, ramp_steps=4, ramp_epochs=2, batch_size=16, patience=4)


def hard(validation, round_=1):
    rows = np.arange(len(DATA.split("train")))
    family = LInf.of("5/255")
    return RepairTask(
        DATA.split("train"), family, rows, rows, 0, round_, Semantics.FLOAT32, validation
    )


def test_a_patient_training_ends_with_its_best_epoch():
    """Most certified, then most right on validation; and stops when none was better for long."""
    val = DATA.split("val")
    done = PATIENT.attempt(start(), hard(val))
    assert 0 < done.screened < 40
    assert 2 * PATIENT.patience < done.epochs < PATIENT.epochs
    best = done.epochs - PATIENT.patience
    counts = [entry["certified"] for entry in done.history if entry["radius_share"] == 1]
    assert done.screened == done.history[best - 1]["certified"] == max(counts)
    assert best > done.epochs - len(counts), "not the first one at the whole radius"
    # A training that ends at the best epoch has no better one behind it, nor a later one.
    shorter = PATIENT.attempt(start(), hard(val), Checkpoints(MemoryFiles(), "c"), until=best)
    assert artifact_of(shorter) == artifact_of(done)


def artifact_of(correction):
    return write_artifact(correction.network)


def test_validation_decides_where_certificates_do_not():
    """Of two epochs that certify as many, the one that is right on more is kept."""
    module = NetworkModule(start())
    state = TrainingState.begin(module, 1e-3)
    val = DATA.split("val")
    kept = []
    for right in (3, 5, 5, 4):
        state.epoch += 1
        state.marks["certified"] = np.arange(40) < 7
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(certified_training, "right_answers", lambda *_, r=right: r)
            certified_training._keep_best(state, val)
        kept.append(int(state.marks["best"][2]))
    assert kept == [1, 2, 2, 2]
    state.epoch += 1
    state.marks["certified"] = np.arange(40) < 8
    certified_training._keep_best(state, None)
    assert state.marks["best"].tolist() == [8, 0, 5]


@pytest.mark.parametrize("kills", [(2,), (7, 1)])
def test_a_patient_training_that_was_killed_ends_with_the_same_weights(
    kills, every_epoch, monkeypatch
):
    """The best epoch so far is remembered too."""
    val = DATA.split("val")
    whole = PATIENT.attempt(start(), hard(val))
    files = MemoryFiles()
    for writes in kills:
        with monkeypatch.context() as patched:
            kill_after(patched, writes)
            with pytest.raises(KilledError):
                PATIENT.attempt(start(), hard(val), Checkpoints(files, "c"))
    resumed = PATIENT.attempt(start(), hard(val), Checkpoints(files, "c"))
    assert artifact_of(resumed) == artifact_of(whole)
    assert resumed.epochs == whole.epochs


def test_without_patience_validation_is_not_looked_at():
    """By default other validation labels, or none, give the same weights."""
    val = DATA.split("val")
    spoiled = Samples(val.images, 1 - val.labels)
    quick = CertifiedTraining(epochs=6, ramp_steps=4, ramp_epochs=2, batch_size=16)
    made = {artifact_of(quick.attempt(start(), hard(some))) for some in (None, val, spoiled)}
    assert len(made) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1e-3},
        {"learning_rate": float("nan")},
        {"clean_weight": 1.5},
        {"clean_weight": -0.1},
        {"patience": 0},
        {"margin": -1.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong):
    """With the name and the value."""
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"{name}: {value}"):
        CertifiedTraining(**wrong)


@pytest.mark.parametrize("kills", [(1,), (4,)])
def test_ordinary_training_goes_on_where_it_was(kills, every_epoch, monkeypatch):
    """The best epoch so far is remembered too."""
    training = OrdinaryTraining(epochs=7, batch_size=8)
    whole = training.train(start(), DATA, seed=0)
    files = MemoryFiles()
    for writes in kills:
        with monkeypatch.context() as patched:
            kill_after(patched, writes)
            with pytest.raises(KilledError):
                training.train(start(), DATA, 0, Checkpoints(files, "c"))
    resumed = training.train(start(), DATA, 0, Checkpoints(files, "c"))
    assert write_artifact(resumed) == write_artifact(whole)


def test_a_checkpoint_of_another_training_is_refused(every_epoch):
    """Going on from it would give a result that nobody asked for."""
    files = MemoryFiles()
    QUICK.attempt(start(), everything(), Checkpoints(files, "c"))
    with pytest.raises(RunFolderError, match="other settings"):
        CertifiedTraining(epochs=61).attempt(start(), everything(), Checkpoints(files, "c"))
    files.write("c", files.require("c")[:100])
    with pytest.raises(RunFolderError, match="damaged"):
        QUICK.attempt(start(), everything(), Checkpoints(files, "c"))


def test_certified_training_certifies_the_easy_set_and_repeats_itself():
    """All samples are screened within the budget; the same seed gives the same weights."""
    network = start()
    before = write_artifact(network)
    first, again = (QUICK.attempt(network, everything()) for _ in range(2))
    assert first.screened == 40
    assert first.epochs < QUICK.epochs
    assert write_artifact(first.network) == write_artifact(again.network)
    assert write_artifact(network) == before
    assert [entry["epoch"] for entry in first.history] == list(range(1, first.epochs + 1))


def test_networks_with_maxima_and_joined_values_are_trained_until_certified():
    """And what was screened is what the trusted pass proves."""
    generator, one, same = np.random.default_rng(0), (1, 1), ((1, 1), (1, 1))
    network = Network(
        (1, 8, 8),
        (
            Node(Conv(weights(generator, 4, 1, 3, 3), weights(generator, 4), one, same, one), (0,)),
            Node(Relu(), (1,)),
            Node(Concat(0, 2), (0, 2)),
            Node(MaxPool((3, 3), (2, 2), same, one), (3,)),
            Node(Reshape((80,)), (4,)),
            Node(Affine(weights(generator, 2, 80), weights(generator, 2)), (5,)),
        ),
    )
    trained = QUICK.attempt(network, everything())
    assert trained.screened == 40
    train = DATA.split("train")
    trusted = TrustedPass(trained.network, Semantics.FLOAT32)
    for label in (0, 1):
        box = FAMILY.boxes(train.images[train.labels == label])
        assert np.all(trusted.margins(box, SingleLabel(label, 2), IntervalEvidence()) > 0)


def test_samples_that_are_not_certified_are_shown_more_often():
    """All once; from the middle of the ramp on the uncertified further times, more each round."""
    certified = np.array([True, False, True, False])
    for share, round_, copies in ((0.2, 1, 0), (0.5, 1, 4), (1.0, 1, 4), (1.0, 2, 8), (1.0, 3, 16)):
        order = QUICK._order(certified, share, everything(round_), epoch=0)
        counts = np.bincount(order, minlength=4)
        assert counts.tolist() == [1, 1 + copies, 1, 1 + copies]


def test_the_last_few_are_not_outweighed_in_further_rounds():
    """One of a thousand makes up a thirty-second of an epoch; in the first round it does not."""
    certified = np.ones(1024, dtype=bool)
    certified[7] = False
    for round_, copies in ((1, 4), (2, 32), (5, 64)):
        order = QUICK._order(certified, 1.0, everything(round_), epoch=0)
        assert np.bincount(order)[7] == 1 + copies
    none = dataclasses.replace(QUICK, extra_copies=0)
    assert np.bincount(none._order(certified, 1.0, everything(2), epoch=0)).max() == 1


def test_the_radius_rises_in_the_first_round_only():
    """From 0 to the whole, over the ramp."""
    shares = [QUICK._ramp(everything(), epoch, 40) for epoch in range(8)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[5] == shares[-1] == 1
    assert QUICK._ramp(everything(2), 0, 40) == 1
    few_steps = CertifiedTraining(epochs=20, ramp_steps=600, ramp_epochs=5)
    assert few_steps._ramp(everything(), 10, 40) == 1, "half of the epochs are left at the end"


def test_the_loop_ends_when_nothing_is_open():
    """Certificates are written and accepted, bugs closed, the checkpoint forgotten."""
    folder = RunFolder.in_memory()
    best = Loop(QUICK, rounds=3).run(start(), subject(), 0, folder)
    assert best == 1
    record = folder.read_json("rounds/01/round.json")
    assert record["open"] == []
    assert record["accepted"] == 40
    assert folder.files.read("rounds/02/round.json") is None
    assert not [name for name in folder.files.names() if "checkpoint" in name]
    assert all(bug.is_closed for bug in folder.bugs.bugs())


def test_rounds_that_are_done_are_not_done_again():
    """A run that goes on reads them."""
    folder = RunFolder.in_memory()
    Loop(QUICK, rounds=1).run(start(), subject(), 0, folder)

    class Forbidden(Corrector):
        def attempt(self, network, task, checkpoints=None, progress=None):
            raise AssertionError("the round was done again")

        def settings(self):
            return {}

    assert Loop(Forbidden(), rounds=1).run(start(), subject(), 0, folder) == 1


class Useless(Corrector):
    """Changes nothing and says that everything is certified."""

    kind = "useless"

    def attempt(self, network, task, checkpoints=None, progress=None):
        return Correction(network, 1, len(task.rows), ())

    def settings(self):
        return {"corrector": "useless"}


def test_a_corrector_that_lies_changes_nothing_about_the_result():
    """Rounds end, samples stay open, and the log says so."""
    folder = RunFolder.in_memory()
    best = Loop(Useless(), rounds=2).run(start(), subject(), 0, folder)
    assert best == 1
    record = folder.read_json("rounds/02/round.json")
    assert record["screened"] == 40
    assert record["open"]
    assert {bug.state for bug in folder.bugs.bugs()} <= {BugState.OPEN, BugState.CERTIFIED}
    assert any(bug.state is BugState.OPEN for bug in folder.bugs.bugs())


def test_a_rejection_of_what_was_just_written_is_an_alarm(monkeypatch):
    """The prover and the checker disagree: nothing is reported but that."""
    original = examine_module.write_certificates

    def spoiled(files, prefix, *rest):
        written = original(files, prefix, *rest)
        name = prefix + written.shards[0].file
        files.write(name, files.require(name).replace(b'"interval"', b'"linear__"'))
        return written

    monkeypatch.setattr(examine_module, "write_certificates", spoiled)
    with pytest.raises(SoundnessAlarm, match="just written"):
        Loop(QUICK, rounds=1).run(start(), subject(), 0, RunFolder.in_memory())


def test_contradicted_samples_are_left_out_of_the_loss():
    """Both members; and the rest of the phantom is certified around them."""
    data, planted = phantom(3, samples=(60, 10, 10))
    found = subject(data)
    seen = []

    class Watching(Corrector):
        kind = "watching"

        def attempt(self, network, task, checkpoints=None, progress=None):
            seen.append(task)
            return Correction(network, 1, 0, ())

        def settings(self):
            return {"corrector": self.kind}

    from asi_verify.export import network_from_torch
    from asi_verify.zoo import SmallCNN

    network = network_from_torch(SmallCNN((1, 28, 28), 2, [0.4], [0.1], (2, 2), 4), (1, 28, 28))
    Loop(Watching(), rounds=1).run(network, found, 0, RunFolder.in_memory(), stages=())
    members = {row for pair in planted.dual_labels for row in pair}
    assert members <= set(found.audit.contradicted)
    assert set(seen[0].rows.tolist()) == set(range(60)) - set(found.audit.contradicted)


def test_determinism_is_switched_back():
    """A library does not leave global settings changed."""
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before


def test_training_on_crown_ibp_is_confirmed_by_crown_ibp():
    """What was screened is what that pass proves of the network that is given back."""
    training = dataclasses.replace(QUICK, bounds="crown-ibp")
    trained = training.attempt(start(), everything())
    assert trained.screened == 40
    assert write_artifact(trained.network) != write_artifact(
        QUICK.attempt(start(), everything()).network
    )
    train, trusted = DATA.split("train"), TrustedPass(trained.network, Semantics.FLOAT32)
    for label in (0, 1):
        box = FAMILY.boxes(train.images[train.labels == label])
        evidence = LinearEvidence(Intermediate.INTERVAL)
        assert np.all(trusted.margins(box, SingleLabel(label, 2), evidence) > 0)


def test_what_crown_ibp_alone_proves_is_not_confirmed_by_intervals():
    """A network of which intervals lose the difference of two equal numbers."""
    network = Network.sequential(
        (1, 1, 1),
        [
            Reshape((1,)),
            Affine(np.float32([[1], [1]]), np.float32([5, 5])),
            Relu(),
            Affine(np.float32([[90, -90], [0, 0]]), np.float32([0.5, 0])),
        ],
    )
    samples = Samples(np.full((2, 1, 1, 1), 99, np.uint8), np.zeros(2, np.int64))
    box = FAMILY.boxes(samples.images)
    for bounds, count in (("intervals", 0), ("crown-ibp", 2)):
        training = dataclasses.replace(QUICK, bounds=bounds)
        assert training._confirmed(network, samples, box, Semantics.FLOAT32).sum() == count


def test_settings_tell_what_was_chosen():
    """Those that came later only where they were, so that older run folders go on."""
    assert "bounds" not in QUICK.settings()
    assert "patience" not in QUICK.settings()
    chosen = dataclasses.replace(QUICK, bounds="crown-ibp", patience=5).settings()
    assert chosen == QUICK.settings() | {"bounds": "crown-ibp", "patience": 5}


def test_bounds_that_are_not_known_are_refused():
    """Before anything is trained."""
    with pytest.raises(UsageError, match="bounds: 'alpha'"):
        CertifiedTraining(bounds="alpha")
