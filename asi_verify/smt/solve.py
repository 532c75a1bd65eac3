"""Ask z3 a script, within a budget of its own steps."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import z3

from asi_verify.smt.encoding import input_name

__all__ = ["Answer", "Satisfiable", "Unknown", "Unsatisfiable", "solve", "solver_version"]


@dataclass(frozen=True)
class Unsatisfiable:
    """The solver says that there is no counterexample over the rationals."""


@dataclass(frozen=True)
class Satisfiable:
    """The solver says that this point is a counterexample over the rationals.

    Attributes:
        point: every number of the input, in C order; numbers that do not matter are None.
    """

    point: tuple[Fraction | None, ...]


@dataclass(frozen=True)
class Unknown:
    """The solver gave up; the reason is its own."""

    reason: str


Answer = Unsatisfiable | Satisfiable | Unknown


def solver_version() -> str:
    """The solver's version."""
    return str(z3.get_version_string())


def solve(script: str, numbers: int, steps: int, seconds: float | None = None) -> Answer:
    """Ask z3.

    Args:
        script: SMT-LIB, from ``encoded``.
        numbers: how many numbers the input has.
        steps: z3's resource limit, a count of its own steps and so the same on every machine.
        seconds: after which z3 gives up as well.
    """
    # A context of its own: z3's global one keeps every expression for the life of the process.
    context = z3.Context()
    solver = z3.SolverFor("QF_LRA", ctx=context)
    solver.set("rlimit", steps)
    if seconds is not None:
        solver.set("timeout", max(1, int(seconds * 1000)))
    solver.from_string(script)
    answer = solver.check()
    if answer == z3.unsat:
        return Unsatisfiable()
    if answer == z3.sat:
        model = solver.model()
        return Satisfiable(tuple(_value(model, input_name(i), context) for i in range(numbers)))
    return Unknown(solver.reason_unknown())


def _value(model: z3.ModelRef, name: str, context: z3.Context) -> Fraction | None:
    found = model[z3.Real(name, context)]
    if found is None:
        return None
    return Fraction(found.numerator_as_long(), found.denominator_as_long())
