"""The stress test: what must raise an alarm does, and what claims nothing raises none."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from support.runs import quick_run, trained

import asi_verify as asi
from asi_verify.bugs import evaluate
from asi_verify.cli import main
from asi_verify.core.certificate import Certificate
from asi_verify.core.evidence import IntervalEvidence
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.linf import LInf
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Affine
from asi_verify.core.properties import property_for
from asi_verify.core.query import Query
from asi_verify.core.region import Region
from asi_verify.data import phantom
from asi_verify.errors import UsageError
from asi_verify.export import Artifact
from asi_verify.lowering import read_network, write_artifact
from asi_verify.runtime import Session
from asi_verify.store import RunFolder, write_certificates
from asi_verify.stress import Attack, Battery, Claimed, edge_cases, validation_schema
from asi_verify.stress.attacks import attacked
from asi_verify.stress.determinism import determinism
from asi_verify.stress.edge_cases import members

QUICK = Battery((Attack("apgd", "inf", steps=10, restarts=1),), most=8)


@pytest.fixture(scope="module")
def data():
    """Phantom images without contradictions."""
    made, _ = phantom(9, samples=(40, 12, 12), duplicates=0, across=0, dual_labels=0, near=())
    return made


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run folder in which every image is proved."""
    out = tmp_path_factory.mktemp("stress") / "out"
    result = quick_run(data, out=out)
    assert result.status.is_zero
    return out


def copied(finished, place):
    """A result in a folder of its own."""
    asi.load(finished).save(place)
    return place


def forged(folder, model):
    """Let the certificates of a folder say that they are about another model."""
    run = RunFolder.open(folder)
    claims = asi.load(folder).claims
    digest = Artifact.from_bytes(model).digest
    certificates = [
        dataclasses.replace(found, query=dataclasses.replace(found.query, artifact=digest))
        for shard in claims.shards
        for found in map(
            Certificate.from_bytes, run.files.require("certificates/" + shard.file).splitlines()
        )
    ]
    claims = dataclasses.replace(claims, artifact=digest, shards=())
    write_certificates(run.files, "certificates/", claims, model, certificates, {})


def saved(data, path):
    """The data set as a file."""
    arrays = {}
    for name, samples in data.splits.items():
        arrays |= {
            f"{name}_images": samples.images[:, 0],
            f"{name}_labels": samples.labels[:, None],
        }
    np.savez(path, **arrays)
    return str(path)


def turned(artifact):
    """The model that answers the other class."""
    network = read_network(artifact)
    last = network.nodes[-1]
    other = Affine(-last.operator.weight, -last.operator.bias)
    return write_artifact(
        Network(network.input_shape, (*network.nodes[:-1], Node(other, last.inputs)))
    )


def test_nothing_breaks_what_is_proved(data, finished, tmp_path):
    """Every member of every region keeps its answer; the file fits its schema."""
    folder = copied(finished, tmp_path / "run")
    found = asi.validate(folder, data, battery=QUICK)
    assert found.holds
    assert found.claimed == 40
    for trial in (*found.edge_cases, *found.attacks):
        assert not trial.inside or trial.kept == trial.tried > 0
    assert found.determinism.decisions_differ == found.determinism.outside == 0
    assert set(found.corruptions) == {"val", "test"}
    assert found.corruptions["test"]["none"] == [
        asi.load(folder).summary["after"]["accuracy"]["test"]
    ]
    written = json.loads((folder / "validation.json").read_text())
    jsonschema.validate(written, validation_schema())
    assert written == json.loads(json.dumps(found.to_json()))
    assert asi.validate(folder, data, battery=QUICK).to_json() == found.to_json()


def test_certificates_forged_for_a_wrong_model_raise_alarms(data, finished, tmp_path, capsys):
    """The checker rejects them, and the model's own answers contradict them; exit code 1."""
    folder = copied(finished, tmp_path / "run")
    forged(folder, turned(asi.load(folder).artifact))
    found = asi.validate(folder, data, battery=QUICK)
    assert not found.holds
    raised = {alarm.trial for alarm in found.alarms}
    assert {"check", "as they are", "corner", QUICK.attacks[0].name} <= raised
    checked = {alarm.row: alarm.detail for alarm in found.alarms if alarm.trial == "check"}
    assert set(checked) == {None, *range(40)}
    assert "model: " in checked[None]  # the run ended with another
    assert "another run's certificates" in checked[None]
    jsonschema.validate(json.loads(json.dumps(found.to_json())), validation_schema())
    file = saved(data, tmp_path / "data.npz")
    assert main(["validate", str(folder), "--dataset", file, "--no-attacks"]) == 1
    assert "ALARM (check, row 0)" in capsys.readouterr().out


def test_an_attack_breaks_what_is_claimed_and_not_so(data, tmp_path):
    """Certificates of an ordinary model's centres, said to reach far, are broken between them."""
    model = Artifact.from_network(trained(data).to_network())
    samples = data.split("train")
    evaluation = evaluate(model, samples)
    rows = np.flatnonzero(~evaluation.wrong)
    result = asi.certify(model.data, data, "8/255", stages=(), out=tmp_path / "run")
    family = LInf.of("8/255")
    certificates = [
        Certificate(
            int(row),
            Query(
                model.digest,
                Region(family, samples.image_digests[row]),
                property_for(samples.labels[row], model.network.logits),
                result.claims.semantics,
            ),
            IntervalEvidence(),
        )
        for row in rows
    ]
    claims = dataclasses.replace(result.claims, shards=())
    write_certificates(result.folder.files, "certificates/", claims, model.data, certificates, {})
    found = asi.validate(result, data, battery=Battery((Attack("apgd", "inf", steps=40),), most=40))
    assert any(alarm.trial.startswith("apgd") for alarm in found.alarms)
    broken = {alarm.row for alarm in found.alarms if alarm.trial.startswith("apgd")}
    assert broken <= set(rows.tolist())
    assert not any(alarm.trial == "as they are" for alarm in found.alarms)


@pytest.fixture
def claimed(data, finished):
    """What the run claims."""
    model, samples = Artifact.from_bytes(asi.load(finished).artifact), data.split("train")
    properties = tuple(property_for(label, model.network.logits) for label in samples.labels)
    rows = tuple(range(len(samples)))
    return Claimed(model, LInf.of("1/255"), rows, samples.images, samples.labels, properties)


def test_inputs_outside_the_regions_are_no_alarm(claimed):
    """However they are answered: they are not counted at all."""
    points = 1 - encode(claimed.images)
    trial, alarms = claimed.judge("inverted", points)
    assert trial.tried == np.count_nonzero(claimed.family.contains(points, claimed.images))
    assert alarms == []
    wrong = dataclasses.replace(claimed, properties=claimed.properties[::-1])
    trial, alarms = wrong.judge("as they are", encode(claimed.images))
    assert trial.tried == len(claimed)
    assert len(alarms) == trial.tried - trial.kept > 0


@pytest.mark.parametrize("family", [LInf.of("1/255"), KPixel(2, (0, 255))], ids=str)
@pytest.mark.parametrize("attack", [Attack("apgd", "2", steps=3), Attack("square", "inf")], ids=str)
def test_every_point_of_an_attack_inside_is_a_member(claimed, family, attack):
    """Whatever the library returns is drawn back; beyond the regions nothing is an alarm."""
    some = dataclasses.replace(claimed, family=family).take(np.arange(4))
    trial, _ = attacked(dataclasses.replace(attack, steps=3, restarts=1), some, 0)
    assert trial.inside
    assert trial.tried == 4
    beyond = dataclasses.replace(attack, steps=3, restarts=1, reach=30.0)
    trial, alarms = attacked(beyond, some, 0)
    assert not trial.inside
    assert alarms == []


def test_an_attack_leaves_the_global_generators_alone(claimed):
    """And gives the same for the same seed, whatever they are."""
    attack = Attack("square", "inf", reach=20.0, steps=5, restarts=1)
    some = claimed.take(np.arange(6))
    np.random.seed(5)  # noqa: NPY002
    first = attacked(attack, some, 3)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert np.random.random() == drawn  # noqa: NPY002
    assert attacked(attack, some, 3) == first


def test_another_decision_and_a_logit_outside_are_alarms(claimed, monkeypatch):
    """A runtime that answers otherwise in batches of 7, and one that is off everywhere."""
    assert determinism(claimed)[1] == []
    honest = Session.run
    monkeypatch.setattr(
        Session, "run", lambda self, x: -honest(self, x) if len(x) == 7 else honest(self, x)
    )
    found, alarms = determinism(claimed)
    assert found.decisions_differ > 0
    assert any("another decision" in alarm.detail for alarm in alarms)
    monkeypatch.setattr(Session, "run", lambda self, x: honest(self, x) + np.float32(0.01))
    found, alarms = determinism(claimed)
    assert found.decisions_differ == found.bits_differ == 0
    assert found.outside == len(claimed)
    assert {alarm.row for alarm in alarms} == set(claimed.rows)


def test_without_the_library_the_remedy_is_named(claimed, monkeypatch):
    """And the rest of the battery still runs."""
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.setitem(sys.modules, "art.attacks", None)
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", None)
    with pytest.raises(UsageError, match=r"asi-verify\[stress\]"):
        attacked(Attack("apgd", "inf"), claimed, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "fgsm"},
        {"norm": "0"},
        {"method": "square", "norm": "2"},
        {"reach": 0},
        {"steps": 0},
        {"restarts": 0},
    ],
)
def test_attacks_that_are_none_are_refused(wrong):
    """With what was given."""
    with pytest.raises(UsageError, match=str(next(reversed(wrong.values())))):
        Attack(**({"method": "apgd", "norm": "inf"} | wrong))


def test_what_cannot_be_validated_is_refused(data, finished, tmp_path):
    """A number of samples that is none; a result in memory without its data; no run folder."""
    with pytest.raises(UsageError, match="most: 0"):
        Battery(most=0)
    result = asi.certify(asi.load(finished).artifact, data, stages=())
    with pytest.raises(UsageError, match="in memory"):
        asi.validate(result)
    with pytest.raises(UsageError, match=r"no run\.json"):
        asi.validate(tmp_path)


def test_where_nothing_was_tried_nothing_holds(data, finished, monkeypatch):
    """If no point is recognised as a member, no wrong answer can be seen."""
    monkeypatch.setattr(
        LInf, "contains", lambda self, points, images: np.zeros(len(points), dtype=np.bool_)
    )
    found = asi.validate(asi.load(finished), data, battery=Battery(attacks=()))
    assert found.alarms == ()
    assert not found.holds


def test_nearly_all_random_members_are_recognised():
    """Of strong changes that are cut off at black and white many are not, unless drawn again."""
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 12, 12)).astype(np.uint8)
    images[:30] = np.where(images[:30] > 128, 255, 0)
    family = Intensity.of(brightness="0.5", contrast="0.9", bias="0.3", degree=3)
    given = SimpleNamespace(images=images, family=family)
    points = dict(members(given, 0))["random member"]
    drawn = family.sample(images, np.random.default_rng(0))
    recognised = np.count_nonzero(family.contains(points, images))
    assert recognised > np.count_nonzero(family.contains(drawn, images))
    assert recognised >= 58


def test_the_nearest_image_is_the_same_however_many_are_compared_at_once(monkeypatch):
    """Against all distances in float64; images that are equal are near each other."""
    flat = np.random.default_rng(0).random((23, 5), dtype=np.float32)
    flat[7] = flat[3]
    distances = ((flat[:, None].astype(np.float64) - flat) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    for at_once in (1, 100, 1 << 24):
        monkeypatch.setattr(edge_cases, "_AT_ONCE", at_once)
        assert edge_cases._nearest(flat).tolist() == distances.argmin(axis=1).tolist()


def test_where_nothing_is_claimed_nothing_holds(data, finished):
    """No certificate, no alarm, and no success either."""
    result = asi.certify(asi.load(finished).artifact, data, stages=())
    found = asi.validate(result, data, battery=QUICK)
    assert found.claimed == 0
    assert found.alarms == ()
    assert not found.holds
    jsonschema.validate(json.loads(json.dumps(found.to_json())), validation_schema())
