"""Folders of certificates on balls and on many changed pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.folders import by_tree, certificate, make_folder

from asi_verify.checker import Outcome, TrustedPass, check_folder
from asi_verify.core.balls import L1, L2
from asi_verify.core.canonical import array_digest
from asi_verify.core.evidence import Intermediate, LinearEvidence
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import LEAF, NODE, SplitTree
from asi_verify.lowering import read_network

CROWN = LinearEvidence(Intermediate.BACKWARD)
FAMILIES = [L2.of("0.1"), L1.of("0.2"), KPixel(9, (128,))]


def check(made):
    return check_folder(made.place, made.images, made.labels)


def by_hand(made, row, reach=True):
    """The margin over one region, and over the box around it."""
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    image, family = made.images[[row]], made.claims.family
    what = family.reach(image) if reach else None
    wanted = property_for(made.labels[row], 3)
    return trusted.margins(family.boxes(image), wanted, CROWN, what)[0]


@pytest.mark.parametrize("family", FAMILIES[:2])
def test_balls_are_accepted_where_the_bound_over_them_closes(tmp_path, family):
    """Which that over their boxes does for fewer; where it does not close they are rejected."""
    made = make_folder(tmp_path, family=family)
    made.certificates = [certificate(made, row, CROWN) for row in range(2, 24)]
    result = check(made.write())
    assert not result.refused
    assert result.claims.family == family
    closes = [row for row in range(2, 24) if by_hand(made, row) > 0]
    assert result.rows(Outcome.ACCEPTED) == closes
    assert 0 < len(closes) < 22
    assert sum(by_hand(made, row, reach=False) > 0 for row in range(2, 24)) < len(closes)
    assert all("does not close" in reason for reason in result.reasons.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_trees_are_checked_over_the_regions_too(tmp_path, family):
    """A tree of one leaf without advice is CROWN, over the region and not over its box."""
    made = make_folder(tmp_path, count=12)
    made.claims = dataclasses.replace(made.claims, family=family)
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    neurons = max(part.stop for part in trusted.neurons.values())
    leaf = np.array([(LEAF, 0, 0)], dtype=NODE)
    tree = SplitTree(2, neurons, leaf, (np.zeros((2, 0), np.float32),), ()).to_bytes()
    made.certificates = [by_tree(made, row, tree) for row in range(2, 12)]
    accepted = check(made.write()).rows(Outcome.ACCEPTED)
    assert accepted == [row for row in range(2, 12) if by_hand(made, row) > 0]


def test_a_ball_of_another_radius_or_norm_is_not_the_claimed_one(tmp_path):
    """The certificate's region has to be the claims'."""
    made = make_folder(tmp_path, family=L2.of("0.01"), count=6)
    for other in (L2.of("0.02"), L1.of("0.01")):
        spoiled = dataclasses.replace(
            made, claims=dataclasses.replace(made.claims, family=other)
        ).write()
        found = check(spoiled)
        assert not found.rows(Outcome.ACCEPTED)
        assert all("another kind of region" in reason for reason in found.reasons.values())


@pytest.mark.parametrize("kind", [L1, L2])
def test_contradictions_of_balls_need_a_common_point(tmp_path, kind):
    """Boxes that meet are not enough: the sum of all differences counts."""
    made = make_folder(tmp_path, family=kind.of("1/255"), count=6)
    images, labels = made.images.copy(), made.labels.copy()
    images[3], labels[3] = images[2], (labels[2] + 1) % 3
    near = images[3].reshape(-1)
    near[:2] = np.where(near[:2] < 128, near[:2] + 1, near[:2] - 1)
    for count, meets in ((2, True), (9, False)):
        # Two numbers one level off lie within two radii; nine do not. The boxes meet in both.
        near[:count] = np.where(
            images[2].reshape(-1)[:count] < 128,
            images[2].reshape(-1)[:count] + 1,
            images[2].reshape(-1)[:count] - 1,
        )
        dataset = dataclasses.replace(
            made.claims.dataset, images=array_digest(images), labels=array_digest(labels)
        )
        claims = dataclasses.replace(made.claims, dataset=dataset, contradictions=((0, 1), (2, 3)))
        spoiled = dataclasses.replace(
            made, images=images, labels=labels, claims=claims, certificates=[]
        ).write()
        refused = check(spoiled).refused
        assert refused == (() if meets else ("rows 2 and 3 do not contradict each other",))
