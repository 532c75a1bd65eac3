"""The last layer by linear programme: what it repairs, must not lose, and cannot do."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from itertools import product

import jsonschema
import numpy as np
import pytest
from support.networks import small_cnn, weights

import asi_verify as asi
from asi_verify.audit import audit
from asi_verify.checker import check_files
from asi_verify.core.bug import BugState
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu, Reshape
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, Samples, Task
from asi_verify.errors import UsageError
from asi_verify.export import Artifact
from asi_verify.lowering import write_artifact
from asi_verify.repair import (
    CertifiedTraining,
    Correction,
    Corrector,
    LastLayer,
    Loop,
    Subject,
    examine,
)
from asi_verify.repair import Task as RepairTask
from asi_verify.repair.last_layer import _Problem, _Programme
from asi_verify.report import build_report, report_schema
from asi_verify.report.write import render
from asi_verify.store import RunFolder

module = importlib.import_module("asi_verify.repair.last_layer")
module_loop = importlib.import_module("asi_verify.repair.loop")

FAMILY = LInf.of("1/255")
SHORT = CertifiedTraining(epochs=20, ramp_steps=10, ramp_epochs=3, batch_size=16)


@cache
def levels(spread, count=60):
    """Darker and brighter images of 8 x 8 pixels; the larger the spread, the more they overlap."""
    generator = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", count), ("val", 10), ("test", 10)):
        labels = np.arange(n) % 2
        level = 90 + 70 * labels + generator.normal(0, spread, n)
        images = generator.normal(level[:, None, None, None], 12, (n, 1, 8, 8))
        splits[name] = Samples(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64))
    return Dataset("levels", Task.BINARY, ("dark", "bright"), splits)


def samples_of(spread):
    return levels(spread).split("train")


def task_of(samples, open_, family=FAMILY):
    rows = np.arange(len(samples))
    return RepairTask(samples, family, rows, np.asarray(open_, np.intp), 0, 1)


def proved(network, samples, family=FAMILY):
    """What the trusted pass proves, by intervals or by CROWN."""
    box = family.boxes(samples.images)
    return _Problem.of(network, samples, box, Semantics.FLOAT32).known.proved


@cache
def almost(spread=15, epochs=20):
    """A network whose training was too short: a few samples stay open."""
    samples = samples_of(spread)
    start = small_cnn(np.random.default_rng(0), outputs=2)
    training = replace(SHORT, epochs=epochs)
    network = training.attempt(start, task_of(samples, range(len(samples)))).network
    return network, np.flatnonzero(~proved(network, samples))


def affine_only(weight, bias):
    """No hidden layer: what the last one reads is the image, and its box the region."""
    layer = Affine(np.float32(weight), np.float32(bias))
    return Network.sequential(
        (1, 1, layer.weight.shape[1]), (Reshape((layer.weight.shape[1],)), layer)
    )


def two_pixels(rows, labels):
    return Samples(np.array(rows, np.uint8)[:, None, None], np.array(labels))


def test_open_samples_are_certified_and_the_others_kept():
    """Two of 60 samples are open; a change of the last layer alone certifies all."""
    samples, (network, open_) = samples_of(15), almost()
    assert 0 < len(open_) <= 3
    correction = LastLayer().attempt(network, task_of(samples, open_))
    assert correction.effect["repaired"] == open_.tolist()
    assert correction.effect["kept"] == 60 - len(open_)
    assert correction.screened == 60
    assert proved(correction.network, samples).all()
    for before, after in zip(network.nodes[:-1], correction.network.nodes[:-1], strict=True):
        assert before is after
    assert correction.network.is_exact_float32


def test_the_same_question_gives_the_same_artifact():
    """To the byte; and the network that was given is not changed."""
    samples, (network, open_) = samples_of(15), almost()
    before = write_artifact(network)
    first, again = (LastLayer().attempt(network, task_of(samples, open_)) for _ in range(2))
    assert write_artifact(first.network) == write_artifact(again.network) != before
    assert write_artifact(network) == before
    assert first.effect == again.effect


def test_without_the_preservation_constraints_other_samples_would_be_lost():
    """The change that an open sample alone asks for loses two that were certified."""
    samples, (network, open_) = samples_of(25), almost(25, 6)
    problem = _Problem.of(network, samples, FAMILY.boxes(samples.images), Semantics.FLOAT32)
    kept = ~np.isin(np.arange(60), open_)
    repaired = LastLayer().attempt(network, task_of(samples, open_)).effect["repaired"]
    assert repaired
    careless = _Programme(problem, np.zeros(60, np.bool_), 0.01).repair(np.array(repaired))
    assert careless is not None
    assert not careless[1].proved[kept].all()
    careful = _Programme(problem, kept, 0.01).repair(np.array(repaired))
    assert careful is not None
    assert careful[1].proved[kept].all()


def test_every_row_that_counts_keeps_what_it_needs():
    """As foreseen, the margin or half of what it had; not only as many as the pass looks at."""
    samples, (network, open_) = samples_of(25), almost(25, 6)
    problem = _Problem.of(network, samples, FAMILY.boxes(samples.images), Semantics.FLOAT32)
    kept = ~np.isin(np.arange(60), open_)
    network = LastLayer().attempt(network, task_of(samples, open_)).network
    new, old = (
        problem.over_boxes(layer.weight.astype(float), layer.bias.astype(float))
        for layer in (network.nodes[-1].operator, problem.network.nodes[-1].operator)
    )
    lower = problem.known.lower[kept]
    foreseen = lower + (new - old)[kept]
    assert np.all(foreseen >= np.minimum(0.01, lower / 2) - 1e-5)


def test_samples_that_the_pass_cannot_prove_are_kept_from_getting_worse():
    """As those are that only a later stage certified: what would cost them anything is refused."""
    samples = two_pixels([[100, 100], [101, 101]], [0, 1])
    network = affine_only([[1, 0], [0, 1]], [0, 0])
    assert not proved(network, samples).any()
    correction = LastLayer().attempt(network, task_of(samples, [1]))
    assert correction.network is network
    alone = LastLayer().attempt(network, task_of(samples.take(np.array([1])), [0]))
    assert alone.effect["repaired"] == [0]


def test_where_all_are_too_much_some_are_taken():
    """The others stay open, and the record says how many."""
    samples, (network, open_) = samples_of(25), almost(25, 6)
    correction = LastLayer().attempt(network, task_of(samples, open_))
    repaired = correction.effect["repaired"]
    assert 0 < len(repaired) < len(open_)
    assert correction.effect["reason"] == (f"{len(repaired)} of {len(open_)} open samples repaired")
    found = proved(correction.network, samples)
    assert found[repaired].all()
    assert found[~np.isin(np.arange(60), open_)].all()


def test_what_cannot_be_had_changes_nothing():
    """Three images in line, the one in the middle of another label: no affine map parts them."""
    samples = two_pixels([[50, 50], [100, 100], [150, 150]], [0, 1, 0])
    network = affine_only([[1, 0], [0, 1]], [1, 0])
    assert proved(network, samples).tolist() == [True, False, True]
    correction = LastLayer().attempt(network, task_of(samples, [1]))
    assert correction.network is network
    assert correction.effect["repaired"] == []
    assert "no change of the last layer" in correction.effect["reason"]
    assert correction.screened == 2


def test_the_change_has_the_smallest_norm():
    """One sample whose pixels are at most 1, with margin -1, that needs 0.25.

    A unit of a bias gives 1, a unit of a weight less: a change of 1.25 in all is the smallest.
    Rounding is far below what is compared.
    """
    samples = two_pixels([[255, 127]], [0])
    network = affine_only([[0, 0], [0, 0]], [0, 1])
    problem = _Problem.of(network, samples, FAMILY.boxes(samples.images), Semantics.FLOAT32)
    found = _Programme(problem, np.zeros(1, np.bool_), 0.25).repair(np.array([0]))
    assert found is not None
    layer = found[0].nodes[-1].operator
    change = np.abs(layer.weight).sum() + np.abs(layer.bias - [0, 1]).sum()
    assert change == pytest.approx(1.25, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_lowest_value_over_a_box_is_that_of_its_corners(classes):
    """Every row, every sample, for weights that are not the network's own."""
    generator = np.random.default_rng(classes)
    samples = Samples(generator.integers(0, 256, (6, 1, 1, 3), np.uint8), np.arange(6) % classes)
    network = affine_only(weights(generator, classes, 3), weights(generator, classes))
    problem = _Problem.of(network, samples, FAMILY.boxes(samples.images), Semantics.FLOAT32)
    weight, bias = generator.normal(size=(classes, 3)), generator.normal(size=classes)
    found = problem.over_boxes(weight, bias)
    for row in range(6):
        middle, radius = problem.known.middle[row], problem.known.radius[row]
        corners = [middle + np.array(s) * radius for s in product((-1, 1), repeat=3)]
        values = [problem.rows[problem.label_of[row]] @ (weight @ c + bias) for c in corners]
        np.testing.assert_allclose(found[row], np.min(values, axis=0), rtol=1e-6, atol=1e-6)


def test_several_classes_are_repaired():
    """Four classes: the labels are those of a network whose last layer is then disturbed."""
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (60, 1, 2, 2), np.uint8)
    hidden = Affine(weights(generator, 12, 4), weights(generator, 12))
    last = Affine(weights(generator, 4, 12), weights(generator, 4))
    operators = (Reshape((4,)), hidden, Relu())
    first = Artifact.from_network(Network.sequential((1, 2, 2), (*operators, last)))
    outputs = first.session.run(encode(images))
    last = replace(last, bias=last.bias - outputs.mean(axis=0))
    right = Network.sequential((1, 2, 2), (*operators, last))
    labels = (outputs - outputs.mean(axis=0)).argmax(axis=1)
    assert np.all(np.bincount(labels, minlength=4) >= 10)
    samples = Samples(images, labels)
    samples = samples.take(np.flatnonzero(proved(right, samples)))
    disturbed = replace(last, weight=last.weight + np.float32(0.05) * weights(generator, 4, 12))
    network = Network.sequential((1, 2, 2), (*operators, disturbed))
    open_ = np.flatnonzero(~proved(network, samples))
    assert 0 < len(open_) <= 10
    correction = LastLayer(margin=1e-4).attempt(network, task_of(samples, open_))
    assert correction.effect["repaired"] == open_.tolist()
    assert proved(correction.network, samples).all()


@pytest.mark.parametrize(
    ("labels", "bias"),
    [([0, 1, 1], [-0.5]), ([[0, 1], [1, 0], [1, 1]], [-0.5, 0.5])],
    ids=["one logit", "several decisions"],
)
def test_other_kinds_of_labels_are_repaired(labels, bias):
    """One logit for two classes, and a decision for each logit."""
    samples = two_pixels([[50, 50], [200, 200], [120, 200]], labels)
    network = affine_only([[1, 0], [0, -1]][: len(bias)], bias)
    open_ = np.flatnonzero(~proved(network, samples))
    assert 0 < len(open_) < 3
    correction = LastLayer().attempt(network, task_of(samples, open_))
    assert correction.effect["repaired"] == open_.tolist()
    assert proved(correction.network, samples).all()


def test_the_number_of_programmes_is_a_budget(monkeypatch):
    """What does not fit into it counts as not to be had; nothing is half done."""
    samples, (network, open_) = samples_of(15), almost()
    whole = LastLayer().attempt(network, task_of(samples, open_)).effect["programmes"]
    monkeypatch.setattr(module, "_MOST_PROGRAMMES", whole - 1)
    correction = LastLayer().attempt(network, task_of(samples, open_))
    assert correction.network is network
    assert correction.effect["programmes"] == whole - 1 > 0
    assert correction.effect["repaired"] == []


def test_a_last_layer_of_another_kind_is_left_alone():
    """And the record says why."""
    samples = two_pixels([[50, 50], [100, 100]], [0, 1])
    network = affine_only([[1, 0], [0, 1]], [1, 0])
    network = Network.sequential((1, 1, 2), (*(n.operator for n in network.nodes), Relu()))
    correction = LastLayer().attempt(network, task_of(samples, [1]))
    assert correction.network is network
    assert "not an affine map" in correction.effect["reason"]


def subject(spread=15):
    data = levels(spread)
    return Subject(data.name, "train", data.split("train"), audit(data, FAMILY))


class Given(Corrector):
    """Stands for a training that ends with a known network."""

    kind = "given"

    def __init__(self, network):
        self.network = network
        self.seen = []

    def attempt(self, network, task, checkpoints=None, progress=None):
        self.seen.append(write_artifact(network))
        epoch = {"epoch": 1, "radius_share": 1.0, "certified": 0}
        return Correction(self.network, 1, 0, (epoch,))

    def settings(self):
        return {"corrector": "given"}


def looped(network, folder, spread=15, last_layer=None, rounds=1):
    """The bug log begins with the untrained network, as that of a run does."""
    of = subject(spread)
    start = small_cnn(np.random.default_rng(0), outputs=2)
    examine(Artifact.from_network(start), of, 0, folder)
    return Loop(Given(network), rounds, last_layer or LastLayer()).run(start, of, 0, folder)


def test_the_loop_repairs_what_training_left_open():
    """A round of its own: certificates accepted by the checker, bugs closed, traces kept."""
    samples, folder = samples_of(15), RunFolder.in_memory()
    assert looped(almost()[0], folder) == 2
    first, second = (folder.read_json(f"rounds/{n:02d}/round.json") for n in (1, 2))
    assert 0 < len(first["open"]) <= 10
    assert second["open"] == second["lost"] == []
    assert second["corrector"] == LastLayer().settings()
    assert second["effect"]["repaired"] == first["open"]
    assert folder.read_json("rounds/01/last_layer.json") == second["effect"]
    checked = check_files(
        lambda name: folder.files.require("rounds/02/certificates/" + name),
        samples.images,
        samples.labels,
    )
    assert checked.holds
    assert all(bug.is_closed for bug in folder.bugs.bugs())
    closed = [
        bug
        for bug in folder.bugs.bugs()
        if [event.state for event in bug.events][-2:] != [BugState.CERTIFIED] * 2
    ]
    assert {bug.row for bug in closed} <= set(first["open"])
    assert second["closed"] == len(closed) > 0
    assert {bug.events[-1].round for bug in closed} == {2}


def test_the_loop_goes_on_where_nothing_can_be_repaired():
    """No round is added, and it is written down why; with 0 it is not tried at all."""
    network, _ = almost(25, 20)
    folder = RunFolder.in_memory()
    assert looped(network, folder, 25, rounds=2) == 1
    assert folder.files.read("rounds/03/round.json") is None
    assert folder.read_json("rounds/02/round.json")["corrector"] == {"corrector": "given"}
    assert folder.read_json("rounds/01/last_layer.json")["repaired"] == []
    assert Loop.of(SHORT, 2, 0).last_layer is None
    assert Loop.of(SHORT, 2, 3).last_layer == LastLayer(most=3)
    with pytest.raises(UsageError, match="-1"):
        Loop.of(SHORT, 2, -1)


class Forgetful(Given):
    """A second training that undoes the first."""

    def attempt(self, network, task, checkpoints=None, progress=None):
        chosen = self.network if task.round == 1 else small_cnn(np.random.default_rng(0), outputs=2)
        return Correction(chosen, 1, 0, ())


def test_bugs_stand_as_under_the_model_that_is_kept():
    """Not as under the last one: certified are those that have a certificate of the best round."""
    folder = RunFolder.in_memory()
    training = Forgetful(almost()[0])
    start = small_cnn(np.random.default_rng(0), outputs=2)
    examine(Artifact.from_network(start), subject(), 0, folder)
    loop = Loop(training, 2, None)
    assert loop.run(start, subject(), 0, folder) == 1
    kept = folder.read_json("rounds/01/examination.json")
    bugs = folder.bugs.bugs()
    assert any(bug.state is BugState.CERTIFIED for bug in bugs)
    for bug in bugs:
        accepted = kept["samples"][bug.row]["accepted"]
        assert (bug.state is BugState.CERTIFIED) == accepted
        assert not accepted or bug.events[-1].artifact == kept["artifact"]
    assert loop.run(start, subject(), 0, folder) == 1
    assert folder.bugs.bugs() == bugs


@pytest.mark.parametrize("wrong", [{"last_layer": -1}, {"rounds": 0}, {"rounds": 2.0}])
@pytest.mark.parametrize("public", ["correct", "run"])
def test_a_wrong_budget_is_refused_before_anything_is_written(public, wrong, tmp_path):
    """The folder then takes the same command with a number that can be used."""
    ((name, number),) = wrong.items()
    model = () if public == "run" else (write_artifact(almost()[0]),)
    with pytest.raises(UsageError, match=f"{name}: {number};"):
        getattr(asi, public)(
            *model, levels(15), corrector=Given(almost()[0]), out=tmp_path, **wrong
        )
    assert list(tmp_path.iterdir()) == []


def test_it_is_asked_only_for_the_last_few():
    """With more open samples than ``most`` the loop trains on."""
    folder = RunFolder.in_memory()
    assert looped(almost()[0], folder, last_layer=LastLayer(most=1)) == 1
    assert folder.files.read("rounds/01/last_layer.json") is None


class Careless(LastLayer):
    """Repairs the open samples at any price."""

    def attempt(self, network, task, checkpoints=None, progress=None):
        problem = _Problem.of(
            network, task.samples, FAMILY.boxes(task.samples.images), task.semantics
        )
        found = _Programme(problem, np.zeros(60, np.bool_), 5.0).repair(task.open)
        assert found is not None
        return Correction(found[0], 0, 60, (), {"reason": "any", "repaired": task.open.tolist()})


def test_a_change_that_loses_a_certificate_is_not_taken():
    """The examination decides: the round is written down, and neither chosen nor in the bug log."""
    folder, before = RunFolder.in_memory(), RunFolder.in_memory()
    assert looped(almost()[0], before, last_layer=LastLayer(most=1)) == 1
    assert looped(almost()[0], folder, last_layer=Careless()) == 1
    record = folder.read_json("rounds/02/round.json")
    assert record["lost"]
    assert record["closed"] == 0
    assert not set(record["open"]) & set(record["effect"]["repaired"])
    assert folder.bugs.bugs() == before.bugs.bugs()
    training = Given(almost()[0])
    assert Loop(training, 2, Careless()).run(training.network, subject(), 0, folder) == 1
    assert training.seen == [write_artifact(training.network)], "the next round begins before it"


def test_a_repair_that_is_done_is_not_done_again(monkeypatch):
    """A run that goes on reads it; one that was killed before the examination repeats it."""
    folder = RunFolder.in_memory()
    network = almost()[0]
    assert looped(network, folder) == 2
    record = folder.files.require("rounds/02/round.json")
    with monkeypatch.context() as patched:
        patched.setattr(LastLayer, "attempt", None)
        assert Loop(Given(network), 1).run(network, subject(), 0, folder) == 2
    killed, original = RunFolder.in_memory(), module_loop.examine

    def examine_once(artifact, of, number, *rest, **options):
        if number == 2:
            raise KeyboardInterrupt
        return original(artifact, of, number, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module_loop, "examine", examine_once)
        with pytest.raises(KeyboardInterrupt):
            looped(network, killed)
    assert Loop(Given(network), 1).run(network, subject(), 0, killed) == 2
    assert killed.files.require("rounds/02/round.json") == record


def test_the_report_tells_what_the_last_layer_did():
    """In a run by the public function: the round, its images, the bugs closed; and what failed."""
    network = almost()[0]
    model = write_artifact(network)
    result = asi.correct(model, levels(15), corrector=Given(network), rounds=1)
    assert str(result.status) == "zero"
    report = build_report(result.folder)
    page = render(report, None)
    jsonschema.validate(report, report_schema())
    first, second = report["rounds"]
    assert first["last_layer"] == "2 of 2 open samples repaired"
    assert second["settings"]["corrector"] == "last-layer"
    assert len(second["repaired"]) == first["open"] == 2
    assert second["open"] == 0
    assert "changed for images " + ", ".join(map(str, second["repaired"])) in page
    traces = {bug["row"]: bug["trace"][-1]["round"] for bug in report["bugs"]}
    assert second["closed"] == sum(traces.get(row) == 2 for row in second["repaired"])
    without = asi.correct(model, levels(15), corrector=Given(network), rounds=1, last_layer=0)
    assert str(without.status) == "open(2)"
    assert without.folder.read_json("rounds/01/last_layer.json") is None
    network = almost(25, 20)[0]
    failed = asi.correct(write_artifact(network), levels(25), corrector=Given(network), rounds=1)
    assert "then tried: no change of the last layer" in render(build_report(failed.folder), None)
