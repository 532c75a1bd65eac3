"""From queries to verdicts: the cascade over a whole data set, in batches."""

from asi_verify.prove.alpha_crown import AlphaCrown
from asi_verify.prove.branch import Branch, clause_by_clause
from asi_verify.prove.cascade import (
    Proof,
    StageCount,
    default_stages,
    prove,
    prove_all,
    single_query_stages,
    stages_for,
)
from asi_verify.prove.cells import Cells
from asi_verify.prove.falsify import Falsify
from asi_verify.prove.members import Members
from asi_verify.prove.slope_trials import SlopeTrials
from asi_verify.prove.solve import Solve
from asi_verify.prove.stage import Batch, Regions, Stage, StageResult
from asi_verify.prove.trusted_stages import Crown, CrownIbp, Intervals

__all__ = [
    "AlphaCrown",
    "Batch",
    "Branch",
    "Cells",
    "Crown",
    "CrownIbp",
    "Falsify",
    "Intervals",
    "Members",
    "Proof",
    "Regions",
    "SlopeTrials",
    "Solve",
    "Stage",
    "StageCount",
    "StageResult",
    "clause_by_clause",
    "default_stages",
    "prove",
    "prove_all",
    "single_query_stages",
    "stages_for",
]
