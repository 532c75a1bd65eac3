"""Bugs: enumerating a model's errors, sorting them into categories, and following each to its end."""

from asi_verify.bugs.enumerate import Evaluation, evaluate
from asi_verify.bugs.lifecycle import SampleOutcome, updated
from asi_verify.bugs.categories import categories

__all__ = ["Evaluation", "SampleOutcome", "categories", "evaluate", "updated"]
