"""Hostile certificate folders: refused with a reason, in bounded time and memory, never believed.

The attacker knows the format and computes every digest anew, so that hashes alone protect nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from support import confined
from support.folders import SCRIPT, certificate, delegated, make_folder, write_npz
from support.mutants import mutants

from asi_verify.checker import CheckResult, Outcome, check_files, check_folder
from asi_verify.checker.command import main, summary
from asi_verify.core.canonical import array_digest, bytes_digest, canonical_json
from asi_verify.core.certificate import SCHEMA, Certificate, parse_json
from asi_verify.core.claims import Claims
from asi_verify.core.container import unpack
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.limits import LARGEST_CLAIMS, MOST_PER_SHARD, MOST_REFUSALS
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu, Reshape
from asi_verify.core.properties import MultiLabel
from asi_verify.errors import AsiVerifyError, CertificateError
from asi_verify.lowering import write_artifact


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with three certificates, one of them delegated."""
    made = make_folder(tmp_path_factory.mktemp("certificates"))
    made.certificates = [*made.certificates[:2], delegated(made, 22)]
    return made.write()


@pytest.fixture
def made(original, tmp_path):
    """A copy that a test may spoil."""
    return dataclasses.replace(original, certificates=list(original.certificates)).write(tmp_path)


@pytest.fixture
def data(made, tmp_path_factory):
    """The folder's data set as a file."""
    path = tmp_path_factory.mktemp("data") / "data.npz"
    write_npz(made, path)
    return path


def resealed(value):
    """A certificate with the digest that belongs to what it now says."""
    if not isinstance(value, dict) or not {"digest", "evidence", "query"} <= set(value):
        return value
    covered = {"evidence": value["evidence"], "query": value["query"], "schema": SCHEMA}
    return {**value, "digest": bytes_digest(canonical_json(covered))}


def with_lines(files, lines):
    """The files with another shard, and claims that name it."""
    shard = b"".join(line + b"\n" for line in lines)
    claims = parse_json(files["claims.json"], longest=LARGEST_CLAIMS)
    claims["shards"][0] |= {"certificates": len(lines), "sha256": bytes_digest(shard)}
    return {**files, "00000.jsonl": shard, "claims.json": canonical_json(claims)}


def look(files, made) -> CheckResult | None:
    """What the checker finds in files by name; None if it refuses to look, with a reason."""

    def read(name):
        if name not in files:
            raise CertificateError(f"{name}: there is no such file")
        return files[name]

    try:
        return check_files(read, made.images, made.labels)
    except AsiVerifyError:
        return None


def contents(made):
    """All files of a folder by name."""
    return {path.name: path.read_bytes() for path in made.place.iterdir()}


@pytest.mark.parametrize("which", [0, 2])
def test_a_certificate_with_any_field_changed_and_resealed_proves_nothing_else(made, which):
    """Accepted is the honest question alone; whatever else it says, it is rejected or refused."""
    files, honest = contents(made), made.certificates[which]
    tried = 0
    for mutant in mutants(parse_json(honest.to_bytes())):
        line = canonical_json(resealed(mutant))
        tried += 1
        try:
            read = Certificate.from_bytes(line)
        except CertificateError:
            continue  # and with it the whole shard, as other tests show
        found = look(with_lines(files, [line]), made)
        assert not found.refused
        (row, outcome), *others = found.outcomes.items()
        assert not others
        assert outcome is Outcome.ACCEPTED or found.reasons[row]
        if outcome is not Outcome.REJECTED:
            assert (row, read.query) == (honest.row, honest.query)
            assert outcome is Outcome.DELEGATED or read.evidence.to_json()["kind"] != "solver"
    assert tried > 500


def test_claims_with_any_field_changed_prove_nothing_else(made):
    """What is accepted under changed claims was proved: of that model, those images and radius."""
    files, honest = contents(made), made.claims
    for mutant in mutants(parse_json(files["claims.json"])):
        found = look({**files, "claims.json": canonical_json(mutant)}, made)
        if found is None:
            continue
        assert summary(found)["accepted"] == len(found.rows(Outcome.ACCEPTED))
        assert found.contradictions <= {0, 1}
        assert found.refused or found.claims.dataset.samples == len(made.images)
        if found.rows(Outcome.ACCEPTED):
            claims = found.claims
            assert (claims.artifact, claims.family) == (honest.artifact, honest.family)
            assert claims.semantics is honest.semantics
            assert claims.dataset.images == honest.dataset.images
            assert claims.dataset.labels == honest.dataset.labels
        assert not found.holds


NUMBERS = [
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-0", b"0.0", b"1E1", b"00", b"1" * 4000,
    b"1" * 5000, b"9007199254740993", b"-9007199254740993", b'"\\ud800"', b'"\\udc00\\ud800"',
    b'"\xff"', b'"\x00"', b"0,\"row\":1", b"[" * 1000 + b"]" * 1000, b"{\"a\":" * 40 + b"1",
    b'"' + b"[" * 500_000 + b'"', b"1" * (1 << 20), b"", b" 1", b"tru",
]  # fmt: skip


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: repr(text[:20]))
def test_what_json_cannot_hold_canonically_is_refused(made, text):
    """Numbers that are none or too long, surrogates, double keys, depth: in any number's place."""
    line = made.certificates[0].to_bytes()
    spoiled = line.replace(b'"row":%d' % made.certificates[0].row, b'"row":' + text)
    assert spoiled != line
    with pytest.raises(CertificateError):
        Certificate.from_bytes(spoiled)
    found = look(with_lines(contents(made), [spoiled]), made)
    assert found.refused
    claims = contents(made)["claims.json"]
    spoiled = claims.replace(b'"samples":24', b'"samples":' + text)
    assert spoiled != claims
    with pytest.raises(CertificateError):
        Claims.from_bytes(spoiled)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_other_encodings_of_json_are_refused(made, encoding):
    """Python's reader would take them; a digest over other bytes would be of the same value."""
    claims = contents(made)["claims.json"].decode()
    with pytest.raises(CertificateError):
        Claims.from_bytes(claims.encode(encoding))


def test_about_predictions_the_signs_of_logits_are_no_answer(made):
    """All three logits are above 0 everywhere; which of them is the largest changes."""
    ramp = np.zeros((3, 64), np.float32)
    ramp[0, 0], ramp[1, 0] = 1, -1
    layers = [Reshape((64,)), Affine(ramp, np.float32([1.5, 2.5, 0.1]))]
    made.artifact = write_artifact(Network.sequential((1, 8, 8), layers))
    images = made.images.copy()
    images[:, 0, 0, 0] = 127
    made.images = images
    made.claims = dataclasses.replace(
        made.claims,
        artifact=bytes_digest(made.artifact),
        contradictions=(),
        dataset=dataclasses.replace(
            made.claims.dataset, images=array_digest(images), target="prediction"
        ),
    )
    answer = certificate(made, 5, IntervalEvidence())
    signs = dataclasses.replace(answer.query, property_=MultiLabel((1, 1, 1)))
    made.certificates = [dataclasses.replace(answer, query=signs)]
    found = look(contents(made.write()), made)
    assert found.outcomes == {5: Outcome.REJECTED}
    assert "not that of the sample" in found.reasons[5]


def test_a_number_of_samples_that_is_only_claimed_costs_nothing(made, data, capsys):
    """A folder about quadrillions of samples is refused, and none of them is counted."""
    for samples in (1, 2**53 - 1):
        dataset = dataclasses.replace(made.claims.dataset, samples=samples)
        claims = dataclasses.replace(made.claims, dataset=dataset)
        (made.place / "claims.json").write_bytes(claims.to_bytes())
        assert main([str(made.place), "--data", str(data)]) == 1
        printed = json.loads(capsys.readouterr().out)
        assert printed["status"] is None
        assert printed["missing"] == 0


def test_nothing_is_named_twice(made):
    """Otherwise a small folder could have the same gigabyte read, or compared, a million times."""
    claims = parse_json(contents(made)["claims.json"])
    (shard,) = claims["shards"]
    for change in (
        {"shards": [shard, shard]},
        {"shards": [shard, {**shard, "file": "00001.jsonl"}]},
        {"contradictions": [[0, 1], [0, 1]]},
    ):
        with pytest.raises(CertificateError, match="twice"):
            Claims.from_bytes(canonical_json({**claims, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"file": "00000.bin"},
        {"file": "00000.jsonl\n"},
        {"file": "../00000.jsonl"},
        {"container": ["00000.jsonl", "0" * 64]},
        {"container": ["00000.bin\n", "0" * 64]},
        {"certificates": MOST_PER_SHARD + 1},
        {"certificates": 2**53 - 1},
        {"certificates": -1},
    ],
)
def test_a_shard_of_another_form_is_refused(made, change):
    """Names are five digits and an ending; no file holds more certificates than are written."""
    claims = parse_json(contents(made)["claims.json"])
    claims["shards"][0] |= change
    with pytest.raises(CertificateError, match="not valid"):
        Claims.from_bytes(canonical_json(claims))


def test_a_hostile_list_of_contradictions_or_shards_is_not_followed_to_its_end(made):
    """After a hundred reasons there is no need for more."""
    pairs = tuple((row, 10**6 + more) for row in range(20) for more in range(5_000))
    found = look(
        {
            **contents(made),
            "claims.json": dataclasses.replace(made.claims, contradictions=pairs).to_bytes(),
        },
        made,
    )
    assert len(found.refused) == MOST_REFUSALS
    nowhere = [
        dataclasses.replace(made.claims.shards[0], file=f"{n:05d}.jsonl", container=None)
        for n in range(1, 5_000)
    ]
    claims = dataclasses.replace(made.claims, shards=tuple(nowhere))
    found = look({**contents(made), "claims.json": claims.to_bytes()}, made)
    assert len(found.refused) == MOST_REFUSALS


def test_a_row_in_two_shards_never_counts_once_more(made):
    """The second is refused, and with it the folder."""
    files = contents(made)
    again = made.certificates[0].to_bytes() + b"\n"
    second = dataclasses.replace(
        made.claims.shards[0], file="00001.jsonl", sha256=bytes_digest(again), certificates=1,
        container=None,
    )  # fmt: skip
    claims = dataclasses.replace(made.claims, shards=(*made.claims.shards, second))
    found = look({**files, "00001.jsonl": again, "claims.json": claims.to_bytes()}, made)
    assert any("two certificates" in reason for reason in found.refused)
    assert found.status is None


def test_an_artifact_for_other_images_or_without_a_vector_of_logits_refuses_the_folder(made):
    """Whatever the claims say of it: there is a reason, and nothing fails later."""
    networks = [
        Network.sequential((1, 9, 9), [Reshape((81,)), Relu()]),
        Network.sequential((64,), [Relu()]),
        Network.sequential((1, 8, 8), [Relu()]),
        Network.sequential(
            (1, 8, 8),
            [
                Reshape((64,)),
                Affine(np.zeros((1, 64), np.float32), np.zeros(1, np.float32)),
                Affine(np.zeros((20_000, 1), np.float32), np.zeros(20_000, np.float32)),
            ],
        ),
    ]
    for network in networks:
        made.artifact = write_artifact(network)
        made.claims = dataclasses.replace(made.claims, artifact=bytes_digest(made.artifact))
        found = look(contents(made.write()), made)
        assert len(found.refused) == 1
        assert not found.outcomes
    assert "20000 logits" in found.refused[0]


def packed(entries, body, header=None):
    """A container with any header."""
    text = canonical_json(entries) if header is None else header
    return b"ASIVBIN1" + len(text).to_bytes(8, "little") + text + body


def test_parts_of_a_container_neither_overlap_nor_leave_gaps():
    """A part is read once: no file unfolds into more than it is."""
    body = bytes(range(256)) * 4

    def named(offset, size):
        return {bytes_digest(body[offset : offset + size]): [offset, size]}

    for entries in (
        {**named(0, 1024), **named(1, 1023)},  # overlapping
        {**named(0, 512), **named(100, 512)},  # and as long together as all there is
        named(0, 1023),  # something behind
        named(1, 1023),  # something before
        {},
        {bytes_digest(b""): [2**53 - 1, 0]},
        {bytes_digest(body): [0, 2**53 - 1]},
        {bytes_digest(body): [-1024, 1024]},
        {bytes_digest(body): [0, 1024, 0]},
        {bytes_digest(body): [True, 1024]},
        {"x": [0, 1024]},
        [[0, 1024]],
    ):
        with pytest.raises(CertificateError):
            unpack(packed(entries, body))
    assert unpack(packed(named(0, 1024), body)) == {bytes_digest(body): body}
    for header in (b"", b"{", b"[" * 10**6, b'{"a":1e999}', b'{"a":[0,0],"a":[0,0]}'):
        with pytest.raises(CertificateError):
            unpack(packed(None, body, header))
    with pytest.raises(CertificateError):
        unpack(b"ASIVBIN1" + (2**63).to_bytes(8, "little") + body)


def test_a_container_of_very_many_overlapping_parts_is_refused_at_once():
    """A hundred thousand slices of twenty megabytes would be two terabytes."""
    size = 20 << 20
    header = ",".join(f'"{n:064x}":[{n},{size - n}]' for n in range(1, 100_001))
    with pytest.raises(CertificateError, match="not valid"):
        unpack(packed(None, bytes(size), b"{" + header.encode() + b"}"))


def test_a_swapped_script_is_another_part(made):
    """The script that is asked for by digest is the one that lies there, or there is none."""
    files = contents(made)
    assert SCRIPT in files["00000.bin"]
    for body in (SCRIPT.replace(b"check", b"chuck"), b""):
        swapped = packed({bytes_digest(SCRIPT): [0, len(body)]}, body)
        (shard,) = made.claims.shards
        shard = dataclasses.replace(shard, container=("00000.bin", bytes_digest(swapped)))
        claims = dataclasses.replace(made.claims, shards=(shard,)).to_bytes()
        found = look({**files, "00000.bin": swapped, "claims.json": claims}, made)
        assert "another's" in found.refused[0]


FILES = ["claims.json", "artifact.onnx", "00000.jsonl", "00000.bin"]


def spoil(path: Path, how: str) -> None:
    """Put something else where a file was."""
    kept = path.read_bytes()
    path.unlink()
    outside = path.parent.parent / f"outside-{path.name}"
    if how == "nothing":
        return
    if how == "a folder":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "a link to a device":
        path.symlink_to("/dev/zero")
    elif how == "a link out of the folder":
        outside.write_bytes(kept)
        path.symlink_to(outside)
    elif how == "a link to itself":
        path.symlink_to(path.name)
    elif how == "ten gigabytes of nothing":
        with path.open("wb") as file:
            file.truncate(10 << 30)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "how",
    [
        "nothing", "a folder", "a pipe", "a link to a device", "a link out of the folder",
        "a link to itself", "ten gigabytes of nothing",
    ],
)  # fmt: skip
def test_only_plain_files_of_the_folder_itself_are_read(made, name, how):
    """Nothing is waited for, followed, or read without end."""
    spoil(made.place / name, how)
    if name == "claims.json":
        with pytest.raises(CertificateError, match=name):
            check_folder(made.place, made.images, made.labels)
        return
    found = check_folder(made.place, made.images, made.labels)
    assert name in found.refused[0]
    assert not found.outcomes


def newlines(made):
    """A shard of nothing but ends of lines."""
    path = made.place / "00000.jsonl"
    path.write_bytes(b"\n" * (200 << 20))
    return dataclasses.replace(
        made.claims.shards[0], sha256=bytes_digest(path.read_bytes()), certificates=1024
    )


def one_line(made):
    """A shard of one line that does not end for a very long time."""
    path = made.place / "00000.jsonl"
    path.write_bytes(b"[" * (200 << 20) + b"\n")
    return dataclasses.replace(
        made.claims.shards[0], sha256=bytes_digest(path.read_bytes()), certificates=1
    )


@pytest.mark.parametrize("write", [newlines, one_line])
def test_large_shards_cost_no_more_than_they_are(made, data, write):
    """In a process with three gigabytes of address space."""
    shard = write(made)
    claims = dataclasses.replace(made.claims, shards=(shard,))
    (made.place / "claims.json").write_bytes(claims.to_bytes())
    ended = confined.command(made.place, data)
    assert ended.refused, ended
    assert ended.code == 1


def test_the_largest_claims_cost_no_more_than_they_may(made, data):
    """Lists of nothing, which JSON unfolds into most; in three gigabytes of address space."""
    filling = b"[],"
    claims = contents(made)["claims.json"]
    before, after = claims.split(b'"provenance":{')
    many = filling * ((LARGEST_CLAIMS - len(claims) - 20) // len(filling))
    (made.place / "claims.json").write_bytes(
        before + b'"provenance":{"a":[' + many[:-1] + b"]," + after
    )
    assert (made.place / "claims.json").stat().st_size <= LARGEST_CLAIMS
    ended = confined.command(made.place, data)
    assert ended.code == 1, ended
    assert json.loads(ended.out)["accepted"] == 2


def test_names_in_claims_end_up_on_one_short_line(made, data, capsys):
    """Control characters, markup and a name of a megabyte."""
    for name in ("\x1b[2J\r\n[/red]", "\u202e" * 1000, "n" * 10**6):
        claims = made.claims
        dataset = dataclasses.replace(claims.dataset, name=name, split=name, images="0" * 64)
        claims = dataclasses.replace(claims, dataset=dataset)
        (made.place / "claims.json").write_bytes(claims.to_bytes())
        assert main([str(made.place), "--data", str(data)]) == 2
        (made.place / "claims.json").write_bytes(
            dataclasses.replace(
                claims, dataset=dataclasses.replace(dataset, split="train")
            ).to_bytes()
        )
        assert main([str(made.place), "--data", str(data)]) == 1
        printed = capsys.readouterr()
        for line in (printed.err, printed.out):
            assert line.count("\n") == 1
            assert line.rstrip("\n").isprintable()
            assert len(line) < 10_000
