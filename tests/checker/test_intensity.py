"""Lower bounds over intensities: never above an exact member's value, and tight in small cells."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exact import exact

from asi_verify.checker import intensity
from asi_verify.checker.reach import lowest_over
from asi_verify.checker.rules import Functionals
from asi_verify.core.box import Box
from asi_verify.core.intensity import Intensity
from asi_verify.core.reach import IntensityReach, take

TEXTS = [
    "brightness 10/255",
    "contrast 0.1",
    "brightness 0.4 contrast 0.5",
    "bias 0.3 degree 2",
    "bias 0.5 degree 1 brightness 0.6",
]
SHAPES = [(1, 3, 4), (2, 3, 3), (1, 2, 2, 3), (1, 1, 5)]
seeds = st.integers(0, 2**32 - 1)
texts = st.sampled_from(TEXTS)
ends = st.one_of(
    st.sampled_from([0.0, 1.0, -0.25, 0.5, 1.5, -3.0, 2.0**-60, 1 - 2.0**-53]),
    st.floats(-2, 3, allow_subnormal=False),
)


def wide(box):
    return Box(box.lower.astype(np.float64), box.upper.astype(np.float64))


def drawn(seed, count=2):
    """Images of which some pixels are black or white."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *SHAPES[seed % len(SHAPES)]), dtype=np.uint8)
    images[generator.random(images.shape) < 0.3] = 0
    images[generator.random(images.shape) < 0.2] = 255
    return generator, images


def functionals(generator, count, shape, samples=None):
    """Some with zeros and with coefficients of very different sizes."""
    a = generator.normal(size=(count, *shape)) * 10.0 ** generator.integers(-3, 3, (count, *shape))
    a[generator.random(a.shape) < 0.2] = 0
    owners = None if samples is None else generator.integers(0, samples, count)
    return Functionals(a, owners)


def smallest_at(reach, sample, a, t):
    """The smallest value of a functional over what some parameters allow, in rationals."""
    base = exact(reach.base[sample])
    values = base.copy()
    for k, number in enumerate(t):
        field = np.broadcast_to(exact(reach.fields[k]), base.shape)
        values = values + number * (field * base if reach.scaled[k] else field)
    slack = Fraction(reach.slack)
    total = Fraction(0)
    for x, weight in zip(values.reshape(-1), exact(a).reshape(-1), strict=True):
        member = min(max(x, Fraction(0)), Fraction(1))
        moved = member - slack if weight > 0 else member + slack
        total += weight * min(max(moved, Fraction(0)), Fraction(1))
    return total


def inside(generator, reach, sample, a):
    """Parameters of a sample's cell: two corners, of which one lowers a functional, and others."""
    low, high = reach.lower[sample], reach.upper[sample]
    slopes = [float((a * reach.direction(k)[sample]).sum()) for k in range(len(low))]
    yield np.where(np.array(slopes) > 0, low, high)
    yield np.where(np.array(slopes) > 0, high, low)
    for _ in range(3):
        share = np.rint(generator.random(len(low)) * 8) / 8
        yield np.clip(low + share * (high - low), low, high)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(texts, seeds)
def test_no_member_lies_below_its_bound(text, seed):
    """Evaluated exactly with all the slack that there is; over the region and over its cells."""
    generator, images = drawn(seed)
    family = Intensity.in_text(text)
    some = functionals(generator, 4, images.shape[1:])
    count = len(family.parameters(images.ndim - 2))
    parts = [(family.boxes(images), family.reach(images))]
    parts += family.cells(images[0], (2,) * min(count, 2) + (1,) * (count - 2), 3)
    for box, reach in parts:
        found = lowest_over(reach, some, wide(box))
        assert found.shape == (len(box), 4)
        for sample, p in np.ndindex(found.shape):
            for t in inside(generator, reach, sample, some.coefficients[p]):
                value = smallest_at(reach, sample, some.coefficients[p], exact(t))
                assert Fraction(float(found[sample, p])) <= value


@settings(max_examples=30, deadline=None, derandomize=True)
@given(texts, seeds)
def test_bounds_are_the_minimum_where_nothing_is_cut_off(text, seed):
    """Linear in the parameters, it is at a corner of their box; less what the slack may take."""
    generator = np.random.default_rng(seed)
    family = Intensity.in_text(text)
    images = generator.uniform(0.45, 0.55, (2, 1, 2, 2)).astype(np.float32)
    some = functionals(generator, 3, (1, 2, 2))
    reach = family.reach(images)
    reach = replace(reach, lower=reach.lower / 8, upper=reach.upper / 8)
    found = lowest_over(reach, some, wide(family.boxes(images)))
    for sample, p in np.ndindex(found.shape):
        a = some.coefficients[p]
        count = len(reach.scaled)
        slopes = np.array([(a * reach.direction(k)[sample]).sum() for k in range(count)])
        t = np.where(slopes > 0, reach.lower[sample], reach.upper[sample])
        value = float(smallest_at(reach, sample, a, exact(t)))
        assert found[sample, p] == pytest.approx(value, abs=1e-12 * (1 + np.abs(a).sum()))


@pytest.mark.parametrize("text", ["brightness 0.3", "contrast 0.9", "brightness 0.2 contrast 0.4"])
def test_small_cells_are_bounded_tightly(text):
    """Ever finer ones come to the smallest value of all members, whatever is cut off."""
    generator, images = drawn(3, 1)
    family = Intensity.in_text(text)
    some = Functionals(generator.normal(size=(16, *images.shape[1:])), None)
    reach = family.reach(images)
    count = len(reach.scaled)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * count), axis=-1).reshape(-1, count)
    values = reach.base + np.tensordot(
        grid * reach.upper, np.stack([reach.direction(k)[0] for k in range(count)]), axes=1
    )
    true = np.einsum("tcij,pcij->pt", np.clip(values, 0, 1), some.coefficients).min(axis=1)
    gaps = []
    for each in (1, 4, 16):
        lowest = np.full(16, np.inf)
        for box, cell in family.cells(images[0], (each,) * count, 1 << 10):
            lowest = np.minimum(lowest, lowest_over(cell, some, wide(box)).min(axis=0))
        gaps.append(float(((true - lowest) / np.abs(some.flat).sum(axis=1)).max()))
    assert gaps[0] > gaps[1] > gaps[2] > -1e-3
    assert gaps[2] < 0.01


@settings(max_examples=300, deadline=None, derandomize=True)
@given(ends, ends, st.floats(0, 1), st.floats(0, 1))
def test_lines_lie_below_and_above_what_is_cut_off(first, second, slope, share):
    """Over the whole range between two numbers, in rationals, for the slopes chosen and others."""
    low, high = np.array([min(first, second)]), np.array([max(first, second)])
    between = float(np.clip(low[0] + share * (high[0] - low[0]), low[0], high[0]))
    points = [Fraction(x) for x in (float(low[0]), float(high[0]), between)]
    points += [Fraction(x) for x in (0, 1) if low[0] <= x <= high[0]]
    chosen = intensity._slope_below(low, high)
    mirrored = intensity._slope_below(1 - high, 1 - low)
    assert 0 <= chosen[0] <= 1
    assert 0 <= mirrored[0] <= 1
    for some in (chosen, mirrored, np.array([slope])):
        least, most = intensity._offsets(some, low, high)
        of_line = Fraction(float(some[0]))
        rest = [min(max(g, Fraction(0)), Fraction(1)) - of_line * g for g in points]
        assert Fraction(float(least[0])) <= min(rest)
        assert max(rest) <= Fraction(float(most[0]))
        # Nothing is given away: an end or a kink is where it is reached.
        assert float(min(rest)) - least[0] <= 1e-14
        assert most[0] - float(max(rest)) <= 1e-14


def test_a_line_is_as_near_as_a_line_can_be():
    """Exact where nothing is cut off or all is; along the chord where one side bends away."""
    low = np.array([0.2, -2.0, 1.5, 0.5, -1.0, -1.0])
    high = np.array([0.7, -1.0, 2.0, 2.0, 0.5, 3.0])
    slope = intensity._slope_below(low, high)
    np.testing.assert_allclose(slope, [1, 0, 0, 1 / 3, 0, 1 / 3])
    least, _ = intensity._offsets(slope, low, high)
    np.testing.assert_allclose(least, [0, 0, 1, 1 / 3, 0, 0], atol=1e-15)
    above = intensity._slope_below(1 - high, 1 - low)
    _, most = intensity._offsets(above, low, high)
    # From above, through the ends of what is not cut off; or flat.
    np.testing.assert_allclose(above, [1, 0, 0, 0, 1 / 3, 0.5], atol=1e-15)
    np.testing.assert_allclose(most, [0, 0, 1, 1, 1 / 3, 0.5], atol=1e-15)


def test_functionals_are_bounded_over_their_own_samples():
    """Together as alone, in any order, and of a part of the batch."""
    generator, images = drawn(5, 4)
    family = Intensity.in_text("brightness 0.3 contrast 0.2")
    shared = functionals(generator, 3, images.shape[1:])
    box, reach = wide(family.boxes(images)), family.reach(images)
    together = lowest_over(reach, shared, box)
    for i in range(4):
        alone = lowest_over(take(reach, np.array([i])), shared, box[[i]])
        np.testing.assert_allclose(together[[i]], alone, rtol=1e-12)
    owners = np.array([3, 0, 1])
    found = lowest_over(reach, Functionals(shared.coefficients, owners), box)
    np.testing.assert_allclose(found, together[owners, [0, 1, 2]], rtol=1e-12)


def test_functionals_that_read_little_or_nothing():
    """Of nothing 0; of one position what it gives alone."""
    _, images = drawn(0)
    family = Intensity.in_text("brightness 0.1")
    a = np.zeros((2, *images.shape[1:]))
    box, reach = wide(family.boxes(images)), family.reach(images)
    found = lowest_over(reach, Functionals(a, None), box)
    assert np.all((found <= 0) & (found > -1e-100))
    a[0, 0, 1, 1] = 3.0
    found = lowest_over(reach, Functionals(a, None), box)
    np.testing.assert_allclose(found[:, 0], 3 * box.lower[:, 0, 1, 1], atol=1e-5)
    assert np.all((found[:, 1] <= 0) & (found[:, 1] > -1e-100))


def test_the_pixels_that_are_read_are_bounded():
    """And not those that stand where fewer would."""
    image = np.array([[[[1.0, 0.2]]]], np.float32)
    family = Intensity.in_text("contrast 0.5")
    some = Functionals(np.array([[[[0.0, 1.0]]]]), None)
    found = lowest_over(family.reach(image), some, wide(family.boxes(image)))
    assert found[0, 0] == pytest.approx(0.1, abs=1e-5)


def test_what_all_pixels_share_cancels():
    """Differences of pixels hardly change with the brightness, which a box knows nothing of."""
    image = np.full((1, 1, 1, 2), 100, np.uint8)
    family = Intensity.in_text("brightness 0.2")
    some = Functionals(np.array([[[[1.0, -1.0]]]]), None)
    box = wide(family.boxes(image))
    assert lowest_over(family.reach(image), some, box)[0, 0] == pytest.approx(0, abs=1e-5)
    assert some.lowest(box)[0, 0] < -0.39


@pytest.mark.parametrize(("base", "sign"), [(2.0**-60, -1), (3 * 2.0**-53, 1)])
def test_what_cancels_at_the_middle_is_rounded_outwards(base, sign):
    """``base + 1 - 1`` is off by all of the base, below or above it; nothing else leaves room."""
    reach = IntensityReach(
        np.full((1, 1, 1), base),
        np.array([[1.0], [-1.0]]),
        (False, False),
        np.ones((1, 2)),
        np.ones((1, 2)),
        0.0,
    )
    box = Box(np.zeros((1, 1, 1)), np.ones((1, 1, 1)))
    some = Functionals(np.full((1, 1, 1), float(sign)), np.array([0]))
    assert Fraction(lowest_over(reach, some, box).item()) <= sign * Fraction(base)
