"""Suspected labels: planted wrong ones are found, and contradictions are not among them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import asi_verify as asi
from asi_verify.audit import Suspect, suspected_labels
from asi_verify.data import Dataset, Samples, Task, phantom
from asi_verify.errors import DataError, EngineUnavailableError, UsageError
from asi_verify.repair import OrdinaryTraining, out_of_fold

QUICK = OrdinaryTraining(epochs=8, batch_size=16)


def relabelled(data, rows):
    """The set with the labels of some rows of train turned round, and those of no other."""
    train = data.split("train")
    labels = train.labels.copy()
    labels[rows] = 1 - labels[rows]
    splits = {**data.splits, "train": Samples(train.images, labels)}
    return Dataset(data.name, data.task, data.classes, splits)


def easy(count=40, seed=0):
    """Dark and bright images of 8 x 8 pixels, which no network confuses."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = generator.normal(90 + 70 * labels[:, None, None, None], 12, (count, 1, 8, 8))
    return np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64)


def of(images, labels, classes=("dark", "bright"), task=Task.BINARY, **others):
    return Dataset("made", task, classes, {"train": Samples(images, labels), **others})


def test_planted_wrong_labels_are_found_in_the_phantom():
    """All of them, first of all; the contradictions, in which a label is surely wrong, are not."""
    data, planted = phantom(0, samples=(160, 20, 20), duplicates=1, dual_labels=2, near=(2,))
    pairs = [*planted.dual_labels, *((a, b) for a, b, _ in planted.near)]
    contradicted = {row for pair in pairs for row in pair}
    copied = {row for pair in planted.duplicates for split, row in pair if split == "train"}
    lesions = np.flatnonzero(data.split("train").labels == 0)
    wrong = [row for row in lesions.tolist() if row not in contradicted | copied][:4]
    found = asi.audit_dataset(relabelled(data, wrong), suspects=True).suspects("train")
    rows = [suspect.row for suspect in found]
    assert set(wrong) <= set(rows)
    assert not set(rows) & contradicted
    assert len(rows) < 20
    assert [s.self_confidence for s in found] == sorted(s.self_confidence for s in found)
    for suspect in found:
        if suspect.row in wrong:
            assert (suspect.label, suspect.suggested, suspect.decision) == (1, 0, None)
            assert suspect.self_confidence < 0.5


def test_a_right_data_set_has_no_suspects():
    """Where networks have no doubt, there is none; looked for and not found is not unasked."""
    images, labels = easy()
    made = asi.audit_dataset(of(images, labels), suspects=True, training=QUICK)
    assert made.suspects("train") == ()
    assert asi.audit_dataset(of(images, labels)).suspects("train") is None


def test_other_splits_are_judged_too():
    """A wrong label among the test images, by networks that were trained on train alone."""
    images, labels = easy()
    others, theirs = easy(12, seed=1)
    theirs[5] = 1 - theirs[5]
    data = of(images, labels, test=Samples(others, theirs))
    made = asi.audit_dataset(data, suspects=True, training=QUICK)
    assert [(s.row, s.label) for s in made.suspects("test")] == [(5, int(theirs[5]))]
    assert made.suspects("train") == ()


def test_no_image_is_judged_by_a_network_that_has_seen_it():
    """Wrongly labelled copies, in train and across splits, do not vouch for one another."""
    images, labels = easy()
    images[2], labels[[2, 6]] = images[6], 1
    data = of(images, labels, test=Samples(images[[2, 3]], labels[[2, 3]]))
    found = out_of_fold(data, training=OrdinaryTraining(epochs=60, batch_size=8))
    np.testing.assert_array_equal(found["train"][2], found["train"][6])
    np.testing.assert_array_equal(found["test"], found["train"][[2, 3]])
    # Sixty epochs learn any image by heart: a network that has seen it would agree.
    assert found["train"][6, 1] < 0.5


def test_predictions_are_the_same_every_time_and_sum_to_one():
    """For a seed; another seed has other folds and networks."""
    data = of(*easy(20))
    first, again, other = (
        out_of_fold(data, seed, 4, OrdinaryTraining(epochs=1))["train"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first.sum(axis=1), 1)
    assert (first != other).any()


def test_each_of_several_decisions_is_judged_by_itself():
    """A wrong decision is found as that one, with its probability as the confidence."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (60, 3))
    probabilities = np.where(labels == 1, 0.9, 0.1) + generator.uniform(-0.05, 0.05, (60, 3))
    labels[7, 2] = 1 - labels[7, 2]
    (found,) = suspected_labels(labels, probabilities)
    expected = probabilities[7, 2] if labels[7, 2] else 1 - probabilities[7, 2]
    assert (found.row, found.decision, found.label) == (7, 2, labels[7, 2])
    assert found.suggested == 1 - found.label
    assert found.self_confidence == expected
    assert suspected_labels(labels, probabilities, contradicted=[7]) == ()


def test_sets_of_several_decisions_are_audited():
    """From images to suspicions; the wrong decision is among them."""
    images, dark = easy(48)
    images[:, :, :4][np.arange(48) % 3 == 0] //= 2
    labels = np.stack([dark, (np.arange(48) % 3 == 0).astype(np.int64)], axis=1)
    labels[10, 0] = 1 - labels[10, 0]
    data = of(images, labels, ("bright", "shaded"), Task.MULTI_LABEL)
    made = asi.audit_dataset(data, suspects=True, training=OrdinaryTraining(25, 8))
    assert (10, 0) in {(s.row, s.decision) for s in made.suspects("train")}


def test_one_label_alone_cannot_be_suspected():
    """It could be mistaken for nothing."""
    assert suspected_labels(np.ones(6, np.int64), np.full((6, 2), 0.5)) == ()


def test_what_is_no_number_is_refused():
    """A training that diverged judges nothing."""
    with pytest.raises(DataError, match="numbers that are none"):
        suspected_labels(np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 0.5]]))


def test_a_probability_is_kept_exactly():
    """As text that Python reads back to the same number."""
    suspect = Suspect(3, None, 0, 1, 0.1)
    assert float.fromhex(suspect.to_json()["self_confidence"]) == 0.1


@pytest.mark.parametrize("folds", [1, 0, 2.5, 3.0])
def test_folds_that_are_none_are_refused(folds):
    """Two at least, and a whole number."""
    with pytest.raises(UsageError, match="folds"):
        asi.audit_dataset(of(*easy(8)), suspects=True, folds=folds)


def test_data_that_cannot_be_judged_is_refused():
    """No train, fewer images than folds, images too small for the network: one clear error."""
    images, labels = easy(8)
    only = Dataset("only", Task.BINARY, ("a", "b"), {"test": Samples(images, labels)})
    for data, words in (
        (only, "no split 'train'"),
        (of(images[[0, 0, 1]], labels[[0, 0, 1]]), "2 different images are too few for 5 folds"),
        (of(images[..., :3].copy(), labels), "too small"),
    ):
        with pytest.raises(DataError, match=words):
            asi.audit_dataset(data, suspects=True)


def test_a_missing_cleanlab_is_said_before_anything_is_trained(monkeypatch):
    """With what to install; an audit without suspects does not need it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cleanlab" else real(name)
    )
    data = of(*easy(8))
    with pytest.raises(EngineUnavailableError, match=r"asi-verify\[labels\]"):
        asi.audit_dataset(data, suspects=True)
    assert asi.audit_dataset(data).suspects("train") is None
