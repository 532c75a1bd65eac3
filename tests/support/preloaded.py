"""Short pytest runs on a copy of the package, forked from one process that has loaded the rest.

Loading pytest, Hypothesis, numpy and onnx takes seconds; a test that finds a defect, a fraction of
one. So a process of its own loads them once, nothing of the package among them, and forks for every
run. The child puts the copy first on its path and imports it from there (tests/conftest.py refuses
to run with another one).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["Preloaded", "Run"]

_CHILD_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""

REPOSITORY = Path(__file__).resolve().parents[2]

# What is missing here is loaded by the runs that need it, which only makes them slower.
_LIBRARIES = (
    "pytest", "hypothesis.extra.numpy", "numpy.random", "onnx", "mpmath",
    "onnxruntime", "rfc8785", "sqlalchemy.dialects.sqlite", "sqlalchemy.orm", "torch", "z3",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.serialization", "filelock", "in_toto_attestation", "jinja2",
    "jsonschema", "onnxscript", "PIL.Image", "pooch", "safetensors.numpy", "scipy.optimize",
    "securesystemslib",
    # What auto_LiRPA needs; itself, it is adjusted before it is imported (bounds/lirpa.py).
    "torch.onnx.symbolic_helper", "torch.onnx.utils", "torch.utils.cpp_extension",
)  # fmt: skip
_SECONDS_PER_TEST = 60
_LOG = "output.txt"
_ARGUMENTS = [
    "-c", str(REPOSITORY / "pyproject.toml"), "-x", "-q", "--tb=short", "--assert=plain",
    "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin",
    "--hypothesis-profile=seeded-defects",
    # It collects garbage many times at the end; no defect shows there alone.
    "-p", "no:unraisableexception",
]  # fmt: skip


class Run(NamedTuple):
    """What one pytest run ended with: its exit code (negative for a signal) and its output."""

    code: int
    output: str


class Preloaded:
    """The process that forks; to be closed.

    Args:
        place: an empty folder for the runs' output and for what Hypothesis writes.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        # Compiled tests are kept: else every run would compile its own again.
        dropped = ("PYTEST_", "COV_CORE_", "PYTHONDONTWRITEBYTECODE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=place,
            env={
                **kept,
                "HYPOTHESIS_STORAGE_DIRECTORY": str(place / "hypothesis"),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                # Forking is safe only while there is one thread.
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def run(self, root: Path, tests: list[str]) -> Run:
        """Run tests, by node id relative to the repository, on the package in ``root``."""
        job = {"root": str(root), "place": str(self._place), "tests": tests}
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(json.dumps(job) + "\n")
        asked.flush()
        code = int(answered.readline())
        return Run(code, (self._place / _LOG).read_text(encoding="utf-8"))


def _serve() -> None:
    """Fork for every line of standard input; answer each with the child's exit code."""
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert "asi_verify" not in sys.modules
    _register_profile()
    _warm_up()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_CHILD_SUBREAPER, 1)  # orphans of runs become children of this one
    gc.freeze()  # what is loaded stays: the children's collector need not look at it
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_run(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        _end_orphans()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _end_orphans() -> None:
    """End what a run left behind: that it is never ended may be the defect."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state parent ..."; a name may hold anything.
            parent = stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                child = int(stat.parent.name)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _register_profile() -> None:
    """The same examples every time, and the first failure is enough: nothing is made smaller."""
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "seeded-defects",
        database=None,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # slowness would pass for a detection
    )


def _warm_up() -> None:
    """Load what pytest and Hypothesis load when they first run."""
    import pytest
    from hypothesis import given, settings
    from hypothesis import strategies as st

    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*_ARGUMENTS, "--collect-only", place])
    # Which files are the project's own is found out once for each module.
    settings(settings.get_profile("seeded-defects"), max_examples=1)(
        given(st.integers())(lambda number: None)
    )()


def _run(root: str, place: str, tests: list[str]) -> int:
    import pytest

    signal.alarm(_SECONDS_PER_TEST * len(tests))  # a defect may be an endless loop
    output = os.open(Path(place) / _LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ |= {"PYTHONPATH": root, "ASI_VERIFY_EXPECTED_ROOT": root}
    sys.path.insert(0, root)
    names = [f"{REPOSITORY}/{test}" for test in tests]
    code = int(pytest.main([*_ARGUMENTS, f"--basetemp={place}/temporary", *names]))
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve()
