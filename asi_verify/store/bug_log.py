"""The bug log: one interface, in memory or in one SQLite file.

Law, for both: after ``save(bugs, round)`` the log holds exactly the bugs that were saved last under
each key ``(row, kind)``, and ``last_round`` is that round; a ``save`` that is cut off changes
nothing.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable

from asi_verify.core.bug import Bug, BugKind

__all__ = ["BugLog", "MemoryBugLog"]


class BugLog(abc.ABC):
    """Where bugs are kept."""

    @abc.abstractmethod
    def save(self, bugs: Iterable[Bug], round_: int) -> None:
        """Add or replace bugs by ``(row, kind)``, and note the round; all of it or nothing."""

    @abc.abstractmethod
    def bugs(self) -> list[Bug]:
        """All bugs, by row and kind."""

    @abc.abstractmethod
    def last_round(self) -> int | None:
        """The round of the last ``save``, or None if there was none."""


def _order(bug: Bug) -> tuple[int, str]:
    return bug.row, bug.kind.value


class MemoryBugLog(BugLog):
    """A log that lives as long as this object."""

    def __init__(self) -> None:
        self._bugs: dict[tuple[int, BugKind], Bug] = {}
        self._round: int | None = None

    def save(self, bugs: Iterable[Bug], round_: int) -> None:
        new = {(bug.row, bug.kind): bug for bug in bugs}
        self._bugs.update(new)
        self._round = round_

    def bugs(self) -> list[Bug]:
        return sorted(self._bugs.values(), key=_order)

    def last_round(self) -> int | None:
        return self._round
