"""The exit codes besides 0, which says that everything is certified."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "OPEN", "WRONG_USE"]

OPEN = 1
"""Something is refuted, undecided or open."""

WRONG_USE = 2
"""Wrong use, with one clear line and no traceback."""

INTERRUPTED = 130
"""Typer's, when a user stops the command."""
