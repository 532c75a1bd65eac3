"""How a round's findings move the logged bugs, and which new ones they add."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from asi_verify.bugs.categories import categories
from asi_verify.bugs.enumerate import Evaluation
from asi_verify.core.bug import Bug, BugEvent, BugKind, BugState, Category
from asi_verify.core.verdict import Refuted, Verdict
from asi_verify.data import Samples

__all__ = ["Findings", "closing_round", "returned", "updated"]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a round found out about its model.

    Attributes:
        round: the round's number; 0 is the model as it was given.
        artifact: digest of the model.
        samples: the certified split.
        evaluation: what the model answers on it.
        verdicts: the prover's, by row.
        accepted: digests of the certificates that the checker *accepted*, by row.
        contradicted: rows in a listed contradiction.
        suspected: rows whose label is suspected.
        corrector: what made the model; empty for one as it was given.
    """

    round: int
    artifact: str
    samples: Samples
    evaluation: Evaluation
    verdicts: Mapping[int, Verdict]
    accepted: Mapping[int, str]
    contradicted: frozenset[int]
    suspected: frozenset[int] = frozenset()
    corrector: str = ""


def updated(known: Iterable[Bug], findings: Findings) -> list[Bug]:
    """The bugs that a round changes or adds.

    A bug becomes certified only by an accepted certificate; fixed when the model is right on the
    sample and no counterexample is known; reopened when it was either before and is not any more.
    """
    before = {(bug.row, bug.kind): bug for bug in known}
    changed = [
        bug.with_event(event)
        for bug in before.values()
        if (event := _next_event(bug, findings)) is not None
    ]
    return changed + [bug for bug in _found(findings) if (bug.row, bug.kind) not in before]


def returned(known: Iterable[Bug], round_: int, artifact: str) -> list[Bug]:
    """The bugs that change because the model of an earlier round is kept in place of the last one.

    Each stands as it stood then, one that was open and was better since as reopened; one that only
    a later model has is fixed. Nothing changes for whoever asks again.

    Args:
        known: the log.
        round_: the round whose model is kept.
        artifact: that model's digest.
    """
    return [
        bug.with_event(event)
        for bug in known
        if (event := _event_of_return(bug, round_, artifact)) is not None
    ]


def _event_of_return(bug: Bug, round_: int, artifact: str) -> BugEvent | None:
    then = [event for event in bug.events if event.round <= round_]
    if not then:
        detail = f"the model of round {round_} is kept, which does not have this error"
        return BugEvent(round_, BugState.FIXED, artifact, None, detail)
    if then[-1] is bug.events[-1]:
        return None
    # What was open then and has changed since was better under a later model.
    state = BugState.REOPENED if then[-1].state is BugState.OPEN else then[-1].state
    detail = f"the model of round {round_} is kept: {then[-1].detail}"
    return BugEvent(round_, state, artifact, then[-1].certificate, detail)


def closing_round(bug: Bug) -> int | None:
    """The round that closed a certified bug for good; None if it is not certified.

    Rounds whose model was not kept are left out: an event of an earlier round than the one before
    it says that the bug stands as it did then.
    """
    stood: list[BugEvent] = []
    for event in bug.events:
        while stood and stood[-1].round >= event.round:
            stood.pop()
        stood.append(event)
    certified = list(takewhile(lambda event: event.state is BugState.CERTIFIED, reversed(stood)))
    return certified[-1].round if certified else None


def _next_event(bug: Bug, findings: Findings) -> BugEvent | None:
    """The bug's next step, or None if it stays as it is."""
    aside = bug.row in findings.contradicted
    certificate = None if aside else findings.accepted.get(bug.row)
    was_better = bug.state in (BugState.FIXED, BugState.CERTIFIED)
    worse = BugState.REOPENED if was_better else BugState.OPEN
    if aside:
        state, detail = BugState.SET_ASIDE, "in a listed contradiction"
    elif certificate is not None:
        state, detail = BugState.CERTIFIED, "certificate accepted"
        if findings.corrector and bug.state is not BugState.CERTIFIED:
            detail += f"; closed by {findings.corrector}"
    elif findings.evaluation.wrong[bug.row]:
        state, detail = worse, "misclassified"
    elif isinstance(findings.verdicts.get(bug.row), Refuted):
        state, detail = worse, "a counterexample in the region"
    elif bug.state is BugState.CERTIFIED:
        state, detail = BugState.REOPENED, "right on the sample, but no longer certified"
    else:
        state, detail = BugState.FIXED, "right on the sample; nothing accepted for its region"
    unchanged = state is bug.state and certificate == bug.events[-1].certificate
    still_open = state is BugState.OPEN and bug.state is BugState.REOPENED
    if unchanged or still_open:
        return None
    return BugEvent(findings.round, state, findings.artifact, certificate, detail)


def _found(findings: Findings) -> Iterator[Bug]:
    """Every error of the round's model, as if the log were empty."""
    reasons = categories(
        findings.samples, findings.evaluation, findings.contradicted, findings.suspected
    )
    for row, category in reasons.items():
        yield _new(row, BugKind.MISCLASSIFIED, category, findings)
    for row, verdict in findings.verdicts.items():
        if isinstance(verdict, Refuted) and row not in reasons:
            yield _new(row, BugKind.COUNTEREXAMPLE, _beside(row, findings), findings)


def _beside(row: int, findings: Findings) -> Category:
    """Why the model is wrong beside a sample on which it is right."""
    if row in findings.contradicted:
        return Category.CONTRADICTION
    if row in findings.suspected:
        return Category.SUSPECTED_LABEL
    return Category.NEAR_BOUNDARY


def _new(row: int, kind: BugKind, category: Category, findings: Findings) -> Bug:
    aside = row in findings.contradicted
    state = BugState.SET_ASIDE if aside else BugState.OPEN
    detail = "in a listed contradiction" if aside else "found"
    return Bug(
        row,
        kind,
        findings.samples.image_digests[row],
        tuple(int(part) for part in np.atleast_1d(findings.samples.labels[row])),
        tuple(int(part) for part in np.atleast_1d(findings.evaluation.predictions[row])),
        float(findings.evaluation.margins[row]),
        category,
        (BugEvent(findings.round, state, findings.artifact, None, detail),),
    )
