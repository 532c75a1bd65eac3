"""Lower bounds over balls and changed pixels: never above the exact minimum, and tight."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import float32
from support.exact import evaluate, exact
from support.float32 import Arithmetic

from asi_verify.checker import TrustedPass
from asi_verify.checker.reach import carried, lowest_over
from asi_verify.checker.rules import Functionals
from asi_verify.core.balls import L1, L2
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, LinearEvidence
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Conv, Operator, Relu, Reshape, Scale
from asi_verify.core.patch import Patch
from asi_verify.core.pieces import Pieces
from asi_verify.core.properties import SingleLabel
from asi_verify.core.reach import BallReach, MeansReach, Norm, PatchReach, PixelReach
from asi_verify.core.semantics import Semantics

KINDS = [L1, L2]
seeds = st.integers(0, 2**32 - 1)


def wide(box):
    return Box(box.lower.astype(np.float64), box.upper.astype(np.float64))


def functionals(generator, count, shape, samples=None):
    """Some with zeros and with coefficients of very different sizes."""
    a = generator.normal(size=(count, *shape)) * 10.0 ** generator.integers(-3, 3, (count, *shape))
    a[generator.random(a.shape) < 0.2] = 0
    owners = None if samples is None else generator.integers(0, samples, count)
    return Functionals(a, owners)


def lowest_change(kind, a, room, radius):
    """The smallest ``a . d`` with ``|d| <= radius`` and each ``|d_i| <= room_i``, in float64.

    L1: the largest coefficients first. L2: by bisection of the slope.
    """
    a = np.abs(a)
    if kind is L1:
        left, total = radius, 0.0
        for i in np.argsort(-a):
            used = min(room[i], left)
            left, total = left - used, total - a[i] * used
        return total
    low, high = 0.0, 1e30
    for _ in range(300):
        middle = math.sqrt(low * high) if low else high / 1e6
        length = np.linalg.norm(np.minimum(a / middle, room)) if middle else np.inf
        low, high = (middle, high) if length > radius else (low, middle)
        if high < 1e-30:
            break
    return -float(a @ np.minimum(a / high, room))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds, st.sampled_from(["1/255", "0.1", "1/2", "2"]))
def test_no_point_of_a_ball_lies_below_its_bound(kind, seed, radius):
    """Evaluated exactly: random points, and those that the functional is smallest at."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (2, 1, 2, 3), dtype=np.uint8)
    images[generator.random(images.shape) < 0.4] = 0
    family = kind.of(radius)
    some = functionals(generator, 5, (1, 2, 3), samples=2)
    found = lowest_over(family.reach(images), some, wide(family.boxes(images)))
    away = np.sign(some.coefficients) * np.abs(some.coefficients) ** (1 if kind is L2 else 9)
    for p, owner in enumerate(some.owners):
        image = images[[owner]]
        size = np.abs(away[p]).max() or 1.0
        starts = [family.sample(image, generator)[0] for _ in range(5)]
        starts += [image[0] / 255 - scale * away[p] / size for scale in (0.01, 0.3, 1, 3, 100)]
        points = np.array(starts, np.float32)
        points = family.project(points, np.repeat(image, len(points), axis=0))
        for point in points:
            assert Fraction(float(found[p])) <= exact(some.flat[p]).dot(exact(point).reshape(-1))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seeds, st.sampled_from([1 / 255, 0.1, 0.5, 2.0, 50.0]))
def test_bounds_over_balls_are_the_minimum(kind, seed, radius):
    """With the range of the pixels taken into account, up to rounding."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (3, 1, 2, 4), dtype=np.uint8)
    images[generator.random(images.shape) < 0.4] = 0
    images[generator.random(images.shape) < 0.2] = 255
    centre = (images / 255).astype(np.float32)
    family = kind.of(float(np.float32(radius)))
    some = functionals(generator, 4, (1, 2, 4))
    found = lowest_over(family.reach(centre), some, wide(family.boxes(centre)))
    assert found.shape == (3, 4)
    for sample, p in np.ndindex(found.shape):
        a, c = some.flat[p], centre[sample].reshape(-1).astype(float)
        room = np.minimum(np.where(a > 0, c, 1 - c), radius)
        wanted = a @ c + lowest_change(kind, a, room, radius)
        assert found[sample, p] == pytest.approx(wanted, abs=1e-6 * (1 + np.abs(a).sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_is_tight_at_the_vertex_or_along_the_gradient(kind):
    """L1: the whole radius on the largest coefficient; L2: against all of them; to 14 digits."""
    a = np.array([[3.0, -4.0, 0.5]])
    ends = np.full((1, 3), 0.5, np.float32)
    reach = BallReach(Box(ends, ends.copy()), 0.25, Norm.L1 if kind is L1 else Norm.L2)
    box = Box(np.zeros((1, 3)), np.ones((1, 3)))
    dual = 4 if kind is L1 else math.sqrt(25.25)
    (found,) = lowest_over(reach, Functionals(a, np.array([0])), box)
    assert found == pytest.approx(-0.25 - 0.25 * dual, abs=1e-14)


def test_the_rounding_of_a_norm_is_covered():
    """Squares that a sum loses one by one, around 0, where nothing else leaves room for them."""
    count = 1 << 16
    a = np.full((1, count), 2.0**-27.5)
    a[0, 0] = 1
    ends = np.zeros((1, count), np.float32)
    reach = BallReach(Box(ends, ends.copy()), 1.0, Norm.L2)
    box = Box(np.full((1, count), -9.0), np.full((1, count), 9.0))
    (found,) = lowest_over(reach, Functionals(a, np.array([0])), box)
    squares = 1 + (count - 1) * Fraction(float(a[0, 1])) ** 2
    assert Fraction(float(found)) ** 2 >= squares
    assert float(Fraction(float(found)) ** 2 - squares) <= 1e-10


@pytest.mark.parametrize("size", [1e-160, 1e-200, 1e-320])
def test_squares_that_underflow_are_covered(size):
    """Their sum is 0 as computed; the norm is not."""
    a = np.full((1, 4), size)
    ends = np.zeros((1, 4), np.float32)
    reach = BallReach(Box(ends, ends.copy()), 1.0, Norm.L2)
    box = Box(np.full((1, 4), -9.0), np.full((1, 4), 9.0))
    (found,) = lowest_over(reach, Functionals(a, np.array([0])), box)
    assert Fraction(float(found)) <= -2 * Fraction(size)


@pytest.mark.parametrize("norm", Norm)
def test_extreme_coefficients_leave_a_bound_or_none(norm):
    """Up to the limit of the analysis; a choice that overflows falls back on the ball."""
    ends = np.zeros((1, 3), np.float32)
    reach = BallReach(Box(ends, ends.copy()), 1e-200, norm)
    box = Box(np.full((1, 3), -1e-300), np.full((1, 3), 1e-300))
    a = np.array([[2.0**500, 2.0**500, 1e-300]])
    (found,) = lowest_over(reach, Functionals(a, np.array([0])), box)
    assert found <= 0
    assert not np.isnan(found)


def test_a_search_that_ends_before_the_best_split_leaves_a_bound():
    """Each round takes one coefficient to the end of its room here, and there are many."""
    a = 100.0 ** np.arange(12)[None]
    ends = np.zeros((1, 12), np.float32)
    reach = BallReach(Box(ends, ends.copy()), 4.5, Norm.L2)
    box = Box(np.full((1, 12), -1.0), np.ones((1, 12)))
    (found,) = lowest_over(reach, Functionals(a, np.array([0])), box)
    assert found <= lowest_change(L2, a[0], np.ones(12), 4.5)
    assert found >= -a.sum() * (1 + 1e-12)
    smaller = a / a.max()
    (found,) = lowest_over(reach, Functionals(smaller, np.array([0])), box)
    assert found > -4.5 * np.linalg.norm(smaller)


@pytest.mark.parametrize("family", [L1.of("0.2"), L2.of("0.2"), KPixel(2, (0, 255)), Patch(1)])
def test_functionals_that_read_nothing_are_0(family):
    """Alone, and beside others."""
    images = np.full((2, 1, 2, 2), 7, np.uint8)
    a = np.zeros((2, 1, 2, 2))
    for _ in range(2):
        found = lowest_over(family.reach(images), Functionals(a, None), wide(family.boxes(images)))
        assert found.shape == (2, 2)
        assert np.all((found[:, 1] <= 0) & (found[:, 1] > -1e-100))
        a[0, 0, 1, 1] = 3.0
    assert np.all(found[:, 0] < 0.1)


def test_a_radius_of_0_is_the_centre():
    """The box of the encodings, which intervals are exact on."""
    image = np.array([[[[3, 250]]]], np.uint8)
    some = Functionals(np.array([[[[1.0, -2.0]]]]), None)
    for kind in KINDS:
        family = kind.of(0)
        box = wide(family.boxes(image))
        found = lowest_over(family.reach(image), some, box)
        np.testing.assert_allclose(found, some.lowest(box), rtol=1e-14)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 5), st.sets(st.sampled_from([0, 7, 130, 255]), min_size=1))
def test_bounds_over_changed_pixels_are_the_minimum_over_all_members(seed, pixels, values):
    """By brute force, in rationals; at least the smallest and hardly smaller."""
    generator = np.random.default_rng(seed)
    shape = [(1, 2, 2), (2, 1, 2), (1, 1, 3)][seed % 3]
    family = KPixel(pixels, tuple(sorted(values)))
    images = generator.integers(0, 256, (2, *shape), dtype=np.uint8)
    some = functionals(generator, 3, shape)
    found = lowest_over(family.reach(images), some, wide(family.boxes(images)))
    for sample, p in itertools.product(range(2), range(3)):
        a = exact(some.flat[p])
        smallest = None
        for box in family.cover(images[sample], Pieces.EACH, 1 << 16):
            ends = np.where(some.coefficients[p] > 0, box.lower, box.upper).reshape(len(box), -1)
            # Far fewer are evaluated exactly than there are members: those that floats call low.
            values_at = ends.astype(np.float64) @ some.flat[p]
            for at in np.argsort(values_at)[:3]:
                value = a.dot(exact(ends[at]))
                smallest = value if smallest is None else min(smallest, value)
        assert Fraction(float(found[sample, p])) <= smallest
        assert float(smallest) - found[sample, p] <= 1e-12 * (1 + np.abs(some.flat[p]).sum())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 4))
def test_bounds_over_patches_are_the_minimum_over_all_windows(seed, side):
    """By brute force, in rationals, of floats and 8-bit images; and hardly smaller."""
    generator = np.random.default_rng(seed)
    shape = [(1, 3, 4), (2, 3, 2), (1, 5), (1, 2, 3, 2)][seed % 4]
    family = Patch(side)
    images = generator.integers(0, 256, (2, *shape), dtype=np.uint8)
    images = images if seed % 3 else (images / 255).astype(np.float32)
    some = functionals(generator, 3, shape)
    some.coefficients[:, :, generator.random(shape[1:]) < 0.3] = 0  # read by none
    found = lowest_over(family.reach(images), some, wide(family.boxes(images)))
    for sample, p in itertools.product(range(2), range(3)):
        a = exact(some.flat[p])
        values = []
        for box in family.cover(images[sample], Pieces.RANGE, 1):
            ends = np.where(some.coefficients[p] > 0, box.lower, box.upper)
            values.append(a.dot(exact(ends[0]).reshape(-1)))
        assert Fraction(float(found[sample, p])) <= min(values)
        assert float(min(values)) - found[sample, p] <= 1e-12 * (1 + np.abs(some.flat[p]).sum())


def test_the_rounding_of_a_window_is_covered():
    """Falls that are lost one by one along every axis, around 0, where nothing else is lost."""
    shape, little = (1, 7, 7, 7, 7, 7), 2.0**-53 * (1 - 2.0**-40)
    a = np.zeros((1, *shape))
    a[0, 0, 0, 0, 0, 0, 0] = 1
    for axis in range(2, 7):
        ends = [0] * 7
        ends[axis] = slice(1, None)
        a[tuple(ends)] = little
    zero, one = np.zeros((1, *shape), np.float32), np.ones((1, *shape), np.float32)
    reach = PatchReach(Box(zero, zero.copy()), Box(-one, one), shape[1:])
    box = Box(np.full((1, *shape), -9.0), np.full((1, *shape), 9.0))
    found = lowest_over(reach, Functionals(a, np.array([0])), box)
    assert Fraction(float(found[0])) <= -1 - 30 * Fraction(little)


def test_the_rounding_of_a_pixels_channels_is_covered():
    """Falls that are lost one by one in the sum over channels, around 0."""
    shape, little = (1024, 2), 2.0**-54
    a = np.full((1, *shape), little)
    a[0, 0] = 1
    zero, one = np.zeros((1, *shape), np.float32), np.ones((1, *shape), np.float32)
    reach = PixelReach(Box(zero, zero.copy()), Box(-one, one), 1)
    box = Box(np.full((1, *shape), -9.0), np.full((1, *shape), 9.0))
    found = lowest_over(reach, Functionals(a, np.array([0])), box)
    assert Fraction(float(found[0])) <= -1 - 1023 * Fraction(little)


@pytest.mark.parametrize("family", [L1.of("0.2"), L2.of("0.2"), KPixel(2, (0, 255)), Patch(2)])
def test_functionals_are_bounded_over_their_own_samples(family):
    """Together as alone; shared functionals as if each sample were asked by itself."""
    generator = np.random.default_rng(7)
    images = generator.integers(0, 256, (4, 1, 3, 3), dtype=np.uint8)
    shared = functionals(generator, 3, (1, 3, 3))
    box = wide(family.boxes(images))
    together = lowest_over(family.reach(images), shared, box)
    for i in range(4):
        alone = lowest_over(family.reach(images[[i]]), shared, box[[i]])
        np.testing.assert_allclose(together[[i]], alone, rtol=1e-12)
    owners = np.array([3, 0, 1])
    owned = Functionals(shared.coefficients, owners)
    found = lowest_over(family.reach(images), owned, box)
    np.testing.assert_allclose(found, together[owners, [0, 1, 2]], rtol=1e-12)


def means(window, channels=1, scale=1.7):
    """Pixels scaled and shifted, then the means of windows side by side."""
    rank, weight = len(window), np.full((channels, 1, *window), 1 / math.prod(window))
    pads, ones = ((0, 0),) * rank, (1,) * rank
    mean = Conv(
        weight.astype(np.float32), np.zeros(channels, np.float32), window, pads, ones, channels
    )
    return [Scale(np.float32(scale), np.float32(-0.4)), mean]


def after_means(shape, operators):
    """The means of a network, in a row."""
    made = Network.sequential(shape, operators)
    return Network.sequential(shape, [*operators, Reshape((math.prod(made.output_shape),))])


@pytest.mark.parametrize("semantics", Semantics)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 5), st.sampled_from([(0, 255), (7,), (0, 130, 255)]))
def test_bounds_over_means_are_the_minimum_over_all_members(semantics, seed, pixels, values):
    """By brute force, in rationals: never above, hardly below, and below what binary32 gives."""
    generator = np.random.default_rng(seed)
    shape, window = [((1, 2, 2), (1, 2)), ((1, 2, 3), (2, 1)), ((1, 4), (2,))][seed % 3]
    network = after_means(shape, means(window))
    trusted, family = TrustedPass(network, semantics), KPixel(pixels, values)
    images = generator.integers(0, 256, (2, *shape), dtype=np.uint8)
    images[generator.random(images.shape) < 0.5] = 0
    rows = functionals(generator, 2, network.output_shape).coefficients
    bounds = trusted.bounds(family.boxes(images), Intermediate.INTERVAL, reach=family.reach(images))
    assert isinstance(bounds.reach, MeansReach)
    found = trusted.lower(bounds, rows, to_input=True)
    for sample, p in np.ndindex(found.shape):
        a, smallest = rows[p], None
        slope = np.kron(a.reshape(network.shapes[2][1:]), np.ones(window)).reshape(shape)
        for box in family.cover(images[sample], Pieces.EACH, 1 << 16):
            ends = np.where(slope > 0, box.lower, box.upper).astype(np.float32)
            order = np.argsort((ends * slope).reshape(len(ends), -1).sum(axis=1))
            for point in ends[order[:2]]:
                value = exact(a).dot(evaluate(network, point))
                smallest = value if smallest is None else min(smallest, value)
                if semantics is Semantics.FLOAT32:
                    for fused, flush in itertools.product((False, True), repeat=2):
                        run = float32.run(network, point, Arithmetic(generator, fused, flush))
                        assert Fraction(float(found[sample, p])) <= exact(a).dot(exact(run))
        assert Fraction(float(found[sample, p])) <= smallest
        near = 1e-12 if semantics is Semantics.REAL else 1e-5
        assert float(smallest) - found[sample, p] <= near * (1 + np.abs(a).sum())


def test_pixels_that_may_be_read_as_zero_are_so_before_they_are_scaled():
    """Then their mean is 0 too, which no bound of the others' room would cover."""
    network = after_means((1, 2), [Scale(np.float32(1000), np.float32(0)), means((2,))[1]])
    tiny = np.full((1, 1, 2), 1e-39, np.float32)
    reach = PixelReach(Box(tiny, tiny.copy()), Box(tiny, 2 * tiny), 1)
    box = Box(np.zeros((1, 1, 2)), np.full((1, 1, 2), 3e-39))
    trusted = TrustedPass(network, Semantics.FLOAT32)
    found = carried(reach, network, trusted.rules, box)
    assert isinstance(found, MeansReach)
    assert found.centre.lower[0, 0, 0] <= 0


def test_the_rounding_of_means_is_that_of_the_whole_region():
    """Around 0, where the centre's own is nothing: a changed pixel's product may round upwards."""
    mean = Conv(np.full((1, 1, 2), 0.3, np.float32), np.zeros(1, np.float32), (2,), ((0, 0),), (1,))
    network, image = after_means((1, 2), [mean]), np.zeros((1, 1, 2), np.uint8)
    trusted, upwards = TrustedPass(network, Semantics.FLOAT32), 0
    for level in range(1, 256):
        family = KPixel(1, (level,))
        box, reach = family.boxes(image), family.reach(image)
        bounds = trusted.bounds(box, Intermediate.INTERVAL, reach=reach)
        found = -trusted.lower(bounds, np.float64([[-1]]), to_input=True)[0, 0]
        product = np.float32(0.3) * box.upper[0, 0, 0]
        upwards += float(product) > float(np.float32(0.3)) * float(box.upper[0, 0, 0])
        assert float(product) <= found
    assert upwards > 50


def test_the_rounding_of_sums_behind_a_scale_is_that_of_the_whole_region():
    """Equal terms one after the other, none in the centre: upwards by far more than once."""
    count = 1024
    total = Conv(
        np.ones((1, 1, count), np.float32), np.zeros(1, np.float32), (count,), ((0, 0),), (1,)
    )
    scale = Scale(np.float32(1.7), np.float32(0))
    network, image = after_means((1, count), [scale, total]), np.zeros((1, 1, count), np.uint8)
    trusted, upwards = TrustedPass(network, Semantics.FLOAT32), 0
    for level in range(1, 256, 4):
        family = KPixel(count, (level,))
        box, reach = family.boxes(image), family.reach(image)
        bounds = trusted.bounds(box, Intermediate.INTERVAL, reach=reach)
        found = -trusted.lower(bounds, np.float64([[-1]]), to_input=True)[0, 0]
        term = np.float32(1.7) * box.upper[0, 0, 0]
        added = float(np.cumsum(np.full(count, term), dtype=np.float32)[-1])
        upwards += added > count * float(term) * (1 + 2.0**-19)
        assert added <= found
    assert upwards > 5


def overlapping(weight, strides, pads=0, dilation=1):
    """A convolution of one channel in two dimensions."""
    weight = np.array(weight, np.float32)[None, None]
    both = (strides, strides)
    return Conv(weight, np.zeros(1, np.float32), both, ((pads, pads),) * 2, (dilation,) * 2)


HALVES: list[Operator] = [overlapping(np.full((2, 2), 0.25), 2)]


@pytest.mark.parametrize(
    ("shape", "operators"),
    [
        ((1, 4, 4), [overlapping(np.full((2, 2), 0.25), 1)]),
        ((1, 4, 4), [overlapping(np.full((2, 2), 0.25), 2, pads=1)]),
        ((1, 4, 4), [overlapping(np.full((2, 2), 0.25), 2, dilation=2)]),
        ((1, 5, 5), HALVES),
        ((1, 4, 4), [overlapping([[0.25, 0.25], [0.25, 0.3]], 2)]),
        ((1, 4, 4), [overlapping(np.full((2, 2), -0.25), 2)]),
        ((1, 4, 4), [Scale(np.float32(-1), np.float32(1)), *HALVES]),
        ((1, 4, 4), [Relu(), *HALVES]),
        ((2, 4, 4), means((2, 2), channels=2)),
        ((1, 4, 4), [Scale(np.float32(2), np.float32(1))]),
    ],
)
def test_what_are_no_means_of_pixels_side_by_side_is_bounded_over_pixels(shape, operators):
    """Windows that overlap, unequal or negative weights, other layers before, channels, none."""
    network = after_means(shape, operators)
    images, family = np.zeros((1, *shape), np.uint8), KPixel(1)
    trusted = TrustedPass(network, Semantics.REAL)
    reach = family.reach(images)
    bounds = trusted.bounds(family.boxes(images), Intermediate.INTERVAL, reach=reach)
    assert bounds.reach is reach


def test_means_of_what_is_made_of_two_values_are_bounded_over_pixels():
    """Then more is read than the layer before."""
    scale, (_, mean) = Scale(np.float32(2), np.float32(0)), means((2,))
    nodes = (Node(scale, (0,)), Node(Add(), (1, 0)), Node(mean, (2,)), Node(Reshape((2,)), (3,)))
    network, images, family = Network((1, 4), nodes), np.zeros((1, 1, 4), np.uint8), KPixel(1)
    reach = family.reach(images)
    trusted = TrustedPass(network, Semantics.REAL)
    bounds = trusted.bounds(family.boxes(images), Intermediate.INTERVAL, reach=reach)
    assert bounds.reach is reach


def test_a_network_without_means_is_bounded_over_pixels():
    """To its end nothing adds anything up."""
    network, family = Network.sequential((1, 4), [Scale(np.float32(2), np.float32(0))]), KPixel(1)
    images = np.zeros((1, 1, 4), np.uint8)
    reach, trusted = family.reach(images), TrustedPass(network, Semantics.REAL)
    box = trusted.bounds(family.boxes(images), Intermediate.INTERVAL).boxes[0]
    assert carried(reach, network, trusted.rules, box) is reach


@pytest.mark.parametrize("semantics", Semantics)
def test_a_network_whose_numbers_leave_the_range_is_not_proved_and_stops_nobody(semantics):
    """Whoever sends it gets a bound that proves nothing, not an error inside the checker."""
    scale = Scale(np.float32(3e38), np.float32(0))
    network = after_means((1, 4), [*[scale] * 12, means((2,))[1]])
    family, images = KPixel(1), np.full((2, 1, 4), 100, np.uint8)
    wanted, evidence = SingleLabel(0, 2), LinearEvidence(Intermediate.BACKWARD)
    found = TrustedPass(network, semantics).margins(
        family.boxes(images), wanted, evidence, family.reach(images)
    )
    assert found.tolist() == [-np.inf] * 2


def test_pixels_that_are_read_beside_their_means_are_bounded_as_pixels():
    """What is known of the means would say nothing of what goes past them."""
    operators = means((1, 1))
    past = Network(
        (1, 2, 2), (Node(operators[0], (0,)), Node(operators[1], (1,)), Node(Add(), (0, 2)))
    )
    network = past.then(Network.sequential((1, 2, 2), [Reshape((4,))]))
    images, family = np.zeros((1, 1, 2, 2), np.uint8), KPixel(1)
    trusted = TrustedPass(network, Semantics.REAL)
    reach = family.reach(images)
    bounds = trusted.bounds(family.boxes(images), Intermediate.INTERVAL, reach=reach)
    assert bounds.reach is reach
    found = trusted.lower(bounds, -np.ones((1, 4)), to_input=True)
    assert found[0, 0] == pytest.approx(4 * 0.4 - 2.7, rel=1e-6)
