"""Branch and bound over the phases of ReLUs.

A part is bounded by the torch twin with slopes and split multipliers of its own (Wang et al. 2021),
many open parts at once, over what is left of the network on their region (``prove.part_bounds``).
What the twin closes the trusted pass has to close too, or the part stays open. A clause of several
rows is bounded by their weighted sum too, with weights of the part's own: each row may fail
somewhere on a part on which they never fail together. A part with few open phases may be handed to
a search that goes through their patterns (``prove.conflicts``); the tree that it comes back with
takes the part's place. Any other part is divided at one of the phases whose relaxations cost most:
at the one whose two halves, bounded with the slopes and multipliers of the whole, are best (Bunel
et al. 2020). Where no phase is open the network is affine and a linear programme has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import BackwardTwin, Optimised
from asi_verify.checker.relu import open_phases
from asi_verify.checker.split_tree import leaf_bounds
from asi_verify.checker.trusted import Advice, Bounds
from asi_verify.core.box import Box
from asi_verify.core.evidence import Intermediate
from asi_verify.core.limits import DEEPEST_TREE
from asi_verify.core.properties import Property
from asi_verify.core.split_tree import LEAF, NODE, PHASE, Cut, Slopes, SplitTree
from asi_verify.core.verdict import Reason, Refuted, Undecided, Verdict
from asi_verify.prove.conflicts import ConflictTree, Pattern, searched
from asi_verify.prove.falsify import descended
from asi_verify.prove.farkas import balanced, multipliers_for
from asi_verify.prove.part_bounds import Asked, PartBounds
from asi_verify.prove.processes import spread
from asi_verify.prove.relaxed_programme import Phases, Proof, RelaxedProgramme
from asi_verify.prove.stage import Batch
from asi_verify.prove.twins import boxes_for, by_value, coarse, twin_for

__all__ = ["CLEAR", "PhaseSearch"]

Array = npt.NDArray[np.float32]
Weights = npt.NDArray[np.uint8]
_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 20
"""Of all values and rows of the parts that are bounded at once: few enough that a round takes a
few seconds and a deadline is kept."""
_DOWN = 3
"""Steps of the descent from where a part is bounded lowest."""
CLEAR = 1e-9
"""A part is closed above this: another batch, in which sums are ordered otherwise, closes it too.
The trusted pass works in float64, where bounds of order 1 differ by some 1e-14 then."""
_WEIGHINGS = 6
"""Times that a weight is doubled or halved at the root; below it once for each part."""
_LARGEST_WEIGHT = 128
_STEPS_BELOW = 8
"""Of the optimiser, for a part of a region: it begins with what was found for its whole. With 20
trees of an ordinary CNN are a twentieth smaller, and take longer."""
_CANDIDATES = 4
"""Phases of which one is chosen by bounding both halves: where the product of what they gain is
largest, as mixed integer programming does it (Achterberg 2007). A sum would prefer phases of which
one half closes and the other gains nothing, and make chains. Four are taken of those that may cost
most, which are mostly late ones, and four of those that do where the bound is lowest, mostly early
ones: each kind alone makes trees several times as large on some images of an ordinary CNN. So does
the product alone where it compares the kinds, ..."""
_TRIAL_STEPS = 2
"""... which is why the best of either are compared again after some steps of the optimiser: what a
late phase gains shows when slopes and multipliers follow. One step is too few; three take longer
and make trees no smaller."""
_SHARE = 0.1
"""Of what a phase may cost, added to what it does where the bound is lowest: several inputs may be
nearly as low."""
_PROGRAMMES = 1024
"""Linear programmes that the patterns of one part may take, and ..."""
_MOST_TERMS = 20_000
"""... how many coefficients these may have, as many as the SMT stage takes: milliseconds each."""
_MOST_NUMBERS = 1 << 22
"""That are computed to write them down."""
_MANY = 32
"""Parts for each process, so that a round is worth the way; a round takes some 0.3 s, and ..."""
_ROUNDS = 8
"""... after so many the parts are shared out again, for some processes are done before others."""
_LEAST = 1e-3
"""What a half gains at least, as a share of what its whole lacks: a product with 0 says nothing."""

_BEYOND = Undecided(Reason.TOO_LARGE, "bounds leave their range")


@dataclass(eq=False)
class _Part:
    """A node of one sample's tree.

    Attributes:
        sample: whose region it is a part of.
        cuts: how it is reached.
        lower: of the property over the part that it is a half of.
        slopes: of each row, and the weights of clauses' sums; shared by all parts that use the
            same, None for the canonical ones and no sums.
        multipliers: shape ``(R, cuts)``, of the phases on the path in their order.
        short: by how much the trusted pass fell short of the twin on the whole that it is a half
            of, shape ``(R,)``: mostly the rounding that it allows for.
        searched: whether its patterns, or those of a part that it is of, were gone through in vain.
        divided: the parts below and above its own cut.
    """

    sample: int
    cuts: tuple[Cut, ...]
    lower: float
    slopes: Slopes | None
    multipliers: Array
    short: npt.NDArray[np.float64]
    searched: bool = False
    divided: tuple[_Part, _Part] | None = None

    def divide(self, number: int, lower: float) -> list[_Part]:
        """Cut it in two; both begin with what was found for the whole."""
        none = np.zeros((len(self.multipliers), 1), np.float32)
        multipliers = np.concatenate([self.multipliers, none], axis=1)
        below, above = (
            _Part(
                self.sample,
                (*self.cuts, Cut(PHASE, number, sign, 0.0)),
                lower,
                self.slopes,
                multipliers,
                self.short,
                self.searched,
            )
            for sign in (-1, 1)
        )
        self.divided = (below, above)
        return [below, above]

    def become(self, other: _Part) -> None:
        """What another process made of this part."""
        vars(self).update(vars(other))

    def nodes(self) -> Iterator[_Part]:
        """This part and all below it, in preorder."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            if part.divided:
                waiting += reversed(part.divided)


class PhaseSearch:
    """The search over some samples at once.

    Args:
        batch: the samples.
        twin: of their network.
        most_leaves: of one sample's tree.
        steps: of the optimiser, for a whole region; for a part of one fewer.
        solve_leaves: the patterns of parts with up to so many open phases are gone through.
        root: the bounds over the whole regions, where they are known.

    Attributes:
        verdicts: of each sample; None where its tree is whole.
        declined: leaves of such searches that the trusted pass did not close.
    """

    def __init__(
        self,
        batch: Batch,
        twin: BackwardTwin,
        most_leaves: int,
        steps: int,
        solve_leaves: int = 0,
        root: Bounds | None = None,
    ) -> None:
        self._batch, self._twin = batch, twin
        self._most_leaves, self._steps = most_leaves, steps
        self._solve_leaves, self.declined = solve_leaves, 0
        self._property = batch.property_.summed()
        self._rows = self._property.rows()
        self.root = batch.root_bounds(Intermediate.BACKWARD) if root is None else root
        self._whole = PartBounds.over(twin, self.root)
        self._own: dict[int, PartBounds] = {}
        self._neurons = max(numbers.stop for numbers in batch.trusted.neurons.values())
        none = np.zeros((len(self._rows), 0), np.float32)
        exact = np.zeros(len(self._rows))
        self._trees = [_Part(sample, (), 0.0, None, none, exact) for sample in range(len(batch))]
        self._leaves = [1] * len(batch)
        self.verdicts: list[Verdict | None] = [None] * len(batch)
        values = sum(int(np.prod(shape)) for shape in batch.artifact.network.shapes)
        most = _NUMBERS_AT_ONCE // (values * len(self._rows))
        self._at_once = max(1, min(_AT_ONCE, most))
        self._sums = _Sums.of(batch.property_)
        for sample in np.flatnonzero(~self.root.sound).tolist():
            self._give_up(sample, _BEYOND)

    def run(self) -> None:
        """Divide until nothing is open."""
        waiting = [part for part in self._trees if self.verdicts[part.sample] is None]
        while waiting:
            if self._batch.is_late():
                for sample in {part.sample for part in waiting}:
                    self._give_up(sample, Undecided(Reason.DEADLINE, self._progress(sample)))
                return
            if self._batch.cores > 1 and len(waiting) >= _MANY * self._batch.cores:
                waiting = self._shared(waiting)
            else:
                waiting = self._next(waiting)

    def _next(self, waiting: list[_Part]) -> list[_Part]:
        """What waits after one round."""
        # Depth first, so that few parts wait; of those of one depth the worst.
        now, rest = waiting[-self._at_once :], waiting[: -self._at_once]
        rest += sorted(self._round(now), key=lambda part: -part.lower)
        return [part for part in rest if self.verdicts[part.sample] is None]

    def _shared(self, waiting: list[_Part]) -> list[_Part]:
        """What waits after some rounds of every other process with parts of its own."""
        cores = self._batch.cores
        most = cores * self._at_once
        now, rest = waiting[-most:], waiting[:-most]
        shares = [now[start::cores] for start in range(cores)]
        settings = self._most_leaves, self._steps, self._solve_leaves
        batch = replace(self._batch, cores=1)
        so_far = tuple(self._leaves)
        jobs = (
            _Share(batch, self._twin.device, self.root, *settings, so_far, some) for some in shares
        )
        opened: list[_Part] = []
        settled: list[tuple[int, Verdict]] = []
        with spread(_searched, jobs, cores) as answers:
            for share, done in zip(shares, answers, strict=True):
                sent = {id(copy): part for part, copy in zip(share, done.parts, strict=True)}
                for part, copy in zip(share, done.parts, strict=True):
                    part.become(copy)
                opened += [sent.get(id(part), part) for part in done.waiting]
                self.declined += done.declined
                for sample, (verdict, more) in enumerate(
                    zip(done.verdicts, done.more, strict=True)
                ):
                    self._leaves[sample] += more
                    settled += [] if verdict is None else [(sample, verdict)]
        # A counterexample before whatever made another process give up.
        for sample, verdict in sorted(settled, key=lambda one: not isinstance(one[1], Refuted)):
            self._give_up(sample, verdict)
        for sample, leaves in enumerate(self._leaves):
            if leaves > self._most_leaves:
                self._give_up(sample, Undecided(Reason.BUDGET, self._progress(sample)))
        rest += sorted(opened, key=lambda part: -part.lower)
        return [part for part in rest if self.verdicts[part.sample] is None]

    def rounds(self, parts: list[_Part], leaves: Sequence[int]) -> _Done:
        """Some rounds with parts of another process's trees, which have so many leaves so far."""
        self._leaves = list(leaves)
        waiting = list(parts)
        for _ in range(_ROUNDS):
            if not waiting or self._batch.is_late():
                break
            waiting = self._next(waiting)
        more = [now - before for now, before in zip(self._leaves, leaves, strict=True)]
        return _Done(parts, waiting, self.verdicts, more, self.declined)

    def tree(self, sample: int) -> SplitTree:
        """A sample's parts as evidence."""
        nodes, multipliers = [], []
        numbers: dict[tuple[bytes, ...], int] = {}
        slopes: list[Slopes] = []
        for part in self._trees[sample].nodes():
            if part.divided:
                nodes.append((PHASE, part.divided[0].cuts[-1].number, 0.0))
                continue
            number = 0
            if part.slopes is not None:
                key = tuple(array.tobytes() for array in vars(part.slopes).values())
                if key not in numbers:
                    slopes.append(part.slopes)
                    numbers[key] = len(slopes)
                number = numbers[key]
            nodes.append((LEAF, number, 0.0))
            multipliers.append(part.multipliers)
        return SplitTree(
            len(self._rows),
            self._neurons,
            np.array(nodes, dtype=NODE),
            tuple(multipliers),
            tuple(slopes),
        )

    def _progress(self, sample: int) -> str:
        return f"branch and bound: {self._leaves[sample]} parts"

    def _give_up(self, sample: int, verdict: Verdict) -> None:
        if self.verdicts[sample] is None:
            self.verdicts[sample] = verdict

    def _round(self, now: list[_Part]) -> list[_Part]:
        """Bound some parts and divide those that stay open."""
        halves = []
        for own, some in self._by_region(now):
            # What the slopes and multipliers of the whole close needs none of its own.
            lower = own.lower(self._asked(own, some, self._weights(some)))
            left = self._left_open(some, lower)
            if left:
                halves += self._climbed(own, [some[i] for i in left])
        return halves

    def _by_region(self, parts: list[_Part]) -> Iterator[tuple[PartBounds, list[_Part]]]:
        """Whole regions together; the parts of one by themselves, with its own bounds."""
        whole = [part for part in parts if not part.cuts]
        if whole:
            yield self._whole, whole
        for sample in sorted({part.sample for part in parts if part.cuts}):
            if sample not in self._own:
                self._own[sample] = self._whole.of_one(sample, self._batch.artifact.network)
            yield (
                self._own[sample],
                [part for part in parts if part.cuts and part.sample == sample],
            )

    def _climbed(self, own: PartBounds, now: list[_Part]) -> list[_Part]:
        """Optimise slopes and multipliers of parts and divide those that stay open."""
        weights = self._weighed(own, now)
        asked = self._asked(own, now, weights)
        steps = min(self._steps, _STEPS_BELOW) if now[0].cuts else self._steps
        best = own.optimised(asked, steps)
        slopes = own.own_slopes(asked, best.slopes)
        for i, part in enumerate(now):
            dense = np.full((len(self._rows), self._neurons), np.nan, np.float32)
            dense[:, own.numbers] = slopes[i]
            part.slopes = Slopes.nearest(dense, weights[i])
            part.multipliers = coarse(best.multipliers[i][:, own.columns(part.cuts)])
        left = self._left_open(now, best.lower)
        if not left:
            return []
        now, best = [now[i] for i in left], best.take(np.array(left, dtype=np.intp))
        self._refute(now, best)
        return self._divided(own, now, best)

    def _left_open(self, parts: Sequence[_Part], lower: Array) -> list[int]:
        """Which parts the trusted pass does not close; it is asked of those that the twin closes.

        Args:
            parts: which.
            lower: the twin's bounds of their rows.
        """
        asked = np.flatnonzero(self._property.overall(lower.astype(np.float64)) > CLEAR)
        closed = np.zeros(len(parts), np.bool_)
        if len(asked):
            some = [parts[i] for i in asked.tolist()]
            bounds = self._bounded(some)
            for i in np.flatnonzero(~bounds.sound).tolist():
                self._give_up(some[i].sample, _BEYOND)
            values = self._values(some, bounds)
            closed[asked] = self._closed(values, bounds)
            for part, promised, kept in zip(some, lower[asked], values, strict=True):
                lost = np.where(np.isfinite(kept), promised - kept, 0.0)
                part.short = np.maximum(part.short + lost, 0.0)
        return [
            i for i in np.flatnonzero(~closed).tolist() if self.verdicts[parts[i].sample] is None
        ]

    def _bounded(self, parts: Sequence[_Part]) -> Bounds:
        owners = np.array([part.sample for part in parts], dtype=np.intp)
        bounds = self.root.take(owners)
        if not any(part.cuts for part in parts):
            return bounds
        paths = [part.cuts for part in parts]
        return leaf_bounds(self._batch.trusted, bounds, paths, Intermediate.INTERVAL)

    def _closed(self, values: npt.NDArray[np.float64], bounds: Bounds) -> npt.NDArray[np.bool_]:
        """Which parts the trusted pass closes, given its bounds of their rows."""
        lower = self._property.overall(values)
        return np.asarray(bounds.sound & (bounds.empty | (lower > CLEAR)))

    def _values(self, parts: Sequence[_Part], bounds: Bounds) -> npt.NDArray[np.float64]:
        """The trusted pass's bounds of each part's rows with what the part has."""
        shape = (len(parts), len(self._rows), self._neurons)
        slopes, multipliers = np.full(shape, np.nan), np.zeros(shape)
        for i, part in enumerate(parts):
            if part.slopes is not None:
                slopes[i] = part.slopes.dense()
            for column, cut in enumerate(part.cuts):
                multipliers[i, :, cut.number] -= cut.sign * part.multipliers[:, column]
        trusted = self._batch.trusted
        values = np.empty(shape[:2])
        for weights, some in _alike(self._weights(parts)):
            advice = Advice(by_value(trusted, slopes[some]), by_value(trusted, multipliers[some]))
            wanted = self._batch.property_.summed(weights)
            values[some] = trusted.rows(bounds.take(some), wanted, to_input=True, advice=advice)
        return values

    def _overall(self, values: npt.NDArray[Any], weights: Weights) -> npt.NDArray[np.float64]:
        """The property's bounds, sums counted as means: by how much is lacking, not by sign."""
        scaled = values.astype(np.float64)
        scaled[:, self._sums.rows] /= np.maximum(weights.astype(np.intp) @ self._sums.terms, 1)
        return self._property.overall(scaled)

    def _weights(self, parts: Sequence[_Part]) -> Weights:
        """Of the rows in their clauses' sums, shape ``(L, R)``."""
        weights = np.zeros((len(parts), len(self._rows)), np.uint8)
        for i, part in enumerate(parts):
            if part.slopes is not None:
                weights[i] = part.slopes.weights
        return weights

    def _weighed(self, own: PartBounds, parts: Sequence[_Part]) -> Weights:
        """The parts' weights, or better ones: one doubled or halved; at the root several."""
        weights = self._weights(parts)
        if not len(self._sums.rows):
            return weights
        fresh = np.asarray(~weights.any(axis=1))
        is_term = np.asarray(self._sums.terms.any(axis=1))
        weights[fresh[:, None] & is_term] = 1
        for time in range(_WEIGHINGS if bool(fresh.any()) else 1):
            trials = [weights]
            for term in np.flatnonzero(is_term):
                old = weights[:, term]
                for new in (np.minimum(old, _LARGEST_WEIGHT // 2) * 2, np.maximum(old // 2, 1)):
                    trial = weights.copy()
                    trial[:, term] = new
                    trials.append(trial)
            found = [own.lower(self._asked(own, parts, trial)) for trial in trials]
            pairs = zip(found, trials, strict=True)
            best = np.argmax([self._overall(lower, trial) for lower, trial in pairs], axis=0)
            # What else is in the batch changes nothing for a part.
            best = np.where(fresh | (time == 0), best, 0)
            weights = np.stack(trials)[best, np.arange(len(parts))]
        return weights

    def _asked(self, own: PartBounds, parts: Sequence[_Part], weights: Weights) -> Asked:
        """Rows of parts and what is known of them, as the twin takes it."""
        shape = (len(parts), len(self._rows), len(own.numbers))
        phases = np.zeros((len(parts), shape[2]), np.int8)
        slopes, multipliers = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
        for i, part in enumerate(parts):
            columns = own.columns(part.cuts)
            phases[i, columns] = [cut.sign for cut in part.cuts]
            multipliers[i][:, columns] = part.multipliers
            if part.slopes is not None:
                slopes[i] = part.slopes.dense()[:, own.numbers]
        rows = np.empty((*shape[:2], self._rows.shape[1]))
        constants = np.empty(shape[:2])
        for given, some in _alike(weights):
            wanted = self._batch.property_.summed(given)
            rows[some], constants[some] = wanted.rows(), wanted.constants()
        constants -= np.stack([part.short for part in parts])
        owners = np.array([part.sample for part in parts], dtype=np.intp)
        return Asked(owners, phases, rows, constants, slopes, multipliers)

    def _refute(self, parts: Sequence[_Part], best: Optimised) -> None:
        """Descend from the inputs at which the parts' worst rows are bounded lowest."""
        lower = best.lower.astype(np.float64)
        overall = self._property.overall(lower)
        worst = np.abs(lower - overall[:, None]).argmin(axis=1)
        coefficients = best.coefficients[np.arange(len(parts)), worst]
        owners = np.array([part.sample for part in parts], dtype=np.intp)
        box = self._batch.box[owners]
        corners = np.where(coefficients.reshape(box.lower.shape) > 0, box.lower, box.upper)
        corners = corners.astype(np.float32)
        self._replay(owners, corners)
        self._replay(owners, descended(self._batch.take(owners), corners, _DOWN))

    def _replay(self, owners: npt.NDArray[np.intp], points: npt.NDArray[np.floating]) -> None:
        box = self._batch.box[owners]
        inside = np.clip(points.astype(np.float32), box.lower, box.upper)
        session = self._batch.artifact.session
        witnesses = session.replay(inside, box, self._batch.property_, "branch and bound")
        for sample, witness in zip(owners.tolist(), witnesses, strict=True):
            if witness is not None:
                self._give_up(sample, Refuted(witness))

    def _divided(self, own: PartBounds, parts: Sequence[_Part], best: Optimised) -> list[_Part]:
        """The halves of parts; none of one that is settled, or whose budget is used up."""
        overall = self._overall(best.lower, self._weights(parts))
        numbers = self._chosen(own, parts, best, overall)
        halves: list[_Part] = []
        for i, part in enumerate(parts):
            full = self._leaves[part.sample] >= self._most_leaves
            if self.verdicts[part.sample] is not None:
                continue
            if overall[i] > CLEAR:
                # The twin closes it and the trusted pass does not: the twin now promises less.
                halves.append(part)
            elif best.costs[i].max() <= 0:
                self._solve(part, self._bounded([part]), best.lower[i])
            elif (left := self._patterns(part)) is not None:
                halves += left
            elif full or len(part.cuts) >= DEEPEST_TREE:
                self._give_up(part.sample, Undecided(Reason.BUDGET, self._progress(part.sample)))
            else:
                self._leaves[part.sample] += 1
                halves += part.divide(int(numbers[i]), float(overall[i]))
        return halves

    def _chosen(
        self,
        own: PartBounds,
        parts: Sequence[_Part],
        best: Optimised,
        whole: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.intp]:
        """Of each part's costly phases, the one that is best to divide at.

        Args:
            own: the bounds over the parts.
            parts: which.
            best: what was found for them.
            whole: the property's bounds over them.
        """
        weights = self._weights(parts)
        asked = self._asked(own, parts, weights)
        rows, found = np.arange(len(parts)), []
        for costs in (best.costs, best.gaps + _SHARE * best.costs):
            some = np.argsort(-costs, axis=1, kind="stable")[:, :_CANDIDATES]
            scores = self._scores(own, asked, weights, some, whole)
            scores[np.take_along_axis(costs, some, axis=1) <= 0] = -np.inf
            found.append(some[rows, scores.argmax(axis=1)])
        chosen, other = found
        unsure = np.flatnonzero(chosen != other)
        if len(unsure):
            both = np.stack(found, axis=1)[unsure]
            tried = asked.take(unsure), weights[unsure], both, whole[unsure]
            first = self._scores(own, *tried, steps=_TRIAL_STEPS).argmax(axis=1)
            chosen[unsure] = both[np.arange(len(unsure)), first]
        return np.asarray(own.numbers[chosen])

    def _scores(
        self,
        own: PartBounds,
        asked: Asked,
        weights: Weights,
        neurons: npt.NDArray[np.intp],
        whole: npt.NDArray[np.float64],
        steps: int = 0,
    ) -> npt.NDArray[np.float64]:
        """The products of what both halves gain after some steps, of each part at each neuron."""
        halves = np.indices((*neurons.shape, 2)).reshape(3, -1)
        lower = np.empty(halves.shape[1])
        for start in range(0, len(lower), self._at_once):
            now = slice(start, start + self._at_once)
            part, column, side = halves[:, now]
            some = asked.take(part).divided(neurons[part, column], 2 * side - 1)
            found = own.optimised(some, steps).lower if steps else own.lower(some)
            lower[now] = self._overall(found, weights[part])
        gains = np.minimum(lower.reshape(*neurons.shape, 2), 0) - whole[:, None, None]
        least = _LEAST * np.abs(whole)[:, None, None]
        return np.asarray(np.maximum(gains, least).prod(axis=2))

    def _patterns(self, part: _Part) -> list[_Part] | None:
        """Go through the patterns of a part if there may be few.

        Returns:
            What stays open of the part; None if it does as a whole.
        """
        programme = None if part.searched else self._programme(part)
        if programme is None:
            return None
        part.searched = True
        start = self._phases(part)
        found = searched(programme, start[programme.neurons], _PROGRAMMES, self._batch.is_late)
        match found:
            case Pattern(point):
                self._replay(np.array([part.sample]), point.reshape(1, *self._batch.box.shape))
                return None if self.verdicts[part.sample] is None else []
            case ConflictTree() if len(part.cuts) + found.depth <= DEEPEST_TREE:
                leaves = self._grafted(part, programme, found)
                open_ = self._still_open(leaves)
                # What a conflict proves may be lost where slopes are rounded: a leaf decides more.
                for leaf in open_:
                    phases = self._phases(leaf)[programme.neurons]
                    self._advise(leaf, programme, self._proofs(programme, phases))
                open_ = self._still_open(open_)
                self.declined += len(open_)
                return open_
            case _:
                return None

    def _programme(self, part: _Part) -> RelaxedProgramme | None:
        """That of a part; None if it is too large, or too many phases are open."""
        if self._solve_leaves == 0:
            return None
        bounds = self._bounded([part])
        count = sum(int(open_phases(bounds.boxes[v]).sum()) for v in self._twin.relu_inputs)
        columns = count + len(part.cuts) + int(np.prod(self._batch.box.shape))
        values = sum(int(np.prod(shape)) for shape in self._batch.artifact.network.shapes)
        if columns * values > _MOST_NUMBERS:
            return None
        cuts = [cut.number for cut in part.cuts]
        root = self.root.take(slice(part.sample, part.sample + 1))
        programme = RelaxedProgramme(self._batch.trusted, bounds, self._batch.property_, cuts, root)
        own = np.setdiff1d(programme.neurons, cuts)
        few = len(own) <= self._solve_leaves and programme.terms <= _MOST_TERMS
        return programme if few else None

    def _grafted(
        self, part: _Part, programme: RelaxedProgramme, found: ConflictTree
    ) -> list[_Part]:
        """Divide a part as a tree says; every leaf has what its conflict proves."""
        proofs = [self._proofs(programme, conflict) for conflict in found.conflicts]
        leaves = []
        waiting, closed_by = [part], iter(found.closed_by)
        for place in found.nodes:
            current = waiting.pop()
            if place >= 0:
                waiting += reversed(current.divide(int(programme.neurons[place]), part.lower))
            else:
                self._advise(current, programme, proofs[next(closed_by)])
                leaves.append(current)
        return leaves

    def _advise(
        self, leaf: _Part, programme: RelaxedProgramme, proofs: tuple[Slopes, dict[int, Proof]]
    ) -> None:
        """Give a leaf what is proved of some of its phases."""
        leaf.slopes, of_rows = proofs
        # Not in place: halves begin with the same multipliers.
        leaf.multipliers = np.zeros_like(leaf.multipliers)
        phases = self._phases(leaf)[programme.neurons]
        dense = np.zeros(self._neurons)
        for row, proof in of_rows.items():
            dense[programme.neurons] = proof.multipliers_beyond(phases)
            leaf.multipliers[row] = dense[[cut.number for cut in leaf.cuts]]

    def _phases(self, part: _Part) -> npt.NDArray[np.int8]:
        """+1 or -1 where a part is cut, shape ``(neurons,)``."""
        phases = np.zeros(self._neurons, np.int8)
        phases[[cut.number for cut in part.cuts]] = [cut.sign for cut in part.cuts]
        return phases

    def _proofs(
        self, programme: RelaxedProgramme, conflict: Phases
    ) -> tuple[Slopes, dict[int, Proof]]:
        """What a conflict proves: slopes and weights of all rows, and for each row the rest."""
        last = np.cumsum(np.bincount(self._property.clauses_of_rows())) - 1
        slopes = np.full((len(self._rows), self._neurons), np.nan)
        weights = np.zeros(len(self._rows), np.uint8)
        proofs = {}
        for clause, row in enumerate(last.tolist()):
            proof = programme.proof(clause, conflict)
            if proof is None:
                continue
            proofs[row] = proof
            slopes[row, programme.neurons] = proof.slopes
            count = len(proof.weights)
            weights[row - count : row] = proof.weights if count > 1 else 0
        return Slopes.nearest(slopes, weights), proofs

    def _still_open(self, parts: list[_Part]) -> list[_Part]:
        """Those that the trusted pass does not close with what they have."""
        found = []
        for start in range(0, len(parts), self._at_once):
            some = parts[start : start + self._at_once]
            bounds = self._bounded(some)
            closed = self._closed(self._values(some, bounds), bounds)
            found += [some[i] for i in np.flatnonzero(~closed)]
        return found

    def _solve(self, part: _Part, bounds: Bounds, lower: Array) -> None:
        """No phase is open: the network is affine, and a linear programme is exact."""
        boxes = boxes_for(self._twin, bounds)
        phases = [self._phase(boxes, cut) for cut in part.cuts]
        size = int(np.prod(self._batch.box.shape))
        a = np.array([p for p, _ in phases]).reshape(len(phases), size)
        b = np.array([c for _, c in phases])
        box = bounds.boxes[0]
        ends = box.lower.reshape(-1).astype(np.float64), box.upper.reshape(-1).astype(np.float64)
        output = self._batch.artifact.network.output
        points: list[npt.NDArray[np.float64]] = []
        weights = np.zeros(len(self._rows), np.uint8)
        for terms in self._sums.terms.T:
            rows, added = self._twin.affine(boxes, output, self._rows[terms])
            constants = added + self._property.constants()[terms]
            shares, point = balanced(rows.astype(np.float64), constants, a, b, *ends)
            weights[terms] = np.rint(shares * 255)
            points += [] if point is None else [point]
        wanted = self._batch.property_.summed(weights)
        rows, added = self._twin.affine(boxes, output, wanted.rows())
        multipliers = part.multipliers.copy()
        for r in np.flatnonzero(~(lower > 0)):
            constant = float(added[r] + wanted.constants()[r])
            found = multipliers_for(rows[r].astype(np.float64), constant, a, b, *ends)
            if found is None:
                failed = Undecided(Reason.TOO_LOOSE, "the linear programme failed")
                self._give_up(part.sample, failed)
                return
            multipliers[r] = found.multipliers
            if found.point is not None:
                points.append(found.point)
        none = np.full((len(self._rows), self._neurons), np.nan)
        part.slopes, part.multipliers = Slopes.nearest(none, weights), multipliers
        if not self._closed(self._values([part], bounds), bounds)[0]:
            for point in points:
                self._replay(np.array([part.sample]), point.reshape(1, *box.shape))
            detail = "the linear programme of a part has a point that float32 does not confirm"
            self._give_up(part.sample, Undecided(Reason.TOO_LOOSE, detail))

    def _phase(self, boxes: dict[int, Box], cut: Cut) -> tuple[npt.NDArray[np.float64], float]:
        """A known phase as an affine function of the input that is not negative."""
        for value, numbers in self._batch.trusted.neurons.items():
            if numbers.start <= cut.number < numbers.stop:
                one = np.zeros((1, numbers.stop - numbers.start), np.float32)
                one[0, cut.number - numbers.start] = cut.sign
                coefficients, constants = self._twin.affine(boxes, value, one)
                return coefficients[0].astype(np.float64), float(constants[0])
        raise IndexError(cut.number)


class _Share(NamedTuple):
    """What another process is given.

    Attributes:
        batch: the samples.
        device: where the twin computes.
        root: as of ``PhaseSearch``, and so are the next three.
        most_leaves: likewise.
        steps: likewise.
        solve_leaves: likewise.
        leaves: of each sample's tree.
        parts: the open parts that it goes on with.
    """

    batch: Batch
    device: str
    root: Bounds
    most_leaves: int
    steps: int
    solve_leaves: int
    leaves: tuple[int, ...]
    parts: list[_Part]


class _Done(NamedTuple):
    """What comes back.

    Attributes:
        parts: those that were given, divided further.
        waiting: of these and the parts below them, what is open.
        verdicts: of each sample, as of ``PhaseSearch``.
        more: leaves of each sample's tree.
        declined: as of ``PhaseSearch``.
    """

    parts: list[_Part]
    waiting: list[_Part]
    verdicts: list[Verdict | None]
    more: list[int]
    declined: int


def _searched(share: _Share) -> _Done:
    """Some rounds, in whichever process."""
    twin = twin_for(share.batch.artifact.network, share.device)
    assert twin is not None
    settings = share.most_leaves, share.steps, share.solve_leaves
    search = PhaseSearch(share.batch, twin, *settings, share.root)
    return search.rounds(share.parts, share.leaves)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Where the clauses' sums are among the rows of ``Property.summed``.

    Attributes:
        rows: of the ``S`` sums, in order.
        terms: bool, shape ``(R, S)``: which rows are terms of which sum.
    """

    rows: npt.NDArray[np.intp]
    terms: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, property_: Property) -> _Sums:
        """Those of a property."""
        sizes = np.bincount(property_.clauses_of_rows())
        own = np.bincount(property_.summed().clauses_of_rows())
        ends = np.cumsum(own)
        several = np.flatnonzero(own > sizes)
        rows = np.arange(ends[-1])[:, None]
        terms = (rows >= (ends - own)[several]) & (rows < ends[several] - 1)
        return cls(ends[several] - 1, terms)


def _alike(weights: Weights) -> Iterator[tuple[Weights, npt.NDArray[np.intp]]]:
    """Every different row of weights, and which parts have it."""
    different, which = np.unique(weights, axis=0, return_inverse=True)
    for number, row in enumerate(different):
        yield row, np.flatnonzero(which.reshape(-1) == number)
