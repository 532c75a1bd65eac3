"""The bytes of a file that was handed over as a path or as bytes, unpacked if it is gzip's."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asi_verify.errors import UsageError

__all__ = ["FileLike", "naming", "read_file"]

FileLike = str | Path | bytes
"""A path, or a file's bytes."""

_GZIP = b"\x1f\x8b"


@contextmanager
def naming(given: object) -> Iterator[None]:
    """Put a file's path in front of what is wrong in it; bytes have none."""
    try:
        yield
    except UsageError as error:
        if not isinstance(given, str | Path):
            raise
        raise type(error)(f"{given}: {error}") from None


def read_file(given: FileLike, largest: int, error: type[UsageError]) -> bytes:
    """A file's bytes.

    Args:
        given: its path or its bytes; what begins as gzip's files do is unpacked.
        largest: how many bytes it may have, packed and unpacked.
        error: the class of what is raised.

    Raises:
        UsageError: of the class given: there is no such file, it is larger, or cannot be read or
            unpacked.
    """
    data = given if isinstance(given, bytes) else _contents(Path(given), largest, error)
    name = "the file" if isinstance(given, bytes) else str(given)
    if data.startswith(_GZIP):
        try:
            # One byte more than is allowed shows that there is more; nothing else is unpacked.
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(largest + 1)
        except (OSError, EOFError, zlib.error) as broken:
            raise error(f"{name}: cannot be unpacked ({broken})") from None
    if len(data) > largest:
        raise error(f"{name}: more than {largest} bytes, which is the limit")
    return data


def _contents(path: Path, largest: int, error: type[UsageError]) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise error(
                f"{path}: {'a folder' if path.is_dir() else 'there is no such file'}; give a file"
            )
        with path.open("rb") as file:
            return file.read(largest + 1)
    except OSError as failure:  # a name that is too long, or what only others may read
        raise error(f"{path}: cannot be read ({failure.strerror or failure})") from None
