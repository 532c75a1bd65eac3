"""What commands print with: two consoles, and JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

__all__ = ["console", "err_console", "print_json"]

console = Console(highlight=False, soft_wrap=True)
"""Standard output."""

err_console = Console(stderr=True, highlight=False, soft_wrap=True)
"""Standard error."""


def print_json(value: Any) -> None:
    """Print one JSON object, in one line."""
    # Not through rich, which would wrap lines.
    sys.stdout.write(json.dumps(value, sort_keys=True) + "\n")
