"""The event log: what a run did and when, one line per event, each naming the one before it.

Every line is canonical JSON with the fields ``details``, ``event``, ``previous`` and ``time``;
``previous`` is the SHA-256 of the line before (its bytes, without the newline), and null in the
first line, which names the format and the digest of the run's settings. So no line can be changed,
taken out or moved without the next one ceasing to fit, and the digest of the last line, the head,
stands for all of them. Lines that are cut off at the end leave a chain that fits: only somebody who
knows the head, or the number of lines, notices. A statement (``asi_verify.attest``) names both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asi_verify.core.canonical import bytes_digest, canonical_json
from asi_verify.core.certificate import parse_json
from asi_verify.core.query import is_digest
from asi_verify.errors import CertificateError, RunFolderError
from asi_verify.store.files import Files

__all__ = ["EVENTS_FILE", "Chain", "EventLog", "read_chain"]

EVENTS_FILE = "events.jsonl"

_SCHEMA = "asi-verify/events/1"
_BEGUN = "begun"
_RECOVERED = "recovered"
_KEYS = {"details", "event", "previous", "time"}


@dataclass(frozen=True)
class Chain:
    """An event log in which every line fits the one before.

    Attributes:
        events: the lines' values, oldest first; never empty.
        head: the SHA-256 of the last line.
    """

    events: tuple[dict[str, Any], ...]
    head: str

    @property
    def settings(self) -> str | None:
        """The SHA-256 of the settings that the log was begun for; None if it was for none."""
        found: str | None = self.events[0]["details"]["settings"]
        return found


def read_chain(data: bytes) -> Chain:
    """Read an event log and see that every line fits; everything in it is untrusted.

    Raises:
        RunFolderError: it is empty, or a line is incomplete, in another format, or does not name
            the line before it; the message names the first such line.
    """
    *lines, rest = data.split(b"\n")
    events: list[dict[str, Any]] = []
    previous: str | None = None
    for number, line in enumerate(lines, 1):
        place = f"{EVENTS_FILE}, line {number}"
        event = _event(line, place)
        if event["previous"] != previous:
            raise RunFolderError(
                f"{place}: it names {event['previous']} as the line before, which is {previous}: "
                "a line was changed, taken out, put in or moved"
            )
        if previous is None and not _begins(event):
            raise RunFolderError(f"{place}: the log does not begin with its format and settings")
        events.append(event)
        previous = bytes_digest(line)
    if rest:
        raise RunFolderError(
            f"{EVENTS_FILE}, line {len(lines) + 1}: incomplete, no newline ends it"
        )
    if previous is None:
        raise RunFolderError(f"{EVENTS_FILE}, line 1: there is none, the log is empty")
    return Chain(tuple(events), previous)


def _event(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except CertificateError as error:
        raise RunFolderError(f"{place}: {error}") from None
    match value:
        case {
            "details": dict(),
            "event": str(),
            "previous": None | str(),
            "time": str(),
            **rest,
        } if not rest:
            return dict(value)
    raise RunFolderError(f"{place}: an event has the fields {sorted(_KEYS)}; this has not")


def _begins(event: dict[str, Any]) -> bool:
    match event["event"], event["details"]:
        case str(kind), {"schema": str(schema), "settings": settings, **rest}:
            return (
                (kind, schema) == (_BEGUN, _SCHEMA)
                and not rest
                and (settings is None or is_digest(settings))
            )
    return False


class EventLog:
    """Events of one run folder; times are here and nowhere else, since nothing proved has one.

    An event is written before the file that says that the step need not be done again. So a run
    that is killed loses no event; where it was killed between the two, the step is done again and
    its event stands there twice.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def begin(self, settings: str | None) -> None:
        """Begin a new log in place of whatever is there.

        Args:
            settings: the SHA-256 of the run's settings; None if there are none.
        """
        line = _line(_BEGUN, {"schema": _SCHEMA, "settings": settings}, None)
        self._files.write(EVENTS_FILE, line)

    def add(self, kind: str, **details: Any) -> None:
        """Add an event with the present time; a log that nobody began is begun for no settings.

        An incomplete last line is cut off first, and a ``recovered`` event says so and names its
        SHA-256 and length. Only bytes after the last newline are ever cut, which no line that was
        written whole can lose, and never without that event.

        Raises:
            RunFolderError: a line of the log does not fit.
            TypeError: the details have no canonical JSON form; floats have none.
        """
        if self._files.read(EVENTS_FILE) is None:
            self.begin(None)
        whole, torn = _split(self._files.require(EVENTS_FILE))
        head = self._read(whole).head
        if torn:
            cut = {"bytes": len(torn), "sha256": bytes_digest(torn)}
            line = _line(_RECOVERED, cut, head)
            whole, head = whole + line, bytes_digest(line[:-1])
        self._files.write(EVENTS_FILE, whole + _line(kind, details, head))

    def chain(self) -> Chain:
        """The events, every line compared with the one before.

        Raises:
            RunFolderError: there is no log, or a line does not fit; the first one is named.
        """
        return self._read(self._files.require(EVENTS_FILE))

    def refuse_other(self, settings: str) -> None:
        """Refuse to go on with a log that is missing, does not fit, or is about other settings.

        An incomplete last line is no reason: ``add`` deals with it.

        Raises:
            RunFolderError: as said.
        """
        found = self._read(_split(self._files.require(EVENTS_FILE))[0]).settings
        if found != settings:
            raise RunFolderError(
                f"{self._files}: {EVENTS_FILE} was begun for the settings {found}, those that lie "
                f"here are {settings}: one of the two was changed; give another folder"
            )

    def _read(self, data: bytes) -> Chain:
        try:
            return read_chain(data)
        except RunFolderError as error:
            raise RunFolderError(
                f"{self._files}: {error}. The log was changed, or is of an older asi_verify; give "
                "another folder"
            ) from None


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what stands after the last newline."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _line(kind: str, details: dict[str, Any], previous: str | None) -> bytes:
    time = datetime.now(UTC).isoformat()
    value = {"details": details, "event": kind, "previous": previous, "time": time}
    return canonical_json(value) + b"\n"
