"""The event log: what a run did and when, one JSON line per event, only ever added to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from asi_verify.store.files import Files

__all__ = ["EVENTS_FILE", "EventLog"]

EVENTS_FILE = "events.jsonl"


class EventLog:
    """Events of one run folder; times are here and nowhere else, since nothing proved has one."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def add(self, kind: str, **details: Any) -> None:
        """Add an event with the present time."""
        line = {"details": details, "event": kind, "time": datetime.now(UTC).isoformat()}
        before = self._files.read(EVENTS_FILE) or b""
        self._files.write(EVENTS_FILE, before + json.dumps(line, sort_keys=True).encode() + b"\n")

    def all(self) -> list[dict[str, Any]]:
        """The events, oldest first."""
        data = self._files.read(EVENTS_FILE) or b""
        return [json.loads(line) for line in data.splitlines()]
