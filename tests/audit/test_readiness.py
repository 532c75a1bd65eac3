"""The readiness certificate: what is in it, its bytes, its schema, and what runs do with it."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
from support.runs import trained

import asi_verify as asi
from asi_verify.audit import audit, readiness_schema
from asi_verify.core.bug import Category
from asi_verify.core.canonical import array_digest, canonical_json, digest
from asi_verify.core.linf import LInf
from asi_verify.data import Dataset, Samples, Task, from_arrays, phantom
from asi_verify.errors import CertificateError, DataError, RunFolderError, UsageError
from asi_verify.prove import Intervals
from asi_verify.repair import OrdinaryTraining
from asi_verify.report import report_schema, write_report

QUICK = OrdinaryTraining(epochs=10, batch_size=8)


@pytest.fixture(scope="module")
def data():
    """A phantom with every planted fault, and one label of ``train`` that is wrong beside them."""
    made, planted = phantom(2, samples=(60, 12, 12), duplicates=1, dual_labels=1, near=(2,))
    return made, planted


@pytest.fixture(scope="module")
def suspicious(data):
    """Its certificate with suspects."""
    return asi.audit_dataset(data[0], suspects=True, training=QUICK)


def forged(made, **changes):
    """A certificate with other fields, and the digest that they have."""
    value = {**made.value, **changes}
    return canonical_json({**value, "digest": digest(value)})


def with_suspect(made, **changes):
    """The certificate with one suspect in train, some of whose fields are others."""
    suspect = {"decision": None, "label": 0, "row": 3, "self_confidence": "0x1.8p-3"}
    entry = {"split": "train", "suspects": [{**suspect, "suggested": 1, **changes}]}
    return forged(made, suspects={"method": {}, "splits": [entry]})


def test_it_says_what_the_audits_say(data):
    """Of every split: digests, counts, contradictions, ceilings and distances; and duplicates."""
    made, planted = data
    found = asi.audit_dataset(made, "1/255")
    assert list(found.splits) == ["train", "val", "test"]
    for name, samples in made.splits.items():
        entry, known = found.splits[name], audit(made, LInf.of("1/255"), name).to_json()
        assert entry["images"] == array_digest(samples.images)
        assert entry["labels"] == array_digest(samples.labels)
        assert entry["counts"] == [int((samples.labels == c).sum()) for c in (0, 1)]
        assert entry["samples"] == len(samples)
        for key in ("ceilings", "contradictions", "nearest_other_label"):
            assert entry[key] == known[key]
        assert found.value["duplicates"] == known["duplicates"]
    pairs = [*planted.dual_labels, *((a, b) for a, b, _ in planted.near)]
    assert found.contradicted == len({row for pair in pairs for row in pair})
    assert asi.audit_dataset(made, "0.5/255").contradicted < found.contradicted


def test_its_bytes_are_always_the_same(data, suspicious, tmp_path):
    """Made twice, written and read: one byte string, one name; also with suspects."""
    made, _ = data
    asi.audit_dataset(made, suspects=True, training=QUICK, out=tmp_path / "r.json")
    written = (tmp_path / "r.json").read_bytes()
    assert written == suspicious.to_bytes()
    read = asi.Readiness.from_bytes(written)
    assert read.to_bytes() == written
    assert read.suspects("train") == suspicious.suspects("train")
    without = {k: v for k, v in json.loads(written).items() if k != "digest"}
    assert json.loads(written)["digest"] == suspicious.digest == digest(without)
    assert asi.audit_dataset(made).digest != suspicious.digest
    assert asi.audit_dataset(made, "2/255").digest != asi.audit_dataset(made).digest


@pytest.mark.parametrize(
    "radius", ["1/255", "1 pixel", "l2 0.5", "patch 2", "brightness 2/255 contrast 0.01"]
)
def test_it_is_what_its_schema_says(radius, data, suspicious):
    """For every kind of region, with suspects and without; the schema is closed."""
    schema = readiness_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    made = asi.audit_dataset(data[0], radius)
    for value in (made.to_json(), suspicious.to_json()):
        jsonschema.validate(value, schema)
        assert schema["$id"] == value["schema"]
        for spoiled in ({**value, "more": 1}, {k: v for k, v in value.items() if k != "family"}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(spoiled, schema)
    no_ceiling = [text for text in made.value["undecided"] if "no ceiling" in text]
    assert bool(no_ceiling) == radius.startswith(("patch", "brightness"))


def test_several_decisions_and_float_images_are_audited_too():
    """Counts are of the decisions that are 1; a label that is everywhere the same is said."""
    images = np.linspace(0, 1, 3 * 16, dtype=np.float32).reshape(3, 1, 4, 4)
    labels = np.array([[1, 0, 1], [1, 0, 1], [1, 0, 1]])
    made = asi.audit_dataset(from_arrays(images, labels, layout="channels-first"))
    jsonschema.validate(made.to_json(), readiness_schema())
    assert made.splits["train"]["counts"] == [3, 0, 3]
    assert len(made.value["undecided"]) == 1
    assert "every sample has the same label" in made.value["undecided"][0]


def test_what_was_changed_is_refused(data, suspicious):
    """A byte, the digest, the schema, a field too many, a value that nothing can be done with."""
    made, whole = suspicious, suspicious.to_json()
    bad = [
        b"",
        b"[]",
        suspicious.to_bytes()[:-1],
        canonical_json({**whole, "undecided": []}),
        canonical_json({**whole, "digest": "0" * 64}),
        forged(made, schema="asi-verify/readiness/2"),
        forged(made, more=1),
        forged(made, splits=[]) + b" ",
        forged(made, splits=[{}]),
        forged(made, splits=[*made.value["splits"], made.value["splits"][0]]),
        forged(made, splits=[{**made.value["splits"][0], "images": "x"}]),
        forged(made, suspects={}),
        forged(made, dataset={}),
        *(
            with_suspect(made, **change)
            for change in (
                {"row": 60}, {"row": -1}, {"row": True}, {"row": "1"}, {"label": 2},
                {"suggested": 2}, {"decision": 2}, {"self_confidence": "nan"},
                {"self_confidence": "0x1p+1"}, {"self_confidence": "0x1p+99999"},
                {"self_confidence": 1},
            )
        ),
    ]  # fmt: skip
    for data_ in bad:
        with pytest.raises(CertificateError):
            asi.Readiness.from_bytes(data_)
    assert asi.Readiness.from_bytes(with_suspect(made)).suspects("train")[0].row == 3


def test_a_run_with_another_data_set_is_refused(data, tmp_path):
    """Other images, labels, splits or classes; before anything is written."""
    made, _ = data
    ready = asi.audit_dataset(made)
    train, model = made.split("train"), trained(made, epochs=1)
    labels = train.labels.copy()
    labels[0] = 1 - labels[0]
    for splits, classes in (
        ({**made.splits, "train": Samples(train.images, labels)}, made.classes),
        ({"train": train}, made.classes),
        (made.splits, ("yes", "no")),
    ):
        other = Dataset("other", Task.BINARY, classes, splits)
        with pytest.raises(DataError, match="about other data"):
            asi.certify(model, other, readiness=ready, out=tmp_path / "out")
    for wrong, error in (
        (tmp_path / "none.json", CertificateError),
        (tmp_path, CertificateError),
        (7, UsageError),
    ):
        with pytest.raises(error, match="readiness"):
            asi.certify(model, made, readiness=wrong, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def runs(data, suspicious, tmp_path_factory):
    """The same certification without the certificate and with a suspect among its errors."""
    made, planted = data
    model = trained(made, epochs=3)
    plain = asi.certify(model, made, "0", stages=[Intervals()])
    wrong = [bug.row for bug in plain.bugs if bug.category is not Category.CONTRADICTION]
    aside = planted.dual_labels[0][0]
    one = {"decision": None, "label": 0, "self_confidence": "0x1.8p-3", "suggested": 1}
    suspects = [{**one, "row": wrong[0]}, {**one, "row": aside}]
    value = {"method": {}, "splits": [{"split": "train", "suspects": suspects}]}
    ready = asi.Readiness.from_bytes(forged(suspicious, suspects=value))
    place = tmp_path_factory.mktemp("runs")
    ready.save(place / "readiness.json")
    file, out = place / "readiness.json", place / "out"
    told = asi.certify(model, made, "0", stages=[Intervals()], readiness=file, out=out)
    return plain, told, ready, wrong[0], aside


def test_suspicions_change_no_count_and_no_certificate(runs):
    """Status, figures, contradictions and the digest of every certificate are the same."""
    plain, told, *_ = runs
    assert told.status == plain.status
    assert plain.summary["accepted"] > 10
    assert told.summary == plain.summary
    assert told.audit == plain.audit
    assert told.claims.contradictions == plain.claims.contradictions
    assert told.claims.dataset == plain.claims.dataset
    digests = [write_report(r.folder, None)["certificates"]["digest"] for r in (plain, told)]
    assert digests[0] == digests[1]


def test_only_the_category_of_a_suspected_error_is_another(runs):
    """And a contradiction stays one, even where a certificate suspects its label too."""
    plain, told, _, wrong, aside = runs
    before, after = ({(b.row, b.kind): b.category for b in r.bugs} for r in (plain, told))
    assert set(before) == set(after)
    changed = {row for (row, _), category in after.items() if before[row, _] is not category}
    assert changed == {wrong}
    assert {c for (row, _), c in after.items() if row == wrong} == {Category.SUSPECTED_LABEL}
    assert {c for (row, _), c in after.items() if row == aside} <= {Category.CONTRADICTION}


def test_a_run_names_the_certificate(runs, data):
    """In its settings, its event log, its claims and its report; a copy lies in the folder."""
    plain, told, ready, wrong, _ = runs
    assert told.folder.configuration["readiness"] == ready.digest
    assert told.claims.provenance["readiness"] == ready.digest
    assert "readiness" not in plain.claims.provenance
    events = told.folder.events.chain().events
    assert [e["details"] for e in events if e["event"] == "readiness"] == [{"digest": ready.digest}]
    report = write_report(told.folder, data[0])
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert report["provenance"]["readiness"] == ready.digest
    assert report["audit"]["suspects"][0] == {
        "decision": None, "label": 0, "row": wrong, "self_confidence": 0.1875, "suggested": 1,
    }  # fmt: skip
    page = told.folder.files.require("report.html").decode()
    assert "Suspected labels" in page
    assert "18.8 %" in page
    assert ready.digest in page
    assert write_report(plain.folder, None)["audit"]["suspects"] is None
    assert "Suspected labels" not in plain.folder.files.require("report.html").decode()
    assert asi.check(told.folder.path, data[0]).status == told.status
    assert asi.verify(told.folder.path).holds


def test_a_folder_belongs_to_one_certificate(runs, data):
    """Another one, or none, is another run; a copy that was exchanged is noticed."""
    _, told, ready, *_ = runs
    made, out = data[0], told.folder.path
    again = trained(made, epochs=3)
    for other in (None, asi.audit_dataset(made)):
        with pytest.raises(RunFolderError, match="readiness"):
            asi.certify(again, made, "0", stages=[Intervals()], readiness=other, out=out)
    events = (out / "events.jsonl").read_bytes()
    asi.certify(again, made, "0", stages=[Intervals()], readiness=ready, out=out)
    assert (out / "events.jsonl").read_bytes() == events


def test_a_copy_that_was_exchanged_stops_the_run(data, tmp_path, monkeypatch):
    """A run that was killed after it took note does not go on with other suspicions."""
    made, _ = data
    ready, model = asi.audit_dataset(made), trained(made, epochs=3)
    with monkeypatch.context() as killed:
        killed.setattr("asi_verify._certify.audited", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            asi.certify(model, made, readiness=ready, out=tmp_path / "out")
    (tmp_path / "out" / "readiness.json").write_bytes(forged(ready, undecided=[]))
    with pytest.raises(RunFolderError, match="it was changed"):
        asi.certify(model, made, readiness=ready, out=tmp_path / "out")


def test_the_report_does_not_take_an_exchanged_copy(data, tmp_path):
    """It would list other suspicions beside the digest of the certificate that was named."""
    made, _ = data
    ready = asi.audit_dataset(made)
    result = asi.certify(trained(made, epochs=3), made, readiness=ready, out=tmp_path, stages=())
    write_report(result.folder, None)
    (tmp_path / "readiness.json").write_bytes(forged(ready, undecided=[]))
    with pytest.raises(RunFolderError, match="it was changed"):
        write_report(result.folder, None)


def test_a_place_that_cannot_be_written_is_refused_first(data, tmp_path):
    """A folder, or a file in one that is not there."""
    for place in (tmp_path, tmp_path / "not" / "there.json"):
        with pytest.raises(UsageError, match="cannot be written"):
            asi.audit_dataset(data[0], out=place)
