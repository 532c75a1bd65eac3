"""Why a sample is an error, as far as can be said without a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from asi_verify.bugs.enumerate import Evaluation
from asi_verify.core.bug import Category
from asi_verify.data import Samples

__all__ = ["categories"]

_NEAR = 5.0
"""Percentile of the correct samples' margins below which an error counts as near the boundary."""

_OFTEN = 2.0
"""A pair of classes is confused often if its errors are more than so many times its even share."""


def categories(
    samples: Samples,
    evaluation: Evaluation,
    contradicted: Collection[int],
    suspected: Collection[int] = (),
) -> dict[int, Category]:
    """The category of every error, by row; the first that fits in the order of ``Category``.

    Args:
        samples: the split.
        evaluation: what the model answers on it.
        contradicted: rows in a listed contradiction.
        suspected: rows whose label an audit suspects.
    """
    wrong = np.flatnonzero(evaluation.wrong)
    right = evaluation.margins[~evaluation.wrong]
    near = float(np.percentile(right, _NEAR)) if len(right) else 0.0
    often = _frequent_pairs(samples.labels[wrong], evaluation.predictions[wrong])
    found = {}
    for row in wrong.tolist():
        pair = (_key(samples.labels[row]), _key(evaluation.predictions[row]))
        if row in contradicted:
            found[row] = Category.CONTRADICTION
        elif row in suspected:
            found[row] = Category.SUSPECTED_LABEL
        elif abs(evaluation.margins[row]) <= near:
            found[row] = Category.NEAR_BOUNDARY
        elif pair in often:
            found[row] = Category.CLASS_PAIR
        else:
            found[row] = Category.UNLEARNED
    return found


def _key(label: npt.NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(int(part) for part in np.atleast_1d(label))


def _frequent_pairs(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]
) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    pairs = [(_key(a), _key(b)) for a, b in zip(labels, predicted, strict=True)]
    classes = {member for pair in pairs for member in pair}
    if len(classes) < 3:
        # With two classes every error is of one of two pairs, which says nothing.
        return set()
    even = len(pairs) / (len(classes) * (len(classes) - 1))
    return {pair for pair, count in Counter(pairs).items() if count > _OFTEN * even}
