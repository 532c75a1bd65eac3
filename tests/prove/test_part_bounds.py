"""Bounds over parts: a region's own network gives what the whole network does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.networks import LARGER, TINY, random_box

from asi_verify.bounds import BackwardTwin
from asi_verify.checker import TrustedPass
from asi_verify.checker.split_tree import leaf_bounds
from asi_verify.checker.trusted import Advice
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.properties import SingleLabel
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import PHASE, Cut
from asi_verify.export import NetworkModule
from asi_verify.prove.phases.part_bounds import Asked, PartBounds


def asked(name, regions=3, cuts=3):
    """A network, bounds over some regions, and one part of each, with what is known of it."""
    generator = np.random.default_rng(4)
    network = (TINY | LARGER)[name](generator)
    trusted = TrustedPass(network, Semantics.REAL)
    box = Box(*random_box(generator, network.input_shape, regions, 0.3))
    root = trusted.bounds(box, Intermediate.BACKWARD)
    whole = PartBounds.over(BackwardTwin(network), root)
    rows = SingleLabel(0, network.logits).rows()
    ends = [np.concatenate([getattr(root.boxes[v], side).reshape(regions, -1)
                            for v in trusted.neurons], axis=1)
            for side in ("lower", "upper")]  # fmt: skip
    is_open = (ends[0] < 0) & (ends[1] > 0)
    shape = (regions, len(rows), is_open.shape[1])
    paths, phases = [], np.zeros((regions, shape[2]), np.int8)
    for region in range(regions):
        numbers = generator.choice(np.flatnonzero(is_open[region]), cuts, replace=False)
        signs = generator.choice([-1, 1], cuts)
        phases[region, numbers] = signs
        paths.append(
            tuple(Cut(PHASE, int(n), int(s), 0.0) for n, s in zip(numbers, signs, strict=True))
        )
    slopes = generator.random(shape).astype(np.float32)
    slopes[generator.random(shape) < 0.3] = np.nan
    multipliers = np.where(phases[:, None] != 0, generator.random(shape), 0).astype(np.float32)
    given = Asked(
        np.arange(regions),
        phases,
        np.broadcast_to(rows, (regions, *rows.shape)),
        generator.normal(size=shape[:2]),
        slopes,
        multipliers,
    )
    return network, trusted, root, whole, paths, given


def narrowed(given, region, own):
    """One region's part as its own network's bounds take it."""
    one = given.take(np.array([region]))
    numbers = own.numbers
    return Asked(
        one.owners,
        one.phases[:, numbers],
        one.rows,
        one.constants,
        one.slopes[:, :, numbers],
        one.multipliers[:, :, numbers],
    )


@pytest.mark.parametrize("name", ["mlp", "cnn", "grouped"])
def test_a_part_is_bounded_as_the_trusted_pass_bounds_it(name):
    """But for what intervals know besides: the twin promises no more, to float32 rounding."""
    _, trusted, root, whole, paths, given = asked(name)
    bounds = leaf_bounds(trusted, root, paths, Intermediate.INTERVAL)
    flat = (numbers.reshape(-1, numbers.shape[2]).astype(np.float64)
            for numbers in (given.slopes, -given.phases[:, None] * given.multipliers))  # fmt: skip
    advice = Advice(
        *({value: numbers[:, part] for value, part in trusted.neurons.items()} for numbers in flat)
    )
    theirs = trusted.lower(bounds, given.rows[0], to_input=True, advice=advice) + given.constants
    found = whole.lower(given)
    assert np.all(found[~bounds.empty] <= theirs[~bounds.empty] + 1e-4)
    np.testing.assert_allclose(found, theirs, rtol=0.2, atol=0.2)


@pytest.mark.parametrize("name", ["mlp", "cnn", "grouped"])
def test_a_regions_own_network_gives_the_same(name):
    """The same bounds, steps, costs and slopes, with the open neurons alone."""
    network, _, _, whole, _, given = asked(name)
    for region in range(3):
        own = whole.of_one(region, network)
        assert len(own.numbers) < len(whole.numbers)
        one, few = given.take(np.array([region])), narrowed(given, region, own)
        np.testing.assert_allclose(own.lower(few), whole.lower(one), rtol=1e-4, atol=1e-4)
        mine, theirs = own.optimised(few, 3), whole.optimised(one, 3)
        np.testing.assert_allclose(mine.lower, theirs.lower, rtol=1e-3, atol=1e-3)
        for name_ in ("costs", "gaps"):
            all_, some = getattr(theirs, name_), getattr(mine, name_)
            np.testing.assert_allclose(some, all_[:, own.numbers], rtol=1e-2, atol=1e-2)
            np.testing.assert_allclose(all_.sum(), all_[:, own.numbers].sum(), rtol=1e-5)


def test_a_half_has_one_phase_more():
    """Its bounds hold where the phase does, and not everywhere else; its whole stays as it was."""
    network, _, root, whole, _, given = asked("cnn", regions=1, cuts=0)
    own = whole.of_one(0, network)
    few = narrowed(given, 0, own)
    count = len(own.numbers)
    many = few.take(np.zeros(count, np.intp))
    generator = np.random.default_rng(0)
    box = root.boxes[0]
    shape = (500, *network.input_shape)
    x = box.lower + generator.random(shape) * (box.upper - box.lower)
    values = [torch.from_numpy(x.astype(np.float32))]
    for layer, inputs in NetworkModule(network).requires_grad_(False).steps():
        values.append(layer(*(values[value] for value in inputs)))
    read = [values[value].flatten(1).numpy() for value in BackwardTwin(network).relu_inputs]
    neurons = np.concatenate(read, axis=1)[:, own.numbers]
    rows = values[-1].numpy() @ given.rows[0].T + given.constants[0]
    raised = np.zeros(count, np.bool_)
    for sign in (-1, 1):
        halves = many.divided(np.arange(count), np.full(count, sign))
        assert (halves.phases != 0).sum() == count
        lower = own.lower(halves)
        for half in range(count):
            holds = sign * neurons[:, half] >= 0
            assert np.all(rows[holds] >= lower[half] - 1e-4)
            raised[half] |= np.any(lower[half] > own.lower(few)[0] + 1e-3)
    assert raised.mean() > 0.8
    assert not many.phases.any()


def test_slopes_that_say_nothing_are_not_said():
    """Of phases that are known, and where the canonical rule says the same."""
    _, _, _, whole, _, given = asked("mlp")
    canonical = np.full_like(given.slopes, np.nan)
    best = whole.optimised(Asked(*(canonical if value is given.slopes else value
                                   for value in vars(given).values())), 0)  # fmt: skip
    assert np.all(np.isnan(whole.own_slopes(given, best.slopes)))
    between = np.full_like(given.slopes, 0.5)
    said = ~np.isnan(whole.own_slopes(given, between))
    assert not said[np.broadcast_to(given.phases[:, None] != 0, said.shape)].any()
    np.testing.assert_array_equal(said, np.broadcast_to(best.costs[:, None] > 0, said.shape) | said)
    assert said.any()
