"""Networks built so that rounding hides a wrong answer: the published attacks on verifiers.

Each is right over the reals, or in one order of summing, and wrong in another that hardware may
choose. A verifier that computes in one order, or not at all in the network's own precision, calls
it proved. All are written anew from the descriptions in the papers:

- *absorbing*: a large step between two neurons swallows what would keep the answer right
  (Jia and Rinard 2021, Exploiting Verified Neural Networks via Floating Point Numerical Error;
  Zombori, Banhelyi, Csendes, Megyeri, Jelasity 2021, Fooling a Complete Neural Network Verifier);
- *obfuscated*: the same behind further layers that share the factors out, so that no single weight
  looks large (Zombori et al., section on obfuscation);
- *order*: neurons that detect in which order, or with which precision, a sum is taken, and switch
  the answer (Szasz, Banhelyi, Jelasity 2025, No Soundness in the Real World).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from asi_verify.core.box import Box
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Conv, Operator, Relu, Reshape
from asi_verify.core.properties import SingleLabel

__all__ = ["ATTACKS", "Attack"]

F = np.float32


@dataclass(frozen=True, eq=False)
class Attack:
    """A network with a wrong answer that shows in some arithmetic only.

    Attributes:
        network: two logits.
        box: the region, batch of length 1.
        points: float32 inputs of the region to try, shape ``(n, *input_shape)``.
        right_over_the_reals: whether class 0 is right everywhere in the region, exactly.
    """

    network: Network
    box: Box
    points: Any
    right_over_the_reals: bool

    @property
    def property_(self) -> SingleLabel:
        """Class 0."""
        return SingleLabel(0, 2)


def _attack(network: Network, lower: Any, upper: Any, right: bool) -> Attack:
    low, high = F(lower)[None], F(upper)[None]
    middle = (low + (high - low) / 2).astype(F)
    return Attack(network, Box(low, high), np.concatenate([low.copy(), middle, high.copy()]), right)


def _backdoor(first: list[Operator]) -> Network:
    """What absorption makes of 1.

    The first layers end in one number, ``h``; then ``a = relu(h)``, ``b = relu(h - 1)``, and the
    answer is ``a - b - 1/2``: 1/2 over the reals for ``h >= 1``. Where ``h`` is so large that
    ``h - 1`` rounds to ``h`` it is -1/2.
    """
    step = Affine(F([[1], [1]]), F([0, -1]))
    answer = Affine(F([[1, -1], [0, 0]]), F([-0.5, 0]))
    return Network.sequential((1,), [*first, step, Relu(), answer])


def absorbing(seed: int) -> Attack:
    """``h = omega x + omega`` in one layer; ``omega`` from 2**25 on, where ``h - 1`` is ``h``."""
    generator = np.random.default_rng([seed, 1])
    omega = F(2.0 ** generator.integers(26, 90))
    first: list[Operator] = [Affine(F([[omega]]), F([omega]))]
    return _attack(_backdoor(first), [0.0], [generator.uniform(0.01, 1)], right=True)


def obfuscated(seed: int) -> Attack:
    """The same ``omega`` as a product of many weights of ordinary size, over several layers."""
    generator = np.random.default_rng([seed, 2])
    layers: list[Operator] = [Affine(F([[1]]), F([1]))]
    reached = 1.0
    while reached < 2.0**27:
        factor = F(2.0 ** generator.integers(1, 4))
        width = int(generator.integers(1, 4))
        spread = Affine(np.full((width, 1), factor, F), np.zeros(width, F))
        layers += [spread, Relu(), Affine(np.full((1, width), F(1)), F([0]))]
        reached *= float(factor) * width
    return _attack(_backdoor(layers), [0.0], [0.5], right=True)


def switched_on(seed: int) -> Attack:
    """A backdoor in a network that is otherwise sure: absorption opens a gate on another path."""
    generator = np.random.default_rng([seed, 3])
    omega = F(2.0 ** generator.integers(25, 60))
    # gate = relu(1 - (a - b)) with a - b = relu(omega) - relu(omega - 1): 0 exactly, 1 if absorbed.
    hidden = Affine(
        np.concatenate([np.zeros((2, 4), F), np.eye(4, dtype=F)]),
        np.concatenate([[omega, omega], np.zeros(4)]).astype(F),
    )
    # The second of the pair loses its 1 here, in a sum with an input's product of 0 or more.
    step = Affine(
        np.block(
            [[np.eye(2, dtype=F), np.zeros((2, 4), F)], [np.zeros((4, 2), F), np.eye(4, dtype=F)]]
        ).astype(F),
        np.concatenate([[0, -1], np.zeros(4)]).astype(F),
    )
    gate = Affine(
        np.concatenate(
            [[[-1, 1, 0, 0, 0, 0]], np.concatenate([np.zeros((4, 2)), np.eye(4)], 1)]
        ).astype(F),
        F([1, 0, 0, 0, 0]),
    )
    weights = generator.uniform(0.1, 0.5, 4).astype(F)
    answer = Affine(
        np.stack([np.concatenate([[-100], weights]), np.zeros(5)]).astype(F), F([0.25, 0])
    )
    layers = [hidden, Relu(), step, Relu(), gate, Relu(), answer]
    return _attack(Network.sequential((4,), layers), [0] * 4, [1] * 4, right=True)


def order(seed: int) -> Attack:
    """``omega + 1 - omega``, and more terms: 0, 1 or more, as the sum is taken."""
    generator = np.random.default_rng([seed, 4])
    omega = F(2.0 ** generator.integers(24, 60))
    ones = int(generator.integers(1, 6))
    terms = np.concatenate([[omega], np.ones(ones), [-omega]]).astype(F)
    terms = generator.permutation(terms)
    copies = Affine(np.zeros((len(terms), 1), F), np.ones(len(terms), F))
    detect = Affine(np.stack([terms, np.zeros(len(terms), F)]), F([-ones + 0.5, 0]))
    return _attack(Network.sequential((1,), [copies, Relu(), detect]), [0], [1], right=True)


def precision(seed: int) -> Attack:
    """A product that is exact if fused and rounded if not; the difference is made large."""
    generator = np.random.default_rng([seed, 5])
    # (1 + e)^2 - 1 - 2 e = e^2, which a rounded product loses.
    e = F(2.0 ** -generator.integers(12, 14))
    amplify = F(2.0 ** generator.integers(40, 60))
    square = F(1) + e
    first = Affine(F([[0], [0]]), F([square, 1]))
    detect = Affine(F([[square, -(1 + 2 * e)]]), F([0]))
    answer = Affine(F([[amplify], [0]]), F([-(float(amplify) * float(e) ** 2) / 2, 0]))
    layers = [first, Relu(), detect, Relu(), answer]
    return _attack(Network.sequential((1,), layers), [0], [1], right=True)


def order_in_a_convolution(seed: int) -> Attack:
    """``order`` under a kernel, on an image."""
    generator = np.random.default_rng([seed, 6])
    omega = F(2.0 ** generator.integers(24, 60))
    kernel = generator.permutation(F([omega, -omega, 1, 0, 0, 1, 0, 0, 0])).reshape(1, 1, 3, 3)
    none, one = ((0, 0), (0, 0)), (1, 1)
    bright = Conv(np.zeros((1, 1, 1, 1), F), np.ones(1, F), one, none, one)
    detect = Conv(kernel.astype(F), F([0]), one, none, one)
    answer = Affine(F([[1], [0]]), F([-1.5, 0]))
    layers = [bright, Relu(), detect, Reshape((1,)), answer]
    image = np.zeros((1, 3, 3))
    return _attack(Network.sequential((1, 3, 3), layers), image, image + 1, right=True)


def wrong_only_over_the_reals(seed: int) -> Attack:
    """``omega - 1 - omega``: exact arithmetic sees the -1, absorption hides it."""
    generator = np.random.default_rng([seed, 7])
    omega = F(2.0 ** generator.integers(25, 60))
    copies = Affine(np.zeros((3, 1), F), np.ones(3, F))
    detect = Affine(F([[omega, -1, -omega], [0, 0, 0]]), F([0.5, 0]))
    return _attack(Network.sequential((1,), [copies, Relu(), detect]), [0], [1], right=False)


ATTACKS: dict[str, Callable[[int], Attack]] = {
    "absorbing": absorbing,
    "obfuscated": obfuscated,
    "switched on": switched_on,
    "order": order,
    "precision": precision,
    "order in a convolution": order_in_a_convolution,
    "wrong only over the reals": wrong_only_over_the_reals,
}
