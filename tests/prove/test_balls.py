"""Balls and many changed pixels, from the text that asks for them to the accepted certificate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.asked import ask, asked_of_a_small_network
from torch import nn

import asi_verify as asi
from asi_verify.core.balls import L1, L2
from asi_verify.core.evidence import LinearEvidence
from asi_verify.core.images import encode
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.properties import SingleLabel
from asi_verify.core.verdict import Proved, Refuted, Undecided
from asi_verify.data import Preprocess, from_arrays
from asi_verify.errors import RadiusError, UsageError
from asi_verify.prove import AlphaCrown, Branch, Crown, Falsify, Intervals, stages_for
from asi_verify.repair.ceilings import _largest_below
from asi_verify.report import build_report


@pytest.fixture(scope="module")
def asked():
    """Images and labels, some of which are not the network's."""
    return asked_of_a_small_network(24)


@pytest.mark.parametrize("family", [L2.of("0.15"), L1.of("0.3")])
def test_verdicts_on_balls_are_true(asked, family):
    """No member that is tried in ONNX Runtime is wrong where proved; witnesses are members."""
    artifact, images, properties = asked
    generator = np.random.default_rng(1)
    verdicts = ask(asked, family)
    assert {type(v) for v in verdicts} >= {Proved, Refuted}
    for image, wanted, verdict in zip(images, properties, verdicts, strict=True):
        match verdict:
            case Proved(evidence):
                assert isinstance(evidence, LinearEvidence)
                around = np.repeat(image[None], 100, axis=0)
                members = family.sample(around, generator)
                assert (artifact.session.margins(members, wanted) > 0).all()
            case Refuted(witness):
                assert family.contains(witness.point[None], image[None])[0]
                assert not artifact.session.margins(witness.point[None], wanted)[0] > 0


def test_counterexamples_of_balls_are_found_beyond_their_centres(asked):
    """The descent ends in the box's corner; its projection on the ball is what counts."""
    verdicts = ask(asked, L2.of(1), (Falsify(),))
    found = [v for v in verdicts[3:] if isinstance(v, Refuted)]
    assert found
    assert all(v.witness.found_by == "projected gradient descent" for v in found)


def test_engines_that_know_boxes_alone_leave_balls_to_others(asked):
    """Nothing is proposed, declined or refuted by them; the trusted pass is asked about all."""
    family = L2.of("0.05")
    for stage in (AlphaCrown(), Branch()):
        assert all(isinstance(v, Undecided) for v in ask(asked, family, (stage,)))
    proved = [isinstance(v, Proved) for v in ask(asked, family, (Crown(),))]
    assert sum(proved) > 5


def test_many_changed_pixels_are_proved_at_once(asked):
    """More members than could be gone through; the count is not written out."""
    artifact, images, properties = asked
    grey = np.full_like(images, 100)
    wanted = artifact.session.run(encode(grey)).argmax(axis=1)
    properties = [SingleLabel(int(label), 3) for label in wanted]
    family = KPixel(20, (98, 99, 101, 102))
    verdicts = ask((artifact, grey, properties), family)
    assert all(isinstance(v, Proved) and isinstance(v.evidence, LinearEvidence) for v in verdicts)
    wild = ask((artifact, images[:4], properties[:4]), KPixel(64, tuple(range(256))))
    details = [v.detail for v in wild if isinstance(v, Undecided)]
    assert all("10**18 or more members" in detail for detail in details)


def test_each_family_has_its_stages():
    """Those that know more than boxes, for regions that are less."""
    assert [s.name for s in stages_for(L1.of(1))] == ["falsify", "crown"]
    assert [s.name for s in stages_for(KPixel(1))] == ["crown", "members"]
    assert len(stages_for(asi.LInf.of("1/255"))) == 7


def test_ceilings_of_balls_are_tried_as_balls():
    """Below half the distance to the next label, in the same norm; other regions have none."""
    for kind in (L1, L2):
        size, family = _largest_below(kind.of(1), asi.Radius.of("3/255").value)
        assert (size, family) == ("1/102", kind.of("1/102"))
        assert _largest_below(kind.of(1), asi.Radius.of(0).value) is None
    with pytest.raises(UsageError, match="no sizes"):
        _largest_below(None, asi.Radius.of(0).value)


def test_balls_are_certified_checked_and_reported(tmp_path):
    """End to end; models are corrected for other regions only, which is said."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    with torch.no_grad():
        labels = module(torch.from_numpy(encode(images[:, None]))).argmax(dim=1).numpy()
    labels[2] = 1 - labels[2]  # it is wrong on this one
    # Twins of different labels, whose balls meet.
    images[1], labels[1] = images[0], 1 - labels[0]
    data = from_arrays(images, labels)
    result = asi.certify(module, data, "l2 0.1", preprocess=Preprocess(), out=tmp_path / "out")
    assert result.status.contradictions == 2
    assert 0 < result.status.open < 18
    checked = asi.check(tmp_path / "out", data)
    assert checked.claims.family == L2.of("0.1")
    assert checked.status == result.status
    report = build_report(result.folder)
    assert "at L2 radius 1/10" in report["headline"]
    assert "squared, add up to at most 1/100" in report["statements"]["proved"]
    found = asi.certify(module, data, L1.of("1/255"), stages=[Intervals()])
    assert found.status.contradictions == 2
    for call in (asi.correct, lambda *given: asi.run(given[1], given[2])):
        for radius in ("l2 0.1", L1.of(1)):
            with pytest.raises(RadiusError, match="L-infinity regions alone, and guards"):
                call(module, data, radius)
