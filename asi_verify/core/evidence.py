"""Evidence: what a checker needs, besides the query, to see for itself that the property holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from asi_verify.core.pieces import Pieces
from asi_verify.errors import CertificateError

__all__ = [
    "EnumerationEvidence",
    "Evidence",
    "GridEvidence",
    "Intermediate",
    "IntervalEvidence",
    "LinearEvidence",
    "SolverEvidence",
    "TreeEvidence",
    "evidence_from_json",
    "part_of",
]


class Intermediate(Enum):
    """How the bounds before each relaxation are obtained, on which a backward pass rests."""

    INTERVAL = "interval"
    """By interval arithmetic."""

    BACKWARD = "backward"
    """By a backward pass of their own wherever intervals leave a ReLU's phase open, and before
    every smooth operator."""


@dataclass(frozen=True)
class IntervalEvidence:
    """Interval arithmetic proves it, with the property merged into the last linear layers."""

    intermediate: ClassVar[Intermediate] = Intermediate.INTERVAL

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {"kind": "interval"}


@dataclass(frozen=True)
class LinearEvidence:
    """A backward linear bound proves it, by the canonical slope rule.

    With intermediate bounds by intervals this is CROWN-IBP, with backward ones CROWN (Zhang et al.
    2018, 2020). The canonical rule, for a ReLU that may be on either side in ``[l, u]``: from above
    the chord of slope ``u / (u - l)``; from below the slope 1 if ``u >= -l``, else 0. For smooth
    operators it is what ``checker.lines``, ``checker.softmax`` and ``checker.layer_norm`` say.
    """

    intermediate: Intermediate

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {"intermediate": self.intermediate.value, "kind": "linear", "slopes": "canonical"}


@dataclass(frozen=True)
class TreeEvidence:
    """A split tree proves it: backward linear bounds on every leaf, with the tree's advice.

    With one leaf and no cut, slopes alone: alpha-CROWN.

    Attributes:
        intermediate: how the bounds before each ReLU are obtained over the whole region; a leaf's
            own follow from them and its cuts.
        tree: SHA-256 of the tree (``core.split_tree``), which lies in the shard's container.
    """

    intermediate: Intermediate
    tree: str

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {"intermediate": self.intermediate.value, "kind": "tree", "tree": self.tree}


@dataclass(frozen=True)
class EnumerationEvidence:
    """Every piece of a divided region is proved, one after the other.

    Single images by interval arithmetic; ranges of values by CROWN-IBP, and by CROWN where that
    leaves one open.

    Attributes:
        pieces: how the region is divided (``core.pieces``).
    """

    pieces: Pieces

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {"kind": "enumeration", "pieces": self.pieces.value}


@dataclass(frozen=True)
class GridEvidence:
    """The parameters of an intensity region are divided evenly; every cell is proved by a bound.

    Attributes:
        cells: into how many parts the range of each parameter is cut, in their order
            (``core.intensity.Intensity.cells``).
        intermediate: how the bounds before each relaxation are obtained, in the linear pass over
            each cell; by intervals first in any case.
    """

    cells: tuple[int, ...]
    intermediate: Intermediate

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {
            "cells": list(self.cells),
            "intermediate": self.intermediate.value,
            "kind": "grid",
        }


@dataclass(frozen=True)
class SolverEvidence:
    """A solver's word, with the script it was asked: delegated, never certified.

    Attributes:
        script: SHA-256 of the SMT-LIB script, which lies in the shard's container.
        solver: the solver's name.
        version: the solver's version.
    """

    script: str
    solver: str
    version: str

    def to_json(self) -> dict[str, Any]:
        """The canonical form."""
        return {
            "kind": "solver",
            "script": self.script,
            "solver": self.solver,
            "version": self.version,
        }


Evidence = (
    IntervalEvidence
    | LinearEvidence
    | TreeEvidence
    | EnumerationEvidence
    | GridEvidence
    | SolverEvidence
)


def part_of(evidence: Evidence) -> str | None:
    """The SHA-256 of the binary part that some evidence names; None if it names none."""
    match evidence:
        case TreeEvidence(tree=part) | SolverEvidence(script=part):
            return part
        case _:
            return None


_INTERMEDIATE = {member.value for member in Intermediate}
_PIECES = {member.value for member in Pieces}


def evidence_from_json(value: Any) -> Evidence:
    """The evidence with this canonical form.

    Raises:
        CertificateError: it is not the canonical form of any evidence.
    """
    match value:
        case {"kind": "interval"}:
            made: Evidence = IntervalEvidence()
        case {"kind": "linear", "intermediate": str(name)} if name in _INTERMEDIATE:
            made = LinearEvidence(Intermediate(name))
        case {"kind": "tree", "intermediate": str(name), "tree": str(tree)} if (
            name in _INTERMEDIATE
        ):
            made = TreeEvidence(Intermediate(name), tree)
        case {"kind": "enumeration", "pieces": str(name)} if name in _PIECES:
            made = EnumerationEvidence(Pieces(name))
        case {"kind": "grid", "cells": [*cells], "intermediate": str(name)} if (
            name in _INTERMEDIATE and all(type(count) is int and count > 0 for count in cells)
        ):
            made = GridEvidence(tuple(cells), Intermediate(name))
        case {
            "kind": "solver",
            "script": str(script),
            "solver": str(solver),
            "version": str(version),
        }:
            made = SolverEvidence(script, solver, version)
        case _:
            raise CertificateError(f"the evidence {value!r} is of no known kind")
    if made.to_json() != value:
        raise CertificateError(f"the evidence {value!r} is not in its canonical form")
    return made
