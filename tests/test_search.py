"""The search for settings: within its budget, deterministic, resumable, blind to the test split."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asi_verify as asi
from asi_verify.cli import main
from asi_verify.data import Dataset, Samples, Task
from asi_verify.errors import RunFolderError, UsageError
from asi_verify.prove import Intervals
from asi_verify.repair import (
    Candidate,
    CertifiedTraining,
    halved,
    halving_stages,
    read_settings,
    usual_candidates,
)
from asi_verify.repair import checkpoints as checkpoint_module
from asi_verify.repair.halving import Score
from asi_verify.store import FolderFiles

QUICK = CertifiedTraining(epochs=20, ramp_steps=2, ramp_epochs=1, batch_size=8, learning_rate=1e-2)
CANDIDATES = (
    Candidate("small-cnn", {"hidden": 8}, replace(QUICK, learning_rate=1e-5)),
    Candidate("small-cnn", {"hidden": 8}, QUICK),
    Candidate("small-cnn", {"hidden": 16}, replace(QUICK, learning_rate=1e-5)),
)
BUDGET = 36


@pytest.fixture(scope="module")
def data():
    """Dark and bright images, certified within a few epochs; two that contradict each other."""
    generator = np.random.default_rng(0)
    splits = {}
    for name, count in (("train", 16), ("val", 8), ("test", 8)):
        labels = np.arange(count) % 2
        images = generator.normal(90 + 70 * labels[:, None, None, None], 12, (count, 1, 8, 8))
        splits[name] = Samples(np.clip(images, 0, 255).astype(np.uint8), labels.astype(np.int64))
    images = splits["train"].images.copy()
    images[15] = images[14]
    splits["train"] = Samples(images, splits["train"].labels)
    return Dataset("easy", Task.BINARY, ("dark", "bright"), splits)


def searched(data, **options):
    return asi.search(data, budget=BUDGET, candidates=CANDIDATES, **options)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    return searched(data, out=tmp_path_factory.mktemp("search") / "out")


def test_several_labels_are_searched_for_too(data):
    """A validation image counts as right where every decision is."""
    splits = {
        name: Samples(samples.images, np.stack([samples.labels, 1 - samples.labels], axis=1))
        for name, samples in data.splits.items()
    }
    both = Dataset("both", Task.MULTI_LABEL, ("bright", "dark"), splits)
    (last,) = {t["stages"][-1]["right"] for t in searched(both).summary["trials"][1:2]}
    assert 0 < last <= 8


@given(st.integers(1, 200), st.integers(0, 2000))
def test_stages_spend_the_budget_and_no_more(candidates, more):
    """Halves, rounded up, until one is left; every stage trains everybody who is left further."""
    number = max(1, int(np.ceil(np.log2(candidates))))
    budget = candidates * number + more
    stages = halving_stages(candidates, budget)
    left = [stage.candidates for stage in stages]
    assert left[0] == candidates
    assert all(b == (a + 1) // 2 for a, b in pairwise(left))
    assert (left[-1] + 1) // 2 == 1
    untils = [0, *(stage.until for stage in stages)]
    steps = np.diff(untils)
    assert (steps >= 1).all()
    assert budget - number * candidates < (steps * left).sum() <= budget


@pytest.mark.parametrize(("candidates", "budget"), [(8, 23), (1, 0), (3, 5)])
def test_a_budget_that_gives_no_epoch_each_is_refused(candidates, budget):
    """With the smallest that would do."""
    with pytest.raises(UsageError, match="or more are expected"):
        halving_stages(candidates, budget)


def test_the_best_is_left_and_nobody_is_asked_twice():
    """Certificates first, then validation, then the order; the worse half is not trained on."""
    scores = [Score(3, 9), Score(7, 1), Score(7, 4), Score(7, 4), Score(0, 9)]
    asked = []

    def score(number, stage):
        asked.append((stage, number))
        return scores[number]

    assert halved(halving_stages(5, 100), score) == 2
    stages = [[number for at, number in asked if at == stage] for stage in range(3)]
    assert stages == [[0, 1, 2, 3, 4], [1, 2, 3], [2, 3]]


def test_a_search_keeps_its_budget_and_tells_what_it_found(found):
    """The winner certifies most; nobody is trained beyond the stages that it was left in."""
    told = found.summary
    assert told["spent"] <= told["budget"] == BUDGET
    assert told["spent"] == sum(trial["stages"][-1]["epochs"] for trial in told["trials"])
    lasts = [(t["stages"][-1]["certified"], t["stages"][-1]["right"]) for t in told["trials"]]
    assert told["best"] == 1
    assert lasts[1] == max(lasts)
    assert sorted(len(trial["stages"]) for trial in told["trials"]) == [1, 2, 2]
    assert found.best == CANDIDATES[1]
    names = found.folder.files.names()
    assert not [name for name in names if name.endswith("safetensors")]
    ordinary = [name for name in names if name.endswith("ordinary.onnx")]
    assert len(ordinary) == 2, "one for each network, not for each candidate"


def test_a_run_with_the_settings_repeats_what_the_winner_did(found, data):
    """The model of the search is the model of the run, to the byte."""
    last = found.summary["trials"][found.summary["best"]]["stages"][-1]
    assert last["certified"] == found.summary["samples"] == 14
    best = read_settings(found.folder.path / "settings.json")
    result = asi.run(
        data,
        architecture=best.architecture,
        options=best.options,
        corrector=best.corrector,
        stages=[Intervals()],
        rounds=1,
    )
    assert result.digest == last["model"]
    assert str(result.status) == "zero_except(2)"
    (change,) = [
        result.folder.read_json(name)
        for name in result.folder.files.names()
        if name.endswith("change.json")
    ]
    # The ordinary training chose its epoch on val.
    assert change["protocol"]["data"]["selected_on"] == ["train", "val"]
    assert change["protocol"]["data"]["measured_only"] == ["test"]


def contents(folder):
    """All files but the logs, in which times and repeated events stand."""
    return {
        name: folder.files.require(name)
        for name in folder.files.names()
        if name.endswith((".json", ".onnx"))
    }


def test_a_search_that_was_killed_goes_on_to_the_same_files(found, data, tmp_path, monkeypatch):
    """Killed after a checkpoint, after a stage of a candidate, and before the end."""
    monkeypatch.setattr(checkpoint_module, "_SECONDS_BETWEEN", 0.0)
    original = FolderFiles.write
    deadly = ["checkpoint.safetensors", "stage-00.json", "stage-01.json", "settings.json"]

    def write(self, name, content):
        original(self, name, content)
        if deadly and name.endswith(deadly[0]):
            deadly.pop(0)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FolderFiles, "write", write)
        for _ in range(len(deadly)):
            with pytest.raises(KeyboardInterrupt):
                searched(data, out=tmp_path / "out")
    result = searched(data, out=tmp_path / "out")
    assert not deadly
    assert contents(result.folder) == contents(found.folder)
    with pytest.raises(RunFolderError, match="give another folder"):
        searched(data, out=tmp_path / "out", seed=1)


def test_a_search_does_not_look_at_the_test_split(found, data):
    """With other test images and labels, or none, it writes the same files."""
    test = data.split("test")
    spoiled = Samples(255 - test.images, 1 - test.labels)
    for splits in (
        {**data.splits, "test": spoiled},
        {name: data.splits[name] for name in ("train", "val")},
    ):
        again = searched(Dataset(data.name, data.task, data.classes, splits))
        assert contents(again.folder) == contents(found.folder)


def test_validation_decides_only_among_equals(found, data):
    """Other validation labels change what is told of validation, and no certificate."""
    val = data.split("val")
    spoiled = Samples(val.images, 1 - val.labels)
    told = searched(
        Dataset(data.name, data.task, data.classes, {"train": data.split("train"), "val": spoiled})
    ).summary
    assert told["best"] == found.summary["best"]
    assert told["validation"] == 8
    alone = Dataset(data.name, data.task, data.classes, {"train": data.split("train")})
    told = searched(alone).summary
    assert told["validation"] == 0
    assert {stage["right"] for trial in told["trials"] for stage in trial["stages"]} == {None}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (1, 28, 28, 28)])
def test_the_usual_candidates_fit_their_images(shape):
    """Eight different ones, of which the first is what a run does by itself."""
    made = usual_candidates(shape)
    assert len({json.dumps(c.settings(), sort_keys=True) for c in made}) == 8
    if len(shape) == 3:
        assert made[0] == Candidate("small-cnn", {"hidden": 256}, CertifiedTraining())
    assert all(c.corrector.batch_norm == (len(shape) == 4) for c in made)


def test_settings_survive_their_file(tmp_path):
    """Floats to the bit; what a file leaves out keeps its default."""
    candidate = Candidate("cnn7", {"width": 4}, CertifiedTraining(learning_rate=0.1 + 0.2))
    (tmp_path / "s.json").write_text(json.dumps(candidate.to_json()))
    assert read_settings(tmp_path / "s.json") == candidate
    short = {**candidate.to_json(), "corrector": {"clip": 1}}
    read = Candidate.from_json(short)
    assert read.corrector == CertifiedTraining(clip=1.0)
    assert isinstance(read.corrector.clip, float)


GOOD = Candidate().to_json()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "these have not"),
        ({**GOOD, "more": 1}, "these have not"),
        ({**GOOD, "schema": "asi-verify/settings/2"}, "these have not"),
        ({**GOOD, "architecture": "big"}, "small-cnn"),
        ({**GOOD, "options": {"width": 4}}, "no 'width'"),
        ({**GOOD, "options": {"hidden": 4.5}}, "4.5"),
        ({**GOOD, "corrector": {"epoch": 4}}, "no 'epoch'"),
        ({**GOOD, "corrector": {"epochs": 4.0}}, "int is expected"),
        ({**GOOD, "corrector": {"epochs": True}}, "int is expected"),
        ({**GOOD, "corrector": {"epochs": 0}}, "1 or more"),
        ({**GOOD, "corrector": {"clip": float("nan")}}, "float is expected"),
        ({**GOOD, "corrector": {"batch_norm": 1}}, "bool is expected"),
        ({**GOOD, "corrector": {"patience": "9"}}, "int . None is expected"),
    ],
)
def test_wrong_settings_are_refused(value, says, tmp_path):
    """With the file, and what is wrong in it."""
    place = tmp_path / "s.json"
    place.write_text(json.dumps(value))
    with pytest.raises(UsageError, match=says) as refused:
        read_settings(place)
    assert str(place) in str(refused.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budget": 1}, "or more are expected"),
        ({"budget": 6.0}, "whole number"),
        ({"budget": 9, "candidates": ()}, "there are none"),
        ({"budget": 9, "candidates": ["small-cnn"]}, "'small-cnn' is no"),
        ({"budget": 9, "radius": "1 pixel"}, "1 pixel"),
    ],
)
def test_wrong_use_of_the_search_is_refused(options, says, data, tmp_path):
    """Before anything is written."""
    with pytest.raises(UsageError, match=says):
        asi.search(data, **{"candidates": CANDIDATES[:2], "out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_the_commands_search_and_run_with_what_was_found(data, tmp_path, capsys):
    """The file of a search is what ``run --settings`` takes; what it says is not said twice."""
    arrays = {}
    for name, samples in data.splits.items():
        arrays[f"{name}_images"] = samples.images[:, 0]
        arrays[f"{name}_labels"] = samples.labels[:, None]
    np.savez(tmp_path / "data.npz", **arrays)
    tried = [candidate.to_json() for candidate in CANDIDATES[:2]]
    (tmp_path / "tried.json").write_text(json.dumps(tried))
    call = ["search", str(tmp_path / "data.npz"), "--candidates", str(tmp_path / "tried.json"),
            "--out", str(tmp_path / "search")]  # fmt: skip
    assert main([*call, "--budget", "1"]) == 2
    assert main([*call, "--budget", "8"]) == 0
    shown = capsys.readouterr().out
    assert "(best)" in shown
    assert "small-cnn hidden=8" in shown
    settings = str(tmp_path / "search" / "settings.json")
    assert settings in shown
    assert main([*call, "--budget", "8", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    again = ["run", str(tmp_path / "data.npz"), "--settings", settings, "--out"]
    assert main([*again, str(tmp_path / "no"), "--epochs", "3"]) == 2
    assert "leave --epochs out" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    assert main([*again, str(tmp_path / "out"), "--rounds", "1", "--no-images"]) in (0, 1)
    noted = asi.load(tmp_path / "out").folder.configuration
    best = Candidate.from_json(told["trials"][told["best"]]["settings"])
    assert noted["architecture"] == best.architecture
    assert noted["options"] == dict(best.options)
    assert noted["corrector"] == best.corrector.settings()
