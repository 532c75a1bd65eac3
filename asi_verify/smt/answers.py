"""What can come of asking the solver: a closed union."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Answer", "Failed", "Late", "Satisfiable", "Unknown", "Unsatisfiable"]


@dataclass(frozen=True)
class Unsatisfiable:
    """The solver says that there is no counterexample over the rationals.

    Attributes:
        version: of the solver that says so.
    """

    version: str


@dataclass(frozen=True)
class Satisfiable:
    """The solver says that this point is a counterexample over the rationals.

    Attributes:
        point: every number of the input, in C order; numbers that do not matter are None.
    """

    point: tuple[Fraction | None, ...]


@dataclass(frozen=True)
class Unknown:
    """The solver gave up, its steps used up for one; the reason is its own."""

    reason: str


@dataclass(frozen=True)
class Late:
    """The solver was killed because its time was over."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """The solver ended without an answer, did not start, or said what makes no sense."""

    reason: str


Answer = Unsatisfiable | Satisfiable | Unknown | Late | Failed
