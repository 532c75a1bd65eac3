"""Contradictions: two samples whose properties no point in both regions can satisfy.

Decided exactly: two boxes of float32 numbers meet if and only if in every coordinate the larger of
the lower ends is at most the smaller of the upper ends, and comparing floats does not round. The
meeting point is the evidence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.properties import MultiLabel, Property, SingleLabel

__all__ = ["exclude_each_other", "meeting_point"]


def meeting_point(first: Box, second: Box) -> npt.NDArray[np.float32] | None:
    """A point in both boxes, or None if there is none.

    Args:
        first: one box, batch of length 1.
        second: one box, batch of length 1.
    """
    lower = np.maximum(first.lower[0], second.lower[0])
    upper = np.minimum(first.upper[0], second.upper[0])
    return lower if bool(np.all(lower <= upper)) else None


def exclude_each_other(first: Property, second: Property) -> bool:
    """Whether no logits satisfy both properties."""
    match first, second:
        case SingleLabel(), SingleLabel():
            return first.classes == second.classes and first.label != second.label
        case MultiLabel(), MultiLabel():
            same_logits = len(first.decisions) == len(second.decisions)
            return same_logits and first.decisions != second.decisions
        case _:
            return False
