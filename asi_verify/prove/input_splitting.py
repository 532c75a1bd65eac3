"""Branch and bound over the inputs: for queries in which few of them vary.

The trusted pass itself bounds the parts, many at once, with the canonical slopes: a part that it
closes here is a leaf that the checker closes. The lowest bound comes first, because a
counterexample is most likely there. A part that stays open is cut in half across the input whose
halves are bounded best, over intermediate bounds by intervals: the look ahead costs a fraction of
one bound and saves, on the networks of ACAS Xu, nine bounds of ten that the size of the bound's
coefficients would ask for. The evidence is the split tree, twelve bytes a node.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from asi_verify.checker.trusted import NO_ADVICE, Advice, Bounds
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.limits import DEEPEST_TREE
from asi_verify.core.split_tree import LEAF, NODE, THRESHOLD, Slopes, SplitTree
from asi_verify.core.verdict import Reason, Refuted, Undecided, Verdict
from asi_verify.prove.falsify import descended
from asi_verify.prove.phase_splitting import CLEAR
from asi_verify.prove.stage import Batch, varying

__all__ = ["InputSearch"]

Array = npt.NDArray[np.float64]
_AT_ONCE = 1024
_FLAT = 1e-6
"""Bounds that differ by less say nothing about which input to halve."""
_DOWN = 2
"""Steps of the descent from a part's centre."""


@dataclass
class _Open:
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

    def take(self, rows: npt.NDArray[np.generic]) -> _Open:
        """Some of them."""
        return _Open(*(array[rows] for array in vars(self).values()))

    def with_more(self, other: _Open) -> _Open:
        """These and others."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Open(*(np.concatenate(pair) for pair in pairs))


class InputSearch:
    """The search over some samples at once.

    Args:
        batch: the samples.
        most_leaves: of one sample's tree.
    """

    def __init__(self, batch: Batch, most_leaves: int) -> None:
        self._batch, self._most_leaves = batch, most_leaves
        self.root = batch.root_bounds(Intermediate.BACKWARD)
        self._varying = varying(batch.box)
        self._rows = batch.property_.rows()
        self.verdicts: list[Verdict | None] = [None] * len(batch)
        # Node n is cut at _cuts[n]; its halves are _halves[n] and the next.
        self._cuts: list[tuple[int, float]] = [(0, 0.0)] * len(batch)
        self._halves: list[int] = [0] * len(batch)
        # Parts that flat slopes close and the canonical ones do not.
        self._flat: set[int] = set()
        self._leaves = np.ones(len(batch), dtype=np.intp)

    def run(self) -> None:
        """Cut until nothing is open."""
        samples, box = len(self._batch), self._batch.box
        everyone = np.arange(samples)
        left = _Open(
            everyone,
            everyone,
            np.zeros(samples, dtype=np.intp),
            np.zeros(samples),
            box.lower.reshape(samples, -1).astype(np.float32),
            box.upper.reshape(samples, -1).astype(np.float32),
        )
        while len(left.nodes):
            if self._batch.is_late():
                self._too_late(left)
                return
            order = np.argsort(left.bounds, kind="stable")
            now, left = left.take(order[:_AT_ONCE]), left.take(order[_AT_ONCE:])
            left = self._still_open(left.with_more(self._round(now)))

    def tree(self, sample: int) -> SplitTree:
        """A sample's parts as evidence."""
        nodes = []
        leaves = 0
        waiting = [sample]
        while waiting:
            node = waiting.pop()
            half = self._halves[node]
            if half:
                number, threshold = self._cuts[node]
                nodes.append((THRESHOLD, number, threshold))
                waiting += [half + 1, half]
            else:
                nodes.append((LEAF, int(node in self._flat), 0.0))
                leaves += 1
        rows = len(self._rows) + self._batch.property_.sums
        none = np.zeros((rows, 0), np.float32)
        neurons = max((part.stop for part in self._batch.trusted.neurons.values()), default=0)
        flat = Slopes.nearest(np.zeros((rows, neurons)))
        return SplitTree(rows, neurons, np.array(nodes, dtype=NODE), (none,) * leaves, (flat,))

    def _progress(self, sample: int) -> str:
        return f"branch and bound: {self._leaves[sample]} parts"

    def _still_open(self, parts: _Open) -> _Open:
        settled = np.array([verdict is not None for verdict in self.verdicts])
        return parts.take(~settled[parts.samples]) if settled.any() else parts

    def _give_up(self, sample: int, verdict: Verdict) -> None:
        if self.verdicts[sample] is None:
            self.verdicts[sample] = verdict

    def _round(self, now: _Open) -> _Open:
        """Bound some parts, look for counterexamples in those that stay open, and cut them."""
        opened, margins, scores = [], [], []
        for part in self._batch.trusted.batches(len(now.nodes)):
            if self._batch.is_late():
                self._too_late(now)
                return now.take(np.zeros(0, dtype=np.intp))
            some = now.take(np.arange(len(now.nodes))[part])
            bounds = self._bounded(some, Intermediate.BACKWARD)
            for sample in some.samples[~bounds.sound].tolist():
                self._give_up(sample, Undecided(Reason.TOO_LARGE, "bounds leave their range"))
            canonical, flat = self._lower(bounds), self._lower(bounds, self._flat_slopes(bounds))
            self._flat.update(some.nodes[(flat > CLEAR) & ~(canonical > CLEAR)].tolist())
            lower = np.maximum(canonical, flat)
            rest = np.flatnonzero(bounds.sound & ~bounds.empty & ~(lower > CLEAR))
            if len(rest):
                opened.append(some.take(rest))
                margins.append(lower[rest])
                scores.append(self._look_ahead(some.take(rest)))
        if not opened:
            return now.take(np.zeros(0, dtype=np.intp))
        parts = opened[0]
        for more in opened[1:]:
            parts = parts.with_more(more)
        self._refute(parts)
        parts = replace(parts, bounds=np.concatenate(margins))
        return self._halved(parts, np.concatenate(scores))

    def _too_late(self, parts: _Open) -> None:
        for sample in set(parts.samples.tolist()):
            self._give_up(sample, Undecided(Reason.DEADLINE, self._progress(sample)))

    def _flat_slopes(self, bounds: Bounds) -> Advice:
        """That no ReLU is below 0 and no more: better than the canonical where many add up."""
        count = len(bounds.sound) * len(self._rows)
        parts = self._batch.trusted.neurons.items()
        return Advice({value: np.zeros((count, part.stop - part.start)) for value, part in parts})

    def _lower(self, bounds: Bounds, advice: Advice = NO_ADVICE) -> Array:
        trusted, property_ = self._batch.trusted, self._batch.property_
        values = trusted.rows(bounds, property_, to_input=True, advice=advice)
        return property_.overall(values)

    def _bounded(self, some: _Open, intermediate: Intermediate) -> Bounds:
        """As the checker bounds leaves (``checker.split_tree.leaf_bounds``)."""
        root = self.root.take(some.samples)
        known = [(box.lower, box.upper) for box in root.boxes]
        shape = root.boxes[0].lower.shape
        known[0] = (some.lower.reshape(shape), some.upper.reshape(shape))
        bounds = self._batch.trusted.bounds(root.boxes[0], intermediate, known)
        return Bounds(bounds.boxes, bounds.sound & root.sound, bounds.empty)

    def _look_ahead(self, parts: _Open) -> Array:
        """How good it would be to halve each input, shape ``(P, inputs)``.

        Both halves are bounded the cheap way, over intermediate bounds by intervals. First counts
        how many of them are closed then, next what their bounds lack; where these say nothing, how
        wide the relaxations are.
        """
        middle = _middle(parts)
        closed, lacking, gaps = (np.full(middle.shape, np.inf) for _ in range(3))
        for number in np.flatnonzero(self._varying).tolist():
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
        self, parts: _Open, number: int, middle: npt.NDArray[np.float32], below: bool
    ) -> tuple[Array, Array]:
        """The bound of one half of every part, and how wide its relaxations are in all."""
        ends = parts.lower.copy(), parts.upper.copy()
        ends[1 if below else 0][:, number] = middle[:, number]
        half = replace(parts, lower=ends[0], upper=ends[1])
        bounds = self._bounded(half, Intermediate.INTERVAL)
        lower = self._lower(bounds)
        if len(self._batch.trusted.neurons) == 1:
            lower = np.maximum(lower, self._lower(bounds, self._flat_slopes(bounds)))
        gap = np.zeros(len(lower))
        for value in self._batch.trusted.neurons:
            box = bounds.boxes[value]
            low, high = np.minimum(box.lower, 0.0), np.maximum(box.upper, 0.0)
            wide = np.where(high > low, high - low, 1.0)
            gap += (-low * high / wide).reshape(len(gap), -1).sum(axis=1)
        return np.where(bounds.empty, np.inf, lower), gap

    def _refute(self, parts: _Open) -> None:
        """Descend a few steps from every part's centre, within the part."""
        shape = (-1, *self._batch.box.shape)
        box = Box(parts.lower.reshape(shape), parts.upper.reshape(shape))
        centres = np.clip((box.lower + box.upper) / 2, box.lower, box.upper).astype(np.float32)
        batch = replace(self._batch.take(parts.samples), box=box)
        points = descended(batch, centres, _DOWN)
        session = self._batch.artifact.session
        whole = self._batch.box[parts.samples]
        found = session.replay(points, whole, self._batch.property_, "branch and bound")
        for sample, witness in zip(parts.samples.tolist(), found, strict=True):
            if witness is not None:
                self._give_up(sample, Refuted(witness))

    def _halved(self, parts: _Open, scores: Array) -> _Open:
        """Both halves of every part that may be cut."""
        middle = _middle(parts)
        inside = (parts.lower < middle) & (middle < parts.upper)
        numbers = np.where(inside, scores, -np.inf).argmax(axis=1)
        chosen = np.arange(len(numbers))
        for position in np.flatnonzero(~inside[chosen, numbers]).tolist():
            detail = "a part of a single input stays open"
            self._give_up(int(parts.samples[position]), Undecided(Reason.TOO_LOOSE, detail))
        kept = []
        for position, sample in enumerate(parts.samples.tolist()):
            full = self._leaves[sample] >= self._most_leaves
            if full or parts.depths[position] >= DEEPEST_TREE:
                self._give_up(sample, Undecided(Reason.BUDGET, self._progress(sample)))
            if self.verdicts[sample] is None:
                self._leaves[sample] += 1
                kept.append(position)
        rows = np.array(kept, dtype=np.intp)
        parts, numbers, middle = parts.take(rows), numbers[rows], middle[rows]
        first = len(self._halves)
        chosen = np.arange(len(rows))
        thresholds = middle[chosen, numbers]
        for i, node in enumerate(parts.nodes.tolist()):
            self._cuts[node] = (int(numbers[i]), float(thresholds[i]))
            self._halves[node] = first + 2 * i
        self._cuts += [(0, 0.0)] * (2 * len(rows))
        self._halves += [0] * (2 * len(rows))
        below = replace(parts, nodes=first + 2 * chosen, depths=parts.depths + 1)
        above = replace(below, nodes=below.nodes + 1, lower=parts.lower.copy())
        below.upper = parts.upper.copy()
        below.upper[chosen, numbers] = thresholds
        above.lower[chosen, numbers] = thresholds
        return below.with_more(above)


def _middle(parts: _Open) -> npt.NDArray[np.float32]:
    """Of every input of every part, shape ``(P, inputs)``."""
    return ((parts.lower.astype(np.float64) + parts.upper) / 2).astype(np.float32)
