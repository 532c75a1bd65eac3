"""The phantom set: what is planted is there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from asi_verify.core.canonical import array_digest
from asi_verify.data import load_dataset, phantom
from asi_verify.errors import UsageError


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_to_be_planted_is_there(seed):
    """Pairs have the pixels, labels and distances that the record says."""
    data, planted = phantom(seed, near=(2, 3, 40))
    train = data.split("train")
    for (split_a, a), (split_b, b) in planted.duplicates:
        first, second = data.split(split_a), data.split(split_b)
        assert np.array_equal(first.images[a], second.images[b])
        assert first.labels[a] == second.labels[b]
    for a, b in planted.dual_labels:
        assert np.array_equal(train.images[a], train.images[b])
        assert train.labels[a] != train.labels[b]
    for a, b, levels in planted.near:
        difference = np.abs(train.images[a].astype(int) - train.images[b].astype(int))
        assert difference.max() == levels
        assert train.labels[a] != train.labels[b]


def test_nothing_else_is_equal():
    """Every other image is unique over all splits."""
    data, planted = phantom(1)
    digests = [d for samples in data.splits.values() for d in samples.image_digests]
    pairs = len(planted.duplicates) + len(planted.dual_labels)
    assert len(digests) - len(set(digests)) == pairs


def test_the_seed_is_all_there_is():
    """The same seed gives the same bytes, another one others."""
    one, two, three = (phantom(seed)[0].split("train").images for seed in (5, 5, 6))
    assert array_digest(one) == array_digest(two) != array_digest(three)
    assert array_digest(load_dataset("phantom-5").split("train").images) == array_digest(one)


def test_too_few_samples_for_what_is_to_be_planted_are_refused():
    """Instead of planting less than was asked for."""
    with pytest.raises(UsageError, match="cannot hold"):
        phantom(0, samples=(5, 2, 2))
