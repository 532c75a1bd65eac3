"""Bubbles: the largest regions, and the images of other splits that lie inside of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.runs import quick_run

import asi_verify as asi
from asi_verify.cli import main
from asi_verify.core.linf import LInf
from asi_verify.data import Dataset, Samples, phantom
from asi_verify.errors import UsageError
from asi_verify.prove import Intervals


@pytest.fixture(scope="module")
def data():
    """Phantom images, with neighbours of the first ones as another split."""
    made, _ = phantom(9, samples=(30, 6, 6), duplicates=0, across=0, dual_labels=0, near=())
    train = made.split("train")
    far = np.concatenate([train.images[:3] ^ 1, train.images[3:6] ^ 16, train.images[6:9]])
    labels = train.labels[:9].copy()
    labels[8] = 1 - labels[8]
    return Dataset(
        made.name, made.task, made.classes, {"train": train, "near": Samples(far, labels)}
    )


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run folder in which every image is proved at 1/255."""
    out = tmp_path_factory.mktemp("bubbles") / "out"
    assert quick_run(data, out=out).status.is_zero
    return out


def test_bubbles_reach_at_least_as_far_as_the_run_proved(data, finished):
    """Their radii are those of the radius map; the file says the same."""
    found = asi.bubbles(finished, data, "4/255", step="1/255", stages=[Intervals()])
    assert all(radius.value >= asi.Radius.of("1/255").value for radius in found.radii.proved)
    assert sum(found.distribution().values()) == 30
    values = [found.radii.proved[row].value for row in found.smallest(30)]
    assert values == sorted(values)
    assert json.loads((finished / "bubbles.json").read_text()) == found.to_json()


def test_who_is_inside_is_decided_as_by_regions(data, finished):
    """One by one, with every bubble's region; the last image has another label."""
    found = asi.bubbles(finished, data, "4/255", step="1/255", stages=[Intervals()])
    near, train = data.split("near"), data.split("train")
    inside = right = 0
    for image, label in zip(near.images, near.labels, strict=True):
        holding = [
            row
            for row, radius in enumerate(found.radii.proved)
            if LInf(radius).contains((image[None] / 255).astype(np.float32), train.images[[row]])[0]
        ]
        inside += bool(holding)
        right += bool(holding) and train.labels[holding[0]] == label
    assert (found.others["near"].inside, found.others["near"].right) == (inside, right)
    assert 6 <= inside < 9
    assert right == inside - 1


def test_who_is_right_is_decided_by_what_is_proved(data, finished):
    """Where that is the model's own answer, a wrong label of the centre counts for nothing."""
    train = data.split("train")
    labels = train.labels.copy()
    labels[0] = 1 - labels[0]
    other = replace(data, splits=data.splits | {"train": Samples(train.images, labels)})
    options = {"step": "1/255", "stages": [Intervals()]}
    told = asi.certify(
        asi.load(finished).artifact, other, "1/255", target="prediction", stages=[Intervals()]
    )
    usual = asi.bubbles(finished, data, "1/255", **options).others["near"]
    found = asi.bubbles(told, other, "1/255", **options).others["near"]
    assert found == usual
    assert found.right > 0


def test_images_that_are_not_proved_have_no_bubble(data):
    """Nobody lies inside of it, not even the image itself."""
    model = asi.certify(quick_run(data, epochs=1).artifact, data, stages=())
    found = asi.bubbles(model, data, "1/255", step="1/255", stages=())
    assert found.distribution() == {"none": 30}
    assert found.others["near"].inside == 0


def test_the_command_prints_what_was_found(data, finished, tmp_path, capsys):
    """The distribution, the smallest ones, and the other splits."""
    arrays = {}
    for name, samples in (("train", data.split("train")), ("test", data.split("near"))):
        arrays |= {
            f"{name}_images": samples.images[:, 0],
            f"{name}_labels": samples.labels[:, None],
        }
    np.savez(tmp_path / "data.npz", **arrays)
    file = str(tmp_path / "data.npz")
    options = ["--dataset", file, "--most", "2/255", "--step", "1/255"]
    assert main(["bubbles", str(finished), *options]) == 0
    printed = capsys.readouterr().out
    assert "of 9 images lie inside of a bubble" in printed
    assert "smallest: rows" in printed


def test_what_has_no_bubbles_is_refused(data, finished):
    """A result in memory without its data."""
    result = asi.certify(asi.load(finished).artifact, data, stages=())
    with pytest.raises(UsageError, match="in memory"):
        asi.bubbles(result)
