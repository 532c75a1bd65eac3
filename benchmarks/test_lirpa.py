"""Claim: auto_LiRPA from its repository works through the same adapter as the release of 2022.

``make test-lirpa LIRPA_SRC=PATH`` with the path of a clone of Verified-Intelligence/auto_LiRPA. The
clone is installed into a folder of its own, in front of the installed release, and the tests of
everything that proposes are run with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from _results import write

ROOT = Path(__file__).parent.parent
TESTS = ["tests/bounds/test_proposers.py", "tests/bounds/test_known_unsound.py"]
NEEDS = ["appdirs", "graphviz", "packaging", "pyyaml", "tqdm"]
"""What it imports besides torch and numpy; its own requirements would replace both."""

_VERSION = (
    "from asi_verify.bounds.lirpa import _library, installed_version;"
    "assert _library().__version__ == installed_version(); print(installed_version())"
)


def run(*command: str, path: str = "") -> str:
    """The standard output of a Python module."""
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, *command],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    if done.returncode:
        sys.exit(done.stdout + f"\n{' '.join(command)} failed with {done.returncode}")
    return done.stdout


def main(source: str) -> None:
    """Install, test and write the page."""
    with tempfile.TemporaryDirectory() as place:
        pip = ("-m", "pip", "install", "--quiet", "--target", place)
        run(*pip, "--no-deps", "--no-build-isolation", source)
        run(*pip, *NEEDS)
        version = run("-c", _VERSION, path=place).strip()
        last = run("-m", "pytest", "-q", "--no-header", *TESTS, path=place).splitlines()[-1]
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (passed|skipped)", last)}
    figures = {"auto_LiRPA": version, **counts}
    text = (
        f"auto_LiRPA {version}: {counts['passed']} tests passed, {counts.get('skipped', 0)} "
        "skipped (what is known to be wrong in 0.3 alone). Proposals of all three methods, every "
        "operator of the allow-list, and parity with the network, as for the installed release."
    )
    write("test_lirpa", "auto_LiRPA from its repository works through the adapter", figures, text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("make test-lirpa LIRPA_SRC=PATH of a clone of Verified-Intelligence/auto_LiRPA")
    main(sys.argv[1])
