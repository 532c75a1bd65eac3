"""Named byte strings: a folder on disk, or its twin in memory.

Law, for both: ``read`` gives what the last ``write`` of the name wrote, or None; a ``write`` that
is cut off at any point leaves what was there before.
"""

from __future__ import annotations

import abc
import os
import tempfile
from pathlib import Path

from asi_verify.errors import RunFolderError

__all__ = ["Files", "FolderFiles", "MemoryFiles", "is_unfinished"]

_UNFINISHED = ".part-"


class Files(abc.ABC):
    """Byte strings by name; names are relative paths with ``/``."""

    @abc.abstractmethod
    def read(self, name: str) -> bytes | None:
        """What was written under the name, or None."""

    @abc.abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write all of it or nothing."""

    @abc.abstractmethod
    def names(self) -> list[str]:
        """All names, sorted."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Forget a name; nothing happens if there is none."""

    def require(self, name: str) -> bytes:
        """What was written under the name.

        Raises:
            RunFolderError: nothing was.
        """
        data = self.read(name)
        if data is None:
            raise RunFolderError(f"{self}: {name} is missing; run the step that writes it")
        return data


def _refuse_outside(name: str) -> None:
    parts = name.split("/")
    if not name or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise RunFolderError(f"{name!r} is not a name inside the folder")


class MemoryFiles(Files):
    """Files that live as long as this object."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self._data.get(name)

    def write(self, name: str, data: bytes) -> None:
        _refuse_outside(name)
        self._data[name] = bytes(data)

    def names(self) -> list[str]:
        return sorted(self._data)

    def remove(self, name: str) -> None:
        self._data.pop(name, None)

    def __str__(self) -> str:
        return "(in memory)"


def _umask() -> int:
    # The only way to read it is to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def is_unfinished(path: Path) -> bool:
    """Whether this is what a process left that was killed while it wrote a file."""
    return path.name.startswith(_UNFINISHED)


class FolderFiles(Files):
    """Files in a folder, which is made when first written to."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def read(self, name: str) -> bytes | None:
        _refuse_outside(name)
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        _refuse_outside(name)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files for the owner alone; a result is as readable as any other file.
            Path(unfinished).chmod(0o666 & ~_umask())
            Path(unfinished).replace(path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise

    def names(self) -> list[str]:
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file() and not is_unfinished(path)
        )

    def remove(self, name: str) -> None:
        _refuse_outside(name)
        (self.folder / name).unlink(missing_ok=True)

    def __str__(self) -> str:
        return str(self.folder)
