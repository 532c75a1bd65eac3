"""Exact solving over the rationals, for small networks and for what bounds leave open."""

from asi_verify.smt.answers import Answer, Failed, Late, Satisfiable, Unknown, Unsatisfiable
from asi_verify.smt.encoding import EncodingTooLarge, encoded, has_more_choices
from asi_verify.smt.process import MEMORY, Question, Solver, borrowed, given_back
from asi_verify.smt.solve import question_about, solve

__all__ = [
    "MEMORY",
    "Answer",
    "EncodingTooLarge",
    "Failed",
    "Late",
    "Question",
    "Satisfiable",
    "Solver",
    "Unknown",
    "Unsatisfiable",
    "borrowed",
    "encoded",
    "given_back",
    "has_more_choices",
    "question_about",
    "solve",
]
