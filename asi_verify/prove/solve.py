"""The SMT stage: exact, for small networks and for regions that leave few phases open."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from asi_verify.checker.trusted import Bounds
from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.evidence import Intermediate, SolverEvidence
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict
from asi_verify.errors import UnsupportedOperatorError
from asi_verify.prove.branch import Branch
from asi_verify.prove.stage import Batch, Stage, StageResult
from asi_verify.smt import (
    EncodingTooLarge,
    Satisfiable,
    Unknown,
    Unsatisfiable,
    encoded,
    has_more_choices,
    solve,
    solver_version,
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
    """

    most_terms: int = 20_000
    most_open: int = 24
    most_split: int = 8
    steps: int = 100_000
    name: str = "smt"

    def attempt(self, batch: Batch) -> StageResult:
        # One query after the other: each is a script of its own, and there are few.
        parts: dict[str, bytes] = {}
        asked = (self._ask(batch.take(np.array([row])), parts) for row in range(len(batch)))
        return StageResult(tuple(asked), parts=parts)

    def _ask(self, batch: Batch, parts: dict[str, bytes]) -> Verdict:
        if batch.is_late():
            return Undecided(Reason.DEADLINE, "z3 was not asked")
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
        seconds = None if batch.deadline is None else batch.deadline - time.monotonic()
        match solve(script, int(np.prod(network.input_shape)), self.steps, seconds):
            case Unsatisfiable():
                shown = self._shown(batch, bounds, parts)
                if shown is not None:
                    return shown
                data = script.encode()
                digest = bytes_digest(data)
                parts[digest] = data
                return Proved(SolverEvidence(digest, "z3", solver_version()))
            case Satisfiable(point):
                return self._replayed(batch, point)
            case Unknown(reason):
                if batch.is_late():
                    return Undecided(Reason.DEADLINE, f"z3: {reason}")
                return Undecided(Reason.BUDGET, f"z3: {reason}")

    def _shown(self, batch: Batch, bounds: Bounds, parts: dict[str, bytes]) -> Verdict | None:
        """Where the open phases are few, what z3 says as a case split that the checker accepts."""
        if has_more_choices(batch.artifact.network, bounds.boxes, self.most_split):
            return None
        result = Branch(most_leaves=2**self.most_split, few_inputs=0).attempt(batch)
        (verdict,) = result.verdicts
        if not isinstance(verdict, Proved):
            return None
        parts.update(result.parts)
        return verdict

    def _replayed(self, batch: Batch, point: tuple[Fraction | None, ...]) -> Verdict:
        nearest = _nearest_float32(point, batch.centres[0], batch.box)
        (witness,) = batch.artifact.session.replay(nearest[None], batch.box, batch.property_, "z3")
        if witness is not None:
            return Refuted(witness)
        return Undecided(
            Reason.ROUNDING_GAP, "z3 has a rational counterexample that float32 does not confirm"
        )


def _nearest_float32(
    point: tuple[Fraction | None, ...], centre: npt.NDArray[np.float32], box: Box
) -> npt.NDArray[np.float32]:
    values = [
        float(given) if wanted is None else float(wanted)
        for wanted, given in zip(point, centre.reshape(-1), strict=True)
    ]
    rounded = np.array(values, dtype=np.float32).reshape(centre.shape)
    return np.clip(rounded, box.lower[0], box.upper[0])
