"""Proof folders of VNN-LIB queries: what holds is accepted, and whatever was changed is refused."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import jsonschema
import numpy as np
import pytest
from support.mutants import mutants
from support.networks import mlp, small_cnn
from support.vnnlib import declared, proof_files, reader, sealed

from asi_verify.checker import Outcome, TrustedPass, check_vnnlib, check_vnnlib_files
from asi_verify.checker import vnnlib as checker_room
from asi_verify.checker.command import main
from asi_verify.checker.vnnlib import Roots, boxes_of, network_of, require_fit
from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest, canonical_json
from asi_verify.core.certificate import parse_json
from asi_verify.core.clauses import Clauses, Inequality
from asi_verify.core.container import pack
from asi_verify.core.evidence import (
    EnumerationEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
    Pieces,
    SolverEvidence,
    TreeEvidence,
)
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine, Relu, Reshape
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import LEAF, NODE, PHASE, SplitTree
from asi_verify.core.vnnlib_proof import VnnlibProof
from asi_verify.errors import CertificateError, ModelError, PropertyError
from asi_verify.lowering import read_network, write_artifact
from asi_verify.lowering.vnnlib import read_vnnlib

SCRIPT = b"(check-sat)"
BACKWARD = Intermediate.BACKWARD


def box_text(lower, upper):
    """Bounds on three inputs as one formula."""
    ends = (f"(>= X_{i} {lower}) (<= X_{i} {upper})" for i in range(3))
    return f"(and {' '.join(ends)})"


def query(text_of_upper, low=-0.5, high=0.5):
    """Two cases: one of one constraint on the outputs, one of two in a single clause."""
    return declared(3, 2) + (
        f"(assert (or (and {box_text(low, high)} (>= Y_0 {text_of_upper}))\n"
        f" (and {box_text(0.5, 0.75)} (>= Y_0 {text_of_upper}) (>= Y_1 {text_of_upper}))))"
    )


@pytest.fixture(scope="module")
def artifact():
    return write_artifact(mlp(np.random.default_rng(3), 3, 8, 8, 2))


@pytest.fixture(scope="module")
def highest(artifact):
    """What no output reaches in either box, by intervals."""
    trusted = TrustedPass(read_network(artifact), Semantics.FLOAT32)
    ends = np.full((1, 3), -0.5, np.float32), np.full((1, 3), 0.75, np.float32)
    return float(trusted.enclosure(Box(*ends)).upper.max())


@pytest.fixture(scope="module")
def text(highest):
    return query(highest + 0.5)


@pytest.fixture(scope="module")
def trees(artifact):
    """A tree for each case, of so many rows, the sum of the second's clause included."""
    nodes = np.array([(PHASE, 2, 0.0), (LEAF, 0, 0.0), (LEAF, 0, 0.0)], dtype=NODE)
    return [
        SplitTree(rows, 16, nodes, (np.zeros((rows, 1), np.float32),) * 2, ()).to_bytes()
        for rows in (1, 3)
    ]


@pytest.fixture
def honest(artifact, text, trees):
    """The first case by a pass, the second by a tree."""
    tree = trees[1]
    evidence = [IntervalEvidence(), TreeEvidence(BACKWARD, bytes_digest(tree))]
    return proof_files(artifact, text, evidence, {bytes_digest(tree): tree})


def outcome(files):
    found = check_vnnlib_files(reader(files))
    assert (found.reason == "") == (found.outcome is Outcome.ACCEPTED)
    assert found.holds == (found.outcome is Outcome.ACCEPTED)
    return found.outcome, found.reason


def rejected(files, named):
    found, reason = outcome(files)
    assert found is Outcome.REJECTED
    assert named in reason


@pytest.mark.parametrize("semantics", Semantics)
def test_what_holds_is_accepted(artifact, text, trees, semantics):
    """By every kind of evidence that the checker derives a bound from."""
    first, second = (TreeEvidence(BACKWARD, bytes_digest(tree)) for tree in trees)
    parts = {bytes_digest(tree): tree for tree in trees}
    for evidence in (
        [IntervalEvidence()] * 2,
        [LinearEvidence(Intermediate.INTERVAL), LinearEvidence(BACKWARD)],
        [first, second],
        [LinearEvidence(BACKWARD), second],
    ):
        files = proof_files(artifact, text, evidence, parts, semantics)
        assert outcome(files) == (Outcome.ACCEPTED, "")


def test_an_unsafe_set_without_a_point_needs_no_evidence(artifact):
    """Its text alone shows that it is empty; the model still has to fit."""
    text = declared(3, 2) + f"(assert (and {box_text(1, 0)} (>= Y_0 0)))"
    assert outcome(proof_files(artifact, text, [])) == (Outcome.ACCEPTED, "")
    other = write_artifact(mlp(np.random.default_rng(0), 4, 2))
    rejected(proof_files(other, text, []), "3 inputs and 2 outputs, the model has 4 and 2")


def test_what_is_false_is_not_accepted(artifact, text, trees, highest):
    """Of a property that fails at a known point, no evidence closes."""
    trusted = TrustedPass(read_network(artifact), Semantics.FLOAT32)
    centre = np.zeros((1, 3), np.float32)
    reached = float(trusted.enclosure(Box(centre, centre.copy())).lower[0, 0])
    false = query(reached - 0.01)
    second = TreeEvidence(BACKWARD, bytes_digest(trees[0]))
    parts = {bytes_digest(trees[0]): trees[0]}
    true = LinearEvidence(BACKWARD)
    for evidence in (IntervalEvidence(), LinearEvidence(BACKWARD), second):
        rejected(
            proof_files(artifact, false, [evidence, true], parts), "case 0: the bound does not"
        )


def test_a_property_is_not_exchanged(honest, text, artifact, highest):
    """Nor a box widened, with every digest made anew: what was not proved does not close."""
    harder = query(highest - 10)
    rejected({**honest, "property.vnnlib": harder.encode()}, "property.vnnlib has the digest")
    rejected(sealed({**honest, "property.vnnlib": harder.encode()}), "case 0 is about another")
    evidence = [IntervalEvidence(), LinearEvidence(BACKWARD)]
    rejected(proof_files(artifact, harder, evidence), "case 0: the bound does not close")
    wider = query(highest + 0.5, -50, 50)
    rejected(sealed({**honest, "property.vnnlib": wider.encode()}), "case 0 is about another")
    rejected(proof_files(artifact, wider, evidence), "case 0: the bound does not close")


@pytest.mark.parametrize(
    ("old", "new"),
    [("(>= X_1 0.5)", "(>= X_1 0.49999999)"), ("(<= X_1 0.75)", "(<= X_1 0.7500001)")],
    ids=["below", "above"],
)
def test_a_box_that_is_one_float_wider_is_another(honest, text, old, new):
    """The digest of a case covers both ends of its box to the last bit."""
    wider = text.replace(old, new)
    assert wider != text
    rejected(sealed({**honest, "property.vnnlib": wider.encode()}), "case 1 is about another")


def test_another_model_is_not_taken(honest, text):
    """By its digest; and with that made anew, by its bounds."""
    network = mlp(np.random.default_rng(8), 3, 8, 8, 2)
    louder = dataclasses.replace(network.nodes[-1].operator, bias=np.full(2, 99, np.float32))
    other = Network(
        network.input_shape, (*network.nodes[:-1], Node(louder, network.nodes[-1].inputs))
    )
    files = {**honest, "artifact.onnx": write_artifact(other)}
    rejected(files, "artifact.onnx has the digest")
    rejected(sealed(files), "case 0: the bound does not close")
    rejected(sealed({**honest, "artifact.onnx": b"no model"}), "ONNX")


def test_cases_are_neither_left_out_nor_added_nor_exchanged(honest):
    """Every case of the text has its own evidence."""
    first, second = VnnlibProof.from_bytes(honest["proof.json"]).cases
    without_parts = {name: data for name, data in honest.items() if name != "proof.bin"}
    rejected(sealed(without_parts, cases=(first,)), "evidence for 1 cases; there are 2")
    rejected(sealed(without_parts, cases=()), "evidence for 0 cases")
    rejected(sealed(honest, cases=(first, second, second)), "evidence for 3 cases")
    rejected(sealed(honest, cases=(second, first)), "case 0 is about another")
    rejected(sealed(honest, cases=(second, second)), "case 0 is about another")


def test_a_tree_of_another_case_is_refused(artifact, text, trees):
    """It has other rows; and a part that is no tree is none."""
    for tree, named in ((trees[0], "rows"), (b"no tree", "tree")):
        evidence = [IntervalEvidence(), TreeEvidence(BACKWARD, bytes_digest(tree))]
        rejected(proof_files(artifact, text, evidence, {bytes_digest(tree): tree}), named)


def test_parts_are_those_that_the_evidence_names(honest, trees):
    """None is missing, and none is more than that."""
    missing = {name: data for name, data in honest.items() if name != "proof.bin"}
    rejected(missing, "no such file")
    rejected(sealed(missing), "not those that the evidence names")
    more = pack({bytes_digest(tree): tree for tree in trees})
    rejected({**honest, "proof.bin": more}, "proof.bin has the digest")
    rejected(sealed({**honest, "proof.bin": more}), "not those that the evidence names")
    rejected(sealed({**honest, "proof.bin": b"ASIVBIN1"}), "not a container")


def test_a_box_is_not_enumerated(artifact, text):
    """That is evidence about finitely many images."""
    evidence = [EnumerationEvidence(next(iter(Pieces))), IntervalEvidence()]
    rejected(proof_files(artifact, text, evidence), "not enumerated")


def test_a_solvers_word_is_delegated_and_hides_nothing(artifact, text, highest):
    """Unless another case is rejected, in whatever order."""
    word = SolverEvidence(bytes_digest(SCRIPT), "z3", "4")
    parts = {bytes_digest(SCRIPT): SCRIPT}
    files = proof_files(artifact, text, [word, IntervalEvidence()], parts)
    assert outcome(files) == (Outcome.DELEGATED, "case 0: the word of z3 4")
    false = query(highest - 20)
    for evidence in ([word, IntervalEvidence()], [IntervalEvidence(), word]):
        rejected(proof_files(artifact, false, evidence, parts), "does not close")


def test_a_proof_with_any_field_changed_proves_nothing_else(honest, artifact, text):
    """Whatever it says, what is accepted is about this model, this text and all of its cases."""
    value = parse_json(honest["proof.json"])
    digests = [case["case"] for case in value["cases"]]
    tried = 0
    for mutant in mutants(value):
        tried += 1
        try:
            found = check_vnnlib_files(reader({**honest, "proof.json": canonical_json(mutant)}))
        except CertificateError:
            continue
        if found.holds:
            assert (found.proof.artifact, found.proof.property_) == (
                bytes_digest(artifact),
                bytes_digest(text.encode()),
            )
            assert [case.case for case in found.proof.cases] == digests
            assert {"solver"} & {c.evidence.to_json()["kind"] for c in found.proof.cases} == set()
    assert tried > 500


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"schema": "asi-verify/vnnlib/2"},
        {"container": "x"},
        {"semantics": "exact"},
        {"artifact": "x"},
        {"cases": [{}]},
        {"cases": [{"case": "x"}] * 10_001},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_of_the_schema_is_refused(honest, change):
    """Another field, another version, what is no digest, what is no case, and too many of them."""
    value = parse_json(honest["proof.json"])
    with pytest.raises(CertificateError):
        VnnlibProof.from_bytes(canonical_json({**value, **change}))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**value, **change}, vnnlib_schema())


def vnnlib_schema():
    from importlib import resources

    text = resources.files("asi_verify.core").joinpath("schema/vnnlib-1.json").read_text("utf-8")
    found = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_what_is_written_is_what_the_schema_says(honest):
    """And the schema says its own name."""
    value = json.loads(honest["proof.json"])
    jsonschema.validate(value, vnnlib_schema())
    assert vnnlib_schema()["$id"] == value["schema"]


def with_head(operator):
    """An artifact that ends in an operator of one vector."""
    import onnx

    model = onnx.load_model_from_string(write_artifact(mlp(np.random.default_rng(5), 3, 2)))
    (output,) = model.graph.output
    last = onnx.helper.make_node(operator, [output.name], ["answer"])
    model.graph.node.append(last)
    output.name = "answer"
    return model.SerializeToString()


@pytest.mark.parametrize("operator", ["Softmax", "Sigmoid"])
def test_constants_are_compared_with_what_the_model_answers(operator):
    """Its probabilities, which stay below 1 where its logits do not; not the logits."""
    artifact = with_head(operator)
    logits = TrustedPass(read_network(artifact), Semantics.FLOAT32)
    ends = np.full((1, 3), -9, np.float32), np.full((1, 3), 9, np.float32)
    assert logits.enclosure(Box(*ends)).upper.max() > 2
    bounds = " ".join(f"(>= X_{i} -9) (<= X_{i} 9)" for i in range(3))
    for constraint, holds in (("(>= Y_0 1.5)", True), ("(>= Y_0 0.5)", False)):
        text = declared(3, 2) + f"(assert (and {bounds} {constraint}))"
        files = proof_files(artifact, text, [IntervalEvidence()])
        assert check_vnnlib_files(reader(files)).holds == holds


def test_a_head_without_a_rule_is_refused():
    """The logarithm of a softmax has none."""
    with pytest.raises(ModelError, match="log-softmax"):
        network_of(with_head("LogSoftmax"))


def test_inputs_and_outputs_are_numbered_in_c_order():
    """Of an input and an output of any shape."""
    weight = np.arange(36, dtype=np.float32).reshape(6, 6)
    layers = [Reshape((6,)), Affine(weight, np.zeros(6, np.float32)), Reshape((3, 2))]
    network = network_of(write_artifact(Network.sequential((2, 3), [*layers, Relu()])))
    assert network.output_shape == (6,)
    text = declared(6, 6) + "".join(
        f"(assert (>= X_{i} {i})) (assert (<= X_{i} {i}))" for i in range(6)
    )
    asked = read_vnnlib(text.encode())
    require_fit(asked, network)
    box = boxes_of(asked, network)
    found = TrustedPass(network, Semantics.REAL).enclosure(box)
    np.testing.assert_allclose(found.lower[0], weight @ np.arange(6), rtol=1e-6)


def test_more_constraints_than_a_pass_can_hold_are_refused(artifact, text, monkeypatch):
    """Before anything of that size is allocated; here with a limit that is soon reached."""
    asked, network = read_vnnlib(text.encode()), network_of(artifact)
    require_fit(asked, network)
    monkeypatch.setattr(checker_room, "LARGEST_PASS", 10)
    with pytest.raises(PropertyError, match="2 constraints"):
        require_fit(asked, network)


def test_an_image_classifier_is_asked_in_numbers(tmp_path):
    """A convolutional network's input of several axes is flat in the text."""
    artifact = write_artifact(small_cnn(np.random.default_rng(0)))
    network = read_network(artifact)
    bounds = "".join(f"(assert (and (>= X_{i} 0.5) (<= X_{i} 0.5001)))" for i in range(64))
    trusted = TrustedPass(network, Semantics.FLOAT32)
    centre = np.full((1, 1, 8, 8), 0.5, np.float32)
    label = int(trusted.enclosure(Box(centre, centre.copy())).lower.argmax())
    others = " ".join(f"(<= Y_{label} Y_{j})" for j in range(3) if j != label)
    text = declared(64, 3) + bounds + f"(assert (or {others}))"
    # With so many inputs each conjunction is a case of its own.
    files = proof_files(artifact, text, [LinearEvidence(BACKWARD)] * 2)
    assert outcome(files) == (Outcome.ACCEPTED, "")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert check_vnnlib(tmp_path).holds


def test_the_command_knows_both_kinds_of_folder(honest, tmp_path, capsys):
    """Exit code 0 if the proof holds, 1 if not; a folder of certificates needs its data set."""
    for name, data in honest.items():
        (tmp_path / name).write_bytes(data)
    assert main([str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["outcome"], printed["cases"], printed["reason"]) == ("accepted", 2, "")
    (tmp_path / "property.vnnlib").write_bytes(honest["property.vnnlib"] + b" ")
    assert main([str(tmp_path)]) == 1
    assert "has the digest" in json.loads(capsys.readouterr().out)["reason"]
    (tmp_path / "proof.json").write_bytes(b"{}")
    assert main([str(tmp_path)]) == 2
    (tmp_path / "proof.json").unlink()
    assert main([str(tmp_path)]) == 2
    assert "--data" in capsys.readouterr().err


def test_bounds_that_are_kept_are_those_of_the_same_region(artifact):
    """Regions in turn, as the cases of a query may have them, get what each gets alone."""
    trusted = TrustedPass(network_of(artifact), Semantics.FLOAT32)
    roots = Roots(trusted)
    shape = (1, *trusted.network.input_shape)
    boxes = [Box(np.full(shape, -end), np.full(shape, end)) for end in (0.25, 0.5, 0.25)]
    boxes.append(Box(*(np.concatenate([getattr(b, e) for b in boxes]) for e in ("lower", "upper"))))
    for intermediate in (Intermediate.INTERVAL, Intermediate.BACKWARD, Intermediate.INTERVAL):
        for box in boxes:
            found, alone = roots.bounds(box, intermediate), trusted.bounds(box, intermediate)
            for one, other in zip(found.boxes, alone.boxes, strict=True):
                assert np.array_equal(one.lower, other.lower)
                assert np.array_equal(one.upper, other.upper)


@pytest.fixture
def identity():
    """One input, which is the output."""
    return write_artifact(Network.sequential((1,), [Affine(np.float32([[1]]), np.float32([0]))]))


@pytest.mark.parametrize("evidence", [IntervalEvidence(), LinearEvidence(BACKWARD)], ids=str)
def test_every_case_is_asked_over_its_own_box(identity, evidence):
    """Cases of one property are checked together, whatever stands between them."""
    cases = [(0, 0.1, 1), (0, 0.2, 5), (2, 3, 1), (0, 0.3, 1)]
    formulas = (
        f"(and (>= X_0 {low}) (<= X_0 {high}) (>= Y_0 {least}))" for low, high, least in cases
    )
    text = declared(1, 1) + f"(assert (or {' '.join(formulas)}))"
    rejected(proof_files(identity, text, [evidence] * 4), "case 2: the bound does not close")


def test_bounds_are_kept_by_both_ends_of_a_region_and_every_clause_counts(identity):
    """A box that only ends elsewhere is another; one clause that holds is not all of them."""
    roots = Roots(TrustedPass(network_of(identity), Semantics.FLOAT32))
    small, large = (Box(np.float32([[0]]), np.float32([[end]])) for end in (1, 9))
    below_5, below_2 = ((Inequality((-1,), Fraction(end)),) for end in (5, 2))
    for evidence in (IntervalEvidence(), LinearEvidence(BACKWARD)):
        assert roots.margins(small, Clauses(1, (below_5, below_2)), evidence)[0] > 0.9
        assert roots.margins(large, Clauses(1, (below_5,)), evidence)[0] < -3.9
        low, high = np.float32([[1]]), np.float32([[3]])
        assert roots.margins(Box(low, high), Clauses(1, (below_5, below_2)), evidence)[0] < -0.9
