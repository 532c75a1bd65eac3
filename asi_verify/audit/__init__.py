"""The audit of a data set: duplicates, contradictions, the largest radius, suspected labels."""

from asi_verify.audit.audit import Audit, Unit, audit, ceiling_text
from asi_verify.audit.distances import CHEBYSHEV, LabelDistances, label_distances
from asi_verify.audit.duplicates import DuplicateGroup, find_duplicates
from asi_verify.audit.readiness import (
    READINESS_FILE,
    Readiness,
    Suspicions,
    audit_splits,
    noted_readiness,
    readiness,
    readiness_schema,
)
from asi_verify.audit.suspects import Suspect, cleanlab_version, suspected_labels

__all__ = [
    "CHEBYSHEV",
    "READINESS_FILE",
    "Audit",
    "DuplicateGroup",
    "LabelDistances",
    "Readiness",
    "Suspect",
    "Suspicions",
    "Unit",
    "audit",
    "audit_splits",
    "ceiling_text",
    "cleanlab_version",
    "find_duplicates",
    "label_distances",
    "noted_readiness",
    "readiness",
    "readiness_schema",
    "suspected_labels",
]
