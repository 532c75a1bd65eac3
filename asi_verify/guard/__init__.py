"""A model that can say "I don't know": certified at every query, in one ONNX file."""

from asi_verify.guard.calibration import radius_for, record_monitors
from asi_verify.guard.figures import counts, figures
from asi_verify.guard.graph import FORMAT, write_guard, write_measures
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
)

__all__ = [
    "FORMAT",
    "Answer",
    "Conformal",
    "Gain",
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
    "write_guard",
    "write_measures",
]
