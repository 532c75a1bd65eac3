"""Folders about named classes: which rows are asked about, by the labels, and what contradicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.folders import certificate, evidence_of, make_folder

from asi_verify.checker import Outcome, TrustedPass, check_folder
from asi_verify.core.canonical import array_digest
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.lowering import read_network

LARGE, SMALL = LInf.of("0.4/255"), LInf.of("0.1/255")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder about one class: certificates for all its rows, and for no other."""
    made = make_folder(tmp_path_factory.mktemp("named"), family=LARGE)
    certified = {c.row for c in made.certificates}
    left = [row for row in range(2, 24) if row not in certified]
    # A class all of whose rows are certified.
    label = next(int(n) for n in np.unique(made.labels[2:]) if n not in made.labels[[*left, 0, 1]])
    made.certificates = [c for c in made.certificates if made.labels[c.row] == label]
    assert len(made.certificates) > 1
    made.claims = replace(
        made.claims, contradictions=(), never_miss=NeverMiss((label,), LARGE, SMALL)
    )
    return made.write()


@pytest.fixture
def made(original, tmp_path):
    again = replace(original, certificates=list(original.certificates))
    return again.write(tmp_path)


def check(made):
    return check_folder(made.place, made.images, made.labels)


def test_only_rows_of_the_named_classes_are_asked_about(made):
    """Their certificates are enough; the same ones in claims about all samples are not."""
    result = check(made)
    (label,) = made.claims.never_miss.labels
    assert result.asked == set(np.flatnonzero(made.labels == label).tolist())
    assert result.rows(Outcome.ACCEPTED) == sorted(result.asked)
    assert str(result.status) == "zero"
    assert result.holds
    everything = check(replace(made, claims=replace(made.claims, never_miss=None)).write())
    assert str(everything.status) == f"open({24 - len(result.asked)})"
    assert not everything.holds


def test_what_holds_of_all_samples_alone_does_not_hold(made):
    """A run that was asked for both sets of certificates holds if both do."""
    named = check(made)
    whole = replace(named, never_miss=named)
    assert whole.holds
    for other in (
        replace(named, refused=("something",)),
        replace(named, claims=None),
        replace(named, asked=named.asked | {0}),
        replace(named, outcomes=named.outcomes | {0: Outcome.REJECTED}),
    ):
        assert not replace(named, never_miss=other).holds


def test_a_row_without_its_certificate_is_open(made):
    """Whichever is missing: the rows are those of the labels, not those that have certificates."""
    for gone in list(made.certificates):
        rest = [c for c in made.certificates if c is not gone]
        result = check(replace(made, certificates=rest).write())
        assert result.missing == [gone.row]
        assert str(result.status) == "open(1)"
        assert not result.holds


def test_a_certificate_of_a_row_of_another_class_is_rejected(made):
    """It would be counted as one of those that are asked for."""
    (label,) = made.claims.never_miss.labels
    other = int(np.flatnonzero(made.labels != label)[-1])
    made.certificates.append(certificate(made, other, IntervalEvidence()))
    result = check(
        replace(made, certificates=sorted(made.certificates, key=lambda c: c.row)).write()
    )
    assert result.rows(Outcome.REJECTED) == [other]
    assert "none of those that the claims name" in result.reasons[other]
    assert not result.holds
    # Nor does it stand in for one that is missing.
    rest = [c for c in made.certificates if c.row != result.rows(Outcome.ACCEPTED)[0]]
    assert str(check(replace(made, certificates=rest).write()).status) == "open(1)"


def test_certificates_of_smaller_regions_are_rejected(made):
    """True ones, about the regions that all other samples have."""
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    small = replace(made, claims=replace(made.claims, family=SMALL, never_miss=None))
    found = []
    for row in (c.row for c in made.certificates):
        wanted = property_for(made.labels[row], 3)
        evidence = evidence_of(trusted, SMALL, made.images[row], wanted)
        assert evidence is not None
        found.append(certificate(small, row, evidence))
    result = check(replace(made, certificates=found).write())
    assert result.rows(Outcome.REJECTED) == [c.row for c in found]
    assert not result.holds


def test_a_class_of_which_there_is_no_sample_does_not_hold(made):
    """Nothing is open then, and nothing is shown either."""
    made.claims = replace(made.claims, never_miss=NeverMiss((7,), LARGE, SMALL))
    result = check(replace(made, certificates=[]).write())
    assert result.asked == frozenset()
    assert not result.holds


@pytest.mark.parametrize(
    ("labels", "distance", "confirmed"),
    [
        ((0, 1), 5, [0]),
        ((0, 1), 6, None),
        ((1, 0), 5, [1]),
        ((1, 2), 3, None),
        ((1, 2), 2, []),
        ((0, 0), 1, None),
    ],
)
def test_contradictions_are_decided_with_the_size_of_each_region(made, labels, distance, confirmed):
    """A pair that meets only if both regions were large is none, and sets no row aside."""
    images, all_labels = made.images.copy(), made.labels.copy()
    images[:2] = 100
    images[1, 0, 0, 0] += distance
    all_labels[:2] = labels
    about = replace(
        made.claims.dataset, images=array_digest(images), labels=array_digest(all_labels)
    )
    claims = replace(
        made.claims,
        dataset=about,
        family=LInf.of("4/255"),
        contradictions=((0, 1),),
        never_miss=NeverMiss((0,), LInf.of("4/255"), LInf.of("1/255")),
    )
    changed = replace(made, images=images, labels=all_labels, claims=claims, certificates=[])
    result = check(changed.write())
    if confirmed is None:
        assert result.refused == ("rows 0 and 1 do not contradict each other",)
        assert not result.holds
    else:
        assert not result.refused
        assert sorted(result.contradictions) == confirmed  # of the rows that are asked about


def test_several_labels_per_sample_are_of_no_class(made):
    """A sample with several labels is not of one class that could be asked about."""
    labels = np.stack([made.labels > 0, made.labels > 1], axis=1).astype(np.int64)
    about = replace(made.claims.dataset, labels=array_digest(labels))
    claims = replace(made.claims, dataset=about)
    result = check(replace(made, labels=labels, claims=claims, certificates=[]).write())
    assert "several labels" in result.refused[0]
    assert not result.holds
