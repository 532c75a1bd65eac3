"""Exact solving over the rationals, for small networks and for what bounds leave open."""

from asi_verify.smt.encoding import EncodingTooLarge, encoded
from asi_verify.smt.solve import Satisfiable, Unknown, Unsatisfiable, solve, solver_version

__all__ = [
    "EncodingTooLarge",
    "Satisfiable",
    "Unknown",
    "Unsatisfiable",
    "encoded",
    "solve",
    "solver_version",
]
