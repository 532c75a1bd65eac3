"""One finished run for all tests of attestation, and a copy of it to spoil for each."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from support.runs import trained

import asi_verify as asi
from asi_verify.attest import new_key
from asi_verify.data import phantom
from asi_verify.prove import Crown, CrownIbp

STAGES = [CrownIbp(), Crown()]


def small_data():
    """A phantom set of 30 training images, two of them contradictory."""
    data, _ = phantom(9, samples=(30, 6, 6), duplicates=0, across=0, dual_labels=1, near=())
    return data


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run, its data set as a file, and two key pairs."""
    place = tmp_path_factory.mktemp("attested")
    data = small_data()
    arrays = {}
    for name, samples in data.splits.items():
        arrays[f"{name}_images"] = samples.images[:, 0]
        arrays[f"{name}_labels"] = samples.labels[:, None]
    np.savez(place / "data.npz", **arrays)
    model = trained(data, epochs=6)
    asi.certify(model, place / "data.npz", stages=STAGES, out=place / "out")
    for name in ("ours", "other"):
        new_key(place / f"{name}.pem")
    return place


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run's folder."""
    shutil.copytree(finished / "out", tmp_path / "out")
    shutil.copy(finished / "data.npz", tmp_path)
    return tmp_path / "out"


@pytest.fixture
def signed(run, finished):
    """The same, signed with our key."""
    asi.sign(run, finished / "ours.pem")
    return run
