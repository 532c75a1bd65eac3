"""Slopes optimised for each sample, over CROWN's intermediate bounds (Xu et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.checker.split_tree import margins_over
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.evidence import Intermediate, TreeEvidence
from asi_verify.core.split_tree import LEAF, NODE, Slopes, SplitTree
from asi_verify.core.verdict import Proved, Verdict
from asi_verify.prove.stage import Batch, Stage, StageResult, late_where_open
from asi_verify.prove.twins import boxes_for, open_slopes, twin_for

__all__ = ["LARGEST", "AlphaCrown", "slopes_tree"]

LARGEST = 16 << 10
"""Bytes of one sample's slopes."""


@dataclass(frozen=True)
class AlphaCrown(Stage):
    """The evidence is a split tree of one leaf.

    Attributes:
        steps: of the optimiser.
        device: where it computes.
    """

    steps: int = 30
    device: str = "cpu"
    name: str = "alpha-crown"

    def attempt(self, batch: Batch) -> StageResult:
        found: list[Verdict | None] = [None] * len(batch)
        twin = twin_for(batch.artifact.network, self.device)
        if twin is None or batch.reach is not None:  # it optimises over boxes
            return StageResult(tuple(found))
        wanted = batch.property_.summed()
        rows = wanted.rows()
        parts: dict[str, bytes] = {}
        declined = 0
        for some in batch.trusted.batches(len(batch)):
            if batch.is_late():
                break
            given = batch.take(np.arange(len(batch))[some])
            bounds = given.root_bounds(Intermediate.BACKWARD)
            best = twin.optimised(
                boxes_for(twin, bounds), rows, self.steps, constants=wanted.constants()
            )
            advice = open_slopes(batch.trusted, bounds, best.slopes, LARGEST)
            promising = np.flatnonzero(wanted.overall(best.lower.astype(np.float64)) > 0)
            trees = [slopes_tree(advice[i]) for i in promising]
            root = bounds.take(promising)
            margins = margins_over(
                batch.trusted, root, batch.property_, Intermediate.BACKWARD, trees
            )
            declined += int((~(margins > 0)).sum())
            for i, tree, margin in zip(promising.tolist(), trees, margins, strict=True):
                if margin > 0:
                    data = tree.to_bytes()
                    parts[bytes_digest(data)] = data
                    evidence = TreeEvidence(Intermediate.BACKWARD, bytes_digest(data))
                    found[some.start + i] = Proved(evidence)
        return StageResult(late_where_open(batch, found), declined, parts)


def slopes_tree(slopes: npt.NDArray[np.floating]) -> SplitTree:
    """Slopes of one sample, NaN for none, as a tree without cuts."""
    rows, neurons = slopes.shape
    leaf = np.array([(LEAF, 1, 0)], dtype=NODE)
    none = np.zeros((rows, 0), np.float32)
    return SplitTree(rows, neurons, leaf, (none,), (Slopes.nearest(slopes),))
