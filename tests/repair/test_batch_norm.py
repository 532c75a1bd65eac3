"""Batch norm in training: clean statistics, folded weights, the function that it begins with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import weights
from support.zoo import dark_and_bright, shape_for, tiny_network

from asi_verify.bounds import interval_margins
from asi_verify.core.images import encode
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Conv, Relu, Reshape
from asi_verify.export import NetworkModule, network_from_torch
from asi_verify.lowering import write_artifact
from asi_verify.repair import CertifiedTraining, Checkpoints, OrdinaryTraining, Task
from asi_verify.repair import checkpoints as checkpoint_module
from asi_verify.repair.batch_norm import BatchNormModule
from asi_verify.repair.fresh_weights import with_fresh_weights
from asi_verify.repair.training_state import batches
from asi_verify.store import MemoryFiles

SHAPE = shape_for("resnet18")
DATA = dark_and_bright(SHAPE)
INPUTS = torch.from_numpy(encode(DATA.split("train").images))


@pytest.fixture(scope="module")
def residual():
    """A residual network with an average at its end."""
    return network_from_torch(tiny_network("resnet18", SHAPE), SHAPE)


def outputs(network, inputs=INPUTS):
    with torch.no_grad():
        return (network if isinstance(network, NetworkModule) else NetworkModule(network))(inputs)


def normed(module):
    return [layer for layer in module.layers if hasattr(layer, "gain")]


def test_it_begins_as_the_function_of_the_network(residual):
    """Gains and offsets undo the statistics, whatever the network's scales are."""
    module = BatchNormModule.like(residual, INPUTS)
    wanted = outputs(residual)
    torch.testing.assert_close(outputs(module), wanted, atol=1e-4, rtol=1e-3)
    assert len(normed(module)) == 20
    module.settle(INPUTS)
    torch.testing.assert_close(outputs(module), wanted, atol=1e-4, rtol=1e-3)


def test_what_is_exported_is_what_was_settled(residual):
    """The folded network computes the module, and has no layer more than before."""
    module = BatchNormModule(residual)
    module.settle(INPUTS)
    network = module.to_network()
    torch.testing.assert_close(outputs(network), outputs(module), atol=1e-6, rtol=1e-5)
    kinds = [[type(node.operator) for node in n.nodes] for n in (network, residual)]
    assert kinds[0] == kinds[1]


def test_settled_outputs_have_the_statistics_of_the_set(residual):
    """Mean 0 and variance 1 of each channel behind each normalised layer, gains and offsets aside.

    One part holds the whole set here, so the statistics are exact.
    """
    module = BatchNormModule(residual)
    module.settle(INPUTS)
    values = [INPUTS]
    with torch.no_grad():
        for layer, read in module.steps():
            values.append(layer(*(values[value] for value in read)))
            if hasattr(layer, "gain"):
                found = values[-1].transpose(0, 1).flatten(1)
                torch.testing.assert_close(
                    found.mean(1), torch.zeros(len(found)), atol=1e-4, rtol=0
                )
                assert bool((found.var(1, unbiased=False) < 1.001).all())
                # Channels that hardly vary stay below 1 by the epsilon.
                assert found.var(1, unbiased=False).median() > 0.9


def test_parts_of_a_set_are_pooled_as_one():
    """The mean of means and the variance around it, for a first layer that sees the same anyway."""
    g, same = np.random.default_rng(0), ((1, 1), (1, 1))
    conv = Conv(weights(g, 4, 1, 3, 3), weights(g, 4), (1, 1), same, (1, 1))
    module = BatchNormModule(Network.sequential((1, 8, 8), [conv, Relu()]))
    inputs = torch.rand(200, 1, 8, 8) + torch.linspace(0, 3, 200).reshape(-1, 1, 1, 1)
    module.settle(inputs)
    first = normed(module)[0]
    with torch.no_grad():
        mean, variance = first.statistics(inputs)
    torch.testing.assert_close(first.mean, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(first.variance, variance, atol=1e-5, rtol=1e-4)


def test_bounds_move_with_the_statistics_of_the_batch(residual):
    """Gradients of bounds reach the layers' own weights through mean and variance.

    A shift of a layer's own bias cannot matter, so a weight that moves a channel's mean alone has
    a gradient of its own statistics: without them it would differ.
    """
    module = BatchNormModule(residual)
    module.measure(INPUTS)
    rows = torch.tensor([[[1.0, -1.0]]])
    interval_margins(module, INPUTS, INPUTS, rows).sum().backward()
    layers = normed(module)
    assert all(layer.own.grad is not None for layer in layers)
    # The normalised map does not change when its weights are scaled: the gradient along them is 0.
    for layer in layers:
        along = (layer.own.grad * layer.own).flatten(1).sum(1)
        size = layer.own.grad.flatten(1).norm(dim=1) * layer.own.flatten(1).norm(dim=1)
        assert bool((along.abs() <= 0.02 * size + 1e-4).all())


def test_only_layers_before_one_relu_or_one_sum_are_normalised():
    """Not the last one, not one with two readers, not an average."""
    one, none, g = (1, 1), ((0, 0), (0, 0)), np.random.default_rng(0)

    def conv(inputs):
        return Conv(weights(g, 2, inputs, 1, 1), weights(g, 2), one, none, one)

    average = Conv(
        np.full((2, 1, 2, 2), 0.25, np.float32), np.zeros(2, np.float32), one, none, one, 2
    )
    nodes = [
        Node(conv(1), (0,)),  # 1: read twice
        Node(Relu(), (1,)),
        Node(conv(2), (2,)),  # 3: into the sum
        Node(Add(), (1, 3)),
        Node(average, (4,)),
        Node(Relu(), (5,)),
        Node(Reshape((2,)), (6,)),
        Node(Affine(weights(g, 3, 2), weights(g, 3)), (7,)),  # 8: before a ReLU
        Node(Relu(), (8,)),
        Node(Affine(weights(g, 2, 3), weights(g, 2)), (9,)),
    ]
    module = BatchNormModule(Network((1, 2, 2), tuple(nodes)))
    assert [i + 1 for i, layer in enumerate(module.layers) if hasattr(layer, "gain")] == [3, 8]


@pytest.mark.parametrize(("count", "sizes"), [(130, [44, 44, 42]), (64, [64]), (65, [33, 32])])
def test_even_batches_leave_no_small_one(count, sizes):
    """One image alone would have no variance; and without ``even`` sizes are as asked."""
    order = np.arange(count)
    found = list(batches(order, 64, even=True))
    assert [len(rows) for rows in found] == sizes
    np.testing.assert_array_equal(np.concatenate(found), order)
    assert len(next(batches(order, 64, even=False))) == 64


class KilledError(Exception):
    """Stands for the end of a process."""


class Mortal(MemoryFiles):
    """Files whose third write is the last thing that happens."""

    writes = 0

    def write(self, name, data):
        super().write(name, data)
        self.writes += 1
        if self.writes == 3:
            raise KilledError


def certified(network, checkpoints=None):
    rows = np.arange(24)
    task = Task(DATA.split("train"), LInf.of("1/255"), rows, rows, seed=0, round=1)
    training = CertifiedTraining(
        epochs=5, ramp_steps=4, ramp_epochs=2, batch_size=12, batch_norm=True, fresh_weights=True
    )
    return training.attempt(network, task, checkpoints).network


def ordinary(network, checkpoints=None):
    training = OrdinaryTraining(epochs=5, batch_size=12, batch_norm=True)
    return training.train(network, DATA, 0, checkpoints)


@pytest.mark.parametrize("train", [certified, ordinary])
def test_a_killed_training_with_batch_norm_ends_the_same(train, residual, monkeypatch):
    """Statistics, gains and offsets are in the checkpoint; to the bit."""
    monkeypatch.setattr(checkpoint_module, "_SECONDS_BETWEEN", 0.0)
    files = Mortal()
    with pytest.raises(KilledError):
        train(residual, Checkpoints(files, "c"))
    resumed = train(residual, Checkpoints(files, "c"))
    assert write_artifact(resumed) == write_artifact(train(residual))


def test_fresh_weights_are_drawn_as_said():
    """By fan-in, half behind a sum, the last uniform; no biases, and averages stay."""
    g = np.random.default_rng(0)

    def affine(outputs):
        return Affine(weights(g, outputs, 200), weights(g, outputs))

    pixels = ((0, 0), (0, 0))
    average = Conv(
        np.full((200, 1, 1, 2), 0.5, np.float32),
        np.zeros(200, np.float32),
        (1, 1),
        pixels,
        (1, 1),
        200,
    )
    network = Network(
        (200, 1, 2),
        (
            Node(average, (0,)),
            Node(Reshape((200,)), (1,)),
            Node(affine(200), (2,)),
            Node(Relu(), (3,)),
            Node(affine(200), (4,)),
            Node(Add(), (4, 5)),
            Node(Relu(), (6,)),
            Node(affine(200), (7,)),
            Node(affine(200), (8,)),
            Node(affine(50), (9,)),
        ),
    )
    fresh = with_fresh_weights(network, np.random.default_rng(1))
    drawn = [n.operator for n in fresh.nodes if isinstance(n.operator, Affine)]
    assert not any(operator.bias.any() for operator in drawn)
    shares = [o.weight.std() * 200 / np.sqrt(2 * np.pi) for o in drawn[:-1]]
    np.testing.assert_allclose(shares, [1, 1, 0.5, 1], rtol=0.03)
    assert 0.99 * 200**-0.5 < np.abs(drawn[-1].weight).max() <= 200**-0.5 * (1 + 1e-6)
    np.testing.assert_array_equal(fresh.nodes[0].operator.weight, average.weight)
    again = with_fresh_weights(network, np.random.default_rng(1))
    assert write_artifact(again) == write_artifact(fresh)


def test_fresh_weights_keep_intervals_as_wide_as_they_are():
    """Through ten layers of 100 neurons; usual weights make them ten thousand times as wide."""
    generator = np.random.default_rng(0)
    usual = [
        Affine(
            generator.normal(0, np.sqrt(2 / 100), (100, 100)).astype(np.float32),
            np.zeros(100, np.float32),
        )
        for _ in range(10)
    ]
    layers = [operator for affine in usual for operator in (affine, Relu())]
    # The last layer has another law, and is left out of what is measured.
    network = Network.sequential((100,), [*layers, usual[0]])
    lower, rows = torch.rand(4, 100), torch.eye(100)[None]

    def width(whole):
        hidden = NetworkModule(Network(whole.input_shape, whole.nodes[:-1]))
        with torch.no_grad():
            least = interval_margins(hidden, lower, lower + 0.01, rows)
            most = -interval_margins(hidden, lower, lower + 0.01, -rows)
        return float((most - least).mean())

    fresh = with_fresh_weights(network, generator)
    assert 0.001 < width(fresh) < 0.1
    assert width(network) > 1e3 * width(fresh)
