"""How a round's findings move the logged bugs, and which new ones they add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from asi_verify.bugs.categories import categories
from asi_verify.bugs.enumerate import Evaluation
from asi_verify.core.bug import Bug, BugEvent, BugKind, BugState, Category
from asi_verify.core.verdict import Refuted, Verdict
from asi_verify.data import Samples

__all__ = ["SampleOutcome", "updated"]


@dataclass(frozen=True)
class SampleOutcome:
    """What a round found about one sample.

    Attributes:
        verdict: the prover's; None if nothing was proved in this round.
        certificate: the digest of the certificate that the checker *accepted*; None otherwise.
    """

    verdict: Verdict | None = None
    certificate: str | None = None


def updated(
    known: Iterable[Bug],
    round_: int,
    artifact: str,
    samples: Samples,
    evaluation: Evaluation,
    outcomes: Mapping[int, SampleOutcome],
    contradicted: Iterable[int],
) -> list[Bug]:
    """The bugs that a round changes or adds.

    A bug becomes certified only by an accepted certificate; fixed when the model is right on the
    sample and no counterexample is known; reopened when it was either before and is not any more.

    Args:
        known: all bugs so far.
        round_: the round's number.
        artifact: digest of the round's model.
        samples: the certified split.
        evaluation: what the model answers on it.
        outcomes: by row; rows that are missing were not looked at.
        contradicted: rows in a listed contradiction.
    """
    aside = frozenset(contradicted)
    bugs = {(bug.row, bug.kind): bug for bug in known}
    changed: dict[tuple[int, BugKind], Bug] = {}
    for key, bug in bugs.items():
        event = _next_event(bug, round_, artifact, evaluation, outcomes, aside)
        if event is not None:
            changed[key] = bug.with_event(event)
    for bug in _new(round_, artifact, samples, evaluation, outcomes, aside):
        changed.setdefault((bug.row, bug.kind), bug) if (bug.row, bug.kind) not in bugs else None
    return list(changed.values())


def _next_event(
    bug: Bug,
    round_: int,
    artifact: str,
    evaluation: Evaluation,
    outcomes: Mapping[int, SampleOutcome],
    aside: frozenset[int],
) -> BugEvent | None:
    """The bug's next step, or None if it stays as it is."""
    outcome = outcomes.get(bug.row, SampleOutcome())
    if bug.row in aside:
        state, detail = BugState.SET_ASIDE, "in a listed contradiction"
    elif outcome.certificate is not None:
        state, detail = BugState.CERTIFIED, "certificate accepted"
    elif evaluation.wrong[bug.row]:
        state, detail = BugState.OPEN, "still misclassified"
    elif isinstance(outcome.verdict, Refuted):
        state, detail = BugState.OPEN, "a counterexample in the region"
    else:
        state, detail = BugState.FIXED, "right on the sample; nothing accepted for its region"
    was_better = bug.state in (BugState.FIXED, BugState.CERTIFIED)
    if state is BugState.OPEN and was_better:
        state = BugState.REOPENED
    if state is BugState.FIXED and bug.state is BugState.CERTIFIED:
        state, detail = BugState.REOPENED, "no longer certified"
    same = state is bug.state or (state is BugState.OPEN and bug.state is BugState.REOPENED)
    if same and bug.events[-1].certificate == outcome.certificate:
        return None
    return BugEvent(round_, state, artifact, outcome.certificate, detail)


def _new(
    round_: int,
    artifact: str,
    samples: Samples,
    evaluation: Evaluation,
    outcomes: Mapping[int, SampleOutcome],
    aside: frozenset[int],
) -> Iterable[Bug]:
    found = categories(samples, evaluation, aside)
    for row in np.flatnonzero(evaluation.wrong).tolist():
        yield _bug(
            row, BugKind.MISCLASSIFIED, round_, artifact, samples, evaluation, found[row], aside
        )
    for row, outcome in outcomes.items():
        if isinstance(outcome.verdict, Refuted) and not evaluation.wrong[row]:
            category = Category.CONTRADICTION if row in aside else Category.NEAR_BOUNDARY
            yield _bug(
                row, BugKind.COUNTEREXAMPLE, round_, artifact, samples, evaluation, category, aside
            )


def _bug(
    row: int,
    kind: BugKind,
    round_: int,
    artifact: str,
    samples: Samples,
    evaluation: Evaluation,
    category: Category,
    aside: frozenset[int],
) -> Bug:
    state = BugState.SET_ASIDE if row in aside else BugState.OPEN
    detail = "in a listed contradiction" if row in aside else f"found: {kind.value}"
    return Bug(
        row,
        kind,
        samples.image_digests[row],
        tuple(int(part) for part in np.atleast_1d(samples.labels[row])),
        tuple(int(part) for part in np.atleast_1d(evaluation.predictions[row])),
        float(evaluation.margins[row]),
        category,
        (BugEvent(round_, state, artifact, None, detail),),
    )
