"""``check`` of run folders: files that were damaged, and certificates of another run."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
from support.folders import make_folder, write_npz

import asi_verify as asi
from asi_verify._configuration import run_configuration
from asi_verify.checker.command import main as checker_main
from asi_verify.cli import main
from asi_verify.core.linf import LInf
from asi_verify.core.semantics import Semantics
from asi_verify.data import load_dataset
from asi_verify.errors import CertificateError

DAMAGED = [
    b"",
    b'{"artifact":"',
    b"not JSON at all",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[]",
    b'{"artifact":1,"contradictions":2}',
    b'"' + b"x" * 5_000 + b'"',
]


class Run:
    """A run folder as ``certify`` writes it, of a small network without training."""

    def __init__(self, place, **options):
        self.place = place / "out"
        self.made = make_folder(self.place / "certificates", **options)
        self.data = place / "made.npz"
        write_npz(self.made, self.data)
        claims = self.made.claims
        data = load_dataset(self.data)
        settings = run_configuration("certify", data, claims.family, Semantics.REAL)
        self.note(run=settings | {"model": claims.artifact, "target": "label"})

    def note(self, **files):
        for name, value in files.items():
            (self.place / f"{name}.json").write_text(json.dumps(value))

    @property
    def settings(self):
        return json.loads((self.place / "run.json").read_text())


@pytest.fixture
def folder(tmp_path):
    """A finished run of ``certify``."""
    return Run(tmp_path)


def test_the_certificates_of_the_run_itself_are_accepted(folder):
    """Every certificate is looked at, and nothing is refused."""
    result = asi.check(folder.place)
    assert not result.refused
    assert len(result.outcomes) == len(folder.made.certificates) > 0


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_claims_are_named_with_the_remedy(folder, capsys, data):
    """By ``check``, its command and the checker alone; the folder of certificates alone, too."""
    certificates = folder.place / "certificates"
    claims = certificates / "claims.json"
    claims.write_bytes(data)
    for place in (folder.place, certificates):
        with pytest.raises(CertificateError) as caught:
            asi.check(place, folder.data)
        said = str(caught.value)
        assert said.startswith(f"{claims}: "), said
        assert "from a copy of the folder" in said
        assert main(["check", str(place), "--dataset", str(folder.data)]) == 2
        assert str(claims) in capsys.readouterr().err.replace("\n", "")
    assert checker_main([str(certificates), "--data", str(folder.data)]) == 2
    shown = capsys.readouterr().err
    assert str(claims) in shown
    assert "from a copy of the folder" in shown


@pytest.mark.parametrize("name", ["00000.jsonl", "artifact.onnx"])
@pytest.mark.parametrize("data", [b"", b"nothing", None])
def test_a_damaged_file_that_the_claims_name_is_named(folder, name, data):
    """Truncated, replaced or missing: the folder is refused, and the reason says which file."""
    file = folder.place / "certificates" / name
    if data is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:100] + data)
    result = asi.check(folder.place)
    assert result.refused
    assert all(name in reason for reason in result.refused)


@pytest.mark.parametrize("data", [b"no model", b""])
def test_an_artifact_that_is_no_model_is_named(folder, data):
    """Though the claims are about just these bytes."""
    made = dataclasses.replace(folder.made, artifact=data, certificates=[])
    digest = asi.checker.folder.bytes_digest(data)
    made.claims = dataclasses.replace(made.claims, artifact=digest, shards=())
    made.write()
    folder.note(run=folder.settings | {"model": digest})
    (reason,) = asi.check(folder.place).refused
    assert reason.startswith("artifact.onnx: ")


@pytest.mark.parametrize("data", [b"", b'{"kind":', b"\xff", b"[" * 100_000, b"[]", b"3"])
def test_damaged_settings_are_named_with_the_remedy(folder, data):
    """With the data set given and without; nothing is looked at before that."""
    (folder.place / "run.json").write_bytes(data)
    for dataset in (None, folder.data):
        with pytest.raises(CertificateError, match=r"run\.json: .*take it from a copy"):
            asi.check(folder.place, dataset)


@pytest.mark.parametrize("name", ["run.json", "result.json"])
def test_a_pipe_in_place_of_settings_is_refused(folder, name):
    """Nobody waits for what may never come."""
    (folder.place / name).unlink(missing_ok=True)
    os.mkfifo(folder.place / name)
    with pytest.raises(CertificateError, match=f"{name}: not a plain file"):
        asi.check(folder.place, folder.data)


def test_a_damaged_result_is_named_with_the_remedy(folder):
    """Where it has to say which model a correction ended with."""
    folder.note(run=folder.settings | {"kind": "correct"})
    (folder.place / "result.json").write_text('{"after":')
    with pytest.raises(CertificateError, match=r"result\.json: .*take it from a copy"):
        asi.check(folder.place)


FOREIGN = {
    "model": ("model", "0" * 64),
    "target": ("target", "prediction"),
    "regions": ("family", LInf.of("2/255").to_json()),
    "semantics": ("semantics", "float32"),
    "split": ("split", "test"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_certificates_of_another_run_are_refused(folder, what):
    """Sound as they are, they are not what this run was asked for: both values are named."""
    key, value = FOREIGN[what]
    told = folder.settings[key]
    folder.note(run=folder.settings | {key: value})
    result = asi.check(folder.place)
    (reason,) = result.refused
    assert reason.startswith(f"certificates/claims.json: {what}: {told!r}, but {value!r} in the")
    assert not result.holds
    assert result.status is None
    assert main(["check", str(folder.place)]) == 1
    alone = asi.check(folder.place / "certificates", folder.data)
    assert not alone.refused


@pytest.mark.parametrize("what", ["images", "labels"])
def test_certificates_about_other_data_are_refused(folder, what):
    """Of the same name: the digests that the run has noted tell them apart."""
    settings = folder.settings
    told = settings["dataset"]["digests"]["train"][what]
    settings["dataset"]["digests"]["train"][what] = "f" * 64
    folder.note(run=settings)
    (reason,) = asi.check(folder.place, folder.data).refused
    assert reason.startswith(f"certificates/claims.json: {what}: {told!r}, but '{'f' * 64}'")


def test_the_certificates_of_a_folder_beside_it_are_not_those_of_this_run(folder, tmp_path):
    """Copied from one finished run into another, every certificate would be accepted."""
    wider = Run(tmp_path / "other", family=LInf.of("2/255"))
    assert not asi.check(wider.place).refused
    for name in ("claims.json", "artifact.onnx", "00000.jsonl"):
        theirs = folder.place / "certificates" / name
        (wider.place / "certificates" / name).write_bytes(theirs.read_bytes())
    (reason,) = asi.check(wider.place).refused
    assert "'1/255'" in reason
    assert "'2/255'" in reason


def test_the_model_of_a_correction_is_the_one_it_ended_with(folder):
    """It begins with another, which the settings name; without a result it is not compared."""
    artifact = folder.made.claims.artifact
    folder.note(run=folder.settings | {"kind": "correct", "model": "0" * 64})
    assert not asi.check(folder.place).refused
    folder.note(result={"after": {"model": artifact}})
    assert not asi.check(folder.place).refused
    folder.note(result={"after": {"model": "1" * 64}})
    (reason,) = asi.check(folder.place).refused
    assert reason.startswith(f"certificates/claims.json: model: {artifact!r}, but '{'1' * 64}'")


def test_a_correction_is_about_labels(folder):
    """Certificates about a model's own answers are not what a correction is asked for."""
    made = folder.made
    made.claims = dataclasses.replace(
        made.claims,
        contradictions=(),
        dataset=dataclasses.replace(made.claims.dataset, target="prediction"),
    )
    made.write()
    folder.note(run=folder.settings | {"kind": "run"})
    (reason,) = asi.check(folder.place).refused
    assert reason.startswith("certificates/claims.json: target: 'prediction', but 'label' in the")


@pytest.mark.parametrize("strange", [{}, {"dataset": 3}, {"dataset": {"digests": []}}])
def test_what_settings_do_not_say_is_not_compared(folder, strange):
    """Nor does their form end the check with another error."""
    folder.note(run=strange)
    assert not asi.check(folder.place, folder.data).refused


def test_images_that_were_changed_are_still_the_checkers_to_refuse(folder):
    """The comparison with the settings does not stand in for the one with the data set."""
    other = dict(np.load(folder.data))
    other["train_images"][3, 0, 0] ^= 1
    np.savez(folder.data, **other)
    (reason,) = asi.check(folder.place).refused
    assert "another data set" in reason
