"""Progress: how long-running functions say how far they are, without printing anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["NO_PROGRESS", "NoProgress", "Progress"]


class Progress(Protocol):
    """Something that can show the progress of a task. The command line has one with a bar."""

    def task(
        self, description: str, total: int
    ) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        """A task of so many steps; the context's value is called with the steps just made."""

    def say(self, text: str) -> None:
        """One line about what was just finished."""


class NoProgress:
    """Shows nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """A task that nobody watches."""
        yield lambda _: None

    def say(self, text: str) -> None:
        """Nothing."""


NO_PROGRESS: Progress = NoProgress()
