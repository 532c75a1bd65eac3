"""What a guard did on a split of known labels: counts, and nothing that is estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.errors import UsageError
from asi_verify.guard.cascade import CascadeAnswer, Giver
from asi_verify.guard.guard import Answer
from asi_verify.guard.reasons import Reason

__all__ = ["counts", "figures", "second_counts"]


def counts(answered: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> dict[str, int]:
    """How many samples there are, are right, are answered, and are answered right."""
    return {
        "answered": int(answered.sum()),
        "answered_right": int((answered & right).sum()),
        "right": int(right.sum()),
        "samples": len(right),
    }


def figures(
    answers: Sequence[Answer],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Counts over a split, for each layer by itself, for each class and for each group.

    Args:
        answers: one per sample.
        labels: shape ``(N,)``.
        classes: names of the labels.
        groups: the name of each sample's group, such as the device.

    Returns:
        ``counts`` of all samples; ``layers``, for each reason how many samples it ``refuses``, how
        many of these are ``right``, and how many it ``alone`` refuses; ``classes`` and ``groups``,
        ``counts`` by name.

    Raises:
        UsageError: there is not one group per sample.
    """
    if groups is not None and len(groups) != len(labels):
        raise UsageError(f"groups: {len(groups)} names for {len(labels)} samples")
    answered = np.array([answer.answered for answer in answers], dtype=np.bool_)
    right = np.array([answer.label for answer in answers]) == labels
    reasons = [answer.reason for answer in answers]
    layers = {}
    for reason in Reason:
        refuses = np.array([bool(reason & found) for found in reasons], dtype=np.bool_)
        layers[reason.names[0]] = {
            "alone": sum(found == reason for found in reasons),
            "refuses": int(refuses.sum()),
            "right": int((refuses & right).sum()),
        }
    found: dict[str, Any] = {"counts": counts(answered, right), "layers": layers}
    found["classes"] = _each(np.array(classes)[labels], answered, right)
    found["groups"] = {} if groups is None else _each(np.array(groups), answered, right)
    return found


def second_counts(
    answers: Sequence[CascadeAnswer], labels: npt.NDArray[np.int64]
) -> dict[str, int]:
    """What a second model adds, counted over a split.

    Args:
        answers: one per sample.
        labels: shape ``(N,)``.

    Returns:
        How many ``samples`` there are; about how many the second model was ``asked``; of these, how
        many the first model has right (``first_right``) and the second one (``second_right``),
        answered or not; and how many of all are answered by either (``both_answered``), and are
        answered right (``both_right``).
    """
    asked = np.array([not (a.proved or a.first.reason & Reason.DOMAIN) for a in answers])
    first = np.array([a.first.label for a in answers])
    # None, which equals no label, where the second model's outputs are no numbers.
    second = np.array([a.second.label if a.second else a.label for a in answers], dtype=object)
    given = np.array([a.by is not Giver.NOBODY for a in answers])
    label = np.array([a.label for a in answers], dtype=object)
    return {
        "asked": int(asked.sum()),
        "both_answered": int(given.sum()),
        "both_right": int((label == labels).sum()),
        "first_right": int((asked & (first == labels)).sum()),
        "samples": len(labels),
        "second_right": int((asked & (second == labels)).sum()),
    }


def _each(
    names: npt.NDArray[np.str_], answered: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]
) -> dict[str, dict[str, int]]:
    return {
        str(name): counts(answered[names == name], right[names == name])
        for name in np.unique(names)
    }
