"""Branch and bound over the phases of ReLUs.

A part is bounded by the torch twin with slopes and split multipliers of its own (Wang et al. 2021),
many open parts at once, over what is left of the network on their region (``part_bounds``). What
the twin closes the trusted pass has to close too (``judge``), or the part stays open. A clause of
several rows is bounded by their weighted sum too, with weights of the part's own (``sums``). A part
with few open phases may be handed to a search that goes through their patterns (``patterns``); the
tree that it comes back with takes the part's place. Any other part is divided at one of the phases
whose relaxations cost most: at the one whose two halves, bounded with the slopes and multipliers of
the whole, are best (``choice``; Bunel et al. 2020). Where no phase is open the network is affine
and a linear programme has the last word (``affine``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.bounds import BackwardTwin, Optimised
from asi_verify.checker.trusted import Bounds
from asi_verify.core.evidence import Intermediate
from asi_verify.core.limits import DEEPEST_TREE
from asi_verify.core.split_tree import Slopes, SplitTree
from asi_verify.core.verdict import Reason, Refuted, Undecided, Verdict
from asi_verify.prove.falsify import descended
from asi_verify.prove.phases.affine import affine_proof
from asi_verify.prove.phases.choice import Choice
from asi_verify.prove.phases.conflicts import Pattern
from asi_verify.prove.phases.judge import Judge
from asi_verify.prove.phases.part import Array, Part, Weights, tree_below, weights_of
from asi_verify.prove.phases.part_bounds import Asked, PartBounds
from asi_verify.prove.phases.patterns import Patterns
from asi_verify.prove.phases.sums import Sums, alike
from asi_verify.prove.processes import spread
from asi_verify.prove.stage import CLEAR, Batch
from asi_verify.prove.twins import coarse, twin_for

__all__ = ["PhaseSearch"]

_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 20
"""Of all values and rows of the parts that are bounded at once: few enough that a round takes a
few seconds and a deadline is kept."""
_DOWN = 3
"""Steps of the descent from where a part is bounded lowest."""
_WEIGHINGS = 6
"""Times that a weight is doubled or halved at the root; below it once for each part."""
_LARGEST_WEIGHT = 128
_STEPS_BELOW = 8
"""Of the optimiser, for a part of a region: it begins with what was found for its whole. With 20
trees of an ordinary CNN are a twentieth smaller, and take longer."""
_MANY = 32
"""Parts for each process, so that a round is worth the way; a round takes some 0.3 s, and ..."""
_ROUNDS = 8
"""... after so many the parts are shared out again, for some processes are done before others."""
_BEYOND = Undecided(Reason.TOO_LARGE, "bounds leave their range")


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
        root: as given, or found.
        declined: leaves, made by going through patterns, that the trusted pass did not close.
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
        self._sums = Sums.of(batch.property_)
        self._property = self._sums.property_
        self._rows = len(self._property.rows())
        self.root = batch.root_bounds(Intermediate.BACKWARD) if root is None else root
        self._whole = PartBounds.over(twin, self.root)
        self._own: dict[int, PartBounds] = {}
        self._judge = Judge(batch, self.root)
        self._trees = [Part.whole(sample, self._rows) for sample in range(len(batch))]
        self._leaves = [1] * len(batch)
        self.verdicts: list[Verdict | None] = [None] * len(batch)
        values = sum(int(np.prod(shape)) for shape in batch.artifact.network.shapes)
        most = _NUMBERS_AT_ONCE // (values * self._rows)
        self._at_once = max(1, min(_AT_ONCE, most))
        self._patterns = Patterns(batch, self.root, self._judge, solve_leaves, self._at_once)
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

    def _next(self, waiting: list[Part]) -> list[Part]:
        """What waits after one round."""
        # Depth first, so that few parts wait; of those of one depth the worst.
        now, rest = waiting[-self._at_once :], waiting[: -self._at_once]
        rest += sorted(self._round(now), key=lambda part: -part.lower)
        return [part for part in rest if self.verdicts[part.sample] is None]

    def _shared(self, waiting: list[Part]) -> list[Part]:
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
        opened: list[Part] = []
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

    def rounds(self, parts: list[Part], leaves: Sequence[int]) -> _Done:
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
        return tree_below(self._trees[sample], self._rows, self._judge.neurons)

    def _progress(self, sample: int) -> str:
        return f"branch and bound: {self._leaves[sample]} parts"

    def _give_up(self, sample: int, verdict: Verdict) -> None:
        if self.verdicts[sample] is None:
            self.verdicts[sample] = verdict

    def _round(self, now: list[Part]) -> list[Part]:
        """Bound some parts and divide those that stay open."""
        halves = []
        for own, some in self._by_region(now):
            # What the slopes and multipliers of the whole close needs none of its own.
            lower = own.lower(self._asked(own, some, weights_of(some, self._rows)))
            left = self._left_open(some, lower)
            if left:
                halves += self._climbed(own, [some[i] for i in left])
        return halves

    def _by_region(self, parts: list[Part]) -> Iterator[tuple[PartBounds, list[Part]]]:
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

    def _climbed(self, own: PartBounds, now: list[Part]) -> list[Part]:
        """Optimise slopes and multipliers of parts and divide those that stay open."""
        weights = self._weighed(own, now)
        asked = self._asked(own, now, weights)
        steps = min(self._steps, _STEPS_BELOW) if now[0].cuts else self._steps
        best = own.optimised(asked, steps)
        slopes = own.own_slopes(asked, best.slopes)
        for i, part in enumerate(now):
            dense = np.full((self._rows, self._judge.neurons), np.nan, np.float32)
            dense[:, own.numbers] = slopes[i]
            part.slopes = Slopes.nearest(dense, weights[i])
            part.multipliers = coarse(best.multipliers[i][:, own.columns(part.cuts)])
        left = self._left_open(now, best.lower)
        if not left:
            return []
        now, best = [now[i] for i in left], best.take(np.array(left, dtype=np.intp))
        self._refute(now, best)
        return self._divided(own, now, best)

    def _left_open(self, parts: Sequence[Part], lower: Array) -> list[int]:
        """Which parts the trusted pass does not close; it is asked of those that the twin closes.

        Args:
            parts: which.
            lower: the twin's bounds of their rows.
        """
        asked = np.flatnonzero(self._property.overall(lower.astype(np.float64)) > CLEAR)
        closed = np.zeros(len(parts), np.bool_)
        if len(asked):
            some = [parts[i] for i in asked.tolist()]
            bounds = self._judge.bounds(some)
            for i in np.flatnonzero(~bounds.sound).tolist():
                self._give_up(some[i].sample, _BEYOND)
            values = self._judge.values(some, bounds)
            closed[asked] = self._judge.closed(values, bounds)
            for part, promised, kept in zip(some, lower[asked], values, strict=True):
                lost = np.where(np.isfinite(kept), promised - kept, 0.0)
                part.short = np.maximum(part.short + lost, 0.0)
        return [
            i for i in np.flatnonzero(~closed).tolist() if self.verdicts[parts[i].sample] is None
        ]

    def _weighed(self, own: PartBounds, parts: Sequence[Part]) -> Weights:
        """The parts' weights, or better ones: one doubled or halved; at the root several."""
        weights = weights_of(parts, self._rows)
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
            best = np.argmax([self._sums.overall(low, trial) for low, trial in pairs], axis=0)
            # What else is in the batch changes nothing for a part.
            best = np.where(fresh | (time == 0), best, 0)
            weights = np.stack(trials)[best, np.arange(len(parts))]
        return weights

    def _asked(self, own: PartBounds, parts: Sequence[Part], weights: Weights) -> Asked:
        """Rows of parts and what is known of them, as the twin takes it."""
        shape = (len(parts), self._rows, len(own.numbers))
        phases = np.zeros((len(parts), shape[2]), np.int8)
        slopes, multipliers = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
        for i, part in enumerate(parts):
            columns = own.columns(part.cuts)
            phases[i, columns] = [cut.sign for cut in part.cuts]
            multipliers[i][:, columns] = part.multipliers
            if part.slopes is not None:
                slopes[i] = part.slopes.dense()[:, own.numbers]
        rows = np.empty((*shape[:2], self._batch.artifact.network.logits))
        constants = np.empty(shape[:2])
        for given, some in alike(weights):
            wanted = self._batch.property_.summed(given)
            rows[some], constants[some] = wanted.rows(), wanted.constants()
        constants -= np.stack([part.short for part in parts])
        owners = np.array([part.sample for part in parts], dtype=np.intp)
        return Asked(owners, phases, rows, constants, slopes, multipliers)

    def _refute(self, parts: Sequence[Part], best: Optimised) -> None:
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

    def _divided(self, own: PartBounds, parts: Sequence[Part], best: Optimised) -> list[Part]:
        """The halves of parts; none of one that is settled, or whose budget is used up."""
        weights = weights_of(parts, self._rows)
        asked, overall = self._asked(own, parts, weights), self._sums.overall(best.lower, weights)
        numbers = Choice(own, asked, weights, overall, self._sums, self._at_once).among(best)
        halves: list[Part] = []
        for i, part in enumerate(parts):
            full = self._leaves[part.sample] >= self._most_leaves
            if self.verdicts[part.sample] is not None:
                continue
            if overall[i] > CLEAR:
                # The twin closes it and the trusted pass does not: the twin now promises less.
                halves.append(part)
            elif best.costs[i].max() <= 0:
                self._solve(part, best.lower[i])
            elif (left := self._left_of_patterns(part)) is not None:
                halves += left
            elif full or len(part.cuts) >= DEEPEST_TREE:
                self._give_up(part.sample, Undecided(Reason.BUDGET, self._progress(part.sample)))
            else:
                self._leaves[part.sample] += 1
                halves += part.divide(int(numbers[i]), float(overall[i]))
        return halves

    def _left_of_patterns(self, part: Part) -> list[Part] | None:
        """What stays open of a part whose patterns are gone through; None if it does as a whole."""
        match self._patterns.gone_through(part):
            case Pattern(point):
                self._replay(np.array([part.sample]), point.reshape(1, *self._batch.box.shape))
                return None if self.verdicts[part.sample] is None else []
            case list(left):
                self.declined += len(left)
                return left
            case _:
                return None

    def _solve(self, part: Part, lower: Array) -> None:
        """No phase is open: a linear programme has the last word."""
        bounds = self._judge.bounds([part])
        found = affine_proof(self._batch, self._twin, part, bounds, lower, self._sums)
        if found is None:
            failed = Undecided(Reason.TOO_LOOSE, "the linear programme failed")
            self._give_up(part.sample, failed)
            return
        part.slopes, part.multipliers, points = found
        if self._judge.still_open([part], 1):
            for point in points:
                self._replay(np.array([part.sample]), point.reshape(1, *self._batch.box.shape))
            detail = "the linear programme of a part has a point that float32 does not confirm"
            self._give_up(part.sample, Undecided(Reason.TOO_LOOSE, detail))


class _Share(NamedTuple):
    """What another process is given.

    Attributes:
        batch: the samples.
        device: where the twin computes.
        root: as of ``PhaseSearch``.
        most_leaves: as of ``PhaseSearch``.
        steps: as of ``PhaseSearch``.
        solve_leaves: as of ``PhaseSearch``.
        leaves: of each sample's tree, so far.
        parts: the open parts that it goes on with.
    """

    batch: Batch
    device: str
    root: Bounds
    most_leaves: int
    steps: int
    solve_leaves: int
    leaves: tuple[int, ...]
    parts: list[Part]


class _Done(NamedTuple):
    """What comes back.

    Attributes:
        parts: those that were given, divided further.
        waiting: of these and the parts below them, what is open.
        verdicts: of each sample, as of ``PhaseSearch``.
        more: leaves of each sample's tree, beyond those that it had.
        declined: as of ``PhaseSearch``.
    """

    parts: list[Part]
    waiting: list[Part]
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
