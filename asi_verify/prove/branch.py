"""Branch and bound: regions are divided until every part is proved or one refutes.

A part is bounded by the torch twin with slopes and split multipliers of its own (Wang et al. 2021),
all open parts of all samples at once. It is divided at the phase whose relaxation costs most, or,
if there are few inputs, at the input that the bound depends on most. Where no phase is open the
network is affine and a linear programme has the last word. The evidence is the split tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import BackwardTwin, Optimised
from asi_verify.checker.split_tree import leaf_bounds, margins_over
from asi_verify.checker.trusted import Bounds
from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.evidence import Intermediate, TreeEvidence
from asi_verify.core.limits import DEEPEST_TREE, LARGEST_TREE
from asi_verify.core.split_tree import (
    LEAF,
    NODE,
    PHASE,
    THRESHOLD,
    Cut,
    Slopes,
    SplitTree,
)
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict
from asi_verify.prove.farkas import multipliers_for
from asi_verify.prove.stage import Batch, Stage, StageResult
from asi_verify.prove.twins import boxes_for, coarse, open_slopes, twin_for

__all__ = ["Branch"]

_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 24
"""Of all values and rows of the parts that are bounded at once; the optimiser keeps some thirty."""


@dataclass(eq=False)
class _Part:
    """A node of one sample's tree.

    Attributes:
        sample: whose region it is a part of.
        cuts: how it is reached.
        slopes: shape ``(R, neurons)``, in the end NaN where the canonical rule holds.
        multipliers: shape ``(R, neurons)``.
        divided: the parts below and above its own cut.
    """

    sample: int
    cuts: tuple[Cut, ...]
    slopes: npt.NDArray[np.float32] | None = None
    multipliers: npt.NDArray[np.float32] | None = None
    divided: tuple[_Part, _Part] | None = None

    def divide(self, kind: int, number: int, threshold: float) -> list[_Part]:
        """Cut it in two; both begin with what was found for the whole."""
        below, above = (
            _Part(
                self.sample,
                (*self.cuts, Cut(kind, number, sign, threshold)),
                self.slopes,
                self.multipliers,
            )
            for sign in (-1, 1)
        )
        self.divided = (below, above)
        return [below, above]

    def nodes(self) -> Iterator[_Part]:
        """This part and all below it, in preorder."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            if part.divided:
                waiting += reversed(part.divided)


@dataclass(frozen=True)
class Branch(Stage):
    """Branch and bound with evidence that the checker accepts by itself.

    Attributes:
        most_leaves: of one sample's tree; a budget, small because every sample of a data set that
            no cheaper stage settles comes here.
        steps: of the optimiser, for each part.
        few_inputs: up to so many, inputs are cut instead of phases.
        device: where the twin computes.
    """

    most_leaves: int = 16
    steps: int = 20
    few_inputs: int = 16
    device: str = "cpu"
    name: str = "branch"

    def attempt(self, batch: Batch) -> StageResult:
        twin = twin_for(batch.artifact.network, self.device)
        if twin is None or batch.reach is not None:  # it optimises over boxes
            return StageResult((None,) * len(batch))
        verdicts: list[Verdict | None] = []
        parts: dict[str, bytes] = {}
        for some in batch.trusted.batches(len(batch)):
            search = _Search(self, batch.take(np.arange(len(batch))[some]), twin)
            search.run()
            found, trees = search.results()
            verdicts += found
            parts.update(trees)
        return StageResult(tuple(verdicts), verdicts.count(None), parts)


class _Search:
    """The search over some samples at once."""

    def __init__(self, stage: Branch, batch: Batch, twin: BackwardTwin) -> None:
        self._stage, self._batch, self._twin = stage, batch, twin
        self._rows = batch.property_.rows()
        self._root = batch.trusted.bounds(batch.box, Intermediate.BACKWARD)
        self._cuts_inputs = int(np.prod(batch.box.shape)) <= stage.few_inputs
        self._trees = [_Part(sample, ()) for sample in range(len(batch))]
        self._leaves = [1] * len(batch)
        self._verdicts: list[Verdict | None] = [None] * len(batch)
        values = sum(int(np.prod(shape)) for shape in batch.artifact.network.shapes)
        most = _NUMBERS_AT_ONCE // (values * len(self._rows))
        self._at_once = max(1, min(_AT_ONCE, most))
        self._neurons = max(numbers.stop for numbers in batch.trusted.neurons.values())

    def run(self) -> None:
        """Divide until nothing is open."""
        waiting = list(self._trees)
        while waiting:
            now, waiting = waiting[: self._at_once], waiting[self._at_once :]
            now = [part for part in now if self._verdicts[part.sample] is None]
            if now:
                waiting += self._round(now)

    def results(self) -> tuple[list[Verdict | None], dict[str, bytes]]:
        """A verdict for each sample, None if its tree is declined; and the trees of the proved."""
        trees: dict[int, bytes] = {}
        for sample, root in enumerate(self._trees):
            if self._verdicts[sample] is None:
                data = self._tree(root).to_bytes()
                if len(data) > LARGEST_TREE:
                    large = Undecided(Reason.BUDGET, f"a split tree of {len(data)} bytes")
                    self._verdicts[sample] = large
                else:
                    trees[sample] = data
        margins = margins_over(
            self._batch.trusted,
            self._root.take(np.array(list(trees), dtype=np.intp)),
            self._batch.property_,
            Intermediate.BACKWARD,
            [SplitTree.from_bytes(data) for data in trees.values()],
        )
        parts: dict[str, bytes] = {}
        for (sample, data), margin in zip(trees.items(), margins, strict=True):
            if margin > 0:
                evidence = TreeEvidence(Intermediate.BACKWARD, bytes_digest(data))
                self._verdicts[sample], parts[evidence.tree] = Proved(evidence), data
        return self._verdicts, parts

    def _round(self, now: Sequence[_Part]) -> list[_Part]:
        """Bound some parts and divide those that stay open."""
        owners = np.array([part.sample for part in now], dtype=np.intp)
        again = Intermediate.BACKWARD if self._cuts_inputs else Intermediate.INTERVAL
        bounds = self._root.take(owners)
        if any(part.cuts for part in now):
            paths = [part.cuts for part in now]
            bounds = leaf_bounds(self._batch.trusted, bounds, paths, again)
        best = self._optimised(now, bounds)
        advice = open_slopes(self._batch.trusted, bounds, best.slopes, LARGEST_TREE)
        self._refute(owners, bounds, best)
        opened: list[_Part] = []
        for i, part in enumerate(now):
            part.slopes, part.multipliers = advice[i], coarse(best.multipliers[i])
            if not bounds.sound[i]:
                self._give_up(part, Undecided(Reason.TOO_LARGE, "bounds leave their range"))
            done = bounds.empty[i] or bool((best.lower[i] > 0).all())
            if not done and self._verdicts[part.sample] is None:
                opened += self._divided(part, bounds.take(slice(i, i + 1)), i, best)
        return opened

    def _optimised(self, now: Sequence[_Part], bounds: Bounds) -> Optimised:
        signs = np.zeros((len(now), self._neurons), np.int8)
        for i, part in enumerate(now):
            for cut in part.cuts:
                if cut.kind == PHASE:
                    signs[i, cut.number] = cut.sign
        nothing = np.full((len(self._rows), self._neurons), np.nan, np.float32)
        zero = np.zeros_like(nothing)
        return self._twin.optimised(
            boxes_for(self._twin, bounds),
            self._rows,
            self._stage.steps,
            signs=signs,
            slopes=np.stack([nothing if p.slopes is None else p.slopes for p in now]),
            multipliers=np.stack([zero if p.multipliers is None else p.multipliers for p in now]),
        )

    def _refute(self, owners: npt.NDArray[np.intp], bounds: Bounds, best: Optimised) -> None:
        """Try the input at which each part's worst row is bounded lowest."""
        worst = best.lower.argmin(axis=1)
        coefficients = best.coefficients[np.arange(len(owners)), worst]
        box = bounds.boxes[0]
        points = np.where(coefficients.reshape(box.lower.shape) > 0, box.lower, box.upper)
        self._replay(owners, points)

    def _replay(self, owners: npt.NDArray[np.intp], points: npt.NDArray[np.floating]) -> None:
        box = self._batch.box[owners]
        inside = np.clip(points.astype(np.float32), box.lower, box.upper)
        session = self._batch.artifact.session
        witnesses = session.replay(inside, box, self._batch.property_, "branch and bound")
        for sample, witness in zip(owners.tolist(), witnesses, strict=True):
            if witness is not None:
                self._verdicts[sample] = Refuted(witness)

    def _divided(self, part: _Part, bounds: Bounds, i: int, best: Optimised) -> list[_Part]:
        """The two parts of a part; none if it is settled, or if the budget is used up."""
        if self._leaves[part.sample] >= self._stage.most_leaves or len(part.cuts) >= DEEPEST_TREE:
            leaves = self._leaves[part.sample]
            self._give_up(part, Undecided(Reason.BUDGET, f"branch and bound: {leaves} parts"))
            return []
        costs = best.costs[i]
        if self._cuts_inputs:
            lower, upper = (
                end.reshape(-1) for end in (bounds.boxes[0].lower, bounds.boxes[0].upper)
            )
            reach = np.abs(best.coefficients[i]).sum(axis=0) * (upper - lower)
            number = int(reach.argmax())
            middle = float(np.float32((lower[number] + upper[number]) / 2))
            if lower[number] < middle < upper[number]:
                self._leaves[part.sample] += 1
                return part.divide(THRESHOLD, number, middle)
        if costs.max() > 0:
            self._leaves[part.sample] += 1
            return part.divide(PHASE, int(costs.argmax()), 0.0)
        self._solve(part, bounds, best.lower[i])
        return []

    def _solve(self, part: _Part, bounds: Bounds, lower: npt.NDArray[np.float32]) -> None:
        """No phase is open: the network is affine, and a linear programme is exact."""
        cuts = [cut for cut in part.cuts if cut.kind == PHASE]
        boxes = boxes_for(self._twin, bounds)
        phases = [self._phase(boxes, cut) for cut in cuts]
        size = int(np.prod(self._batch.box.shape))
        a = np.array([p for p, _ in phases]).reshape(len(cuts), size)
        b = np.array([c for _, c in phases])
        box = bounds.boxes[0]
        ends = box.lower.reshape(-1).astype(np.float64), box.upper.reshape(-1).astype(np.float64)
        output = self._batch.artifact.network.output
        rows, constants = self._twin.affine(boxes, output, self._rows)
        assert part.multipliers is not None
        for r in np.flatnonzero(~(lower > 0)):
            found = multipliers_for(rows[r].astype(np.float64), constants[r], a, b, *ends)
            if found is None:
                self._give_up(part, Undecided(Reason.TOO_LOOSE, "the linear programme failed"))
                return
            for cut, multiplier in zip(cuts, found.multipliers, strict=True):
                part.multipliers[r, cut.number] = multiplier
            if found.point is not None and not rows[r] @ found.point + constants[r] > 0:
                self._replay(np.array([part.sample]), found.point.reshape(1, *box.shape))
                detail = "the linear programme of a part has a point that float32 does not confirm"
                self._give_up(part, Undecided(Reason.TOO_LOOSE, detail))
                return

    def _phase(self, boxes: dict[int, Box], cut: Cut) -> tuple[npt.NDArray[np.float64], float]:
        """A known phase as an affine function of the input that is not negative."""
        for value, numbers in self._batch.trusted.neurons.items():
            if numbers.start <= cut.number < numbers.stop:
                one = np.zeros((1, numbers.stop - numbers.start), np.float32)
                one[0, cut.number - numbers.start] = cut.sign
                coefficients, constants = self._twin.affine(boxes, value, one)
                return coefficients[0].astype(np.float64), float(constants[0])
        raise IndexError(cut.number)

    def _give_up(self, part: _Part, verdict: Undecided) -> None:
        if self._verdicts[part.sample] is None:
            self._verdicts[part.sample] = verdict

    def _tree(self, root: _Part) -> SplitTree:
        """The parts as evidence."""
        nodes, multipliers, slopes = [], [], []
        for part in root.nodes():
            if part.divided:
                cut = part.divided[0].cuts[-1]
                nodes.append((cut.kind, cut.number, cut.threshold))
                continue
            assert part.slopes is not None
            assert part.multipliers is not None
            slopes.append(Slopes.nearest(part.slopes))
            nodes.append((LEAF, len(slopes), 0.0))
            phases = [cut.number for cut in part.cuts if cut.kind == PHASE]
            multipliers.append(part.multipliers[:, phases])
        return SplitTree(
            len(self._rows),
            self._neurons,
            np.array(nodes, dtype=NODE),
            tuple(multipliers),
            tuple(slopes),
        )
