"""Migrations of the bug log's tables, from each version to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.engine import Connection

from asi_verify.errors import RunFolderError

__all__ = ["SCHEMA_VERSION", "migrate"]

SCHEMA_VERSION = 1

# Version n is brought to n + 1 by STEPS[n]. A new version adds a step here and a file written by
# the old version to the tests.
STEPS: dict[int, Callable[[Connection], None]] = {}


def migrate(connection: Connection, version: int, path: Path) -> None:
    """Bring a log's tables from a version to the present one, inside the open transaction.

    Raises:
        RunFolderError: the version is a newer library's.
    """
    if version > SCHEMA_VERSION:
        raise RunFolderError(
            f"{path}: a bug log of version {version}; this library knows {SCHEMA_VERSION}. Use a "
            "newer asi_verify"
        )
    for step in range(version, SCHEMA_VERSION):
        STEPS[step](connection)
