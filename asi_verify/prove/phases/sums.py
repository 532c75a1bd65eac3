"""Weighted sums of a clause's rows: each may fail somewhere where they never fail together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.properties import Property
from asi_verify.prove.phases.part import Weights

__all__ = ["Sums", "alike"]


@dataclass(frozen=True, eq=False)
class Sums:
    """Where the clauses' sums are among the rows of ``Property.summed``.

    Attributes:
        property_: with the sums.
        rows: of the ``S`` sums, in order.
        terms: bool, shape ``(R, S)``: which rows are terms of which sum.
    """

    property_: Property
    rows: npt.NDArray[np.intp]
    terms: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, property_: Property) -> Sums:
        """Those of a property."""
        summed = property_.summed()
        sizes = np.bincount(property_.clauses_of_rows())
        own = np.bincount(summed.clauses_of_rows())
        ends = np.cumsum(own)
        several = np.flatnonzero(own > sizes)
        rows = np.arange(ends[-1])[:, None]
        terms = (rows >= (ends - own)[several]) & (rows < ends[several] - 1)
        return cls(summed, ends[several] - 1, terms)

    def overall(self, values: npt.NDArray[Any], weights: Weights) -> npt.NDArray[np.float64]:
        """The property's bounds with means for sums: of the same sign, comparable with a row's.

        Args:
            values: bounds of the rows, shape ``(L, R)``.
            weights: of the rows in the sums, same shape.
        """
        scaled = values.astype(np.float64)
        scaled[:, self.rows] /= np.maximum(weights.astype(np.intp) @ self.terms, 1)
        return self.property_.overall(scaled)


def alike(weights: Weights) -> Iterator[tuple[Weights, npt.NDArray[np.intp]]]:
    """Every different row of weights, and which parts have it."""
    different, which = np.unique(weights, axis=0, return_inverse=True)
    for number, row in enumerate(different):
        yield row, np.flatnonzero(which.reshape(-1) == number)
