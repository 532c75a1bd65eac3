"""Regions of two sizes: which sample has which, where they meet, how claims say so."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

from asi_verify.core.canonical import canonical_json
from asi_verify.core.claims import Claims, DatasetClaim
from asi_verify.core.linf import LInf
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.semantics import Semantics
from asi_verify.errors import CertificateError, RadiusError

LARGE, SMALL = LInf.of("4/255"), LInf.of("1/255")
ONLY = NeverMiss((1, 3), LARGE, SMALL)
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 1, 3, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3])


def test_each_sample_has_the_region_of_its_class():
    """The larger one for the named classes, the others' for all others."""
    box, large, small = ONLY.boxes(IMAGES, LABELS), LARGE.boxes(IMAGES), SMALL.boxes(IMAGES)
    for row, label in enumerate(LABELS):
        wanted = large if label in (1, 3) else small
        np.testing.assert_array_equal(box.lower[row], wanted.lower[row])
        np.testing.assert_array_equal(box.upper[row], wanted.upper[row])


@pytest.mark.parametrize(
    ("labels", "farthest"), [((0, 1), 5), ((1, 0), 5), ((1, 3), 8), ((0, 2), 2)]
)
def test_regions_meet_where_their_own_sizes_say(labels, farthest):
    """Two 8-bit images meet up to the sum of the two radii, and the point lies in both regions."""
    for distance in range(1, 11):
        pair = np.full((2, 1, 2, 2), 100, np.uint8)
        pair[1, 0, 0, 0] += distance
        point = ONLY.meeting_point(pair, np.array(labels))
        assert (point is not None) == (distance <= farthest)
        if point is not None:
            inside = ONLY.boxes(pair, np.array(labels)).contains(np.stack([point, point]))
            assert inside.all()


@pytest.mark.parametrize("radius", ["1/255", "0.5/255"])
def test_regions_that_are_not_larger_are_refused(radius):
    """Named classes with the regions of all others, or smaller ones, say nothing more."""
    with pytest.raises(RadiusError, match="not larger than 1/255"):
        NeverMiss((0,), LInf.of(radius), SMALL)


def claims(only=ONLY):
    about = DatasetClaim("some", "train", 8, "4" * 64, "5" * 64, "label")
    return Claims("1" * 64, about, LARGE, Semantics.FLOAT32, ((0, 1),), (), {}, only)


def parsed(made):
    return json.loads(made.to_bytes())


def test_claims_are_read_as_they_were_written():
    """With the classes, and by their schema; without any, nothing in them speaks of classes."""
    text = resources.files("asi_verify.core").joinpath("schema/claims-1.json").read_text("utf-8")
    for made in (claims(), claims(None)):
        assert Claims.from_bytes(made.to_bytes()) == made
        jsonschema.validate(parsed(made), json.loads(text))
    assert "never_miss" in parsed(claims())
    assert "never_miss" not in parsed(claims(None))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": []}, "not valid"),
        ({"labels": [3, 1]}, "not valid"),
        ({"labels": [1, 1]}, "not valid"),
        ({"labels": [-1]}, "not valid"),
        ({"labels": [True]}, "not valid"),
        ({"labels": ["1"]}, "not valid"),
        ({"labels": list(range(1025))}, "not valid"),
        ({"more": 1}, "not valid"),
        ({"others": LARGE.to_json()}, "not larger"),
        ({"others": LInf.of("5/255").to_json()}, "not larger"),
        ({"others": {"kind": "l2", "radius": "1/255", "encoding": "grey-levels/255"}}, "alone"),
        ({"others": 1}, "no known kind"),
    ],
)
def test_classes_in_another_form_are_refused(change, says):
    """What is asked about has one form: classes in order, and regions larger than the others'."""
    value = parsed(claims())
    value["never_miss"] |= change
    with pytest.raises(CertificateError, match=says):
        Claims.from_bytes(canonical_json(value))


def test_classes_are_named_in_claims_about_labels_and_linf_regions_alone():
    """A model's own answers are of no class, and other regions have no radius to compare."""
    value = parsed(claims())
    value["dataset"]["target"] = "prediction"
    with pytest.raises(CertificateError, match="not about them"):
        Claims.from_bytes(canonical_json(value))
    value = parsed(claims())
    value["family"] = {"encoding": "grey-levels/255", "kind": "patch", "side": 2}
    with pytest.raises(CertificateError, match="alone"):
        Claims.from_bytes(canonical_json(value))
