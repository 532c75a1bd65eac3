"""Data sets whose images were labelled by several people, who do not always agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.data.arrays import from_arrays, labels_from
from asi_verify.data.samples import Dataset, Samples
from asi_verify.errors import DataError

__all__ = ["NOT_LABELLED", "from_annotators"]

NOT_LABELLED = -1
"""Stands where an annotator did not look at an image."""

_ENDS = {"lowest": min, "highest": max}


def from_annotators(
    images: Any,
    votes: Any,
    *,
    rule: str | int = "majority",
    ties: str | int | None = None,
    name: str = "arrays",
    split: str = "train",
    classes: Sequence[str] | None = None,
    ordinal: bool = False,
    layout: str = "auto",
) -> Dataset:
    """A data set with one label per image out of those of several annotators.

    What each of them said stays with the samples; the readiness certificate lists every image on
    which they disagree. Which label is taken is the user's decision, and no proof depends on it.

    Args:
        images: as for ``from_arrays``.
        votes: ``(N, annotators)`` classes from 0; -1 where an annotator did not label an image.
        rule: ``"majority"``: the label that most annotators give; or the number of an annotator,
            from 0, whose label is taken for every image.
        ties: what is taken where several labels are given most often: ``"lowest"`` or ``"highest"``
            of them (of grades, the milder or the graver one), or the label of the annotator with
            this number, be it one of them or not. None refuses such images.
        name: as for ``from_arrays``.
        split: as for ``from_arrays``.
        classes: as for ``from_arrays``; by default as many as the votes use.
        ordinal: as for ``from_arrays``.
        layout: as for ``from_arrays``.

    Raises:
        DataError: votes that cannot be used, an image without a label, an annotator who does not
            exist, a tie without a way to break it; and as ``from_arrays``.
    """
    said = labels_from(votes, "votes")
    if said.ndim == 1 and np.ndim(votes) == 2:
        said = said[:, None]  # one annotator alone
    if said.ndim != 2:
        raise DataError(f"votes: shape {said.shape}; (N, annotators) is expected")
    if (said < NOT_LABELLED).any():
        raise DataError(f"votes: {said.min()}; classes from 0, or -1 for none, are expected")
    if rule != "majority":
        _require_annotator("rule", rule, said, "'majority'")
    if ties is not None and not (isinstance(ties, str) and ties in _ENDS):
        _require_annotator("ties", ties, said, "'lowest', 'highest'")
    labels = np.array([_label(row, one, rule, ties) for row, one in enumerate(said)], np.int64)
    if classes is None:
        classes = [str(number) for number in range(max(int(said.max(initial=0)) + 1, 2))]
    made = from_arrays(
        images, labels, name=name, split=split, classes=classes, ordinal=ordinal, layout=layout
    )
    if int(said.max(initial=0)) >= len(made.classes):
        raise DataError(f"votes: {said.max()} is none of {len(made.classes)} classes")
    samples = made.split(split)
    kept = Samples(samples.images, samples.labels, said)
    return Dataset(made.name, made.task, made.classes, {split: kept})


def _require_annotator(
    argument: str, given: str | int, votes: npt.NDArray[np.int64], others: str
) -> None:
    # A bool is an int, and 1.0 is in a range.
    if type(given) is not int or given not in range(votes.shape[1]):
        raise DataError(
            f"{argument}: {given!r}; {others} or the number of one of {votes.shape[1]} annotators, "
            "from 0, is expected"
        )


def _label(row: int, votes: npt.NDArray[np.int64], rule: str | int, ties: str | int | None) -> int:
    """The label of one image."""
    if not isinstance(rule, str):
        return _said_by(rule, votes, row)
    values, counts = np.unique(votes[votes != NOT_LABELLED], return_counts=True)
    if len(values) == 0:
        raise DataError(f"votes: nobody labelled the image of row {row}; leave it out")
    most = values[counts == counts.max()].tolist()
    if len(most) == 1:
        return int(most[0])
    if ties is None:
        raise DataError(
            f"votes: the annotators are tied on row {row} between {most}; say with ties= what is "
            "taken: 'lowest', 'highest' or the number of an annotator"
        )
    return _ENDS[ties](most) if isinstance(ties, str) else _said_by(ties, votes, row)


def _said_by(annotator: int, votes: npt.NDArray[np.int64], row: int) -> int:
    said = int(votes[annotator])
    if said == NOT_LABELLED:
        raise DataError(f"votes: annotator {annotator} did not label the image of row {row}")
    return said
