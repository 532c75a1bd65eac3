"""Brightness, contrast and bias fields, from the text that asks for them to the certificate."""

from __future__ import annotations

import json
from fractions import Fraction

import jsonschema
import numpy as np
import pytest
import torch
from support import exact
from support.asked import ask, asked_of_a_small_network
from torch import nn

import asi_verify as asi
from asi_verify.core.evidence import GridEvidence, Intermediate, LinearEvidence
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.linf import LInf
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided
from asi_verify.data import Preprocess, from_arrays
from asi_verify.errors import RadiusError
from asi_verify.prove import Cells, Crown, prove, stages_for
from asi_verify.report import build_report, report_schema

TEXTS = [
    "brightness 40/255",
    "contrast 0.3",
    "brightness 12/255 contrast 0.05",
    "bias 0.05 degree 1",
]


@pytest.fixture(scope="module")
def asked():
    """Images and labels, some of which are not the network's."""
    return asked_of_a_small_network(24)


@pytest.mark.parametrize("text", TEXTS)
def test_verdicts_on_intensities_are_true(asked, text):
    """No member on a dense grid of parameters is wrong where proved; witnesses are members."""
    artifact, images, properties = asked
    family = Intensity.in_text(text)
    verdicts = ask(asked, family)
    assert {type(v) for v in verdicts} >= {Proved, Refuted}
    count = len(family.parameters(2))
    steps = np.linspace(-1, 1, {1: 201, 2: 21}.get(count, 7))
    grid = np.stack(np.meshgrid(*[steps] * count), axis=-1).reshape(-1, count)
    for image, wanted, verdict in zip(images, properties, verdicts, strict=True):
        match verdict:
            case Proved(evidence):
                assert isinstance(evidence, LinearEvidence | GridEvidence)
                reach = family.reach(image[None])
                values = np.repeat(reach.base, len(grid), axis=0)
                for k in range(count):
                    t = (grid[:, k] * float(reach.upper[0, k])).reshape(-1, 1, 1, 1)
                    values = values + t * reach.direction(k)
                members = np.clip(values, 0, 1).astype(np.float32)
                assert (artifact.session.margins(members, wanted) > 0).all()
                for point in members[:: len(members) // 3]:
                    logits = exact.evaluate(artifact.network, point)
                    assert min(exact.exact(row).dot(logits) for row in wanted.rows()) > Fraction(0)
            case Refuted(witness):
                assert family.contains(witness.point[None], image[None])[0]
                assert not artifact.session.margins(witness.point[None], wanted)[0] > 0


def test_cells_prove_more_than_the_whole(asked):
    """Of the same regions; the evidence says how fine the cells are."""
    family = Intensity.of("40/255", "0.1")
    whole, cells = (ask(asked, family, (stage,)) for stage in (Crown(), Cells()))
    proved = [sum(isinstance(v, Proved) for v in some) for some in (whole, cells)]
    assert proved[0] < proved[1]
    evidence = {v.evidence for v in cells if isinstance(v, Proved)}
    assert all(isinstance(e, GridEvidence) and len(set(e.cells)) == 1 for e in evidence)
    assert GridEvidence((4, 4), Intermediate.BACKWARD) in evidence


def test_cells_end_where_they_are_to_end(asked):
    """With too few of them nothing closes; without time nothing is said but that."""
    family = Intensity.of("40/255", "0.1")
    few = ask(asked, family, (Cells(most_cells=3, tries=1),))
    details = [v.detail for v in few if isinstance(v, Undecided)]
    assert details
    assert all("each of 3 cells" in detail for detail in details)
    artifact, images, properties = asked
    late = prove(
        artifact, family, images[4:6], ["0" * 64] * 2, properties[4:6], (Cells(),), deadline_s=0
    )
    assert [v.reason for v in late.verdicts] == [Reason.DEADLINE] * 2


def test_other_regions_are_left_to_other_stages(asked):
    """They have no parameters; these have their stages."""
    assert all(isinstance(v, Undecided) for v in ask(asked, LInf.of("1/255"), (Cells(),)))
    assert [s.name for s in stages_for(Intensity.of("1/255"))] == ["falsify", "crown", "cells"]


def trained(images, labels):
    """Two layers that tell bright squares from dark ones, whatever is around them."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    inputs, wanted = torch.from_numpy(encode(images[:, None])), torch.from_numpy(labels)
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs), wanted).backward()
        optimiser.step()
    return module.eval()


@pytest.mark.parametrize(
    ("text", "words", "apart"),
    [("brightness 10/255", "one amount of at most 10/255", 20),
     ("contrast 0.1", "one factor between 9/10 and 11/10", None),
     ("brightness 5/255 contrast 0.1", "one factor between 9/10 and 11/10, made brighter", 10),
     ("bias 0.05 degree 2", "smooth field of degree 2", None)],
)  # fmt: skip
def test_intensities_are_certified_checked_and_reported(tmp_path, text, words, apart):
    """End to end; a pair that is one image made brighter and darker contradicts."""
    generator = np.random.default_rng(0)
    images = generator.integers(40, 200, (20, 8, 8), dtype=np.uint8)
    labels = np.arange(20) % 2
    images[labels == 1, 2:6, 2:6] = generator.integers(180, 220, (10, 4, 4))
    module = trained(images, labels)
    if apart is None:
        images[1] = images[0]
    else:
        images[1] = images[0] + apart
    data = from_arrays(images, labels)
    result = asi.certify(module, data, text, preprocess=Preprocess(), out=tmp_path / "out")
    assert result.status.contradictions == 2
    assert result.status.open < 9
    checked = asi.check(tmp_path / "out", data)
    family = Intensity.in_text(text)
    assert checked.claims.family == family
    assert checked.claims.contradictions == ((0, 1),)
    assert checked.status == result.status
    report = build_report(result.folder)
    jsonschema.validate(json.loads(json.dumps(report)), report_schema())
    assert family.extent in report["headline"]
    assert words in report["statements"]["proved"]
    assert report["audit"]["ceilings"] == {"all": None, "outside_contradictions": None}
    assert report["audit"]["contradicted"] == []
    assert report["claim"]["radius"] == family.size


def test_what_asks_for_a_radius_refuses_intensities(tmp_path, asked):
    """Correction and the map of radii; a plan and a comparison know them."""
    artifact, images, properties = asked
    data = from_arrays(images[:6, 0], np.array([p.label for p in properties[:6]]))
    text = "brightness 4/255"
    for call in (asi.correct, lambda *given: asi.run(given[1], given[2])):
        for radius in (text, Intensity.in_text(text)):
            with pytest.raises(RadiusError, match="L-infinity"):
                call(artifact.data, data, radius)
    for radius in (text, Intensity.in_text(text)):
        with pytest.raises(RadiusError):
            asi.radius_map(artifact.data, data, radius)
    plan = asi.plan(artifact.data, data, text)
    assert (plan.ceiling, plan.epoch_seconds) == (None, None)
    assert set(plan.seconds) == {"falsify", "crown", "cells"}
    asi.certify(artifact.data, data, text, out=tmp_path / "a")
    asi.certify(artifact.data, data, "brightness 5/255", out=tmp_path / "b")
    assert asi.compare(tmp_path / "a", tmp_path / "a", data).holds
    with pytest.raises(asi.UsageError, match="claim different things"):
        asi.compare(tmp_path / "a", tmp_path / "b", data)
