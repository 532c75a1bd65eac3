"""Properties in conjunctive normal form over the outputs of any network, as VNN-LIB asks them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import read_only
from asi_verify.core.limits import MOST_LOGITS
from asi_verify.core.properties import Property
from asi_verify.errors import UsageError

__all__ = ["FEW_INPUTS", "Clauses", "Inequality"]

FEW_INPUTS = 16
"""Up to so many inputs that vary, a region is cut across them, and clauses over it stay together:
most of that work is the same for all. With more the phases of neurons are cut, and each clause asks
for others. On networks with 5 inputs they close what phases leave open for minutes; with 30 and 128
neurons phases do what inputs leave open."""

_LARGEST = 2**53 - 1
"""Whole numbers up to here are float64 numbers that no other is rounded to; canonical JSON writes
no larger ones."""


@dataclass(frozen=True)
class Inequality:
    """``coefficients . z + constant > 0``, in whole numbers and a fraction.

    Attributes:
        coefficients: one per output, less than 2**53 in size.
        constant: less than 2**53 in size.

    Raises:
        UsageError: a number is too large.
    """

    coefficients: tuple[int, ...]
    constant: Fraction

    def __post_init__(self) -> None:
        sizes = [abs(self.constant), *(Fraction(abs(c)) for c in self.coefficients)]
        if max(sizes) > _LARGEST:
            raise UsageError(
                "a linear inequality over the outputs has coefficients of more than 53 bits; write "
                "it with rounder numbers"
            )

    @classmethod
    def of(cls, coefficients: Sequence[Fraction], constant: Fraction) -> Inequality:
        """The same inequality with its coefficients made whole."""
        factor = lcm(*(number.denominator for number in coefficients))
        return cls(tuple(int(number * factor) for number in coefficients), constant * factor)

    def value(self, outputs: Iterable[Fraction]) -> Fraction:
        """Its left side, exactly."""
        products = (c * z for c, z in zip(self.coefficients, outputs, strict=True) if c)
        return sum(products, self.constant)


@dataclass(frozen=True)
class Clauses(Property):
    """In every clause at least one inequality holds.

    Attributes:
        outputs: how many outputs the network has.
        clauses: each with at least one inequality over all outputs.

    Raises:
        UsageError: there is no clause, an empty one, or one over other outputs.
    """

    outputs: int
    clauses: tuple[tuple[Inequality, ...], ...]
    _starts: npt.NDArray[np.intp] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.outputs <= MOST_LOGITS:
            raise UsageError(f"outputs: {self.outputs}; between 1 and {MOST_LOGITS} are supported")
        if not self.clauses or not all(self.clauses):
            raise UsageError("clauses: at least one, with at least one inequality, is needed")
        if any(len(row.coefficients) != self.outputs for row in self._inequalities):
            raise UsageError(f"clauses: an inequality is not over all {self.outputs} outputs")
        lengths = [len(clause) for clause in self.clauses]
        starts = np.cumsum([0, *lengths[:-1]], dtype=np.intp)
        object.__setattr__(self, "_starts", read_only(starts))

    @cached_property
    def _inequalities(self) -> tuple[Inequality, ...]:
        return tuple(row for clause in self.clauses for row in clause)

    @property
    def logits(self) -> int:
        return self.outputs

    def rows(self) -> npt.NDArray[np.float64]:
        rows = [row.coefficients for row in self._inequalities]
        return read_only(np.array(rows, dtype=np.float64))

    def constants(self) -> npt.NDArray[np.float64]:
        return read_only(np.array([_at_most(row.constant) for row in self._inequalities]))

    def clauses_of_rows(self) -> npt.NDArray[np.intp]:
        return np.repeat(np.arange(len(self.clauses)), [len(clause) for clause in self.clauses])

    def parts(self) -> tuple[Clauses, ...]:
        """One property for each clause: together they say the same."""
        return tuple(Clauses(self.outputs, (clause,)) for clause in self.clauses)

    @property
    def sums(self) -> int:
        return sum(len(clause) > 1 for clause in self.clauses)

    def summed(self, weights: npt.NDArray[np.uint8] | None = None) -> Clauses:
        if not self.sums:
            return self if weights is None else cast("Clauses", super().summed(weights))
        count = len(self._inequalities) + self.sums
        given = [0] * count if weights is None else weights.tolist()
        if len(given) != count:
            raise UsageError(f"weights: {len(given)} for {count} rows, sums included")
        clauses = []
        for clause in self.clauses:
            used, given = given[: len(clause)], given[len(clause) :]
            own = used
            if len(clause) > 1:
                own, given = given[:1], given[1:]
                clause = (*clause, _weighted(clause, used))  # noqa: PLW2901  as it is from here on
            if any(own):
                raise UsageError("weights: only a term of a sum has one")
            clauses.append(clause)
        return Clauses(self.outputs, tuple(clauses))

    def overall(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The smallest over the clauses of the largest number of each."""
        largest = np.maximum.reduceat(values, self._starts, axis=1)
        return np.asarray(largest.min(axis=1))

    def margins(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """As the abstract method says; the sign is that of the exact rational number."""
        rows, constants = self.rows(), self.constants()
        usable = np.isfinite(logits).all(axis=1)
        outputs = np.where(usable[:, None], logits, 0).astype(np.float64)
        values = outputs @ rows.T + constants
        # As computed, a value is off by far less than this; what lies closer to 0 is done exactly.
        size = np.abs(outputs) @ np.abs(rows).T + np.abs(constants)
        unsure = np.abs(values) <= size * 2.0**-30
        for sample, row in np.argwhere(unsure).tolist():
            exact = self._inequalities[row].value(map(Fraction, outputs[sample].tolist()))
            # A float64 of the same sign: the smallest of them stands for what is smaller still.
            smallest = 5e-324 if exact > 0 else -5e-324
            values[sample, row] = float(exact) or (smallest if exact else 0.0)
        return np.where(usable, self.overall(values), np.nan)

    def to_json(self) -> dict[str, Any]:
        return {
            "clauses": [
                [
                    {"coefficients": list(row.coefficients), "constant": str(row.constant)}
                    for row in clause
                ]
                for clause in self.clauses
            ],
            "kind": "clauses",
            "outputs": self.outputs,
        }

    def __str__(self) -> str:
        return f"{len(self.clauses)} clauses over {self.outputs} outputs"


def _weighted(clause: Sequence[Inequality], weights: Sequence[int]) -> Inequality:
    """The sum of multiples of inequalities, exactly."""
    columns = zip(*(row.coefficients for row in clause), strict=True)
    coefficients = (sum(w * c for w, c in zip(weights, column, strict=True)) for column in columns)
    constants = (w * row.constant for w, row in zip(weights, clause, strict=True))
    return Inequality(tuple(coefficients), sum(constants, Fraction(0)))


def _at_most(exact: Fraction) -> float:
    """The largest float64 that is not larger."""
    nearest = float(exact)
    return nearest if Fraction(nearest) <= exact else float(np.nextafter(nearest, -np.inf))
