"""From queries to verdicts: the cascade over a whole data set, in batches.

Torch is loaded when the first of these names is asked for: what answers an easy query does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asi_verify.core.on_demand import on_demand

if TYPE_CHECKING:
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

_HOME = {
    "AlphaCrown": "alpha_crown",
    "Batch": "stage",
    "Branch": "branch",
    "Cells": "cells",
    "Crown": "trusted_stages",
    "CrownIbp": "trusted_stages",
    "Falsify": "falsify",
    "Intervals": "trusted_stages",
    "Members": "members",
    "Proof": "cascade",
    "Regions": "stage",
    "SlopeTrials": "slope_trials",
    "Solve": "solve",
    "Stage": "stage",
    "StageCount": "cascade",
    "StageResult": "stage",
    "clause_by_clause": "branch",
    "default_stages": "cascade",
    "prove": "cascade",
    "prove_all": "cascade",
    "single_query_stages": "cascade",
    "stages_for": "cascade",
}

__getattr__, __dir__ = on_demand(__name__, _HOME)
