"""The trusted pass over balls, changed pixels, patches and intensities, against exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact
from support.methods import METHODS
from support.networks import LARGER, TINY, seeds, small_cnn, weights

from asi_verify.checker import TrustedPass
from asi_verify.checker.split_tree import tree_margins
from asi_verify.core.balls import L1, L2
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv, Relu, Reshape, Scale
from asi_verify.core.patch import Patch
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.reach import take
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import LEAF, NODE, THRESHOLD, SplitTree

FAMILIES = [
    L1.of("0.4"),
    L2.of("0.3"),
    KPixel(1, (0, 90, 255)),
    Patch(2),
    Intensity.of(brightness="0.4", contrast="0.2"),
    Intensity.of(bias="0.3", degree=1),
]
SMALL = [
    L1.of("0.2"),
    L2.of("0.1"),
    KPixel(1, (100, 150)),
    Patch(2),
    Intensity.of(brightness="0.2", contrast="0.1"),
    Intensity.of(bias="0.1", degree=2),
]


def means_first(generator, scale=1.3):
    """Pixels scaled, the means of windows of two by two, and two affine layers."""
    conv = Conv(
        np.full((1, 1, 2, 2), 0.25, np.float32),
        np.zeros(1, np.float32),
        (2, 2),
        ((0, 0),) * 2,
        (1, 1),
    )
    front = Network.sequential((1, 4, 6), [Scale(np.float32(scale), np.float32(-0.2)), conv])
    behind = Network.sequential(
        (1, 2, 3),
        [
            Reshape((6,)),
            Affine(weights(generator, 8, 6), weights(generator, 8)),
            Relu(),
            Affine(weights(generator, 3, 8), weights(generator, 3)),
        ],
    )
    return front.then(behind)


NETWORKS = {name: (TINY | LARGER)[name] for name in ("conv", "pool", "cnn", "grouped")}
NETWORKS["means"] = means_first


def _points(x):
    return Box(x.copy(), x.copy())


def images_for(network, generator, count):
    return generator.integers(0, 256, (count, *network.input_shape), dtype=np.uint8)


def lower_bounds(trusted, family, images, rows, intermediate, *, to_input=True):
    box, reach = family.boxes(images), family.reach(images)
    return trusted.lower(trusted.bounds(box, intermediate, reach=reach), rows, to_input=to_input)


def towards(network, trusted, family, image, row, generator):
    """Members: random ones, and those that a linear model of the network is smallest at."""
    yield family.sample(image[None], generator)[0]
    centre = encode(image[None])
    flat = np.repeat(centre, centre.size, axis=0).reshape(centre.size, -1)
    step = np.where(flat.diagonal() < 0.5, 0.05, -0.05).astype(np.float32)
    flat[np.arange(centre.size), np.arange(centre.size)] += step
    moved = flat.reshape(-1, *network.input_shape)
    values = [trusted.enclosure(_points(x)).lower @ row for x in (centre, moved)]
    slope = ((values[1] - values[0]) / step).reshape(image.shape)
    for size in (0.1, 30):
        away = -size * slope / (np.abs(slope).max() + 1e-30)
        yield family.project((centre + away).astype(np.float32), image[None])[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "semantics"),
    [(n, s) for n in ("conv", "means") for s in Semantics]
    + [(n, Semantics.REAL) for n in ("pool", "cnn", "grouped")],
)
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_member_lies_below_its_bound(name, family, semantics, seed):
    """Evaluated exactly, for every way of bounding; what float32 allows is around that."""
    generator = np.random.default_rng(seed)
    network = NETWORKS[name](generator)
    trusted = TrustedPass(network, semantics)
    images = images_for(network, generator, 2)
    rows = generator.normal(size=(2, network.logits))
    bounds = [
        lower_bounds(trusted, family, images, rows, Intermediate.INTERVAL, to_input=False),
        lower_bounds(trusted, family, images, rows, Intermediate.INTERVAL),
        lower_bounds(trusted, family, images, rows, Intermediate.BACKWARD),
    ]
    for sample, row in np.ndindex(2, 2):
        members = towards(network, trusted, family, images[sample], rows[row], generator)
        for point in members:
            value = exact.exact(rows[row]).dot(exact.evaluate(network, point))
            for bound in bounds:
                assert Fraction(float(bound[sample, row])) <= value


@pytest.mark.parametrize("family", SMALL)
def test_far_more_is_proved_than_over_the_box(family):
    """The gap between CROWN over the box and the smallest value found is mostly the box's."""
    generator = np.random.default_rng(3)
    network = small_cnn(generator)
    trusted = TrustedPass(network, Semantics.REAL)
    images = images_for(network, generator, 6)
    box, reach = family.boxes(images), family.reach(images)
    loose, tight = (
        trusted.margins(box, SingleLabel(0, 3), METHODS["crown"], what) for what in (None, reach)
    )
    assert np.all(tight > loose)
    points = np.concatenate([family.sample(images, generator) for _ in range(50)])
    outputs = trusted.enclosure(_points(points)).lower
    smallest = SingleLabel(0, 3).margins(outputs).reshape(50, 6).min(axis=0)
    assert np.median((smallest - tight) / (smallest - loose)) < 0.5


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [small_cnn, means_first])
def test_a_batch_gives_each_region_what_it_gets_alone(family, method, make):
    """More than are bounded together, so that what is known of them is taken apart."""
    generator = np.random.default_rng(5)
    network = make(generator)
    trusted = TrustedPass(network, Semantics.REAL)
    trusted.batches = lambda samples: (slice(i, min(i + 2, samples)) for i in range(0, samples, 2))
    images = images_for(network, generator, 5)
    box, reach = family.boxes(images), family.reach(images)
    together = trusted.margins(box, SingleLabel(1, 3), METHODS[method], reach)
    for i in range(5):
        alone = trusted.margins(
            box[[i]], SingleLabel(1, 3), METHODS[method], take(reach, np.array([i]))
        )
        np.testing.assert_allclose(together[[i]], alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pixels", [1, 2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_known_of_means_says_what_is_known_of_their_pixels(pixels, method, monkeypatch):
    """The same bounds, up to rounding, as over the pixels themselves."""
    generator = np.random.default_rng(9)
    network, family = means_first(generator), KPixel(pixels, (0, 255))
    images = images_for(network, generator, 4)
    found = []
    for semantics in Semantics:
        trusted = TrustedPass(network, semantics)
        asked = (family.boxes(images), SingleLabel(1, 3), METHODS[method], family.reach(images))
        found.append(trusted.margins(*asked))
        with monkeypatch.context() as patch:
            patch.setattr("asi_verify.checker.trusted.carried", lambda reach, *_: reach)
            found.append(trusted.margins(*asked))
        bounds = trusted.bounds(asked[0], Intermediate.BACKWARD, reach=asked[3])
        rows = trusted.rows(bounds, asked[1], to_input=True)
        for part in (slice(1, 3), np.array([3, 0])):
            some = trusted.rows(bounds.take(part), asked[1], to_input=True)
            np.testing.assert_allclose(some, rows[part], rtol=1e-9)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[2], found[3], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("intermediate", Intermediate)
def test_split_trees_know_the_regions_too(family, intermediate):
    """With a cut of an input: no member lies below, and the leaves are bounded over the region."""
    generator = np.random.default_rng(11)
    network = small_cnn(generator)
    trusted = TrustedPass(network, Semantics.REAL)
    trusted.batches = lambda samples: (slice(i, i + 1) for i in range(samples))
    images = images_for(network, generator, 2)
    wanted = SingleLabel(2, 3)
    neurons = max(part.stop for part in trusted.neurons.values())
    none = np.zeros((len(wanted.rows()), 0), np.float32)
    nodes = np.array([(THRESHOLD, 9, 0.5), (LEAF, 0, 0), (LEAF, 0, 0)], dtype=NODE)
    tree = SplitTree(len(wanted.rows()), neurons, nodes, (none, none), ())
    box, reach = family.boxes(images), family.reach(images)
    found = tree_margins(trusted, box, wanted, intermediate, [tree] * 2, reach)
    assert np.all(found > tree_margins(trusted, box, wanted, intermediate, [tree] * 2))
    for i in range(2):
        one = take(reach, np.array([i]))
        alone = tree_margins(trusted, box[[i]], wanted, intermediate, [tree], one)
        np.testing.assert_allclose(found[[i]], alone, rtol=1e-9, atol=1e-12)
        row = wanted.rows()[i]
        for point in towards(network, trusted, family, images[i], row, generator):
            logits = exact.evaluate(network, point)
            margin = min(exact.exact(r).dot(logits) for r in wanted.rows())
            assert Fraction(float(found[i])) <= margin


@pytest.mark.parametrize("family", [L1.of("5e-40"), L2.of("5e-40")])
@pytest.mark.parametrize("evidence", METHODS.values(), ids=str)
def test_a_subnormal_pixel_may_be_read_as_zero(family, evidence):
    """Then the input is 0, which lies outside the ball: its sign is not known."""
    network = Network.sequential((1, 1, 1), [Reshape((1,)), Relu()])
    image = np.full((1, 1, 1, 1), 1e-39, np.float32)
    box, reach = family.boxes(image), family.reach(image)
    assert box.lower.min() > 0
    trusted = TrustedPass(network, Semantics.FLOAT32)
    assert trusted.margins(box, MultiLabel((1,)), evidence, reach)[0] <= 0
