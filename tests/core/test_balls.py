"""L2 and L1 balls: membership decided in rationals, members, meeting points, forms and words."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_verify.core.balls import L1, L2, ball_in
from asi_verify.core.box import Box
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.radius import Radius
from asi_verify.core.reach import BallReach, Norm, PixelReach, take
from asi_verify.core.region import family_from_json
from asi_verify.errors import CertificateError, DataError, RadiusError

KINDS = [L1, L2]
radii = st.sampled_from(["0", "1/510", "1/255", "0.1", "1/3", "1/2", "0.9", "2", "5"])
families = st.builds(lambda kind, radius: kind.of(radius), st.sampled_from(KINDS), radii)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed, count=4, shape=(2, 2, 3)):
    """Images of which some pixels are black or white, 8-bit or float."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
    images[generator.random(images.shape) < 0.3] = 0
    images[generator.random(images.shape) < 0.2] = 255
    return generator, images if seed % 3 else encode(images)


def power(family):
    return 2 if isinstance(family, L2) else 1


def distance(family, point, image):
    """Of a point from the encodings of an image, to the norm's power, exactly."""
    box = LInf.of(0).boxes(image[None])
    ends = (array.reshape(-1).tolist() for array in (box.lower, box.upper, point))
    total = Fraction(0)
    for low, high, x in zip(*ends, strict=True):
        beyond = max(Fraction(low) - Fraction(x), Fraction(x) - Fraction(high), Fraction(0))
        total += beyond ** power(family)
    return total


def is_member(family, point, image):
    """By the definition, in rationals."""
    in_range = bool(((point >= 0) & (point <= 1)).all())
    return in_range and distance(family, point, image) <= family.radius ** power(family)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(families, seeds)
def test_membership_is_as_defined(family, seed):
    """Of points around the boundary, in and beyond the range of pixels."""
    generator, images = drawn(seed)
    points = family.sample(images, generator)
    away = points - encode(images)
    for scale in (0.5, 1.0, 1.5, 3.0):
        moved = (encode(images) + np.float32(scale) * away).astype(np.float32)
        expected = [is_member(family, p, i) for p, i in zip(moved, images, strict=True)]
        assert family.contains(moved, images).tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radius", ["1/4", "3/1048576", "0", "1/1267650600228229401496703205376"])
def test_membership_is_decided_at_the_boundary_itself(kind, radius):
    """A radius that floats hold: the point at that distance is in, the next float beyond is not."""
    family = kind.of(radius)
    image = np.full((1, 1, 2, 2), 0.5, np.float32)
    if radius.endswith("376"):
        image[...] = 0  # 2**-100 is lost beside 0.5
    at = image.copy()
    at[0, 0, 0, 1] += np.float32(float(family.radius))
    beyond = at.copy()
    beyond[0, 0, 0, 1] = np.nextafter(at[0, 0, 0, 1], np.float32(2))
    assert family.contains(at, image).tolist() == [True]
    assert family.contains(beyond, image).tolist() == [False]


def test_a_distance_that_no_float64_tells_from_the_radius_is_told():
    """Many differences, whose squares sum to just over, or just under, the square of the radius."""
    image = np.zeros((1, 1, 32, 32), np.float32)
    point = np.random.default_rng(0).random(image.shape).astype(np.float32)
    for kind in KINDS:
        total = distance(kind.of(1), point[0], image[0])
        root = total if kind is L1 else Fraction(math.isqrt(int(total * 10**80)), 10**40)
        assert kind(root + Fraction(1, 10**39)).contains(point, image)[0]
        assert not kind(root - Fraction(1, 10**39)).contains(point, image)[0]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(families, seeds)
def test_members_lie_in_the_box_and_within_the_reach(family, seed):
    """The box is hardly larger than the region: each of its ends is one, or a float beside it."""
    generator, images = drawn(seed)
    box, reach = family.boxes(images), family.reach(images)
    assert Fraction(reach.radius) >= family.radius
    assert float(Fraction(reach.radius) - family.radius) <= 1e-15 * reach.radius
    assert reach.norm is (Norm.L2 if isinstance(family, L2) else Norm.L1)
    points = family.sample(images, generator)
    assert family.contains(points, images).all()
    assert box.contains(points).all()
    centre = LInf.of(0).boxes(images)
    for ours, exact in zip(
        (reach.centre.lower, reach.centre.upper), (centre.lower, centre.upper), strict=True
    ):
        np.testing.assert_array_equal(ours, exact)
    for ends, middle, sign in ((box.lower, centre.lower, -1), (box.upper, centre.upper, 1)):
        for end, start in zip(ends.reshape(-1).tolist(), middle.reshape(-1).tolist(), strict=True):
            exact = min(max(Fraction(start) + sign * family.radius, Fraction(0)), Fraction(1))
            assert sign * (Fraction(end) - exact) >= 0
            assert abs(float(Fraction(end) - exact)) <= 2e-7


def test_samples_come_near_the_boundary():
    """A sample that stayed at the centre would test nothing."""
    generator, images = drawn(4, count=20)
    for kind in KINDS:
        family = kind.of(1)
        points = family.sample(images, generator)
        shares = [float(distance(family, p, i)) for p, i in zip(points, images, strict=True)]
        assert max(shares) > 0.5


@settings(max_examples=30, deadline=None, derandomize=True)
@given(families, seeds)
def test_projections_are_members_and_members_stay(family, seed):
    """Of any points; and where no pixel meets its range, no member found by chance is nearer."""
    generator, images = drawn(seed)
    points = generator.normal(0.5, 1, images.shape).astype(np.float32)
    found = family.project(points, images)
    assert found.dtype == np.float32
    assert family.contains(found, images).all()
    np.testing.assert_array_equal(family.project(found, images), found)
    grey = np.full_like(images, 128 if images.dtype == np.uint8 else 0.5)
    points = (0.5 + 0.2 * generator.random(images.shape)).astype(np.float32)
    nearest = ((family.project(points, grey) - points) ** 2).reshape(len(images), -1).sum(axis=1)
    other = ((family.sample(grey, generator) - points) ** 2).reshape(len(images), -1).sum(axis=1)
    assert np.all(nearest <= other + 1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(families, seeds)
def test_meeting_points_lie_in_both_regions(family, seed):
    """One is found if the centres are not more than two radii apart, and none if they are more."""
    _, images = drawn(seed, count=2)
    images[1] = np.where(np.random.default_rng(seed).random(images[1].shape) < 0.7, *images)
    point = family.meeting_point(images)
    box = LInf.of(0).boxes(images)
    near = np.clip(box.lower[1], box.lower[0], box.upper[0])
    apart = float(distance(family, near, images[1])) ** (1 / power(family))
    if point is None:
        assert apart > 2 * float(family.radius) - 1e-6
    else:
        assert all(is_member(family, point, image) for image in images)
        assert apart <= 2 * float(family.radius) + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_neighbouring_grey_levels_meet_half_way(kind):
    """Two levels apart at radius 1/255: at the level between; three apart: nowhere."""
    for level in range(0, 250, 7):
        pair = np.array([[[level, 9]], [[level + 2, 9]]], np.uint8)[:, None]
        assert kind.of("1/255").meeting_point(pair) is not None
        pair[1, 0, 0, 0] += 1
        assert kind.of("1/255").meeting_point(pair) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_number_or_not_an_image_lies_in_no_ball(kind):
    """Also where the ball is larger than all that there is."""
    image = np.zeros((1, 1, 1, 2), np.float32)
    for bad in (np.nan, np.inf, -np.inf, -1e-30, np.nextafter(np.float32(1), np.float32(2))):
        point = np.array([[[[0, bad]]]], np.float32)
        assert not kind.of(9).contains(point, image)[0]
    with pytest.raises(DataError):
        kind.of(1).boxes(np.zeros((1, 1, 2, 2)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("radius", ["0", "1/3", "0.5", "7"])
def test_the_canonical_form_is_read_back(kind, radius):
    """And nothing near it."""
    family = kind.of(radius)
    value = family.to_json()
    assert family_from_json(value) == family
    assert family_from_json({**value, "kind": "l1"}) != family_from_json({**value, "kind": "l2"})
    for wrong in (
        {**value, "radius": 1}, {**value, "radius": "-1"}, {**value, "radius": "0.50"},
        {**value, "radius": "99999999"}, {**value, "radius": "x"}, {**value, "more": 1},
        {**value, "radius": "1" * 2000}, {**value, "encoding": "other"}, {**value, "kind": "l3"},
        {key: item for key, item in value.items() if key != "radius"},
    ):  # fmt: skip
        with pytest.raises(CertificateError):
            family_from_json(wrong)


@pytest.mark.parametrize(
    ("text", "family"),
    [("l2 0.5", L2(Fraction(1, 2))), ("L1 3", L1(Fraction(3))), (" l2  1/3 ", L2(Fraction(1, 3))),
     ("l1 2 grey levels", L1(Fraction(2, 255))), ("0.5", None), ("1 pixel", None), (2, None),
     ("l3 1", None), ("l2", None)],
)  # fmt: skip
def test_balls_are_read_from_text(text, family):
    """As users write them where a radius may stand."""
    assert ball_in(text) == family


@pytest.mark.parametrize("text", ["l2 -1", "l1 many", "l2 1/0", "l2 1e9"])
def test_a_ball_whose_radius_is_none_is_refused(text):
    """Naming what was given, rather than read as another kind of region."""
    with pytest.raises(RadiusError, match="radius"):
        ball_in(text)


def test_a_ball_holds_a_fraction():
    """Floats are read by ``of``, which says how; a radius of the other kind is as good."""
    with pytest.raises(TypeError, match="Fraction"):
        L2(0.5)
    with pytest.raises(RadiusError):
        L1(Fraction(-1))
    assert L2.of(Radius.of("1/255")) == L2.of("1/255") == L2.of(1 / 255)


def test_the_words_say_what_is_covered():
    """The norm and the radius; for people, sums of changes."""
    assert (L2.of("0.5").size, L1.of(3).size) == ("L2 1/2", "L1 3")
    assert L2.of("0.5").extent == "at L2 radius 1/2"
    assert "squared, add up to at most 1/4" in L2.of("0.5").membership
    assert "add up to at most 3" in L1.of(3).membership
    assert str(L1.of(3)) == "L1, radius 3 of the pixel range"


def test_some_samples_of_what_is_known_are_their_own():
    """Rows in any order; of nothing, nothing."""
    ends = np.arange(6, dtype=np.float32).reshape(3, 1, 2) / 8
    centre = Box(ends, ends.copy())
    hull = Box(ends - 1, ends + 1)
    rows = np.array([2, 0])
    assert take(None, rows) is None
    ball = take(BallReach(centre, 0.5, Norm.L1), rows)
    assert (ball.radius, ball.norm) == (0.5, Norm.L1)
    pixels = take(PixelReach(centre, hull, 2), rows)
    assert pixels.pixels == 2
    for found in (ball, pixels):
        np.testing.assert_array_equal(found.centre.lower, ends[rows])
    np.testing.assert_array_equal(pixels.hull.upper, ends[rows] + 1)
    assert LInf.of(1 / 255).reach(np.zeros((1, 1, 1, 2), np.uint8)) is None
