"""Search for counterexamples in ONNX Runtime alone, without gradients: centre, corners, pattern.

It needs no other form of the model and loads no other library: an easy question is answered before
any engine is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.properties import Property
from asi_verify.runtime.session import Session

__all__ = ["corner_search"]

_MOST_RANDOM = 1024
_FEW = 16
_STARTS = 3
_STEPS = (1.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
"""Shares of the box: the first reach its ends from anywhere, later ones look between them."""


def corner_search(
    session: Session,
    box: Box,
    property_: Property,
    deadline: float | None = None,
    most_groups: int = 1024,
    seed: int = 0,
) -> Iterator[npt.NDArray[np.float32]]:
    """Points of one box at which ONNX Runtime's answer violates the property.

    Tried are the centre, random points and random corners; and from the worst of them, for ever
    smaller steps, each input moved up and down alone, then all of them together to where each did
    worse (a gradient by differences, first as wide as the box). With many inputs they are moved in
    groups that are drawn at random.

    Args:
        session: the model.
        box: one box, shape ``(1, *input_shape)``.
        property_: over all outputs.
        deadline: of ``time.monotonic``; the search ends when it has passed.
        most_groups: inputs that are moved together are so many groups at most.
        seed: for what is random.

    Yields:
        Points of shape ``input_shape``, as soon as each is found; a claim for who asked to judge.
    """
    generator = np.random.default_rng(seed)
    lower, upper = box.lower.reshape(1, -1), box.upper.reshape(1, -1)
    spread = upper.astype(np.float64) - lower
    size = lower.shape[1]
    count = min(_MOST_RANDOM, 2 * (most_groups + _FEW))
    shares = generator.random((count, size))
    shares[0], shares[1::2] = 0.5, shares[1::2] > 0.5
    moved = np.flatnonzero(spread[0])
    group_count = max(1, min(len(moved), most_groups))
    group_of = generator.permutation(len(moved)) % group_count

    def inside(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        # A step may leave the range of float32; ends of the box stay what they are when rounded.
        return np.clip(points, lower, upper).astype(np.float32)

    def margins(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        found = session.margins(points.reshape(-1, *box.shape), property_)
        return np.where(np.isnan(found), np.inf, found)

    points = inside(lower + shares * spread)
    values = np.empty(count)
    for some in (slice(_FEW), slice(_FEW, count)):  # most that are to be found are soon found
        values[some] = margins(points[some])
        for chosen in np.flatnonzero(~(values[some] > 0)):
            yield points[some][chosen].reshape(box.shape)
    for start in np.argsort(values)[:_STARTS]:
        point, reached = points[start], values[start]
        for step in _STEPS:
            if deadline is not None and time.monotonic() >= deadline:
                return
            steps = step * spread[0, moved]
            each = np.tile(point.astype(np.float64), (2, group_count, 1))
            each[0, group_of, moved] -= steps
            each[1, group_of, moved] += steps
            tried = inside(each.reshape(-1, size))
            found = margins(tried)
            below, above = found.reshape(2, -1)
            # Compared, not subtracted: where no output is a number both are infinite.
            signs = np.where(below > above, 1.0, np.where(below < above, -1.0, 0.0))
            together = point.astype(np.float64)
            together[moved] += signs[group_of] * steps
            tried = np.concatenate([tried, inside(together[None])])
            found = np.append(found, margins(tried[-1:]))
            for chosen in np.flatnonzero(~(found > 0)):
                yield tried[chosen].reshape(box.shape)
            if found.min() < reached:
                point, reached = tried[found.argmin()], found.min()
