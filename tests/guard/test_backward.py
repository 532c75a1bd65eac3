"""CROWN-IBP in the guard's graph: at most what the trusted pass gives, and hardly less."""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.guards import asked, images_of, in_float64
from support.networks import LARGER, TINY, dense_cnn, mlp, seeds, small_cnn, weights
from support.zoo import shape_for, tiny_network

from asi_verify.checker import TrustedPass
from asi_verify.checker.convolution import ConvRule
from asi_verify.checker.trusted import Bounds
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import (
    Add,
    Affine,
    Concat,
    Conv,
    MaxPool,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from asi_verify.core.properties import property_for
from asi_verify.core.radius import Radius
from asi_verify.core.semantics import Semantics
from asi_verify.errors import ModelError, UsageError
from asi_verify.export import load_model
from asi_verify.guard.backward import crown_ibp
from asi_verify.guard.backward_slack import BackwardSlack
from asi_verify.guard.forward import bounded
from asi_verify.guard.graph import write_guard
from asi_verify.guard.slack import widened_radius
from asi_verify.guard.writer import Writer
from asi_verify.lowering import INPUT_NAME, write_artifact
from asi_verify.runtime.session import load

CROWN_IBP = LinearEvidence(Intermediate.INTERVAL)
RADII = ("0", "0.25/255", "1/255", "4/255", "20/255")


def moving(generator):
    """Everything that moves numbers, layers along the last axis, and scales of each number."""
    return Network(
        (2, 3, 4),
        (
            Node(Scale(weights(generator, 2, 3, 4), weights(generator, 3, 1)), (0,)),
            Node(Affine(weights(generator, 5, 4), weights(generator, 5)), (1,)),
            Node(Relu(), (2,)),
            Node(Transpose((2, 0, 1)), (3,)),
            Node(Reshape((5, 6)), (4,)),
            Node(Affine(weights(generator, 4, 6), np.zeros(4, np.float32)), (5,)),
            Node(Relu(), (6,)),
            Node(Concat(1, 3), (5, 7, 5)),
            Node(Reshape((80,)), (8,)),
            Node(Affine(weights(generator, 3, 80), weights(generator, 3)), (9,)),
        ),
    )


def pooling(generator):
    """Windows that overlap, with gaps and padding, of numbers of both signs, some of them equal."""
    return Network.sequential(
        (2, 6, 7),
        [
            Conv(
                np.rint(2 * weights(generator, 3, 2, 2, 2)),
                np.rint(weights(generator, 3)) - np.float32(1),
                (1, 1),
                ((0, 1), (1, 0)),
                (1, 1),
            ),
            MaxPool((3, 2), (2, 1), ((1, 2), (1, 0)), (1, 2)),
            MaxPool((2, 2), (2, 2), ((0, 0),) * 2, (1, 1)),
            Conv(
                weights(generator, 4, 3, 1, 2), weights(generator, 4), (1, 2), ((0, 0),) * 2, (1, 1)
            ),
            Relu(),
            Reshape((8,)),
            Affine(weights(generator, 3, 8), weights(generator, 3)),
        ],
    )


def read_often(generator):
    """A value that many read, so that its coefficients are added up."""
    sums = tuple(
        node
        for n in range(6)
        for node in (
            Node(Affine(weights(generator, 4, 4), weights(generator, 4)), (0,)),
            Node(Relu(), (2 * n + 1,)),
        )
    )
    joined = Node(Concat(0, 7), (0, *range(2, 13, 2)))
    return Network(
        (4,), (*sums, joined, Node(Affine(weights(generator, 3, 28), weights(generator, 3)), (13,)))
    )


def nearly_equal(generator):
    """Logits that differ by little, and are each rounded as what they are."""
    row = weights(generator, 1, 6)
    rows = row + np.float32(2.0**-10) * weights(generator, 3, 6)
    return Network.sequential((6,), [Affine(rows, weights(generator, 3) * np.float32(2.0**-10))])


def long_sum(generator):
    """A sum that a runtime may take into one of many small terms."""
    few = np.float32(2.0**-14)
    return Network(
        (1,),
        (
            Node(Affine(weights(generator, 4, 1), np.zeros(4, np.float32)), (0,)),
            Node(Affine(weights(generator, 300, 4) * few, np.zeros(300, np.float32)), (1,)),
            Node(Relu(), (2,)),
            Node(Affine(weights(generator, 1, 300) * few, np.zeros(1, np.float32)), (3,)),
            Node(Add(), (0, 4)),
            Node(Affine(weights(generator, 2, 1), weights(generator, 2)), (5,)),
        ),
    )


NETWORKS = {
    name: made
    for name, made in {**TINY, **LARGER}.items()
    if name not in ("moved", "upsampled", "piecewise", "gated")
} | {
    "moving": moving,
    "pooling": pooling,
    "read often": read_often,
    "nearly equal": nearly_equal,
    "long sum": long_sum,
    "one logit": lambda g: mlp(g, 3, 5, 1),
    "one layer": lambda g: mlp(g, 4, 3),
    "wide": lambda g: mlp(g, 300, 3, 2),
    "five classes": lambda g: small_cnn(g, 8, 1, 5),
}


def region(radius, images):
    """The boxes that the graph itself propagates."""
    reach = widened_radius(Radius.of(radius).value)
    return Box(np.maximum(images - reach, np.float32(0)), np.minimum(images + reach, np.float32(1)))


def the_pass(network, radius):
    """A file of the backward pass alone: ``lower`` for a ``label``, and the ends of all boxes."""
    writer = Writer()
    forward = bounded(network, writer, Radius.of(radius))
    last = network.nodes[-1].inputs[0]
    logits = writer.operator(
        network.nodes[-1].operator, [forward.values[last].point], network.shapes[last]
    )
    if network.logits == 1:
        label = writer.node("Cast", [writer.node("Greater", [logits, writer.number(0)])], to=7)
    else:
        label = writer.node("ArgMax", [logits], axis=1, keepdims=1)
    lower = crown_ibp(network, writer, forward, label)
    outputs = {
        "lower": (lower, np.float32, (max(2, network.logits) - 1,)),
        "label": (label, np.int64, (1,)),
    }
    for value, names in enumerate(forward.values):
        for end in ("lower", "upper"):
            outputs[f"{end} {value}"] = (getattr(names, end), np.float32, network.shapes[value])
    return writer.model("pass", network.input_shape, outputs, {})


def run(file, images):
    """What it gives in ONNX Runtime, by name."""
    session = load(file, 1, usual=True)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {INPUT_NAME: images}), strict=True))


def trusted_rows(network, found, semantics=Semantics.FLOAT32):
    """The trusted pass's CROWN-IBP from the very boxes that the graph found, ``(N, R)``."""
    boxes = [
        Box(*(found[f"{end} {value}"].astype(np.float64) for end in ("lower", "upper")))
        for value in range(len(network.nodes))
    ]
    count = len(found["lower"])
    logits = np.zeros((count, network.logits))
    truths = np.ones(count, np.bool_)
    bounds = Bounds((*boxes, Box(logits, logits.copy())), truths, ~truths)
    unit = np.eye(network.logits)
    rows = [a - b for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j]
    rows = np.array(rows) if network.logits > 1 else np.array([[-1.0], [1.0]])
    lower = TrustedPass(network, semantics).lower(bounds, rows, to_input=True)
    each = lower.reshape(count, max(2, network.logits), -1)
    return np.take_along_axis(each, found["label"][:, :, None], axis=1)[:, 0]


def trusted_margins(network, box, labels):
    """The better of the trusted pass's bounds by intervals and by CROWN-IBP, for each label."""
    trusted, bounds = TrustedPass(network, Semantics.FLOAT32), np.empty(len(labels))
    for label in set(labels.tolist()):
        rows = np.flatnonzero(labels == label)
        wanted = property_for(np.array(label), network.logits)
        bounds[rows] = np.maximum(
            trusted.margins(box[rows], wanted, IntervalEvidence()),
            trusted.margins(box[rows], wanted, CROWN_IBP),
        )
    return bounds


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=20, deadline=None)
@given(seed=seeds, radius=st.sampled_from(RADII), brightness=st.sampled_from([0.01, 1.0]))
def test_each_bound_is_at_most_that_of_the_trusted_pass_from_the_same_boxes(
    name, seed, radius, brightness
):
    """By the same rule in float64, under float32 semantics; so it is a bound."""
    generator = np.random.default_rng(seed)
    network = NETWORKS[name](generator)
    images = images_of(generator, network) * np.float32(brightness)
    found = run(the_pass(network, radius), images)
    assert np.all(found["lower"] <= trusted_rows(network, found))


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_taken_off_is_the_rounding_of_two_runs(name):
    """Besides the deployed model's own, as the trusted pass takes it off: that of the graph."""
    for seed in range(8):
        generator = np.random.default_rng(seed)
        network = NETWORKS[name](generator)
        found = run(the_pass(network, "2/255"), images_of(generator, network))
        exact, deployed = (
            trusted_rows(network, found, each) for each in (Semantics.REAL, Semantics.FLOAT32)
        )
        taken = exact - found["lower"]
        assert np.all(taken > 0)
        assert np.all(taken <= 16 * (exact - deployed) + 2.0**-18)


# The reference evaluator has no transposed convolutions in groups, as pools and others need them.
@pytest.mark.parametrize(
    "name", ["mlp", "residual", "conv", "cnn", "volume", "moving", "read often"]
)
def test_the_pass_in_float64_agrees_within_the_slack(name):
    """In another runtime and precision it gives what ONNX Runtime gives, up to its slack."""
    generator = np.random.default_rng(11)
    network = NETWORKS[name](generator)
    images, file = images_of(generator, network, 12), the_pass(network, "1/255")
    found = run(file, images)
    names = [output.name for output in load(file, 1).get_outputs()]
    wide = dict(
        zip(names, in_float64(file).run(None, {"image": images.astype(np.float64)}), strict=True)
    )
    slack = trusted_rows(network, wide, Semantics.REAL) - wide["lower"]
    assert np.all(slack > 0)
    assert np.all(np.abs(found["lower"] - wide["lower"]) < slack)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_answer_is_proved_by_the_trusted_pass(name):
    """From the image alone, with its own boxes, by intervals or by CROWN-IBP."""
    answered = 0
    for seed, radius in itertools.product(range(8), RADII):
        generator = np.random.default_rng(seed)
        network = NETWORKS[name](generator)
        images = images_of(generator, network, 12)
        found = asked(network, radius, images, "crown-ibp")
        proved = trusted_margins(network, region(radius, images), found["label"]) > 0
        assert np.all(proved[found["answered"]])
        answered += int(found["answered"].sum())
    assert answered > 60


@pytest.mark.parametrize("name", NETWORKS)
def test_it_answers_whatever_intervals_answer(name):
    """Margin by margin; and where there is enough to relax, more."""
    more = 0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        network = NETWORKS[name](generator)
        images = images_of(generator, network, 12)
        for radius in RADII:
            by = {b: asked(network, radius, images, b) for b in ("intervals", "crown-ibp")}
            assert np.all(by["crown-ibp"]["margin"] >= by["intervals"]["margin"])
            assert np.all(by["crown-ibp"]["answered"] >= by["intervals"]["answered"])
            assert np.array_equal(by["crown-ibp"]["label"], by["intervals"]["label"])
            more += int(by["crown-ibp"]["answered"].sum() - by["intervals"]["answered"].sum())
    assert more > 0 or name not in ("mlp", "residual", "cnn", "pooled", "densely connected")


@pytest.mark.parametrize("name", ["small-cnn", "cnn7", "cnn3d", "resnet18"])
def test_reference_networks_are_bounded_backward(name):
    """As they are exported: batch norm folded, averages as convolutions, residual sums."""
    shape = shape_for(name)
    network = load_model(tiny_network(name, shape), shape).network
    images = images_of(np.random.default_rng(0), network, 4)
    found = run(the_pass(network, "0.25/255"), images)
    trusted = trusted_rows(network, found)
    assert np.all(found["lower"] <= trusted)
    assert np.all(trusted - found["lower"] < 0.01)


@pytest.mark.parametrize("small", [24, 25, 26])
@pytest.mark.parametrize("count", [12, 100, 1000])
def test_terms_that_the_pass_itself_loses_are_covered(count, small):
    """Next to 1 a sum may lose all of many small terms: of pixels, of biases or of coefficients."""
    many = np.full((1, count), 2.0**-small, np.float32)
    many[0, 0] = 1
    zero, one = np.zeros(1, np.float32), np.ones((1, 1), np.float32)
    for sign in (np.float32(1), np.float32(-1)):
        both = np.concatenate([np.zeros_like(many), sign * many])
        few = np.float32([1 + 2.0**-12 * sign, 0]) * sign
        for operators in (
            [Affine(both, few)],
            [Affine(sign * many, few[:1]), Relu(), Affine(np.float32([[1], [0]]), few * 0)],
            # Many biases, whose coefficients are 1.
            [Affine(many.T * 0, sign * many[0]), Affine(many * 0 + 1, zero), Affine(one, zero)],
            # Many coefficients, of one pixel.
            [Affine(many.T, many[0] * 0), Relu(), Affine(both * 0 + np.sign(both), few)],
        ):
            network = Network.sequential((operators[0].weight.shape[1],), operators)
            images = np.ones((1, *network.input_shape), np.float32)
            for radius in ("0", "1/255"):
                found = run(the_pass(network, radius), images)
                assert np.all(found["lower"] <= trusted_rows(network, found))


@pytest.mark.parametrize("numbers", [1, 10, 1000, 2**20 - 128])
def test_the_constants_pay_for_every_rounding(numbers):
    """If each is by half a unit, and all in one direction: no runtime here sums so badly."""
    network, unit = small_cnn(np.random.default_rng(0)), 2.0**-24
    slack = BackwardSlack.of(network, [1.0] * len(network.nodes))
    # One addend for each operator, one of the last layer, one of the image, and the difference.
    assert slack.addends >= len(network.nodes) + 2
    roundings = numbers + slack.addends
    assert math.expm1(roundings * math.log1p(unit)) <= slack.of_sum(numbers)
    # What a number is weighed with is a sum itself, scaled, of two parts; so is the result.
    roundings = numbers + 50 + slack.addends + 16
    assert math.exp(roundings * math.log1p(-unit)) * slack.enlarge(numbers, 50) >= 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions_are_transposed_exactly(data):
    """Any strides, dilations, padding and groups, in one to three dimensions, also what is left."""
    draw, rank = data.draw, data.draw(st.integers(1, 3))
    small = st.integers(1, 3)
    kernel, strides, dilations = (tuple(draw(small) for _ in range(rank)) for _ in range(3))
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(rank))
    groups = draw(st.integers(1, 2))
    sizes = tuple(
        draw(st.integers((k - 1) * d + 1, 9)) for k, d in zip(kernel, dilations, strict=True)
    )
    generator = np.random.default_rng(draw(seeds))
    weight = generator.integers(-8, 9, (2 * groups, 2, *kernel)).astype(np.float32)
    conv = Conv(weight, np.zeros(2 * groups, np.float32), strides, pads, dilations, groups)
    shape = (2 * groups, *sizes)
    output = conv.output_shape(shape)
    writer = Writer()
    pushed = writer.transposed(conv, INPUT_NAME, shape)
    file = writer.model("transposed", output, {"pushed": (pushed, np.float32, shape)}, {})
    a = generator.integers(-8, 9, (3, *output)).astype(np.float32)
    wanted = ConvRule(conv, shape, Semantics.REAL).apply_transposed(a.astype(np.float64))
    assert np.array_equal(run(file, a)["pushed"], wanted)


def test_a_pixel_that_is_none_is_refused():
    """Whatever the backward pass makes of it."""
    network = dense_cnn(np.random.default_rng(2))
    images = np.full((4, *network.input_shape), 0.5, np.float32)
    images.reshape(4, -1)[:3, 5] = [np.nan, np.inf, -0.1]
    found = asked(network, "0.25/255", images, "crown-ibp")
    assert not found["answered"][:3].any()
    assert np.all(found["margin"][:3] == -np.inf)
    assert np.isfinite(found["margin"][3])


def test_what_could_overflow_or_is_too_long_is_refused():
    """Where intervals still can be had, the error says so of sums that are too long."""
    ones = np.ones((2, 2), np.float32)
    zero = np.zeros(2, np.float32)
    large = write_artifact(Network.sequential((2,), [Affine(ones * np.float32(2.0**97), zero)]))
    count = 2**20 - 8
    long = Affine(np.ones((1, count), np.float32), np.zeros(1, np.float32))
    longest = write_artifact(Network.sequential((count,), [long]))
    side = 2**6
    pools = [
        MaxPool((side, side), (1, 1), ((0, 0),) * 2, (1, 1)),
        Reshape((5,)),
        Affine(np.ones((2, 5), np.float32), zero),
    ]
    wide = write_artifact(Network.sequential((5, side, side), pools))
    for artifact, message in (
        (large, "stay below"),
        (longest, "make the guard by intervals"),
        (wide, "5 x 4096 x 4096 constants"),
    ):
        write_guard(artifact, Radius.of("1/255"))
        with pytest.raises(ModelError, match=message):
            write_guard(artifact, Radius.of("1/255"), bounds="crown-ibp")


def test_the_file_says_by_which_bounds_it_was_made():
    """The same bytes for the same bounds, others for others; unknown ones are refused."""
    artifact, radius = write_artifact(small_cnn(np.random.default_rng(0))), Radius.of("1/255")
    file = write_guard(artifact, radius, bounds="crown-ibp")
    assert file == write_guard(artifact, radius, bounds="crown-ibp")
    assert write_guard(artifact, radius) == write_guard(artifact, radius, bounds="intervals")
    for made, bounds in ((file, "crown-ibp"), (write_guard(artifact, radius), "intervals")):
        told = load(made, 1, usual=True).get_modelmeta().custom_metadata_map
        assert told["bounds"] == bounds
    with pytest.raises(UsageError, match="bounds: 'crown'"):
        write_guard(artifact, radius, bounds="crown")


def test_a_batch_gives_what_its_images_give():
    """One by one, for several classes, up to the order of sums."""
    generator = np.random.default_rng(4)
    network = small_cnn(generator, 8, 1, 5)
    images = images_of(generator, network, 30)
    together = asked(network, "1/255", images, "crown-ibp")["margin"]
    apart = [asked(network, "1/255", image[None], "crown-ibp")["margin"][0] for image in images[:6]]
    assert np.allclose(together[:6], apart, rtol=0, atol=1e-5)
    assert math.isfinite(together.sum())


MANY, TINY_TERM = 100_000, np.float32(0.9 * 2.0**-25)


def test_coefficients_that_are_lost_in_another_readers_are_paid():
    """A sum of many, begun with the coefficient that another reader has, may lose all of them."""
    layers = (
        Node(Affine(np.full((MANY, 1), TINY_TERM), np.zeros(MANY, np.float32)), (0,)),
        Node(Affine(np.ones((1, MANY), np.float32), np.zeros(1, np.float32)), (1,)),
        Node(Affine(np.ones((1, 1), np.float32), np.zeros(1, np.float32)), (2,)),
        Node(Add(), (0, 3)),
        Node(Affine(np.float32([[-0.9], [0]]), np.float32([1, 0])), (4,)),
    )
    network = Network((1,), layers)
    found = run(the_pass(network, "1/255"), np.full((1, 1), 0.9, np.float32))
    largest = np.float64(0.9) + 1 / 255
    gained = 0.9 * MANY * np.float64(TINY_TERM) * largest
    assert found["lower"][0, 0] + gained <= trusted_rows(network, found)[0, 0]


@pytest.mark.parametrize("name", NETWORKS)
def test_no_dot_product_is_summed_into_others(name):
    """They are added up at last, all at once: nothing but a sum of its own may begin with them."""
    network = NETWORKS[name](np.random.default_rng(0))
    graph = onnx.load_model_from_string(the_pass(network, "1/255")).graph
    makers = {output: node for node in graph.node for output in node.output}

    columns = {constant.name for constant in graph.initializer if constant.dims[-1:] == [1]}
    columns |= {name for name, node in makers.items() if node.op_type == "Reshape"}

    def is_dot_product(value):
        node = makers.get(value)
        if node is not None and node.op_type == "Mul":
            return any(map(is_dot_product, node.input))
        return node is not None and node.op_type == "MatMul" and node.input[1] in columns

    sums = [node for node in graph.node if node.op_type in {"Add", "Sub", "Sum"}]
    assert sums
    assert not [node.name for node in sums if any(map(is_dot_product, node.input))]
    assert sum(node.op_type == "ReduceSum" for node in graph.node) == 2
