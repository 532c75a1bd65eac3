"""Patches, from the text that asks for them to the accepted certificate."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
import torch
from support.asked import ask, asked_of_a_small_network
from support.networks import small_cnn
from torch import nn
from typer.testing import CliRunner

import asi_verify as asi
from asi_verify.cli import app
from asi_verify.core.evidence import EnumerationEvidence
from asi_verify.core.images import encode
from asi_verify.core.patch import Patch
from asi_verify.core.pieces import Pieces
from asi_verify.core.verdict import Proved, Refuted, Undecided
from asi_verify.data import Preprocess, from_arrays
from asi_verify.errors import RadiusError
from asi_verify.export import Artifact
from asi_verify.prove import Crown, Members, stages_for
from asi_verify.report import build_report, report_schema


@pytest.fixture(scope="module")
def asked():
    """Images and labels, some of which are not the network's."""
    return asked_of_a_small_network(24)


def test_verdicts_on_patches_are_true(asked):
    """No member that is tried in ONNX Runtime is wrong where proved; witnesses are members."""
    artifact, images, properties = asked
    generator = np.random.default_rng(1)
    family = Patch(1)
    verdicts = ask(asked, family)
    assert {type(v) for v in verdicts} >= {Proved, Refuted}
    for image, wanted, verdict in zip(images, properties, verdicts, strict=True):
        match verdict:
            case Proved(evidence):
                assert evidence == EnumerationEvidence(Pieces.RANGE)
                members = family.sample(np.repeat(image[None], 500, axis=0), generator)
                assert (artifact.session.margins(members, wanted) > 0).all()
            case Refuted(witness):
                assert family.contains(witness.point[None], image[None])[0]
                assert not artifact.session.margins(witness.point[None], wanted)[0] > 0


def test_one_window_after_the_other_proves_more(asked):
    """Than all of them at once; members cannot be gone through."""
    at_once, one_by_one = (ask(asked, Patch(1), (stage,)) for stage in (Crown(), Members()))
    proved = [sum(isinstance(v, Proved) for v in some) for some in (at_once, one_by_one)]
    assert proved[0] < proved[1]


def test_a_descent_in_every_window_finds_what_chance_does_not(asked):
    """Without random members; with too many windows there is none, and it is said."""
    some = ask(asked, Patch(3), (Members(tries=1),))
    found = {v.witness.found_by for v in some if isinstance(v, Refuted)}
    assert "projected gradient descent" in found
    few = ask(asked, Patch(3), (Members(most_pieces=10, tries=1),))
    assert any(isinstance(v, Undecided) and "no bound closes" in v.detail for v in few)
    assert not any(isinstance(v, Proved) for v in few)


def test_patches_have_their_stages():
    """Those that know more than boxes."""
    assert [s.name for s in stages_for(Patch(1))] == ["falsify", "crown", "members"]


def test_patches_are_certified_checked_and_reported(tmp_path):
    """End to end; a pair that two windows make equal contradicts, one that they do not does not."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    images[1], images[3] = images[0], images[2]
    images[1, [1, 2, 6], [1, 2, 6]] ^= 255  # two windows of two by two hold them
    images[3, [1, 3, 6], [1, 3, 6]] ^= 255  # and these no two
    with torch.no_grad():
        labels = module(torch.from_numpy(encode(images[:, None]))).argmax(dim=1).numpy()
    labels[1], labels[3] = 1 - labels[0], 1 - labels[2]
    data = from_arrays(images, labels)
    result = asi.certify(module, data, "patch 2", preprocess=Preprocess(), out=tmp_path / "out")
    assert result.status.contradictions == 2
    assert 0 < result.status.open < 18
    checked = asi.check(tmp_path / "out", data)
    assert checked.claims.family == Patch(2)
    assert checked.claims.contradictions == ((0, 1),)
    assert checked.status == result.status
    report = build_report(result.folder)
    assert next(s for s in report["stages"] if s["name"] == "crown")["proved"] > 0
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert "with any patch of side 2" in report["headline"]
    assert "2 pixels along each side" in report["statements"]["proved"]
    assert report["audit"]["ceilings"] == {"all": None, "outside_contradictions": None}
    assert report["audit"]["contradicted"] == []
    assert asi.compare(tmp_path / "out", tmp_path / "out", data).holds
    plan = asi.plan(result.artifact, data, "patch 2")
    assert (plan.contradictions, plan.ceiling, plan.epoch_seconds) == (2, None, None)
    for call in (asi.correct, lambda *given: asi.run(given[1], given[2])):
        for radius in ("patch 2", Patch(2)):
            with pytest.raises(RadiusError, match="L-infinity"):
                call(module, data, radius)
    with pytest.raises(RadiusError):
        asi.radius_map(module, data, "patch 2")


def test_the_command_line_knows_patches(tmp_path):
    """What a plan says of ceilings is left out, because the side of a patch is no distance."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", train_images=images, train_labels=np.arange(6)[:, None] % 3)
    (tmp_path / "model.onnx").write_bytes(
        Artifact.from_network(small_cnn(np.random.default_rng(0))).data
    )
    given = [str(tmp_path / "model.onnx"), str(tmp_path / "data.npz"), "--radius", "patch 2"]
    found = CliRunner().invoke(app, ["plan", *given])
    assert found.exit_code == 0, found.output
    assert "contradictions: 0 samples\n" in found.output
