"""The records of rounds: counted anew from the models themselves, and nothing is chosen by them."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from support.runs import trained

import asi_verify as asi
from asi_verify.audit import audit
from asi_verify.core.canonical import canonical_json, digest
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.properties import label_margins
from asi_verify.data import Dataset, Samples, phantom
from asi_verify.export import Artifact
from asi_verify.prove import Intervals
from asi_verify.repair import (
    CertifiedTraining,
    Correction,
    Corrector,
    Subject,
    change_schema,
    write_changes,
)
from asi_verify.repair.changes import _interval, _mcnemar
from asi_verify.report import build_report, write_report

TWO_ROUNDS = CertifiedTraining(epochs=4, ramp_steps=2, ramp_epochs=2, batch_size=16)


def corrected(data, **options):
    """Two short rounds, after which samples are open still."""
    options = {"corrector": TWO_ROUNDS, "rounds": 2, "stages": [Intervals()], **options}
    return asi.correct(trained(data, epochs=6), data, "3/255", **options)


@pytest.fixture(scope="module")
def data():
    return phantom(0, samples=(60, 20, 24), duplicates=1, dual_labels=1)[0]


@pytest.fixture(scope="module")
def run(data):
    return corrected(data)


def records(result):
    """All of them, read as the canonical JSON that they are."""
    names = [n for n in result.folder.files.names() if n.endswith("change.json")]
    files = [result.folder.files.require(name) for name in names]
    values = [json.loads(data) for data in files]
    assert [canonical_json(value) for value in values] == files
    return values


def test_every_round_has_a_record_that_its_schema_describes(run):
    """Closed objects, a digest of all but the time; the same in the event log and the report."""
    schema = change_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    found = records(run)
    assert [value["round"] for value in found] == [1, 2]
    for value in found:
        jsonschema.validate(value, schema)
        named = {k: v for k, v in value.items() if k not in ("digest", "time")}
        assert value["digest"] == digest(named)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**value, "more": 1}, schema)
    logged = [e["details"] for e in run.folder.events.chain().events if e["event"] == "change"]
    assert logged == [{"digest": v["digest"], "number": v["round"]} for v in found]
    assert build_report(run.folder)["changes"] == found


def test_the_figures_are_those_of_the_two_models(run, data):
    """Answers, errors and logits of the artifacts, asked once more and compared by sample."""
    for value in records(run):
        base, number = value["description"]["base"], value["round"]
        before, after = (model_of(run, n) for n in (base, number))
        described = value["description"]
        assert (described["model_before"], described["model_after"]) == (
            before.digest,
            after.digest,
        )
        impact = value["impact"]
        train = wrong(before, data, "train"), wrong(after, data, "train")
        assert impact["efficacy"]["misclassified"] == {
            "before": train[0].sum(),
            "after": train[1].sum(),
            "closed": (train[0] & ~train[1]).sum(),
            "opened": (~train[0] & train[1]).sum(),
        }
        for name, cost, gain, move in zip(
            ("val", "test"),
            impact["drawdown"],
            impact["generalisation"],
            impact["locality"][1:],
            strict=True,
        ):
            was, now = wrong(before, data, name), wrong(after, data, name)
            assert cost["split"] == gain["split"] == move["split"] == name
            assert cost["samples"] == move["images"] == len(was)
            assert cost["right_before"] == (~was).sum()
            assert cost["right_after"] == (~now).sum()
            assert cost["became_wrong"] == (~was & now).sum()
            assert gain["wrong_before"] == was.sum()
            assert gain["became_right"] == cost["became_right"] == (was & ~now).sum()
            inputs = encode(data.split(name).images)
            first, second = (model.session.run(inputs) for model in (before, after))
            moves = np.abs(second.astype(float) - first).max(axis=1)
            assert move["answers_changed"] == (first.argmax(1) != second.argmax(1)).sum()
            for key, expected in (("median", np.median(moves)), ("largest", moves.max())):
                told = float.fromhex(move[f"{key}_logit_change"])
                np.testing.assert_allclose(told, expected, rtol=1e-3, atol=1e-4)


def model_of(result, number):
    name = f"rounds/{number:02d}/certificates/artifact.onnx"
    return Artifact.from_bytes(result.folder.files.require(name))


def wrong(model, data, split):
    samples = data.split(split)
    return ~(label_margins(samples.labels, model.session.run(encode(samples.images))) > 0)


def test_certificates_are_counted_outside_the_contradictions(run):
    """Gained and lost from round to round, and as many in the end as the result says."""
    first, second = (value["impact"]["efficacy"] for value in records(run))
    for efficacy in (first, second):
        moved = efficacy["certificates"]
        assert moved["after"] == moved["before"] + moved["gained"] - moved["lost"]
        assert moved["after"] + efficacy["open"] == 60 - len(contradicted(run))
    assert second["certificates"]["before"] == first["certificates"]["after"]
    kept = [v for v in records(run) if v["protocol"]["update"]["kept"]]
    assert [v["round"] for v in kept] == [run.summary["round"]]
    assert kept[0]["impact"]["efficacy"]["certificates"]["after"] == run.summary["accepted"]


def contradicted(result):
    return {row for pair in result.audit["contradictions"] for row in pair["rows"]}


def test_images_with_a_known_error_are_no_measure_of_locality(run, data):
    """Of the certified split only those count that were right, with no witness in their region."""
    for value in records(run):
        base = value["description"]["base"]
        samples = run.folder.read_json(f"rounds/{base:02d}/examination.json")["samples"]
        local = value["impact"]["locality"][0]
        assert local["split"] == "train"
        assert local["images"] == sum(s["verdict"] != "refuted" for s in samples)


def test_nothing_is_said_of_a_change_that_was_none():
    """A corrector that changes nothing: no number, no answer and no logit moves."""

    class Nothing(Corrector):
        kind = "nothing"

        def attempt(self, network, task, checkpoints=None, progress=None):
            return Correction(network, 0, 0, ())

        def settings(self):
            return {"corrector": "nothing"}

    data = phantom(5, samples=(20, 6, 6), duplicates=0, across=0, dual_labels=0, near=())[0]
    (value,) = records(corrected(data, corrector=Nothing(), rounds=1, last_layer=0))
    assert value["description"]["parameters"]["changed"] == 0
    assert value["impact"]["efficacy"]["misclassified"]["opened"] == 0
    for cost, move in zip(
        value["impact"]["drawdown"], value["impact"]["locality"][1:], strict=True
    ):
        assert cost["right_before"] == cost["right_after"]
        assert float.fromhex(cost["mcnemar"]) == 1
        assert move["answers_changed"] == 0
        assert float.fromhex(move["largest_logit_change"]) == 0


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (3, 3), (2, 9), (20, 6)])
def test_mcnemars_test_is_the_exact_one(lost, won):
    """Twice the smaller tail of a fair coin, at most 1."""
    tail = sum(comb(lost + won, k) for k in range(min(lost, won) + 1)) / 2 ** (lost + won)
    assert float.fromhex(_mcnemar(lost, won)) == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize(("some", "of"), [(0, 1), (1, 20), (10, 20), (20, 20)])
def test_intervals_hold_every_share_that_the_count_does_not_refute(some, of):
    """At either end the count, or one farther off, has a probability of 2.5 %."""
    ends = _interval(some, of)
    low, high = (float.fromhex(ends[end]) for end in ("low", "high"))

    def at_most(count, share):
        return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1))

    assert low == 0 if some == 0 else 1 - at_most(some - 1, low) == pytest.approx(0.025)
    assert high == 1 if some == of else at_most(some, high) == pytest.approx(0.025)
    assert _interval(0, 0) is None


def test_other_labels_of_the_test_split_change_nothing_but_its_own_figures(run, data):
    """Artifact, certificates and every other number are the same: test is only measured."""
    test = data.split("test")
    spoiled = Dataset(
        data.name,
        data.task,
        data.classes,
        {**data.splits, "test": Samples(test.images, 1 - test.labels)},
    )
    again = corrected(spoiled)
    assert again.artifact == run.artifact
    for name in run.folder.files.names():
        if "certificates/" in name:
            assert again.folder.files.require(name) == run.folder.files.require(name), name
    ours, theirs = records(run), records(again)
    assert ours != theirs
    assert [without_test(v) for v in ours] == [without_test(v) for v in theirs]
    assert all("test" in v["protocol"]["data"]["measured_only"] for v in ours)
    assert all(v["protocol"]["data"]["selected_on"] == ["train"] for v in ours)


def without_test(value):
    """A record without what is told of labels of the test split."""
    value = json.loads(json.dumps(value))
    del value["digest"], value["time"]
    entries = value["protocol"]["data"]["splits"]
    value["protocol"]["data"]["splits"] = [e for e in entries if e["split"] != "test"]
    for part in ("drawdown", "generalisation"):
        value["impact"][part] = [e for e in value["impact"][part] if e["split"] != "test"]
    return value


def test_what_was_not_taken_is_not_gone_on_from(data):
    """The round after it is compared with the one before it."""
    result = corrected(data)
    folder = result.folder
    for number in (1, 2):
        folder.files.remove(f"rounds/{number:02d}/change.json")
    record = folder.read_json("rounds/01/round.json")
    folder.write_json("rounds/01/round.json", {**record, "lost": [7]})
    family = LInf.of("3/255")
    subject = Subject(data.name, "train", data.split("train"), audit(data, family))
    write_changes(subject, {"val": data.split("val")}, 2, folder)
    first, second = records(result)
    assert first["protocol"]["update"] == {"kept": False, "lost": [7], "taken": False}
    assert second["protocol"]["update"] == {"kept": True, "lost": [], "taken": True}
    assert first["description"]["base"] == second["description"]["base"] == 0
    assert first["description"]["model_before"] == second["description"]["model_before"]


def test_the_same_run_gives_the_same_records_but_for_the_time(run, data):
    """Their digests too."""
    assert [v["digest"] for v in records(corrected(data))] == [v["digest"] for v in records(run)]


def test_a_record_that_is_there_is_not_written_again(data, tmp_path, monkeypatch):
    """A run that was killed after its first record goes on to the others, with one event each."""
    from asi_verify.store import FolderFiles

    original = FolderFiles.write

    def write(self, name, content):
        original(self, name, content)
        if name == "rounds/01/change.json":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FolderFiles, "write", write)
        with pytest.raises(KeyboardInterrupt):
            corrected(data, out=tmp_path / "out")
    first = Path(tmp_path / "out" / "rounds" / "01" / "change.json").read_bytes()
    result = corrected(data, out=tmp_path / "out")
    assert result.folder.files.require("rounds/01/change.json") == first
    kinds = [e["event"] for e in result.folder.events.chain().events]
    assert kinds.count("change") == 2
    assert asi.verify(tmp_path / "out").holds


def test_without_other_splits_only_the_certified_one_is_told_of(data):
    """Nothing is made up."""
    alone = Dataset("alone", data.task, data.classes, {"train": data.split("train")})
    for value in records(corrected(alone)):
        assert value["impact"]["drawdown"] == value["impact"]["generalisation"] == []
        assert [e["split"] for e in value["impact"]["locality"]] == ["train"]


def test_the_page_tells_of_every_round(run, data):
    """With the settings as people write them, and that nothing was chosen by it."""
    write_report(run.folder, data)
    page = run.folder.files.require("report.html").decode()
    for value in records(run):
        verdict = "kept" if value["protocol"]["update"]["kept"] else "not kept"
        assert f"Round {value['round']}: certified-training, {verdict}" in page
    assert "learning_rate 0.001" in page
    assert "val and test only measured" in page
