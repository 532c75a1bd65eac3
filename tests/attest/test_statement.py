"""What a run states at its end: an in-toto statement that follows from its inputs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil

import jsonschema
import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from support.forged import forge

import asi_verify as asi
from asi_verify.attest import (
    PREDICATE_TYPE,
    STATEMENT_FILE,
    STATEMENT_TYPE,
    predicate_schema,
    write_statement,
)
from asi_verify.attest.run_files import RunFiles
from asi_verify.core.canonical import bytes_digest, canonical_json
from asi_verify.core.evidence import SolverEvidence
from asi_verify.errors import AttestationError
from asi_verify.prove import Crown, CrownIbp
from asi_verify.store import EVENTS_FILE, RunFolder

STAGES = [CrownIbp(), Crown()]

IN_TOTO = {
    "type": "object",
    "required": ["_type", "subject", "predicateType"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["digest"],
                "properties": {
                    "digest": {
                        "type": "object",
                        "minProperties": 1,
                        "properties": {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}},
                    },
                    "name": {"type": "string"},
                    "annotations": {"type": "object"},
                },
            },
        },
        # RFC 3986, with the scheme in lower case as the framework asks.
        "predicateType": {"type": "string", "pattern": "^[a-z][a-z0-9+.-]*:[!-~]+$"},
        "predicate": {"type": "object"},
    },
}
"""The rules of the in-toto statement layer v1, from its specification."""


def statement(folder):
    return json.loads((folder / STATEMENT_FILE).read_bytes())


def subjects(folder):
    return {subject["name"]: subject for subject in statement(folder)["subject"]}


def test_it_is_a_statement_by_the_rules_of_in_toto(run):
    """By our reading of the specification, and by the framework's own Python package."""
    found = statement(run)
    jsonschema.validate(found, IN_TOTO)
    names = [subject["name"] for subject in found["subject"]]
    assert len(set(names)) == len(names) == 6
    parsed = json_format.ParseDict(found, statement_pb2.Statement())
    Statement.copy_from_pb(parsed).validate()
    assert parsed.type == STATEMENT_TYPE
    assert json_format.MessageToDict(parsed)["predicateType"] == PREDICATE_TYPE


def test_it_is_in_canonical_form_and_follows_its_schema(run):
    """One value, one byte string; the schema is closed and named by the predicate's type."""
    found = statement(run)
    assert (run / STATEMENT_FILE).read_bytes() == canonical_json(found)
    schema = predicate_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found["predicate"], schema)
    assert schema["$id"] == found["predicateType"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found["predicate"], "more": 1}, schema)


@pytest.mark.parametrize(
    "name", ["certificates/artifact.onnx", "certificates/claims.json", "result.json", EVENTS_FILE]
)
def test_a_file_is_named_by_what_sha256sum_says(run, name):
    """So that every tool that knows in-toto finds the subject by the file's digest."""
    found = hashlib.sha256((run / name).read_bytes()).hexdigest()
    assert subjects(run)[name]["digest"] == {"sha256": found}


def test_data_and_event_log_are_named(run):
    """The digests of the claims; the head of the chain and the number of its lines."""
    claims = asi.load(run).claims
    found = subjects(run)
    assert found["dataset/images"]["digest"]["sha256"] == claims.dataset.images
    assert found["dataset/labels"]["digest"]["sha256"] == claims.dataset.labels
    lines = (run / EVENTS_FILE).read_bytes().splitlines()
    head = hashlib.sha256(lines[-1]).hexdigest()
    assert found[EVENTS_FILE]["annotations"] == {"events": len(lines), "head": head}


def test_the_predicate_says_what_the_result_says(run):
    """Status, counts, region, semantics, target and versions."""
    result, predicate = asi.load(run), statement(run)["predicate"]
    assert predicate["status"] == str(result.status)
    for count in ("accepted", "contradictions", "misclassified", "open", "samples"):
        assert predicate["counts"][count] == result.summary[count]
    assert predicate["counts"]["contradictions"] == 2
    assert predicate["claim"]["region"] == result.claims.family.to_json()
    assert predicate["claim"]["semantics"] == "float32"
    assert predicate["claim"]["target"] == "label"
    assert predicate["versions"] == result.claims.provenance["versions"]
    assert predicate["kind"] == "certify"


def test_the_same_inputs_give_the_same_statement_but_for_the_event_log(run, finished, tmp_path):
    """Times stand in the event log alone, and the log is one subject."""
    again = tmp_path / "again"
    model = (run / "certificates" / "artifact.onnx").read_bytes()
    for out in (again, tmp_path / "third"):
        asi.certify(model, finished / "data.npz", stages=STAGES, out=out)
    one, two = statement(again), statement(tmp_path / "third")
    changing = [
        s["name"] for s, t in zip(one["subject"], two["subject"], strict=True) if s != t
    ]  # fmt: skip
    assert changing == [EVENTS_FILE]
    assert {**one, "subject": None} == {**two, "subject": None}
    assert canonical_json(one["predicate"]) == canonical_json(statement(run)["predicate"])


def test_a_finished_run_is_stated_once(run, finished):
    """Starting it again changes neither the log nor the statement, signed or not."""
    before = {n: (run / n).read_bytes() for n in (EVENTS_FILE, STATEMENT_FILE)}
    model = run / "certificates" / "artifact.onnx"
    asi.certify(model, finished / "data.npz", stages=STAGES, out=run)
    assert {n: (run / n).read_bytes() for n in before} == before


def test_a_run_that_was_killed_before_its_statement_is_stated_when_it_goes_on(run, finished):
    """Killed between the result and the statement, and between the last event and the statement."""
    model = run / "certificates" / "artifact.onnx"
    (run / STATEMENT_FILE).unlink()
    lines = (run / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    (run / EVENTS_FILE).write_bytes(b"".join(lines[:-1]))
    asi.certify(model, finished / "data.npz", stages=STAGES, out=run)
    assert asi.verify(run).holds
    (run / STATEMENT_FILE).unlink()
    asi.certify(model, finished / "data.npz", stages=STAGES, out=run)
    assert asi.verify(run).holds
    kinds = [e["event"] for e in RunFolder.open(run).events.chain().events]
    assert kinds == ["begun", "examined", "finished", "finished"]


class StopsAt:
    """Progress that ends the run at its n-th message, as Ctrl-C would."""

    def __init__(self, count):
        self.left = count

    def task(self, description, total):
        return contextlib.nullcontext(lambda steps: None)

    def say(self, text):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_in_its_chain(finished, tmp_path):
    """Stopped right after its examination was logged: the chain holds, and so does the folder."""
    model, data, out = finished / "model.onnx", finished / "data.npz", tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        asi.certify(model, data, stages=STAGES, out=out, progress=StopsAt(1))
    assert not (out / STATEMENT_FILE).exists()
    before = (out / EVENTS_FILE).read_bytes()
    assert b'"examined"' in before
    with (out / EVENTS_FILE).open("ab") as file:
        file.write(b'{"details":{"a crash')
    asi.certify(model, data, stages=STAGES, out=out)
    assert (out / EVENTS_FILE).read_bytes().startswith(before)
    kinds = [e["event"] for e in RunFolder.open(out).events.chain().events]
    assert kinds == ["begun", "examined", "recovered", "examined", "finished"]
    verified = asi.verify(out)
    assert verified.holds
    assert verified.statement["predicate"] == statement(finished / "out")["predicate"]


def test_a_run_does_not_go_on_in_a_log_that_was_changed(run, finished):
    """What was done to it stays to be seen; the run says which line."""
    (run / STATEMENT_FILE).unlink()
    lines = (run / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    (run / EVENTS_FILE).write_bytes(lines[0] + lines[2])
    with pytest.raises(asi.UsageError, match="line 2"):
        asi.certify(
            run / "certificates" / "artifact.onnx", finished / "data.npz",
            stages=STAGES, out=run,
        )  # fmt: skip
    assert not (run / STATEMENT_FILE).exists()


def test_a_result_in_memory_is_stated_too_and_can_be_saved(finished, tmp_path):
    """The folder that is written then holds what was stated."""
    result = asi.certify(finished / "model.onnx", finished / "data.npz", radius=0, stages=STAGES)
    result.save(tmp_path / "saved")
    assert asi.verify(tmp_path / "saved").holds


WRONG_RESULTS = {
    "more accepted than samples": {"accepted": 23, "open": -1},
    "more accepted than there are certificates for": {"accepted": 22, "open": 0},
    "fewer open and a wrong sum": {"open": 100},
    "a sum that is wrong": {"open": 0, "accepted": 0},
    "other contradictions": {"contradictions": 1},
    "no number": {"open": None},
    "a truth value": {"open": False},
    "fewer samples": {"samples": 23},
    "more misclassified than there are": {"misclassified": 25},
}


@pytest.mark.parametrize("name", WRONG_RESULTS)
def test_figures_that_cannot_be_are_not_stated(run, name):
    """A result that does not fit its claims ends without a statement."""
    result = json.loads((run / "result.json").read_bytes())
    (run / "result.json").write_text(json.dumps(result | WRONG_RESULTS[name]))
    (run / STATEMENT_FILE).unlink()
    with pytest.raises(AttestationError, match=r"result\.json: "):
        write_statement(RunFolder.open(run))
    assert not (run / STATEMENT_FILE).exists()


def test_a_solvers_word_is_not_stated_as_a_proof(run):
    """Certificates that are only delegated count for nothing, however many there are."""
    script = b"(check-sat)"
    evidence = SolverEvidence(bytes_digest(script), "z3", "4")
    with pytest.raises(AttestationError, match="can be accepted for 0 of the others"):
        forge(run, evidence, {bytes_digest(script): script})
    assert not (run / STATEMENT_FILE).exists()


def test_each_part_of_a_run_can_be_refused_alone(run):
    """The model that is not the claims', settings of no kind, claims that no run wrote."""
    shutil.copy(run / "result.json", run / "certificates" / "artifact.onnx")
    with pytest.raises(AttestationError, match="another model"):
        RunFiles(lambda name: (run / name).read_bytes()).model()
    (run / "run.json").write_text('{"kind": "wish"}')
    with pytest.raises(AttestationError, match="'wish'"):
        RunFiles(lambda name: (run / name).read_bytes()).predicate()
    claims = json.loads((run / "certificates" / "claims.json").read_bytes())
    claims["provenance"] = {"versions": {"torch": 2}}
    (run / "certificates" / "claims.json").write_bytes(canonical_json(claims))
    (run / "run.json").write_text('{"kind": "certify"}')
    with pytest.raises(AttestationError, match="names no versions"):
        RunFiles(lambda name: (run / name).read_bytes()).predicate()
