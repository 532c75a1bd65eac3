"""The solver in a process of its own: killed when its time is over, and never missed when it dies.

z3's own time limit is a wish, and out of memory it may take its process with it. So it runs in a
process that one can kill, and that lives on for the next question: starting it takes some 0.2 s,
where a typical script takes 0.05 s. Each question has a z3 context of its own, and its answer, the
point and the count of steps included, does not depend on the questions before.

Nothing but a whole answer to this very script counts: a process that is killed, that crashes, or
that says anything else has not answered. It ends with its standard input, and so with whoever
started it, however that one ended.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from asi_verify.smt.answers import Answer, Failed, Late, Satisfiable, Unknown, Unsatisfiable

__all__ = ["MEMORY", "Question", "Solver", "borrowed", "given_back"]

MEMORY = 1 << 31
"""Bytes that the solver's process may take."""
_WORKER = Path(__file__).with_name("worker.py")
_LONGEST_ANSWER = 1 << 26
"""Bytes; a point of 1,000 inputs takes some 100,000."""


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        script: SMT-LIB, from ``encoded``.
        names: the variables whose values make up a point.
        steps: z3's resource limit, a count of its own steps and so the same on every machine.
    """

    script: str
    names: tuple[str, ...]
    steps: int


def _always() -> bool:
    return True


class Solver:
    """z3 in a process, started with the first question and again after it ended.

    One thread asks; ``stop_unwanted`` may be called from another.

    Args:
        memory: bytes that the process may take.
        program: what is started instead of ours, with the bytes as its last argument; for tests.
    """

    def __init__(self, memory: int = MEMORY, program: Sequence[str] | None = None) -> None:
        # -P: the worker's own folder is no place to import from.
        given = [sys.executable, "-P", str(_WORKER)] if program is None else program
        self.memory = memory
        self._command = [*given, str(memory)]
        self._process: subprocess.Popen[bytes] | None = None
        self._version = ""
        self._lock = threading.Lock()
        self._asking = False
        self._wanted = _always

    def ask(
        self,
        question: Question,
        seconds: float | None = None,
        wanted: Callable[[], bool] = _always,
    ) -> Answer:
        """Ask, and wait for the answer.

        Args:
            question: what is asked.
            seconds: after which the process is killed.
            wanted: whether the answer still matters; once it does not, it never does again.
        """
        if seconds is not None and seconds <= 0:
            return Late("no time was left")
        with self._lock:
            if not wanted():
                return Failed("stopped")
            try:
                process = self._running()
            except OSError as error:
                return Failed(f"the solver does not start: {error}")
            self._asking, self._wanted = True, wanted
        late = threading.Event()
        clock = None if seconds is None else threading.Timer(seconds, _end_late, (process, late))
        answer: Answer = Failed("interrupted")
        try:
            if clock is not None:
                clock.start()
            answer = self._answer(process, question)
        finally:
            if clock is not None:
                clock.cancel()
                clock.join()
            with self._lock:
                self._asking = False
                # One that gave up, for want of memory as it may be, is not asked again.
                if late.is_set() or not isinstance(answer, Satisfiable | Unsatisfiable):
                    self._end()
        if late.is_set() and isinstance(answer, Failed):
            return Late(f"killed after {seconds:.1f} s")
        return answer

    def stop_unwanted(self) -> None:
        """Kill the process if it is at work on what is no longer wanted; that has no answer."""
        with self._lock:
            if self._asking and not self._wanted() and self._process is not None:
                self._process.kill()
                # If it has just answered it is kept: the next question has to see that it is dead.
                self._process.wait()

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._version = ""
            self._process = subprocess.Popen(  # noqa: S603  our own file, by Python itself
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us: we then end it
            )
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what it was not told is in the buffer still
                pipe.close()

    def _answer(self, process: subprocess.Popen[bytes], question: Question) -> Answer:
        assert process.stdin is not None
        assert process.stdout is not None
        script = question.script.encode()
        header = {"bytes": len(script), "names": question.names, "steps": question.steps}
        try:
            process.stdin.write(json.dumps(header).encode() + b"\n" + script)
            process.stdin.flush()
            if not self._version:
                self._version = str(json.loads(process.stdout.readline(_LONGEST_ANSWER))["version"])
            line = process.stdout.readline(_LONGEST_ANSWER)
            return _read(line, hashlib.sha256(script).hexdigest(), self._version, question)
        except (OSError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            nonsense = f"the solver's process says what makes no sense: {error}"
        try:
            code = process.wait(1)  # its output ends a moment before it does
        except subprocess.TimeoutExpired:
            return Failed(nonsense)
        return Failed(f"the solver's process ended with {code}; it may take {self.memory} bytes")


def _read(line: bytes, digest: str, version: str, question: Question) -> Answer:
    """An answer to this very script.

    Raises:
        KeyError, TypeError, ValueError, ZeroDivisionError: it is none.
    """
    said = json.loads(line)
    if said["of"] != digest:
        raise ValueError("an answer to something else")
    match said["answer"]:
        case "unsat":
            return Unsatisfiable(version)
        case "sat":
            if len(said["point"]) != len(question.names):
                raise ValueError("a point of another length")
            return Satisfiable(tuple(None if v is None else _fraction(*v) for v in said["point"]))
        case "unknown":
            return Unknown(str(said["reason"]))
    raise ValueError("no answer")


def _fraction(numerator: str, denominator: str) -> Fraction:
    return Fraction(int(numerator, 16), int(denominator, 16))


def _end_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


_idle: list[Solver] = []
"""At most one, for the next question."""


def borrowed(memory: int = MEMORY) -> Solver:
    """A solver for some questions; to be given back, or closed.

    Args:
        memory: bytes that its process may take.
    """
    while _idle:
        found = _idle.pop()
        if found.memory == memory:
            return found
        found.close()
    return Solver(memory)


def given_back(solver: Solver) -> None:
    """Keep a solver for the next questions, unless there is one already."""
    if solver in _idle:
        return
    if _idle:
        solver.close()
    else:
        _idle.append(solver)


def _close_idle() -> None:
    while _idle:
        _idle.pop().close()


atexit.register(_close_idle)
if hasattr(os, "register_at_fork"):
    # Two processes must not talk to one solver.
    os.register_at_fork(after_in_child=_idle.clear)
