"""The run folder: everything a run makes in one place (docs/reference/formats.md)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
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
_MOST_TOLD = 5
_LONGEST_TOLD = 100
"""How many settings that differ an error names, and how many characters of a value it shows."""


class RunFolder:
    """A run's files and bug log, on disk or in memory.

    Attributes:
        files: everything but the bug log, by name.
        events: the event log.
        path: the folder, or None in memory.
    """

    def __init__(self, files: Files, path: Path | None) -> None:
        self.files = files
        self.events = EventLog(files)
        self.path = path

    @cached_property
    def bugs(self) -> BugLog:
        """The bug log; its file is made when it is first asked for.

        Raises:
            RunFolderError: the file is not a bug log, or one of a newer version of this library.
        """
        return MemoryBugLog() if self.path is None else SqliteBugLog(self.path / BUGS_FILE)

    @classmethod
    def in_memory(cls) -> RunFolder:
        """A folder that lives as long as this object."""
        return cls(MemoryFiles(), None)

    @classmethod
    def at(cls, path: str | Path) -> RunFolder:
        """The folder at a path, for a run; nothing is written before it is locked or written to.

        Raises:
            RunFolderError: the path is a file or below one, cannot be written to, or is a folder
                with other things in it.
        """
        place = Path(path)
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        if not there.is_dir():
            below = "" if there == place else f"{place}: "
            raise RunFolderError(f"{below}{there} is a file; give a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise RunFolderError(f"{place}: {there} cannot be written to; give another folder")
        if place.is_dir() and not (place / RUN_FILE).exists():
            others = {p.name for p in place.iterdir() if not is_unfinished(p)} - _BEFORE_THE_RUN
            if others:
                raise RunFolderError(
                    f"{place} holds other things ({sorted(others)[0]}, ...) and no {RUN_FILE}; "
                    "give a new or empty folder, or one of a run"
                )
        return cls(FolderFiles(place), place)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of a run that was made before.

        Raises:
            RunFolderError: there is none.
        """
        place = Path(path)
        if not (place / RUN_FILE).is_file():
            lacks = f"no {RUN_FILE}" if place.exists() else "no such folder"
            raise RunFolderError(
                f"{path}: {lacks}; this is not the folder of a run; give the one that a run wrote"
            )
        return cls(FolderFiles(place), place)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; the folder and its bug log are made if they are not there.

        Raises:
            RunFolderError: another one is at work here, or the folder cannot be made.
        """
        if self.path is None:
            yield
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: it cannot be made ({error.strerror}); give another folder"
            ) from None
        lock = filelock.FileLock(self.path / _LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunFolderError(
                f"{self.path}: another process is at work here; wait for it"
            ) from None
        try:
            _ = self.bugs
            yield
        finally:
            lock.release()

    def configure(self, configuration: dict[str, Any]) -> None:
        """Note what the run is; a folder belongs to one configuration for good.

        The event log begins here. It is written first, so that a folder with a configuration never
        lacks one.

        Raises:
            RunFolderError: the folder is another run's, and the message names the differences; or
                its event log is missing, was changed, or is about another configuration.
        """
        before = self.files.read(RUN_FILE)
        if before is None:
            data = _indented(configuration)
            self.events.begin(bytes_digest(data))
            self.files.write(RUN_FILE, data)
            return
        known = self._parsed(RUN_FILE, before)
        if found := _differences(known, json.loads(json.dumps(configuration))):
            more = f", and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
            raise RunFolderError(
                f"{self.files}: a run with other settings lies here: "
                f"{', '.join(found[:_MOST_TOLD])}{more}; give another folder, or the settings of "
                "the run to go on with it"
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


def _differences(there: Any, asked: Any) -> list[str]:
    """The settings that differ, with both values; those that stand highest first."""
    found: list[tuple[int, str]] = []

    def compare(place: tuple[str, ...], there: Any, asked: Any) -> None:
        if there == asked:
            return
        if isinstance(there, dict) and isinstance(asked, dict):
            for key in sorted({*there, *asked}):
                compare((*place, key), there.get(key), asked.get(key))
        elif isinstance(there, list) and isinstance(asked, list) and len(there) == len(asked):
            for number, pair in enumerate(zip(there, asked, strict=True)):
                compare((*place, str(number)), *pair)
        else:
            said = f"{'.'.join(place)} is {_short(there)} there, {_short(asked)} was asked for"
            found.append((len(place), said))

    compare((), there, asked)
    return [said for _, said in sorted(found, key=lambda entry: entry[0])]


def _short(value: Any) -> str:
    """A value of a setting as JSON, cut in its middle."""
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= _LONGEST_TOLD else f"{text[: _LONGEST_TOLD - 20]} ... {text[-15:]}"


def _indented(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
