"""Parts with few open phases: the patterns of these are gone through, and a tree comes back."""

from __future__ import annotations

import numpy as np

from asi_verify.checker.relu import open_phases
from asi_verify.checker.trusted import Bounds
from asi_verify.core.limits import DEEPEST_TREE
from asi_verify.core.split_tree import Slopes
from asi_verify.prove.phases.conflicts import ConflictTree, Pattern, searched
from asi_verify.prove.phases.judge import Judge
from asi_verify.prove.phases.part import Part
from asi_verify.prove.phases.relaxed_programme import Phases, Proof, RelaxedProgramme
from asi_verify.prove.stage import Batch

__all__ = ["Patterns"]

_PROGRAMMES = 1024
"""Linear programmes that the patterns of one part may take, and ..."""
_MOST_TERMS = 20_000
"""... how many coefficients these may have, as many as the SMT stage takes: milliseconds each."""
_MOST_NUMBERS = 1 << 22
"""That are computed to write them down."""


class Patterns:
    """The patterns of parts of some samples' regions.

    Args:
        batch: the samples.
        root: the bounds over the whole regions.
        judge: of the parts.
        solve_leaves: a part may have so many open phases; 0 for no part.
        at_once: leaves that the judge is asked about at once.
    """

    def __init__(
        self, batch: Batch, root: Bounds, judge: Judge, solve_leaves: int, at_once: int
    ) -> None:
        self._batch, self._root, self._judge = batch, root, judge
        self._solve_leaves, self._at_once = solve_leaves, at_once
        property_ = batch.property_.summed()
        self._count = len(property_.rows())
        self._last = np.cumsum(np.bincount(property_.clauses_of_rows())) - 1

    def gone_through(self, part: Part) -> Pattern | list[Part] | None:
        """Go through the patterns of a part, if there may be few and it was not done before.

        Returns:
            A pattern on which the property fails, as computed; or what stays open of the part,
            which has been divided; or None if it stays open as a whole.
        """
        programme = None if part.searched else self._programme(part)
        if programme is None:
            return None
        part.searched = True
        start = part.phases(self._judge.neurons)
        found = searched(programme, start[programme.neurons], _PROGRAMMES, self._batch.is_late)
        match found:
            case ConflictTree() if len(part.cuts) + found.depth <= DEEPEST_TREE:
                leaves = self._grafted(part, programme, found)
                left = self._judge.still_open(leaves, self._at_once)
                # What a conflict proves may be lost where slopes are rounded: a leaf decides more.
                for leaf in left:
                    phases = leaf.phases(self._judge.neurons)[programme.neurons]
                    self._advise(leaf, programme, self._proofs(programme, phases))
                return self._judge.still_open(left, self._at_once)
            case Pattern():
                return found
            case _:
                return None

    def _programme(self, part: Part) -> RelaxedProgramme | None:
        """That of a part; None if it is too large, or too many phases are open."""
        if self._solve_leaves == 0:
            return None
        bounds, trusted = self._judge.bounds([part]), self._batch.trusted
        count = sum(int(open_phases(bounds.boxes[v]).sum()) for v in trusted.neurons)
        columns = count + len(part.cuts) + int(np.prod(self._batch.box.shape))
        values = sum(int(np.prod(shape)) for shape in self._batch.artifact.network.shapes)
        if columns * values > _MOST_NUMBERS:
            return None
        cuts = [cut.number for cut in part.cuts]
        root = self._root.take(slice(part.sample, part.sample + 1))
        programme = RelaxedProgramme(trusted, bounds, self._batch.property_, cuts, root)
        own = np.setdiff1d(programme.neurons, cuts)
        few = len(own) <= self._solve_leaves and programme.terms <= _MOST_TERMS
        return programme if few else None

    def _grafted(self, part: Part, programme: RelaxedProgramme, found: ConflictTree) -> list[Part]:
        """Divide a part as a tree says; every leaf has what its conflict proves."""
        proofs = [self._proofs(programme, conflict) for conflict in found.conflicts]
        leaves = []
        waiting, closed_by = [part], iter(found.closed_by)
        for place in found.nodes:
            current = waiting.pop()
            if place >= 0:
                waiting += reversed(current.divide(int(programme.neurons[place]), part.lower))
            else:
                self._advise(current, programme, proofs[next(closed_by)])
                leaves.append(current)
        return leaves

    def _advise(
        self, leaf: Part, programme: RelaxedProgramme, proofs: tuple[Slopes, dict[int, Proof]]
    ) -> None:
        """Give a leaf what is proved of some of its phases."""
        leaf.slopes, of_rows = proofs
        # Not in place: halves begin with the same multipliers.
        leaf.multipliers = np.zeros_like(leaf.multipliers)
        phases = leaf.phases(self._judge.neurons)[programme.neurons]
        dense = np.zeros(self._judge.neurons)
        for row, proof in of_rows.items():
            dense[programme.neurons] = proof.multipliers_beyond(phases)
            leaf.multipliers[row] = dense[[cut.number for cut in leaf.cuts]]

    def _proofs(
        self, programme: RelaxedProgramme, conflict: Phases
    ) -> tuple[Slopes, dict[int, Proof]]:
        """What a conflict proves: slopes and weights of all rows, and for each row the rest."""
        slopes = np.full((self._count, self._judge.neurons), np.nan)
        weights = np.zeros(self._count, np.uint8)
        proofs = {}
        for clause, row in enumerate(self._last.tolist()):
            proof = programme.proof(clause, conflict)
            if proof is None:
                continue
            proofs[row] = proof
            slopes[row, programme.neurons] = proof.slopes
            count = len(proof.weights)
            weights[row - count : row] = proof.weights if count > 1 else 0
        return Slopes.nearest(slopes, weights), proofs
