"""Finite regions: verdicts by brute force over all members."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support import exact
from support.asked import ask, asked_of_a_small_network

from asi_verify.core.evidence import EnumerationEvidence
from asi_verify.core.images import encode
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.pieces import Pieces
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Witness
from asi_verify.prove import Intervals, Members
from asi_verify.prove.stage import Batch, Regions, Stage, StageResult


@pytest.fixture(scope="module")
def asked():
    """Images and labels, some of which are not the network's."""
    return asked_of_a_small_network(16)


def test_verdicts_on_finite_regions_are_true(asked):
    """Proved where ONNX Runtime gets every member right, refuted by a member where not."""
    artifact, images, properties = asked
    family = KPixel(1, (0, 255))
    kinds = set()
    verdicts = ask(asked, family)
    for image, wanted, verdict in zip(images, properties, verdicts, strict=True):
        members = [encode_ends(box) for box in family.cover(image, Pieces.EACH, 512)]
        right = (artifact.session.margins(np.concatenate(members), wanted) > 0).all()
        kinds.add(type(verdict))
        match verdict:
            case Proved(evidence):
                assert isinstance(evidence, EnumerationEvidence)
                assert right
            case Refuted(witness):
                assert not right
                assert family.contains(witness.point[None], image[None])[0]
                logits = exact.evaluate(artifact.network, witness.point)
                assert min(wanted.rows() @ logits) <= 1e-4
            case _:
                raise AssertionError(verdict)
    assert kinds == {Proved, Refuted}


def encode_ends(box):
    return np.concatenate([box.lower, box.upper])


def test_of_too_many_members_only_some_are_tried(asked):
    """What is not found wrong then stays open, with the number of members."""
    verdicts = ask(asked, KPixel(2, (0, 255)), (Members(most_pieces=100, tries=64),))
    assert any(isinstance(verdict, Refuted) for verdict in verdicts)
    reasons = [verdict for verdict in verdicts if isinstance(verdict, Undecided)]
    assert reasons
    assert all(v.reason is Reason.BUDGET and "18144 members" in v.detail for v in reasons)


def test_after_the_deadline_no_more_regions_are_gone_through(asked):
    """A batch of regions of many members does not outlast it: the rest is undecided for it."""
    artifact, images, properties = asked
    wanted, family = properties[5], KPixel(1, (0, 255))
    box, regions = family.boxes(images), Regions(family, images)
    keys = tuple(range(len(images)))
    batch = Batch(
        artifact, encode(images), box, wanted, Semantics.FLOAT32, keys, time.monotonic(), regions
    )
    verdicts = Members().attempt(batch).verdicts
    assert [verdict.reason for verdict in verdicts] == [Reason.DEADLINE] * len(images)


def test_a_witness_beside_the_region_refutes_nothing(asked):
    """The box that covers a finite region holds points that are no members."""

    class Beside(Stage):
        name = "beside"

        def attempt(self, batch):
            points = batch.box.upper
            outputs = batch.artifact.session.run(points)
            return StageResult(
                tuple(
                    Refuted(Witness(point, output, "a wrong stage"))
                    for point, output in zip(points, outputs, strict=True)
                )
            )

    assert all(isinstance(v, Undecided) for v in ask(asked, KPixel(1, (0, 255)), (Beside(),)))
    # Of other families the box is the region.
    assert all(isinstance(v, Refuted) for v in ask(asked, LInf.of("1/255"), (Beside(),)))


def test_other_regions_are_left_to_other_stages(asked):
    """Nothing is enumerated around images whose region has no end of members."""
    assert all(isinstance(v, Undecided) for v in ask(asked, LInf.of("1/255"), (Members(),)))


def test_covering_boxes_prove_finite_regions_too(asked):
    """Whatever proves all of a superset proves the region."""
    artifact, images, properties = asked
    narrow = KPixel(1, (100,))
    same = np.full_like(images, 100)
    wanted = artifact.session.run(encode(same)).argmax(axis=1)
    properties = [SingleLabel(int(label), 3) for label in wanted]
    verdicts = ask((artifact, same, properties), narrow, (Intervals(),))
    assert all(isinstance(verdict, Proved) for verdict in verdicts)
