"""VNN-LIB queries end to end: no wrong answer, witnesses that hold, proofs that can be checked."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import itertools
import json
import re
import time
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from support.networks import mlp, small_cnn
from support.vnnlib import declared, reader

import asi_verify as asi
from asi_verify._vnnlib import Answer, _Search, _Subject
from asi_verify._vnnlib_batch import solve_vnnlib_batch
from asi_verify.checker import TrustedPass, check_vnnlib, check_vnnlib_files
from asi_verify.cli import main
from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Relu
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Witness
from asi_verify.data import phantom
from asi_verify.errors import ModelError, PropertyError, SoundnessAlarm, UsageError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.lowering.vnnlib import read_vnnlib
from asi_verify.prove import Branch, Solve, StageResult
from asi_verify.prove.stage import Stage
from asi_verify.runtime import Session
from asi_verify.smt import Solver

KNOWN = {"sat", "unsat"}


def box(inputs, lower, upper):
    return "".join(f"(assert (and (>= X_{i} {lower}) (<= X_{i} {upper})))" for i in range(inputs))


@pytest.fixture(scope="module")
def artifact():
    return write_artifact(mlp(np.random.default_rng(3), 3, 8, 8, 2))


@pytest.fixture(scope="module")
def highest(artifact):
    """The largest first output at many points of a box, and an upper bound on it."""
    session = onnxruntime.InferenceSession(artifact)
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3)).astype(np.float32)
    points[:8] = np.array(list(itertools.product((-1, 1), repeat=3)))
    reached = session.run(None, {session.get_inputs()[0].name: points})[0][:, 0].max()
    trusted = TrustedPass(read_network(artifact), Semantics.FLOAT32)
    ends = np.full((1, 3), -1, np.float32), np.full((1, 3), 1, np.float32)
    return float(reached), float(trusted.enclosure(Box(*ends)).upper[0, 0])


def asked(threshold):
    return (declared(3, 2) + box(3, -1, 1) + f"(assert (>= Y_0 {threshold}))").encode()


@pytest.mark.parametrize("semantics", ["float32", "real"])
def test_what_is_reached_is_sat_and_what_is_not_is_unsat(artifact, highest, semantics):
    """The witness satisfies the text in rationals; the proof is accepted from its files alone."""
    reached, bound = highest
    text = asked(reached - 0.05)
    found = asi.solve_vnnlib(artifact, text, semantics=semantics)
    assert found.answer is Answer.SAT
    witness = found.witness
    session = onnxruntime.InferenceSession(artifact)
    (again,) = session.run(None, {session.get_inputs()[0].name: witness.inputs[None]})
    assert again[0].tobytes() == witness.outputs.tobytes()
    assert Fraction(float(witness.outputs[0])) >= Fraction(str(reached - 0.05))
    assert all(-1 <= x <= 1 for x in witness.inputs)
    assert not found.files
    found = asi.solve_vnnlib(artifact, asked(bound + 0.01), semantics=semantics)
    assert found.answer is Answer.UNSAT
    checked = check_vnnlib_files(reader(found.files))
    assert checked.holds
    assert checked.proof.semantics.value == semantics
    assert found.witness is None
    assert found.seconds > 0


def test_a_file_of_one_image_at_a_time_is_searched_many_at_a_time(artifact, highest):
    """In the same network without that limit; the file itself has the last word."""
    model = onnx.load_model_from_string(artifact)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    subject = _Subject(model.SerializeToString())
    assert subject.session.has_fixed_batch
    assert not subject.batched.has_fixed_batch
    points = np.random.default_rng(0).uniform(-1, 1, (300, 3)).astype(np.float32)
    found = subject.batched.run(points)
    np.testing.assert_allclose(found, subject.session.run(points), rtol=1e-5, atol=1e-6)
    found = asi.solve_vnnlib(subject.data, asked(highest[0] - 0.05), stages=())
    assert found.answer is Answer.SAT
    assert found.reason == "found without gradients"
    assert _Subject(artifact).batched.digest == bytes_digest(artifact)


def test_a_file_that_takes_one_image_without_saying_so_is_searched_many_at_a_time():
    """It is seen when two are run, before anything is searched."""
    nodes = [
        onnx.helper.make_node("Concat", ["k", "x"], ["z"], axis=1),
        onnx.helper.make_node("Gemm", ["z", "w"], ["y"]),
    ]
    given, answered = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", size])
        for name, size in (("x", 3), ("y", 2))
    )
    constants = [
        onnx.numpy_helper.from_array(np.float32([[1]]), "k"),
        onnx.numpy_helper.from_array(np.ones((4, 2), np.float32), "w"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [given], [answered], constants)
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    subject = _Subject(model.SerializeToString())
    points = np.random.default_rng(0).uniform(-1, 1, (3, 3)).astype(np.float32)
    assert not subject.batched.has_fixed_batch
    assert subject.session.has_fixed_batch
    wanted = np.repeat(1 + points.sum(axis=1, keepdims=True), 2, axis=1)
    for session in (subject.session, subject.batched):
        np.testing.assert_allclose(session.run(points), wanted, rtol=1e-6)
    text = declared(3, 2) + box(3, -1, 1) + "(assert (>= Y_0 3.9))"
    assert asi.solve_vnnlib(subject.data, text.encode(), stages=()).answer is Answer.SAT


@pytest.mark.parametrize(("factor", "ends"), [(1e30, (0.5, 1)), (1, (-3e38, 3e38))])
def test_beyond_the_range_of_float32_a_search_goes_on(factor, ends):
    """Where outputs are no numbers, or steps lead beyond the largest: without a warning."""
    eye = factor * np.eye(2, dtype=np.float32)
    layers = [Relu(), Affine(eye, np.ones(2, np.float32)), Affine(eye, np.ones(2, np.float32))]
    text = declared(2, 2) + box(2, *ends) + "(assert (<= Y_0 0))"
    model = write_artifact(Network.sequential((2,), layers))
    assert asi.solve_vnnlib(model, text.encode(), stages=()).answer is Answer.UNKNOWN


def test_a_hard_question_goes_through_the_cascade(artifact):
    """What intervals and canonical slopes leave open, branch and bound proves with a tree."""
    by_tree = 0
    for radius in (0.2, 0.3, 0.4):
        text = (declared(3, 2) + box(3, -radius, radius) + "(assert (<= Y_0 Y_1))").encode()
        if asi.solve_vnnlib(artifact, text, stages=()).answer is Answer.UNKNOWN:
            found = asi.solve_vnnlib(artifact, text, stages=[Branch(most_leaves=100)])
            by_tree += "proof.bin" in found.files
            assert found.answer is not Answer.UNSAT or check_vnnlib_files(reader(found.files)).holds
    assert by_tree


def test_a_deadline_that_passed_is_a_timeout(artifact, highest):
    """And no stage is begun after it."""
    found = asi.solve_vnnlib(artifact, asked(highest[0] + 0.1), timeout=1e-9)
    assert found.answer is Answer.TIMEOUT
    assert "the deadline passed" in found.reason


def test_strict_constraints_are_strict_for_witnesses():
    """At the end of the box the output is exactly 1: not above it, but at least it."""
    identity = Network.sequential(
        (1,), [Affine(np.eye(1, dtype=np.float32), np.zeros(1, np.float32))]
    )
    model = write_artifact(identity)
    texts = {
        name: declared(1, 1) + box(1, 0, 1) + f"(assert ({name} Y_0 1))" for name in (">", ">=")
    }
    assert asi.solve_vnnlib(model, texts[">="].encode()).answer is Answer.SAT
    strict = asi.solve_vnnlib(model, texts[">"].encode(), stages=())
    assert strict.answer is Answer.UNKNOWN
    beyond = declared(1, 1) + box(1, 0, 1) + "(assert (< X_0 1)) (assert (>= Y_0 1))"
    assert asi.solve_vnnlib(model, beyond.encode(), stages=()).answer is Answer.UNKNOWN


def test_a_witness_has_to_hold_of_every_constraint(artifact, highest):
    """Of two constraints that hold at different points alone, none is found."""
    text = asked(highest[0] - 0.05).decode() + f"(assert (<= Y_0 {highest[0] - 0.06}))"
    assert asi.solve_vnnlib(artifact, text.encode(), stages=()).answer is not Answer.SAT


class Claims(Stage):
    """A stage that claims something of every sample."""

    name = "claims"

    def __init__(self, verdict, parts=()):
        self.verdict, self.parts = verdict, dict(parts)

    def settings(self):
        return {}

    def attempt(self, batch):
        return StageResult((self.verdict(batch),) * len(batch), parts=self.parts)


def test_no_stage_is_believed(artifact, highest):
    """A false counterexample is not an answer; a false proof is an alarm."""
    text = asked(highest[0] + 0.1)

    def refuted(batch):
        return Refuted(Witness(batch.box.upper[0] + 5, np.zeros(2, np.float32), "nothing"))

    found = asi.solve_vnnlib(artifact, text, stages=[Claims(refuted)])
    assert found.answer is Answer.UNKNOWN
    from asi_verify.core.evidence import IntervalEvidence, SolverEvidence

    with pytest.raises(SoundnessAlarm, match="rejects a proof"):
        asi.solve_vnnlib(artifact, text, stages=[Claims(lambda _: Proved(IntervalEvidence()))])
    gave_up = Undecided(Reason.BUDGET, "three parts")
    found = asi.solve_vnnlib(artifact, text, stages=[Claims(lambda _: gave_up)])
    assert "three parts" in found.reason
    script = b"(check-sat)"
    word = Proved(SolverEvidence(bytes_digest(script), "z3", "4"))
    told = Claims(lambda _: word, {bytes_digest(script): script})
    found = asi.solve_vnnlib(artifact, text, stages=[told])
    assert (found.answer, dict(found.files)) == (Answer.UNKNOWN, {})
    assert "the word of z3" in found.reason
    with pytest.raises(SoundnessAlarm, match="not those that the evidence names"):
        asi.solve_vnnlib(artifact, text, stages=[Claims(lambda _: word)])


def test_a_solvers_word_keeps_no_stage_from_proving(artifact, highest):
    """z3 says that there is none; the answer rests on the tree of the stage behind it."""
    text = asked(highest[0] + 0.02)
    solver = Solve(most_split=-1, steps=4_000_000, most_seconds=600)
    alone = asi.solve_vnnlib(artifact, text, timeout=None, stages=[solver])
    assert (alone.answer, "the word of z3" in alone.reason) == (Answer.UNKNOWN, True)
    stages = [solver, Branch(most_leaves=1000)]
    found = asi.solve_vnnlib(artifact, text, timeout=None, stages=stages)
    assert found.answer is Answer.UNSAT
    assert check_vnnlib_files(reader(found.files)).holds


def test_z3_is_at_work_beside_the_stage_before_it(artifact, highest, monkeypatch):
    """Its answer is there when that stage ends; its counterexample is the witness."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(_Search, "_found_quickly", lambda search: None)
    answers, ask = [], Solver.ask

    def noted(*given, **named):
        answers.append(ask(*given, **named))
        return answers[-1]

    monkeypatch.setattr(Solver, "ask", noted)

    def gave_up(batch):
        end = time.monotonic() + 600
        while not answers and time.monotonic() < end:
            time.sleep(0.01)
        assert answers
        return Undecided(Reason.TOO_LOOSE)

    stages = [Claims(gave_up), Solve(steps=4_000_000, most_seconds=600)]
    found = asi.solve_vnnlib(artifact, asked(highest[0] - 0.05), timeout=None, stages=stages)
    assert found.answer is Answer.SAT
    assert len(answers) == 1


def test_of_many_properties_one_at_a_time_is_at_work_beside(artifact, highest, monkeypatch):
    """And so one solver; the others are asked when it is their turn."""
    monkeypatch.setattr(_Search, "_found_quickly", lambda search: None)
    asked_of, at_work = [], []

    @dataclasses.dataclass(frozen=True)
    class Counted(Stage):
        name: str = "counted"

        def attempt(self, batch):
            asked_of.append(batch.property_)
            return StageResult((None,) * len(batch))

        def begin(self, batch):
            at_work.append(batch.property_)

    boxes = [" ".join(f"(>= X_{i} -1) (<= X_{i} {end})" for i in range(3)) for end in (0.9, 1)]
    cases = " ".join(f"(and {b} (>= Y_0 {highest[0] - n}))" for n, b in enumerate(boxes))
    text = f"{declared(3, 2)}(assert (or {cases}))".encode()
    before = Claims(lambda _: Undecided(Reason.TOO_LOOSE))
    asi.solve_vnnlib(artifact, text, timeout=None, stages=[before, Counted()])
    assert (len(asked_of), len(at_work)) == (2, 1)


def test_a_point_of_a_case_behind_one_that_is_proved_is_its_own(artifact, highest):
    """The first case has no point; of the second one is found before an engine is asked."""
    cases = [(-0.01, 0.01, highest[1] + 1), (-1, 1, 1)]
    written = " ".join(
        "(and "
        + " ".join(f"(>= X_{i} {low}) (<= X_{i} {high})" for i in range(3))
        + f" (>= Y_0 {threshold}))"
        for low, high, threshold in cases
    )
    text = f"{declared(3, 2)}(assert (or {written}))".encode()
    found = asi.solve_vnnlib(artifact, text, stages=())
    assert found.answer is Answer.SAT
    assert found.reason == "found by a few steps along gradients"
    assert np.abs(found.witness.inputs).max() > 0.01


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_runtime_that_computes_something_else_is_an_alarm(artifact, monkeypatch, wrong):
    """Whichever case's centre it is off at, and however many are compared at a time."""
    run = Session.run

    def off(session, points):
        outputs = run(session, points)
        outputs[wrong:] += 0.01 * (np.arange(len(outputs[wrong:])) == 0)[:, None]
        return outputs

    boxes = [" ".join(f"(>= X_{i} {low}) (<= X_{i} 1)" for i in range(3)) for low in (0, 0.5)]
    cases = " ".join(f"(and {ends} (>= Y_0 100))" for ends in boxes)
    text = f"{declared(3, 2)}(assert (or {cases}))".encode()
    for size in (1, 8):
        monkeypatch.setattr(
            TrustedPass,
            "batches",
            lambda _, count, size=size: (slice(n, n + size) for n in range(0, count, size)),
        )
        monkeypatch.setattr(Session, "run", run)
        assert asi.solve_vnnlib(artifact, text, stages=()).answer is Answer.UNSAT
        monkeypatch.setattr(Session, "run", off)
        with pytest.raises(SoundnessAlarm, match="outputs lie outside"):
            asi.solve_vnnlib(artifact, text, stages=())


def test_coefficients_that_json_does_not_write_are_refused(artifact):
    """In one line, before anything is proved."""
    text = declared(3, 2) + box(3, -1, 1) + f"(assert (>= (* {2**53} Y_0) Y_1))"
    with pytest.raises(PropertyError, match="more than 53 bits"):
        asi.solve_vnnlib(artifact, text.encode())


def test_cases_are_all_needed(artifact, highest):
    """Two boxes, of which one has a point of the unsafe set: sat; without it: unsat."""
    reached, bound = highest
    wide, corner = ("(and " + " ".join(f"(>= X_{i} {a}) (<= X_{i} {b})" for i in range(3)) + ")"
                    for a, b in ((-1, 1), (-0.01, 0.01)))  # fmt: skip
    text = (
        declared(3, 2) + f"(assert (or (and {corner} (>= Y_0 {bound})) (and {wide} (>= Y_0 %s))))"
    )
    assert asi.solve_vnnlib(artifact, (text % (reached - 0.05)).encode()).answer is Answer.SAT
    assert asi.solve_vnnlib(artifact, (text % (bound + 1)).encode()).answer is Answer.UNSAT
    empty = declared(3, 2) + box(3, 1, -1) + "(assert (>= Y_0 0))"
    assert asi.solve_vnnlib(artifact, empty.encode()).answer is Answer.UNSAT


@pytest.mark.parametrize(
    ("model", "text", "error"),
    [
        (b"no model", None, ModelError),
        (None, b"(assert", PropertyError),
        (None, (declared(4, 2) + box(4, 0, 1)).encode(), PropertyError),
        (None, (declared(3, 5) + box(3, 0, 1)).encode(), PropertyError),
        ("nowhere.onnx", None, ModelError),
    ],
)
def test_files_that_cannot_be_used_are_refused(artifact, model, text, error):
    """With the class that says which of the two it is."""
    with pytest.raises(error):
        asi.solve_vnnlib(model or artifact, text or asked(0))


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_above_0(artifact, timeout):
    """None stands for no limit."""
    with pytest.raises(UsageError, match="timeout"):
        asi.solve_vnnlib(artifact, asked(0), timeout=timeout)


def test_the_command_prints_what_the_competition_reads(
    artifact, highest, tmp_path, capsys, monkeypatch
):
    """The answer on the first line, the counterexample behind it, and the exit code."""
    reached, bound = highest
    (tmp_path / "m.onnx").write_bytes(artifact)
    (tmp_path / "sat.vnnlib").write_bytes(asked(reached - 0.05))
    (tmp_path / "unsat.vnnlib.gz").write_bytes(gzip.compress(asked(bound + 1)))
    assert main(["vnnlib", str(tmp_path / "m.onnx"), str(tmp_path / "sat.vnnlib")]) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "sat"
    pairs = dict(re.findall(r"\((\w+) ([^ ()]+)\)", " ".join(rest)))
    assert "".join(rest).startswith("((X_0 ")
    assert "".join(rest).endswith("))")
    assert list(pairs) == ["X_0", "X_1", "X_2", "Y_0", "Y_1"]
    assert all(float(np.float32(number)) == float(number) for number in pairs.values())
    assert float(pairs["Y_0"]) >= reached - 0.05
    out = tmp_path / "proof"
    query = [str(tmp_path / "m.onnx"), str(tmp_path / "unsat.vnnlib.gz")]
    assert main(["vnnlib", *query, "--out", str(out)]) == 0
    assert capsys.readouterr().out == "unsat\n"
    assert check_vnnlib(out).holds
    assert main(["vnnlib", *query, "--out", str(out)]) == 0  # the same once more
    capsys.readouterr()
    other = [query[0], str(tmp_path / "sat.vnnlib")]
    assert main(["vnnlib", *other, "--out", str(out)]) == 2  # or its proof would pass for this one
    said = capsys.readouterr()
    assert not said.out
    assert "the proof of another query" in said.err
    for used in (tmp_path, tmp_path / "m.onnx", tmp_path / "m.onnx" / "below"):
        assert main(["vnnlib", *query, "--out", str(used)]) == 2
        assert not capsys.readouterr().out  # before it takes minutes
    assert main(["check", str(out)]) == 0
    assert capsys.readouterr().out.startswith("accepted\nclaimed: unsat, 1 cases, float32")
    (out / "property.vnnlib").write_bytes(asked(bound + 2))
    assert main(["check", str(out), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["outcome"] == "rejected"
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for wrong in ([], query[:1], ["--batch", "x.csv", *query], ["--batch", "x.csv"], ["a", "b"]):
        assert main(["vnnlib", *wrong]) == 2
    assert sorted(tmp_path.iterdir()) == before


def test_a_batch_answers_every_row(artifact, highest, tmp_path, capsys):
    """In order, with paths relative to the list; a row that cannot be used is unknown."""
    reached, bound = highest
    (tmp_path / "m.onnx.gz").write_bytes(gzip.compress(artifact))
    for name, threshold in (("a", reached - 0.05), ("b", bound + 1)):
        (tmp_path / f"{name}.vnnlib").write_bytes(asked(threshold))
    listed = "m.onnx,a.vnnlib,10\r\n\n  \nm.onnx, b.vnnlib\nm.onnx,c.vnnlib,9.5\n"
    (tmp_path / "list.csv").write_text(listed, encoding="utf-8-sig")  # as spreadsheets write it
    rows = list(solve_vnnlib_batch(tmp_path / "list.csv", timeout=5))
    assert [row.result.answer.value for row in rows] == ["sat", "unsat", "unknown"]
    assert "no such file" in rows[2].result.reason
    results = tmp_path / "answers.csv"
    command = ["vnnlib", "--batch", str(tmp_path / "list.csv"), "--results", str(results)]
    assert main([*command, "--out", str(tmp_path / "proofs")]) == 1
    assert "1 sat, 1 unsat, 0 timeout, 1 unknown" in capsys.readouterr().out
    with results.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["answer"] for row in written] == ["sat", "unsat", "unknown"]
    assert check_vnnlib(tmp_path / "proofs" / "00001").holds
    before = results.read_bytes()
    assert main([*command, "--out", str(tmp_path / "proofs")]) == 2
    assert "other things in it" in capsys.readouterr().err
    assert results.read_bytes() == before
    listed = (tmp_path / "list.csv").read_bytes()
    assert main([*command[:3], "--results", str(tmp_path / "list.csv")]) == 2
    assert "the list itself" in capsys.readouterr().err
    assert (tmp_path / "list.csv").read_bytes() == listed
    for text, named in (("m.onnx\n", "line 1: 1 fields"), ("m,b\nm,b,soon\n", "line 2.*'soon'"),
                        ("m,b,-1\n", "line 1.*'-1'"), ('m,"b\n', "not a CSV")):  # fmt: skip
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(UsageError, match=named):
            list(solve_vnnlib_batch(tmp_path / "list.csv"))


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"semantics": "exact"}, {"cores": 0}])
def test_what_no_row_could_use_is_refused_at_once(tmp_path, wrong):
    """It is no answer to any query, and no answer of an earlier batch is lost for it."""
    (tmp_path / "list.csv").write_text("m.onnx,b.vnnlib\n")
    with pytest.raises(UsageError, match=next(iter(wrong))):
        solve_vnnlib_batch(tmp_path / "list.csv", **wrong)


def test_a_row_that_names_no_file_is_unknown(artifact, highest, tmp_path, monkeypatch):
    """Whatever it names instead; the rows behind it are answered."""
    (tmp_path / "m.onnx").write_bytes(artifact)
    (tmp_path / "b.vnnlib").write_bytes(asked(highest[1] + 1))
    listed = f",b.vnnlib\n.,.\n/,b.vnnlib\nm.onnx,{300 * 'b'}\nm.onnx,b.vnnlib\n"
    (tmp_path / "list.csv").write_text(listed)
    monkeypatch.chdir(tmp_path)  # so that an empty name is that of no folder either
    *rows, last = solve_vnnlib_batch("list.csv")
    assert {row.result.answer for row in rows} == {Answer.UNKNOWN}
    reasons = [row.result.reason for row in rows]
    assert [("a folder" in reason, "too long" in reason) for reason in reasons] == (
        3 * [(True, False)] + [(False, True)]
    )
    assert last.result.answer is Answer.UNSAT


def test_a_samples_query_is_written_for_others(tmp_path, capsys):
    """The covering box of the region, and the label's property; and it can be answered here."""
    data, _ = phantom(1, samples=(10, 4, 4), duplicates=0, across=0, dual_labels=0, near=())
    model = write_artifact(small_cnn(np.random.default_rng(0), side=28, outputs=2))
    text = asi.write_query(model, data, 3, "2/255")
    read = read_vnnlib(text.encode())
    from asi_verify.core.linf import LInf

    box_ = LInf.of("2/255").boxes(data.split("train").images[[3]])
    assert read.box.lower.tobytes() == box_.lower.tobytes()
    label = int(data.split("train").labels[3])
    assert all(row.coefficients[label] == 1 for (row,) in read.properties[0].clauses)
    with pytest.raises(UsageError, match=r"rows 0\.\.9"):
        asi.write_query(model, data, 10)
    (tmp_path / "m.onnx").write_bytes(model)
    assert main(["query", str(tmp_path / "m.onnx"), "phantom", "0", "--radius", "1/255"]) == 0
    assert read_vnnlib(capsys.readouterr().out.encode()).inputs == 28 * 28
    other = write_artifact(Network.sequential((5,), [Relu()]))
    with pytest.raises(ModelError, match="reads"):
        asi.write_query(other, data, 3)


QUICK = {
    "rl_benchmarks": 10, "safenlp_2024": 12, "reach_prob_density": 10, "acasxu_2023": 12,
    "sat_relu": 10, "dist_shift_2023": 4, "verivital_2021": 8, "cora_2024": 1,
}  # fmt: skip
"""How many instances of each shared benchmark are asked here: those that take no second."""


@pytest.mark.parametrize("benchmark", QUICK)
def test_no_answer_to_a_known_question_is_wrong(benchmark, shared):
    """With a proof for ``unsat`` and a witness for ``sat``, in what needs no engine."""
    place = shared / "data" / "vnncomp"
    with (place / "instances.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["benchmark"] == benchmark]
    answered = 0
    for row in rows[: QUICK[benchmark]]:
        found = asi.solve_vnnlib(
            place / benchmark / row["onnx"],
            place / benchmark / row["vnnlib"],
            timeout=5,
            stages=(),
        )
        assert row["expected"] in KNOWN
        if found.answer.value in KNOWN:
            answered += 1
            assert found.answer.value == row["expected"], (row["onnx"], row["vnnlib"])
        if found.answer is Answer.UNSAT:
            assert check_vnnlib_files(reader(found.files)).holds
    assert answered
