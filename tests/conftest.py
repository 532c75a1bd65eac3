"""What all tests share: the data that lies beside the repository, and a tree to be sure of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Networks here are tiny: a second thread costs more than it gives, and very much more on a machine
# that has other work. Set before torch is imported, and inherited by the processes of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))

if expected := os.environ.get("ASI_VERIFY_EXPECTED_ROOT"):
    # Set when a mutated copy is under test: a detector that sees the original detects nothing.
    import asi_verify

    assert Path(asi_verify.__file__).is_relative_to(expected), asi_verify.__file__


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data; skipped with a reason where it is missing, never in CI."""
    place = os.environ.get("ASI_VERIFY_SHARED")
    if place and Path(place).is_dir():
        return Path(place)
    if os.environ.get("CI") == "true":
        pytest.fail("ASI_VERIFY_SHARED is not set, and in CI no test may be skipped")
    # Who has a clone alone can still run all the rest.
    pytest.skip("real data is not at hand: set ASI_VERIFY_SHARED to the folder that holds data/")
