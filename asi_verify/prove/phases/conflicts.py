"""Search over the phases of one part, learning from every pattern that is closed.

A pattern of all open phases makes the network affine, and a linear programme settles it. Where it
is closed, the duals name the phases that this rests on: a conflict, which closes every pattern that
has them (Ehlers 2017; for formulas Marques-Silva and Sakallah 1999). The search goes through the
phases depth first, where conflicts are nearest to closing, and asks of a pattern only where none
does. Choices that were made before much was known are bad ones: it begins again whenever half as
many conflicts as it knew have been added. What remains is a split tree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.prove.phases.relaxed_programme import Phases, RelaxedProgramme

__all__ = ["ConflictTree", "Pattern", "searched"]

_CLEAR = 1e-7
"""A violation below may be rounding of the solver, whose tolerance this is."""
_FEW = 8
"""Conflicts that are worth beginning again."""
_ENOUGH = 64
"""Conflicts after which the number that will be needed is estimated."""
_NODES_EACH = 64
"""Nodes of a tree for each conflict that may be asked for."""


@dataclass(frozen=True, eq=False)
class ConflictTree:
    """A tree each of whose leaves has all phases of some conflict.

    Attributes:
        nodes: in preorder, the side below first: the place of a neuron among the programme's, or
            -1 for a leaf.
        closed_by: of each leaf in order, the number of its conflict.
        conflicts: shape ``(conflicts, open)``, the phases of each.
    """

    nodes: tuple[int, ...]
    closed_by: tuple[int, ...]
    conflicts: Phases

    @property
    def depth(self) -> int:
        """Of the deepest leaf."""
        deepest, waiting = 0, [0]
        for place in self.nodes:
            depth = waiting.pop()
            deepest = max(deepest, depth)
            waiting += [] if place < 0 else [depth + 1, depth + 1]
        return deepest


@dataclass(frozen=True, eq=False)
class Pattern:
    """A pattern on which the property fails, as computed.

    Attributes:
        point: an input that has it, shape ``(inputs,)``.
    """

    point: npt.NDArray[np.float64]


def searched(
    programme: RelaxedProgramme,
    start: Phases,
    most: int,
    is_late: Callable[[], bool],
) -> ConflictTree | Pattern | None:
    """Go through all patterns of a part.

    Args:
        programme: of the part.
        start: the phases that it is cut at.
        most: linear programmes, a budget.
        is_late: whether to stop.

    Returns:
        A tree, a pattern on which the property fails, or None: the budget is used up, it is late or
        the solver fails.
    """
    return _Search(programme, start, most, is_late).run()


class _Search:
    def __init__(
        self, programme: RelaxedProgramme, start: Phases, most: int, is_late: Callable[[], bool]
    ) -> None:
        self._programme, self._start, self._is_late = programme, start, is_late
        self._most, self._programmes_left, self._nodes_left = most, most, _NODES_EACH * most
        self._conflicts = np.zeros((0, len(start)), np.int8)
        self._point = programme.centre
        self._stopped = False

    def run(self) -> ConflictTree | Pattern | None:
        """Begin again until all is known."""
        while True:
            known = len(self._conflicts)
            if known >= _ENOUGH and self._is_hopeless():
                return None
            found = self._once(known + max(_FEW, known // 2))
            if found is not None or self._stopped:
                return found

    def _is_hopeless(self) -> bool:
        """Whether more are needed than the budget allows, by the share of all patterns closed.

        A conflict closes one pattern in two to the number of its phases.
        """
        sizes = ((self._conflicts != 0) & (self._start == 0)).sum(axis=1)
        closed = float(np.exp2(-sizes.astype(np.float64)).sum())
        return len(self._conflicts) > self._most * closed

    def _once(self, enough: int) -> ConflictTree | Pattern | None:
        """Go through all patterns; None if it is stopped, or so many conflicts are known."""
        nodes: list[int] = []
        closed_by: list[int] = []
        waiting = [self._start]
        while waiting:
            phases = waiting.pop()
            active, missing = self._missing(phases)
            if not active.any():
                pattern = self._learn(phases)
                if pattern is not None or self._stopped or len(self._conflicts) >= enough:
                    return pattern
                active, missing = self._missing(phases)
            self._nodes_left -= 1
            self._stopped = self._nodes_left < 0
            if self._stopped:
                return None
            closing = np.flatnonzero(active & (missing == 0))
            if len(closing):
                nodes.append(-1)
                closed_by.append(int(closing[0]))
                continue
            place = self._chosen(phases, active, missing)
            nodes.append(place)
            for sign in (1, -1):
                half = phases.copy()
                half[place] = sign
                waiting.append(half)
        return ConflictTree(tuple(nodes), tuple(closed_by), self._conflicts)

    def _missing(self, phases: Phases) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
        """Which conflicts no decided phase contradicts, and how many of their phases are open."""
        active = np.asarray(~((self._conflicts * phases) < 0).any(axis=1))
        return active, ((self._conflicts != 0) & (phases == 0)).sum(axis=1)

    def _chosen(
        self, phases: Phases, active: npt.NDArray[np.bool_], missing: npt.NDArray[np.intp]
    ) -> int:
        """The open phase of most active conflicts, one that lacks a phase less counted twice.

        The rule of Jeroslow and Wang (1990) for formulas.
        """
        counts = np.exp2(-missing[active].astype(np.float64))
        of_phases = (self._conflicts[active] != 0) & (phases == 0)
        return int((counts @ of_phases).argmax())

    def _learn(self, phases: Phases) -> Pattern | None:
        """Ask of a pattern that no conflict closes; what closes it is one more."""
        pattern = self._programme.completed(phases, self._point)
        needed = np.zeros(len(pattern), np.bool_)
        for clause in range(len(self._programme.clauses)):
            late = self._programmes_left == 0 or self._is_late()
            found = None if late else self._programme.violation(clause, pattern)
            if found is None:
                self._stopped = True
                return None
            self._programmes_left -= 1
            if found.least <= _CLEAR and found.point is not None:
                return Pattern(found.point)
            self._point = self._point if found.point is None else found.point
            needed |= found.needed
        conflict = np.where(needed, pattern, 0).astype(np.int8)
        self._conflicts = np.vstack([self._conflicts, conflict])
        return None
