"""A model that can say "I don't know": certified at every query, in one ONNX file."""

from asi_verify.guard.calibration import radius_for, record_monitors
from asi_verify.guard.cascade import Cascade, CascadeAnswer, Giver
from asi_verify.guard.drift import Drift
from asi_verify.guard.figures import counts, figures, second_counts
from asi_verify.guard.graph import BOUNDS, FORMAT, write_guard, write_measures
from asi_verify.guard.guard import Answer, Guard
from asi_verify.guard.membership import Members
from asi_verify.guard.monitors import Monitors
from asi_verify.guard.reasons import Reason
from asi_verify.guard.statistical import (
    Conformal,
    Gain,
    clopper_pearson,
    estimates,
    probabilities,
    second_estimates,
)

__all__ = [
    "BOUNDS",
    "FORMAT",
    "Answer",
    "Cascade",
    "CascadeAnswer",
    "Conformal",
    "Drift",
    "Gain",
    "Giver",
    "Guard",
    "Members",
    "Monitors",
    "Reason",
    "clopper_pearson",
    "counts",
    "estimates",
    "figures",
    "probabilities",
    "radius_for",
    "record_monitors",
    "second_counts",
    "second_estimates",
    "write_guard",
    "write_measures",
]
