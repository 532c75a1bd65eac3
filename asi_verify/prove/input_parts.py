"""Parts of regions that were cut across inputs: their bounds, and which input to halve next.

The trusted pass itself bounds them, with the canonical slopes: a part that it closes here is a leaf
that the checker closes. Nothing here depends on what else is bounded at once, nor in which process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.checker.trusted import NO_ADVICE, Advice, Bounds, TrustedPass
from asi_verify.core.evidence import Intermediate
from asi_verify.core.network import Network
from asi_verify.core.properties import Property
from asi_verify.core.semantics import Semantics
from asi_verify.prove.stage import CLEAR, is_past

__all__ = ["Examined", "Examiner", "InputParts", "examined", "middle_of"]

Array = npt.NDArray[np.float64]
_FLAT = 1e-6
"""Bounds that differ by less say nothing about which input to halve."""


@dataclass
class InputParts:
    """Parts that are not bounded yet.

    Attributes:
        nodes: their numbers, shape ``(P,)``.
        samples: whose regions they are parts of.
        depths: how many cuts lead to them.
        bounds: of the parts that they are halves of.
        lower: corners, float32, shape ``(P, inputs)``.
        upper: same shape.
    """

    nodes: npt.NDArray[np.intp]
    samples: npt.NDArray[np.intp]
    depths: npt.NDArray[np.intp]
    bounds: Array
    lower: npt.NDArray[np.float32]
    upper: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.nodes)

    def take(self, rows: npt.NDArray[np.generic]) -> InputParts:
        """Some of them."""
        return InputParts(*(array[rows] for array in vars(self).values()))

    def with_more(self, other: InputParts) -> InputParts:
        """These and others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return InputParts(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True, eq=False)
class Examined:
    """What is found of ``P`` parts.

    Attributes:
        sound: whether the error analysis holds, shape ``(P,)``.
        closed: whether nothing of the part is left to be proved.
        by_flat: whether flat slopes close it, and the canonical ones do not.
        lower: of the property, the better of both.
        scores: of every input, how good it would be to halve there; -inf for never, and for parts
            that are closed. Shape ``(P, inputs)``.
    """

    sound: npt.NDArray[np.bool_]
    closed: npt.NDArray[np.bool_]
    by_flat: npt.NDArray[np.bool_]
    lower: Array
    scores: Array

    @classmethod
    def joined(cls, found: Sequence[Examined]) -> Examined:
        """Of all parts together, in order."""
        columns = zip(*(vars(one).values() for one in found), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, eq=False)
class Examiner:
    """Examines parts of the regions of some samples.

    Attributes:
        trusted: the trusted pass over the network.
        property_: what must hold.
        root: the bounds over the samples' whole regions.
        varying: which inputs may be halved.
        deadline: as of ``Batch``.
    """

    trusted: TrustedPass
    property_: Property
    root: Bounds
    varying: npt.NDArray[np.bool_]
    deadline: float | None

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way to another process the trusted pass is its network and semantics."""
        rest = self.property_, self.root, self.varying, self.deadline
        return _received, (self.trusted.network, self.trusted.semantics, *rest)

    def examine(self, parts: InputParts) -> Examined | None:
        """Bound some parts, and look ahead from those that stay open; None after the deadline."""
        found = []
        for some in self.trusted.batches(len(parts)):
            if is_past(self.deadline):
                return None
            found.append(self._examined(parts.take(np.arange(len(parts))[some])))
        return Examined.joined(found)

    def _examined(self, parts: InputParts) -> Examined:
        bounds = self._bounded(parts, Intermediate.BACKWARD)
        canonical, flat = self._lower(bounds), self._lower(bounds, self._flat_slopes(bounds))
        lower = np.maximum(canonical, flat)
        closed = np.asarray(bounds.sound & (bounds.empty | (lower > CLEAR)))
        scores = np.full(parts.lower.shape, -np.inf)
        open_ = np.flatnonzero(bounds.sound & ~closed)
        if len(open_):
            scores[open_] = self._look_ahead(parts.take(open_))
        by_flat = (flat > CLEAR) & ~(canonical > CLEAR)
        return Examined(bounds.sound, closed, by_flat, lower, scores)

    def _flat_slopes(self, bounds: Bounds) -> Advice:
        """That no ReLU is below 0 and no more: better than the canonical where many add up."""
        count = len(bounds.sound) * len(self.property_.rows())
        parts = self.trusted.neurons.items()
        return Advice({value: np.zeros((count, part.stop - part.start)) for value, part in parts})

    def _lower(self, bounds: Bounds, advice: Advice = NO_ADVICE) -> Array:
        trusted, property_ = self.trusted, self.property_
        values = trusted.rows(bounds, property_, to_input=True, advice=advice)
        return property_.overall(values)

    def _bounded(self, some: InputParts, intermediate: Intermediate) -> Bounds:
        """As the checker bounds leaves (``checker.split_tree.leaf_bounds``)."""
        root = self.root.take(some.samples)
        known = [(box.lower, box.upper) for box in root.boxes]
        shape = root.boxes[0].lower.shape
        known[0] = (some.lower.reshape(shape), some.upper.reshape(shape))
        bounds = self.trusted.bounds(root.boxes[0], intermediate, known)
        return Bounds(bounds.boxes, bounds.sound & root.sound, bounds.empty)

    def _look_ahead(self, parts: InputParts) -> Array:
        """How good it would be to halve each input, shape ``(P, inputs)``.

        Both halves are bounded the cheap way, over intermediate bounds by intervals. First counts
        how many of them are closed then, next what their bounds lack; where these say nothing, how
        wide the relaxations are.
        """
        middle = middle_of(parts)
        closed, lacking, gaps = (np.full(middle.shape, np.inf) for _ in range(3))
        for number in np.flatnonzero(self.varying).tolist():
            halves = [self._half(parts, number, middle, below) for below in (True, False)]
            closed[:, number] = -np.sum([lower > 0 for lower, _ in halves], axis=0)
            lacking[:, number] = -np.sum([np.minimum(lower, 0) for lower, _ in halves], axis=0)
            gaps[:, number] = np.sum([gap for _, gap in halves], axis=0)
        most = closed == closed.min(axis=1, keepdims=True)
        lacking = np.where(most, lacking, np.nan)
        lowest = np.nanmin(lacking, axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # no bound at all on either side of any cut
            spread = np.nanmax(lacking, axis=1, keepdims=True) - lowest
        flat = spread <= _FLAT * np.maximum(lowest, 1)
        return np.where(most, -np.where(flat, gaps, lacking), -np.inf)

    def _half(
        self, parts: InputParts, number: int, middle: npt.NDArray[np.float32], below: bool
    ) -> tuple[Array, Array]:
        """The bound of one half of every part, and how wide its relaxations are in all."""
        ends = parts.lower.copy(), parts.upper.copy()
        ends[1 if below else 0][:, number] = middle[:, number]
        half = replace(parts, lower=ends[0], upper=ends[1])
        bounds = self._bounded(half, Intermediate.INTERVAL)
        lower = self._lower(bounds)
        if len(self.trusted.neurons) == 1:
            lower = np.maximum(lower, self._lower(bounds, self._flat_slopes(bounds)))
        gap = np.zeros(len(lower))
        for value in self.trusted.neurons:
            box = bounds.boxes[value]
            low, high = np.minimum(box.lower, 0.0), np.maximum(box.upper, 0.0)
            wide = np.where(high > low, high - low, 1.0)
            gap += (-low * high / wide).reshape(len(gap), -1).sum(axis=1)
        return np.where(bounds.empty, np.inf, lower), gap


def _received(network: Network, semantics: Semantics, *rest: Any) -> Examiner:
    return Examiner(TrustedPass(network, semantics), *rest)


def examined(job: tuple[Examiner, InputParts]) -> Examined | None:
    """``examine``, for whichever process."""
    examiner, parts = job
    return examiner.examine(parts)


def middle_of(parts: InputParts) -> npt.NDArray[np.float32]:
    """Of every input of every part, shape ``(P, inputs)``."""
    return ((parts.lower.astype(np.float64) + parts.upper) / 2).astype(np.float32)
