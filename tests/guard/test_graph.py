"""The guard's graph: what it certifies the trusted pass certifies, in whatever order it is run."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import float32
from support.float32 import Arithmetic
from support.guards import asked, images_of, in_float64
from support.networks import LARGER, TINY, mlp, sampled, seeds, small_cnn, weights
from support.zoo import shape_for, tiny_network

from asi_verify.checker import TrustedPass
from asi_verify.checker.arithmetic import gamma32
from asi_verify.core.box import Box, widened
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Conv, Relu, Reshape
from asi_verify.core.piecewise import LeakyRelu
from asi_verify.core.properties import property_for
from asi_verify.core.radius import Radius
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ModelError, UnsupportedOperatorError
from asi_verify.export import load_model
from asi_verify.guard.graph import BOUNDS, OUTPUTS, write_guard
from asi_verify.guard.reasons import Reason
from asi_verify.guard.slack import LayerSlack, differences, sum_slack, widened_radius
from asi_verify.lowering import write_artifact
from asi_verify.runtime.session import load


def doubled(generator, times=64):
    """A value added to itself again and again, each sum with its rounding."""
    last = Affine(weights(generator, 2, 2) * np.float32(2.0**-times), np.zeros(2, np.float32))
    sums = tuple(Node(Add(), (value, value)) for value in range(times))
    return Network((2,), (*sums, Node(last, (times,))))


NETWORKS = {
    name: made
    for name, made in {**TINY, **LARGER}.items()
    if name not in ("moved", "upsampled", "piecewise", "gated")
} | {
    "one logit": lambda g: mlp(g, 3, 5, 1),
    "one layer": lambda g: mlp(g, 4, 3),
    "wide": lambda g: mlp(g, 300, 3, 2),
    "doubled": doubled,
}
RADII = ("0", "0.25/255", "1/255", "4/255")
WAYS = list(itertools.product((False, True), (False, True)))


def trusted_margins(network, box, labels, semantics=Semantics.FLOAT32):
    """The trusted pass's bounds for the labels that the guard gave, by intervals."""
    trusted, bounds = TrustedPass(network, semantics), np.empty(len(labels))
    for label in set(labels.tolist()):
        rows = np.flatnonzero(labels == label)
        wanted = property_for(np.array(label), network.logits)
        bounds[rows] = trusted.margins(box[rows], wanted, IntervalEvidence())
    return bounds


def region(radius, images):
    """The boxes that the graph itself propagates, a little wider than the family's."""
    reach = widened_radius(Radius.of(radius).value)
    return Box(np.maximum(images - reach, np.float32(0)), np.minimum(images + reach, np.float32(1)))


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=15, deadline=None)
@given(seed=seeds, radius=st.sampled_from(RADII), brightness=st.sampled_from([0.01, 1.0]))
def test_the_guards_margin_is_at_most_that_of_the_trusted_pass(name, seed, radius, brightness):
    """So whatever it answers is certified for the same region, under float32 semantics."""
    generator = np.random.default_rng(seed)
    network = NETWORKS[name](generator)
    images = images_of(generator, network) * np.float32(brightness)
    found = asked(network, radius, images)
    bounds = trusted_margins(network, region(radius, images), found["label"])
    assert np.all(found["margin"] <= bounds)
    assert np.array_equal(found["answered"], found["margin"] > 0)
    assert np.array_equal(found["reason"], np.where(found["answered"], 0, Reason.NOT_CERTIFIED))


@pytest.mark.parametrize("name", ["small-cnn", "cnn7", "cnn3d", "resnet18"])
def test_reference_networks_are_guarded(name):
    """As they are exported: batch norm folded, averages as convolutions, residual sums."""
    shape = shape_for(name)
    artifact = load_model(tiny_network(name, shape), shape)
    images = images_of(np.random.default_rng(0), artifact.network, 4)
    found = asked(artifact.network, "0.25/255", images)
    bounds = trusted_margins(artifact.network, region("0.25/255", images), found["label"])
    assert np.all(found["margin"] <= bounds)
    assert np.array_equal(found["label"], artifact.session.run(images).argmax(axis=1))


@pytest.mark.parametrize("name", ["cnn", "grouped", "pooled"])
def test_eight_bit_images_and_their_neighbours_are_in_the_region(name):
    """Whichever of the usual ways encodes a grey level, on either side."""
    generator = np.random.default_rng(3)
    network, family = NETWORKS[name](generator), LInf.of("1/255")
    levels = generator.integers(0, 256, (40, *network.input_shape), dtype=np.uint8)
    for images in (encode(levels), levels.astype(np.float32) * np.float32(1 / 255)):
        found = asked(network, "1/255", images)
        assert np.all(
            found["margin"] <= trusted_margins(network, family.boxes(levels), found["label"])
        )


def test_the_region_in_the_graph_holds_that_of_the_family():
    """For all 256 grey levels, every encoding and several radii."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 256)
    encodings = (encode(levels), levels.astype(np.float32) * np.float32(1 / 255))
    for radius, image in itertools.product(("0", "0.5/255", "1/255", "2.7/255"), encodings):
        reach, family = widened_radius(Radius.of(radius).value), LInf.of(radius)
        lower, upper = np.maximum(image - reach, 0), np.minimum(image + reach, np.float32(1))
        for box in (family.boxes(levels), family.boxes(np.minimum(image, np.float32(1)))):
            assert np.all(lower <= box.lower)
            assert np.all(upper >= box.upper)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("name", sorted(TINY.keys() - {"moved"}))
def test_no_summation_order_undercuts_the_margin(name, bounds):
    """Of the model, inside the region and at its corners, fused or not, flushed or not."""
    for seed in range(6):
        generator = np.random.default_rng(seed)
        network = TINY[name](generator)
        images = images_of(generator, network, 2)
        found = asked(network, "4/255", images, bounds)
        box = widened(Box(images.copy(), images.copy()), Fraction(4, 255))
        for row, label in enumerate(found["label"]):
            wanted = property_for(np.array(label), network.logits)
            for x in sampled(generator, box.lower[row], box.upper[row], 6):
                for fused, flush in WAYS:
                    logits = float32.run(network, x, Arithmetic(generator, fused, flush))
                    assert wanted.margins(logits[None])[0] >= found["margin"][row]


@pytest.mark.parametrize("small", [24, 25, 26])
@pytest.mark.parametrize("count", [12, 100, 1000])
def test_terms_that_the_graph_itself_loses_are_covered(count, small):
    """Next to 1 a sum may lose all of many small terms: a layer, or a difference of logits."""
    many = np.full((1, count), 2.0**-small, np.float32)
    many[0, 0] = 1
    for sign in (1, -1):
        last = np.concatenate([np.zeros_like(many), sign * many])
        bias = np.float32([1 + 2.0**-12 * sign, 0]) * np.float32(sign)
        layers = [Affine(last, bias)]
        deep = [Affine(sign * many, bias[:1]), Relu(), Affine(np.float32([[1], [0]]), bias * 0)]
        for operators in (layers, deep):
            network = Network.sequential((count,), operators)
            images = np.ones((1, count), np.float32)
            found = asked(network, "0", images)
            bounds = trusted_margins(network, region("0", images), found["label"])
            assert np.all(found["margin"] <= bounds)


@pytest.mark.parametrize("name", ["cnn", "mlp", "residual", "pooled"])
def test_the_graph_in_float64_agrees_within_the_slack(name):
    """In another runtime and precision it gives what ONNX Runtime gives, up to its slack."""
    generator = np.random.default_rng(1)
    network = NETWORKS[name](generator)
    images = images_of(generator, network, 30)
    file = write_guard(write_artifact(network), Radius.of("1/255"))
    found = asked(network, "1/255", images)
    exact = dict(
        zip(OUTPUTS, in_float64(file).run(None, {"image": images.astype(np.float64)}), strict=True)
    )
    box = region("1/255", images)
    slack = trusted_margins(network, box, found["label"], Semantics.REAL) - exact["margin"]
    assert np.all(slack > 0)
    assert np.all(np.abs(found["margin"] - exact["margin"]) < slack)
    clear = np.abs(exact["margin"]) > slack
    assert clear.any()
    assert np.array_equal(found["answered"][clear], exact["answered"][clear])


def test_the_label_is_that_of_the_model():
    """Bit for bit what the artifact by itself answers, ties included."""
    generator = np.random.default_rng(5)
    network = small_cnn(generator)
    images = images_of(generator, network, 64)
    (logits,) = load(write_artifact(network), threads=1).run(None, {"image": images})
    assert np.array_equal(asked(network, "1/255", images)["label"], logits.argmax(axis=1))
    even = Network.sequential((2,), [Affine(np.ones((3, 2), np.float32), np.zeros(3, np.float32))])
    tie = asked(even, "0", np.full((1, 2), 0.5, np.float32))
    assert (tie["label"][0], tie["answered"][0]) == (0, False)


@pytest.mark.parametrize("pixel", [np.nan, np.inf, -np.inf, -1e-7, 1.0000001, 255.0])
def test_a_pixel_that_is_none_is_refused(pixel):
    """Whatever the model makes of it: a ReLU may take a NaN for 0."""
    generator = np.random.default_rng(2)
    network = Network.sequential(
        (1, 2, 2),
        [
            Conv(
                weights(generator, 3, 1, 1, 1), weights(generator, 3), (1, 1), ((0, 0),) * 2, (1, 1)
            ),
            Relu(),
            Reshape((12,)),
            Affine(np.zeros((2, 12), np.float32), np.float32([1, 0])),
        ],
    )
    images = np.full((2, 1, 2, 2), 0.5, np.float32)
    images[0, 0, 1, 1] = pixel
    found = asked(network, "1/255", images)
    assert found["answered"].tolist() == [False, True]
    assert found["reason"][0] & Reason.DOMAIN
    assert found["margin"][0] == -np.inf


def test_what_cannot_be_guarded_is_refused_by_name():
    """Operators without a rule here, other files, numbers that could overflow."""
    one = np.ones((2, 2), np.float32)
    zero = np.zeros(2, np.float32)
    leaky = Network.sequential(
        (2,), [Affine(one, zero), LeakyRelu(np.array(0.1, np.float32)), Affine(one, zero)]
    )
    with pytest.raises(UnsupportedOperatorError, match="LeakyRelu"):
        write_guard(write_artifact(leaky), Radius.of("1/255"))
    ends = Network.sequential((2,), [Affine(one, zero), Relu()])
    with pytest.raises(UnsupportedOperatorError, match="ends in Relu"):
        write_guard(write_artifact(ends), Radius.of("1/255"))
    huge = Network.sequential(
        (2,), [Affine(one * np.float32(1e30), zero), Relu()] * 2 + [Affine(one, zero)]
    )
    with pytest.raises(ModelError, match="stay below"):
        write_guard(write_artifact(huge), Radius.of("1/255"))
    deep = doubled(np.random.default_rng(0), 120)
    last = Network.sequential((2,), [Affine(one * np.float32(3e38), zero)])
    for large in (deep, last):
        with pytest.raises(ModelError, match="stay below"):
            write_guard(write_artifact(large), Radius.of("1/255"))
    count = 3 * 2**19
    long = Affine(np.ones((1, count), np.float32), np.zeros(1, np.float32))
    with pytest.raises(ModelError, match="sums 1572865 numbers"):
        write_guard(write_artifact(Network.sequential((count,), [long])), Radius.of("1/255"))
    plain = onnx.load_model_from_string(write_artifact(mlp(np.random.default_rng(0), 2, 2)))
    plain.doc_string = "somebody else's"
    with pytest.raises(ModelError, match="in the form that this library writes"):
        write_guard(plain.SerializeToString(), Radius.of("1/255"))


def test_the_same_guard_is_the_same_file():
    """Bytes follow from the artifact and the radius; the file says which these are."""
    artifact = write_artifact(small_cnn(np.random.default_rng(0)))
    file = write_guard(artifact, Radius.of("1/255"))
    assert file == write_guard(artifact, Radius.of(1 / 255))
    onnx.checker.check_model(onnx.load_model_from_string(file), full_check=True)
    told = {p.key: p.value for p in onnx.load_model_from_string(file).metadata_props}
    assert (told["radius"], len(told["artifact"])) == ("1/255", 64)


def test_a_sum_may_begin_with_another_value():
    """A runtime may add up a spread beginning with the middle: that is rounded as often again."""
    generator = np.random.default_rng(0)
    for size in (1, 7, 300, 5000):
        layer = Affine(weights(generator, 2, size), weights(generator, 2))
        terms = size + 1
        sums = gamma32(terms + 1) + gamma32(2 * (terms + 9))
        assert LayerSlack.of(layer, 1.0).on_centre >= sums
        _, spread = differences(layer, 1.0)
        last = gamma32(terms + 1) + gamma32(terms + 9 + 2 * terms + 18)
        both = np.abs(layer.weight.astype(np.float64)).sum(axis=0)
        assert np.all(spread.weight[:, size:] >= last * both)


def test_a_sum_of_ends_may_be_taken_into_the_sum_before_it():
    """Where a spread begins with the middle and the other end, all of the spread may be lost."""
    count, other = 100_000, np.float32(0.505)
    term = np.float32(2.0**-25 * (1 + 2.0**-10))
    layer = Affine(np.ones((1, count), np.float32), np.zeros(1, np.float32))
    slack = LayerSlack.of(layer, float(term))

    def summed(start, each):
        """One after the other, in float32."""
        return np.add.accumulate(np.append(start, np.full(count, each, np.float32)))[-1]

    centre = np.float32(0.5) * term
    weighed = term * slack.on_width + centre * slack.on_centre
    middle = np.float32(count * np.float64(centre))
    end = summed(middle + other, weighed) + slack.spread.bias[0]
    factor, tiny, _ = sum_slack(slack.terms, 1.0)
    alone = middle + np.float32(count * np.float64(weighed))
    assert end + ((alone + other) * factor + tiny) >= summed(other, term)
