"""How many processes share some work."""

from __future__ import annotations

from asi_verify.errors import UsageError

__all__ = ["require_cores"]


def require_cores(cores: int) -> None:
    """Refuse a number of processes that is none.

    Raises:
        UsageError: it is less than 1, or no whole number.
    """
    if type(cores) is not int or cores < 1:
        raise UsageError(f"cores: {cores!r}; a whole number, 1 or more, is expected")
