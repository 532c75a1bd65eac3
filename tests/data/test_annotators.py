"""Labels of several annotators: one is taken by a stated rule, and what each said is kept."""

from __future__ import annotations

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import asi_verify as asi
from asi_verify.audit import readiness_schema
from asi_verify.data import Samples, Task, from_annotators
from asi_verify.errors import DataError

VOTES = [[0, 0, 2], [1, 2, 1], [2, 2, 2], [0, 2, -1]]


def images(count):
    return np.arange(count * 16, dtype=np.uint8).reshape(count, 4, 4)


def labels(votes=VOTES, **options):
    return from_annotators(images(len(votes)), votes, **options).split("train").labels.tolist()


def test_the_stated_rule_chooses_the_label():
    """The majority, with each way to break a tie; or one annotator for all."""
    assert labels(ties="lowest") == [0, 1, 2, 0]
    assert labels(ties="highest") == [0, 1, 2, 2]
    assert labels(ties=1) == [0, 1, 2, 2]
    assert labels(rule=0) == [0, 1, 2, 0]
    assert labels(rule=1) == [0, 2, 2, 2]
    assert labels(VOTES[:3]) == [0, 1, 2]
    assert labels([[1], [0]]) == [1, 0]


@given(hnp.arrays(np.int64, (5, 3), elements=st.integers(-1, 3)))
def test_a_majority_is_what_most_say(votes):
    """As counting says it, whoever abstains; a tie goes to the highest of the tied."""
    votes[:, 0] = np.maximum(votes[:, 0], 0)
    for row, taken in enumerate(labels(votes, ties="highest")):
        said = [vote for vote in votes[row].tolist() if vote >= 0]
        assert taken == max(said, key=lambda vote: (said.count(vote), vote))


def test_what_each_said_is_kept_and_disagreement_is_listed():
    """With the samples, whatever part of them is taken; and in the readiness certificate."""
    data = from_annotators(images(4), VOTES, ties="lowest", ordinal=True)
    assert data.task is Task.ORDINAL
    samples = data.split("train")
    np.testing.assert_array_equal(samples.votes, VOTES)
    np.testing.assert_array_equal(samples.take(slice(1, 3)).votes, VOTES[1:3])
    made = asi.audit_dataset(data)
    jsonschema.validate(made.to_json(), readiness_schema())
    found = made.splits["train"]["disagreement"]
    assert found["annotators"] == 3
    assert [(e["row"], e["label"], e["votes"]) for e in found["rows"]] == [
        (0, 0, [0, 0, 2]),
        (1, 1, [1, 2, 1]),
        (3, 0, [0, 2, -1]),
    ]
    others = from_annotators(images(4), [[0, 0, 0], *VOTES[1:]], ties="lowest", ordinal=True)
    assert asi.audit_dataset(others).digest != made.digest
    assert asi.audit_dataset((images(4), [0, 1, 2, 0])).splits["train"]["disagreement"] is None


def test_who_did_not_look_does_not_disagree():
    """One opinion is no disagreement."""
    data = from_annotators(images(2), [[1, -1], [-1, 0]])
    assert asi.audit_dataset(data).splits["train"]["disagreement"]["rows"] == []


@pytest.mark.parametrize(
    ("votes", "options", "words"),
    [
        (VOTES, {}, r"tied on row 3 between \[0, 2\]"),
        (VOTES, {"rule": 2}, "annotator 2 did not label the image of row 3"),
        (VOTES, {"ties": 2}, "annotator 2 did not label the image of row 3"),
        (VOTES, {"rule": 3}, "rule: 3"),
        (VOTES, {"rule": "mean"}, "rule: 'mean'"),
        (VOTES, {"ties": "coin"}, "ties: 'coin'"),
        (VOTES, {"ties": -1}, "ties: -1"),
        (VOTES, {"rule": True}, "rule: True"),
        (VOTES, {"rule": 1.0}, "rule: 1.0"),
        (VOTES, {"ties": ["lowest"]}, "ties: "),
        (VOTES, {"ties": "lowest", "classes": ["a", "b"]}, "2"),
        ([[-1, -1]], {}, "nobody labelled the image of row 0"),
        ([[-2, 0]], {}, "-2"),
        ([[0.5, 0]], {}, "votes.*whole numbers"),
        ([["a", "b"]], {}, "votes.*whole numbers"),
        ([0, 1], {}, "annotators"),
        ([[[0, 1], [1, 1]]], {}, "annotators"),
        ([[0, 0, 2]], {"classes": ["a", "b"]}, "2 is none of 2 classes"),
    ],
)
def test_what_cannot_be_decided_is_refused(votes, options, words):
    """One clear error, which names the row or the argument."""
    with pytest.raises(DataError, match=words):
        from_annotators(images(len(votes)), votes, **options)


def test_votes_of_another_length_are_refused():
    """They belong to the samples."""
    with pytest.raises(DataError, match="votes"):
        Samples(images(2)[:, None].copy(), np.zeros(2, np.int64), np.zeros((3, 2), np.int64))
