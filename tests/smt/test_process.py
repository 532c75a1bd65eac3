"""The solver's process: killed when its time is over, and whatever becomes of it, no proof."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import asi_verify
from asi_verify.smt import (
    Failed,
    Late,
    Question,
    Satisfiable,
    Solver,
    Unknown,
    Unsatisfiable,
    borrowed,
    given_back,
)
from asi_verify.smt.process import MEMORY

UNSAT = Question(
    "(declare-const x0 Real)(assert (and (< x0 0) (> x0 0)))(check-sat)", ("x0",), 9999
)
SAT = Question("(declare-const x0 Real)(assert (= (* 3.0 x0) 1.0))(check-sat)", ("x0",), 9999)


def hard(holes=14):
    """One pigeon more than holes: z3 is at it for hours (Haken 1985: no short refutation)."""
    pigeons = range(holes + 1)
    lines = [f"(declare-const p{i}_{j} Bool)" for i in pigeons for j in range(holes)]
    lines += [f"(assert (or {' '.join(f'p{i}_{j}' for j in range(holes))}))" for i in pigeons]
    for j in range(holes):
        lines += [
            f"(assert (not (and p{i}_{j} p{k}_{j})))" for i in pigeons for k in pigeons if i < k
        ]
    return Question("\n".join([*lines, "(check-sat)"]), (), 4 * 10**9)


def choices_of(seed, numbers, choices, steps=10**9):
    """Half spaces of which one of two has to hold."""
    generator = np.random.default_rng(seed)
    lines = [
        f"(declare-const x{i} Real)(assert (and (<= 0 x{i}) (<= x{i} 1)))" for i in range(numbers)
    ]
    for _ in range(choices):
        ends = []
        for sign in ("<=", ">="):
            terms = " ".join(
                f"(* {generator.integers(-(2**24), 2**24)} x{i})"
                for i in generator.choice(numbers, 8, replace=False)
            )
            ends.append(f"({sign} (+ {terms}) {generator.integers(-(2**24), 2**24)})")
        lines.append(f"(assert (or {' '.join(ends)}))")
    return Question("\n".join([*lines, "(check-sat)"]), tuple(f"x{i}" for i in range(12)), steps)


@pytest.fixture
def solver():
    """One of its own."""
    solver = Solver()
    yield solver
    solver.close()


@pytest.fixture
def program(tmp_path):
    """Makes a solver of a Python program that stands for a broken one."""
    made = []

    def of(code):
        file = tmp_path / f"{len(made)}.py"
        file.write_text(code)
        made.append(Solver(program=[sys.executable, str(file)]))
        return made[-1]

    yield of
    for solver in made:
        solver.close()


SAYS = """
import time
print('{{"version": "1"}}')
print({!r}, flush=True)
time.sleep(600)
"""


def process_of(solver):
    return solver._process


def wait_for(fact, seconds=60.0):
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.01)


def is_running(pid):
    """Neither gone nor a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_process_answers_many_questions(solver):
    """It is started once, and says which z3 it is."""
    answers = [solver.ask(question) for question in (UNSAT, SAT, UNSAT)]
    first = process_of(solver)
    assert isinstance(answers[0], Unsatisfiable)
    assert answers[0].version
    assert isinstance(answers[1], Satisfiable)
    assert answers[2] == answers[0]
    solver.ask(SAT)
    assert process_of(solver) is first


def test_an_answer_does_not_depend_on_the_questions_before(solver):
    """Nor on whether any came before: the same point, and the same steps used up."""
    questions = [
        choices_of(seed, 12, choices, steps)
        for seed, choices in enumerate((5, 20, 40))
        for steps in (2_000, 20_000, 200_000)
    ]
    forward = [solver.ask(question) for question in questions]
    back = [solver.ask(question) for question in reversed(questions)]
    assert forward == back[::-1]
    assert {type(answer) for answer in forward} >= {Satisfiable, Unknown}
    fresh = Solver()
    assert fresh.ask(questions[-1]) == forward[-1]
    fresh.close()


def test_a_solver_that_gave_up_is_not_asked_again(solver):
    """Out of memory z3 keeps a flag that would end the next question too."""
    assert isinstance(solver.ask(Question(hard().script, (), 1000)), Unknown)
    assert process_of(solver) is None


def test_numbers_of_any_length_come_through(solver):
    """More digits than Python reads as decimal text."""
    huge = f"1{'0' * 4999}1"
    script = f"(declare-const x0 Real)(assert (= (* {huge}.0 x0) 1.0))(check-sat)"
    answer = solver.ask(Question(script, ("x0", "x1"), 10**8))
    assert isinstance(answer, Satisfiable)
    assert answer.point[0].denominator == 10**5000 + 1
    assert answer.point[1] is None


def test_what_takes_too_long_is_killed(solver):
    """At once, and not when z3 next looks at its clock; the next question has a new process."""
    assert isinstance(solver.ask(SAT), Satisfiable)
    process = process_of(solver)
    start = time.monotonic()
    answer = solver.ask(hard(), seconds=0.5)
    assert isinstance(answer, Late)
    assert time.monotonic() - start < 10
    assert process.returncode == -signal.SIGKILL
    assert isinstance(solver.ask(SAT), Satisfiable)


def test_a_solver_that_hangs_is_killed(program):
    """Before its first word, without reading, or deaf to everything but a kill."""
    for code in (
        "import time; time.sleep(600)",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
        'import sys; print(\'{"version": "1"}\', flush=True); sys.stdin.read()',
    ):
        solver = program(code)
        long = Question(UNSAT.script + " " * 10**6, ("x0",), 1)  # more than a pipe holds
        assert isinstance(solver.ask(long, seconds=0.5), Late)
        assert process_of(solver) is None


def test_without_time_nothing_is_started(solver):
    """And that is not an answer."""
    assert isinstance(solver.ask(UNSAT, seconds=0), Late)
    assert process_of(solver) is None


@pytest.mark.parametrize(
    "ending",
    ["import os; os.abort()", "import sys; sys.exit(0)", "raise SystemExit(101)"],
    ids=["abort", "success", "out of memory"],
)
@pytest.mark.parametrize("after", ["", "input(); ", 'print(\'{"version": "1"}\', flush=True); '])
def test_a_solver_that_dies_has_not_answered(program, after, ending):
    """Whatever its exit code says."""
    answer = program(after + ending).ask(UNSAT, seconds=30)
    assert isinstance(answer, Failed)
    assert "ended with" in answer.reason


def test_a_crash_in_the_middle_costs_one_question(solver):
    """The one that was asked; the next is answered."""
    assert isinstance(solver.ask(SAT), Satisfiable)
    process = process_of(solver)
    threading.Timer(0.3, process.send_signal, (signal.SIGSEGV,)).start()
    assert isinstance(solver.ask(hard()), Failed)
    assert isinstance(solver.ask(UNSAT), Unsatisfiable)


def test_a_solver_that_died_between_two_questions_is_started_again(solver):
    """Nobody notices."""
    solver.ask(SAT)
    process_of(solver).kill()
    process_of(solver).wait()
    assert isinstance(solver.ask(UNSAT), Unsatisfiable)


def test_memory_is_limited():
    """A script that needs more ends its process, not ours; within the limit it is answered."""
    small = Solver(memory=200 << 20)
    try:
        assert isinstance(small.ask(SAT), Satisfiable)
        answer = small.ask(choices_of(0, 400, 30_000), seconds=120)
        assert isinstance(answer, Failed | Unknown)
        assert not isinstance(answer, Unknown) or "memory" in answer.reason
        assert isinstance(small.ask(UNSAT), Unsatisfiable)
    finally:
        small.close()


def test_a_solver_that_eats_memory_is_stopped_by_the_system():
    """Whatever z3 counts: the process has no more address space."""
    code = (
        "import resource, sys; sys.argv = ['', '{}']; "
        "from asi_verify.smt.worker import _limit_memory; _limit_memory({}); "
        "print(len(bytearray({})))"
    )
    limit = 400 << 20
    for wanted, ends in ((1 << 20, 0), (limit, 1)):
        done = subprocess.run(
            [sys.executable, "-c", code.format(limit, limit, wanted)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == ends, done.stderr
        assert ends == 0 or "MemoryError" in done.stderr


@pytest.mark.parametrize(
    "said",
    [
        {"answer": "unsat"},
        {"of": "0" * 64, "answer": "unsat"},
        {"of": None, "answer": "unsat"},
        {"of": "THIS", "answer": "UNSAT"},
        {"of": "THIS", "answer": "sat", "point": []},
        {"of": "THIS", "answer": "sat", "point": [["0x1", "0x0"]]},
        {"of": "THIS", "answer": "sat", "point": [["one", "0x1"]]},
        {"of": "THIS"},
        ["unsat"],
        "unsat",
    ],
)
def test_what_is_no_answer_to_this_script_is_none(program, said):
    """Another script's, or half of one; "unsat" alone proves nothing."""
    line = json.dumps(said).replace("THIS", hashlib.sha256(UNSAT.script.encode()).hexdigest())
    assert isinstance(program(SAYS.format(line)).ask(UNSAT, seconds=60), Failed)


def test_a_program_that_says_what_is_right_is_heard(program):
    """The forged answers above differ from this one."""
    line = json.dumps({"of": hashlib.sha256(UNSAT.script.encode()).hexdigest(), "answer": "unsat"})
    assert program(SAYS.format(line)).ask(UNSAT, seconds=60) == Unsatisfiable("1")


def test_a_program_that_is_not_there_is_no_answer():
    """It cannot be started, and that is said."""
    answer = Solver(program=["/nowhere/z3"]).ask(UNSAT)
    assert isinstance(answer, Failed)
    assert "start" in answer.reason


def test_only_what_is_no_longer_wanted_is_stopped(solver):
    """A question that still matters is not, and neither is a process that waits."""
    unwanted = threading.Event()
    answers = []
    ask = lambda: answers.append(solver.ask(hard(), 300, lambda: not unwanted.is_set()))  # noqa: E731
    asked = threading.Thread(target=ask)
    asked.start()
    wait_for(lambda: process_of(solver) is not None)
    process = process_of(solver)
    solver.stop_unwanted()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    unwanted.set()
    solver.stop_unwanted()
    asked.join(60)
    assert [type(answer) for answer in answers] == [Failed]
    assert isinstance(solver.ask(UNSAT), Unsatisfiable)
    waiting = process_of(solver)
    solver.stop_unwanted()
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(0.5)
    assert isinstance(solver.ask(UNSAT, wanted=lambda: False), Failed)


def test_a_kill_that_comes_with_the_answer_costs_the_next_question_nothing(solver, monkeypatch):
    """The process may still be dying when it is asked: it is not asked."""
    original, wanted = solver._answer, [True]

    def answer(*given):
        found = original(*given)
        if wanted[0]:
            wanted[0] = False
            solver.stop_unwanted()
        return found

    monkeypatch.setattr(solver, "_answer", answer)
    for _ in range(10):
        wanted[0] = True
        assert isinstance(solver.ask(UNSAT, wanted=lambda: wanted[0]), Unsatisfiable)
        assert isinstance(solver.ask(UNSAT, wanted=lambda: True), Unsatisfiable)


def test_a_solver_is_kept_for_the_next_questions():
    """One; another limit on memory is another solver."""
    first, second = borrowed(), borrowed()
    assert first is not second
    first.ask(SAT)
    second.ask(SAT)
    kept, ended = process_of(first), process_of(second)
    given_back(first)
    given_back(first)
    given_back(second)
    assert kept.poll() is None
    assert ended.poll() is not None
    assert borrowed() is first
    given_back(first)
    other = borrowed(MEMORY // 2)
    assert other is not first
    assert kept.poll() is not None


# A program that is started in the background of a script ignores Ctrl-C, and so would this one.
PARENT = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path[:0] = {places!r}
from test_process import hard
from asi_verify.smt import Solver
solver = Solver()
threading.Thread(target=lambda: (threading.Event().wait(1), print(solver._process.pid, flush=True)),
                 daemon=True).start()
solver.ask(hard())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_solver_does_not_outlive_who_started_it(how):
    """Ctrl-C, or a kill that nobody can catch: no process is left behind, even at work."""
    code = PARENT.format(
        places=[str(Path(__file__).parent), str(Path(asi_verify.__file__).parents[1])]
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ,
        start_new_session=True,
    )
    child = int(parent.stdout.readline())
    try:
        assert is_running(child)
        os.killpg(parent.pid, how)
        parent.wait(60)
        wait_for(lambda: not is_running(child), 20)
    finally:
        parent.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_a_forked_process_has_a_solver_of_its_own():
    """Two that talk to one solver would read each other's answers."""
    code = """
import os, sys
from asi_verify.smt import Question, borrowed, given_back
first = borrowed(); first.ask(Question("(check-sat)", (), 99)); given_back(first)
child = os.fork()
if child == 0:
    os._exit(0 if borrowed() is not first else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
