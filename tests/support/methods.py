"""The ways of bounding that need no advice, by name."""

from __future__ import annotations

from typing import Any

from asi_verify.checker import TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate, IntervalEvidence, LinearEvidence

__all__ = ["METHODS", "lower_bounds"]

METHODS = {
    "interval": IntervalEvidence(),
    "crown-ibp": LinearEvidence(Intermediate.INTERVAL),
    "crown": LinearEvidence(Intermediate.BACKWARD),
}


def lower_bounds(
    trusted: TrustedPass, box: Box, rows: Any, evidence: IntervalEvidence | LinearEvidence
) -> Any:
    """What ``TrustedPass.margins`` takes the minimum of: a bound for every row."""
    linear = isinstance(evidence, LinearEvidence)
    intermediate = evidence.intermediate if linear else Intermediate.INTERVAL
    return trusted.lower(trusted.bounds(box, intermediate), rows, to_input=linear)
