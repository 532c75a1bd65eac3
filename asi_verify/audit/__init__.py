"""The audit of a data set: duplicates, contradictions, and how large a radius can be at all."""

from asi_verify.audit.audit import Audit, Unit, audit
from asi_verify.audit.distances import LabelDistances, label_distances
from asi_verify.audit.duplicates import DuplicateGroup, find_duplicates

__all__ = [
    "Audit",
    "DuplicateGroup",
    "LabelDistances",
    "Unit",
    "audit",
    "find_duplicates",
    "label_distances",
]
