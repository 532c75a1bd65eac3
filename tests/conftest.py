"""What all tests share: the data that lies beside the repository, and a tree to be sure of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Networks here are tiny: a second thread costs more than it gives, and very much more on a machine
# that has other work. Set before torch is imported, and inherited by the processes of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))

# How long an example takes says what else the machine does, and not what is right. The profile that
# is asked for on the command line comes after this one.
settings.register_profile("asi-verify", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("asi-verify")

if expected := os.environ.get("ASI_VERIFY_EXPECTED_ROOT"):
    # Set when a mutated copy is under test: a detector that sees the original detects nothing.
    import asi_verify

    assert Path(asi_verify.__file__).is_relative_to(expected), asi_verify.__file__

# Begun last, one of these would keep one process busy while the others have nothing left to do.
_LONGEST = [
    Path(__file__).parent / name
    for name in (
        "soundness/test_seeded_defects.py",
        "test_wheel.py",
        "test_public.py",
        "test_cli.py",
        "soundness/test_planted.py",
        "soundness/test_trusted_pass.py",
        "attest/test_command.py",
        "audit/test_audit.py",
        "test_before_and_after.py",
    )
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; the rest stays in its order."""
    ranks = {path: rank for rank, path in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


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
