"""Every bound method, of every engine, against exact brute force, sampling and the trusted pass."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from support import exact
from support.methods import METHODS, lower_bounds
from support.networks import LARGER, SMOOTH, TINY, random_box, sampled, seeds, weights

from asi_verify.bounds import Method, TwinIntervals, interval_margins, proposer_for
from asi_verify.bounds.lirpa import LirpaProposer, installed_version
from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.moves import Select
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv, MaxPool, Relu, Reshape, Scale, Transpose
from asi_verify.core.semantics import Semantics
from asi_verify.errors import EngineUnavailableError, ParityError, UnsupportedOperatorError
from asi_verify.export import NetworkModule


def twin(network):
    return TwinIntervals(NetworkModule(network))


PROPOSERS = {
    "twin, interval": twin,
    **{f"auto_LiRPA, {m.value}": lambda n, m=m: LirpaProposer(n, m) for m in Method},
}

SUPPORTED_TINY = ("mlp", "deep", "residual")
"""The one-dimensional convolution is not on auto_LiRPA's allow-list."""

SUPPORTED_LARGER = ("cnn", "mlp")


@pytest.mark.parametrize("proposer", PROPOSERS)
@pytest.mark.parametrize("name", SUPPORTED_TINY)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_proposal_exceeds_the_exact_minimum(name, proposer, seed):
    """Up to float32 rounding: the exact minimum over all activation patterns is not crossed."""
    generator = np.random.default_rng(seed)
    network = TINY[name](generator)
    box = Box(*random_box(generator, network.input_shape, 2, radius=0.4))
    rows = generator.normal(size=(2, network.logits))
    bounds = PROPOSERS[proposer](network).lower(box, rows)
    for sample in range(2):
        for row in range(2):
            truth = exact.minimum(
                network, box.lower[sample], box.upper[sample], np.float32(rows[row])
            )
            assert Fraction(float(bounds[sample, row])) <= truth + Fraction(1, 10**4)


@pytest.mark.parametrize("proposer", PROPOSERS)
@pytest.mark.parametrize("name", SUPPORTED_LARGER)
@pytest.mark.parametrize("seed", range(3))
def test_no_sampled_point_lies_below_a_proposal(name, proposer, seed):
    """Corners and inner points respect it."""
    generator = np.random.default_rng(seed)
    network = LARGER[name](generator)
    lower, upper = random_box(generator, network.input_shape, 3, radius=0.1)
    rows = generator.normal(size=(2, network.logits)).astype(np.float32).astype(np.float64)
    bounds = PROPOSERS[proposer](network).lower(Box(lower, upper), rows)
    trusted = TrustedPass(network, Semantics.REAL)
    for sample in range(3):
        points = sampled(generator, lower[sample], upper[sample], 50)
        outputs = trusted.enclosure(Box(points, points.copy()))
        assert np.all(bounds[sample] <= outputs.upper @ rows.T + 1e-4)


@pytest.mark.parametrize("method", Method)
def test_as_many_samples_are_bounded_at_once_as_memory_has_room_for(method, monkeypatch):
    """Cut into parts, which are never larger, the proposals of a batch stay what they are."""
    generator = np.random.default_rng(6)
    network = LARGER["cnn"](generator)
    box = Box(*random_box(generator, network.input_shape, 5, radius=0.1))
    rows = generator.normal(size=(2, network.logits))
    together = LirpaProposer(network, method).lower(box, rows)
    values = sum(int(np.prod(shape)) for shape in network.shapes)
    monkeypatch.setattr("asi_verify.bounds.lirpa._NUMBERS_AT_ONCE", 2 * values)
    proposer, sizes = LirpaProposer(network, method), []
    whole = proposer._lower
    monkeypatch.setattr(proposer, "_lower", lambda b, r: (sizes.append(len(b)), whole(b, r))[1])
    np.testing.assert_allclose(proposer.lower(box, rows), together, rtol=1e-4, atol=1e-5)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("name", [*SUPPORTED_TINY, *SUPPORTED_LARGER])
def test_the_trusted_pass_confirms_what_auto_lirpa_proposes(name, method):
    """The same method gives the same bound to float32 rounding, or ours is a little tighter.

    Ours keeps the better of interval and backward bounds before each ReLU.
    """
    generator = np.random.default_rng(7)
    network = (TINY | LARGER)[name](generator)
    box = Box(*random_box(generator, network.input_shape, 3, radius=0.05))
    rows = np.eye(network.logits)
    proposed = LirpaProposer(network, method).lower(box, rows)
    trusted = TrustedPass(network, Semantics.REAL)
    ours = lower_bounds(trusted, box, rows, METHODS[method.value])
    assert np.all(ours >= proposed - 2e-4)
    np.testing.assert_allclose(ours, proposed, atol=2e-4, rtol=0.05)


@pytest.mark.parametrize("name", LARGER)
def test_the_twin_computes_the_trusted_intervals(name):
    """What is trained on is what is checked."""
    generator = np.random.default_rng(9)
    network = LARGER[name](generator)
    box = Box(*random_box(generator, network.input_shape, 3, radius=0.05))
    rows = generator.normal(size=(2, network.logits)).astype(np.float32).astype(np.float64)
    trusted = TrustedPass(network, Semantics.REAL)
    ours = trusted.lower(trusted.bounds(box, Intermediate.INTERVAL), rows, to_input=False)
    np.testing.assert_allclose(twin(network).lower(box, rows), ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("radius", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_twin_bounds_smooth_operators(name, radius):
    """No sampled point lies below, and the trusted intervals are not much looser or tighter."""
    generator = np.random.default_rng(9)
    network = SMOOTH[name](generator)
    lower, upper = random_box(generator, network.input_shape, 3, radius)
    rows = generator.normal(size=(2, network.logits)).astype(np.float32).astype(np.float64)
    found = twin(network).lower(Box(lower, upper), rows)
    session = NetworkModule(network)
    for sample in range(3):
        points = sampled(generator, lower[sample], upper[sample], 60)
        with torch.no_grad():
            logits = session(torch.from_numpy(points)).numpy()
        assert np.all(found[sample] <= logits.astype(np.float64) @ rows.T + 1e-3)
    trusted = TrustedPass(network, Semantics.REAL)
    box = Box(lower, upper)
    ours = trusted.lower(trusted.bounds(box, Intermediate.INTERVAL), rows, to_input=False)
    # The twin's bound of a variance is another one.
    assert np.all(np.abs(found - ours) <= 1e-3 + (1.0 if "norm" in name or "cnn" in name else 0.0))


@pytest.mark.parametrize("name", SMOOTH)
def test_the_twin_of_smooth_operators_can_be_trained(name):
    """Its bounds have finite derivatives in every weight, at a point too."""
    generator = np.random.default_rng(2)
    network = SMOOTH[name](generator)
    module = NetworkModule(network)
    for radius in (0.0, 0.1):
        lower, upper = map(torch.from_numpy, random_box(generator, network.input_shape, 2, radius))
        rows = torch.eye(network.logits)[None]
        interval_margins(module, lower, upper, rows).sum().backward()
    for parameter in module.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_the_library_bounds_sigmoid_and_tanh(name, method):
    """The two of the smooth operators that it is asked about; no sampled point lies below."""
    generator = np.random.default_rng(5)
    network = SMOOTH[name](generator)
    lower, upper = random_box(generator, network.input_shape, 3, 0.1)
    rows = generator.normal(size=(2, network.logits)).astype(np.float32).astype(np.float64)
    found = LirpaProposer(network, method).lower(Box(lower, upper), rows)
    for sample in range(3):
        points = sampled(generator, lower[sample], upper[sample], 200)
        with torch.no_grad():
            logits = NetworkModule(network)(torch.from_numpy(points)).numpy()
        assert np.all(found[sample] <= logits.astype(np.float64) @ rows.T + 1e-4)
    for other in ("gelu", "erf", "normalised"):
        with pytest.raises(UnsupportedOperatorError, match="allow-list"):
            LirpaProposer(SMOOTH[other](generator), method)


def test_the_twin_bounds_a_network_that_ends_otherwise():
    """Without a last affine layer the logits' box is used: looser, and still right."""
    generator = np.random.default_rng(1)
    network = TINY["mlp"](generator)
    ends = Network(network.input_shape, (*network.nodes, type(network.nodes[0])(Relu(), (3,))))
    lower, upper = random_box(generator, (2,), 1, radius=0.3)
    bound = twin(ends).lower(Box(lower, upper), np.array([[1.0, -1.0]]))[0, 0]
    assert float(bound) <= float(exact.minimum(ends, lower[0], upper[0], [1, -1])) + 1e-5


def unequal_pads():
    ones = (1, 1)
    return Network.sequential(
        (1, 4, 4),
        [
            Conv(
                np.ones((1, 1, 2, 2), np.float32),
                np.zeros(1, np.float32),
                ones,
                ((1, 0), (0, 0)),
                ones,
            )
        ],
    )


@pytest.mark.parametrize(
    "network",
    [
        TINY["conv"](np.random.default_rng(0)),
        LARGER["volume"](np.random.default_rng(0)),
        LARGER["grouped"](np.random.default_rng(0)),
        LARGER["densely connected"](np.random.default_rng(0)),
        TINY["pool"](np.random.default_rng(0)),
        LARGER["upsampled"](np.random.default_rng(0)),
        LARGER["piecewise"](np.random.default_rng(0)),
        LARGER["gated"](np.random.default_rng(0)),
        Network.sequential((4,), [Select(0, (1, 0))]),
        Network.sequential((2, 2), [Affine(np.eye(2, dtype=np.float32), np.ones(2, np.float32))]),
        unequal_pads(),
        Network.sequential((2, 3, 1), [Transpose((1, 0, 2))]),
        Network.sequential(
            (1, 2, 2),
            [Scale(np.arange(1, 5, dtype=np.float32).reshape(1, 2, 2), np.zeros((), np.float32))],
        ),
    ],
)
def test_what_is_not_on_the_allow_list_never_reaches_the_library(network):
    """An operator that it may get wrong is refused by name; then nothing is proposed."""
    with pytest.raises(UnsupportedOperatorError, match="auto_LiRPA"):
        LirpaProposer(network, Method.CROWN)
    assert proposer_for(network, Method.CROWN) is None


def halved(generator, **changes):
    """A convolution and max pooling; by default with windows side by side."""
    one, none = (1, 1), ((0, 0), (0, 0))
    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": none, "dilations": one} | changes
    operators = [
        Conv(weights(generator, 3, 1, 3, 3), weights(generator, 3) * 0.1, one, none, one),
        MaxPool(**pool),
        Relu(),
    ]
    size = int(np.prod(Network.sequential((1, 6, 6), operators).output_shape))
    last = [Reshape((size,)), Affine(weights(generator, 2, size), weights(generator, 2))]
    return Network.sequential((1, 6, 6), [*operators, *last])


@pytest.mark.parametrize("proposer", PROPOSERS)
def test_no_sampled_point_lies_below_a_proposal_with_max_pooling(proposer):
    """On windows that lie side by side, for which the library was found to be right."""
    for seed in range(8):
        generator = np.random.default_rng(seed)
        network = halved(generator)
        lower, upper = random_box(generator, network.input_shape, 2, radius=0.2)
        rows = generator.normal(size=(2, 2)).astype(np.float32).astype(np.float64)
        bounds = PROPOSERS[proposer](network).lower(Box(lower, upper), rows)
        trusted = TrustedPass(network, Semantics.REAL)
        for sample in range(2):
            points = sampled(generator, lower[sample], upper[sample], 200)
            outputs = trusted.enclosure(Box(points, points.copy()))
            values = 0.5 * (outputs.lower + outputs.upper) @ rows.T
            assert np.all(bounds[sample] <= values + 1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": (3, 2)},
        {"strides": (1, 2)},
        {"pads": ((1, 0), (0, 0))},
        {"dilations": (1, 2)},
        {"kernel": (3, 2), "strides": (3, 2)},
    ],
)
def test_max_pooling_in_other_forms_never_reaches_the_library(changes):
    """Overlapping, padded or dilated windows, and such that leave a part of the image out."""
    network = halved(np.random.default_rng(0), **changes)
    with pytest.raises(UnsupportedOperatorError, match="auto_LiRPA: MaxPool"):
        LirpaProposer(network, Method.CROWN)
    assert proposer_for(network, Method.CROWN) is None


def test_the_twin_is_differentiable_through_maxima_and_joined_values():
    """Certified training reaches every weight behind them, and with finite gradients."""
    for name in ("pooled", "densely connected"):
        generator = np.random.default_rng(2)
        module = NetworkModule(LARGER[name](generator))
        lower, upper = random_box(generator, module.input_shape, 4, radius=0.05)
        rows = torch.tensor([[[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]]])
        bounds = interval_margins(module, torch.from_numpy(lower), torch.from_numpy(upper), rows)
        bounds.sum().backward()
        for parameter in module.parameters():
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().max() > 0


def test_a_scale_on_vectors_is_on_the_allow_list():
    """As a diagonal matrix."""
    scale, shift = np.float32([2.0, -1.0]), np.float32([0.5, 0.25])
    network = Network.sequential((2,), [Scale(scale, shift), Relu()])
    box = Box(np.float32([[0.1, 0.2]]), np.float32([[0.3, 0.9]]))
    bound = LirpaProposer(network, Method.INTERVAL).lower(box, np.eye(2))
    np.testing.assert_allclose(bound, [[0.7, 0.0]], atol=1e-6)


def test_a_bounded_module_that_computes_something_else_is_an_error(monkeypatch):
    """Not a warning: nothing that it proposes would be about this network."""
    network = TINY["mlp"](np.random.default_rng(0))
    other = TINY["mlp"](np.random.default_rng(1))
    from asi_verify.bounds import lirpa

    generated = lirpa._generated_module
    original = lirpa.LirpaProposer._compare
    monkeypatch.setattr(
        lirpa.LirpaProposer, "_compare", lambda self, module, n: original(self, generated(other), n)
    )
    with pytest.raises(ParityError, match="bounded module"):
        LirpaProposer(network, Method.CROWN)


def test_without_the_engine_nothing_is_proposed_and_the_error_says_how_to_get_it(monkeypatch):
    """The library works without it."""
    from asi_verify.bounds import lirpa

    monkeypatch.setattr(lirpa, "installed_version", lambda: None)
    lirpa._library.cache_clear()
    network = TINY["mlp"](np.random.default_rng(0))
    with pytest.raises(EngineUnavailableError, match="pip install --no-deps auto_LiRPA"):
        LirpaProposer(network, Method.CROWN)
    assert proposer_for(network, Method.CROWN) is None
    lirpa._library.cache_clear()


def test_the_engine_is_here():
    """These tests are about it; without it they would say nothing."""
    assert installed_version() is not None


def test_affine_weights_reach_the_library_unchanged():
    """A layer with unequal rows and a bias, so that a transposed matrix would show."""
    weight = np.float32([[1, 2, 3], [4, 5, 6]])
    network = Network.sequential((3,), [Affine(weight, np.float32([7, 8]))])
    point = np.float32([[0.5, 0.25, 0.125]])
    bound = LirpaProposer(network, Method.CROWN).lower(Box(point, point.copy()), np.eye(2))
    np.testing.assert_allclose(bound, point @ weight.T + [7, 8], rtol=1e-6)
