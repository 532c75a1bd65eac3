"""What runs in the solver's own process: questions come in, answers go out, one after the other.

It is started as a file and imports z3 and the standard library alone, so that it is there as soon
as z3 is. A question is a line of JSON and the bytes of its script, an answer is a line of JSON that
names the SHA-256 of the script. Integers travel as hexadecimal text: of decimal ones Python reads
no more than 4,300 digits. Memory is limited before the first question. The process ends when its
standard input does, in the middle of a question too: it does not outlive whoever started it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import sys
import threading
from typing import Any, BinaryIO

import z3

__all__ = ["answered", "main"]


def main() -> None:
    """Answer until standard input ends; the first argument is the limit on memory in bytes."""
    # What z3 itself prints must not be taken for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory(int(sys.argv[1]))
    sys.set_int_max_str_digits(0)  # z3 hands its integers over as decimal text
    questions: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    # z3 runs without Python's lock: this thread sees the end of the input while z3 is at work.
    listener = threading.Thread(target=_listen, args=(sys.stdin.buffer, questions), daemon=True)
    listener.start()
    _say(answers, {"version": str(z3.get_version_string())})
    while True:
        question, script = questions.get()
        found = answered(script.decode(), **question)
        _say(answers, {"of": hashlib.sha256(script).hexdigest(), **found})


def _limit_memory(most: int) -> None:
    """z3's own limit first, which counts alike everywhere; the system's for all that it misses."""
    z3.set_param("memory_max_size", max(1, (most >> 20) * 3 // 4))
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system has it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _listen(given: BinaryIO, questions: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    while line := given.readline():
        question = json.loads(line)
        questions.put((question, given.read(question.pop("bytes"))))
    os._exit(0)


def _say(answers: BinaryIO, said: dict[str, Any]) -> None:
    answers.write(json.dumps(said).encode() + b"\n")
    answers.flush()


def answered(script: str, names: list[str], steps: int) -> dict[str, Any]:
    """z3's answer to one script.

    Args:
        script: SMT-LIB.
        names: the variables whose values are wanted.
        steps: z3's resource limit.
    """
    # A context of its own: z3's global one keeps every expression for the life of the process.
    context = z3.Context()
    solver = z3.SolverFor("QF_LRA", ctx=context)
    solver.set("rlimit", steps)
    solver.from_string(script)
    answer = solver.check()
    if answer == z3.unsat:
        return {"answer": "unsat"}
    if answer == z3.sat:
        model = solver.model()
        return {"answer": "sat", "point": [_value(model, name, context) for name in names]}
    return {"answer": "unknown", "reason": solver.reason_unknown()}


def _value(model: z3.ModelRef, name: str, context: z3.Context) -> list[str] | None:
    found = model[z3.Real(name, context)]
    if found is None:
        return None
    return [hex(found.numerator_as_long()), hex(found.denominator_as_long())]


if __name__ == "__main__":
    main()
