"""Bugs: enumerating a model's errors, sorting them, and following each to its end."""

from asi_verify.bugs.categories import categories
from asi_verify.bugs.enumerate import (
    Evaluation,
    evaluate,
    require_better_than_majority,
    require_fit,
)
from asi_verify.bugs.lifecycle import Findings, closing_round, returned, updated

__all__ = [
    "Evaluation",
    "Findings",
    "categories",
    "closing_round",
    "evaluate",
    "require_better_than_majority",
    "require_fit",
    "returned",
    "updated",
]
