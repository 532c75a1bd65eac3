"""A guard and a second model: who answers what, and what is counted of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support.guards import SIDE, square_model, squares

import asi_verify as asi
from asi_verify._guard import GUARD_FIGURES, GUARD_FILE
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.radius import Radius
from asi_verify.errors import ModelError, UsageError
from asi_verify.export import load_model
from asi_verify.guard import (
    Cascade,
    Giver,
    Guard,
    Reason,
    clopper_pearson,
    second_counts,
    write_guard,
)
from asi_verify.prove import Intervals

DATA = squares()
TEST = DATA.split("test")


def artifact_of(model):
    """The artifact of a torch model of squares."""
    return load_model(model, (1, SIDE, SIDE)).data


def turned():
    """The model of squares with its labels the other way round."""
    model = square_model()
    with torch.no_grad():
        model[-1].weight[:] = -model[-1].weight
    return model


def one_node(operator, weight, shape=("N", 1, SIDE, SIDE), extra=()):
    """An ONNX file: flattened pixels times a matrix, then an operator."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node(operator, ["m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "second",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)), *extra],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", weight.shape[1]])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def artifact():
    """The model's file."""
    return artifact_of(square_model())


@pytest.fixture(scope="module")
def guard(artifact):
    """Its guard, without monitors: it refuses what is near the boundary."""
    return Guard(write_guard(artifact, Radius.of("1/255")))


def test_the_second_model_answers_what_the_first_refuses_and_nothing_else(guard):
    """Never called proved; the label is that of whoever gave it."""
    first, answers = guard(TEST.images), Cascade(guard, artifact_of(turned()))(TEST.images)
    assert [a.first for a in answers] == first
    assert 0 < sum(a.answered for a in first) < len(first)
    for one, answer in zip(first, answers, strict=True):
        assert answer.by is (Giver.GUARD if one.answered else Giver.SECOND)
        assert answer.proved == one.answered
        assert answer.label == (one.label if one.answered else 1 - one.label)
        assert answer.second is None


def test_a_guard_as_second_model_refuses_for_reasons_of_its_own(guard, artifact, tmp_path):
    """What it certifies is its answer and not proved; what it does not, nobody's."""
    narrow, wide = (Guard(write_guard(artifact, Radius.of(r))) for r in ("0", "100/255"))
    path = tmp_path / "second.onnx"
    path.write_bytes(write_guard(artifact, Radius.of("0")))
    cascade = Cascade(wide, path)
    assert cascade.second is not None
    assert cascade.digest == narrow.digest == bytes_digest(path.read_bytes())
    answers = cascade(TEST.images)
    assert answers == Cascade(wide, narrow)(TEST.images)
    assert {a.by for a in answers} == {Giver.SECOND}
    assert not any(a.proved for a in answers)
    assert [a.second for a in answers] == narrow(TEST.images)
    refused = Cascade(guard, wide)(TEST.images)
    assert {a.by for a in refused} == {Giver.GUARD, Giver.NOBODY}
    for answer in refused:
        assert (answer.label is None) == (answer.by is Giver.NOBODY) == (answer.second is not None)
        assert answer.second is None or answer.second.reason & Reason.NOT_CERTIFIED


def test_what_is_no_image_is_not_handed_on(guard):
    """A NaN, and a pixel outside [0, 1]: a network would answer both."""
    images = np.full((2, 1, SIDE, SIDE), 0.5, np.float32)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = np.nan, 1.01
    answers = Cascade(guard, artifact_of(turned()))(images)
    assert [(a.by, a.label) for a in answers] == [(Giver.NOBODY, None)] * 2
    assert Cascade(guard, artifact_of(turned()))(images[:0]) == []


def test_outputs_that_are_no_numbers_are_no_answer(guard):
    """The logarithm of a negative number is no label."""
    weight = np.zeros((SIDE * SIDE, 2))
    weight[0] = 1, -1
    answers = Cascade(guard, one_node("Log", weight))(TEST.images)
    assert {a.by for a in answers} == {Giver.GUARD, Giver.NOBODY}
    assert second_counts(answers, TEST.labels)["second_right"] == 0


@pytest.mark.parametrize("operator", ["Identity", "Sigmoid"])
def test_a_second_model_of_one_output_is_read_as_it_is_meant(operator, guard):
    """A logit is compared with 0, a sigmoid with 1/2; of two, any operator may be the last."""
    weight = np.full((SIDE * SIDE, 1), -1.0)
    answers = Cascade(guard, one_node(operator, weight))(TEST.images)
    assert {a.label for a in answers if a.by is Giver.SECOND} == {0}
    both = np.concatenate([weight, -weight], axis=1)
    answers = Cascade(guard, one_node("Softplus", both))(TEST.images)
    assert {a.label for a in answers if a.by is Giver.SECOND} == {1}


def test_a_model_of_other_images_or_classes_is_refused_in_one_way(guard, tmp_path):
    """By shape, by rank, by classes, of a network and of a guard; and what is no classifier."""
    three = one_node("Identity", np.zeros((SIDE * SIDE, 3)))
    small = one_node("Identity", np.zeros((64, 2)), ("N", 1, 8, 8))
    flat = one_node("Identity", np.zeros((SIDE * SIDE, 2)), ("N", SIDE * SIDE))
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, 3))
    guards = write_guard(artifact_of(other), Radius.of("1/255"))
    for file in (three, small, flat, guards, Guard(guards)):
        with pytest.raises(ModelError, match=r"second: .*\(1, 12, 12\) and 2\. Give"):
            Cascade(guard, file)
    more = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N"])
    two = one_node("Identity", np.zeros((SIDE * SIDE, 2)), extra=[more])
    changed = write_guard(artifact_of(other), Radius.of("1/255"))[:-1] + b"x"
    for file in (two, changed):
        with pytest.raises(ModelError, match=r"one float32 input .* a guard's as it was made"):
            Cascade(guard, file)
    with pytest.raises(ModelError, match=r"second: ONNX Runtime cannot load .* give a whole"):
        Cascade(guard, b"no file")
    with pytest.raises(ModelError, match="no such file"):
        Cascade(guard, tmp_path / "nowhere.onnx")


def test_what_nobody_answers_is_handed_over(guard, artifact, tmp_path):
    """With the reasons of both guards, and the second model's digest."""
    wide = Guard(write_guard(artifact, Radius.of("100/255")))
    cascade = Cascade(guard, wide)
    answers = cascade(TEST.images)
    forms = cascade.hand_over(TEST.images, answers, tmp_path / "queue")
    nobody = [a for a in answers if a.by is Giver.NOBODY]
    assert 0 < len(forms) == len(nobody) == len(list((tmp_path / "queue").iterdir()))
    assert {form["asked"]["second"] for form in forms} == {wide.digest}
    assert forms[0]["answered"]["second"]["reasons"] == ["not-certified"]
    assert forms[0]["answered"]["second"]["margin"] == nobody[0].second.margin
    called = []
    assert guard.hand_over(TEST.images, guard(TEST.images), called.append)
    assert called[0]["asked"]["second"] is called[0]["answered"]["second"] is None
    assert Cascade(guard, artifact).hand_over(TEST.images, answers, called.append)
    with pytest.raises(UsageError, match="answers"):
        cascade.hand_over(TEST.images[:1], answers, called.append)


def test_the_figures_say_what_each_model_adds(tmp_path):
    """Counted again from the answers; intervals stand apart, and are those of the counts."""
    out = tmp_path / "out"
    asi.certify(square_model(), DATA, "1/255", stages=[Intervals()], out=out)
    asi.build_guard(out, DATA, monitors=False)
    alone = json.loads((out / GUARD_FIGURES).read_text())
    assert alone["second"] is alone["counted"]["test"]["second"] is None
    assert alone["estimated"]["test"]["second"] is alone["drift"] is None
    before = (out / GUARD_FIGURES).read_bytes()
    with pytest.raises(ModelError, match="second"):
        asi.build_guard(out, DATA, second=one_node("Identity", np.zeros((SIDE * SIDE, 3))))
    assert (out / GUARD_FIGURES).read_bytes() == before
    second = artifact_of(turned())
    guard = asi.build_guard(out, DATA, second=second, monitors=False)
    found = json.loads((out / GUARD_FIGURES).read_text())
    assert found["second"] == {"file": bytes_digest(second), "is_guard": False}
    assert found["file"] == guard.digest == bytes_digest((out / GUARD_FILE).read_bytes())
    first = guard(TEST.images)
    refused = np.array([not a.answered for a in first])
    right = np.array([a.label for a in first]) == TEST.labels
    assert found["counted"]["test"]["second"] == {
        "asked": refused.sum(),
        "both_answered": len(TEST),
        "both_right": (right & ~refused).sum() + (~right & refused).sum(),
        "first_right": (right & refused).sum(),
        "samples": len(TEST),
        "second_right": (~right & refused).sum(),
    }
    interval = found["estimated"]["test"]["second"]["second_error"]
    wrong, asked = int((right & refused).sum()), int(refused.sum())
    assert tuple(interval) == clopper_pearson(wrong, asked)
    assert set(found["estimated"]) == {"test"}


def test_a_second_guards_label_counts_where_it_refuses(guard, artifact):
    """Its accuracy on what the first refuses is that of its labels, answered or not."""
    wide = Guard(write_guard(artifact, Radius.of("100/255")))
    answers = Cascade(guard, wide)(TEST.images)
    found = second_counts(answers, TEST.labels)
    assert found["second_right"] == found["first_right"] > 0
    assert found["both_answered"] == len(TEST) - found["asked"]
    moved = [replace(a, label=None) for a in answers]
    assert second_counts(moved, TEST.labels)["both_right"] == 0
