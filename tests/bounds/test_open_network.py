"""What is left of a network over a region is that network there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import LARGER, TINY, random_box, weights

from asi_verify.bounds import BackwardTwin, OpenNetwork, open_network
from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Add, Affine, Concat, Relu
from asi_verify.core.semantics import Semantics
from asi_verify.export import NetworkModule


def crossed(generator):
    """Beside a ReLU what it reads, that once more through another, and a late one read first."""
    first = Affine(weights(generator, 6, 3), weights(generator, 6))
    second = Affine(weights(generator, 6, 6), weights(generator, 6))
    last = Affine(weights(generator, 2, 18), weights(generator, 2))
    nodes = [
        (first, (0,)),
        (second, (1,)),
        (Relu(), (2,)),
        (Relu(), (1,)),
        (Add(), (3, 4)),
        (Relu(), (1,)),
        (Concat(0, 3), (5, 6, 2)),
        (last, (7,)),
    ]
    return Network((3,), tuple(Node(operator, inputs) for operator, inputs in nodes))


def left_of(name, seed, radius):
    """A network, a region and what is left of it there."""
    generator = np.random.default_rng(seed)
    network = (TINY | LARGER | {"crossed": crossed})[name](generator)
    box = Box(*random_box(generator, network.input_shape, 1, radius))
    bounds = TrustedPass(network, Semantics.REAL).bounds(box, Intermediate.BACKWARD)
    inputs = BackwardTwin(network).relu_inputs
    boxes = {value: bounds.boxes[value] for value in (0, *inputs)}
    return generator, network, box, boxes, OpenNetwork.over(network, boxes)


def values_of(network, x):
    """All values of a network, one row for each sample."""
    values = [torch.from_numpy(x)]
    for layer, inputs in NetworkModule(network).requires_grad_(False).steps():
        values.append(layer(*(values[value] for value in inputs)))
    return [value.flatten(1).numpy() for value in values]


@pytest.mark.parametrize("name", ["mlp", "cnn", "grouped", "crossed"])
@pytest.mark.parametrize("radius", [0.05, 0.3])
def test_over_its_region_it_is_the_network(name, radius):
    """Outputs and open neurons are those of the network at every point, to float32 rounding."""
    found = 0
    for seed in range(5):
        generator, network, box, boxes, left = left_of(name, seed, radius)
        if left is None:
            continue
        found += 1
        shape = (50, *network.input_shape)
        x = (box.lower + generator.random(shape) * (box.upper - box.lower)).astype(np.float32)
        theirs, mine = values_of(network, x), values_of(left.network, x.reshape(50, -1))
        np.testing.assert_allclose(mine[-1], theirs[-1], rtol=1e-4, atol=1e-4)
        read = BackwardTwin(left.network).relu_inputs
        all_neurons = np.concatenate([theirs[value] for value in sorted(boxes.keys() - {0})], 1)
        own_neurons = np.concatenate([mine[value] for value in read], axis=1)
        np.testing.assert_allclose(own_neurons, all_neurons[:, left.numbers], rtol=1e-4, atol=1e-4)
        assert list(left.boxes) == [0, *read]
        ends = [np.concatenate([e.reshape(-1) for e in side]) for side in
                zip(*((boxes[v].lower, boxes[v].upper) for v in sorted(boxes.keys() - {0})),
                    strict=True)]  # fmt: skip
        own = [np.concatenate([e[0] for e in side]) for side in
               zip(*((left.boxes[v].lower, left.boxes[v].upper) for v in read),
                   strict=True)]  # fmt: skip
        for mine_, theirs_ in zip(own, ends, strict=True):
            np.testing.assert_array_equal(mine_, theirs_[left.numbers].astype(np.float32))
        is_open = (ends[0] < 0) & (ends[1] > 0)
        np.testing.assert_array_equal(np.sort(left.numbers), np.flatnonzero(is_open))
    assert found


def test_nothing_is_left_where_nothing_is_open_or_too_much(monkeypatch):
    """An affine network needs no optimiser; matrices that are too large would cost more."""
    assert left_of("mlp", 0, 1e-6)[-1] is None
    assert left_of("mlp", 0, 0.3)[-1] is not None
    monkeypatch.setattr(open_network, "_MOST_NUMBERS", 10)
    assert left_of("mlp", 0, 0.3)[-1] is None
