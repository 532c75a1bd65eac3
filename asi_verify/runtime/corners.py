"""Search for counterexamples in ONNX Runtime alone, without gradients: centres and corners.

It needs no other form of the model and loads no other library, so that an easy question is answered
before anything else is imported.
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

_RANDOM = 64
_ROUNDS = 3


def corner_search(
    session: Session,
    box: Box,
    property_: Property,
    deadline: float | None = None,
    most_groups: int = 1024,
    seed: int = 0,
) -> Iterator[npt.NDArray[np.float32]]:
    """Points of one box at which ONNX Runtime's answer violates the property.

    Tried are the centre, random points, and corners: from the worst point so far every input is
    moved to either of its ends alone, then all of them together to where each did worse (a gradient
    by differences as wide as the box), a few times over. With many inputs they are moved in groups
    that are drawn at random. One start costs twice as many runs as there are groups, at most three
    times over.

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

    def inside(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        return np.clip((lower + shares * spread).astype(np.float32), lower, upper)

    def margins(points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        found = session.margins(points.reshape(-1, *box.shape), property_)
        return np.where(np.isnan(found), np.inf, found)

    size = lower.shape[1]
    shares = generator.random((_RANDOM, size))
    shares[0], shares[1 : _RANDOM // 2] = 0.5, shares[1 : _RANDOM // 2] > 0.5
    points = inside(shares)
    values = margins(points)
    for chosen in np.flatnonzero(~(values > 0)):
        yield points[chosen].reshape(box.shape)
    moved = np.flatnonzero(spread[0])
    groups = np.array_split(generator.permutation(moved), min(len(moved), most_groups) or 1)
    for start in np.argsort(values)[:_ROUNDS]:
        point = points[start]
        for _ in range(_ROUNDS):
            if deadline is not None and time.monotonic() >= deadline:
                return
            ends = np.tile(point, (2 * len(groups), 1))
            for number, group in enumerate(groups):
                ends[2 * number, group], ends[2 * number + 1, group] = (
                    lower[0, group],
                    upper[0, group],
                )
            effect = margins(ends).reshape(-1, 2)
            corner = point.copy()
            for group, (low, high) in zip(groups, effect, strict=True):
                if low != high:
                    corner[group] = lower[0, group] if low < high else upper[0, group]
            tried = np.concatenate([ends, corner[None]])
            reached = np.append(effect.reshape(-1), margins(corner[None]))
            for chosen in np.flatnonzero(~(reached > 0)):
                yield tried[chosen].reshape(box.shape)
            if np.array_equal(corner, point):
                break
            point = corner
