"""The audit: exactly what is there, on the phantom set and on real data."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asi_verify.audit import Unit, audit, find_duplicates, label_distances
from asi_verify.core.balls import L1, L2
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.patch import Patch
from asi_verify.data import Dataset, Samples, Task, load_medmnist, phantom


def data_of(images, labels):
    samples = Samples(np.asarray(images), np.asarray(labels, dtype=np.int64))
    task = Task.MULTI_LABEL if samples.labels.ndim == 2 else Task.MULTI_CLASS
    classes = tuple(map(str, range(samples.labels.shape[1] if task is Task.MULTI_LABEL else 3)))
    return Dataset("made", task, classes, {"train": samples})


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint8, (9, 1, 2, 2), elements=st.integers(0, 12)),
    hnp.arrays(np.int64, 9, elements=st.integers(0, 2)),
    st.integers(0, 8),
)
def test_distances_are_those_of_all_pairs(images, labels, limit):
    """Nearest distance, lowest partner and close pairs, as a plain double loop finds them."""
    found = label_distances(Samples(images, labels), limit)
    close = []
    for i in range(9):
        pairs = []
        for j in range(9):
            if labels[i] == labels[j]:
                continue
            distance = int(np.abs(images[i].astype(int) - images[j].astype(int)).max())
            pairs.append((distance, j))
            if i < j and distance <= limit:
                close.append((i, j))
        assert (found.distance[i], found.partner[i]) == min(pairs, default=(-1, -1))
    assert found.close == tuple(close)


def test_many_samples_are_compared_in_tiles():
    """More rows than a tile holds, of several labels and of several decisions."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, 1, 3, 3), dtype=np.uint8)
    for labels in (generator.integers(0, 3, 300), generator.integers(0, 2, (300, 3))):
        found = label_distances(Samples(images, labels), 0)
        differs = (labels.reshape(300, -1)[:, None] != labels.reshape(300, -1)[None]).any(axis=2)
        distance = np.abs(images[:, None].astype(int) - images[None].astype(int)).max((2, 3, 4))
        expected = np.where(differs, distance, 999).min(axis=1)
        np.testing.assert_array_equal(found.distance, expected)


@pytest.mark.parametrize("seed", range(5))
def test_exactly_what_was_planted_is_found(seed):
    """Duplicates, dual labels and near-contradictions: all of them, no other, by their rows."""
    data, planted = phantom(seed, near=(2, 3))
    found = audit(data, LInf.of("1/255"))
    groups = {group.members for group in found.duplicates}
    dual = {(("train", a), ("train", b)) for a, b in planted.dual_labels}
    assert groups == set(planted.duplicates) | dual
    assert {g.members for g in found.duplicates if g.disagrees} == dual
    across = {g.members for g in found.duplicates if g.crosses_splits}
    assert across == {pair for pair in planted.duplicates if pair[1][0] == "test"}
    near = {(a, b) for a, b, levels in planted.near if levels <= 2}
    assert {pair.rows for pair in found.contradictions} == near | set(planted.dual_labels)
    distances = {pair.rows: pair.distance for pair in found.contradictions}
    assert all(distances[pair] == 2 for pair in near)
    assert found.contradicted == tuple(sorted({row for pair in distances for row in pair}))


@pytest.mark.parametrize(
    ("radius", "farthest"),
    [("0", 0), ("0.5/255", 1), ("1/255", 2), ("1.5/255", 3), ("2/255", 4), ("0.49/255", 0)],
)
def test_regions_meet_up_to_twice_the_radius(radius, farthest):
    """In integers, at every pair of grey levels: floats would miss some exactly two apart."""
    for level in range(256 - farthest - 1):
        for apart in (farthest, farthest + 1):
            images = np.full((2, 1, 2, 2), level, np.uint8)
            images[1, 0, 1, 1] += apart
            pairs = audit(data_of(images, [0, 1]), LInf.of(radius)).contradictions
            assert bool(pairs) == (apart <= farthest), (level, apart)


def test_float_images_contradict_where_their_boxes_meet():
    """Decided on the float32 boxes themselves."""
    images = np.full((3, 1, 2, 2), 0.5, np.float32)
    images[1] += np.float32(0.02)
    images[2] += np.float32(0.0201)
    found = audit(data_of(images, [0, 1, 1]), LInf.of("0.01"))
    assert [pair.rows for pair in found.contradictions] == [(0, 1)]
    assert found.unit is Unit.PIXEL_UNITS


def test_several_decisions_contradict_if_one_of_them_differs():
    """Equal images with other decisions."""
    images = np.zeros((3, 1, 2, 2), np.uint8)
    labels = [[1, 0, 1], [1, 0, 1], [1, 1, 1]]
    found = audit(data_of(images, labels), LInf.of("1/255"))
    assert [pair.rows for pair in found.contradictions] == [(0, 2), (1, 2)]


def test_ceilings_are_half_the_distance():
    """Of each sample, of the whole split and of what is outside the contradictions."""
    images = np.zeros((4, 1, 1, 1), np.uint8)
    images[:, 0, 0, 0] = [0, 1, 10, 30]
    found = audit(data_of(images, [0, 1, 1, 0]), LInf.of("1/255"))
    assert [found.ceiling(row) for row in range(4)] == [Fraction(d, 510) for d in (1, 1, 10, 20)]
    assert found.ceilings() == {
        "all": Fraction(1, 510),
        "outside_contradictions": Fraction(10, 510),
    }
    alike = audit(data_of(images, [1, 1, 1, 1]), LInf.of("1/255"))
    assert alike.ceilings() == {"all": None, "outside_contradictions": None}
    assert alike.ceiling(0) is None
    assert alike.to_json()["ceilings"]["all"] is None


REAL = {
    "breastmnist": (1, 1, 1, 18),
    "pneumoniamnist": (27, 8, 0, 54),
    "retinamnist": (0, 0, 0, 29),
}
"""Groups, across splits, with different labels, smallest distance between labels in train."""


@pytest.mark.parametrize("name", REAL)
def test_the_published_sets_have_the_known_faults(shared, name):
    """The figures of the project's own measurements."""
    data = load_medmnist(name, data_root=shared / "data" / "medmnist")
    found = audit(data, LInf.of("1/255"))
    groups, across, disagree, distance = REAL[name]
    assert len(found.duplicates) == groups
    assert sum(g.crosses_splits for g in found.duplicates) == across
    assert sum(g.disagrees for g in found.duplicates) == disagree
    assert found.distances.distance.min() == distance
    assert found.contradictions == ()
    if name == "breastmnist":
        assert find_duplicates(data.splits)[0].members == (("train", 115), ("test", 76))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.uint8, (6, 2, 1, 3), elements=st.sampled_from([0, 9, 255])),
    hnp.arrays(np.int64, 6, elements=st.integers(0, 1)),
    st.integers(1, 3),
)
def test_k_pixel_regions_contradict_where_they_share_a_member(images, labels, pixels):
    """Distances count pixels, whatever their channels; a pair within reach need not meet."""
    family = KPixel(pixels, (0, 255))
    found = audit(data_of(images, labels), family)
    assert found.unit is Unit.PIXELS
    expected = []
    for i in range(6):
        others = np.flatnonzero(labels != labels[i])
        differ = (images[others] != images[i]).any(axis=1).sum(axis=(1, 2))
        assert found.distances.distance[i] == min(differ, default=-1)
        expected += [
            (i, int(j))
            for j in others
            if i < j and family.meeting_point(images[[i, j]]) is not None
        ]
    assert [pair.rows for pair in found.contradictions] == expected
    for pair in found.contradictions:
        first, second = images[list(pair.rows)]
        assert pair.distance == (first != second).any(axis=0).sum()


@pytest.mark.parametrize("kind", [L1, L2])
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.uint8, (6, 2, 1, 3), elements=st.sampled_from([0, 9, 11, 255])),
    hnp.arrays(np.int64, 6, elements=st.integers(0, 1)),
    st.sampled_from(["1/255", "2/255", "0.5", "1", "3"]),
    st.booleans(),
)
def test_balls_contradict_where_they_meet(kind, images, labels, radius, floats):
    """Distances are those of the norm; the pairs listed are all that have a common point."""
    family = kind.of(radius)
    stored = encode(images) if floats else images
    found = audit(data_of(stored, labels), family)
    assert found.unit is (Unit.PIXEL_UNITS if floats else Unit.GREY_LEVELS)
    expected = []
    wide = stored.reshape(6, -1).astype(np.float64)
    for i in range(6):
        others = np.flatnonzero(labels != labels[i])
        gaps = [float(np.linalg.norm(wide[i] - wide[j], 1 if kind is L1 else 2)) for j in others]
        assert float(found.distances.distance[i]) == pytest.approx(min(gaps, default=-1))
        expected += [
            (i, int(j))
            for j in others
            if i < j and family.meeting_point(stored[[i, j]]) is not None
        ]
    assert [pair.rows for pair in found.contradictions] == expected


def meeting(family, images, labels):
    """All pairs of images whose labels differ and whose regions meet, one after the other."""
    return [
        (i, j)
        for i, j in itertools.combinations(range(len(images)), 2)
        if labels[i] != labels[j] and family.meeting_point(images[[i, j]]) is not None
    ]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.uint8, (6, 2, 2, 3), elements=st.sampled_from([0, 9, 255])),
    hnp.arrays(np.int64, 6, elements=st.integers(0, 1)),
    st.integers(1, 2),
    st.booleans(),
)
def test_patches_contradict_where_two_windows_hold_all_differences(images, labels, side, floats):
    """Distances count pixels; they are no radius, so there is no ceiling."""
    images[3:, :, 0] = images[:3, :, 0]
    family, stored = Patch(side), encode(images) if floats else images
    found = audit(data_of(stored, labels), family)
    assert found.unit is Unit.PIXELS
    assert [pair.rows for pair in found.contradictions] == meeting(family, stored, labels)
    assert set(found.ceilings().values()) == {None}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.uint8, (3, 1, 2, 3), elements=st.sampled_from([30, 100, 120])),
    hnp.arrays(np.int64, 6, elements=st.integers(0, 1)),
    st.sampled_from(["brightness 10/255", "contrast 0.05", "brightness 4/255 bias 0.02 degree 1"]),
    st.booleans(),
)
def test_intensities_contradict_where_they_meet(images, labels, text, floats):
    """No pair is passed over because its images are said to be too far apart."""
    images = np.concatenate([images, images + np.uint8(8)])
    family, stored = Intensity.in_text(text), encode(images) if floats else images
    found = audit(data_of(stored, labels), family)
    assert found.unit is (Unit.PIXEL_UNITS if floats else Unit.GREY_LEVELS)
    assert [pair.rows for pair in found.contradictions] == meeting(family, stored, labels)
    assert set(found.ceilings().values()) == {None}
    for pair in found.contradictions:
        first, second = stored[list(pair.rows)].astype(float)
        assert float(pair.distance) == pytest.approx(np.abs(first - second).max())


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.uint8, (9, 1, 2, 2), elements=st.sampled_from([0, 50, 52, 200, 210])),
    hnp.arrays(np.int64, 9, elements=st.integers(0, 2)),
)
def test_pairs_whose_boxes_do_not_meet_are_not_listed(images, labels):
    """Whatever their distance; those whose boxes meet are, and distances stay what they are."""
    boxes = LInf.of("4/255").boxes(images)
    samples = data_of(images, labels).split("train")
    plain, found = (label_distances(samples, 250, boxes=given) for given in (None, boxes))
    np.testing.assert_array_equal(plain.distance, found.distance)
    np.testing.assert_array_equal(plain.partner, found.partner)
    expected = [
        (i, j)
        for i, j in plain.close
        if bool((boxes.lower[[i, j]].max(axis=0) <= boxes.upper[[i, j]].min(axis=0)).all())
    ]
    assert list(found.close) == expected
