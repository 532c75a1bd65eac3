"""The built wheel: installed with pip in clean environments, it does its job there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from support.folders import make_folder, write_npz

ROOT = Path(__file__).resolve().parents[1]

CERTIFY = """
import json, numpy, torch
import asi_verify as asi

images = numpy.full((6, 8, 8), 40, numpy.uint8)
images[3:] = 200
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
with torch.no_grad():
    model[1].weight[:] = torch.tensor([[-1.0], [1.0]]) * torch.ones(64) / 64
    model[1].bias[:] = torch.tensor([0.5, -0.5])
data = (images, [0, 0, 0, 1, 1, 1])
result = asi.certify(model, data, out="out")
print(json.dumps([str(result.status), str(asi.check("out", data).status), asi.__file__]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the sources as a release would be."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT]
    subprocess.run(pip, check=True)
    (built,) = place.glob("*.whl")
    return built


def clean_environment(place, *requirements):
    """A new virtual environment with what pip installs into it; returns its Python."""
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    # What is imported is compiled then; all of torch need not be.
    install = [
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
    ]  # fmt: skip
    subprocess.run([*install, *requirements], check=True)
    return python


def output(python, *arguments, cwd):
    """What a command of that environment prints; it sees nothing of this checkout."""
    dropped = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    outside = {k: v for k, v in os.environ.items() if k not in dropped}
    return subprocess.run(
        [python, *arguments], check=False, capture_output=True, text=True, cwd=cwd, env=outside
    )


def test_the_wheel_certifies_a_model_in_a_clean_environment(wheel, tmp_path):
    """With what it declares and nothing else, so without auto_LiRPA; its data files are in it."""
    same_torch = f"torch=={torch.__version__.partition('+')[0]}"
    python = clean_environment(tmp_path / "clean", wheel, same_torch)
    done = output(python, "-c", CERTIFY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    certified, checked, home = json.loads(done.stdout)
    assert (certified, checked) == ("zero", "zero")
    assert Path(home).is_relative_to(tmp_path)
    np.savez(
        tmp_path / "data.npz",
        train_images=np.repeat(np.array([40, 200], np.uint8), 3)[:, None, None]
        * np.ones((1, 8, 8), np.uint8),
        train_labels=np.repeat([0, 1], 3)[:, None],
    )
    model = tmp_path / "out" / "certificates" / "artifact.onnx"
    command = ["-m", "asi_verify.cli", "certify", model, tmp_path / "data.npz", "--out", "again"]
    done = output(python, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again" / "report.html").is_file()
    doctor = output(python, "-m", "asi_verify.cli", "doctor", cwd=tmp_path)
    assert doctor.returncode == 0, doctor.stdout
    assert "pip install --no-deps auto_LiRPA" in doctor.stdout


def test_the_wheels_checker_runs_with_numpy_and_onnx_alone(wheel, tmp_path):
    """In an environment that has nothing else, it checks a folder to the same result."""
    made = make_folder(tmp_path / "made")
    write_npz(made, tmp_path / "data.npz")
    python = clean_environment(tmp_path / "bare", "numpy", "onnx")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", wheel]
    subprocess.run(pip, check=True)
    arguments = ["-m", "asi_verify.checker", made.place, "--data", tmp_path / "data.npz"]
    done = output(python, *arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["accepted"] == len(made.certificates)
    assert output(python, "-c", "import torch", cwd=tmp_path).returncode != 0
