"""The status of a data set under a model: zero repeatable errors, or how far from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Status", "status_of"]


@dataclass(frozen=True)
class Status:
    """How many training samples have no accepted certificate, and why.

    Attributes:
        open: samples outside the listed contradictions without an accepted certificate.
        contradictions: samples in a listed contradiction, which no model can satisfy.
        memorised: samples outside them with an accepted certificate that may rest on a local patch.
    """

    open: int
    contradictions: int
    memorised: int = 0

    @property
    def is_zero(self) -> bool:
        """Whether every sample outside the contradictions has an accepted certificate."""
        return self.open == 0

    def __str__(self) -> str:
        """Never ``zero`` alone where something is excepted; memorised samples are always told."""
        if self.memorised:
            first = f"open({self.open}" if self.open else f"zero_except({self.contradictions}"
            words = "" if self.open else " contradictions"
            return f"{first}{words}, {self.memorised} memorised)"
        if self.open:
            return f"open({self.open})"
        return f"zero_except({self.contradictions})" if self.contradictions else "zero"


def status_of(result: Mapping[str, Any]) -> Status:
    """What the figures of a finished run (``result.json``) amount to."""
    return Status(result["open"], result["contradictions"], len(result.get("memorised", [])))
