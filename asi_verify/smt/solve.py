"""Ask z3 one script, within a budget of its own steps."""

from __future__ import annotations

from asi_verify.smt.answers import Answer
from asi_verify.smt.encoding import input_name
from asi_verify.smt.process import MEMORY, Question, borrowed, given_back

__all__ = ["question_about", "solve"]


def question_about(script: str, numbers: int, steps: int) -> Question:
    """A script as a question whose points are inputs.

    Args:
        script: SMT-LIB, from ``encoded``.
        numbers: how many numbers the input has.
        steps: z3's resource limit.
    """
    return Question(script, tuple(map(input_name, range(numbers))), steps)


def solve(
    script: str, numbers: int, steps: int, seconds: float | None = None, memory: int = MEMORY
) -> Answer:
    """Ask z3, in a process of its own.

    Args:
        script: SMT-LIB, from ``encoded``.
        numbers: how many numbers the input has.
        steps: z3's resource limit, a count of its own steps and so the same on every machine.
        seconds: after which z3 is killed.
        memory: bytes that its process may take.
    """
    solver = borrowed(memory)
    try:
        return solver.ask(question_about(script, numbers, steps), seconds)
    finally:
        given_back(solver)
