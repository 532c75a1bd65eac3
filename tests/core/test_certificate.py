"""Certificates, evidence, claims and containers as files."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_verify.core.canonical import bytes_digest, canonical_json
from asi_verify.core.certificate import Certificate, parse_json
from asi_verify.core.claims import Claims, DatasetClaim, Shard
from asi_verify.core.container import pack, unpack
from asi_verify.core.evidence import (
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
    SolverEvidence,
    TreeEvidence,
    evidence_from_json,
)
from asi_verify.core.linf import LInf
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.core.semantics import Semantics
from asi_verify.errors import CertificateError

QUERY = Query("1" * 64, Region(LInf.of("1/255"), "2" * 64), SingleLabel(0, 2), Semantics.REAL)
EVIDENCE = [
    IntervalEvidence(),
    LinearEvidence(Intermediate.INTERVAL),
    LinearEvidence(Intermediate.BACKWARD),
    SolverEvidence("3" * 64, "z3", "4"),
    TreeEvidence(Intermediate.INTERVAL, "4" * 64),
    TreeEvidence(Intermediate.BACKWARD, "4" * 64),
]
CLAIMS = Claims(
    "1" * 64,
    DatasetClaim("some", "train", 3, "4" * 64, "5" * 64, "label"),
    LInf.of("1/255"),
    Semantics.REAL,
    ((0, 2),),
    (
        Shard("00000.jsonl", "6" * 64, 1, ("00000.bin", "7" * 64)),
        Shard("00001.jsonl", "8" * 64, 1, None),
    ),
    {"made": "by a test"},
)


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_a_certificate_is_read_back_as_it_was_written(evidence):
    """Bytes, digest and value agree."""
    certificate = Certificate(7, QUERY, evidence, {"stage": "x"})
    again = Certificate.from_bytes(certificate.to_bytes())
    assert again == certificate
    assert again.digest == certificate.digest


def test_the_digest_covers_the_question_and_the_proof_and_nothing_else():
    """The same proof has the same name whoever made it; another question or proof has another."""
    base = Certificate(0, QUERY, IntervalEvidence())
    assert dataclasses.replace(base, provenance={"a": "b"}).digest == base.digest
    others = [
        dataclasses.replace(base, evidence=EVIDENCE[1]),
        dataclasses.replace(base, query=dataclasses.replace(QUERY, artifact="9" * 64)),
        dataclasses.replace(base, query=dataclasses.replace(QUERY, property_=SingleLabel(1, 2))),
        dataclasses.replace(base, query=dataclasses.replace(QUERY, property_=MultiLabel((1, 0)))),
        dataclasses.replace(
            base, query=dataclasses.replace(QUERY, region=Region(LInf.of("2/255"), "2" * 64))
        ),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 6


def leaves(value, path=()):
    """Every path to a value inside nested JSON, the inner nodes included."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from leaves(item, (*path, key))


def replaced(value, path, new):
    """The value with what lies at a path replaced."""
    if not path:
        return new
    if isinstance(value, dict):
        return {k: replaced(v, path[1:], new) if k == path[0] else v for k, v in value.items()}
    return [replaced(v, path[1:], new) if i == path[0] else v for i, v in enumerate(value)]


STRANGE = [None, True, -1, 10**9, "", "x" * 64, "a" * 64, [], {}, [[]], {"kind": "interval"}]


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_a_certificate_with_any_other_field_is_refused_or_is_another(evidence):
    """Whatever is put where, reading never gives the same claim, and never fails otherwise."""
    certificate = Certificate(7, QUERY, evidence)
    value = parse_json(certificate.to_bytes())
    for path in leaves(value):
        if path[:1] in (("provenance",), ("row",)):
            continue  # outside the digest: the row is compared with the data set
        for new in STRANGE:
            mutated = replaced(value, path, new)
            if mutated == value:
                continue
            with pytest.raises(CertificateError):
                Certificate.from_bytes(canonical_json(mutated))


@pytest.mark.parametrize("field", ["digest", "evidence", "provenance", "query", "row", "schema"])
def test_a_certificate_without_a_field_or_with_one_more_is_refused(field):
    """The schema is closed."""
    value = parse_json(Certificate(7, QUERY, IntervalEvidence()).to_bytes())
    with pytest.raises(CertificateError):
        Certificate.from_bytes(canonical_json({k: v for k, v in value.items() if k != field}))
    with pytest.raises(CertificateError):
        Certificate.from_bytes(canonical_json({**value, "more": 1}))


def test_claims_are_read_back_as_they_were_written():
    """Bytes and value agree."""
    assert Claims.from_bytes(CLAIMS.to_bytes()) == CLAIMS


def test_claims_with_strange_fields_are_refused_or_read_as_what_they_say():
    """No mutation of a field makes the reader fail otherwise, or read something unsaid."""
    value = parse_json(CLAIMS.to_bytes())
    for path in leaves(value):
        for new in STRANGE:
            mutated = canonical_json(replaced(value, path, new))
            try:
                read = Claims.from_bytes(mutated)
            except CertificateError:
                continue
            assert read.to_bytes() == mutated


@pytest.mark.parametrize("name", ["../x.jsonl", "/etc/passwd", "00000.json", "a.jsonl", "0.bin"])
def test_a_shard_cannot_name_a_file_elsewhere(name):
    """Claims must not make the checker read what is not in the folder."""
    shard = dataclasses.replace(CLAIMS.shards[0], file=name)
    with pytest.raises(CertificateError):
        Claims.from_bytes(dataclasses.replace(CLAIMS, shards=(shard,)).to_bytes())
    shard = dataclasses.replace(CLAIMS.shards[0], container=(name, "7" * 64))
    with pytest.raises(CertificateError):
        Claims.from_bytes(dataclasses.replace(CLAIMS, shards=(shard,)).to_bytes())


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"kind": "linear"},
        {"kind": "interval", "x": 1},
        [],
        {"kind": "linear", "intermediate": "magic", "slopes": "canonical"},
    ],
)
def test_other_evidence_is_refused(value):
    """Evidence is read only from its canonical form."""
    with pytest.raises(CertificateError):
        evidence_from_json(value)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_a_container_gives_back_its_parts(data):
    """Each under its digest; the same parts make the same bytes."""
    parts = {bytes_digest(part): part for part in data}
    packed = pack(parts)
    assert unpack(packed) == parts
    assert pack(dict(reversed(parts.items()))) == packed


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_damaged_container_is_refused_or_unharmed(position, noise):
    """No damage makes it fail otherwise or give a part under a wrong name."""
    parts = {bytes_digest(part): part for part in (b"one", b"two" * 30)}
    packed = bytearray(pack(parts))
    position %= len(packed)
    packed[position : position + len(noise)] = noise
    try:
        found = unpack(bytes(packed))
    except CertificateError:
        return
    assert all(bytes_digest(part) == name for name, part in found.items())


@pytest.mark.parametrize("data", [b"", b"ASIVBIN1", b"x" * 100, b"ASIVBIN1" + b"\xff" * 8])
def test_what_is_no_container_is_refused(data):
    """Short, foreign, or with a header longer than the file."""
    with pytest.raises(CertificateError):
        unpack(data)
