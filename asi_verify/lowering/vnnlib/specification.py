"""What a VNN-LIB file asks: cases, each a box of inputs and a property that is to hold there."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.canonical import array_digest, digest
from asi_verify.core.clauses import Clauses
from asi_verify.lowering.vnnlib.formula import Atom, Formula

__all__ = ["LARGEST_FLOAT32", "Specification", "read_as"]

LARGEST_FLOAT32 = Fraction(float(np.finfo(np.float32).max))
"""Beyond it there is no finite float32 number."""


@dataclass(frozen=True, eq=False)
class Specification:
    """The unsafe set of a VNN-LIB file, and the cases whose properties say that it is empty.

    Inputs are numbered in C order over the model's input, outputs in C order over its output.

    Attributes:
        inputs: how many are declared.
        outputs: how many are declared.
        assertions: the file's own, all of which hold in the unsafe set.
        box: one box per case, float32, shape ``(cases, inputs)``: the smallest that holds the
            decimals themselves and the float32 numbers that they are read as. Proofs are about it.
        searched: shape ``(cases, inputs)``: every float32 number between the decimals; where there
            is none, those that the decimals are read as. Witnesses are sought in it.
        properties: one per case. Each clause is one of the file's conjunctions of constraints on
            outputs and says that one of them fails; strict constraints are closed.
        unreadable: the largest number of inputs of one case between whose decimals lies no float32.
    """

    inputs: int
    outputs: int
    assertions: tuple[Formula, ...]
    box: Box
    searched: Box
    properties: tuple[Clauses, ...]
    unreadable: int

    def __len__(self) -> int:
        return len(self.properties)

    def digest(self, case: int) -> str:
        """The SHA-256 of what is to be proved in a case: its box and its property."""
        return digest(
            {
                "lower": array_digest(self.box.lower[case]),
                "property": self.properties[case].to_json(),
                "upper": array_digest(self.box.upper[case]),
            }
        )

    def is_unsafe(self, inputs: npt.NDArray[np.float32], *outputs: npt.NDArray[np.float32]) -> bool:
        """Whether a point and each answer for it lie in the unsafe set, in rationals.

        Every assertion of the file is asked again, not the cases. A bound on an input holds as it
        is written, or with its decimal read as a float32; everything else as it is written. What
        is not finite is in no unsafe set.

        Args:
            inputs: shape ``(inputs,)``.
            outputs: one or more answers, each of shape ``(outputs,)``.

        Raises:
            ValueError: there is no answer.
        """
        if not outputs:
            raise ValueError("no answer is given; give what the model answers for the point")
        if not all(np.isfinite(numbers).all() for numbers in (inputs, *outputs)):
            return False
        point, *answers = (tuple(map(Fraction, numbers.tolist())) for numbers in (inputs, *outputs))
        about_inputs: list[Formula] = []
        about_outputs: list[Formula] = []
        for one in self.assertions:
            (about_outputs if _is_about_outputs(one) else about_inputs).append(one)
        return all(
            _holds(one, (point, answer)) for answer in answers for one in about_outputs
        ) and all(_holds(one, (point,)) for one in about_inputs)


def _is_about_outputs(formula: Formula) -> bool:
    if isinstance(formula, Atom):
        return any(variable.is_output for variable, _ in formula.terms)
    return any(map(_is_about_outputs, formula.parts))


def _holds(formula: Formula, values: tuple[tuple[Fraction, ...], ...]) -> bool:
    if isinstance(formula, Atom):
        return _atom_holds(formula, values)
    parts = (_holds(part, values) for part in formula.parts)
    return all(parts) if formula.all_of else any(parts)


def _atom_holds(atom: Atom, values: tuple[tuple[Fraction, ...], ...]) -> bool:
    match atom.terms:
        case ((variable, _),) if not variable.is_output:
            value, end = values[0][variable.number], atom.end
            return _is_beyond(value, end, atom) or _is_beyond(value, read_as(end), atom)
        case _:
            products = (c * values[v.is_output][v.number] for v, c in atom.terms)
            value = sum(products, atom.constant)
            return value > 0 or (value == 0 and not atom.strict)


def _is_beyond(value: Fraction, end: Fraction, atom: Atom) -> bool:
    """Whether a value lies on the side of an end that an atom asks for."""
    if value == end:
        return not atom.strict
    return value > end if atom.is_lower else value < end


def read_as(decimal: Fraction) -> Fraction:
    """The float32 number that a decimal is read as; beyond their range the decimal itself."""
    if abs(decimal) > LARGEST_FLOAT32:
        return decimal
    return Fraction(float(np.float32(float(decimal))))
