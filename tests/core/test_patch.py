"""Patch regions: membership, their pieces and their meetings, by brute force on small images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_verify.core.box import Box
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.patch import Patch
from asi_verify.core.pieces import Pieces
from asi_verify.core.reach import PatchReach, take
from asi_verify.core.region import family_from_json
from asi_verify.errors import CertificateError, DataError, UsageError

SHAPES = [(1, 4, 5), (2, 3, 3), (1, 1, 6), (1, 2, 3, 4), (3, 2, 2)]
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 4)


def drawn(seed, count=3):
    """Images, 8-bit or float."""
    generator = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    return generator, images if seed % 3 else encode(images)


def windows(side, spatial):
    """The slices of every window, by the definition."""
    starts = [range(n - min(side, n) + 1) for n in spatial]
    for place in itertools.product(*starts):
        yield tuple(slice(s, s + side) for s in place)


def is_member(family, point, image):
    """By the definition: some window, outside which the point is the image in an encoding."""
    if not bool(((point >= 0) & (point <= 1)).all()):
        return False
    box = LInf.of(0).boxes(image[None])
    wrong = ((point < box.lower[0]) | (point > box.upper[0])).any(axis=0)
    for window in windows(family.side, image.shape[1:]):
        left = wrong.copy()
        left[window] = False
        if not left.any():
            return True
    return False


def changed(generator, image, pixels):
    """The encoded image with other values at some pixels, not all of them near each other."""
    point = encode(image[None])[0].reshape(len(image), -1)
    where = generator.permutation(point.shape[1])[:pixels]
    channel = generator.integers(len(image), size=len(where))
    values = generator.random(len(where), dtype=np.float32)
    point[channel, where] = np.where(generator.random(len(where)) < 0.5, values, np.rint(values))
    return point.reshape(image.shape)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(sides, seeds)
def test_membership_is_as_defined(side, seed):
    """Of images with few changed pixels, of samples, and of points just outside the range."""
    generator, images = drawn(seed)
    family = Patch(side)
    for pixels in (0, 1, 2, 3):
        points = np.stack([changed(generator, image, pixels) for image in images])
        expected = [is_member(family, p, i) for p, i in zip(points, images, strict=True)]
        assert family.contains(points, images).tolist() == expected
    points = family.sample(images, generator)
    assert family.contains(points, images).all()
    assert all(is_member(family, p, i) for p, i in zip(points, images, strict=True))
    for bad in (np.nan, -1e-30, np.nextafter(np.float32(1), np.float32(2))):
        points[:, 0, ..., 0] = bad
        assert not family.contains(points, images).any()


def test_samples_are_not_the_image():
    """A sample that stayed at the centre would test nothing; every place of the window occurs."""
    generator = np.random.default_rng(0)
    images = np.full((400, 1, 4, 4), 128, np.uint8)
    differs = (Patch(2).sample(images, generator) != encode(images)).any(axis=1)
    assert (differs.sum(axis=(1, 2)) == 4).all()
    assert len(np.unique(differs.reshape(400, -1), axis=0)) == 9


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sides, seeds, st.integers(1, 9))
def test_the_pieces_are_the_region(side, seed, at_once):
    """A point lies in one of them if and only if it is a member; as many as were announced."""
    generator, images = drawn(seed, 1)
    family = Patch(side)
    boxes = list(family.cover(images[0], Pieces.RANGE, at_once))
    lower, upper = (np.concatenate([getattr(b, end) for b in boxes]) for end in ("lower", "upper"))
    assert len(lower) == family.count(images.shape[1:], Pieces.RANGE)
    assert len(lower) == len(list(windows(side, images.shape[2:])))
    assert max(map(len, boxes)) <= at_once
    points = [changed(generator, images[0], pixels) for pixels in (0, 1, 2, 2, 3, 4)]
    exact = LInf.of(0).boxes(images)
    for point in [*points, exact.lower[0], exact.upper[0], *lower, *upper]:
        inside = ((lower <= point) & (point <= upper)).reshape(len(lower), -1).all(axis=1).any()
        assert inside == is_member(family, point, images[0])
    whole = family.boxes(images)
    assert bool((whole.lower <= lower).all() and (upper <= whole.upper).all())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(sides, seeds)
def test_projections_are_the_nearest_members(side, seed):
    """Over all windows; members stay what they are."""
    generator, images = drawn(seed)
    family = Patch(side)
    points = generator.normal(0.5, 0.6, images.shape).astype(np.float32)
    found = family.project(points, images)
    assert family.contains(found, images).all()
    np.testing.assert_array_equal(family.project(found, images), found)
    for point, image, nearest in zip(points, images, found, strict=True):
        best = np.inf
        for window in windows(side, image.shape[1:]):
            other = encode(image[None])[0]
            inside = (slice(None), *window)
            other[inside] = np.clip(point[inside], 0, 1)
            best = min(best, ((other - point) ** 2).sum())
        assert ((nearest - point) ** 2).sum() <= best + 1e-5


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sides, seeds, st.integers(0, 7))
def test_regions_meet_if_and_only_if_two_windows_hold_all_differences(side, seed, pixels):
    """By trying every pair of windows; the point that is returned lies in both."""
    generator, images = drawn(seed, 2)
    images[1] = images[0]
    flat = images[1].reshape(images.shape[1], -1)
    where = generator.permutation(flat.shape[1])[:pixels]
    flat[0, where] = 1 - flat[0, where] if images.dtype == np.float32 else 255 - flat[0, where]
    family = Patch(side)
    differs = (images[0] != images[1]).any(axis=0)
    meets = False
    every = list(windows(side, differs.shape))
    for first, second in itertools.product(every, every):
        left = differs.copy()
        left[first] = left[second] = False
        meets |= not left.any()
    for pair in (images, images[::-1]):
        point = family.meeting_point(pair)
        assert (point is not None) == meets
        if point is not None:
            assert all(is_member(family, point, image) for image in pair)


def test_neighbouring_floats_differ():
    """Of float images the smallest difference counts; equal encodings of 8-bit ones do not."""
    pair = np.full((2, 1, 3, 3), 0.5, np.float32)
    pair[1, 0, [0, 2, 0], [0, 0, 2]] = np.nextafter(np.float32(0.5), np.float32(1))
    assert Patch(1).meeting_point(pair) is None
    assert Patch(1).meeting_point(np.stack([pair[0], pair[0]])) is not None


@pytest.mark.parametrize("side", [0, -1, True, 1.0, "3", None])
def test_what_is_no_side_is_refused(side):
    """With the argument named."""
    with pytest.raises(UsageError, match="side"):
        Patch(side)


def test_the_canonical_form_is_read_back():
    """And nothing near it."""
    value = Patch(3).to_json()
    assert family_from_json(value) == Patch(3)
    for wrong in (
        {**value, "side": 0}, {**value, "side": True}, {**value, "side": "3"},
        {**value, "side": 3.0}, {**value, "more": 1}, {**value, "encoding": "other"},
        {key: item for key, item in value.items() if key != "side"},
    ):  # fmt: skip
        with pytest.raises(CertificateError):
            family_from_json(wrong)


@pytest.mark.parametrize(
    ("text", "side"),
    [("patch 3", 3), ("  patch  12 ", 12), ("patch", None), ("patch 1/255", None), (3, None)],
)
def test_patches_are_read_from_text(text, side):
    """As users write them where a radius may stand."""
    assert Patch.in_text(text) == (None if side is None else Patch(side))
    with pytest.raises(UsageError):
        Patch.in_text("patch 0")


def test_the_words_say_what_is_covered():
    """The side; for people, that anything may stand in one window."""
    assert (Patch(3).size, str(Patch(3))) == ("patch 3", "any patch of side 3")
    assert Patch(3).extent == "with any patch of side 3"
    assert "of 3 pixels along each side" in Patch(3).membership
    assert "of 1 pixel along each side" in Patch(1).membership


def test_there_are_patches_of_images_only():
    """What is no image is refused as for the other families."""
    with pytest.raises(DataError):
        Patch(1).boxes(np.zeros((1, 1, 2, 2)))


def test_some_samples_of_what_is_known_are_their_own():
    """The window is that of all of them."""
    ends = np.arange(6, dtype=np.float32).reshape(3, 1, 2) / 8
    found = take(
        PatchReach(Box(ends, ends.copy()), Box(ends - 1, ends + 1), (2,)), np.array([2, 0])
    )
    np.testing.assert_array_equal(found.centre.lower, ends[[2, 0]])
    np.testing.assert_array_equal(found.hull.upper, ends[[2, 0]] + 1)
    assert found.window == (2,)
