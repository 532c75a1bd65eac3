"""Search for counterexamples along gradients that the trusted pass's rules give.

They are the coefficients of a backward pass over boxes that are nearly points. On networks that are
not large this takes longer than in torch and shorter than to load torch: an easy question is
answered before that is done.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.checker import TrustedPass
from asi_verify.checker.rules import Functionals
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.properties import Property
from asi_verify.runtime import Session

__all__ = ["gradients", "rule_descent"]

Array = npt.NDArray[np.float64]

_STEPS = 4
_LARGEST = 1 << 20
"""Numbers of all values of a network; with more, torch is loaded sooner than a step is made."""
_LEAST, _MOST = 3, (1024, 32, 32)
"""Targets whose centres are asked about, for which a first step is made, and those after it."""
_NUMBERS = (1 << 22, 1 << 22, 1 << 15)
"""Of all values of the network for so many targets, where these are more than the least."""
_CHORD = 2.0**-16
"""Half the length of the chords of functions that bend, for a number of size 1."""


def rule_descent(
    trusted: TrustedPass,
    session: Session,
    box: Box,
    properties: Sequence[Property],
    deadline: float | None = None,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Points at which the model's answer violates the property of the point's box.

    Projected gradient descent (Madry et al. 2018) from the centre, on the sum of the rows of one
    clause that still hold: from each to where its gradient points, all the way at first. Of the
    first clauses, a thousand at most, the nearest are tried side by side; on large networks none.

    Args:
        trusted: the trusted pass over the model, in any semantics.
        session: the model.
        box: float32, shape ``(B, *input_shape)``.
        properties: one per box, over all outputs.
        deadline: of ``time.monotonic``; no step is begun when it has passed.

    Yields:
        The box's number and a point of shape ``input_shape``, as soon as each is found; a claim for
        who asked to judge.
    """
    numbers = sum(math.prod(shape) for shape in trusted.network.shapes)
    if numbers > _LARGEST:
        return
    first, *later = (
        max(_LEAST, min(most, size // numbers)) for most, size in zip(_MOST, _NUMBERS, strict=True)
    )
    targets = list(itertools.islice(_targets(properties), first))
    points = (0.5 * (box.lower.astype(np.float64) + box.upper))[[one.owner for one in targets]]
    for step in range(_STEPS + 1):
        owners = [one.owner for one in targets]
        lower, upper = box.lower[owners], box.upper[owners]
        inside = np.clip(points, lower, upper).astype(np.float32)
        different, places = _different(inside)
        outputs = session.run(different).astype(np.float64)[places]
        holding = [one.holding(output) for one, output in zip(targets, outputs, strict=True)]
        for one, point, rows in zip(targets, inside, holding, strict=True):
            if not rows.any():
                yield one.owner, point
        is_late = deadline is not None and time.monotonic() >= deadline
        # What was claimed and is asked about again is a tie, as a rule: there is nothing to follow.
        left = np.flatnonzero([rows.any() for rows in holding])
        if step == _STEPS or is_late or not len(left):
            return
        most = later[min(step, len(later) - 1)]
        near = np.argsort([holding[i].sum() for i in left], kind="stable")
        nearest = left[near[:most]]
        targets, holding = [targets[i] for i in nearest], [holding[i] for i in nearest]
        slopes = [(rows > 0) @ one.rows for one, rows in zip(targets, holding, strict=True)]
        descent = np.sign(gradients(trusted, inside[nearest], np.array(slopes)))
        width = upper[nearest].astype(np.float64) - lower[nearest]
        points = inside[nearest] - descent * width / (step + 1)


@dataclass(frozen=True, eq=False)
class _Target:
    """A clause, which fails where none of its rows is above 0.

    Attributes:
        owner: of which box it is asked.
        rows: shape ``(R, outputs)``.
        constants: shape ``(R,)``.
    """

    owner: int
    rows: Array
    constants: Array

    def holding(self, output: Array) -> Array:
        """What its rows are above 0, else 0, shape ``(R,)``; infinite where one is no number."""
        with np.errstate(invalid="ignore"):
            values = self.rows @ output + self.constants
        return np.where(np.isnan(values), np.inf, np.maximum(values, 0.0))


def _targets(properties: Sequence[Property]) -> Iterator[_Target]:
    for owner, property_ in enumerate(properties):
        rows, constants = property_.rows(), property_.constants()
        starts = np.flatnonzero(np.diff(property_.clauses_of_rows(), prepend=-1)).tolist()
        for start, end in itertools.pairwise([*starts, len(rows)]):
            yield _Target(owner, rows[start:end], constants[start:end])


def gradients(
    trusted: TrustedPass, points: npt.NDArray[np.float32], functionals: Array
) -> npt.NDArray[np.float64]:
    """The gradient of a functional of the output at each of some points.

    Args:
        trusted: the trusted pass over the model.
        points: shape ``(T, *input_shape)``.
        functionals: one for each, shape ``(T, outputs)``.

    Returns:
        Shape ``(T, *input_shape)``, finite; near a kink one between the slopes beside it. Layer
        normalisation counts as if it divided by a constant. Nothing is promised of points from
        which the model leaves the range in which bounds can be computed.
    """
    at, owners = _different(points)
    boxes = [_around(box) for box in trusted.bounds(Box(at, at), Intermediate.INTERVAL).boxes]
    network = trusted.network
    pending = {network.output: functionals.reshape(-1, *network.output_shape)}
    with np.errstate(over="ignore", invalid="ignore"):  # where weights are that large
        for value in range(network.output, 0, -1):
            if value not in pending:
                continue
            inputs = network.nodes[value - 1].inputs
            pushed = trusted.rules[value - 1].push_back(
                Functionals(pending.pop(value), owners), *(boxes[key] for key in inputs)
            )
            for key, coefficients in zip(inputs, pushed.inputs, strict=True):
                pending[key] = pending[key] + coefficients if key in pending else coefficients
    return np.nan_to_num(pending.get(0, np.zeros(points.shape)))


def _different(
    points: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """The points that differ, and which of them each is: cases over one box share their centre."""
    numbers: dict[bytes, int] = {}
    owners = [numbers.setdefault(point.tobytes(), len(numbers)) for point in points]
    _, firsts = np.unique(owners, return_index=True)
    return points[firsts], np.array(owners, dtype=np.intp)


def _around(box: Box) -> Box:
    """A little more than the box: a chord over a point alone has no slope."""
    reach = _CHORD * (1 + np.maximum(-box.lower, box.upper))
    return Box(box.lower - reach, box.upper + reach)
