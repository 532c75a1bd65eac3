"""The float32 boxes that stand for regions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asi_verify.core.box import float32_above, float32_below
from asi_verify.core.linf import LInf
from asi_verify.core.region import Region, family_from_json
from asi_verify.errors import CertificateError, DataError

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)


def encodings(level: int) -> list[float]:
    """Every float32 that some program makes of a grey level."""
    level32 = np.float32(level)
    return [
        float(np.float32(level / 255)),
        float(np.float32(level32 * np.float32(1 / 255))),
        float(level32 / np.float32(255)),
    ]


@pytest.mark.parametrize("levels", [0, 1, 2, 5])
def test_the_box_holds_every_encoding_of_every_level_within_the_radius(levels):
    """A neighbouring 8-bit image lies in the region however it was turned into floats."""
    box = LInf.of(Fraction(levels, 255)).boxes(LEVELS)
    for level in range(256):
        lower, upper = (float(b.reshape(-1)[level]) for b in (box.lower, box.upper))
        for other in range(max(0, level - levels), min(255, level + levels) + 1):
            for value in encodings(other):
                assert lower <= min(value, 1.0) <= upper
        exact = Fraction(level, 255)
        assert Fraction(lower) <= max(exact - Fraction(levels, 255), Fraction(0))
        assert min(exact + Fraction(levels, 255), Fraction(1)) <= Fraction(upper)


@pytest.mark.parametrize("radius", ["0", "1/255", "0.5/255", "0.013"])
def test_the_box_is_the_smallest_and_stays_in_the_pixel_range(radius):
    """One float32 less on either side, and something that belongs to the region is missed."""
    family = LInf.of(radius)
    reach = int(family.radius.grey_levels)
    box = family.boxes(LEVELS)
    assert box.lower.dtype == np.float32
    assert box.lower.min() >= 0
    assert box.upper.max() <= 1
    for level in range(256):
        members = [Fraction(v) for j in (level - reach, level + reach) for v in encodings(j)]
        low = min([*members, Fraction(level, 255) - family.radius.value])
        high = max([*members, Fraction(level, 255) + family.radius.value])
        lower, upper = box.lower.reshape(-1)[level], box.upper.reshape(-1)[level]
        if lower > 0:
            assert Fraction(float(np.nextafter(lower, np.float32(2)))) > low
        if upper < 1:
            assert Fraction(float(np.nextafter(upper, np.float32(-1)))) < high


@given(
    hnp.arrays(np.float32, (1, 1, 4), elements=st.floats(0, 1, width=32)),
    st.fractions(min_value=0, max_value=Fraction(49, 100)),
)
def test_float_images_get_boxes_that_cover_the_exact_ball(images, radius):
    """For float images the box covers all reals within the radius, inside [0, 1]."""
    box = LInf.of(radius).boxes(images)
    for value, lower, upper in zip(images.flat, box.lower.flat, box.upper.flat, strict=True):
        exact = Fraction(float(value))
        assert Fraction(float(lower)) <= max(exact - radius, Fraction(0))
        assert min(exact + radius, Fraction(1)) <= Fraction(float(upper))
        assert float(value) - float(lower) <= float(radius) + 2e-7
        assert 0 <= lower <= upper <= 1


@pytest.mark.parametrize(
    ("value", "radius"),
    [
        # Just above a float, on which the subtraction is exact.
        (0.5, Fraction(1, 2**10) + Fraction(1, 2**100)),
        # Rounded by more than the float32 nearest to so small a difference can hide.
        (0.25, Fraction(1, 4) - Fraction(1, 2**40) + Fraction(1, 2**57)),
    ],
)
def test_float_boxes_cover_a_radius_that_no_float_holds(value, radius):
    """The radius is rounded upwards, and what is subtracted from it downwards."""
    for centre in (Fraction(value), 1 - Fraction(value)):
        box = LInf.of(radius).boxes(np.full((1, 1, 1), float(centre), np.float32))
        assert Fraction(float(box.lower.item())) <= max(centre - radius, Fraction(0))
        assert min(centre + radius, Fraction(1)) <= Fraction(float(box.upper.item()))


@pytest.mark.parametrize(
    "images",
    [
        np.full((1, 1, 2, 2), np.nan, dtype=np.float32),
        np.full((1, 1, 2, 2), 1.5, dtype=np.float32),
        np.full((1, 1, 2, 2), -0.1, dtype=np.float32),
        np.zeros((1, 1, 2, 2), dtype=np.float64),
        np.zeros((1, 1, 2, 2), dtype=np.int64),
        np.zeros((0, 1, 2, 2), dtype=np.uint8),
        np.zeros((4,), dtype=np.uint8),
    ],
)
def test_what_is_no_image_has_no_region(images):
    """NaN, values out of range and other dtypes are refused, not clipped."""
    with pytest.raises(DataError):
        LInf.of("1/255").boxes(images)


def test_samples_and_projections_are_members():
    """A sampled point lies in its box, and projecting moves only what is outside."""
    family, generator = LInf.of("3/255"), np.random.default_rng(0)
    box = family.boxes(LEVELS)
    points = family.sample(LEVELS, generator)
    assert box.contains(points).all()
    np.testing.assert_array_equal(family.project(points, LEVELS), points)
    assert box.contains(family.project(points + np.float32(0.5), LEVELS)).all()
    assert not box.contains(points + np.float32(0.5)).any()
    assert not box.contains(np.full_like(points, np.nan)).any()


def test_a_region_is_named_by_its_family_and_its_centre():
    """Equal regions have equal digests; another radius or centre has another."""
    region = Region(LInf.of("1/255"), "a" * 64)
    assert Region.from_json(region.to_json()) == region
    others = [Region(LInf.of("2/255"), "a" * 64), Region(LInf.of("1/255"), "b" * 64)]
    assert len({region.digest, *(other.digest for other in others)}) == 3


@pytest.mark.parametrize(
    "value",
    [
        None, {}, {"kind": "l2"}, {"kind": "linf"}, {"kind": "linf", "radius": "2/510"},
        {"kind": "linf", "radius": "1/255", "encoding": "grey-levels/255", "more": 1},
        {"kind": "linf", "radius": 0.5, "encoding": "grey-levels/255"},
        {"kind": "linf", "radius": "1" * 2000, "encoding": "grey-levels/255"},
    ],
)  # fmt: skip
def test_only_the_canonical_form_is_read(value):
    """Two texts for one family would be two digests for one question."""
    with pytest.raises(CertificateError):
        family_from_json(value)


def test_regions_meet_where_they_share_a_point():
    """Touching is meeting; one float apart is not; every coordinate counts."""
    family = LInf.of(Fraction(1, 8))

    def pair(*second):
        return np.float32([[[[0.25, 0.5]]], [[second]]])

    touching, apart = np.float32(0.5 + 2**-24), np.float32(0.5 + 2**-23)
    upper = family.boxes(pair(0.25, 0.5)).upper[0, 0, 0, 0]
    assert family.boxes(pair(touching, 0.5)).lower[1, 0, 0, 0] == upper
    assert family.boxes(pair(apart, 0.5)).lower[1, 0, 0, 0] > upper
    point = family.meeting_point(pair(touching, 0.5))
    assert point is not None
    assert family.contains(np.stack([point, point]), pair(touching, 0.5)).all()
    assert family.meeting_point(pair(apart, 0.5)) is None
    assert family.meeting_point(pair(0.25, 0.9)) is None
    assert family.meeting_point(pair(0.9, 0.5)) is None


@given(st.fractions(0, 2), st.integers(-60, 0))
def test_floats_above_and_below_are_the_nearest_ones(value, exponent):
    """Of any fraction, a float32 number's own included."""
    for exact in (value * Fraction(2) ** exponent, Fraction(float(np.float32(float(value))))):
        below, above = float32_below(exact), float32_above(exact)
        assert Fraction(below.item()) <= exact <= Fraction(above.item())
        assert Fraction(np.nextafter(below, np.float32(9)).item()) > exact
        assert Fraction(np.nextafter(above, np.float32(-9)).item()) < exact
