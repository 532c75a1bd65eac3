"""Exact solving over the rationals, for small networks and for what bounds leave open."""

from asi_verify.smt.encoding import EncodingTooLarge, encoded, has_more_choices
from asi_verify.smt.solve import Satisfiable, Unknown, Unsatisfiable, solve, solver_version

__all__ = [
    "EncodingTooLarge",
    "Satisfiable",
    "Unknown",
    "Unsatisfiable",
    "encoded",
    "has_more_choices",
    "solve",
    "solver_version",
]
