"""Edge cases made from the data: members of regions where they end, and images nobody took."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from asi_verify.core.images import encode
from asi_verify.stress.claimed import Claimed, Trial

__all__ = ["blends", "constant_images", "members"]

_SHARES = (0.25, 0.5)
_AT_ONCE = 1 << 24
"""Distances of images that are compared at once, for the memory they take."""


def members(claimed: Claimed, seed: int) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Members of each region, by name: its ends, corners, its border pixels, random ones.

    Ends and corners of boxes are drawn to the nearest member where a region is no box.
    """
    generator = np.random.default_rng(seed)
    images, family = claimed.images, claimed.family
    box = family.boxes(images)
    centres = encode(images)
    yield "as they are", centres
    yield "darkest", family.project(box.lower.copy(), images)
    yield "brightest", family.project(box.upper.copy(), images)
    corners = np.where(generator.random(box.lower.shape) < 0.5, box.lower, box.upper)
    yield "corner", family.project(corners, images)
    border = _border(images.shape)
    yield "border darkest", family.project(np.where(border, box.lower, centres), images)
    yield "border brightest", family.project(np.where(border, box.upper, centres), images)
    yield "inner brightest", family.project(np.where(border, centres, box.upper), images)
    # Drawn once more: of members that were fitted, fewer are not recognised as such.
    yield "random member", family.project(family.sample(images, generator), images)


def _border(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The outermost pixels, for images of ``(N, C, *spatial)``."""
    spatial = shape[2:]
    inner = np.zeros(spatial, dtype=np.bool_)
    inner[tuple(slice(1, -1) for _ in spatial)] = True
    return np.broadcast_to(~inner, (1, 1, *spatial))


def blends(claimed: Claimed) -> list[Trial]:
    """Images on the way to the nearest other image of the same property, by the share of the way.

    Nothing is claimed of them.
    """
    centres = encode(claimed.images)
    flat = centres.reshape(len(centres), -1)
    nearest = np.arange(len(centres))
    for _, places in claimed.groups():
        if len(places) > 1:
            nearest[places] = places[_nearest(flat[places])]
    found = []
    for share in _SHARES:
        mixed = ((1 - share) * centres + share * centres[nearest]).astype(np.float32)
        kept = claimed.margins(np.clip(mixed, 0, 1)) > 0
        name = f"blend, {share:.0%} of the nearest image of the same label"
        found.append(Trial(name, False, len(kept), int(kept.sum())))
    return found


def _nearest(flat: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """The nearest other row of each, in the Euclidean norm."""
    squares = np.einsum("ij,ij->i", flat, flat)
    found = np.empty(len(flat), dtype=np.intp)
    size = max(_AT_ONCE // len(flat), 1)
    for start in range(0, len(flat), size):
        some = np.arange(start, min(start + size, len(flat)))
        # Without the row's own square, which changes nothing about which is nearest.
        distances = squares - 2 * (flat[some] @ flat.T)
        distances[np.arange(len(some)), some] = np.inf
        found[some] = distances.argmin(axis=1)
    return found


def constant_images(claimed: Claimed) -> dict[str, list[int]]:
    """What the model answers to an empty, a grey and a saturated image: each decision's class."""
    shape = claimed.images.shape[1:]
    levels = {"empty": 0.0, "grey": 0.5, "saturated": 1.0}
    points = np.stack([np.full(shape, level, dtype=np.float32) for level in levels.values()])
    logits = claimed.artifact.session.run(points)
    return {
        name: np.atleast_1d(found).tolist()
        for name, found in zip(levels, claimed.answers(logits), strict=True)
    }
