"""``plan`` before a run, ``compare`` after the next, ``radius_map`` for how far proofs reach."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.runs import trained
from torch import nn
from typer.testing import CliRunner

import asi_verify as asi
from asi_verify.cli import app
from asi_verify.data import phantom
from asi_verify.errors import CertificateError, RadiusError, UnsupportedOperatorError, UsageError
from asi_verify.prove import Falsify, Intervals


@pytest.fixture(scope="module")
def data():
    return phantom(0, samples=(24, 8, 8))[0]


@pytest.fixture(scope="module")
def models(data):
    """Two trainings of the small CNN, as ONNX bytes."""
    runs = [asi.certify(trained(data, seed=seed), data, 0, stages=[Intervals()]) for seed in (0, 1)]
    return [run.artifact for run in runs]


@pytest.fixture(scope="module")
def folders(data, models, tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    for name, model in zip(("before", "after"), models, strict=True):
        asi.certify(model, data, "0.1/255", stages=[Falsify(), Intervals()], out=place / name)
    return place


def test_guarantees_are_kept_gained_and_lost(folders, data):
    """Exactly by the rows that each folder's own check accepts."""
    found = asi.compare(folders / "before", folders / "after", data)
    before, after = (
        {
            row
            for row, o in asi.check(folders / name, data).outcomes.items()
            if o.value == "accepted"
        }
        for name in ("before", "after")
    )
    assert before != after
    assert set(found.kept) == before & after
    assert set(found.gained) == after - before
    assert set(found.lost) == before - after
    assert set(found.neither) == set(range(24)) - before - after
    assert found.holds == (not found.lost)
    backwards = asi.compare(folders / "after", folders / "before", data)
    assert (backwards.gained, backwards.lost) == (found.lost, found.gained)
    assert asi.compare(folders / "before", folders / "before", data).holds


def test_what_claims_different_things_is_not_compared(folders, data, models, tmp_path):
    """Another size of regions, another target, other samples, and what is refused."""
    for name, options in {
        "larger": {"radius": "0.2/255"},
        "answers": {"radius": "0.1/255", "target": "prediction"},
        "split": {"radius": "0.1/255", "split": "val"},
        "real": {"radius": "0.1/255", "semantics": "real"},
    }.items():
        asi.certify(models[0], data, stages=[Intervals()], out=tmp_path / name, **options)
        with pytest.raises(UsageError, match="claim different things"):
            asi.compare(folders / "before", tmp_path / name, data)
    (tmp_path / "larger" / "certificates" / "artifact.onnx").write_bytes(models[1])
    with pytest.raises(UsageError, match=r"is refused: .*another model"):
        asi.compare(tmp_path / "larger", tmp_path / "larger", data)
    with pytest.raises(CertificateError):
        asi.compare(tmp_path, folders / "after", data)


def test_a_plan_says_what_a_run_would_meet(data, models):
    """Operators, contradictions and times; nothing is certified."""
    found = asi.plan(models[0], data)
    assert found.operators["Conv"] == 2
    assert found.samples == 24
    assert 0 <= found.accuracy <= 1
    audit = asi.certify(models[0], data, 0, stages=[Intervals()]).audit
    assert found.contradictions >= len({r for p in audit["contradictions"] for r in p["rows"]})
    assert {"interval", "branch", "smt"} <= set(found.seconds)
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.epoch_seconds is not None
    assert found.memory > 8 * found.parameters
    finite = asi.plan(models[0], data, asi.KPixel(1, (0,)))
    assert set(finite.seconds) == {"crown", "members"}
    assert finite.epoch_seconds is None


def test_a_plan_names_an_operator_that_is_not_supported(data):
    """Before anything else is done."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 2), nn.Softplus())
    with pytest.raises(UnsupportedOperatorError, match="Softplus"):
        asi.plan(module, data)


def test_a_model_that_gets_nothing_right_has_no_times(data):
    """There is nothing to measure on."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    nn.init.zeros_(module[1].weight)
    nn.init.zeros_(module[1].bias)
    assert asi.plan(module, data, asi.KPixel(1, (0,))).seconds == {}


def test_radii_agree_with_certificates(data, models):
    """What is proved at a radius is certified at it, and its share is counted."""
    stages = [Falsify(), Intervals()]
    found = asi.radius_map(models[0], data, "1/255", step="0.25/255", stages=stages)
    assert len(found.proved) == len(found.refuted) == 24
    result = asi.certify(models[0], data, "0.25/255", stages=stages)
    at = asi.Radius.of("0.25/255")
    proved = sum(r is not None and r >= at for r in found.proved)
    assert found.share(at) == proved / 24
    assert proved >= result.summary["accepted"]
    assert json.loads(json.dumps(found.to_json()))["step"] == "1/1020"
    for call in ({"step": 0}, {"step": "2/255"}):
        with pytest.raises(RadiusError, match="step"):
            asi.radius_map(models[0], data, "1/255", **call)
    with pytest.raises(UsageError, match="target"):
        asi.radius_map(models[0], data, target="both")


def test_the_commands_print_what_the_functions_return(data, models, tmp_path):
    """In words and as JSON, with exit codes."""
    model = tmp_path / "model.onnx"
    model.write_bytes(models[0])
    samples = data.split("train").take(np.arange(6))
    arrays = {"train_images": samples.images[:, 0], "train_labels": samples.labels[:, None]}
    np.savez(tmp_path / "data.npz", **arrays)
    npz = str(tmp_path / "data.npz")
    run = CliRunner().invoke
    planned = run(app, ["plan", str(model), npz, "--radius", "1 pixel"])
    assert planned.exit_code == 0, planned.output
    assert "all supported" in planned.output
    assert "members" in planned.output
    assert json.loads(run(app, ["plan", str(model), npz, "--json"]).stdout)["samples"] == 6
    shown = run(app, ["radii", str(model), npz, "--most", "0.5/255"])
    assert shown.exit_code == 0, shown.output
    assert "refuted at" in shown.stdout
    as_json = run(app, ["radii", str(model), npz, "--most", "0.5/255", "--json"])
    assert len(json.loads(as_json.stdout)["proved"]) == 6
    for name in ("one", "two"):
        asi.certify(models[name == "two"], npz, 0, stages=[Intervals()], out=tmp_path / name)
    same = run(app, ["compare", str(tmp_path / "one"), str(tmp_path / "one")])
    assert same.exit_code == 0
    assert "0 lost" in same.stdout
    other = run(app, ["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--json"])
    assert other.exit_code == (1 if json.loads(other.stdout)["lost"] else 0)
