"""The search without gradients: it reaches corners and bands that random points do not."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from support.networks import LARGER, random_box

from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.properties import SingleLabel
from asi_verify.lowering import write_artifact
from asi_verify.prove.corners import corner_search
from asi_verify.runtime import Session


def above(constant):
    """The only output is larger."""
    return Clauses(1, ((Inequality((1,), -Fraction(constant)),),))


def plane(weight):
    """A sum of inputs, each times a number."""
    return Network.sequential((len(weight),), [Affine(weight[None], np.zeros(1, np.float32))])


def distance(point):
    """The sum of the distances of inputs from those of a point."""
    count = len(point)
    first = np.concatenate([np.eye(count), -np.eye(count)]).astype(np.float32)
    bias = np.concatenate([-point, point]).astype(np.float32)
    last = np.ones((1, 2 * count), np.float32)
    layers = [Affine(first, bias), Relu(), Affine(last, np.zeros(1, np.float32))]
    return Network.sequential((count,), layers)


def cube(count):
    return Box(np.zeros((1, count), np.float32), np.ones((1, count), np.float32))


def searched(network, box, property_, **given):
    return list(corner_search(Session(write_artifact(network)), box, property_, **given))


def first_found(network, box, property_, **given):
    """The first claim, and how many points were asked about each time."""
    session = Session(write_artifact(network))
    asked, run = [], session.run
    session.run = lambda points: asked.append(len(points)) or run(points)
    return next(corner_search(session, box, property_, **given)), asked


def test_one_corner_of_many_inputs_is_reached():
    """Every input is moved alone, then all of them to where each did worse."""
    for seed in range(6):
        weight = np.random.default_rng(seed).choice([-1.0, 1.0], 60).astype(np.float32)
        lowest = float(np.minimum(weight, 0).sum())
        found, asked = first_found(plane(weight), cube(60), above(lowest + 0.5))
        np.testing.assert_array_equal(found, (weight < 0).astype(np.float32))
        assert asked[2:] == [120, 1]


def test_inputs_that_count_alike_are_moved_in_groups():
    """Forty runs a step are enough for a thousand of them."""
    network = plane(np.ones(1000, np.float32))
    found, asked = first_found(network, cube(1000), above(0.5), most_groups=20)
    assert not found.any()
    assert asked[2:] == [40, 1]


def test_a_band_inside_the_box_is_reached_by_ever_smaller_steps():
    """Within a twentieth of a point in twelve dimensions, on average."""
    point = np.random.default_rng(1).uniform(0.2, 0.8, 12)
    found = searched(distance(point), cube(12), above(0.6))
    assert found
    assert np.abs(found[0] - point).sum() <= 0.6 + 1e-5


def test_nothing_is_found_where_nothing_is():
    """Nor asked about inputs that do not vary."""
    assert not searched(plane(np.ones(30, np.float32)), cube(30), above(-0.5))
    point = Box(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32))
    assert not searched(plane(np.ones(3, np.float32)), point, above(2))
    assert len(searched(plane(np.ones(3, np.float32)), point, above(3))) > 0


def test_the_search_ends_when_its_time_has_passed():
    """Random points are asked about, and no step is made."""
    weight = np.ones(60, np.float32)
    late = time.monotonic() - 1
    assert not searched(plane(weight), cube(60), above(0.5), deadline=late)
    assert searched(plane(weight), cube(60), above(0.5))


@pytest.mark.parametrize("name", LARGER)
def test_claims_lie_in_the_box_and_violate_the_property(name):
    """As ONNX Runtime answers; the centre is the first."""
    generator = np.random.default_rng(0)
    network = LARGER[name](generator)
    box = Box(*random_box(generator, network.input_shape, 1, 0.5))
    session = Session(write_artifact(network))
    for label in range(network.logits):
        property_ = SingleLabel(label, network.logits)
        found = searched(network, box, property_, most_groups=8)
        for point in found:
            assert box.contains(point[None])[0]
            assert session.margins(point[None], property_)[0] <= 0
        centre = (0.5 * (box.lower.astype(np.float64) + box.upper)).astype(np.float32)
        if session.margins(centre, property_)[0] <= 0:
            np.testing.assert_allclose(found[0], centre[0], atol=1e-7)
