"""A normalisation in front of a network that has none: the same answers to start from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import weights

import asi_verify as asi
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Conv, Relu, Reshape, Scale, Transpose
from asi_verify.data import phantom
from asi_verify.export import NetworkModule, network_from_torch
from asi_verify.prove import Falsify, Intervals
from asi_verify.repair import OrdinaryTraining
from asi_verify.repair.standardise import standardised

G = np.random.default_rng(0)


def conv(channels, pads=0, groups=1, rank=2):
    """A convolution of width 3."""
    kernel = weights(G, 4, channels // groups, *(3,) * rank)
    ones = (1,) * rank
    return Conv(kernel, weights(G, 4), ones, ((pads, pads),) * rank, ones, groups)


CASES = {
    "flattened": ((2, 4, 4), [Reshape((32,)), Affine(weights(G, 3, 32), weights(G, 3))]),
    "convolution": ((3, 6, 6), [conv(3), Relu()]),
    "groups": ((4, 6, 6), [conv(4, groups=2), Relu()]),
    "volumes": ((1, 5, 5, 5), [conv(1, rank=3)]),
    "channels last": (
        (2, 4, 4),
        [Transpose((1, 2, 0)), Reshape((32,)), Affine(weights(G, 3, 32), weights(G, 3))],
    ),
}


def images(shape, count=50):
    """Dark images with little contrast, another level for each channel."""
    level = np.linspace(0.05, 0.2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    noise = 0.03 * G.random((count, *shape))
    return (level + noise).astype(np.float32)


def outputs(network, inputs):
    with torch.no_grad():
        return NetworkModule(network)(torch.from_numpy(inputs)).numpy()


@pytest.mark.parametrize("name", CASES)
def test_the_answers_stay(name):
    """Behind a scale to mean 0 and spread 1; up to rounding."""
    shape, operators = CASES[name]
    network, inputs = Network.sequential(shape, operators), images(shape)
    found = standardised(network, inputs)
    assert isinstance(found.nodes[0].operator, Scale)
    np.testing.assert_allclose(outputs(found, inputs), outputs(network, inputs), atol=1e-4)
    moved = outputs(Network(shape, found.nodes[:1]), inputs)
    assert abs(moved.mean()) < 1e-3
    assert abs(moved.std() - 1) < 1e-3
    assert found.is_exact_float32


def test_with_padding_the_answers_stay_away_from_the_border():
    """Zeros stand for the mean then."""
    network, inputs = Network.sequential((1, 8, 8), [conv(1, pads=1)]), images((1, 8, 8))
    found, wanted = (outputs(n, inputs) for n in (standardised(network, inputs), network))
    np.testing.assert_allclose(found[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-4)
    assert np.abs(found - wanted).max() > 1e-3


@pytest.mark.parametrize(
    "network",
    [
        Network.sequential((1, 4, 4), [Scale(np.float32(2), np.float32(0)), conv(1)]),
        Network.sequential((1, 4, 4), [Relu(), conv(1)]),
        Network.sequential((1, 4, 4), [Reshape((16,))]),
        # A convolution over rows, as if they were channels of different statistics.
        Network.sequential((2, 4, 4), [Reshape((4, 2, 4)), Transpose((1, 0, 2)), conv(2, 1)]),
        Network((1, 4, 4), (Node(Relu(), (0,)), Node(Add(), (0, 1)))),
    ],
)  # fmt: skip
def test_what_cannot_be_adapted_is_left_alone(network):
    """Nothing is guessed."""
    assert standardised(network, images(network.input_shape)) is network


def test_a_network_that_reads_raw_pixels_does_not_collapse():
    """Of these networks most ended in a constant answer without the normalisation."""
    data, _ = phantom(1, samples=(60, 20, 20), duplicates=0, across=0, dual_labels=0, near=())
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 4, stride=2), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(6 * 169, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2),
    )  # fmt: skip
    start = network_from_torch(module, data.image_shape)
    trained = OrdinaryTraining(epochs=20, batch_size=16).train(start, data, 1)
    stages = [Falsify(), Intervals()]
    result = asi.correct(NetworkModule(trained), data, "1/255", rounds=1, stages=stages)
    assert str(result.status) == "zero"
    assert result.summary["after"]["accuracy"]["train"] == 1
