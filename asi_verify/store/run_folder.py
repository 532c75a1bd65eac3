"""The run folder: everything a run makes in one place (docs/reference/formats.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from asi_verify.core.canonical import bytes_digest
from asi_verify.errors import RunFolderError
from asi_verify.store.bug_log import BugLog, MemoryBugLog
from asi_verify.store.events import EVENTS_FILE, EventLog
from asi_verify.store.files import Files, FolderFiles, MemoryFiles, is_unfinished
from asi_verify.store.sqlite_bug_log import SqliteBugLog

__all__ = ["BUGS_FILE", "RUN_FILE", "RunFolder"]

BUGS_FILE = "bugs.sqlite"
RUN_FILE = "run.json"
_LOCK_FILE = ".lock"
_BEFORE_THE_RUN = {BUGS_FILE, f"{BUGS_FILE}-journal", EVENTS_FILE, _LOCK_FILE}
"""What a run that is killed before it has noted its settings can leave behind."""


class RunFolder:
    """A run's files and bug log, on disk or in memory.

    Attributes:
        files: everything but the bug log, by name.
        bugs: the bug log.
        events: the event log.
        path: the folder, or None in memory.
    """

    def __init__(self, files: Files, bugs: BugLog, path: Path | None) -> None:
        self.files = files
        self.bugs = bugs
        self.events = EventLog(files)
        self.path = path

    @classmethod
    def in_memory(cls) -> RunFolder:
        """A folder that lives as long as this object."""
        return cls(MemoryFiles(), MemoryBugLog(), None)

    @classmethod
    def at(cls, path: str | Path) -> RunFolder:
        """The folder at a path; made if it is not there.

        Raises:
            RunFolderError: the path is a file, or a folder with other things in it.
        """
        place = Path(path)
        if place.exists() and not place.is_dir():
            raise RunFolderError(f"{place} is a file; give a folder")
        if place.is_dir() and not (place / RUN_FILE).exists():
            others = {p.name for p in place.iterdir() if not is_unfinished(p)} - _BEFORE_THE_RUN
            if others:
                raise RunFolderError(
                    f"{place} holds other things ({sorted(others)[0]}, ...) and no {RUN_FILE}; "
                    "give a new or empty folder, or one of a run"
                )
        place.mkdir(parents=True, exist_ok=True)
        return cls(FolderFiles(place), SqliteBugLog(place / BUGS_FILE), place)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of a run that was made before.

        Raises:
            RunFolderError: there is none.
        """
        place = Path(path)
        if not (place / RUN_FILE).is_file():
            lacks = f"no {RUN_FILE}" if place.is_dir() else "no such folder"
            raise RunFolderError(
                f"{path}: {lacks}; this is not the folder of a run; give the one that a run wrote"
            )
        return cls.at(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            RunFolderError: another one is at work here.
        """
        if self.path is None:
            yield
            return
        lock = filelock.FileLock(self.path / _LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunFolderError(
                f"{self.path}: another process is at work here; wait for it"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def configure(self, configuration: dict[str, Any]) -> None:
        """Note what the run is; a folder belongs to one configuration for good.

        The event log begins here. It is written first, so that a folder with a configuration never
        lacks one.

        Raises:
            RunFolderError: the folder is another run's, and the message names the first
                difference; or its event log is missing, was changed, or is about another
                configuration.
        """
        before = self.files.read(RUN_FILE)
        if before is None:
            data = _indented(configuration)
            self.events.begin(bytes_digest(data))
            self.files.write(RUN_FILE, data)
            return
        known = self._parsed(RUN_FILE, before)
        for key in sorted({*known, *configuration}):
            if known.get(key) != json.loads(json.dumps(configuration.get(key))):
                raise RunFolderError(
                    f"{self.files}: a run with {key} = {known.get(key)!r} lies here, not "
                    f"{configuration.get(key)!r}; give another folder"
                )
        self.events.refuse_other(bytes_digest(before))

    @property
    def configuration(self) -> dict[str, Any]:
        """What the run is."""
        found: dict[str, Any] = self._parsed(RUN_FILE, self.files.require(RUN_FILE))
        return found

    def read_json(self, name: str) -> Any:
        """The value written under a name, or None.

        Raises:
            RunFolderError: the file was damaged.
        """
        data = self.files.read(name)
        return None if data is None else self._parsed(name, data)

    def _parsed(self, name: str, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RunFolderError(
                f"{self.files}: {name} was damaged ({error}); take it from a copy of the folder, "
                "or start the run again in a new one"
            ) from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented JSON with sorted keys."""
        self.files.write(name, _indented(value))

    def copy_to(self, other: RunFolder) -> None:
        """Write everything into another folder.

        Raises:
            RunFolderError: the other one is not empty.
        """
        if other.files.names() not in ([], [BUGS_FILE], [_LOCK_FILE, BUGS_FILE]):
            raise RunFolderError(f"{other.files} is not empty; give a new folder")
        for name in self.files.names():
            if name not in (BUGS_FILE, _LOCK_FILE):
                other.files.write(name, self.files.require(name))
        last = self.bugs.last_round()
        if last is not None:
            other.bugs.save(self.bugs.bugs(), last)


def _indented(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
