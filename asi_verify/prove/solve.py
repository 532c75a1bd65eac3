"""The SMT stage: exact, for small networks and for regions that leave few phases open.

z3 runs in a process of its own (``smt.process``), one question after the other, beside the stage
that comes before, which as a rule is branch and bound: while that one works on a batch, a thread
writes the script of each sample and asks. What is found is the same as if the stage had waited,
because it counts only for samples that the stage before leaves open: that one is preferred even
where z3 is ready first, for its evidence is checked and a solver's word is not. Whichever finishes
first chooses nothing; where the stage before settles a sample, z3 is stopped.

What bounds z3 is its count of steps, the same on every machine. The deadline and the stage's own
limit on time kill its process and leave the query ``Undecided`` for that reason, as a breakdown
does; neither is ever a proof.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.evidence import Intermediate, SolverEvidence
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.prove.branch import Branch
from asi_verify.prove.stage import Batch, Begun, Stage, StageResult
from asi_verify.smt import (
    MEMORY,
    Answer,
    EncodingTooLarge,
    Failed,
    Late,
    Question,
    Satisfiable,
    Unknown,
    Unsatisfiable,
    borrowed,
    encoded,
    given_back,
    has_more_choices,
    question_about,
)

__all__ = ["Solve"]


@dataclass(frozen=True)
class Solve(Stage):
    """z3 over the exact rationals of the float32 weights; in float32 with free rounding errors.

    Its ``unsat`` is a solver's word: unless a case split shows it, the verdict is ``Proved`` with
    ``SolverEvidence``, which the checker calls delegated. Its ``sat`` is a claim, replayed in ONNX
    Runtime.

    Attributes:
        most_terms: products with a weight in the script; larger queries are not asked.
        most_open: ReLUs with an open phase, and further numbers that may be the largest under a
            window; with more, enumeration is hopeless.
        most_split: up to so many, a proof is also sought as a split tree with Farkas multipliers,
            which has to be believed by nobody.
        steps: z3's resource limit for each query, a count of its own steps; with rational weights
            100,000 are about a second.
        most_seconds: for one query, far above what its steps take: for a solver that hangs.
        memory: bytes that the solver's process may take.
    """

    most_terms: int = 20_000
    most_open: int = 24
    most_split: int = 8
    steps: int = 100_000
    most_seconds: int = 60
    memory: int = MEMORY
    name: str = "smt"

    def attempt(self, batch: Batch) -> StageResult:
        with closing(_Questions(self, batch)) as questions:
            return questions.finish(np.arange(len(batch)))

    def begin(self, batch: Batch) -> Begun | None:
        # On a single processor z3 would slow down what it waits for.
        return _Questions(self, batch) if (os.cpu_count() or 1) > 1 else None

    def question(self, batch: Batch) -> Question | Undecided:
        """A single sample as a script, or why it is none."""
        network = batch.artifact.network
        bounds = batch.trusted.bounds(batch.box, Intermediate.INTERVAL)
        if not bool(bounds.sound.all()):
            return Undecided(Reason.TOO_LARGE, "bounds leave the range in which they are sound")
        if has_more_choices(network, bounds.boxes, self.most_open):
            return Undecided(Reason.TOO_LARGE, f"more than {self.most_open} open phases")
        try:
            script = encoded(
                network,
                bounds.boxes,
                batch.property_,
                self.most_terms,
                batch.trusted.local_errors(bounds),
            )
        except EncodingTooLarge:
            return Undecided(Reason.TOO_LARGE, f"a script of more than {self.most_terms} terms")
        except UnsupportedOperatorError as error:
            return Undecided(Reason.TOO_LARGE, str(error))
        return question_about(script, int(np.prod(network.input_shape)), self.steps)

    def judged(self, batch: Batch, script: str, answer: Answer) -> tuple[Verdict, dict[str, bytes]]:
        """What an answer about a single sample comes to, and the parts that its evidence names."""
        match answer:
            case Unsatisfiable(version):
                shown, parts = self._shown(batch)
                if shown is not None:
                    return shown, parts
                data = script.encode()
                evidence = SolverEvidence(bytes_digest(data), "z3", version)
                return Proved(evidence), {evidence.script: data}
            case Satisfiable(point):
                return self._replayed(batch, point), {}
            case Unknown(reason):
                return Undecided(Reason.BUDGET, f"z3: {reason}"), {}
            case Late(reason):
                return Undecided(Reason.DEADLINE, f"z3: {reason}"), {}
            case Failed(reason):
                return Undecided(Reason.FAILED, f"z3: {reason}"), {}

    def _shown(self, batch: Batch) -> tuple[Verdict | None, dict[str, bytes]]:
        """Where the open phases are few, what z3 says as a case split that the checker accepts."""
        bounds = batch.trusted.bounds(batch.box, Intermediate.INTERVAL)
        if has_more_choices(batch.artifact.network, bounds.boxes, self.most_split):
            return None, {}
        result = Branch(most_leaves=2**self.most_split, few_inputs=0).attempt(batch)
        (verdict,) = result.verdicts
        if isinstance(verdict, Proved):
            return verdict, result.parts
        # Without the clock there might be a tree: the solver's word would be other evidence.
        return (Undecided(Reason.DEADLINE) if batch.is_late() else None), {}

    def _replayed(self, batch: Batch, point: tuple[Fraction | None, ...]) -> Verdict:
        nearest = _nearest_float32(point, batch.centres[0], batch.box)
        (witness,) = batch.artifact.session.replay(nearest[None], batch.box, batch.property_, "z3")
        if witness is not None:
            return Refuted(witness)
        return Undecided(
            Reason.ROUNDING_GAP, "z3 has a rational counterexample that float32 does not confirm"
        )


class _Questions(Begun):
    """The samples of a batch, asked one after the other by a thread.

    What follows from an answer (replay, case split) is left to the thread that finishes: only it
    uses ONNX Runtime and torch.
    """

    def __init__(self, stage: Solve, batch: Batch) -> None:
        self._stage, self._batch = stage, batch
        self._unwanted = [threading.Event() for _ in range(len(batch))]
        self._solver = borrowed(stage.memory)
        self._thread = ThreadPoolExecutor(1, "z3")
        self._answers: list[Future[Undecided | tuple[str, Answer]]] = [
            self._thread.submit(self._ask, row) for row in range(len(batch))
        ]

    def finish(self, rows: npt.NDArray[np.intp]) -> StageResult:
        self._give_up(set(range(len(self._batch))) - set(rows.tolist()))
        verdicts: list[Verdict] = []
        parts: dict[str, bytes] = {}
        for row in rows.tolist():
            match self._answers[row].result():
                case Undecided() as not_asked:
                    verdicts.append(not_asked)
                case (script, answer):
                    verdict, named = self._stage.judged(self._take(row), script, answer)
                    verdicts.append(verdict)
                    parts.update(named)
        return StageResult(tuple(verdicts), parts=parts)

    def close(self) -> None:
        self._give_up(set(range(len(self._batch))))
        self._thread.shutdown(cancel_futures=True)
        given_back(self._solver)

    def _give_up(self, rows: set[int]) -> None:
        for row in rows:
            self._unwanted[row].set()
        self._solver.stop_unwanted()

    def _take(self, row: int) -> Batch:
        return self._batch.take(np.array([row]))

    def _ask(self, row: int) -> Undecided | tuple[str, Answer]:
        batch, unwanted = self._take(row), self._unwanted[row]
        if unwanted.is_set() or batch.is_late():
            return Undecided(Reason.DEADLINE, "z3 was not asked")
        question = self._stage.question(batch)
        if isinstance(question, Undecided):
            return question
        seconds = float(self._stage.most_seconds)
        if batch.deadline is not None:
            seconds = min(seconds, batch.deadline - time.monotonic())
        answer = self._solver.ask(question, seconds, lambda: not unwanted.is_set())
        # A script may have a megabyte; it is evidence of one answer only.
        return question.script if isinstance(answer, Unsatisfiable) else "", answer


def _nearest_float32(
    point: tuple[Fraction | None, ...], centre: npt.NDArray[np.float32], box: Box
) -> npt.NDArray[np.float32]:
    values = [
        float(given) if wanted is None else float(wanted)
        for wanted, given in zip(point, centre.reshape(-1), strict=True)
    ]
    rounded = np.array(values, dtype=np.float32).reshape(centre.shape)
    return np.clip(rounded, box.lower[0], box.upper[0])
