"""Whatever is done to a finished folder is refused with a reason, or said not to be looked at."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.forged import forge

import asi_verify as asi
from asi_verify.attest import ENVELOPE_FILE, STATEMENT_FILE, Signature
from asi_verify.attest.reading import same_json
from asi_verify.attest.verification import _parse
from asi_verify.checker import Outcome
from asi_verify.core.canonical import bytes_digest, canonical_json
from asi_verify.errors import AttestationError, RunFolderError, UsageError
from asi_verify.store import EVENTS_FILE


def reasons(folder, key=None):
    """Why the folder is refused."""
    found = asi.verify(folder, key)
    assert not found.holds
    return "\n".join(found.refused)


def rewritten(path, change):
    """A canonical JSON file after a change of its value."""
    value = json.loads(path.read_bytes())
    changed = change(value)
    path.write_bytes(canonical_json(value if changed is None else changed))


def test_a_folder_that_was_left_alone_holds(run):
    """And what was not looked at is said: signature, bounds, data."""
    found = asi.verify(run)
    assert found.holds
    assert found.signature is Signature.NONE
    assert len(found.verified) == 7
    said = "\n".join(found.unverified)
    for words in ("unsigned", "asi-verify check", "data set itself", "report"):
        assert words in said
    assert found.statement == json.loads((run / STATEMENT_FILE).read_bytes())


def test_a_folder_holds_wherever_it_lies_and_whatever_else_does(run, tmp_path):
    """Verifying writes nothing, and needs nothing that the statement does not name."""
    before = sorted((p.as_posix(), p.stat().st_mtime_ns) for p in run.rglob("*"))
    assert asi.verify(str(run)).holds
    assert sorted((p.as_posix(), p.stat().st_mtime_ns) for p in run.rglob("*")) == before
    (run / "bugs.sqlite").unlink()
    (run / "notes.txt").write_text("mine")
    moved = run.rename(tmp_path / "moved")
    assert asi.verify(moved).holds


# The event log


def lines_of(run):
    return (run / EVENTS_FILE).read_bytes().splitlines(keepends=True)


def another(line, **fields):
    return canonical_json(json.loads(line) | fields) + b"\n"


EVENTS = {
    "one was taken out": (lambda lines: [lines[0], lines[2]], "line 2"),
    "two were exchanged": (lambda lines: [lines[0], lines[2], lines[1]], "line 2"),
    "one was changed": (
        lambda lines: [lines[0], another(lines[1], time="2020-01-01T00:00:00+00:00"), lines[2]],
        "line 3",
    ),
    "the last was changed": (
        lambda lines: [*lines[:2], another(lines[2], time="2020-01-01T00:00:00+00:00")],
        "one of the two was changed",
    ),
    "the last was cut off": (lambda lines: lines[:2], "does not end with this result"),
    "all were cut off": (lambda lines: [], "empty"),
    "half of the last was cut off": (lambda lines: [*lines[:2], lines[2][:-9]], "incomplete"),
    "its newline was cut off": (lambda lines: [*lines[:2], lines[2][:-1]], "incomplete"),
    "one was added that fits": (
        lambda lines: [*lines, another(lines[2], previous=bytes_digest(lines[2][:-1]))],
        "one of the two was changed",
    ),
    "one was added that does not": (lambda lines: [*lines, lines[2]], "line 4"),
    "other settings": (
        lambda lines: [
            first := another(
                lines[0], details={"schema": "asi-verify/events/1", "settings": "0" * 64}
            ),
            another(lines[2], previous=bytes_digest(first[:-1])),
        ],
        "the settings were changed",
    ),
}


@pytest.mark.parametrize("name", EVENTS)
def test_a_log_that_was_changed_is_refused(run, name):
    """With the line, or because the statement names another head and number."""
    change, reason = EVENTS[name]
    (run / EVENTS_FILE).write_bytes(b"".join(change(lines_of(run))))
    assert reason in reasons(run)


def test_a_log_that_was_cut_off_is_refused_though_its_statement_was_changed_with_it(run):
    """The log ends with its result, or it is no finished run's."""
    cut = lines_of(run)[:2]
    (run / EVENTS_FILE).write_bytes(b"".join(cut))

    def change(statement):
        subject = next(s for s in statement["subject"] if s["name"] == EVENTS_FILE)
        subject["digest"]["sha256"] = bytes_digest(b"".join(cut))
        subject["annotations"] = {"events": 2, "head": bytes_digest(cut[1][:-1])}

    rewritten(run / STATEMENT_FILE, change)
    assert "does not end with this result" in reasons(run)


# The other files


FILES = {
    "certificates/artifact.onnx": "another model",
    "certificates/00000.jsonl": "certificates were changed",
    "certificates/claims.json": "claims.json",
    "result.json": "result.json: its digest is",
    "run.json": "the settings were changed",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_byte_that_was_changed_is_refused(run, name, place):
    """In every file that is stated, wherever in it."""
    data = bytearray((run / name).read_bytes())
    data[round(place * (len(data) - 1))] ^= 1
    (run / name).write_bytes(data)
    assert name.removeprefix("certificates/") in reasons(run)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_added_to_is_refused(run, name):
    """With what is wrong in words."""
    (run / name).write_bytes((run / name).read_bytes() + b" ")
    assert FILES[name] in reasons(run)


@pytest.mark.parametrize("name", [*FILES, EVENTS_FILE])
def test_a_file_that_is_missing_or_is_none_is_refused(run, name):
    """Not there, a folder, a pipe that never ends."""
    (run / name).unlink()
    assert "there is no such file" in reasons(run)
    (run / name).mkdir()
    assert "there is no such file" in reasons(run)
    (run / name).rmdir()
    os.mkfifo(run / name)
    assert "there is no such file" in reasons(run)


def test_another_runs_model_and_claims_are_refused(run, finished, tmp_path):
    """A whole folder of certificates that is true of itself, but not what was stated."""
    asi.certify(
        run / "certificates" / "artifact.onnx", finished / "data.npz", "2/255",
        stages=[], out=tmp_path / "wide",
    )  # fmt: skip
    for path in (run / "certificates").iterdir():
        path.unlink()
    for path in (tmp_path / "wide" / "certificates").iterdir():
        (run / "certificates" / path.name).write_bytes(path.read_bytes())
    said = reasons(run)
    assert "certificates/claims.json: its digest is" in said
    assert "are not those of claims about" in said


def test_certificates_that_are_valid_and_not_those_of_the_claims_are_refused(run):
    """Another provenance: each certificate can be read and has its digest, the file has not."""
    shard = run / "certificates" / "00000.jsonl"
    lines = shard.read_bytes().splitlines()
    changed = [canonical_json(json.loads(line) | {"provenance": {"a": 1}}) for line in lines]
    shard.write_bytes(b"".join(line + b"\n" for line in changed))
    assert "certificates were changed" in reasons(run)


def test_certificates_that_were_counted_otherwise_are_refused(run):
    """Claims and statement that were both changed do not fit the log's last event."""

    def fewer(claims):
        claims["shards"][0]["certificates"] -= 1

    rewritten(run / "certificates" / "claims.json", fewer)
    said = reasons(run)
    assert "certificates, the claims say" in said
    assert "does not end with this result" in said


# The statement


def spoiled(value, path=()):
    """Every way to leave something out of a value, to put something in, or to change a leaf."""
    match value:
        case dict():
            yield path, {**value, "more": 1}
            for key, item in value.items():
                yield path, {k: v for k, v in value.items() if k != key}
                for place, changed in spoiled(item, (*path, key)):
                    yield place, {**value, key: changed}
        case list():
            for number, item in enumerate(value):
                yield path, value[:number] + value[number + 1 :]
                yield path, [*value[: number + 1], *value[number:]]
                for place, changed in spoiled(item, (*path, number)):
                    yield place, [*value[:number], changed, *value[number + 1 :]]
            yield path, value[::-1]
        case bool() | None:
            raise AssertionError
        case int():
            yield path, value + 1
            if value in (0, 1):
                yield path, bool(value)
        case str():
            yield path, value + "x"
            yield path, value[:-1] + ("0" if value[-1:] != "0" else "1")
            yield path, None


def test_every_change_of_the_statement_is_refused(run):
    """Left out, put in, changed, twice, in another order; a truth value for a number too."""
    whole = json.loads((run / STATEMENT_FILE).read_bytes())
    changes = list(spoiled(whole))
    assert len(changes) > 150
    for place, value in changes:
        (run / STATEMENT_FILE).write_bytes(canonical_json(value))
        assert not asi.verify(run).holds, place


def test_a_number_is_not_a_truth_value():
    """False is equal to 0 in Python, and another statement."""
    assert not same_json({"open": [0]}, {"open": [False]})
    assert not same_json({"open": 1}, {"open": True})
    assert same_json({"a": 1, "b": None}, {"b": None, "a": 1})


NO_STATEMENTS = {
    "empty": b"",
    "not JSON": b"{",
    "a list": b"[]",
    "not text": b"\xff",
    "with spaces": b'{"_type": 1}',
    "deep": b'{"_type":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in a string": b'{"a":"' + b"[" * 1000 + b'"}',
    "a float": b'{"a":1.5}',
    "a large number": b'{"a":' + b"9" * 5000 + b"}",
    "no subject": canonical_json(
        {"_type": "https://in-toto.io/Statement/v1", "predicate": {},
         "predicateType": "urn:asi-verify:attestation:1"}
    ),
    "subjects that are none": canonical_json(
        {"_type": "https://in-toto.io/Statement/v1", "predicate": {},
         "predicateType": "urn:asi-verify:attestation:1", "subject": [1]}
    ),
    "subjects with names that are none": canonical_json(
        {"_type": "https://in-toto.io/Statement/v1", "predicate": {},
         "predicateType": "urn:asi-verify:attestation:1", "subject": [{"name": []}]}
    ),
    "another type": canonical_json(
        {"_type": "https://in-toto.io/Statement/v0.1", "predicate": {},
         "predicateType": "urn:asi-verify:attestation:1", "subject": []}
    ),
    "another predicate": canonical_json(
        {"_type": "https://in-toto.io/Statement/v1", "predicate": {},
         "predicateType": "https://slsa.dev/provenance/v1", "subject": []}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_STATEMENTS)
def test_what_is_no_statement_is_refused(run, name):
    """And nothing else is raised."""
    (run / STATEMENT_FILE).write_bytes(NO_STATEMENTS[name])
    assert STATEMENT_FILE in reasons(run)


def test_a_statement_that_is_huge_is_not_read(run):
    """More than 1 MiB is none of ours."""
    with (run / STATEMENT_FILE).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(AttestationError, match="larger"):
        asi.verify(run)


@pytest.mark.parametrize("name", ["result.json", EVENTS_FILE, "run.json"])
def test_files_that_are_huge_or_deep_are_refused(run, name):
    """Beyond what is parsed in one piece."""
    with (run / name).open("wb") as file:
        file.truncate(1 << 27)
    assert name in reasons(run)
    (run / name).write_bytes(b"[" * 1_000_000)
    assert name in reasons(run)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_parsed_or_refused(data):
    """One kind of error, whatever stands there."""
    with pytest.raises(UsageError):
        _parse(data)


def test_a_folder_without_a_statement_is_wrong_use(run, tmp_path):
    """Nothing can be said of it: it is not a finished run's."""
    with pytest.raises(RunFolderError, match=r"no statement\.json"):
        asi.verify(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"no statement\.json"):
        asi.verify(run / "certificates")


def test_verification_derives_no_bound(run, finished):
    """Certificates that are false, in a folder that fits, hold here; the checker rejects them.

    This is what an unsigned statement is worth: whoever writes every file can make them fit.
    """
    forge(run)
    assert asi.verify(run).holds
    checked = asi.check(run, finished / "data.npz")
    assert not checked.holds
    assert checked.missing or checked.rows(Outcome.REJECTED)


def test_a_forged_folder_does_not_have_the_signature(signed, finished):
    """Everything fits but the one thing that the forger cannot write."""
    forge(signed)
    key = finished / "ours.public.pem"
    assert "about another statement" in reasons(signed, key)
    (signed / ENVELOPE_FILE).unlink()
    assert asi.verify(signed).holds
    assert "unsigned" in reasons(signed, key)
