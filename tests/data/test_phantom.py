"""The phantom set: what is planted is there, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from support.runs import tiny_model

import asi_verify as asi
from asi_verify.cli import main
from asi_verify.core.canonical import array_digest
from asi_verify.data import Preprocess, load_dataset, phantom
from asi_verify.errors import DataError, UsageError
from asi_verify.prove import Intervals


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_to_be_planted_is_there(seed):
    """Pairs have the pixels, labels and distances that the record says."""
    data, planted = phantom(seed, near=(2, 3, 40))
    train = data.split("train")
    for (split_a, a), (split_b, b) in planted.duplicates:
        first, second = data.split(split_a), data.split(split_b)
        assert np.array_equal(first.images[a], second.images[b])
        assert first.labels[a] == second.labels[b]
    for a, b in planted.dual_labels:
        assert np.array_equal(train.images[a], train.images[b])
        assert train.labels[a] != train.labels[b]
    for a, b, levels in planted.near:
        difference = np.abs(train.images[a].astype(int) - train.images[b].astype(int))
        assert difference.max() == levels
        assert train.labels[a] != train.labels[b]


def test_nothing_else_is_equal():
    """Every other image is unique over all splits."""
    data, planted = phantom(1)
    digests = [d for samples in data.splits.values() for d in samples.image_digests]
    pairs = len(planted.duplicates) + len(planted.dual_labels)
    assert len(digests) - len(set(digests)) == pairs


def test_the_seed_is_all_there_is():
    """The same seed gives the same bytes, another one others."""
    one, two, three = (phantom(seed)[0].split("train").images for seed in (5, 5, 6))
    assert array_digest(one) == array_digest(two) != array_digest(three)
    assert array_digest(load_dataset("phantom-5").split("train").images) == array_digest(one)


def test_too_few_samples_for_what_is_to_be_planted_are_refused():
    """Instead of planting less than was asked for."""
    with pytest.raises(UsageError, match="cannot hold"):
        phantom(0, samples=(5, 2, 2))


ARGUMENTS = [
    {},
    {"samples": (60, 20, 20)},
    {"samples": (40, 10, 10), "duplicates": 0, "across": 0, "dual_labels": 0, "near": ()},
    {"duplicates": 1},
    {"across": 0},
    {"dual_labels": 1},
    {"near": (2, 40)},
    {"near": ()},
]


@pytest.mark.parametrize(
    "arguments", [{"samples": (80, 0, 10)}, {"near": (101,)}, {"near": (0,)}], ids=str
)
def test_what_no_set_can_have_is_refused(arguments):
    """An empty split, and images further apart than grey levels reach from any image."""
    with pytest.raises(UsageError, match=r"expected|at least one"):
        phantom(0, **arguments)


def test_images_are_as_far_apart_as_is_said():
    """Up to the furthest that is allowed, by some pixel exactly."""
    for seed in range(20):
        data, planted = phantom(seed, near=(100, 1))
        images = data.split("train").images.astype(int)
        for first, second, levels in planted.near:
            assert np.abs(images[first] - images[second]).max() == levels


def test_a_name_is_that_of_one_set():
    """Other arguments, another name; the usual ones and the seed alone are as they always were."""
    made = [phantom(seed, **arguments)[0] for seed in (0, 3) for arguments in ARGUMENTS]
    assert len({data.name for data in made}) == len(made)
    assert made[0].name == "phantom-0"
    assert made[len(ARGUMENTS)].name == "phantom-3"
    assert made[2].name == "phantom-0-40-10-10-d0-a0-l0-n"
    assert phantom(0, samples=[240, 60, 60], near=[2])[0].name == "phantom-0"


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_a_set_is_made_again_from_its_name(arguments):
    """To the same bytes."""
    data, _ = phantom(3, **arguments)
    again = load_dataset(data.name)
    assert again.name == data.name
    for name, samples in data.splits.items():
        assert array_digest(again.split(name).images) == array_digest(samples.images)
        assert array_digest(again.split(name).labels) == array_digest(samples.labels)


@pytest.mark.parametrize(
    "name",
    ["phantom-", "phantom-\N{SUPERSCRIPT TWO}", "phantom-0-40", "phantom-0-d", "phantom-x",
     "phantom-0-999999-1-1", "phantom-0-a1-d1", "phantom-" + "1" * 50],
)  # fmt: skip
def test_what_is_no_phantoms_name_is_refused(name):
    """In words, and before anything large is made."""
    with pytest.raises(DataError, match="neither a data set's name"):
        load_dataset(name)


def test_a_name_that_no_file_can_have_is_refused():
    """In words, and not by an error of the system."""
    with pytest.raises(DataError, match=r"'phantom-1+' cannot be looked at .*; give the name"):
        load_dataset("phantom-" + "1" * 5000)


def test_a_folder_is_about_the_set_whose_name_it_notes(tmp_path):
    """Found again by its name alone; under another's name its certificates are refused."""
    data, _ = phantom(3, samples=(20, 4, 4), duplicates=0, across=0, dual_labels=0, near=())
    out = tmp_path / "out"
    asi.certify(tiny_model(data), data, preprocess=Preprocess(), stages=[Intervals()], out=out)
    checked = asi.check(out)
    assert not checked.refused
    for name in ("run.json", "certificates/claims.json"):
        text = (out / name).read_text()
        assert data.name in text
        (out / name).write_text(text.replace(data.name, "phantom-3"))
    assert "another data set" in asi.check(out).refused[0]
    assert main(["report", str(out)]) == 2
    assert main(["report", str(out), "--no-images"]) == 0
