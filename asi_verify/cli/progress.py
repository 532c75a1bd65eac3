"""Progress on the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from asi_verify.cli.printing import err_console

__all__ = ["TerminalProgress"]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class TerminalProgress:
    """Progress on the terminal, on standard error; lines only where that is not one."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(
            *columns, console=err_console, transient=True, disable=not err_console.is_terminal
        ) as bars:
            bar = bars.add_task(description, total=total)
            yield lambda steps: bars.advance(bar, steps)

    def say(self, text: str) -> None:
        err_console.print(text)
