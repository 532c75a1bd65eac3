"""Bugs: logged errors of a model, and the trace of each from its finding to its certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["Bug", "BugEvent", "BugKind", "BugState", "Category"]


class BugKind(Enum):
    """How the error shows."""

    MISCLASSIFIED = "misclassified"
    """The model is wrong on the sample itself."""

    COUNTEREXAMPLE = "counterexample"
    """The model is wrong on another input of the sample's region."""


class Category(Enum):
    """Why, as far as can be said without a person; a closed list, first match wins."""

    CONTRADICTION = "contradiction"
    """Another sample with another label has a region that meets this one's."""

    SUSPECTED_LABEL = "suspected label"
    """An audit lists the label as suspect. Evidence only; the label is not changed."""

    NEAR_BOUNDARY = "near-boundary"
    """The margin is smaller in magnitude than those of 95 % of the correct samples."""

    CLASS_PAIR = "class pair"
    """One of a pair of classes that is confused more than twice as often as the average pair."""

    UNLEARNED = "unlearned"
    """None of the others."""


class BugState(Enum):
    """Where a bug stands."""

    OPEN = "open"
    FIXED = "fixed"
    """The present artifact is right on the sample; nothing is proved yet."""
    CERTIFIED = "certified"
    """The checker accepted a certificate for the sample's region."""
    REOPENED = "reopened"
    """It was fixed or certified, and a later artifact is wrong again, or is not proved right."""
    SET_ASIDE = "set aside"
    """The sample is in a listed contradiction."""


@dataclass(frozen=True)
class BugEvent:
    """One step of a bug's trace.

    Attributes:
        round: 0 for the model as it was given, then 1, 2, ...
        state: the state from here on.
        artifact: SHA-256 of the model that was looked at.
        certificate: digest of the accepted certificate, for ``CERTIFIED``.
        detail: in words.
    """

    round: int
    state: BugState
    artifact: str
    certificate: str | None = None
    detail: str = ""


@dataclass(frozen=True)
class Bug:
    """A logged error.

    Attributes:
        row: the sample's row in the certified split; with ``kind`` it identifies the bug.
        kind: how the error shows.
        image: digest of the image.
        label: the label, or the decisions.
        prediction: what the model answered when the bug was found.
        margin: the smallest row of the property on the sample then: not positive for a
            misclassified one, NaN for a NaN answer.
        category: why.
        events: the trace, oldest first; never empty.
    """

    row: int
    kind: BugKind
    image: str
    label: tuple[int, ...]
    prediction: tuple[int, ...]
    margin: float
    category: Category
    events: tuple[BugEvent, ...]

    @property
    def state(self) -> BugState:
        """Where the bug stands now."""
        return self.events[-1].state

    @property
    def is_closed(self) -> bool:
        """Whether nothing is left to do: certified, or set aside as a contradiction."""
        return self.state in (BugState.CERTIFIED, BugState.SET_ASIDE)

    def with_event(self, event: BugEvent) -> Bug:
        """The bug with one more step."""
        return replace(self, events=(*self.events, event))
