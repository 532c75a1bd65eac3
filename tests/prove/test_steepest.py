"""Lowest members: as low as any member of a small region, and a way to counterexamples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from support.asked import ask, asked_of_a_small_network

from asi_verify.core.balls import L1, L2
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.patch import Patch
from asi_verify.core.verdict import Refuted
from asi_verify.prove import Falsify
from asi_verify.prove.steepest import lowest_member

FAMILIES = [
    L1.of("0.6"),
    L2.of("0.3"),
    KPixel(2, (0, 255)),
    Patch(2),
    Intensity.of(brightness="0.1", contrast="0.2"),
]


def lowest(family, images, slope):
    """The lowest members, as numpy."""
    box = family.boxes(images)
    found = lowest_member(
        family.reach(images), torch.tensor(box.lower), torch.tensor(box.upper), torch.tensor(slope)
    )
    return found.numpy()


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 3, 3), (1, 3, 3, 3)], ids=str)
def test_no_member_that_is_drawn_is_lower(family, shape):
    """Grey images, from which no change is cut off: then the lowest member is exact."""
    generator = np.random.default_rng(0)
    images = generator.integers(100, 156, (6, *shape)).astype(np.uint8)
    slope = generator.normal(size=images.shape).astype(np.float32)
    slope.reshape(6, -1)[:, ::3] = 0
    found = lowest(family, images, slope)
    assert found.shape == images.shape
    values = (found * slope).reshape(6, -1).sum(axis=1)
    nearest = family.project(found, images)
    assert np.abs(nearest - found).max() < 1e-5
    for _ in range(300):
        members = family.sample(images, generator)
        assert (values <= (members * slope).reshape(6, -1).sum(axis=1) + 1e-4).all()


def test_pixels_and_windows_are_those_that_gain_most():
    """Among all pairs of pixels, and all windows, each to its best colours."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (4, 2, 3, 4)).astype(np.uint8)
    slope = generator.normal(size=images.shape).astype(np.float32)
    x = encode(images)
    ends = np.where(slope > 0, 0.0, 1.0)
    gains = (slope * (x - ends)).sum(axis=1).reshape(4, -1)
    pairs = [gains[:, pair].sum(axis=1) for pair in itertools.combinations(range(12), 2)]
    windows = [
        gains.reshape(4, 3, 4)[:, i : i + 2, j : j + 2].sum(axis=(1, 2))
        for i in range(2)
        for j in range(3)
    ]
    for family, best in ((KPixel(2, (0, 255)), pairs), (Patch(2), windows)):
        moved = ((x - lowest(family, images, slope)) * slope).reshape(4, -1).sum(axis=1)
        assert np.allclose(moved, np.max(best, axis=0), atol=1e-4)


@pytest.mark.parametrize("family", [*FAMILIES, L2.of(1), L1.of(2), KPixel(5, (0, 255))], ids=str)
def test_what_a_hundred_members_refute_the_descent_refutes(family):
    """And more; every witness is a member."""
    asked = asked_of_a_small_network(60)
    artifact, images, properties = asked
    verdicts = ask(asked, family, (Falsify(steps=10, restarts=8),))
    generator = np.random.default_rng(2)
    wrong = np.zeros(60, dtype=bool)
    for _ in range(100):
        members = family.sample(images, generator)
        for i, wanted in enumerate(properties):
            wrong[i] |= not artifact.session.margins(members[[i]], wanted)[0] > 0
    refuted = np.array([isinstance(verdict, Refuted) for verdict in verdicts])
    assert refuted.sum() >= wrong.sum() > 0
    for i in np.flatnonzero(refuted):
        assert family.contains(verdicts[i].witness.point[None], images[[i]])[0]
