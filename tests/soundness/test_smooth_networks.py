"""The trusted pass on networks with smooth operators: no bound of it may cross what happens."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact
from support.methods import METHODS, lower_bounds
from support.networks import SMOOTH, random_box, sampled, seeds

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.lowering import read_network, write_artifact
from asi_verify.runtime import Session


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_point_lies_below_its_bound(name, seed):
    """Corners and inner points of small and large boxes, to 60 digits, respect every bound."""
    generator = np.random.default_rng(seed)
    network = SMOOTH[name](generator)
    radius = float(generator.choice([0.0, 0.01, 0.1, 0.5]))
    lower, upper = random_box(generator, network.input_shape, 2, radius)
    rows = generator.normal(size=(2, network.logits))
    trusted = TrustedPass(network, Semantics.REAL)
    bounds = [lower_bounds(trusted, Box(lower, upper), rows, e) for e in METHODS.values()]
    enclosure = trusted.enclosure(Box(lower, upper))
    for sample in range(2):
        for x in sampled(generator, lower[sample], upper[sample], 4):
            logits = exact.evaluate(network, x)
            assert np.all(exact.exact(enclosure.lower[sample]) <= logits)
            assert np.all(logits <= exact.exact(enclosure.upper[sample]))
            for row, values in enumerate(exact.exact(rows)):
                for bound in bounds:
                    assert Fraction(float(bound[sample, row])) <= values.dot(logits)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_point_is_enclosed_tightly(name):
    """With radius 0 little is lost, by any method."""
    generator = np.random.default_rng(0)
    network = SMOOTH[name](generator)
    x = generator.random((1, *network.input_shape)).astype(np.float32)
    trusted = TrustedPass(network, Semantics.REAL)
    rows = np.concatenate([np.eye(network.logits), -np.eye(network.logits)])
    truth = exact.exact(rows).dot(exact.evaluate(network, x[0]))
    for evidence in METHODS.values():
        bound = lower_bounds(trusted, Box(x, x.copy()), rows, evidence)[0]
        assert np.all(exact.exact(bound) <= truth)
        assert float((truth - exact.exact(bound)).max()) <= 1e-4


@pytest.mark.parametrize("name", SMOOTH)
def test_onnx_runtime_lies_inside_the_enclosure(name):
    """At every one of many points, small and large; and the file is read back as it was written."""
    generator = np.random.default_rng(4)
    network = SMOOTH[name](generator)
    data = write_artifact(network)
    assert write_artifact(read_network(data)) == data
    x = generator.normal(size=(300, *network.input_shape)).astype(np.float32)
    x *= np.float32(10.0) ** generator.uniform(-2, 2, size=(300, *[1] * (x.ndim - 1))).astype(
        np.float32
    )
    trusted = TrustedPass(network, Semantics.FLOAT32)
    found = trusted.bounds(Box(x, x.copy()), Intermediate.INTERVAL)
    logits = Session(data).run(x)
    box = found.boxes[-1]
    inside = (box.lower <= logits) & (logits <= box.upper)
    assert found.sound.mean() > 0.9
    assert np.all(inside[found.sound])
    for method in METHODS.values():
        rows = generator.normal(size=(2, network.logits))
        bounds = lower_bounds(trusted, Box(x, x.copy()), rows, method)
        assert np.all(bounds <= logits.astype(np.float64) @ rows.T)
        assert np.isfinite(bounds).all(axis=1).tolist() == found.sound.tolist()


@pytest.mark.parametrize("name", SMOOTH)
def test_each_method_gains_over_the_one_before(name):
    """On small boxes; a rule that is loose would show."""
    generator = np.random.default_rng(11)
    network = SMOOTH[name](generator)
    box = Box(*random_box(generator, network.input_shape, 4, radius=0.05))
    trusted = TrustedPass(network, Semantics.REAL)
    property_ = SingleLabel(0, network.logits)
    interval, crown_ibp, crown = (
        trusted.margins(box, property_, METHODS[m]) for m in ("interval", "crown-ibp", "crown")
    )
    assert np.all(crown >= crown_ibp - 1e-6)
    assert np.median(crown_ibp - interval) > -1e-9
    assert np.median(crown - interval) > 0


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_each_sample_what_it_gets_alone(name, method):
    """Bounds of a sample do not depend on its neighbours, nor on which boxes were asked before."""
    generator = np.random.default_rng(3)
    network = SMOOTH[name](generator)
    box = Box(*random_box(generator, network.input_shape, 5, radius=0.03))
    trusted = TrustedPass(network, Semantics.REAL)
    wanted = SingleLabel(1, network.logits)
    together = trusted.margins(box, wanted, METHODS[method])
    alone = [trusted.margins(box[[i]], wanted, METHODS[method])[0] for i in range(5)]
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("semantics", Semantics)
def test_values_beyond_the_range_of_the_analysis_prove_nothing(name, method, semantics):
    """Inputs and weights that overflow give -inf, never a number and never NaN."""
    generator = np.random.default_rng(1)
    network = SMOOTH[name](generator)
    lower = np.full((1, *network.input_shape), -1e140)
    trusted = TrustedPass(network, semantics)
    with np.errstate(over="ignore", invalid="ignore"):
        margins = trusted.margins(Box(lower, -lower), SingleLabel(0, 3), METHODS[method])
        huge = trusted.margins(Box(1e15 * lower, -1e15 * lower), SingleLabel(0, 3), METHODS[method])
    assert np.all(margins < 0)
    assert np.all(huge == -np.inf)
