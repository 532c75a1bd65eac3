"""Labels that look wrong: confident learning on predictions for images a model has not seen.

Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", Journal
of Artificial Intelligence Research 70 (2021), as the package cleanlab does it. A suspicion is an
opinion of models, and no more: it changes no label, no loss, no status and no count.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.errors import DataError, EngineUnavailableError

__all__ = ["INSTALL", "Suspect", "cleanlab_version", "suspected_labels"]

INSTALL = 'install it with: pip install "asi-verify[labels]"'
"""What to do about a missing cleanlab."""


@dataclass(frozen=True)
class Suspect:
    """A sample whose label is suspected.

    Attributes:
        row: in its split.
        decision: which of several decisions is meant; None where a label is one class.
        label: as given: the class, or 0 or 1.
        suggested: what the models think most probable.
        self_confidence: the probability that they give the label as given, in [0, 1].
    """

    row: int
    decision: int | None
    label: int
    suggested: int
    self_confidence: float

    def to_json(self) -> dict[str, Any]:
        """The canonical form; the probability exactly, as text."""
        return {**vars(self), "self_confidence": self.self_confidence.hex()}


def cleanlab_version() -> str:
    """The version of the cleanlab that is installed.

    Raises:
        EngineUnavailableError: none is.
    """
    if importlib.util.find_spec("cleanlab") is None:
        raise EngineUnavailableError(f"suspects: cleanlab is not installed; {INSTALL}")
    return importlib.metadata.version("cleanlab")


def suspected_labels(
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    contradicted: Collection[int] = (),
) -> tuple[Suspect, ...]:
    """The labels that confident learning suspects, the least believed first.

    Args:
        labels: shape ``(N,)``, classes; or ``(N, decisions)`` of 0 and 1, each decision of which is
            looked at by itself.
        probabilities: shape ``(N, classes)`` with rows that sum to 1; or ``(N, decisions)``, that
            of 1. Those for a sample come from models that were not trained on it.
        contradicted: rows in a listed contradiction. What is known of them is not suspected too.

    Raises:
        EngineUnavailableError: cleanlab is not installed.
        DataError: a probability is not a number.
    """
    cleanlab_version()
    if not np.isfinite(probabilities).all():
        raise DataError("suspects: the training ended in numbers that are none; scale the images")
    if labels.ndim == 1:
        found = _of_one(labels, probabilities, None)
    else:
        found = [
            suspect
            for decision, one in enumerate(probabilities.T)
            for suspect in _of_one(labels[:, decision], np.stack([1 - one, one], axis=1), decision)
        ]
    outside = (suspect for suspect in found if suspect.row not in contradicted)
    return tuple(sorted(outside, key=lambda s: (s.self_confidence, s.row, s.decision or 0)))


def _of_one(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], decision: int | None
) -> list[Suspect]:
    from cleanlab.filter import find_label_issues

    if len(np.unique(labels)) < 2:
        # Every sample has the same label: there is nothing that it could have been mistaken for.
        return []
    # One process: samples are few, and processes of their own would not make it repeatable.
    issues = find_label_issues(labels, probabilities, n_jobs=1)
    return [
        Suspect(
            row,
            decision,
            int(labels[row]),
            int(probabilities[row].argmax()),
            float(probabilities[row, labels[row]]),
        )
        for row in np.flatnonzero(issues).tolist()
    ]
