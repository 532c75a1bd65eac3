"""Enumerating errors, their categories, and the life of a bug."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from support.networks import small_cnn

from asi_verify.bugs import (
    Evaluation,
    Findings,
    categories,
    evaluate,
    require_better_than_majority,
    returned,
    updated,
)
from asi_verify.core.bug import BugKind, BugState, Category
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Witness
from asi_verify.data import Samples
from asi_verify.errors import ModelError
from asi_verify.export import Artifact

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), dtype=np.uint8)


def samples(labels):
    return Samples(IMAGES[: len(labels)], np.asarray(labels, dtype=np.int64))


def test_errors_are_what_onnx_runtime_gets_wrong():
    """Predictions, margins and accuracy of a real session."""
    artifact = Artifact.from_network(small_cnn(np.random.default_rng(1)))
    outputs = artifact.session.run(IMAGES.astype(np.float32) / 255)
    answers = outputs.argmax(axis=1)
    labels = answers.copy()
    labels[2] = (labels[2] + 1) % 3
    found = evaluate(artifact, samples(labels))
    np.testing.assert_array_equal(found.predictions, answers)
    assert found.wrong.tolist() == [False, False, True] + [False] * 5
    assert found.accuracy == pytest.approx(7 / 8)
    assert found.margins[2] == outputs[2, labels[2]] - outputs[2].max()


def test_a_tie_and_an_answer_that_is_no_number_are_errors():
    """Only a margin above 0 is right."""
    margins = np.array([1e-300, 0.0, -0.0, np.nan, -np.inf])
    found = Evaluation(np.zeros(5, dtype=np.int64), margins)
    assert found.wrong.tolist() == [False, True, True, True, True]
    assert found.accuracy == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (IMAGES[:, :, :4], [0] * 8, "reads inputs of shape"),
        (IMAGES, [3] * 8, "a label is 3"),
        (IMAGES, [[0, 1]] * 8, "2 decisions"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(images, labels, says):
    """With both shapes, and the contract that would help."""
    artifact = Artifact.from_network(small_cnn(np.random.default_rng(1)))
    with pytest.raises(ModelError, match=says):
        evaluate(artifact, Samples(images.copy(), np.asarray(labels, dtype=np.int64)))


def evaluation(labels, predictions, margins=None):
    wrong = np.asarray(labels) != np.asarray(predictions)
    given = np.where(wrong, -1.0, 1.0) if margins is None else np.asarray(margins)
    return Evaluation(np.asarray(predictions, dtype=np.int64), given)


def test_a_model_below_the_majority_class_is_stopped_with_the_remedy():
    """Almost always the images are not what it was trained on."""
    labels = [0, 0, 0, 1]
    require_better_than_majority(evaluation(labels, [0, 0, 0, 0]), samples(labels))
    with pytest.raises(ModelError, match=r"50\.0%.*75\.0%.*Preprocess.*another order"):
        require_better_than_majority(evaluation(labels, [1, 1, 0, 1]), samples(labels))


def test_of_several_decisions_rare_ones_count_as_much_as_frequent_ones():
    """A constant answer is never stopped, one worse than that is; whatever is everywhere equal."""
    labels = np.array([[0, 0, 1]] * 7 + [[1, 0, 1]])
    split = samples(labels)

    def answers(*first):
        return Evaluation(np.array([[d, 0, 1] for d in first]), np.ones(8))

    require_better_than_majority(answers(*[0] * 8), split)
    require_better_than_majority(answers(*[1] * 8), split)
    # Right on the rare one at the cost of four others: worse than a constant answer by samples.
    require_better_than_majority(answers(*[1] * 4, *[0] * 3, 1), split)
    with pytest.raises(ModelError, match=r"42\.9%.*alike.*50\.0%.*Preprocess"):
        require_better_than_majority(answers(1, *[0] * 7), split)
    alike = samples(np.zeros((8, 3), np.int64))
    require_better_than_majority(answers(*[1] * 8), alike)


def test_a_margin_that_is_no_number_is_an_error():
    """NaN is never right."""
    found = evaluation([0, 1], [0, 1], [1.0, np.nan])
    assert found.wrong.tolist() == [False, True]


def test_categories_are_given_in_the_stated_order():
    """Contradiction, suspected label, near-boundary, class pair, unlearned."""
    labels = [0, 0, 0, 0, 1, 2, 2, 2]
    predictions = [1, 1, 1, 1, 2, 2, 2, 2]
    margins = [-9, -9, -0.5, -9, -9, 1.0, 2.0, 3.0]
    found = categories(
        samples(labels),
        evaluation(labels, predictions, margins),
        contradicted=[0],
        suspected=[0, 1],
    )
    assert found == {
        0: Category.CONTRADICTION,
        1: Category.SUSPECTED_LABEL,
        2: Category.NEAR_BOUNDARY,
        3: Category.CLASS_PAIR,
        4: Category.UNLEARNED,
    }


def test_with_two_classes_no_pair_is_frequent():
    """Every error is of one of two pairs, which says nothing."""
    found = categories(
        samples([0, 0, 0, 1]), evaluation([0, 0, 0, 1], [1, 1, 1, 1], [-5, -5, -5, 1.0]), ()
    )
    assert set(found.values()) == {Category.UNLEARNED}


def witness():
    return Refuted(Witness(np.zeros((1, 8, 8), np.float32), np.zeros(2, np.float32), "a test"))


def findings(round_, predictions, verdicts=None, accepted=None, contradicted=(), suspected=()):
    labels = [0, 0, 1]
    return Findings(
        round_,
        f"model {round_}",
        samples(labels),
        evaluation(labels, predictions),
        verdicts or {},
        accepted or {},
        frozenset(contradicted),
        frozenset(suspected),
    )


def follow(*steps):
    """The log after some rounds, by (row, kind)."""
    log = {}
    for step in steps:
        for bug in updated(log.values(), step):
            log[bug.row, bug.kind] = bug
    return log


def states(bug):
    return [event.state for event in bug.events]


PROVED = Proved(IntervalEvidence())
MIS = BugKind.MISCLASSIFIED


def test_a_bug_goes_from_open_to_certified_only_by_an_accepted_certificate():
    """Being right closes nothing, being proved closes nothing; being accepted does."""
    log = follow(
        findings(0, [1, 0, 1]),
        findings(1, [1, 0, 1]),
        findings(2, [0, 0, 1]),
        findings(3, [0, 0, 1], {0: PROVED}),
        findings(4, [0, 0, 1], {0: PROVED}, {0: "certificate"}),
    )
    bug = log[0, MIS]
    assert states(bug) == [BugState.OPEN, BugState.FIXED, BugState.CERTIFIED]
    assert [event.round for event in bug.events] == [0, 2, 4]
    assert bug.events[-1].certificate == "certificate"
    assert bug.is_closed
    assert set(log) == {(0, MIS)}


def test_a_bug_that_comes_back_is_reopened():
    """Misclassified again, a counterexample, or only no longer certified."""
    certified = findings(1, [0, 0, 1], {0: PROVED}, {0: "c"})
    for again, detail in (
        (findings(2, [1, 0, 1]), "misclassified"),
        (findings(2, [0, 0, 1], {0: witness()}), "a counterexample in the region"),
        (
            findings(2, [0, 0, 1], {0: Undecided(Reason.TOO_LOOSE)}),
            "right on the sample, but no longer certified",
        ),
    ):
        bug = follow(findings(0, [1, 0, 1]), certified, again)[0, MIS]
        assert bug.state is BugState.REOPENED
        assert bug.events[-1].detail == detail
        assert not bug.is_closed
    still = follow(
        findings(0, [1, 0, 1]), certified, findings(2, [1, 0, 1]), findings(3, [1, 0, 1])
    )
    assert states(still[0, MIS])[-1] is BugState.REOPENED
    assert len(still[0, MIS].events) == 3


def test_a_counterexample_on_a_right_sample_is_a_bug_of_its_own():
    """Found by an attack; closed like any other."""
    log = follow(
        findings(0, [0, 0, 1], {1: witness()}),
        findings(1, [0, 0, 1], {1: PROVED}, {1: "c"}),
    )
    assert set(log) == {(1, BugKind.COUNTEREXAMPLE)}
    assert states(log[1, BugKind.COUNTEREXAMPLE]) == [BugState.OPEN, BugState.CERTIFIED]


def test_a_contradicted_sample_is_set_aside():
    """Logged with its category, never counted as certified."""
    log = follow(
        findings(0, [1, 0, 1], {1: witness()}, contradicted=[0, 1]),
        findings(1, [0, 0, 1], {0: PROVED}, {0: "c"}, contradicted=[0, 1]),
    )
    assert states(log[0, MIS]) == [BugState.SET_ASIDE]
    assert log[0, MIS].category is Category.CONTRADICTION
    assert log[1, BugKind.COUNTEREXAMPLE].category is Category.CONTRADICTION
    assert log[0, MIS].is_closed


def test_a_new_certificate_of_a_certified_bug_is_noted():
    """A later model's certificate is another one."""
    log = follow(
        findings(0, [1, 0, 1]),
        findings(1, [0, 0, 1], {0: PROVED}, {0: "first"}),
        findings(2, [0, 0, 1], {0: PROVED}, {0: "first"}),
        findings(3, [0, 0, 1], {0: PROVED}, {0: "second"}),
    )
    assert [e.certificate for e in log[0, MIS].events] == [None, "first", "second"]


def test_bugs_go_back_to_how_they_stood_under_an_earlier_model():
    """A later model's certificate closes nothing of the one that is kept, and opens nothing."""
    kept = (findings(0, [1, 1, 0]), findings(1, [0, 1, 1], {0: PROVED}, {0: "c"}))
    later = (
        findings(2, [1, 0, 1], {1: PROVED}, {1: "d"}),
        findings(3, [0, 0, 1], {0: PROVED, 2: witness()}, {0: "e"}),
    )
    before, log = follow(*kept), follow(*kept, *later)
    changed = {(bug.row, bug.kind): bug for bug in returned(log.values(), 1, "model 1")}
    log |= changed
    last = {row: log[row, MIS].events[-1] for row in range(3)}
    assert before[0, MIS].state is last[0].state is BugState.CERTIFIED
    assert last[0].certificate == "c"
    assert before[1, MIS].state is BugState.OPEN
    assert last[1].state is BugState.REOPENED
    assert before[2, MIS].state is last[2].state is BugState.FIXED
    assert {bug.events[-1].artifact for bug in changed.values()} == {"model 1"}
    assert {bug.events[-1].round for bug in changed.values()} == {1}
    assert returned(log.values(), 1, "model 1") == []


def test_a_bug_of_a_later_model_is_none_of_the_one_that_is_kept():
    """It makes no such error; nothing more is said of it."""
    log = follow(findings(0, [0, 0, 1]), findings(1, [1, 0, 1]))
    (bug,) = returned(log.values(), 0, "model 0")
    assert states(bug) == [BugState.OPEN, BugState.FIXED]
    assert bug.events[-1].certificate is None


def test_a_bug_keeps_what_was_found_first():
    """Label, answer and margin are those of the round in which it was found."""
    log = follow(findings(0, [1, 0, 1]), findings(1, [0, 0, 1]))
    bug = log[0, MIS]
    assert (bug.label, bug.prediction, bug.margin) == ((0,), (1,), -1.0)
    assert bug.image == samples([0]).image_digests[0]
    assert dataclasses.replace(bug, events=bug.events[:1]).state is BugState.OPEN


def test_a_suspected_label_is_a_category_and_nothing_more():
    """Of a wrong sample and of a counterexample, unless it contradicts; its states are the same."""
    verdicts = {1: witness(), 2: witness()}
    told = follow(findings(0, [1, 0, 1], verdicts, contradicted=[2], suspected=[0, 1, 2]))
    plain = follow(findings(0, [1, 0, 1], verdicts, contradicted=[2]))
    assert {row: bug.category for (row, _), bug in told.items()} == {
        0: Category.SUSPECTED_LABEL,
        1: Category.SUSPECTED_LABEL,
        2: Category.CONTRADICTION,
    }
    assert {key: states(bug) for key, bug in told.items()} == {
        key: states(bug) for key, bug in plain.items()
    }
