"""Published attacks that hide a wrong answer in rounding, and weights of all sizes: never proved.

``tests/soundness/test_planted.py`` has random networks that are wrong by a hair; here the networks
are built to be as far from their exact meaning as binary32 allows.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from support import exact, float32
from support.float32 import Arithmetic
from support.methods import METHODS
from support.networks import seeds
from support.onnx_files import model, node
from support.rounding_attacks import ATTACKS

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.runtime import Session

WAYS = list(itertools.product((False, True), (False, True)))
SEEDS = range(12)
F = np.float32


def margins(network, box, property_, semantics):
    """The bound by each method."""
    trusted = TrustedPass(network, semantics)
    return [trusted.margins(box, property_, method)[0] for method in METHODS.values()]


def deployed(attack, orders=24):
    """Margins at the points: in random orders, fused and not, flushed and not, and as it runs."""
    session = Session(write_artifact(attack.network))
    yield from attack.property_.margins(session.run(attack.points))
    for seed in range(orders):
        fused, flush = WAYS[seed % 4]
        for point in attack.points:
            arithmetic = Arithmetic(np.random.default_rng(seed), fused, flush)
            found = float32.run(attack.network, point, arithmetic)
            yield attack.property_.margins(found[None])[0]


@pytest.mark.parametrize("name", ATTACKS)
def test_a_published_attack_is_never_proved_in_float32(name):
    """It is real: some arithmetic answers wrongly. And no method proves it."""
    for seed in SEEDS:
        attack = ATTACKS[name](seed)
        if attack.right_over_the_reals:
            assert not min(deployed(attack)) > 0, seed
        found = margins(attack.network, attack.box, attack.property_, Semantics.FLOAT32)
        assert not max(found) > 0, (seed, found)


@pytest.mark.parametrize("name", ATTACKS)
def test_over_the_reals_it_is_as_exact_arithmetic_says(name):
    """No bound is above an exact margin; what is right exactly can be proved, the rest never is.

    Not always: beyond 2**53 the bounds' own binary64 loses a 1 as well, and says so.
    """
    proved = 0
    for seed in SEEDS:
        attack = ATTACKS[name](seed)
        outputs = [exact.evaluate(attack.network, point) for point in attack.points]
        smallest = min(o[0] - o[1] for o in outputs)
        assert (smallest > 0) is attack.right_over_the_reals
        found = margins(attack.network, attack.box, attack.property_, Semantics.REAL)
        assert all(bound <= smallest for bound in found), seed
        proved += max(found) > 0
    assert bool(proved) is attack.right_over_the_reals


def spread_out(generator, *shape):
    """Numbers from subnormal to 1e38, alternating in sign, many of them 0 or equal."""
    exponents = generator.choice([-149, -127, -126, -60, -24, -1, 0, 1, 24, 60, 120, 126], shape)
    signs = generator.choice([-1.0, 1.0, 1.0, 0.0], shape)
    with np.errstate(under="ignore"):
        return (signs * np.exp2(exponents.astype(np.float64))).astype(F)


@settings(max_examples=150, deadline=None)
@given(seed=seeds)
def test_weights_of_all_sizes_never_undercut_a_bound(seed):
    """Overflow, inf - inf and 0 * inf included: where one of these can occur nothing is proved."""
    generator = np.random.default_rng(seed)
    sizes = [int(n) for n in generator.integers(1, 5, 3)]
    large = generator.random() < 0.5

    def weights(*shape):
        ordinary = generator.normal(size=shape).astype(F)
        chosen = generator.random(shape) < (0.7 if large else 0.1)
        return np.where(chosen, spread_out(generator, *shape), ordinary).astype(F)

    network = Network.sequential(
        (sizes[0],),
        [
            Affine(weights(sizes[1], sizes[0]), weights(sizes[1])), Relu(),
            Affine(weights(sizes[2], sizes[1]), weights(sizes[2])), Relu(),
            Affine(weights(2, sizes[2]), weights(2)),
        ],
    )  # fmt: skip
    property_ = SingleLabel(0, 2)
    x = generator.random((1, sizes[0])).astype(F)
    bounds = margins(network, Box(x, x.copy()), property_, Semantics.FLOAT32)
    assert not np.isnan(bounds).any()
    with np.errstate(all="ignore"):
        found = [Session(write_artifact(network)).run(x)[0]] + [
            float32.run(network, x[0], Arithmetic(generator, *WAYS[i % 4])) for i in range(8)
        ]
    for logits in found:
        margin = property_.margins(logits[None])[0]
        assert not max(bounds) > 0 or margin > 0
        assert np.isnan(margin) or all(bound <= margin for bound in bounds)
    outputs = exact.evaluate(network, x[0])
    reals = margins(network, Box(x, x.copy()), property_, Semantics.REAL)
    assert all(bound <= outputs[0] - outputs[1] for bound in reals if np.isfinite(bound))


SCALED = 2.0**119
"""784 times it is beyond binary32's largest number."""
AVERAGES = {
    "GlobalAveragePool": [node("GlobalAveragePool", "s", "a"), node("Flatten", "a", "v")],
    "AveragePool": [
        node("AveragePool", "s", "a", kernel_shape=[28, 28]), node("Flatten", "a", "v"),
    ],
    "AveragePool of 32": [
        node("AveragePool", "s", "a", kernel_shape=[32, 32], pads=[2, 2, 2, 2],
             count_include_pad=1),
        node("Flatten", "a", "v"),
    ],
    "ReduceMean": [node("ReduceMean", "s", "v", axes=[2, 3], keepdims=0)],
}  # fmt: skip


@pytest.mark.parametrize("name", AVERAGES)
def test_an_average_whose_sum_overflows_is_not_proved(name):
    """Runtimes add first and divide then; the average itself is a number like any other."""
    data = model(
        [node("Mul", "x m", "s"), *AVERAGES[name], node("Gemm", "v w c")],
        (1, 28, 28),
        {"m": F([[[[SCALED]]]]), "w": F([[0, 2.0**-121]]), "c": F([1, 0])},
    )
    x = np.ones((1, 1, 28, 28), F)
    property_ = SingleLabel(0, 2)
    assert not property_.margins(Session(data).run(x))[0] > 0
    network, box = read_network(data), Box(x, x.copy())
    assert max(margins(network, box, property_, Semantics.FLOAT32)) == -np.inf
    assert max(margins(network, box, property_, Semantics.REAL)) > 0
    # An eighth of it is far from overflowing, and is proved.
    small = Box((x / 1024).astype(F), (x / 1024).astype(F))
    assert property_.margins(Session(data).run(small.lower))[0] > 0
    assert max(margins(network, small, property_, Semantics.FLOAT32)) > 0


def normalised(scale, shift, mean, variance, epsilon):
    """Batch norm of ``mean`` itself, whatever the image; then class 0 where the result is not 0."""
    return model(
        [
            node("Mul", "x z", "0"), node("Add", "0 mm", "1"),
            node("BatchNormalization", "1 s b m v", "2", epsilon=epsilon),
            node("Flatten", "2", "3"), node("Gemm", "3 w c"),
        ],
        (1, 2, 2),
        {
            "z": F([[[[0]]]]), "mm": F([[[[mean]]]]), "s": F([scale]), "b": F([shift]),
            "m": F([mean]), "v": F([variance]), "w": np.zeros((4, 2), F), "c": F([1, 0]),
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("statistics", "wrong"),
    [
        ((2.0**70, 0, 2.0**60, 1, 0.0), True),  # mean times factor overflows
        ((2.0**66, 0, 0, 3e38, 3e38), False),  # variance + epsilon does: the factor becomes 0
        ((2.0**-70, 0, 0, 2.0**-140, 0.0), False),  # it is subnormal, and may be flushed to 0
        ((3e38, 0, 0, 2.0**-100, 0.0), False),  # the factor overflows
        ((1, 3e38, 0, 1, 0.0), False),
        ((1, 0, 0, -1, 2.0), None),  # a negative variance is odd, and no harm
        ((1, 0, 0, -1, 1.0), False),
        ((1, 0, 0, 1, float("nan")), False),
        ((1, 0, 0, 1, float("inf")), False),
        ((1, 0, 0, float("nan"), 1.0), False),
    ],
)
def test_statistics_beyond_what_float32_can_compute_with_are_refused(statistics, wrong):
    """What a runtime makes of them at run time is in no sum that the bounds look at."""
    data = normalised(*statistics)
    if wrong:
        assert not SingleLabel(0, 2).margins(Session(data).run(np.ones((1, 1, 2, 2), F)))[0] > 0
    if wrong is None:
        assert read_network(data).nodes
        return
    with pytest.raises(UnsupportedOperatorError, match="BatchNormalization"):
        read_network(data)
