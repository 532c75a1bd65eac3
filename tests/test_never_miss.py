"""Classes that must never be missed, from what is asked to the report: two sets of certificates."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction

import jsonschema
import numpy as np
import onnxruntime
import pytest
from support.networks import small_cnn

import asi_verify as asi
from asi_verify._errors import list_errors
from asi_verify.attest import predicate_schema
from asi_verify.checker import Outcome
from asi_verify.cli import main
from asi_verify.core.bug import BugState
from asi_verify.core.certificate import Certificate
from asi_verify.core.claims import Claims
from asi_verify.core.linf import LInf
from asi_verify.core.region import Region
from asi_verify.data import Dataset, Preprocess, Samples, Task, from_arrays
from asi_verify.errors import DataError, RadiusError, RunFolderError, UsageError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.repair import CertifiedTraining, Correction, Corrector
from asi_verify.report import build_report, report_schema, write_report
from asi_verify.store import RunFolder, write_certificates
from asi_verify.stress import Battery

CLASSES = ("harmless", "grave")
QUICK = CertifiedTraining(epochs=60, ramp_steps=10, ramp_epochs=5, batch_size=16)
MODEL = write_artifact(small_cnn(np.random.default_rng(0), outputs=2))


def easy(near=None, count=30):
    """Bright and dark images of 8 x 8 pixels, certified within a few epochs.

    With ``near`` rows 0 and 1, of different classes, differ by so many grey levels.
    """
    generator = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", count), ("test", 10)):
        labels = np.arange(n) % 2
        images = generator.normal(90 + 70 * labels[:, None, None, None], 12, (n, 1, 8, 8))
        splits[name] = [np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)]
    if near is not None:
        images = splits["train"][0]
        images[0] = 125
        images[1] = 125
        images[1, 0, ::2] += near
    return Dataset("easy", Task.BINARY, CLASSES, {k: Samples(*v) for k, v in splits.items()})


DATA = easy()


def correct(data=DATA, out=None, **settings):
    """The correction of a small network, one round unless asked otherwise."""
    settings = {"corrector": QUICK, "never_miss": "grave", "rounds": 1} | settings
    return asi.correct(MODEL, data, preprocess=Preprocess(), out=out, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run about one of two classes, at 1/255 and 4/255."""
    place = tmp_path_factory.mktemp("never-miss")
    result = correct(out=place / "out")
    write_report(result.folder, DATA)
    return place / "out"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def test_both_sets_of_certificates_are_there_and_hold(finished):
    """All samples at the radius, those of the class again at four times it, of the same model."""
    result = asi.load(finished)
    assert str(result.status) == "zero"
    assert str(result.never_miss) == "zero"
    assert result.holds
    found = asi.check(finished, DATA)
    assert found.holds
    assert len(found.rows(Outcome.ACCEPTED)) == 30
    assert found.never_miss.rows(Outcome.ACCEPTED) == list(range(1, 30, 2))
    claims = found.never_miss.claims
    assert claims.family.radius.value == Fraction(4, 255)
    assert claims.never_miss.labels == (1,)
    assert claims.never_miss.others == found.claims.family
    assert claims.artifact == found.claims.artifact == result.digest
    # The folder can be checked by itself, and says itself what it is about.
    alone = asi.check(finished / "never_miss", DATA)
    assert alone.holds
    assert alone.asked == frozenset(range(1, 30, 2))


def test_the_stress_test_tries_the_larger_regions_too(run):
    """Where they are claimed to be larger than they are proved, their members raise alarms."""
    battery = Battery(attacks=())
    found = asi.validate(run, DATA, battery=battery)
    assert found.holds
    assert found.claimed == 45
    tried = {trial.name: trial.tried for trial in found.edge_cases}
    assert (tried["darkest"], tried["never miss: darkest"]) == (30, 15)

    files = RunFolder.open(run).files
    claims = Claims.from_bytes(files.require("never_miss/claims.json"))
    family = LInf.of("120/255")
    certificates = [
        replace(one, query=replace(one.query, region=Region(family, one.query.region.centre)))
        for shard in claims.shards
        for one in map(
            Certificate.from_bytes, files.require("never_miss/" + shard.file).splitlines()
        )
    ]
    claims = replace(
        claims,
        family=family,
        never_miss=replace(claims.never_miss, family=family),
        shards=(),
    )
    model = files.require("never_miss/artifact.onnx")
    write_certificates(files, "never_miss/", claims, model, certificates, {})
    found = asi.validate(run, DATA, battery=battery)
    assert not found.holds
    raised = {alarm.trial for alarm in found.alarms}
    assert {"never miss: check", "never miss: darkest"} <= raised
    assert all(trial.startswith("never miss: ") for trial in raised)


def test_no_input_of_the_larger_regions_is_missed(finished):
    """Corners and random points, asked of ONNX Runtime apart from the library."""
    session = onnxruntime.InferenceSession(
        (finished / "certificates" / "artifact.onnx").read_bytes(),
        providers=["CPUExecutionProvider"],
    )
    images = DATA.split("train").images[1::2] / 255
    generator = np.random.default_rng(0)
    for draw in range(40):
        noise = generator.uniform(-1, 1, images.shape)
        noise = np.sign(noise) if draw % 2 else noise
        points = np.clip(images + noise * 4 / 255, 0, 1).astype(np.float32)
        (logits,) = session.run(None, {session.get_inputs()[0].name: points})
        assert (logits.argmax(axis=1) == 1).all()


def test_what_it_cost_is_told(finished):
    """Sensitivity and specificity before and after, of every split; by a count of its own."""
    result = asi.load(finished)
    figures = result.summary["never_miss"]
    assert figures["classes"] == ["grave"]
    assert (figures["samples"], figures["accepted"], figures["open"]) == (15, 15, 0)
    for when, model in (("before", MODEL), ("after", result.artifact)):
        wrong = {e["row"] for e in list_errors(model, DATA, split="test")["errors"]}
        missed = sum(row % 2 == 1 for row in wrong)
        assert figures[when]["sensitivity"]["test"] == 1 - missed / 5
        assert figures[when]["specificity"]["test"] == 1 - (len(wrong) - missed) / 5


def test_the_report_has_a_line_of_its_own(finished):
    """In JSON by the schema, and on the page; null where nothing was asked."""
    report = json.loads((finished / "report.json").read_text())
    jsonschema.validate(report, report_schema())
    section = report["never_miss"]
    assert section["line"].startswith(
        "Never miss grave: each of 15 images has an accepted certificate at radius 4/255. "
        "On the test images, "
    )
    assert section["status"] == "zero"
    assert section["not_proved"] == []
    assert section["line"] in (finished / "report.html").read_text()
    assert section["digest"] != report["certificates"]["digest"]
    plain = build_report(correct(never_miss=None).folder)
    jsonschema.validate(json.loads(json.dumps(plain)), report_schema())
    assert plain["never_miss"] is None


def test_a_run_that_asks_for_no_classes_is_the_run_that_it_was(tmp_path):
    """Settings, claims, result and model speak of no classes; the training is another one."""
    plain = correct(never_miss=None, out=tmp_path / "out")
    for name in ("run.json", "result.json", "audit.json", "certificates/claims.json"):
        assert "never_miss" not in (tmp_path / "out" / name).read_text()
    assert plain.never_miss is None
    assert not (tmp_path / "out" / "never_miss").exists()
    assert plain.digest == correct(never_miss=(), out=tmp_path / "again").digest
    assert (tmp_path / "out" / "run.json").read_bytes() == (
        tmp_path / "again" / "run.json"
    ).read_bytes()


# A folder that was tampered with


def refused(run):
    """Why the certificates of the classes do not hold; the others are as they were."""
    found = asi.check(run, DATA)
    assert str(found.status) == "zero"
    assert not found.holds
    assert not found.never_miss.holds
    return "\n".join(found.never_miss.refused)


def test_a_folder_without_the_certificates_that_were_asked_for_does_not_hold(run, capsys):
    """Whoever takes them away does not get the words of a run that was asked for nothing more."""
    shutil.rmtree(run / "never_miss")
    assert "never_miss/" in refused(run)
    np.savez(
        run.parent / "easy.npz",
        train_images=DATA.split("train").images[:, 0],
        train_labels=DATA.split("train").labels[:, None],
    )
    assert main(["check", str(run), "--dataset", str(run.parent / "easy.npz")]) == 1
    assert "never miss: refused" in capsys.readouterr().out


def test_one_certificate_taken_away_leaves_its_row_open(run):
    """Also with claims that fit what is left."""
    files = run / "never_miss"
    claims = Claims.from_bytes((files / "claims.json").read_bytes())
    lines = (files / "00000.jsonl").read_bytes().splitlines(keepends=True)
    rewrite(files, claims, lines[1:])
    assert refused(run) == ""
    found = asi.check(run, DATA).never_miss
    assert found.missing == [1]
    assert str(found.status) == "open(1)"


def rewrite(files, claims, lines):
    """Write certificates into a folder, with claims that name them."""
    from dataclasses import replace

    from asi_verify.core.canonical import bytes_digest
    from asi_verify.core.claims import Shard

    data = b"".join(lines)
    (files / "00000.jsonl").write_bytes(data)
    shard = Shard("00000.jsonl", bytes_digest(data), len(lines), None)
    (files / "claims.json").write_bytes(replace(claims, shards=(shard,)).to_bytes())


def replaced(run, other):
    """The run with another folder in the place of its certificates of the classes."""
    shutil.rmtree(run / "never_miss")
    shutil.copytree(other, run / "never_miss")
    return refused(run)


def test_other_certificates_in_their_place_are_refused(run, tmp_path):
    """True ones of smaller regions, of another class, of another model, of other regions beside."""
    assert "names no classes" in replaced(run, run / "certificates")
    model = asi.load(run).artifact
    for name, says, settings in (
        ("smaller", "that the run was asked for", {"never_miss_radius": "3/255"}),
        ("class", "that the run was asked for", {"never_miss": "harmless"}),
        ("beside", "other regions", {"radius": "0.5/255", "never_miss_radius": "4/255"}),
    ):
        asked = {"never_miss": "grave", **settings}
        asi.certify(model, DATA, preprocess=None, out=tmp_path / name, **asked)
        assert says in replaced(run, tmp_path / name / "never_miss")
    correct(out=tmp_path / "model", seed=1)
    assert "another model" in replaced(run, tmp_path / "model" / "never_miss")


def test_the_stress_test_tries_no_other_certificates_in_their_place(run, tmp_path):
    """True ones of another class hold by themselves, and are no part of what the run claims."""
    asked = {"never_miss": "harmless"}
    asi.certify(asi.load(run).artifact, DATA, out=tmp_path / "class", **asked)
    replaced(run, tmp_path / "class" / "never_miss")
    found = asi.validate(run, DATA, battery=Battery(attacks=()))
    assert not found.holds
    (alarm,) = found.alarms
    assert "that the run was asked for" in alarm.detail


def test_certificates_moved_to_other_rows_are_rejected(run):
    """Each is about the image of its row."""
    files = run / "never_miss"
    claims = Claims.from_bytes((files / "claims.json").read_bytes())
    lines = (files / "00000.jsonl").read_bytes().splitlines(keepends=True)
    first, second = (json.loads(line)["row"] for line in lines[:2])
    swapped = [
        line.replace(b'"row":%d,' % a, b'"row":%d,' % b)
        for line, a, b in zip(lines[:2], (first, second), (second, first), strict=True)
    ]
    rewrite(files, claims, [*reversed(swapped), *lines[2:]])
    refused(run)
    assert asi.check(run, DATA).never_miss.rows(Outcome.REJECTED) == [first, second]


def test_the_statement_names_them(run):
    """A subject and a part of the predicate; what is changed afterwards is refused."""
    statement = json.loads((run / "statement.json").read_bytes())
    jsonschema.validate(statement["predicate"], predicate_schema())
    stated = statement["predicate"]["never_miss"]
    assert stated["status"] == "zero"
    assert stated["counts"]["samples"] == 15
    assert stated["claim"]["labels"] == [1]
    names = [subject["name"] for subject in statement["subject"]]
    assert "never_miss/claims.json" in names
    assert asi.verify(run).holds
    shard = run / "never_miss" / "00000.jsonl"
    whole = shard.read_bytes()
    shard.write_bytes(whole.replace(b"interval", b"Interval"))
    assert "never_miss/00000.jsonl" in "\n".join(asi.verify(run).refused)
    shard.write_bytes(whole)
    assert asi.verify(run).holds
    (run / "never_miss" / "artifact.onnx").write_bytes(b"")
    assert not asi.verify(run).holds
    shutil.rmtree(run / "never_miss")
    assert not asi.verify(run).holds


def test_a_comparison_tells_what_was_lost_of_them(run, tmp_path):
    """A run that was not asked, or only for smaller regions, keeps none of them."""
    assert asi.compare(run, run, DATA).holds
    model = asi.load(run).artifact
    asi.certify(model, DATA, out=tmp_path / "plain")
    found = asi.compare(run, tmp_path / "plain", DATA)
    assert found.lost == ()
    assert found.never_miss_lost == tuple(range(1, 30, 2))
    assert not found.holds
    asi.certify(model, DATA, out=tmp_path / "less", never_miss="grave", never_miss_radius="3/255")
    assert asi.compare(run, tmp_path / "less", DATA).never_miss_lost == tuple(range(1, 30, 2))
    assert asi.compare(tmp_path / "less", run, DATA).holds
    assert asi.compare(tmp_path / "plain", run, DATA).holds


# What contradicts


@pytest.mark.parametrize(("near", "aside", "named"), [(5, 0, 1), (6, 0, 0), (2, 2, 1)])
def test_larger_regions_that_meet_others_are_listed_and_not_trained_away(near, aside, named):
    """Whether they meet is decided with the region that each sample has; at 2 levels all do."""
    data = easy(near)
    result = correct(data, corrector=Recorded(QUICK))
    assert result.status.contradictions == aside
    assert result.never_miss.contradictions == named
    section = build_report(result.folder)["never_miss"]
    assert [pair["rows"] for pair in section["contradictions"]] == [[0, 1]] * named
    (task,) = Recorded.tasks
    assert (1 in task.named) == (named == 0)
    assert (1 in task.rows) == (aside == 0)
    # The sample itself is trained at the radius of all, if that contradicts nothing.
    if aside == 0:
        box, small = task.boxes(), task.family.boxes(task.samples.images[task.rows])
        wider = (box.upper > small.upper).reshape(len(box), -1).any(axis=1)
        assert task.rows[wider].tolist() == list(range(1 if named == 0 else 3, 30, 2))


class Recorded(Corrector):
    """Passes a corrector's work on, and remembers what it was asked."""

    kind = "recorded"
    tasks: tuple = ()

    def __init__(self, inner):
        self.inner = inner
        Recorded.tasks = ()

    def attempt(self, network, task, checkpoints=None, progress=None):
        Recorded.tasks = (*Recorded.tasks, task)
        return self.inner.attempt(network, task)

    def settings(self):
        return {"corrector": self.kind}


# The loop


class InTurn(Corrector):
    """Gives one network after the other."""

    kind = "in-turn"

    def __init__(self, *networks):
        self.networks = list(networks)
        self.opens = []

    def attempt(self, network, task, checkpoints=None, progress=None):
        self.opens.append(set(task.open.tolist()))
        return Correction(self.networks.pop(0), 0, 0, ())

    def settings(self):
        return {"corrector": self.kind}


def test_a_sample_is_open_without_either_certificate_and_rounds_are_judged_by_both():
    """A model that is certified at the smaller radius alone is worse than one at both."""
    larger = {"never_miss_radius": "25/255", "last_layer": 0}
    start, both, small = (
        read_network(model)
        for model in (MODEL, correct(**larger).artifact, correct(never_miss=None).artifact)
    )
    lacking = asi.certify(
        write_artifact(small), DATA, never_miss="grave", never_miss_radius="25/255"
    )
    assert lacking.status.is_zero
    assert lacking.never_miss.open > 0
    turns = InTurn(start, small, both)
    best = correct(corrector=turns, rounds=3, **larger)
    assert best.summary["round"] == 3
    assert best.holds
    assert turns.opens[0] == set(range(30))
    assert len(turns.opens[2]) == lacking.never_miss.open
    assert turns.opens[2] <= set(range(1, 30, 2))
    assert correct(corrector=InTurn(small, start), rounds=2, **larger).summary["round"] == 1
    worse = correct(corrector=InTurn(small), **larger)
    assert worse.status.is_zero
    assert worse.never_miss == lacking.never_miss
    assert not worse.holds
    # An error in the larger region alone is an error, and it is not closed.
    logged = {bug.row for bug in worse.bugs if bug.state is not BugState.CERTIFIED}
    assert logged <= turns.opens[2]


def test_a_model_is_certified_as_it_is(finished):
    """Without training, at any split; what is open is open."""
    model = (finished / "certificates" / "artifact.onnx").read_bytes()
    found = asi.certify(model, DATA, never_miss=["grave", 0], never_miss_radius="40/255")
    assert found.status.is_zero
    assert found.never_miss.open > 0
    assert not found.holds
    line = build_report(found.folder)["never_miss"]["line"]
    assert line.startswith(f"Never miss harmless and grave: {found.never_miss.open} of 30 images")
    assert asi.certify(model, DATA, split="test", never_miss=1).never_miss is not None


def test_a_folder_does_not_go_on_with_other_classes(run):
    """Nor with another radius for them, nor without them; with the same it is finished."""
    before = asi.load(run).digest
    assert correct(out=run).digest == before
    for other in (
        {"never_miss": None},
        {"never_miss": "harmless"},
        {"never_miss_radius": "3/255"},
    ):
        with pytest.raises(RunFolderError, match="never_miss"):
            correct(out=run, **other)


def several():
    images = np.zeros((4, 1, 8, 8), np.uint8)
    return from_arrays(images, np.eye(4, 2, dtype=np.int64))


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"never_miss": "malignant"}, UsageError, "0 'harmless', 1 'grave'"),
        ({"never_miss": 2}, UsageError, "2 is no class of easy"),
        ({"never_miss": "-1"}, UsageError, "'-1' is no class"),
        ({"never_miss": True}, UsageError, "True is no class"),
        ({"never_miss": 0.5}, UsageError, "0.5 is no class"),
        ({"never_miss": ["grave", None]}, UsageError, "None is no class"),
        ({"never_miss": None, "never_miss_radius": "4/255"}, UsageError, "of no use"),
        ({"never_miss_radius": "1/255"}, RadiusError, "not larger than 1/255"),
        ({"radius": "0.2"}, RadiusError, "1/2"),
        ({"never_miss_radius": "much"}, RadiusError, "much"),
        ({"data": several(), "never_miss": 0}, UsageError, "several labels"),
        ({"data": easy(count=1)}, DataError, "no image"),
    ],
)
def test_wrong_use_gets_one_clear_error(settings, error, says, tmp_path):
    """Before anything is written."""
    with pytest.raises(error, match=says):
        correct(out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [{"radius": "1 pixel"}, {"target": "prediction"}])
def test_classes_are_of_labels_and_linf_regions(settings):
    """Other regions have no radius four times as large, and a model's answers no class."""
    with pytest.raises(UsageError, match="never_miss"):
        asi.certify(MODEL, DATA, never_miss="grave", preprocess=Preprocess(), **settings)
