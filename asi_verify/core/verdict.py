"""Verdicts: the answer to a query. A closed union, matched by class, never compared with text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.evidence import Evidence

__all__ = ["Proved", "Reason", "Refuted", "Undecided", "Verdict", "Witness"]


@dataclass(frozen=True)
class Proved:
    """The property holds everywhere in the region, and the evidence shows it."""

    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Witness:
    """A concrete input in the region on which ONNX Runtime gives the wrong answer.

    Attributes:
        point: the input, float32, shape ``(C, *spatial)``.
        logits: what ONNX Runtime (CPU) answered, float32, shape ``(logits,)``.
        found_by: the search that found it.
    """

    point: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    found_by: str


@dataclass(frozen=True, eq=False)
class Refuted:
    """The property fails: a fact about float32, tolerance 0 in input and output."""

    witness: Witness


class Reason(Enum):
    """Why a query stayed undecided; a closed list."""

    TOO_LOOSE = "no bound was tight enough"
    TOO_LARGE = "too large for the stages that were left"
    BUDGET = "a budget of steps or nodes was used up"
    DEADLINE = "the deadline passed"
    FAILED = "a solver broke down"
    ROUNDING_GAP = "a proof over the reals meets a float32 counterexample"


@dataclass(frozen=True)
class Undecided:
    """Neither proved nor refuted.

    Attributes:
        reason: why.
        detail: what was tried, in words.
    """

    reason: Reason
    detail: str = ""


Verdict = Proved | Refuted | Undecided


def describe(verdict: Verdict) -> dict[str, Any]:
    """A verdict in words for logs and reports; holds no pixels."""
    match verdict:
        case Proved(evidence):
            return {"verdict": "proved", "evidence": evidence.to_json()}
        case Refuted(witness):
            return {"verdict": "refuted", "found_by": witness.found_by}
        case Undecided(reason, detail):
            return {"verdict": "undecided", "reason": reason.value, "detail": detail}
