"""Reading what lies in a run folder and may be anybody's, in bounded time and memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asi_verify.core.canonical import canonical_json
from asi_verify.errors import AttestationError

__all__ = [
    "LARGEST_FILE",
    "LARGEST_TEXT",
    "Reader",
    "bounded_reader",
    "read_bounded",
    "read_json",
    "same_json",
]

Reader = Callable[[str], bytes]
"""Gives the bytes of a file by its name in the folder; raises a ``UsageError`` if there is none."""

LARGEST_FILE = 1 << 30
LARGEST_TEXT = 1 << 26
"""Of JSON that is parsed in one piece: a parsed value takes many times the room of its text."""


def bounded_reader(folder: Path) -> Reader:
    """Reads the files of a folder, up to 1 GiB each."""
    return lambda name: read_bounded(folder / name, LARGEST_FILE)


def read_bounded(path: Path, largest: int) -> bytes:
    """The bytes of a file.

    Raises:
        AttestationError: there is no such file, it cannot be read, or it is larger.
    """
    try:
        # Nothing but a file is opened: a pipe would never come to an end.
        if not path.is_file():
            raise AttestationError(f"{path}: there is no such file")
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise AttestationError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > largest:
        raise AttestationError(f"{path}: larger than the {largest} bytes that are allowed")
    return data


def read_json(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object, canonical or not, without duplicate keys.

    Raises:
        AttestationError: it is something else, too large, or nested too deep for the parser.
    """
    if len(data) > LARGEST_TEXT:
        raise AttestationError(f"{name}: {len(data)} bytes of JSON; {LARGEST_TEXT} are allowed")
    try:
        value = json.loads(data, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise AttestationError(f"{name}: not JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise AttestationError(f"{name}: the JSON is not an object")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Which of the two counts differs from one reader to the next.
        raise ValueError("a key stands twice in an object")
    return found


def same_json(one: Any, other: Any) -> bool:
    """Whether two values are written the same way; with ``==`` a true would be a 1."""
    return canonical_json(one) == canonical_json(other)
