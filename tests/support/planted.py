"""Queries with a planted counterexample: whatever calls one of them proved is wrong.

Each is made as hard as it can be: a point of the box with a small margin is looked for, and the
label's bias lowered until the margin there is just not positive, by less than one float32 step.
Nearly everywhere else in the box the property holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box, float32_below
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Conv, Relu, Reshape
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.lowering import write_artifact
from asi_verify.runtime import Session
from support import exact, float32
from support.float32 import Arithmetic
from support.networks import LARGER, TINY, random_box

__all__ = ["FAMILIES", "Planted", "as_deployed", "fails", "over_the_reals", "through_rounding"]


FAMILIES = {**{f"tiny {name}": make for name, make in TINY.items()}, **LARGER}


@dataclass(frozen=True, eq=False)
class Planted:
    """A query and the point that refutes it.

    Attributes:
        network: the model.
        box: the region, batch of length 1.
        property_: what fails at the point.
        point: a float32 input in the box.
    """

    network: Network
    box: Box
    property_: SingleLabel
    point: Any


def _with_bias(network: Network, label: int, bias: np.float32) -> Network:
    *before, last = network.nodes
    assert isinstance(last.operator, Affine)
    shifted = last.operator.bias.copy()
    shifted[label] = bias
    operator = Affine(last.operator.weight, shifted)
    return Network(network.input_shape, (*before, Node(operator, last.inputs)))


def _float64(network: Network, points: Any) -> Any:
    """Logits to some fifteen digits, to find a point with."""
    box = TrustedPass(network, Semantics.REAL).enclosure(Box(points, points.copy()))
    return 0.5 * (box.lower + box.upper)


def over_the_reals(name: str, seed: int) -> Planted:
    """A random network of a family, and a point at which exact arithmetic is wrong by a hair."""
    generator = np.random.default_rng([seed, *name.encode()])
    network = FAMILIES[name](generator)
    lower, upper = random_box(generator, network.input_shape, 1, 10.0 ** generator.uniform(-3, -1))
    box = Box(lower, upper)
    corner = generator.random((64, *network.input_shape)) < 0.5
    points = np.where(corner, lower, upper).astype(np.float32)
    logits = _float64(network, points)
    label = int(logits.mean(axis=0).argmax())
    property_ = SingleLabel(label, network.logits)
    point = points[property_.margins(logits).argmin()]
    outputs = exact.evaluate(network, point)
    margin = outputs[label] - max(o for i, o in enumerate(outputs) if i != label)
    last = network.nodes[-1].operator
    assert isinstance(last, Affine)
    bias = float32_below(Fraction(float(last.bias[label])) - margin)
    return Planted(_with_bias(network, label, bias), box, property_, point)


def as_deployed(seed: int) -> Planted:
    """A CNN on 28 x 28 images, wrong by a few float32 steps at a point, as ONNX Runtime runs it."""
    generator = np.random.default_rng([seed, 28])
    none, two = ((1, 1), (1, 1)), (2, 2)

    def weights(*shape: int) -> Any:
        spread = np.sqrt(2 / np.prod(shape[1:]))
        return (generator.normal(size=shape) * spread).astype(np.float32)

    def bias(count: int) -> Any:
        return (generator.normal(size=count) * 0.1).astype(np.float32)

    network = Network.sequential(
        (1, 28, 28),
        [
            Conv(weights(8, 1, 4, 4), bias(8), two, none, (1, 1)),
            Relu(),
            Conv(weights(16, 8, 4, 4), bias(16), two, none, (1, 1)),
            Relu(),
            Reshape((784,)),
            Affine(weights(32, 784), bias(32)),
            Relu(),
            Affine(weights(3, 32), bias(3)),
        ],
    )
    lower, upper = random_box(generator, network.input_shape, 1, 0.004)
    corner = generator.random((64, *network.input_shape)) < 0.5
    points = np.where(corner, lower, upper).astype(np.float32)
    logits = Session(write_artifact(network)).run(points)
    property_ = SingleLabel(int(logits.mean(axis=0).argmax()), 3)
    point = points[property_.margins(logits).argmin()]
    bias_of_label = network.nodes[-1].operator.bias[property_.label]
    margin = property_.margins(logits).min()
    while True:
        bias_of_label = np.nextafter(np.float32(bias_of_label - margin), np.float32(-np.inf))
        network = _with_bias(network, property_.label, bias_of_label)
        margin = property_.margins(Session(write_artifact(network)).run(point[None]))[0]
        if margin <= 0:
            break
    return Planted(network, Box(lower, upper), property_, point)


def through_rounding(seed: int) -> Planted:
    """Right over the reals everywhere; wrong at a point in some order of summing in float32.

    Two large terms that cancel, of a random size and behind random further layers, swallow what is
    left of the margin.
    """
    generator = np.random.default_rng([seed, 7])
    large = np.float32(2.0 ** generator.integers(22, 40))
    size = int(generator.integers(1, 6))
    spread = generator.uniform(0.5, 2, size).astype(np.float32)
    hidden = Affine(
        np.concatenate([np.zeros((2, size), np.float32), np.diag(spread)]),
        np.concatenate([[large, large], np.zeros(size)]).astype(np.float32),
    )
    small = (generator.random(size) * large * 2.0**-26).astype(np.float32)
    last = Affine(
        np.stack([np.concatenate([[1, -1], small]), np.zeros(size + 2)]).astype(np.float32),
        np.array([large * np.float32(2.0**-27), 0], np.float32),
    )
    network = Network.sequential((size,), [hidden, Relu(), last])
    lower, upper = random_box(generator, (size,), 1, 0.1)
    return Planted(network, Box(lower, upper), SingleLabel(0, 2), lower[0])


def fails(planted: Planted, orders: int = 40) -> bool:
    """Whether the point is in the box and wrong: exactly, or in one of some orders in float32."""
    if not planted.box.contains(planted.point[None])[0]:
        return False
    outputs = exact.evaluate(planted.network, planted.point)
    label = planted.property_.label
    if outputs[label] <= max(o for i, o in enumerate(outputs) if i != label):
        return True
    return any(
        planted.property_.margins(logits[None])[0] <= 0 for logits in _in_orders(planted, orders)
    )


def _in_orders(planted: Planted, orders: int) -> Iterator[Any]:
    for seed in range(orders):
        arithmetic = Arithmetic(np.random.default_rng(seed), fused=bool(seed % 2))
        yield float32.run(planted.network, planted.point, arithmetic)
