"""Folders of certificates on intensity regions: whole, and cell by cell of their parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.folders import certificate, make_folder

from asi_verify.checker import Outcome, TrustedPass, check_folder, enumeration
from asi_verify.checker.enumeration import divided_margin
from asi_verify.core.box import Box
from asi_verify.core.canonical import array_digest
from asi_verify.core.evidence import (
    GridEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
    evidence_from_json,
)
from asi_verify.core.intensity import Intensity
from asi_verify.core.linf import LInf
from asi_verify.core.properties import property_for
from asi_verify.core.semantics import Semantics
from asi_verify.errors import CertificateError
from asi_verify.lowering import read_network

FAMILY = Intensity.of(brightness="12/255", contrast="0.05")
FIELD = Intensity.of(bias="1/255", degree=1)
"""One parameter for each axis and one for the whole."""
ROWS = range(2, 24)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder about these regions, with no certificates yet."""
    made = make_folder(tmp_path_factory.mktemp("grids"))
    claims = dataclasses.replace(made.claims, family=FAMILY)
    return dataclasses.replace(made, claims=claims, certificates=[])


@pytest.fixture
def made(original, tmp_path):
    """A copy that a test may spoil."""
    return dataclasses.replace(original, place=tmp_path, certificates=[])


def check(made):
    return check_folder(made.place, made.images, made.labels)


def margins_by_hand(made, row, grid, intermediate):
    """Of every cell, by the passes that are made until one closes it."""
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    wanted, found = property_for(made.labels[row], 3), []
    for box, reach in FAMILY.cells(made.images[row], grid, 25):
        ways = [
            LinearEvidence(i) for i in Intermediate if i in (Intermediate.INTERVAL, intermediate)
        ]
        margins = [trusted.margins(box, wanted, way, reach) for way in ways]
        found += np.max(margins, axis=0).tolist()
    return np.array(found)


@pytest.mark.parametrize("intermediate", Intermediate)
def test_grids_are_accepted_where_every_cell_closes(made, intermediate):
    """And nowhere else; finer ones accept more."""
    accepted = []
    for grid in ((1, 1), (12, 8)):
        evidence = GridEvidence(grid, intermediate)
        made.certificates = [certificate(made, row, evidence) for row in ROWS]
        result = check(made.write())
        assert not result.refused
        closes = [r for r in ROWS if margins_by_hand(made, r, grid, intermediate).min() > 0]
        assert result.rows(Outcome.ACCEPTED) == closes
        assert all("does not close" in reason for reason in result.reasons.values())
        accepted.append(set(closes))
    assert accepted[0] < accepted[1]
    assert len(accepted[1]) < len(ROWS)


@pytest.mark.parametrize("at_once", [1, 3, 256])
def test_one_cell_that_fails_is_enough(made, at_once, monkeypatch):
    """Wherever it lies, whatever the others are, in batches of any size."""
    monkeypatch.setattr(enumeration, "_AT_ONCE", at_once)
    grid, places = (4, 2), set()
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    evidence = GridEvidence(grid, Intermediate.INTERVAL)
    for row in ROWS:
        margins = margins_by_hand(made, row, grid, Intermediate.INTERVAL)
        wanted = property_for(made.labels[row], 3)
        found = divided_margin(trusted, FAMILY, made.images[row], wanted, evidence)
        assert (found > 0) == (margins.min() > 0)
        assert found <= 0 or found == pytest.approx(margins.min(), rel=1e-12)
        if (margins <= 0).sum() == 1:
            places.add(int(margins.argmin()))
    assert places


def test_members_of_what_is_accepted_are_right(made):
    """By the network's own logits, which intervals at a point enclose."""
    evidence = GridEvidence((6, 3), Intermediate.BACKWARD)
    made.certificates = [certificate(made, row, evidence) for row in ROWS]
    accepted = check(made.write()).rows(Outcome.ACCEPTED)
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    generator = np.random.default_rng(0)
    for row in accepted:
        points = FAMILY.sample(np.repeat(made.images[[row]], 300, axis=0), generator)
        box = Box(points, points.copy())
        wanted = property_for(made.labels[row], 3)
        assert trusted.margins(box, wanted, IntervalEvidence()).min() > 0


def test_whole_regions_are_bounded_without_cells(made):
    """CROWN over the region closes where it does by hand, and more often than over its box."""
    crown = LinearEvidence(Intermediate.BACKWARD)
    small = Intensity.of(brightness="20/255")
    made.claims = dataclasses.replace(made.claims, family=small)
    made.certificates = [certificate(made, row, crown) for row in ROWS]
    accepted = check(made.write()).rows(Outcome.ACCEPTED)
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    box, reach = small.boxes(made.images), small.reach(made.images)
    closes = []
    for row in ROWS:
        one, wanted = np.array([row]), property_for(made.labels[row], 3)
        margin = trusted.margins(box[one], wanted, crown, reach.take(one))[0]
        assert margin > trusted.margins(box[one], wanted, crown)[0]
        closes += [row] if margin > 0 else []
    assert accepted == closes
    assert closes


@pytest.mark.parametrize(
    ("family", "grid", "says"),
    [(FAMILY, (4,), "2 parameters, not 1"), (FAMILY, (4, 4, 4), "2 parameters, not 3"),
     (FAMILY, (), "2 parameters, not 0"), (LInf.of("1/255"), (2,), "0 parameters"),
     (FIELD, (2, 2), "3 parameters, not 2"), (FIELD, (2, 2, 2, 2), "3 parameters, not 4"),
     (LInf.of("1/255"), (), "0 parameters"), (FAMILY, (1 << 10, 1 << 11), "2097152 pieces")],
)  # fmt: skip
def test_other_grids_are_rejected(made, family, grid, says):
    """Of another number of parameters, of regions without any, and too fine ones."""
    made.claims = dataclasses.replace(made.claims, family=family)
    made.certificates = [certificate(made, 2, GridEvidence(grid, Intermediate.INTERVAL))]
    assert says in check(made.write()).reasons[2]


@pytest.mark.parametrize(
    ("family", "grid"),
    [(Intensity.of(brightness="1/255"), (2,)), (FIELD, (1, 2, 1))],
)
def test_grids_have_a_number_of_cells_for_each_parameter(made, family, grid):
    """Of regions with one parameter, and of a field with one for each axis besides."""
    made.claims = dataclasses.replace(made.claims, family=family)
    evidence = GridEvidence(grid, Intermediate.BACKWARD)
    made.certificates = [certificate(made, row, evidence) for row in ROWS]
    result = check(made.write())
    assert result.rows(Outcome.ACCEPTED)
    assert all("does not close" in reason for reason in result.reasons.values())


def test_as_many_cells_as_allowed_are_looked_at(made, monkeypatch):
    """One more is too many."""
    for most, says in ((8, "does not close"), (7, "8 pieces; 7 are allowed")):
        monkeypatch.setattr(enumeration, "MOST_PIECES", most)
        evidence = GridEvidence((4, 2), Intermediate.INTERVAL)
        margins = {r: margins_by_hand(made, r, (4, 2), evidence.intermediate) for r in ROWS}
        row = next(row for row in ROWS if margins[row].min() < 0)
        made.certificates = [certificate(made, row, evidence)]
        assert says in check(made.write()).reasons[row]


@pytest.mark.parametrize("cells", [[0], [-1], [True], [1.0], ["2"], "2", None, [[2]]])
def test_what_is_no_grid_is_refused(cells):
    """And a grid is read back."""
    value = GridEvidence((3, 1), Intermediate.BACKWARD).to_json()
    assert evidence_from_json(value) == GridEvidence((3, 1), Intermediate.BACKWARD)
    for wrong in ({**value, "cells": cells}, {**value, "more": 1}, {**value, "intermediate": "x"}):
        with pytest.raises(CertificateError):
            evidence_from_json(wrong)


def test_contradictions_need_parameters_that_are_found(made):
    """An image twice as far as the brightness goes, in every pixel and in one."""
    family = Intensity.of(brightness="10/255")
    for change, meets in ((20, True), (21, False)):
        images, labels = made.images.copy(), made.labels.copy()
        images[2] = np.clip(images[2], 30, 200)
        images[3], labels[3] = images[2] + change, (labels[2] + 1) % 3
        dataset = dataclasses.replace(
            made.claims.dataset, images=array_digest(images), labels=array_digest(labels)
        )
        claims = dataclasses.replace(
            made.claims, dataset=dataset, family=family, contradictions=((0, 1), (2, 3))
        )
        spoiled = dataclasses.replace(made, claims=claims, images=images, labels=labels).write()
        found = check(spoiled)
        assert (found.refused == ()) == meets
        assert (found.contradictions == {0, 1, 2, 3}) == meets
