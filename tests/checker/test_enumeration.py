"""Finite regions: accepted where every member is right, and only of families that are finite."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.folders import certificate, make_folder

from asi_verify.checker import Outcome, TrustedPass, check_folder, enumeration
from asi_verify.core.box import Box
from asi_verify.core.canonical import array_digest
from asi_verify.core.evidence import (
    EnumerationEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
)
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.patch import Patch
from asi_verify.core.pieces import Pieces
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.lowering import read_network

FAMILY = KPixel(1, (0, 40, 255))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("finite"), seed=0, family=FAMILY, count=20)


@pytest.fixture
def made(original, tmp_path):
    """A copy that a test may spoil."""
    return dataclasses.replace(original, certificates=list(original.certificates)).write(tmp_path)


def check(made):
    return check_folder(made.place, made.images, made.labels)


def margins_of_members(made, row):
    """Of every member of a row's region, by intervals at a point: exact but for rounding."""
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    wanted = property_for(made.labels[row], 3)
    found = []
    for box in FAMILY.cover(made.images[row], Pieces.EACH, 100):
        points = Box(box.lower.copy(), box.lower.copy())
        found += trusted.margins(points, wanted, IntervalEvidence()).tolist()
    return np.array(found)


def test_members_are_enumerated_one_by_one_or_by_choices_of_pixels(made):
    """Both ways occur; what is accepted has no wrong member, what is left out is too loose."""
    result = check(made)
    assert not result.refused
    assert result.rows(Outcome.ACCEPTED) == [c.row for c in made.certificates]
    assert {c.evidence.pieces for c in made.certificates} == set(Pieces)
    for row in range(2, 20):
        assert (row in result.outcomes) == (margins_of_members(made, row).min() > 0)


@pytest.mark.parametrize("pieces", Pieces)
def test_a_region_with_a_wrong_member_is_rejected(made, pieces):
    """However it is enumerated."""
    certified = {c.row for c in made.certificates}
    row = next(row for row in range(2, 20) if row not in certified)
    assert margins_of_members(made, row).min() < 0
    made.certificates = [certificate(made, row, EnumerationEvidence(pieces))]
    assert "does not close" in check(made.write()).reasons[row]


def test_pieces_that_are_too_loose_prove_nothing(made):
    """A proof member by member says nothing of the boxes around them."""
    row = next(c.row for c in made.certificates if c.evidence.pieces is Pieces.EACH)
    made.certificates = [certificate(made, row, EnumerationEvidence(Pieces.RANGE))]
    assert "does not close" in check(made.write()).reasons[row]


def test_regions_that_are_not_finite_are_not_enumerated(tmp_path):
    """Their pieces would cover nothing; those of patches are no single members."""
    for family, pieces in ((LInf.of("1/255"), Pieces.RANGE), (Patch(1), Pieces.EACH)):
        made = make_folder(tmp_path, count=6)
        made.claims = dataclasses.replace(made.claims, family=family)
        made.certificates = [certificate(made, 2, EnumerationEvidence(pieces))]
        assert f"no pieces {pieces.value!r}" in check(made.write()).reasons[2]


def test_patches_are_accepted_window_by_window(tmp_path):
    """Where every window's box is proved, and else not."""
    made = make_folder(tmp_path, count=24)
    made.claims = dataclasses.replace(made.claims, family=Patch(1))
    evidence = EnumerationEvidence(Pieces.RANGE)
    made.certificates = [certificate(made, row, evidence) for row in range(2, 24)]
    accepted = check(made.write()).rows(Outcome.ACCEPTED)
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    closes = []
    for row in range(2, 24):
        (boxes,) = Patch(1).cover(made.images[row], Pieces.RANGE, 100)
        wanted = property_for(made.labels[row], 3)
        by_either = [trusted.margins(boxes, wanted, LinearEvidence(i)) for i in Intermediate]
        if np.max(by_either, axis=0).min() > 0:
            closes.append(row)
    assert accepted == closes
    assert 0 < len(closes) < 22


def test_regions_of_too_many_pieces_are_rejected(made, monkeypatch):
    """Before any is looked at."""
    monkeypatch.setattr(enumeration, "MOST_PIECES", 64)
    result = check(made)
    for made_of in made.certificates:
        allowed = made_of.evidence.pieces is Pieces.RANGE
        assert (result.outcomes[made_of.row] is Outcome.ACCEPTED) == allowed
    reason = next(iter(result.reasons.values()))
    assert reason == "256 pieces; 64 are allowed"


def test_float_images_have_no_such_regions(made):
    """Claims of k-pixel regions around them are refused as a whole."""
    images = made.images.astype(np.float32) / 255
    made.images = images
    made.claims = dataclasses.replace(
        made.claims, dataset=dataclasses.replace(made.claims.dataset, images=array_digest(images))
    )
    result = check(made.write())
    assert "8-bit" in result.refused[0]
    assert not result.outcomes


def test_contradictions_need_a_common_member(made):
    """The boxes that cover two such regions always meet; that proves no contradiction."""
    made.claims = dataclasses.replace(made.claims, contradictions=((0, 1), (2, 3)))
    labels = made.labels.copy()
    labels[3] = (labels[2] + 1) % 3
    made.labels = labels
    made.claims = dataclasses.replace(
        made.claims, dataset=dataclasses.replace(made.claims.dataset, labels=array_digest(labels))
    )
    assert check(made.write()).refused == ("rows 2 and 3 do not contradict each other",)
