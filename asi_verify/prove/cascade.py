"""The cascade: stages in order over a whole data set, in batches of one property each.

The order of the stages is the order of preference, whatever is ready first: a stage is given what
all stages before it left open. One that computes elsewhere may begin beside the stage before it,
and is stopped where that one settles a sample; so time is saved and no verdict is changed. What a
clock or a breakdown ends stays undecided, for if a later stage could settle it, how fast a machine
is would choose the evidence.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.balls import L1, L2
from asi_verify.core.box import Box
from asi_verify.core.cores import require_cores
from asi_verify.core.evidence import Intermediate
from asi_verify.core.family import RegionFamily
from asi_verify.core.images import encode
from asi_verify.core.intensity import Intensity
from asi_verify.core.k_pixel import KPixel
from asi_verify.core.limits import LARGEST_TREE
from asi_verify.core.patch import Patch
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.properties import Property
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Reason, Refuted, Undecided, Verdict
from asi_verify.errors import SoundnessAlarm
from asi_verify.export import Artifact
from asi_verify.prove.alpha_crown import AlphaCrown
from asi_verify.prove.branch import Branch
from asi_verify.prove.cells import Cells
from asi_verify.prove.falsify import Falsify
from asi_verify.prove.members import Members
from asi_verify.prove.processes import portions, spread
from asi_verify.prove.slope_trials import SlopeTrials
from asi_verify.prove.solve import Solve
from asi_verify.prove.stage import Batch, Begun, Regions, Stage
from asi_verify.prove.trusted_stages import Crown, CrownIbp, Intervals

__all__ = [
    "Proof",
    "StageCount",
    "default_stages",
    "prove",
    "prove_all",
    "single_query_stages",
    "stages_for",
]

_BATCH = 256
_WORK = 1 << 30
"""Multiplications that are worth a longer search for a counterexample: a second or two."""
_NARROW = 32
"""Up to so many inputs that vary, narrow sets of counterexamples are looked for."""
_FEW_PARTS = 4
"""Of a tree: what a search through patterns leaves open may be closed by so many."""
_FEW_CUTS = 8
"""Up to so many inputs that vary, cutting them is far quicker than patterns of phases."""
_PATTERNS = 1024
"""Open phases of a region whose patterns are gone through, where few of them decide."""
_NO_END = 10_000_000
"""Parts of a tree: the size of what may be written ends the search before."""


def default_stages(device: str = "cpu") -> tuple[Stage, ...]:
    """Falsify, intervals, CROWN-IBP, CROWN, alpha-CROWN, branch and bound, SMT: cheap first."""
    return (
        Falsify(),
        Intervals(),
        CrownIbp(device),
        Crown(device),
        AlphaCrown(device=device),
        Branch(device=device),
        Solve(),
    )


def stages_for(family: RegionFamily) -> tuple[Stage, ...]:
    """The stages that are used for regions of a family if none are asked for.

    Balls: falsify and CROWN. k-pixel regions: CROWN over all choices of pixels at once, then their
    members, where these are few. Patches: CROWN over all of them at once, then one after the other.
    Intensities: CROWN over the whole range of the parameters, then over cells of it. The other
    stages know boxes alone.
    """
    match family:
        case KPixel():
            return (Crown(), Members())
        case Patch():
            return (Falsify(), Crown(), Members())
        case Intensity():
            return (Falsify(), Crown(), Cells())
        case L1() | L2():
            return (Falsify(), Crown())
        case _:
            return default_stages()


def single_query_stages(device: str = "cpu") -> tuple[Stage, ...]:
    """For one query with a deadline of its own: no engine to load, and budgets without an end.

    A counterexample is looked for by a few steps and, if CROWN proves nothing, by many; z3 is asked
    where the region leaves few phases open, and patterns of phases are gone through where few of
    them decide; then branch and bound takes all the time that is left.
    """
    return (
        Falsify(),
        Crown(device, proposes=False),
        Falsify(steps=30, restarts=2, starts=16, most_work=_WORK, name="falsify longer"),
        Falsify(
            steps=150,
            starts=2000,
            by_moments=True,
            most_inputs=_NARROW,
            most_work=4 * _WORK,
            name="falsify narrow",
        ),
        SlopeTrials(),
        # For counterexamples. A proof of its own would depend on whether it was in time.
        Solve(most_split=-1),
        Branch(
            most_leaves=_FEW_PARTS,
            few_inputs=_FEW_CUTS,
            most_bytes=LARGEST_TREE,
            solve_leaves=_PATTERNS,
            confirms=False,
            device=device,
            name="patterns",
        ),
        Branch(most_leaves=_NO_END, most_bytes=LARGEST_TREE, confirms=False, device=device),
    )


@dataclass
class StageCount:
    """What one stage did over a whole data set.

    Attributes:
        name: the stage's.
        given: samples that reached it.
        proved: how many it proved.
        refuted: how many it refuted.
        declined: proposals that the trusted pass did not confirm.
        seconds: wall time, of all processes together.
    """

    name: str
    given: int = 0
    proved: int = 0
    refuted: int = 0
    declined: int = 0
    seconds: float = 0.0

    def add(self, other: StageCount) -> None:
        """Count what the stage did elsewhere too."""
        self.given += other.given
        self.proved += other.proved
        self.refuted += other.refuted
        self.declined += other.declined
        self.seconds += other.seconds


@dataclass(frozen=True)
class Proof:
    """Verdicts over a data set.

    Attributes:
        verdicts: one per sample, in order.
        stages: what each stage did.
        parts: binary parts that evidence names, by SHA-256.
    """

    verdicts: tuple[Verdict, ...]
    stages: tuple[StageCount, ...]
    parts: dict[str, bytes] = field(default_factory=dict)


def prove(
    artifact: Artifact,
    family: RegionFamily,
    images: npt.NDArray[Any],
    digests: Sequence[str],
    properties: Sequence[Property],
    stages: Sequence[Stage] | None = None,
    semantics: Semantics = Semantics.FLOAT32,
    progress: Progress = NO_PROGRESS,
    deadline_s: float | None = None,
    per_query_s: float | None = None,
    cores: int = 1,
) -> Proof:
    """Ask of every sample whether its property holds everywhere in its region.

    Args:
        artifact: the model.
        family: makes the regions.
        images: shape ``(N, C, *spatial)``, uint8 or float32 in [0, 1].
        digests: the images' digests.
        properties: one per sample.
        stages: in order; ``stages_for(family)`` if not given. Each sees only what is still open.
        semantics: in which arithmetic.
        progress: told of samples settled or passed on.
        deadline_s: seconds for all samples; what is open then is ``Undecided`` for that reason.
        per_query_s: seconds for one sample; those of a batch share theirs.
        cores: processes that share the samples, or the parts of a single batch's regions. More is
            found with them only where a clock ends it; slopes that are optimised beside others may
            differ in their last digits, and the tree of a long search with them.

    Returns:
        A verdict for every sample; what no stage settles is ``Undecided``. Over the reals, a
        ``Proved`` whose centre ONNX Runtime gets wrong becomes ``Undecided`` for a rounding gap.

    Raises:
        UsageError: ``cores`` is no number of processes, or one of them was ended from outside.
        SoundnessAlarm: in float32, ONNX Runtime's logits for a centre lie outside the trusted
            pass's enclosure of them, or it gets the centre of a proved region wrong.
    """
    require_cores(cores)
    chosen = stages_for(family) if stages is None else tuple(stages)
    end = None if deadline_s is None else time.monotonic() + deadline_s
    verdicts: list[Verdict | None] = [None] * len(images)
    counts = [StageCount(stage.name) for stage in chosen]
    parts: dict[str, bytes] = {}
    groups: dict[Property, list[int]] = defaultdict(list)
    for row, property_ in enumerate(properties):
        groups[property_].append(row)
    parts_of = [
        (property_, some)
        for property_, rows in groups.items()
        for some in _batches(np.array(rows, dtype=np.intp), cores)
    ]
    jobs = (
        _Job(
            artifact,
            family,
            images[some],
            tuple(int(digests[row][:16], 16) for row in some),
            property_,
            semantics,
            chosen,
            end,
            per_query_s,
            cores if len(parts_of) == 1 else 1,
        )
        for property_, some in parts_of
    )
    with ExitStack() as at_work:
        advance = at_work.enter_context(progress.task("proving", len(images)))
        found = at_work.enter_context(spread(_settled, jobs, cores))
        for (_, some), proof in zip(parts_of, found, strict=True):
            for row, verdict in zip(some.tolist(), proof.verdicts, strict=True):
                verdicts[row] = verdict
            for count, more in zip(counts, proof.stages, strict=True):
                count.add(more)
            parts.update(proof.parts)
            advance(len(some))
    settled = tuple(v if v is not None else Undecided(Reason.TOO_LOOSE) for v in verdicts)
    return Proof(settled, tuple(counts), parts)


def prove_all(batches: Sequence[Batch], stages: Sequence[Stage]) -> Proof:
    """Ask queries that have to hold together, such as the clauses and regions of one question.

    Each stage is asked about all that is open before the next one is; once anything is refuted,
    what is open stays so.

    Args:
        batches: of any number of samples each; their deadlines are kept.
        stages: in order.

    Returns:
        A verdict for every sample, batch after batch.

    Raises:
        SoundnessAlarm: as ``prove``.
    """
    found: list[list[Verdict | None]] = [[None] * len(batch) for batch in batches]
    counts = [StageCount(stage.name) for stage in stages]
    parts: dict[str, bytes] = {}
    for batch in batches:
        _require_enclosed(batch)
    for stage, count in zip(stages, counts, strict=True):
        for batch, verdicts in zip(batches, found, strict=True):
            if not any(isinstance(v, Refuted) for one in found for v in one):
                _ask(stage, count, batch, verdicts, parts)
    settled = [
        _without_rounding_gaps(batch, _with_reasons(batch, verdicts))
        for batch, verdicts in zip(batches, found, strict=True)
    ]
    return Proof(tuple(itertools.chain.from_iterable(settled)), tuple(counts), parts)


def _earlier(end: float | None, seconds: float | None) -> float | None:
    """The deadline of queries that have so many seconds from now, in a run that has to end."""
    given = [end] if seconds is None else [end, time.monotonic() + seconds]
    return min((moment for moment in given if moment is not None), default=None)


def _batches(rows: npt.NDArray[np.intp], cores: int) -> Iterator[npt.NDArray[np.intp]]:
    for some in portions(len(rows), cores, _BATCH):
        yield rows[some]


@dataclass(frozen=True, eq=False)
class _Job:
    """Samples that are asked the same property, and how.

    Attributes:
        artifact: the model.
        family: makes the regions.
        images: of the samples.
        keys: as of ``Batch``.
        property_: what must hold.
        semantics: in which arithmetic.
        stages: in order.
        end: of all samples' time, on the clock of ``time.monotonic``, which all processes share.
        per_query_s: seconds for one sample.
        cores: as of ``Batch``.
    """

    artifact: Artifact
    family: RegionFamily
    images: npt.NDArray[Any]
    keys: tuple[int, ...]
    property_: Property
    semantics: Semantics
    stages: tuple[Stage, ...]
    end: float | None
    per_query_s: float | None
    cores: int


def _settled(job: _Job) -> Proof:
    """What comes of a job, in whichever process."""
    batch = Batch(
        job.artifact,
        encode(job.images),
        job.family.boxes(job.images),
        job.property_,
        job.semantics,
        job.keys,
        _earlier(job.end, None if job.per_query_s is None else job.per_query_s * len(job.keys)),
        Regions(job.family, job.images),
        job.cores,
    )
    _require_enclosed(batch)
    counts = tuple(StageCount(stage.name) for stage in job.stages)
    parts: dict[str, bytes] = {}
    return Proof(tuple(_settle(batch, job.stages, counts, parts)), counts, parts)


def _settle(
    batch: Batch, stages: Sequence[Stage], counts: Sequence[StageCount], parts: dict[str, bytes]
) -> list[Verdict]:
    verdicts: list[Verdict | None] = [None] * len(batch)
    begun: _Begun | None = None
    with ExitStack() as at_work:
        for place, (stage, count) in enumerate(zip(stages, counts, strict=True)):
            ready, begun = begun, None
            if place + 1 < len(stages):
                begun = _begun(stages[place + 1], batch, verdicts)
            if begun is not None:
                at_work.enter_context(closing(begun.work))
            _ask(stage, count, batch, verdicts, parts, ready)
    return _without_rounding_gaps(batch, _with_reasons(batch, verdicts))


@dataclass(frozen=True)
class _Begun:
    """A stage that has begun, and the rows of the batch that it was given."""

    rows: npt.NDArray[np.intp]
    work: Begun


def _begun(stage: Stage, batch: Batch, verdicts: Sequence[Verdict | None]) -> _Begun | None:
    """A stage at work on what is open, if it can be while another stage is asked."""
    rows = _open_rows(verdicts)
    work = None if len(rows) == 0 or batch.is_late() else stage.begin(batch.take(rows))
    return None if work is None else _Begun(rows, work)


def _ask(
    stage: Stage,
    count: StageCount,
    batch: Batch,
    verdicts: list[Verdict | None],
    parts: dict[str, bytes],
    begun: _Begun | None = None,
) -> None:
    """Ask one stage about what is open, and write its verdicts down; nothing after the deadline."""
    left = _open_rows(verdicts)
    if len(left) == 0 or batch.is_late():
        return
    start = time.perf_counter()
    if begun is None:
        result = stage.attempt(batch.take(left))
    else:
        result = begun.work.finish(np.searchsorted(begun.rows, left))
    count.seconds += time.perf_counter() - start
    count.given += len(left)
    count.declined += result.declined
    parts.update(result.parts)
    found = _without_outsiders(batch.take(left), result.verdicts)
    for row, verdict in zip(left.tolist(), found, strict=True):
        verdicts[row] = verdict if verdict is not None else verdicts[row]
        count.proved += isinstance(verdict, Proved)
        count.refuted += isinstance(verdict, Refuted)


def _with_reasons(batch: Batch, verdicts: Sequence[Verdict | None]) -> list[Verdict]:
    """Every verdict, with a reason where no stage gave one."""
    reason = Undecided(Reason.DEADLINE if batch.is_late() else Reason.TOO_LOOSE)
    return [reason if verdict is None else verdict for verdict in verdicts]


def _without_outsiders(batch: Batch, verdicts: Sequence[Verdict | None]) -> list[Verdict | None]:
    """The verdicts of a stage, less witnesses of the box that are no members of the region."""
    kept = list(verdicts)
    for i, verdict in enumerate(verdicts):
        if isinstance(verdict, Refuted) and batch.regions is not None:
            regions = batch.regions.take(np.array([i]))
            if not regions.family.contains(verdict.witness.point[None], regions.images)[0]:
                kept[i] = None
    return kept


def _require_enclosed(batch: Batch) -> None:
    """In float32 the deployed logits of every centre lie inside what the trusted pass allows.

    A trailing softmax or sigmoid hides the logits; nothing is compared then.
    """
    if batch.semantics is not Semantics.FLOAT32 or batch.artifact.network.head is not None:
        return
    logits = batch.artifact.session.run(batch.centres).astype(np.float64)
    points = Box(batch.centres.copy(), batch.centres.copy())
    outside = 0
    for part in batch.trusted.batches(len(batch)):
        bounds = batch.trusted.bounds(points[part], Intermediate.INTERVAL)
        outside += int((bounds.sound & ~bounds.boxes[-1].contains(logits[part])).sum())
    if outside:
        raise SoundnessAlarm(
            f"ONNX Runtime's logits for {outside} samples lie outside what float32 "
            "arithmetic allows on this model: its runtime computes something else (a fusion that "
            "changes constants, a lower precision), or the analysis is wrong. Please report this "
            f"with the model {batch.artifact.digest}"
        )


def _open_rows(verdicts: Sequence[Verdict | None]) -> npt.NDArray[np.intp]:
    return np.array([i for i, v in enumerate(verdicts) if _is_open(v)], dtype=np.intp)


def _is_open(verdict: Verdict | None) -> bool:
    """A stage's ``Undecided`` says why it gave up; a later stage may still settle the query.

    Not so where a clock or a breakdown ended it.
    """
    match verdict:
        case None:
            return True
        case Undecided(reason):
            return reason not in {Reason.DEADLINE, Reason.FAILED}
        case _:
            return False


def _without_rounding_gaps(batch: Batch, verdicts: list[Verdict]) -> list[Verdict]:
    proved = [i for i, verdict in enumerate(verdicts) if isinstance(verdict, Proved)]
    if not proved:
        return verdicts
    margins = batch.artifact.session.margins(batch.centres[proved], batch.property_)
    for i, margin in zip(proved, margins, strict=True):
        # A trailing softmax may round two logits to one probability: a tie, and no alarm.
        shows_logits = batch.artifact.network.head is None
        if not margin > 0 and batch.semantics is Semantics.FLOAT32 and shows_logits:
            raise SoundnessAlarm(
                "a region was proved in float32, but ONNX Runtime gets its centre wrong; please "
                f"report this with the model {batch.artifact.digest}"
            )
        if not margin > 0:
            verdicts[i] = Undecided(
                Reason.ROUNDING_GAP, "proved of the logits, wrong on the sample as deployed"
            )
    return verdicts
