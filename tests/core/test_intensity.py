"""Brightness, contrast and bias fields: members by the definition, in rationals and in floats."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asi_verify.core.box import float32_below
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.reach import take
from asi_verify.core.region import family_from_json
from asi_verify.errors import CertificateError, DataError, RadiusError, UsageError

TEXTS = [
    "brightness 10/255",
    "contrast 0.1",
    "brightness 10/255 contrast 0.1",
    "bias 0.1 degree 2",
    "bias 0.3 degree 1 brightness 1/7",
    "contrast 1",
    "bias 0.01 degree 4",
]
SHAPES = [(1, 3, 4), (2, 3, 3), (1, 2, 2, 3), (1, 1, 5)]
LEGENDRE = [
    lambda x: Fraction(1),
    lambda x: x,
    lambda x: (3 * x**2 - 1) / 2,
    lambda x: (5 * x**3 - 3 * x) / 2,
    lambda x: (35 * x**4 - 30 * x**2 + 3) / 8,
]
seeds = st.integers(0, 2**32 - 1)
texts = st.sampled_from(TEXTS)


def drawn(seed, count=2):
    """Images of which some pixels are black or white, 8-bit or float."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *SHAPES[seed % len(SHAPES)]), dtype=np.uint8)
    images[generator.random(images.shape) < 0.2] = 0
    images[generator.random(images.shape) < 0.2] = 255
    return generator, images if seed % 3 else encode(images)


def terms(family, axes):
    """Radius, degrees and whether it multiplies the image, of every parameter, in order."""
    found = [(family.brightness, (0,) * axes, False), (family.contrast, (0,) * axes, True)]
    every = itertools.product(range(5), repeat=axes)
    found += [(family.bias, degrees, True) for degrees in every if sum(degrees) <= family.degree]
    return [term for term in found if term[0]]


def coordinate(i, count):
    return Fraction(2 * i, count - 1) - 1 if count > 1 else Fraction(0)


def changes(family, image):
    """``B_k`` at every number of an image, exactly, and the image."""
    axes, found = image.ndim - 1, []
    grey = image.dtype == np.uint8
    for place in np.ndindex(image.shape):
        x = Fraction(int(image[place]), 255) if grey else Fraction(float(image[place]))
        row = []
        for _, degrees, scaled in terms(family, axes):
            value = Fraction(1)
            for axis, degree in enumerate(degrees):
                at = coordinate(place[axis + 1], image.shape[axis + 1])
                value *= LEGENDRE[degree](at)
            row.append(value * x if scaled else value)
        found.append((x, row))
    return found


def member(family, image, t):
    """The exact member of some parameters, as a list of fractions in C order."""
    pixels = changes(family, image)
    return [min(max(x + sum(map(lambda a, b: a * b, t, row)), 0), 1) for x, row in pixels]


def parameters(generator, family, axes):
    """Exact ones, some at an end of their range."""
    shares = [
        Fraction(int(n), 997) for n in generator.integers(-997, 998, len(terms(family, axes)))
    ]
    ends = generator.random(len(shares)) < 0.3
    return [
        term[0] * (share if not end else (1 if share > 0 else -1))
        for term, share, end in zip(terms(family, axes), shares, ends, strict=True)
    ]


def gap(point, exact):
    """How far a point is from a member in its farthest number."""
    flat = point.reshape(-1).tolist()
    return max(abs(Fraction(x) - m) for x, m in zip(flat, exact, strict=True))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts, seeds)
def test_members_are_contained_and_lie_in_the_box(text, seed):
    """Exact ones rounded to float32, and what lies anywhere within half of the slack of them."""
    generator, images = drawn(seed)
    family = Intensity.in_text(text)
    axes = images.ndim - 2
    box, slack = family.boxes(images), family.slack(axes)
    for row, image in enumerate(images):
        exact = member(family, image, parameters(generator, family, axes))
        rounded = np.array([float(x) for x in exact]).reshape(image.shape)
        near = generator.uniform(-0.5, 0.5, image.shape) * float(slack)
        for values in (rounded, np.clip(rounded + near, 0, 1)):
            point = values.astype(np.float32)
            assert gap(point, exact) <= slack
            assert family.contains(point[None], image[None])[0]
            assert box.contains(np.repeat(point[None], len(images), axis=0))[row]
        lower, upper = box.lower[row].reshape(-1), box.upper[row].reshape(-1)
        for low, high, x in zip(lower.tolist(), upper.tolist(), exact, strict=True):
            assert Fraction(low) <= max(x - slack, 0)
            assert min(x + slack, 1) <= Fraction(high)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts, seeds)
def test_usual_float_computations_stay_within_the_slack(text, seed):
    """Of any encoding, factored or not, in float32 or float64, of the exact member."""
    generator, images = drawn(seed, 1)
    family, image = Intensity.in_text(text), images[0]
    axes = image.ndim - 1
    t = parameters(generator, family, axes)
    exact, slack = member(family, image, t), family.slack(axes)
    listed = terms(family, axes)
    for dtype in (np.float32, np.float64):
        number = [dtype(float(x)) for x in t]
        encodings = [encode(images)[0].astype(dtype)]
        if image.dtype == np.uint8:
            encodings += [image.astype(dtype) * dtype(np.float32(1) / np.float32(255))]
            encodings += [image.astype(dtype) / dtype(255)]
        fields = []
        for _, degrees, _ in listed:
            field = np.ones(image.shape, dtype)
            for axis, degree in enumerate(degrees):
                count = image.shape[axis + 1]
                at = [dtype(float(LEGENDRE[degree](coordinate(i, count)))) for i in range(count)]
                field = field * np.array(at, dtype).reshape(-1, *([1] * (axes - axis - 1)))
            fields.append(field)
        for x in encodings:
            factor, added = np.ones(image.shape, dtype), np.zeros(image.shape, dtype)
            apart = x
            for k in generator.permutation(len(t)):
                if listed[k][2]:
                    factor = factor + number[k] * fields[k]
                    apart = apart + number[k] * (fields[k] * x)
                else:
                    added = added + number[k]
                    apart = apart + number[k]
            for values in (factor * x + added, apart):
                point = np.clip(values, 0, 1).astype(np.float32)
                # The rounding is as large as it may be nowhere near a half of what is allowed.
                assert gap(point, exact) <= slack
                assert family.contains(point[None], images)[0]


def interval_of(family, point, image):
    """For one parameter: all that give the point within the slack, exactly; None if none do."""
    (radius, _, _), *others = terms(family, image.ndim - 1)
    assert not others
    slack, low, high = family.slack(image.ndim - 1), -radius, radius
    for (x, (b,)), wanted in zip(changes(family, image), point.reshape(-1).tolist(), strict=True):
        least, most = Fraction(wanted) - slack, Fraction(wanted) + slack
        # clip(x + t b) between the two, b being at least 0.
        if b == 0:
            if not least <= x <= most:
                return None
            continue
        if least > 0:
            low = max(low, (least - x) / b)
        if most < 1:
            high = min(high, (most - x) / b)
    return (low, high) if low <= high else None


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from(["brightness 10/255", "contrast 0.1", "brightness 1"]), seeds)
def test_no_other_point_is_contained(text, seed):
    """Decided exactly for one parameter, around the edge of the slack and of the range."""
    generator, images = drawn(seed, 1)
    family, image = Intensity.in_text(text), images[0]
    (radius, _, _), *_ = terms(family, image.ndim - 1)
    slack = float(family.slack(image.ndim - 1))
    for scale in (0.9, 1.0, 1.0 + 2e-6, 1.1):
        t = radius * Fraction(scale) * (1 if seed % 2 else -1)
        values = np.array([float(x) for x in member(family, image, [t])]).reshape(image.shape)
        for room in (0.3, 1.0, 1.2):
            noise = generator.uniform(-room, room, image.shape) * slack
            point = np.clip(values + noise, 0, 1).astype(np.float32)
            found = family.contains(point[None], images)[0]
            assert not found or interval_of(family, point, image) is not None
            if scale == 0.9 and room == 0.3:
                assert found


def test_membership_is_decided_at_the_edge_of_the_slack():
    """By some parameters, in rationals: their next floats make the difference."""
    family = Intensity.in_text("brightness 1/4")
    image = np.full((1, 1, 2), 0.5, np.float32)
    point = np.full((1, 1, 2), 0.625, np.float32)
    slack, outcomes = family.slack(2), set()
    nearest = float(Fraction(1, 8) - slack)
    for t in (np.nextafter(nearest, 0), nearest, np.nextafter(nearest, 1)):
        expected = abs(gap(point, member(family, image, [Fraction(float(t))]))) <= slack
        assert family._holds(np.array([t]), point, image) is bool(expected)
        outcomes.add(bool(expected))
    assert outcomes == {True, False}
    # Others give the point all the same, and those beyond their range do not count.
    assert family.contains(point[None], image[None])[0]
    for t, expected in ((0.25, True), (np.nextafter(0.25, 1), False)):
        at = np.full((1, 1, 2), 0.75, np.float32)
        assert family._holds(np.array([t]), at, image) is expected


@pytest.mark.parametrize("text", ["contrast 1/2", "bias 1/2 degree 1", "bias 1/4 degree 2"])
def test_the_edge_of_the_slack_is_exact_for_every_parameter(text):
    """Dark pixels, whose next floats only rationals tell apart, wherever in the image they lie."""
    family, image = Intensity.in_text(text), np.full((1, 2, 3), 2.0**-20, np.float32)
    image[0, 0] /= 2
    slack = family.slack(2)
    for k, (radius, _, _) in enumerate(terms(family, 2)):
        t = [Fraction(0)] * len(terms(family, 2))
        t[k] = radius / 2
        wanted = member(family, image, t)
        inside = np.float32([float32_below(x + slack) for x in wanted]).reshape(image.shape)
        assert family._holds(np.array([float(x) for x in t]), inside, image)
        for place in np.ndindex(image.shape):
            outside = inside.copy()
            outside[place] = np.nextafter(inside[place], np.float32(1))
            assert not family._holds(np.array([float(x) for x in t]), outside, image)


def test_nothing_outside_the_range_is_contained():
    """Nor what is no number."""
    image = np.zeros((1, 1, 1, 3), np.uint8)
    for bad in (np.nan, np.inf, -1e-30, np.nextafter(np.float32(1), np.float32(2))):
        point = np.array([[[[0, bad, 0]]]], np.float32)
        assert not Intensity.in_text("brightness 1").contains(point, image)[0]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts, seeds)
def test_samples_and_projections_are_members(text, seed):
    """And members stay what they are; samples come near the ends of the parameters."""
    generator, images = drawn(seed, 3)
    family = Intensity.in_text(text)
    for points in (
        family.sample(images, generator),
        family.project(generator.random(images.shape, dtype=np.float32), images),
        family.project(generator.normal(0.5, 1, images.shape).astype(np.float32), images),
    ):
        assert points.dtype == np.float32
        assert family.contains(points, images).all()
        np.testing.assert_array_equal(family.project(points, images), points)


def test_samples_reach_the_corners():
    """A sample that stayed in the middle would test nothing."""
    family = Intensity.in_text("brightness 0.1 contrast 0.1")
    images = np.full((300, 1, 2, 2), 0.5, np.float32)
    points = family.sample(images, np.random.default_rng(0))
    assert np.unique(np.round(points[:, 0, 0, 0], 6)).size > 100
    assert points.min() == pytest.approx(0.35, abs=1e-5)
    assert points.max() == pytest.approx(0.65, abs=1e-5)


def test_projections_find_the_parameters_of_a_point():
    """Least squares over the box; of a brighter image the brightness, if it may be as much."""
    family = Intensity.in_text("brightness 0.1 contrast 0.2")
    image = np.random.default_rng(0).uniform(0.3, 0.6, (1, 1, 5, 5)).astype(np.float32)
    for factor, added in ((1.1, 0.05), (0.85, -0.1)):
        point = (factor * image + added).astype(np.float32)
        np.testing.assert_allclose(family.project(point, image), point, atol=1e-6)
    far = family.project(np.ones_like(image), image)
    np.testing.assert_allclose(far, 1.2 * image + 0.1, atol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(texts, seeds, st.integers(1, 9))
def test_cells_cover_the_parameters_and_their_members(text, seed, at_once):
    """Every parameter lies in a cell, whose box holds its member; as many as there should be."""
    generator, images = drawn(seed, 1)
    family = Intensity.in_text(text)
    count = len(terms(family, images.ndim - 2))
    grid = tuple(generator.integers(1, 4, count).tolist()) if count < 5 else (2, *[1] * (count - 1))
    parts = list(family.cells(images[0], grid, at_once))
    assert max(len(box) for box, _ in parts) <= at_once
    lower, upper = (np.concatenate([getattr(r, e) for _, r in parts]) for e in ("lower", "upper"))
    assert lower.shape == (int(np.prod(grid)), count)
    whole = family.reach(images)
    for k, (radius, _, _) in enumerate(terms(family, images.ndim - 2)):
        assert lower[:, k].min() == whole.lower[0, k] == -whole.upper[0, k]
        assert upper[:, k].max() == whole.upper[0, k]
        assert radius <= Fraction(float(whole.upper[0, k])) <= radius * (1 + Fraction(1, 10**14))
    boxes_lower, boxes_upper = (
        np.concatenate([getattr(box, end) for box, _ in parts]) for end in ("lower", "upper")
    )
    for _ in range(5):
        t = parameters(generator, family, images.ndim - 2)
        at = np.array([float(x) for x in t])
        at = np.clip(at, whole.lower[0], whole.upper[0])
        inside = ((lower <= at) & (at <= upper)).all(axis=1)
        assert inside.any()
        exact = np.array([float(x) for x in member(family, images[0], t)]).reshape(images.shape)
        for cell in np.flatnonzero(inside):
            assert bool(
                (boxes_lower[cell] <= exact[0]).all() & (exact[0] <= boxes_upper[cell]).all()
            )
    assert all(reach.slack == whole.slack for _, reach in parts)


@pytest.mark.parametrize("brightness", ["1/3", "0.1", "1e-40", "1"])
def test_not_one_number_lies_between_two_cells(brightness):
    """Neighbours share their ends, the outermost lie beyond those of the range; to the last bit."""
    family, image = Intensity.of(brightness=brightness), np.zeros((1, 1, 1), np.uint8)
    for count in (1, 2, 7, 1000):
        parts = [reach for _, reach in family.cells(image, (count,), 300)]
        lower = np.concatenate([reach.lower[:, 0] for reach in parts])
        upper = np.concatenate([reach.upper[:, 0] for reach in parts])
        assert len(lower) == count
        assert (lower <= upper).all()
        assert (lower[1:] == upper[:-1]).all()
        assert Fraction(lower[0].item()) <= -family.brightness
        assert Fraction(upper[-1].item()) >= family.brightness


def test_cells_of_more_parameters_than_an_array_may_have_axes():
    """A field of degree 4 over four axes has 70."""
    family, image = Intensity.of(bias="0.1", degree=4), np.zeros((1, 2, 2, 2, 2), np.uint8)
    (parts,) = family.cells(image, (2, *[1] * 68, 3), 9)
    assert (
        len({(*low, *high) for low, high in zip(parts[1].lower, parts[1].upper, strict=True)}) == 6
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts, seeds)
def test_what_is_known_of_inputs_is_the_definition(text, seed):
    """The arrays give every member within the slack, which is hardly more than the family's."""
    generator, images = drawn(seed)
    family = Intensity.in_text(text)
    axes = images.ndim - 2
    reach = family.reach(images)
    assert family.slack(axes) < Fraction(reach.slack) < family.slack(axes) + Fraction(1, 10**11)
    rows = [1, 0]
    some = take(reach, np.array(rows))
    for position, row in enumerate(rows):
        t = parameters(generator, family, axes)
        exact = member(family, images[row], t)
        base = some.base[position].reshape(-1).tolist()
        directions = [some.direction(k)[position].reshape(-1) for k in range(len(t))]
        for i, (x, wanted) in enumerate(zip(base, exact, strict=True)):
            total = Fraction(x)
            for k, value in enumerate(t):
                field = Fraction(float(np.broadcast_to(some.fields[k], images.shape[1:]).flat[i]))
                assert abs(field) <= 1
                total += value * field * (Fraction(x) if some.scaled[k] else 1)
                assert directions[k][i] == pytest.approx(
                    float(field) * (x if some.scaled[k] else 1)
                )
            off = abs(min(max(total, Fraction(0)), Fraction(1)) - wanted)
            assert family.slack(axes) + off <= Fraction(reach.slack)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(texts, seeds)
def test_meeting_points_lie_in_both_regions(text, seed):
    """Of two images made from one, in which nothing is cut off; none where boxes do not meet."""
    generator, images = drawn(seed)
    family = Intensity.in_text(text)
    axes = images.ndim - 2
    middle = generator.uniform(0.4, 0.6, images.shape[1:])
    fields = np.array([[float(b) for b in row] for _, row in changes(family, middle)])
    # The definition is about each image's own pixels, so both are sought around a common point.
    pair = []
    for sign in (1, -1):
        shares = 0.4 * sign * np.array([float(radius) for radius, _, _ in terms(family, axes)])
        pair.append(middle + (fields @ (shares / len(shares))).reshape(middle.shape))
    pair = np.stack(pair).astype(np.float32)
    point = family.meeting_point(pair)
    assert point is not None
    assert point.dtype == np.float32
    assert family.contains(np.stack([point, point]), pair).all()
    far = pair.copy()
    far[1].reshape(-1)[0] = 0.0
    far[0].reshape(-1)[0] = 1.0
    found = family.meeting_point(far)
    box = family.boxes(far)
    if bool((box.lower.max(axis=0) > box.upper.min(axis=0)).any()):
        assert found is None
    if found is not None:
        assert family.contains(np.stack([found, found]), far).all()


def test_grey_levels_apart_meet_or_not():
    """Twenty levels at ten each, of every pixel; not of one pixel alone, nor twenty-one."""
    family = Intensity.in_text("brightness 10/255")
    image = np.random.default_rng(0).integers(30, 200, (1, 6, 6), dtype=np.uint8)
    assert family.meeting_point(np.stack([image, image])) is not None
    assert family.meeting_point(np.stack([image, image + 20])) is not None
    assert family.meeting_point(np.stack([image, image + 21])) is None
    one = image.copy()
    one[0, 2, 3] += 1
    assert family.meeting_point(np.stack([image, one])) is None
    # Where both are cut off, they may differ before: 250 and 245 both become white.
    bright = np.stack([image, image])
    bright[0, 0, 0, 0], bright[1, 0, 0, 0] = 250, 245
    assert family.meeting_point(bright) is not None


@pytest.mark.parametrize(
    ("text", "family"),
    [("brightness 10/255", Intensity(brightness=Fraction(2, 51))),
     ("Brightness 10 grey levels", Intensity(brightness=Fraction(2, 51))),
     (" contrast 0.1 brightness  1/4 ", Intensity(Fraction(1, 4), Fraction(1, 10))),
     ("bias 0.1 degree 2", Intensity(bias=Fraction(1, 10), degree=2)),
     ("degree 1 bias 1 contrast 1", Intensity(Fraction(0), Fraction(1), Fraction(1), 1)),
     ("1/255", None), ("patch 3", None), (3, None), ("brightnesses 1", None)],
)  # fmt: skip
def test_intensities_are_read_from_text(text, family):
    """As users write them where a radius may stand."""
    assert Intensity.in_text(text) == family


@pytest.mark.parametrize(
    "text",
    ["brightness", "brightness 0", "brightness 1.5", "brightness -1/255", "contrast many",
     "brightness 1/255 brightness 2/255", "bias 0.1", "bias 0.1 degree 5", "bias 0.1 degree 0",
     "bias 0.1 degree x", "degree 2", "contrast 0.1 degree 2", "brightness 1/255, contrast 0.1"],
)  # fmt: skip
def test_what_is_no_such_family_is_refused(text):
    """Naming what was given, rather than read as another kind of region."""
    with pytest.raises(UsageError, match=r"radius|degree|brightness|contrast|bias"):
        Intensity.in_text(text)


@pytest.mark.parametrize("text", ["brightness", "bias 0.1 degree", "contrast brightness 0.1"])
def test_a_name_without_a_number_is_named(text):
    """With all that was given: of the number itself there is nothing to show."""
    with pytest.raises(UsageError, match=f"'{text}'.*number"):
        Intensity.in_text(text)


def test_a_family_holds_fractions():
    """Others are read by ``of``; what is no image is refused."""
    with pytest.raises(TypeError, match="Fraction"):
        Intensity(0.1)
    with pytest.raises(RadiusError):
        Intensity(Fraction(2))
    with pytest.raises(UsageError, match="degree"):
        Intensity(bias=Fraction(1), degree=True)
    assert Intensity.of(10 / 255) == Intensity.of("10/255")
    with pytest.raises(DataError):
        Intensity.of(1).boxes(np.zeros((1, 1, 2, 2)))


@pytest.mark.parametrize("text", TEXTS)
def test_the_canonical_form_is_read_back(text):
    """And nothing near it."""
    value = Intensity.in_text(text).to_json()
    assert family_from_json(value) == Intensity.in_text(text)
    for wrong in (
        {**value, "brightness": 1}, {**value, "contrast": "-1"}, {**value, "bias": "0.50"},
        {**value, "brightness": "2"}, {**value, "contrast": "x"}, {**value, "more": 1},
        {**value, "bias": "1" * 2000}, {**value, "encoding": "other"}, {**value, "degree": 5},
        {**value, "degree": True}, {**value, "degree": "2"}, {**value, "degree": None},
        {**value, "brightness": "0", "contrast": "0", "bias": "0", "degree": 0},
        {key: item for key, item in value.items() if key != "bias"},
    ):  # fmt: skip
        with pytest.raises(CertificateError):
            family_from_json(wrong)


def test_the_words_say_what_is_covered():
    """Sizes and, for people, what is done to the whole image."""
    family = Intensity.in_text("brightness 10/255 contrast 0.1")
    assert family.size == "brightness 10/255 contrast 1/10"
    assert family.extent == "under brightness 10/255 and contrast 1/10"
    assert str(family) == "brightness 10/255, contrast 1/10"
    assert "one factor between 9/10 and 11/10" in family.membership
    assert "one amount of at most 10/255" in family.membership
    field = Intensity.in_text("bias 0.1 degree 2")
    assert field.size == "bias 1/10 degree 2"
    assert "smooth field of degree 2, which is 1 plus terms of at most 1/10" in field.membership
