"""The trusted pass against exact rationals: no bound of it may cross what really happens.

These tests need numpy and onnx alone and are quick, because seeded defects run them again and again
(test_seeded_defects.py).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact
from support.methods import METHODS, lower_bounds
from support.networks import LARGER, TINY, random_box, sampled, seeds

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.evidence import Intermediate
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.semantics import Semantics


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TINY)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_bound_exceeds_the_exact_minimum(name, method, seed):
    """The bound of every row is at most its exact minimum over all activation patterns."""
    generator = np.random.default_rng(seed)
    network = TINY[name](generator)
    box = Box(*random_box(generator, network.input_shape, 2, radius=0.4))
    rows = generator.normal(size=(2, network.logits))
    bounds = lower_bounds(TrustedPass(network, Semantics.REAL), box, rows, METHODS[method])
    for sample in range(2):
        for row in range(2):
            truth = exact.minimum(network, box.lower[sample], box.upper[sample], rows[row])
            assert Fraction(float(bounds[sample, row])) <= truth


@pytest.mark.parametrize("name", [*TINY, *LARGER])
@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=seeds)
def test_every_box_covers_exact_interval_arithmetic_and_hardly_more(name, seed):
    """Each value's box contains the exact one, and exceeds it by no more than rounding does."""
    generator = np.random.default_rng(seed)
    network = (TINY | LARGER)[name](generator)
    lower, upper = random_box(generator, network.input_shape, 1, radius=0.2)
    found = TrustedPass(network, Semantics.REAL).bounds(Box(lower, upper), Intermediate.INTERVAL)
    assert found.sound.all()
    for box, (low, high) in zip(
        found.boxes, exact.interval(network, lower[0], upper[0]), strict=True
    ):
        ours_low, ours_high = exact.exact(box.lower[0]), exact.exact(box.upper[0])
        assert np.all(ours_low <= low)
        assert np.all(high <= ours_high)
        size = 1 + float(max(np.abs(low).max(), np.abs(high).max()))
        assert float((low - ours_low).max()) <= 1e-9 * size
        assert float((ours_high - high).max()) <= 1e-9 * size


@pytest.mark.parametrize("name", [*TINY, *LARGER])
@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=seeds)
def test_a_point_is_enclosed_though_its_box_has_no_width(name, seed):
    """With radius 0 nothing hides inward rounding: the exact value still lies in every bound."""
    generator = np.random.default_rng(seed)
    network = (TINY | LARGER)[name](generator)
    point = generator.random((1, *network.input_shape)).astype(np.float32)
    trusted = TrustedPass(network, Semantics.REAL)
    value = exact.evaluate(network, point[0])
    enclosure = trusted.enclosure(Box(point, point.copy()))
    assert np.all(exact.exact(enclosure.lower[0]) <= value)
    assert np.all(value <= exact.exact(enclosure.upper[0]))
    rows = np.concatenate([np.eye(network.logits), -np.eye(network.logits)])
    truth = exact.exact(rows).dot(value)
    for evidence in METHODS.values():
        bound = lower_bounds(trusted, Box(point, point.copy()), rows, evidence)[0]
        assert np.all(exact.exact(bound) <= truth)
        assert float((truth - exact.exact(bound)).max()) <= 1e-7


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LARGER)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_sampled_point_lies_below_its_bound(name, method, seed):
    """Corners and inner points of the boxes, evaluated exactly, respect every bound."""
    generator = np.random.default_rng(seed)
    network = LARGER[name](generator)
    lower, upper = random_box(generator, network.input_shape, 3, radius=0.1)
    rows = generator.normal(size=(3, network.logits))
    trusted = TrustedPass(network, Semantics.REAL)
    bounds = lower_bounds(trusted, Box(lower, upper), rows, METHODS[method])
    for sample in range(3):
        points = sampled(generator, lower[sample], upper[sample], 40)
        outputs = trusted.enclosure(Box(points, points.copy()))
        # An enclosure of width 1e-9 stands for the exact value; its own test is the one above.
        values = 0.5 * (outputs.lower + outputs.upper) @ rows.T
        assert np.all(bounds[sample] <= values + 1e-6)


def test_linear_bounds_are_tight_where_nothing_is_open():
    """In a box where every ReLU is active the network is affine, and the bound is its minimum."""
    generator = np.random.default_rng(5)
    network = TINY["mlp"](generator)
    affine = network.nodes[0].operator
    object.__setattr__(affine, "bias", np.full(3, 50, np.float32))
    lower, upper = random_box(generator, (2,), 1, radius=0.3)
    truth = exact.minimum(network, lower[0], upper[0], [1, -1])
    for method in ("crown-ibp", "crown"):
        bound = lower_bounds(
            TrustedPass(network, Semantics.REAL),
            Box(lower, upper),
            np.array([[1.0, -1.0]]),
            METHODS[method],
        )
        assert Fraction(float(bound[0, 0])) <= truth
        assert float(truth) - bound[0, 0] < 1e-9


@pytest.mark.parametrize("name", LARGER)
def test_crown_is_not_looser_than_crown_ibp_and_that_not_than_intervals(name):
    """On these networks each method gains over the one before; a loose rule would show."""
    generator = np.random.default_rng(11)
    network = LARGER[name](generator)
    box = Box(*random_box(generator, network.input_shape, 4, radius=0.05))
    trusted = TrustedPass(network, Semantics.REAL)
    property_ = SingleLabel(0, network.logits)
    interval, crown_ibp, crown = (
        trusted.margins(box, property_, METHODS[m]) for m in ("interval", "crown-ibp", "crown")
    )
    assert np.all(crown >= crown_ibp - 1e-9)
    assert np.median(crown_ibp - interval) > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_each_sample_what_it_gets_alone(method):
    """Batches are a matter of speed: bounds of a sample do not depend on its neighbours."""
    generator = np.random.default_rng(3)
    network = LARGER["cnn"](generator)
    box = Box(*random_box(generator, network.input_shape, 7, radius=0.03))
    trusted = TrustedPass(network, Semantics.REAL)
    together = trusted.margins(box, SingleLabel(1, 3), METHODS[method])
    alone = [trusted.margins(box[[i]], SingleLabel(1, 3), METHODS[method])[0] for i in range(7)]
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


def test_several_decisions_are_bounded_each_on_its_side():
    """A multi-label property bounds every logit on the side that its decision says."""
    generator = np.random.default_rng(8)
    network = TINY["mlp"](generator)
    lower, upper = random_box(generator, (2,), 1, radius=0.2)
    bound = TrustedPass(network, Semantics.REAL).margins(
        Box(lower, upper), MultiLabel((1, 0)), METHODS["crown"]
    )[0]
    truth = min(
        exact.minimum(network, lower[0], upper[0], [1, 0]),
        exact.minimum(network, lower[0], upper[0], [0, -1]),
    )
    assert Fraction(float(bound)) <= truth


@pytest.mark.parametrize("method", METHODS)
def test_values_beyond_the_range_of_the_analysis_prove_nothing(method):
    """Weights that overflow double precision give -inf, never a number and never NaN."""
    generator = np.random.default_rng(1)
    network = TINY["deep"](generator)
    for node in network.nodes:
        if hasattr(node.operator, "weight"):
            huge = (node.operator.weight.astype(np.float64) * 1e140).astype(np.float64)
            object.__setattr__(node.operator, "weight", huge)
    box = Box(*random_box(generator, (2,), 2, radius=0.1))
    margins = TrustedPass(network, Semantics.REAL).margins(box, SingleLabel(0, 2), METHODS[method])
    assert np.all(margins == -np.inf)


@pytest.mark.parametrize("flushed", [True, False])
def test_subnormal_numbers_are_covered(flushed):
    """Products far below the smallest normal number still lie inside the bounds."""
    network = TINY["mlp"](np.random.default_rng(2))
    for node in network.nodes:
        if hasattr(node.operator, "weight"):
            object.__setattr__(node.operator, "weight", node.operator.weight * np.float32(1e-44))
            object.__setattr__(node.operator, "bias", node.operator.bias * np.float32(0))
    point = np.full((1, 2), 1e-44 if flushed else 1.0, dtype=np.float32)
    value = exact.evaluate(network, point[0])
    enclosure = TrustedPass(network, Semantics.REAL).enclosure(Box(point, point.copy()))
    assert np.all(exact.exact(enclosure.lower[0]) <= value)
    assert np.all(value <= exact.exact(enclosure.upper[0]))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_bound_on_clauses_exceeds_the_exact_margin(method, seed):
    """With constants that no float64 holds, at a point and over a box."""
    generator = np.random.default_rng(seed)
    network = TINY["mlp"](generator)
    trusted = TrustedPass(network, Semantics.REAL)
    # Next to a large constant nothing of the bound's own slack is left to hide its rounding.
    size = 10 ** int(generator.integers(13))

    def inequality():
        coefficients = tuple(int(c) for c in generator.integers(-3, 4, network.logits))
        return Inequality(coefficients, Fraction(int(generator.integers(-99, 99)) * size, 70))

    clauses = tuple(tuple(inequality() for _ in range(n)) for n in generator.integers(1, 4, 2))
    property_ = Clauses(network.logits, clauses)
    for radius in (0.0, 0.3):
        lower, upper = random_box(generator, network.input_shape, 1, radius)
        bound = trusted.margins(Box(lower, upper), property_, METHODS[method])[0]
        for x in sampled(generator, lower[0], upper[0], 4):
            outputs = exact.evaluate(network, x)
            truth = min(max(row.value(outputs) for row in clause) for clause in clauses)
            assert Fraction(float(bound)) <= truth
            # At a point nothing is lost but rounding.
            assert radius or truth - Fraction(float(bound)) <= 1e-9 * size
