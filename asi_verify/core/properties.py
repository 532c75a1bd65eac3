"""Properties: what must hold of the logits everywhere in a region.

Every property is made of strict linear inequalities, ``rows @ logits + constants > 0``: those of a
classifier must hold in every row, others in one row of each clause. A tie is wrong, and so is a
NaN.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import read_only
from asi_verify.core.canonical import digest
from asi_verify.core.limits import MOST_LOGITS
from asi_verify.errors import CertificateError, UsageError

__all__ = [
    "MultiLabel",
    "Property",
    "SingleLabel",
    "exclude_each_other",
    "label_margins",
    "predictions",
    "property_for",
    "property_from_json",
]


class Property(abc.ABC):
    """Strict linear inequalities over the logits; by default all of them must hold."""

    @property
    @abc.abstractmethod
    def logits(self) -> int:
        """How many logits the property speaks of."""

    @abc.abstractmethod
    def rows(self) -> npt.NDArray[np.float64]:
        """The matrix ``C``, shape ``(rows, logits)``, whole numbers.

        The property holds of logits ``z`` exactly when ``overall`` of ``C @ z + d`` is positive.
        """

    def constants(self) -> npt.NDArray[np.float64]:
        """The vector ``d``, shape ``(rows,)``, or smaller numbers where no float64 is exact."""
        return np.zeros(len(self.rows()))

    def clauses_of_rows(self) -> npt.NDArray[np.intp]:
        """Which clause each row is of, shape ``(rows,)``: one of a clause's rows must hold."""
        return np.arange(len(self.rows()))

    def overall(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The smallest number of each sample, shape ``(B,)``, for one per row, ``(B, rows)``."""
        return np.asarray(values.min(axis=1))

    @property
    def sums(self) -> int:
        """How many clauses have several rows."""
        return 0

    def summed(self, weights: npt.NDArray[np.uint8] | None = None) -> Property:
        """The same property with one row more in every clause of several: their weighted sum.

        Weights are not negative, so a sum is positive only where one of its terms is: both
        properties hold of the same logits. Bounds tell them apart, because no single row may be
        positive on a whole region of which each part has one that is.

        Args:
            weights: one for every row of the result, 0 for what is no term of a sum; all 0 if not
                given.

        Raises:
            UsageError: there are more or fewer, another row has a weight, or a number gets too
                large.
        """
        if weights is not None and bool(weights.any()):
            raise UsageError("weights: no clause has several rows")
        return self

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The canonical form; ``property_from_json`` reads that of a classifier's property."""

    def margins(self, logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """``overall`` of ``C @ z + d`` for each sample: positive exactly where the property holds.

        Differences of float32 logits are taken in float64, where no two distinct ones come out
        equal. A NaN or an infinity among the logits gives a NaN, which is not positive.

        Args:
            logits: shape ``(B, logits)``.
        """
        numbers = np.isfinite(logits).all(axis=1)
        values = np.where(numbers[:, None], logits, 0).astype(np.float64) @ self.rows().T
        return np.where(numbers, self.overall(values), np.nan)

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical form."""
        return digest(self.to_json())


@dataclass(frozen=True)
class SingleLabel(Property):
    """The label's logit is larger than every other logit.

    Raises:
        UsageError: the label is not one of the classes, or there are fewer than two classes.
    """

    label: int
    classes: int

    def __post_init__(self) -> None:
        _refuse_other_than_int("label", self.label)
        _refuse_other_than_int("classes", self.classes)
        if not 2 <= self.classes <= MOST_LOGITS:
            raise UsageError(f"classes: {self.classes}; a single-label property needs at least 2")
        if not 0 <= self.label < self.classes:
            raise UsageError(f"label: {self.label} is not one of the classes 0..{self.classes - 1}")

    @property
    def logits(self) -> int:
        return self.classes

    def rows(self) -> npt.NDArray[np.float64]:
        others = [other for other in range(self.classes) if other != self.label]
        matrix = -np.eye(self.classes)[others]
        matrix[:, self.label] = 1.0
        return read_only(matrix)

    def to_json(self) -> dict[str, Any]:
        return {"classes": self.classes, "kind": "single-label", "label": self.label}

    def __str__(self) -> str:
        return f"class {self.label} of {self.classes}"


@dataclass(frozen=True)
class MultiLabel(Property):
    """Each logit lies on the side of 0 that its decision says: above for 1, below for 0.

    With one decision this is the property of a binary model with a single logit.

    Raises:
        UsageError: there is no decision, or one that is neither 0 nor 1.
    """

    decisions: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.decisions) <= MOST_LOGITS:
            raise UsageError("decisions: at least one is needed")
        for decision in self.decisions:
            _refuse_other_than_int("decisions", decision)
        if not set(self.decisions) <= {0, 1}:
            raise UsageError(f"decisions: {self.decisions} are not all 0 or 1")

    @property
    def logits(self) -> int:
        return len(self.decisions)

    def rows(self) -> npt.NDArray[np.float64]:
        return read_only(np.diag(2.0 * np.array(self.decisions, dtype=np.float64) - 1.0))

    def to_json(self) -> dict[str, Any]:
        return {"decisions": list(self.decisions), "kind": "multi-label"}

    def __str__(self) -> str:
        return "decisions " + "".join(map(str, self.decisions))


def exclude_each_other(first: Property, second: Property) -> bool:
    """Whether no logits satisfy both properties."""
    match first, second:
        case SingleLabel(), SingleLabel():
            return first.classes == second.classes and first.label != second.label
        case MultiLabel(), MultiLabel():
            same_logits = len(first.decisions) == len(second.decisions)
            return same_logits and first.decisions != second.decisions
        case _:
            return False


def label_margins(
    labels: npt.NDArray[np.integer[Any]], outputs: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """The margin of each sample's property, shape ``(N,)``; positive where the model is right.

    Args:
        labels: ``(N,)`` or ``(N, decisions)``.
        outputs: ``(N, logits)``.
    """
    margins = np.empty(len(outputs))
    unique, group = np.unique(labels, axis=0, return_inverse=True)
    for number, label in enumerate(unique):
        rows = np.flatnonzero(group.reshape(-1) == number)
        margins[rows] = property_for(label, outputs.shape[1]).margins(outputs[rows])
    return margins


def predictions(
    labels: npt.NDArray[np.integer[Any]], outputs: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """What the model answers, in the form of the labels (whose values are not used).

    The class of the largest logit, the first of equal ones; or the decisions of logits above 0.
    """
    if labels.ndim == 2:
        return (outputs > 0).astype(np.int64)
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(np.int64)
    return np.asarray(outputs.argmax(axis=1), dtype=np.int64)


def _refuse_other_than_int(name: str, value: object) -> None:
    # A bool or a numpy integer would compare equal and yet have another canonical form.
    if type(value) is not int:
        raise UsageError(f"{name}: {value!r} is a {type(value).__name__}, not an int")


def property_for(label: npt.NDArray[np.integer[Any]], logits: int) -> Property:
    """The property that a sample's label asks of a model with so many logits.

    Args:
        label: a class, shape ``()``; or one decision of 0 or 1 per logit, shape ``(logits,)``.
        logits: 1 for a binary model with a single logit, which is above 0 for class 1.

    Raises:
        UsageError: the label does not fit the logits.
    """
    if label.ndim == 1:
        if len(label) != logits:
            raise UsageError(f"label: {len(label)} decisions for a model with {logits} logits")
        return MultiLabel(tuple(int(decision) for decision in label))
    if logits == 1:
        return MultiLabel((int(label),))
    return SingleLabel(int(label), logits)


def property_from_json(value: Any) -> Property:
    """The property with this canonical form.

    Raises:
        CertificateError: it is not the canonical form of any property.
    """
    try:
        match value:
            case {"kind": "single-label", "label": int(label), "classes": int(classes)}:
                made: Property = SingleLabel(label, classes)
            case {"kind": "multi-label", "decisions": [*decisions]}:
                made = MultiLabel(tuple(decisions))
            case _:
                raise CertificateError(f"the property {value!r} is of no known kind")
    except UsageError as error:
        raise CertificateError(f"the property is not valid: {error}") from None
    if made.to_json() != value:
        raise CertificateError(f"the property {value!r} is not in its canonical form")
    return made
