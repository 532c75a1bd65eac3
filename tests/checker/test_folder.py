"""The certificate checker: what is true is accepted, what was changed is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.folders import SCRIPT, by_tree, certificate, delegated, make_folder, write_npz
from support.networks import small_cnn
from support.trees import random_tree

from asi_verify.checker import (
    CheckResult,
    Outcome,
    TrustedPass,
    check_certificates,
    check_folder,
    read_claims,
)
from asi_verify.checker.command import main
from asi_verify.checker.folder import _LARGEST
from asi_verify.core.canonical import array_digest, bytes_digest, canonical_json
from asi_verify.core.certificate import parse_json
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network
from asi_verify.core.operators import Affine, Reshape
from asi_verify.core.properties import MultiLabel, SingleLabel
from asi_verify.core.region import Region
from asi_verify.core.semantics import Semantics
from asi_verify.core.split_tree import LEAF, NODE, PHASE, Slopes, SplitTree
from asi_verify.errors import CertificateError, DataError
from asi_verify.lowering import read_network, write_artifact


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def made(original, tmp_path):
    """A copy that a test may spoil."""
    copy = dataclasses.replace(original, certificates=list(original.certificates))
    return copy.write(tmp_path)


def check(made):
    return check_folder(made.place, made.images, made.labels)


def test_what_is_true_is_accepted(made):
    """Every certificate that was made honestly, by each kind of evidence; the status follows."""
    result = check(made)
    assert result.rows(Outcome.ACCEPTED) == [c.row for c in made.certificates]
    assert not result.reasons
    assert not result.refused
    assert {c.evidence for c in made.certificates} >= {IntervalEvidence()}
    assert len({c.evidence for c in made.certificates}) >= 2
    assert result.contradictions == {0, 1}
    assert result.status.open == 22 - len(made.certificates)
    assert result.status.contradictions == 2
    assert result.missing == sorted(set(range(2, 24)) - {c.row for c in made.certificates})
    assert result.digests == {c.row: c.digest for c in made.certificates}


def test_a_bound_that_does_not_close_is_rejected(made):
    """Evidence too weak for the row, and a label that is not the model's."""
    strong = next(c for c in made.certificates if c.evidence != IntervalEvidence())
    weak = dataclasses.replace(strong, evidence=IntervalEvidence())
    made.certificates = [weak]
    result = check(made.write())
    assert result.outcomes == {weak.row: Outcome.REJECTED}
    assert "does not close" in result.reasons[weak.row]
    wrong = np.array(made.labels)
    wrong[2] = (wrong[2] + 1) % 3
    made.labels = wrong
    made.claims = dataclasses.replace(
        made.claims, dataset=dataclasses.replace(made.claims.dataset, labels=array_digest(wrong))
    )
    made.certificates = [certificate(made, 2, LinearEvidence(Intermediate.BACKWARD))]
    assert "does not close" in check(made.write()).reasons[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda q: {"artifact": "0" * 64}, "another model"),
        (lambda q: {"region": Region(LInf.of("2/255"), q.region.centre)}, "another kind of region"),
        (lambda q: {"region": Region(LInf.of("0"), q.region.centre)}, "another kind of region"),
        (lambda q: {"region": Region(q.region.family, "0" * 64)}, "another image"),
        (lambda q: {"property_": SingleLabel(0, 2)}, "speaks of 2 logits"),
        (
            lambda q: {"property_": SingleLabel((q.property_.label + 1) % 3, 3)},
            "not that of the sample",
        ),
        (lambda q: {"property_": MultiLabel((1, 0, 0))}, "not that of the sample"),
    ],
)
def test_a_certificate_about_something_else_is_rejected(made, change, says):
    """Well-formed, with its own right digest, and not what the folder claims."""
    first = made.certificates[0]
    query = dataclasses.replace(first.query, **change(first.query))
    made.certificates[0] = dataclasses.replace(first, query=query)
    result = check(made.write())
    assert result.outcomes[first.row] is Outcome.REJECTED
    assert says in result.reasons[first.row]
    assert len(result.rows(Outcome.ACCEPTED)) == len(made.certificates) - 1


def test_a_certificate_on_another_row_is_rejected(made):
    """The row is compared with the image that lies there; a row that is not there is refused."""
    first, second, *rest = made.certificates
    made.certificates = [dataclasses.replace(first, row=second.row), *rest]
    assert "its centre is another image" in check(made.write()).reasons[second.row]
    for row in (len(made.images), 10**6):
        made.certificates = [dataclasses.replace(first, row=row)]
        assert "does not exist" in check(made.write()).reasons[row]


def test_a_certificate_of_other_semantics_is_rejected(made):
    """What holds in one arithmetic says nothing of another."""
    first = made.certificates[0]
    query = dataclasses.replace(first.query, semantics="another")
    other = dataclasses.replace(first, query=query)
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    found = check_certificates(trusted, made.claims, [first, other], made.images, made.labels, {})
    assert [outcome for outcome, _ in found] == [Outcome.ACCEPTED, Outcome.REJECTED]
    assert "other semantics" in found[1][1]


@pytest.mark.parametrize(
    ("semantics", "outcome"),
    [(Semantics.REAL, Outcome.ACCEPTED), (Semantics.FLOAT32, Outcome.REJECTED)],
)
def test_the_bound_is_derived_in_the_claimed_semantics(made, semantics, outcome):
    """A margin of one unit in the last place is one over the reals and none in float32."""
    bias = np.float32([1, 1 - 2.0**-24, 0])
    layers = [Reshape((64,)), Affine(np.zeros((3, 64), np.float32), bias)]
    made.artifact = write_artifact(Network.sequential((1, 8, 8), layers))
    made.labels = np.zeros_like(made.labels)
    made.claims = dataclasses.replace(
        made.claims,
        artifact=bytes_digest(made.artifact),
        semantics=semantics,
        contradictions=(),
        dataset=dataclasses.replace(made.claims.dataset, labels=array_digest(made.labels)),
    )
    true = certificate(made, 5, IntervalEvidence())
    query = dataclasses.replace(true.query, semantics=semantics)
    made.certificates = [dataclasses.replace(true, query=query)]
    assert check(made.write()).outcomes == {5: outcome}


@pytest.mark.parametrize("margin", [np.nan, -np.inf, 0.0])
def test_a_bound_that_is_not_above_0_proves_nothing(made, monkeypatch, margin):
    """Whatever the trusted pass returns: 0 is a tie, and a NaN is no bound."""
    monkeypatch.setattr(TrustedPass, "margins", lambda _, box, *__: np.full(len(box), margin))
    result = check(made)
    assert result.rows(Outcome.REJECTED) == [c.row for c in made.certificates]


def test_a_folder_holds_only_if_something_is_accepted_and_nothing_rejected(made):
    """Where every sample contradicts another nothing is open, and nothing is shown either."""
    everything = frozenset(range(24))
    for outcomes, outside, holds in (
        ({}, 0, False),
        ({0: Outcome.ACCEPTED}, 1, True),
        ({0: Outcome.ACCEPTED}, 0, False),  # of one that is in a contradiction itself
        ({0: Outcome.ACCEPTED, 1: Outcome.REJECTED}, 1, False),
        ({0: Outcome.DELEGATED}, 0, False),
    ):
        contradictions = frozenset(range(outside, 24))
        result = CheckResult(made.claims, outcomes, {}, {}, contradictions, (), everything)
        assert result.status.is_zero
        assert result.holds is holds


def test_a_solvers_word_is_delegated_and_certifies_nothing(made):
    """Its script has to be there, and it never counts as accepted."""
    made.certificates = [delegated(made, 5)]
    result = check(made.write())
    assert result.outcomes == {5: Outcome.DELEGATED}
    assert "z3" in result.reasons[5]
    assert result.status.open == 22
    (container,) = made.place.glob("*.bin")
    assert SCRIPT in container.read_bytes()


def test_a_solvers_word_without_its_script_is_rejected(made):
    """What another solver cannot be asked again is nobody's word."""
    made.certificates = [delegated(made, 5)]
    made = made.write()
    shard = dataclasses.replace(made.claims.shards[0], container=None)
    claims = dataclasses.replace(made.claims, shards=(shard,))
    (made.place / "claims.json").write_bytes(claims.to_bytes())
    assert "that it names is missing" in check(made).reasons[5]


def trees_for(made, count=3):
    """A random tree without multipliers for each of some rows that intervals certify."""
    generator = np.random.default_rng(0)
    trusted = TrustedPass(read_network(made.artifact), Semantics.REAL)
    rows = [c.row for c in made.certificates if c.evidence == IntervalEvidence()][:count]
    boxes = made.claims.family.boxes(made.images)
    trees = {row: random_tree(generator, trusted, 2, 3, boxes[[row]]) for row in rows}
    return {
        row: SplitTree(
            2, t.neurons, t.nodes, tuple(np.zeros_like(m) for m in t.multipliers), t.slopes
        )
        for row, t in trees.items()
    }


def test_split_trees_are_checked_and_lie_in_the_container(made):
    """Each tree closes here because intervals do; its own bytes are what is checked."""
    trees = trees_for(made)
    made.certificates = [by_tree(made, row, tree.to_bytes()) for row, tree in trees.items()]
    result = check(made.write())
    assert result.rows(Outcome.ACCEPTED) == sorted(trees)
    assert len(list(made.place.glob("*.bin"))) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_tree_that_does_not_close_is_rejected(made, seed):
    """Multipliers large enough make any bound useless, and no bound true that is not."""
    ((row, tree),) = trees_for(made, 1).items()
    nodes = np.array([(PHASE, seed, 0), (LEAF, 0, 0), (LEAF, 0, 0)], dtype=NODE)
    huge = (np.full((2, 1), 1e6, np.float32),) * 2
    bad = SplitTree(2, tree.neurons, nodes, huge, ())
    made.certificates = [by_tree(made, row, bad.to_bytes())]
    assert "does not close" in check(made.write()).reasons[row]


def weighed(rows, neurons):
    """A tree with weights for rows that are no terms of a sum."""
    slopes = Slopes.nearest(np.full((rows, neurons), np.nan), np.ones(rows, np.uint8))
    leaf = np.array([(LEAF, 1, 0)], dtype=NODE)
    return SplitTree(rows, neurons, leaf, (np.zeros((rows, 0), np.float32),), (slopes,)).to_bytes()


def test_trees_of_others_and_what_is_no_tree_are_rejected(made):
    """Another network's, another property's, cut off, not a tree at all, and none at all."""
    ((row, tree),) = trees_for(made, 1).items()
    leaf = np.array([(LEAF, 0, 0)], dtype=NODE)
    for data, says in (
        (SplitTree(2, 7, leaf, (np.zeros((2, 0), np.float32),), ()).to_bytes(), "7 neurons"),
        (SplitTree(1, tree.neurons, leaf, (np.zeros((1, 0), np.float32),), ()).to_bytes(),
         "for 1 rows"),
        (weighed(2, tree.neurons), "no clause has several rows"),
        (tree.to_bytes()[:-1], "too early"),
        (SCRIPT, "first bytes"),
        (b"ASIVTRE2", "too early"),
        (b"ASIVTREE", "first bytes"),
        (b"another kind of file", "first bytes"),
    ):  # fmt: skip
        made.certificates = [by_tree(made, row, data)]
        assert says in check(made.write()).reasons[row]
    made.certificates = [by_tree(made, row, tree.to_bytes())]
    made = made.write()
    shard = dataclasses.replace(made.claims.shards[0], container=None)
    claims = dataclasses.replace(made.claims, shards=(shard,))
    (made.place / "claims.json").write_bytes(claims.to_bytes())
    assert "that it names is missing" in check(made).reasons[row]


def test_another_model_is_refused(made):
    """The artifact's bytes are compared with the claimed digest."""
    other = write_artifact(small_cnn(np.random.default_rng(99)))
    (made.place / "artifact.onnx").write_bytes(other)
    result = check(made)
    assert "another model" in result.refused[0]
    assert result.status is None
    assert not result.outcomes


def test_another_model_with_its_own_claims_is_rejected_row_by_row(made):
    """Changing the digests everywhere does not make the bounds close."""
    other = write_artifact(small_cnn(np.random.default_rng(99)))
    made.artifact = other
    made.claims = dataclasses.replace(made.claims, artifact=bytes_digest(other))
    made.certificates = [
        dataclasses.replace(c, query=dataclasses.replace(c.query, artifact=bytes_digest(other)))
        for c in made.certificates
    ]
    result = check(made.write())
    assert len(result.rows(Outcome.REJECTED)) > len(made.certificates) / 2


@pytest.mark.parametrize("spoil", ["pixel", "label", "order", "fewer", "labels"])
def test_another_data_set_is_refused(made, spoil):
    """One pixel or one label is enough."""
    images, labels = made.images.copy(), made.labels.copy()
    if spoil == "pixel":
        images[3, 0, 2, 2] ^= 1
    elif spoil == "label":
        labels[3] = (labels[3] + 1) % 3
    elif spoil == "order":
        images, labels = images[::-1], labels[::-1]
    elif spoil == "fewer":
        images, labels = images[:-1], labels[:-1]
    else:
        labels = labels[:-1]
    result = check_folder(made.place, images, labels)
    assert result.refused
    assert result.status is None


def test_images_that_are_none_are_refused(made):
    """NaN pixels never reach a bound."""
    with pytest.raises(DataError):
        check_folder(made.place, np.full((24, 1, 8, 8), np.nan, np.float32), made.labels)


def test_a_changed_shard_is_refused_whole(made):
    """The claims name every shard's bytes, what lies outside a certificate's digest included."""
    path = made.place / "00000.jsonl"
    lines = path.read_bytes().split(b"\n")
    value = parse_json(lines[0])
    value["provenance"] = {"engine": "mine"}
    path.write_bytes(b"\n".join([canonical_json(value), *lines[1:]]))
    result = check(made)
    assert "its bytes are not those" in result.refused[0]
    assert result.missing == []
    assert not result.outcomes
    assert result.status is None


def rewritten(made, lines: list[bytes], ending: bytes = b"\n", certificates: int | None = None):
    """The folder with other lines in its shard, and claims that name them."""
    data = b"\n".join(lines) + ending
    (made.place / "00000.jsonl").write_bytes(data)
    shard = dataclasses.replace(
        made.claims.shards[0],
        sha256=bytes_digest(data),
        certificates=len(lines) if certificates is None else certificates,
    )
    claims = dataclasses.replace(made.claims, shards=(shard,))
    (made.place / "claims.json").write_bytes(claims.to_bytes())
    return check(made)


def test_shards_with_other_lines_are_refused(made):
    """Half lines, missing lines, doubled rows, and what is no certificate."""
    lines = (made.place / "00000.jsonl").read_bytes().splitlines()
    assert "whole lines" in rewritten(made, lines, ending=b"").refused[0]
    assert "whole lines" in rewritten(made, lines, certificates=3).refused[0]
    assert "two certificates" in rewritten(made, [*lines, lines[0]]).refused[0]
    assert "canonical" in rewritten(made, [*lines, b"{}  "]).refused[0]
    assert "fields" in rewritten(made, [b"{}"]).refused[0]
    assert rewritten(made, lines).status is not None


def test_a_row_in_two_shards_is_refused(made):
    """No row is counted twice."""
    data = (made.place / "00000.jsonl").read_bytes()
    (made.place / "00001.jsonl").write_bytes(data)
    first = made.claims.shards[0]
    claims = dataclasses.replace(
        made.claims, shards=(first, dataclasses.replace(first, file="00001.jsonl"))
    )
    (made.place / "claims.json").write_bytes(claims.to_bytes())
    assert "00001.jsonl: a row has two certificates" in check(made).refused


def test_a_changed_container_is_refused(made):
    """Its bytes are named by the claims."""
    made.certificates = [delegated(made, 5)]
    made = made.write()
    (container,) = made.place.glob("*.bin")
    container.write_bytes(container.read_bytes().replace(b"check", b"chuck"))
    assert "00000.bin" in check(made).refused[0]


def test_missing_and_oversized_files_are_refused(made, monkeypatch):
    """A folder without claims is none; a shard that is not there is named."""
    (made.place / "00000.jsonl").unlink()
    assert "no such file" in check(made).refused[0]
    monkeypatch.setitem(_LARGEST, ".json", 10)
    with pytest.raises(CertificateError, match="10 are allowed"):
        check(made)
    with pytest.raises(CertificateError, match="certificate folder"):
        read_claims(made.place / "nowhere")


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (((0, 1), (2, 3)), "do not contradict"),
        (((0, 99),), "does not exist"),
        (((2, 4),), "do not contradict"),
    ],
)
def test_contradictions_that_are_none_are_refused(made, pairs, says):
    """Leaving a sample out of the claim needs a pair that really meets."""
    made.claims = dataclasses.replace(made.claims, contradictions=pairs)
    result = check(made.write())
    assert any(says in reason for reason in result.refused)
    assert result.status is None


def test_equal_labels_never_contradict(made):
    """The same pixels with the same label are duplicates, not contradictions."""
    labels = made.labels.copy()
    labels[1] = labels[0]
    made.labels = labels
    made.claims = dataclasses.replace(
        made.claims, dataset=dataclasses.replace(made.claims.dataset, labels=array_digest(labels))
    )
    assert "do not contradict" in check(made.write()).refused[0]


def test_labels_that_do_not_fit_the_model_are_refused(made):
    """A label beyond the model's classes has no property."""
    labels = made.labels.copy()
    labels[:3] = 7
    made.labels = labels
    made.claims = dataclasses.replace(
        made.claims, dataset=dataclasses.replace(made.claims.dataset, labels=array_digest(labels))
    )
    made.certificates = [c for c in made.certificates if c.row > 2]
    result = check(made.write())
    assert any("label: 7" in reason for reason in result.refused)
    made.claims = dataclasses.replace(made.claims, contradictions=())
    first = made.certificates[0]
    row = dataclasses.replace(
        first,
        row=2,
        query=dataclasses.replace(
            first.query, region=Region(made.claims.family, array_digest(made.images[2]))
        ),
    )
    made.certificates = [row, *made.certificates]
    assert "label: 7" in check(made.write()).reasons[2]


def test_about_predictions_any_label_may_be_proved(made):
    """A claim of stability does not depend on the labels; a claim about labels does."""
    labels = made.labels.copy()
    labels[2:] = (labels[2:] + 1) % 3
    claimed = dataclasses.replace(
        made.claims.dataset, labels=array_digest(labels), target="prediction"
    )
    made.claims = dataclasses.replace(made.claims, dataset=claimed)
    made.labels = labels
    result = check(made.write())
    assert result.status is None
    assert "predictions do not" in result.refused[0]
    made.claims = dataclasses.replace(made.claims, contradictions=())
    result = check(made.write())
    assert not result.refused
    assert len(result.rows(Outcome.ACCEPTED)) == len(made.certificates)
    made.claims = dataclasses.replace(
        made.claims, dataset=dataclasses.replace(claimed, target="label")
    )
    assert not check(made.write()).rows(Outcome.ACCEPTED)


def test_an_artifact_that_cannot_be_read_refuses_the_folder(made):
    """Whatever is wrong with it, the reason is given."""
    made.artifact = b"no model"
    made.claims = dataclasses.replace(made.claims, artifact=bytes_digest(b"no model"))
    assert "not an ONNX file" in check(made.write()).refused[0]


def checked(made):
    """What the checker finds, or the error with which it refuses to look."""
    try:
        return check(made)
    except CertificateError as error:
        return error


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_is_ever_accepted_as_more(original, data):
    """Random bytes anywhere: accepted rows are never other than the honest ones, reasons always."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        spoiled = original.write(Path(place))
        files = sorted(path.name for path in spoiled.place.iterdir())
        name = data.draw(st.sampled_from(files))
        content = bytearray((spoiled.place / name).read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        noise = data.draw(st.binary(min_size=1, max_size=4))
        if bytes(content[position : position + len(noise)]) == noise:
            return
        content[position : position + len(noise)] = noise
        (spoiled.place / name).write_bytes(content)
        result = checked(spoiled)
        if isinstance(result, CertificateError):
            assert str(result)
            return
        if name == "claims.json":
            # Provenance, the data set's name and its split prove nothing and may be anything.
            honest = {c.row for c in original.certificates}
            assert set(result.rows(Outcome.ACCEPTED)) <= honest
        else:
            assert result.refused
            assert result.status is None


def test_the_command_prints_one_line_of_json(made, tmp_path, capsys):
    """Exit code 0 if every claim holds and nothing is open, 1 if something is open or rejected."""
    write_npz(made, tmp_path / "data.npz")
    assert main([str(made.place), "--data", str(tmp_path / "data.npz")]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["accepted"] == len(made.certificates)
    assert printed["missing"] == 22 - len(made.certificates)
    assert printed["contradictions"] == [0, 1]
    claims = made.claims
    assert printed["region"] == claims.family.to_json()
    assert (printed["semantics"], printed["about"]) == (claims.semantics.value, "label")
    assert printed["model"] == claims.artifact


def test_the_command_exits_with_0_when_nothing_is_open(tmp_path, capsys):
    """At radius 0 all of these samples can be certified."""
    made = make_folder(tmp_path / "certificates", family=LInf.of(0))
    write_npz(made, tmp_path / "data.npz")
    assert main([str(made.place), "--data", str(tmp_path / "data.npz")]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "zero_except(2)"


def test_the_command_refuses_wrong_use_in_one_line(made, tmp_path, capsys):
    """Files that are not there or no data: exit code 2 and no traceback."""
    assert main([str(tmp_path / "nowhere"), "--data", "x.npz"]) == 2
    assert main([str(made.place), "--data", str(tmp_path / "x.npz")]) == 2
    (tmp_path / "bad.npz").write_bytes(b"PK")
    assert main([str(made.place), "--data", str(tmp_path / "bad.npz")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert all(line.startswith("error: ") for line in errors)


def test_several_labels_per_image_are_read_as_they_are(tmp_path):
    """A column of labels is one label each; more columns are decisions."""
    from asi_verify.checker.command import load_split

    images = np.zeros((2, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", val_images=images, val_labels=np.array([[1], [0]]))
    np.savez(tmp_path / "b.npz", val_images=images, val_labels=np.eye(2))
    assert load_split(str(tmp_path / "a.npz"), "val")[1].shape == (2,)
    assert load_split(str(tmp_path / "b.npz"), "val")[1].shape == (2, 2)
