"""Branch and bound over the inputs: for queries in which few of them vary.

The trusted pass bounds the parts (``prove.input_parts``), many at once. The lowest bound comes
first, because a counterexample is most likely there. A part that stays open is cut in half across
the input whose halves are bounded best, over intermediate bounds by intervals: the look ahead costs
a fraction of one bound and saves, on the networks of ACAS Xu, nine bounds of ten that the size of
the bound's coefficients would ask for. The evidence is the split tree, twelve bytes a node.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.limits import DEEPEST_TREE
from asi_verify.core.split_tree import LEAF, NODE, THRESHOLD, Slopes, SplitTree
from asi_verify.core.verdict import Reason, Refuted, Undecided, Verdict
from asi_verify.prove.falsify import descended
from asi_verify.prove.input_parts import Examined, Examiner, InputParts, examined, middle_of
from asi_verify.prove.processes import portions, spread
from asi_verify.prove.stage import Batch, varying

__all__ = ["InputSearch"]

Array = npt.NDArray[np.float64]
_AT_ONCE = 1024
_MANY = 256
"""Parts that are worth being sent to other processes."""
_DOWN = 2
"""Steps of the descent from a part's centre."""


class InputSearch:
    """The search over some samples at once.

    Args:
        batch: the samples.
        most_leaves: of one sample's tree.
    """

    def __init__(self, batch: Batch, most_leaves: int) -> None:
        self._batch, self._most_leaves = batch, most_leaves
        self.root = batch.root_bounds(Intermediate.BACKWARD)
        self._examiner = Examiner(
            batch.trusted, batch.property_, self.root, varying(batch.box), batch.deadline
        )
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
        left = InputParts(
            everyone,
            everyone,
            np.zeros(samples, dtype=np.intp),
            np.zeros(samples),
            box.lower.reshape(samples, -1).astype(np.float32),
            box.upper.reshape(samples, -1).astype(np.float32),
        )
        while len(left):
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

    def _still_open(self, parts: InputParts) -> InputParts:
        settled = np.array([verdict is not None for verdict in self.verdicts])
        return parts.take(~settled[parts.samples]) if settled.any() else parts

    def _give_up(self, sample: int, verdict: Verdict) -> None:
        if self.verdicts[sample] is None:
            self.verdicts[sample] = verdict

    def _round(self, now: InputParts) -> InputParts:
        """Bound some parts, look for counterexamples in those that stay open, and cut them."""
        found = self._examined(now)
        if found is None:
            self._too_late(now)
            return now.take(np.zeros(0, dtype=np.intp))
        for sample in now.samples[~found.sound].tolist():
            self._give_up(sample, Undecided(Reason.TOO_LARGE, "bounds leave their range"))
        self._flat.update(now.nodes[found.by_flat].tolist())
        rest = np.flatnonzero(found.sound & ~found.closed)
        parts = replace(now.take(rest), bounds=found.lower[rest])
        if len(parts):
            self._refute(parts)
        return self._halved(parts, found.scores[rest])

    def _examined(self, parts: InputParts) -> Examined | None:
        """What is found of some parts; by several processes where there are many."""
        cores = self._batch.cores if len(parts) >= _MANY else 1
        jobs = [
            (self._examiner, parts.take(np.arange(len(parts))[some]))
            for some in portions(len(parts), cores, len(parts))
        ]
        with spread(examined, jobs, cores) as answers:
            found = [one for one in answers if one is not None]
        return Examined.joined(found) if len(found) == len(jobs) else None

    def _too_late(self, parts: InputParts) -> None:
        for sample in set(parts.samples.tolist()):
            self._give_up(sample, Undecided(Reason.DEADLINE, self._progress(sample)))

    def _refute(self, parts: InputParts) -> None:
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

    def _halved(self, parts: InputParts, scores: Array) -> InputParts:
        """Both halves of every part that may be cut."""
        middle = middle_of(parts)
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
