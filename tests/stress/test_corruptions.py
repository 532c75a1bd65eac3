"""Corruptions: images come out, the same every time, and worse from one severity to the next."""

from __future__ import annotations

import numpy as np
import pytest

from asi_verify.core.images import encode
from asi_verify.errors import UsageError
from asi_verify.stress import CORRUPTIONS, SEVERITIES, corrupted


def images(shape):
    """Smooth images with something in them."""
    generator = np.random.default_rng(0)
    rough = generator.integers(40, 200, (3, *shape)).astype(np.float64)
    for axis in range(2, rough.ndim):
        rough = (rough + np.roll(rough, 1, axis) + np.roll(rough, -1, axis)) / 3
    return rough.astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 20), (1, 12, 14, 16)], ids=str)
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_gives_images(kind, shape):
    """Of the same shape, float32 in [0, 1], changed, and the same for the same seed."""
    given = images(shape)
    changes = []
    for severity in SEVERITIES:
        found = corrupted(kind, severity, given, 1)
        assert found.shape == given.shape
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1
        assert np.array_equal(found, corrupted(kind, severity, given, 1))
        changes.append(float(np.abs(found - encode(given)).mean()))
    assert 0 < changes[0] < changes[-1]


def test_noise_follows_its_seed():
    """Another seed, other noise."""
    given = images((1, 8, 8))
    for kind in ("gaussian noise", "speckle noise", "impulse noise"):
        assert not np.array_equal(corrupted(kind, 5, given, 1), corrupted(kind, 5, given, 2))


@pytest.mark.parametrize(("kind", "severity"), [("fog", 1), ("contrast", 0), ("contrast", 6)])
def test_unknown_ones_are_refused(kind, severity):
    """With what was given."""
    with pytest.raises(UsageError, match=r"fog|severity: [06]"):
        corrupted(kind, severity, images((1, 8, 8)), 0)
