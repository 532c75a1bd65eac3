"""The status of a data set under a model: zero repeatable errors, or how far from it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Status"]


@dataclass(frozen=True)
class Status:
    """How many training samples have no accepted certificate, and why.

    Attributes:
        open: samples outside the listed contradictions without an accepted certificate.
        contradictions: samples in a listed contradiction, which no model can satisfy.
    """

    open: int
    contradictions: int

    @property
    def is_zero(self) -> bool:
        """Whether every sample outside the contradictions has an accepted certificate."""
        return self.open == 0

    def __str__(self) -> str:
        if self.open:
            return f"open({self.open})"
        return f"zero_except({self.contradictions})" if self.contradictions else "zero"
