"""Leaving out what few numbers tell apart: never one too many, whatever the images are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asi_verify.audit import pruned_search as module
from asi_verify.audit.pruned_search import PrunedSearch


@pytest.fixture(autouse=True, scope="module")
def few_numbers():
    """So few at every stage that the small images of a test go through all of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_FIRST": 1, "_SECOND": 3, "_STRETCHES": 3, "_AT_ONCE": 8}.items():
            patch.setattr(module, name, value)
        yield


def by_hand(images, group, row, limit):
    """Every other one of another label with its distance, if it is nearest or within the limit."""
    wide = images.astype(np.float64)
    others = np.flatnonzero(group != group[row])
    distance = np.abs(wide[others] - wide[row]).max(axis=1)
    reach = max(distance.min(initial=np.inf), limit)
    return {(int(j), float(d)) for j, d in zip(others, distance, strict=True) if d <= reach}


def found(images, group, row, limit):
    others, distance = PrunedSearch(images, np.asarray(group)).near(row, limit)
    pairs = [(int(j), float(d)) for j, d in zip(others, distance, strict=True)]
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


@pytest.mark.parametrize("floats", [False, True], ids=["8-bit", "float32"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 12), st.integers(1, 8)),
        elements=st.sampled_from([0, 1, 2, 3, 127, 128, 253, 255]),
    ),
    st.data(),
    st.sampled_from([0, 1, 2, 2.5, 127, 255, 300]),
)
def test_all_of_the_nearest_and_all_within_the_limit_are_found(floats, images, data, limit):
    """And no other, as differences of all numbers of all pairs say."""
    group = data.draw(hnp.arrays(np.intp, len(images), elements=st.integers(0, 3)))
    stored = (images / np.float32(255)).astype(np.float32) if floats else images
    limit = limit / 255 if floats else limit
    for row in range(len(images)):
        assert found(stored, group, row, limit) == by_hand(stored, group, row, limit)


def test_a_difference_in_any_one_number_counts():
    """Two levels apart in one place is within two levels, three is not; wherever it is."""
    for place in range(7):
        for level in (0, 2, 3, 128, 252):
            for apart, within in ((2, True), (3, False)):
                images = np.full((3, 7), level, np.uint8)
                images[1, place] += apart
                assert ((1, apart) in found(images, [0, 1, 1], 0, 2)) == within
                # Whoever is nearest is found at any distance.
                assert (1, apart) in found(images[:2], [0, 1], 0, 2)


def test_equal_sums_and_equal_beginnings_do_not_deceive():
    """The same numbers in another order; and the same in all but the last that is looked at."""
    generator = np.random.default_rng(0)
    one = generator.integers(0, 256, 40, dtype=np.uint8)
    images = np.stack([one, *(generator.permutation(one) for _ in range(60)), one])
    images[-1, module._spread(40)[-1]] ^= 255
    group = np.array([0, *([1] * 61)])
    for row in (0, 5, 61):
        assert found(images, group, row, 2) == by_hand(images, group, row, 2)


def test_wrapped_differences_are_not_small():
    """0 and 255 are 255 levels apart, not 1: 8-bit differences are not taken the wrong way."""
    images = np.array([[0, 0], [255, 255], [100, 100]], np.uint8)
    assert found(images, [0, 1, 1], 0, 2) == {(2, 100)}
    assert found(images, [0, 1, 0], 0, 2) == {(1, 255)}


def test_neighbours_of_the_own_label_bound_nothing():
    """However near and many they are."""
    images = np.zeros((41, 5), np.uint8)
    images[40] = 200
    group = np.array([*([0] * 40), 1])
    assert found(images, group, 3, 2) == {(40, 200)}
    assert found(images, group, 40, 2) == {(row, 200) for row in range(40)}
    assert found(images[:40], group[:40], 3, 2) == set()


@pytest.mark.parametrize("count", [*range(1, 60), 784, 2352, 4096, 21952])
def test_every_number_is_looked_at_once(count):
    """The order of the numbers leaves none out."""
    assert sorted(module._spread(count).tolist()) == list(range(count))
