"""Memorised rows in a certificate folder: the artifact says who they are, and they never count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.folders import certificate, evidence_of, make_folder

from asi_verify.checker import Outcome, TrustedPass, check_folder
from asi_verify.checker.command import summary
from asi_verify.core.canonical import array_digest, bytes_digest
from asi_verify.core.claims import Claims
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.local_patch import LocalPatches, patched
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.core.status import Status
from asi_verify.errors import CertificateError
from asi_verify.lowering import read_network, write_artifact

ROWS = (2, 5)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Two rows get another label than the base gives them, and patches that give it."""
    made = make_folder(tmp_path_factory.mktemp("made"))
    made.labels[list(ROWS)] = (made.labels[list(ROWS)] + 1) % 3
    box = made.claims.family.boxes(made.images[list(ROWS)])
    bonus = np.zeros((3, 2), np.float32)
    bonus[made.labels[list(ROWS)], [0, 1]] = 100
    patches = LocalPatches.around(box, np.full(2, 2.0**-9), bonus)
    made.artifact = write_artifact(patched(read_network(made.artifact), patches))
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    made.claims = replace(
        made.claims,
        artifact=bytes_digest(made.artifact),
        dataset=replace(made.claims.dataset, labels=array_digest(made.labels)),
        memorised=ROWS,
    )
    proved = [
        (row, evidence_of(trusted, made.claims.family, made.images[row], wanted))
        for row, wanted in enumerate(property_for(label, 3) for label in made.labels)
        if row > 1
    ]
    made.certificates = [certificate(made, row, found) for row, found in proved if found]
    return made.write()


@pytest.fixture
def made(original, tmp_path):
    copied = replace(original, certificates=list(original.certificates), parts=dict(original.parts))
    return copied.write(tmp_path / "made")


def check(made):
    return check_folder(made.place, made.images, made.labels)


def test_memorised_rows_are_accepted_and_named_apart(made):
    """They are neither among the certified ones nor among the open ones."""
    result = check(made)
    certified = len(made.certificates) - 2
    assert result.memorised == set(ROWS)
    assert str(result.status) == f"open({22 - certified - 2}, 2 memorised)"
    assert summary(result)["memorised"] == list(ROWS)
    assert not result.refused


def test_without_its_certificate_a_memorised_row_is_open(made):
    """A patch alone closes nothing."""
    before = check(made).status
    made.certificates = [c for c in made.certificates if c.row != ROWS[0]]
    made.write()
    after = check(made).status
    assert (after.open, after.memorised) == (before.open + 1, 1)


@pytest.mark.parametrize("rows", [(), (2,), (2, 3, 5), (2, 4)])
def test_claims_that_name_others_are_refused(made, rows):
    """No list is believed: with any but the artifact's own the whole folder is refused."""
    made.claims = replace(made.claims, memorised=rows)
    made.write()
    result = check(made)
    assert result.status is None
    assert not result.holds
    assert "local patches memorise 2 rows" in result.refused[0]


def test_a_model_without_patches_memorises_nothing(tmp_path):
    """And claims that say otherwise are refused."""
    made = make_folder(tmp_path / "made")
    assert check(made).memorised == set()
    assert b"memorised" not in made.claims.to_bytes()
    made.claims = replace(made.claims, memorised=ROWS)
    made.write()
    assert "0 rows" in check(made).refused[0]


def test_rows_in_contradictions_are_not_memorised_besides(made):
    """They are set aside already."""
    row = 0
    box = made.claims.family.boxes(made.images[[row]])
    patches = LocalPatches.around(box, np.array([2.0**-9]), np.float32([[9], [0], [0]]))
    made.artifact = write_artifact(patched(read_network(made.artifact), patches))
    made.claims = replace(made.claims, artifact=bytes_digest(made.artifact))
    made.certificates = []
    made.write()
    result = check(made)
    assert not result.refused
    assert result.contradictions == {0, 1}
    assert result.memorised == set(ROWS)


def test_a_folder_of_memorised_rows_alone_does_not_hold(made):
    """Nothing open and everything learned by heart is no success."""
    made.images, made.labels = made.images[list(ROWS)], made.labels[list(ROWS)]
    made.claims = replace(
        made.claims,
        dataset=replace(
            made.claims.dataset,
            samples=2,
            images=array_digest(made.images),
            labels=array_digest(made.labels),
        ),
        contradictions=(),
        memorised=(0, 1),
    )
    made.certificates = [certificate(made, row, IntervalEvidence()) for row in (0, 1)]
    made.write()
    result = check(made)
    assert str(result.status) == "zero_except(0 contradictions, 2 memorised)"
    assert not result.holds


def test_memorised_rows_of_classes_that_must_never_be_missed_are_open(made):
    """Of these there are no exceptions."""
    labels = tuple(sorted({int(made.labels[row]) for row in ROWS}))
    never_miss = NeverMiss(labels, made.claims.family, LInf.of(0))
    made.claims = replace(made.claims, never_miss=never_miss)
    asked = np.flatnonzero(np.isin(made.labels, labels))
    made.certificates = [c for c in made.certificates if c.row in asked]
    made.write()
    result = check(made)
    assert not result.refused
    counted = set(result.rows(Outcome.ACCEPTED)) - set(ROWS) - result.contradictions
    assert set(ROWS) <= set(result.rows(Outcome.ACCEPTED))
    assert result.status == Status(
        len(asked) - len(result.contradictions) - len(counted), len(result.contradictions)
    )
    assert result.status.open >= len(ROWS)


@pytest.mark.parametrize("rows", ["[]", "[5,2]", "[2,2]", "[true]", "[-1]", "[2.0]", "2", "null"])
def test_rows_in_no_canonical_form_are_refused(made, rows):
    """The claims cannot be read then."""
    data = made.claims.to_bytes()
    assert b'"memorised":[2,5]' in data
    assert Claims.from_bytes(data).memorised == ROWS
    with pytest.raises(CertificateError):
        Claims.from_bytes(data.replace(b'"memorised":[2,5]', b'"memorised":' + rows.encode()))
