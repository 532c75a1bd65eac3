"""One finished run for all tests of attestation, and a copy of it to spoil for each."""

from __future__ import annotations

import shutil

import pytest
from support.folders import make_folder, write_npz

import asi_verify as asi
from asi_verify.attest import new_key
from asi_verify.prove import Crown, CrownIbp


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a finished run, its data set and model as files, and two key pairs.

    Nothing is trained: the labels are what a random network answers, and two of the 24 images
    contradict each other.
    """
    place = tmp_path_factory.mktemp("attested")
    made = make_folder(place / "made")
    write_npz(made, place / "data.npz")
    (place / "model.onnx").write_bytes(made.artifact)
    asi.certify(
        place / "model.onnx",
        place / "data.npz",
        stages=[CrownIbp(), Crown()],
        out=place / "out",
    )
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
