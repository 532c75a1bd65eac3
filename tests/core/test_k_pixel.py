"""k-pixel regions: their members, by brute force over all small images."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_verify.core.images import encode
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.pieces import Pieces
from asi_verify.core.region import family_from_json
from asi_verify.errors import CertificateError, DataError, UsageError

LEVELS = (0, 7, 130, 255)
SHAPES = [(1, 3), (2, 2), (1, 1, 2)]


def every_image(shape):
    """All images with a few grey levels, one of which no value set below holds."""
    size = math.prod(shape)
    return np.array(list(itertools.product(LEVELS, repeat=size)), np.uint8).reshape(-1, *shape)


def is_member(family, centre, image):
    """By the definition, pixel by pixel."""
    channels = len(centre)
    ours, theirs = centre.reshape(channels, -1), image.reshape(channels, -1)
    changed = 0
    for position in range(ours.shape[1]):
        pairs = list(zip(ours[:, position], theirs[:, position], strict=True))
        if any(a != b and int(b) not in family.values for a, b in pairs):
            return False
        changed += any(a != b for a, b in pairs)
    return changed <= family.pixels


families = st.builds(
    KPixel,
    st.integers(1, 4),
    st.sets(st.sampled_from([0, 130, 255]), min_size=1).map(lambda v: tuple(sorted(v))),
)
centres = st.sampled_from(SHAPES).flatmap(
    lambda shape: st.integers(0, len(LEVELS) ** math.prod(shape) - 1).map(
        lambda number: every_image(shape)[number]
    )
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(families, centres, st.integers(1, 9))
def test_the_pieces_hold_every_member_in_every_encoding(family, centre, at_once):
    """One by one they hold nothing else; their number is the one that was announced."""
    exact = LInf.of(0).boxes(every_image(centre.shape))
    members = [is_member(family, centre, image) for image in every_image(centre.shape)]
    for pieces in Pieces:
        boxes = list(family.cover(centre, pieces, at_once))
        lower = np.concatenate([box.lower for box in boxes])
        upper = np.concatenate([box.upper for box in boxes])
        assert len(lower) == family.count(centre.shape, pieces)
        assert max(map(len, boxes)) <= at_once
        for low, high, member in zip(exact.lower, exact.upper, members, strict=True):
            inside = (lower <= low) & (high <= upper)
            held = bool(inside.reshape(len(lower), -1).all(axis=1).any())
            assert held >= member
            assert held == member or pieces is Pieces.RANGE


@pytest.mark.parametrize(
    ("family", "shape"), [(KPixel(254, (0,)), (1, 16, 16)), (KPixel(1), (3, 8, 8))], ids=str
)
def test_pieces_are_made_as_they_are_asked_for(family, shape):
    """Neither all choices of nearly all pixels nor all values of a pixel are held for ranges."""
    tracemalloc.start()
    box = next(family.cover(np.zeros(shape, np.uint8), Pieces.RANGE, 16))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(box) == 16
    assert most < 20 << 20


@settings(max_examples=30, deadline=None, derandomize=True)
@given(families, centres)
def test_a_point_is_contained_if_and_only_if_it_encodes_a_member(family, centre):
    """In any of its encodings, and no float beside them; the covering box holds them all."""
    images = every_image(centre.shape)
    exact = LInf.of(0).boxes(images)
    around = np.repeat(centre[None], len(images), axis=0)
    members = [is_member(family, centre, image) for image in images]
    for points in (exact.lower, exact.upper, encode(images)):
        assert family.contains(points, around).tolist() == members
        assert family.boxes(around).contains(points)[members].all()
    beside = np.nextafter(exact.upper, np.float32(2))
    assert not family.contains(beside, around).any()
    assert not family.contains(np.full_like(beside, np.nan), around).any()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(families, centres, st.data())
def test_regions_meet_if_and_only_if_they_share_a_member(family, centre, data):
    """Found without looking at any; the point that is returned lies in both."""
    images = every_image(centre.shape)
    other = images[data.draw(st.integers(0, len(images) - 1))]
    shared = any(is_member(family, centre, i) and is_member(family, other, i) for i in images)
    pair = np.stack([centre, other])
    point = family.meeting_point(pair)
    assert (point is not None) == shared
    if point is not None:
        assert family.contains(np.stack([point, point]), pair).all()


def test_a_pixel_that_neither_region_can_share_costs_both():
    """Only the second image's other pixel can be changed to the first's: that makes two for it."""
    pair = np.array([[[7, 0]], [[130, 7]]], np.uint8)
    assert KPixel(1, (0,)).meeting_point(pair) is None
    assert KPixel(1, (0,)).meeting_point(pair[::-1]) is None
    assert KPixel(2, (0,)).meeting_point(pair) is not None


@settings(max_examples=20, deadline=None, derandomize=True)
@given(families, centres, st.integers(0, 2**32 - 1))
def test_samples_are_members_and_projections_the_nearest_ones(family, centre, seed):
    """No member is nearer than the projection."""
    generator = np.random.default_rng(seed)
    around = np.repeat(centre[None], 4, axis=0)
    assert family.contains(family.sample(around, generator), around).all()
    points = generator.random(around.shape, dtype=np.float32)
    projected = family.project(points, around)
    assert family.contains(projected, around).all()
    images = every_image(centre.shape)
    members = encode(images[[is_member(family, centre, image) for image in images]])
    for point, found in zip(points, projected, strict=True):
        nearest = ((members - point) ** 2).reshape(len(members), -1).sum(axis=1).min()
        assert ((found - point) ** 2).sum() <= nearest + 1e-5
    np.testing.assert_array_equal(family.project(projected, around), projected)


@pytest.mark.parametrize(
    ("pixels", "values"),
    [(0, (0,)), (True, (0,)), (1.0, (0,)), (1, ()), (1, (3, 2)), (1, (2, 2)), (1, (256,)),
     (1, (-1,)), (1, (True, 2))],
)  # fmt: skip
def test_what_is_no_such_family_is_refused(pixels, values):
    """With the argument named."""
    with pytest.raises(UsageError, match=r"pixels|values"):
        KPixel(pixels, values)


def test_there_are_such_regions_of_8_bit_images_only():
    """Floats have no value set to enumerate."""
    with pytest.raises(DataError, match="8-bit"):
        KPixel(1).boxes(np.zeros((1, 1, 2), np.float32))


@pytest.mark.parametrize("family", [KPixel(1), KPixel(3, (0, 255))])
def test_the_canonical_form_is_read_back(family):
    """And nothing near it."""
    value = family.to_json()
    assert family_from_json(value) == family
    for wrong in (
        {**value, "pixels": 0}, {**value, "pixels": True}, {**value, "pixels": "1"},
        {**value, "values": []}, {**value, "values": [0, 0]}, {**value, "values": [True]},
        {**value, "values": "0"}, {**value, "more": 1}, {**value, "encoding": "other"},
        {key: item for key, item in value.items() if key != "values"},
    ):  # fmt: skip
        with pytest.raises(CertificateError):
            family_from_json(wrong)


@pytest.mark.parametrize(
    ("text", "pixels"),
    [("1 pixel", 1), ("3 voxels", 3), (" 12 pixels ", 12), ("1/255", None), (2, None),
     ("pixels", None)],
)  # fmt: skip
def test_a_number_of_pixels_is_read_from_text(text, pixels):
    """As users write it where a radius may stand."""
    assert KPixel.pixels_in(text) == pixels


def test_the_words_say_what_is_covered():
    """Singular and plural; a long list of values is cut."""
    assert KPixel(1).size == "1 pixel"
    assert KPixel(2, (0, 255)).extent == "with up to 2 pixels changed"
    assert "(0, 255)" in KPixel(2, (0, 255)).membership
    assert "256 grey levels (0, 1, 2, 3, 4, 5, 6, 7, ...)" in KPixel(2).membership
    assert str(KPixel(2, (0, 255))) == "at most 2 pixels changed, to 2 grey levels"
