"""The backward twin in torch computes what the trusted pass does: what is climbed is checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import LARGER, TINY, mlp, random_box, weights

from asi_verify.bounds import BackwardTwin, backward_twin
from asi_verify.checker import TrustedPass
from asi_verify.checker.trusted import Advice
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Concat, Relu
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.export import NetworkModule


def concatenated(generator):
    """What a ReLU gives beside what it reads."""
    first = Affine(weights(generator, 4, 3), weights(generator, 4))
    last = Affine(weights(generator, 2, 8), weights(generator, 2))
    inputs = ((0,), (1,), (2, 1), (3,))
    operators = (first, Relu(), Concat(0, 2), last)
    return Network((3,), tuple(Node(o, i) for o, i in zip(operators, inputs, strict=True)))


def asked(name, seed=0, radius=0.2):
    """A network, its twin and bounds over three boxes."""
    generator = np.random.default_rng(seed)
    network = (TINY | LARGER | {"concatenated": concatenated})[name](generator)
    trusted = TrustedPass(network, Semantics.REAL)
    box = Box(*random_box(generator, network.input_shape, 3, radius))
    bounds = trusted.bounds(box, Intermediate.BACKWARD)
    twin = BackwardTwin(network)
    boxes = {value: bounds.boxes[value] for value in (0, *twin.relu_inputs)}
    return generator, trusted, bounds, twin, boxes, SingleLabel(0, network.logits).rows()


def checked(trusted, bounds, rows, slopes, multipliers):
    """The trusted bound with the same advice."""
    advice = Advice(*({value: part[:, numbers] for value, numbers in trusted.neurons.items()}
                      for part in (flat(slopes), flat(multipliers))))  # fmt: skip
    return trusted.lower(bounds, rows, to_input=True, advice=advice)


def flat(dense):
    return dense.reshape(-1, dense.shape[2]).astype(np.float64)


REFUSED = dict.fromkeys(("pool", "dense", "pooled", "densely connected"), "MaxPool") | {
    "piecewise": "LeakyRelu",
    "gated": "MatMul",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_with_other_relaxations_is_refused_by_name(name):
    """The twin relaxes ReLUs; the stages then leave its queries to the others."""
    reason = f"{REFUSED[name]} has no backward bound in torch"
    with pytest.raises(UnsupportedOperatorError, match=reason):
        BackwardTwin((TINY | LARGER)[name](np.random.default_rng(0)))


@pytest.mark.parametrize("name", sorted({*TINY, *LARGER, "concatenated"} - REFUSED.keys()))
def test_the_twin_computes_the_trusted_bound(name):
    """With slopes, signs and multipliers of any kind, to float32 rounding."""
    generator, trusted, bounds, twin, boxes, rows = asked(name)
    shape = (3, len(rows), max(part.stop for part in trusted.neurons.values()))
    slopes = generator.random(shape).astype(np.float32)
    slopes[generator.random(shape) < 0.3] = np.nan
    signs = generator.integers(-1, 2, (3, shape[2])).astype(np.int8)
    multipliers = generator.random(shape).astype(np.float32)
    found = twin.optimised(
        boxes, rows, 0, signs=signs, slopes=slopes, multipliers=multipliers
    ).lower
    theirs = checked(trusted, bounds, rows, slopes, -signs[:, None] * multipliers)
    np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp", "cnn", "grouped"])
def test_what_is_optimised_is_what_is_checked(name):
    """Steps raise the bound, the best one is kept, and the trusted pass finds the same."""
    _, trusted, bounds, twin, boxes, rows = asked(name)
    before = twin.optimised(boxes, rows, 0)
    after = twin.optimised(boxes, rows, 20)
    assert np.all(after.lower >= before.lower)
    assert after.lower.sum() > before.lower.sum()
    theirs = checked(trusted, bounds, rows, after.slopes, np.zeros_like(after.slopes))
    np.testing.assert_allclose(after.lower, theirs, rtol=1e-4, atol=1e-4)


def test_a_row_that_is_positive_is_left_alone():
    """It stops where it became so; what else is in the batch changes nothing for it."""
    _, _, _, twin, boxes, rows = asked("cnn", radius=0.01)
    together = twin.optimised(boxes, rows, 10)
    for i in range(3):
        one = {value: box[[i]] for value, box in boxes.items()}
        alone = twin.optimised(one, rows, 10)
        np.testing.assert_allclose(together.slopes[i], alone.slopes[0], atol=1e-3)


def test_costs_name_the_open_phases():
    """A neuron whose phase is known costs nothing; an open one that matters costs something."""
    _, trusted, bounds, twin, boxes, rows = asked("cnn")
    costs = twin.optimised(boxes, rows, 0).costs
    is_open = np.concatenate(
        [((b.lower < 0) & (b.upper > 0)).reshape(3, -1)
         for b in (bounds.boxes[v] for v in trusted.neurons)], axis=1
    )  # fmt: skip
    assert np.all(costs[~is_open] == 0)
    assert (costs[is_open] > 0).mean() > 0.5


def test_an_affine_network_is_its_own_bound():
    """Without an open phase the functionals of any value are exact."""
    generator = np.random.default_rng(5)
    network = TINY["mlp"](generator)
    object.__setattr__(network.nodes[0].operator, "bias", np.full(3, 50, np.float32))
    first, last = network.nodes[0].operator, network.nodes[-1].operator
    lower, upper = random_box(generator, (2,), 1, 0.3)
    bounds = TrustedPass(network, Semantics.REAL).bounds(Box(lower, upper), Intermediate.INTERVAL)
    twin = BackwardTwin(network)
    boxes = {value: bounds.boxes[value] for value in (0, *twin.relu_inputs)}
    coefficients, constants = twin.affine(boxes, 3, np.eye(2))
    np.testing.assert_allclose(coefficients, last.weight @ first.weight, rtol=1e-5)
    np.testing.assert_allclose(constants, last.weight @ first.bias + last.bias, rtol=1e-5)
    coefficients, constants = twin.affine(boxes, 1, np.eye(3))
    np.testing.assert_allclose(coefficients, first.weight, rtol=1e-6)
    np.testing.assert_allclose(constants, first.bias, rtol=1e-6)


def test_a_network_without_relus_has_nothing_to_optimise():
    """It has no neurons, and is left to the other stages."""
    affine = Affine(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    assert BackwardTwin(Network.sequential((3,), [affine])).relu_inputs == []


def test_constants_are_part_of_the_bound():
    """One for each row, or one for each row of each sample; positive rows stop there."""
    _, _, _, twin, boxes, rows = asked("cnn")
    without = twin.optimised(boxes, rows, 0).lower
    of_rows = np.arange(len(rows), dtype=np.float64) - 2
    found = twin.optimised(boxes, rows, 0, constants=of_rows).lower
    np.testing.assert_allclose(found, without + of_rows, atol=1e-5)
    of_samples = np.random.default_rng(0).normal(size=without.shape)
    found = twin.optimised(boxes, rows, 0, constants=of_samples).lower
    np.testing.assert_allclose(found, without + of_samples, atol=1e-5)
    high = twin.optimised(boxes, rows, 5, constants=100 - without).lower
    np.testing.assert_allclose(high, 100, atol=1e-3)


@pytest.mark.parametrize("name", ["mlp", "cnn", "grouped", "concatenated"])
def test_steps_follow_the_bounds_derivatives(name):
    """Of every slope and multiplier, as differences of bounds show them where there is no kink."""
    generator, _, _, twin, boxes, rows = asked(name)
    neurons = sum(int(np.prod(boxes[value].shape)) for value in twin.relu_inputs)
    shape = (3, len(rows), neurons)
    signs = generator.integers(-1, 2, (3, neurons)).astype(np.int8)
    slopes, multipliers = (generator.random(shape).astype(np.float32) for _ in range(2))
    functionals, _, relaxation = twin._started(boxes, rows, None, signs, slopes, multipliers)
    weights = {}
    pushed = twin._push(functionals, twin._network.output, relaxation, weights)
    lower, lowest = backward_twin._lowest(*pushed, relaxation)
    falls = twin._falls(weights, twin._carried(lowest, weights, relaxation), relaxation)
    step, compared = 2.0**-9, 0
    for free, fall in zip(relaxation.free, falls, strict=True):
        # Slopes of other phases are not free.
        may = relaxation.is_open if free is relaxation.slopes else torch.ones_like(free)
        for place in generator.permutation(free.shape[1])[:20]:
            changes = []
            for change in (step, -step):
                free[:, place] += change * may[:, place]
                pushed = twin._push(functionals, twin._network.output, relaxation)
                changes.append((backward_twin._lowest(*pushed, relaxation)[0] - lower) / change)
                free[:, place] -= change * may[:, place]
            is_smooth = (changes[0] - changes[1]).abs() < 0.02
            found, wanted = changes[0][is_smooth], -fall[:, place][is_smooth]
            torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)
            compared += int((wanted.abs() > 0.2).sum())
    assert compared > 5


def test_gaps_are_what_relaxations_cost_where_a_bound_is_lowest():
    """With one layer of ReLUs, what a row is there above its bound; 0 where nothing is relaxed."""
    _, _, _, twin, boxes, rows = asked("cnn")
    found = twin.optimised(boxes, rows, 3)
    assert np.all(found.gaps[found.costs == 0] == 0)
    assert found.gaps.sum() > 0
    network = mlp(np.random.default_rng(0), 5, 9, 2)
    box = Box(*random_box(np.random.default_rng(1), (5,), 4, 0.3))
    bounds = TrustedPass(network, Semantics.REAL).bounds(box, Intermediate.BACKWARD)
    twin = BackwardTwin(network)
    boxes = {value: bounds.boxes[value] for value in (0, *twin.relu_inputs)}
    found = twin.optimised(boxes, SingleLabel(0, 2).rows(), 0)
    lowest = np.where(found.coefficients[:, 0] > 0, box.lower, box.upper).astype(np.float32)
    logits = NetworkModule(network).requires_grad_(False)(torch.from_numpy(lowest)).numpy()
    above = logits @ SingleLabel(0, 2).rows()[0] - found.lower[:, 0]
    is_open = found.lower[:, 0] <= 0
    assert is_open.any()
    np.testing.assert_allclose(found.gaps.sum(axis=1)[is_open], above[is_open], atol=1e-4)


def test_the_optimiser_is_adam_with_a_rate_that_decays():
    """The first step is one rate along each sign; later ones forget at two speeds."""
    rate, decay = backward_twin._RATE, backward_twin._DECAY
    numbers = torch.zeros(3)
    adam = backward_twin._Adam([numbers])
    gradients = [torch.tensor([2.0, -0.5, 1e-3]), torch.tensor([1.0, 0.5, 0.0])]
    adam.step([gradients[0]])
    torch.testing.assert_close(numbers, -rate * gradients[0].sign(), rtol=1e-3, atol=1e-5)
    adam.step([gradients[1]])
    first = (0.1 * 0.9 * gradients[0] + 0.1 * gradients[1]) / (1 - 0.9**2)
    second = (0.001 * 0.999 * gradients[0] ** 2 + 0.001 * gradients[1] ** 2) / (1 - 0.999**2)
    wanted = -rate * gradients[0].sign() - rate * decay * first / second.sqrt()
    torch.testing.assert_close(numbers, wanted, rtol=1e-3, atol=1e-4)
