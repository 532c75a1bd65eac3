"""Successive halving: train all candidates a little, the better half further, until one is left.

Source: Jamieson and Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter
Optimization*, AISTATS 2016, algorithm 1; here a candidate that survives goes on from where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asi_verify.errors import UsageError

__all__ = ["Score", "Stage", "halved", "halving_stages"]


@dataclass(frozen=True, order=True)
class Score:
    """How good a candidate is; the greater the better.

    Attributes:
        certified: training samples.
        right: validation samples, which decides among equals.
    """

    certified: int
    right: int


@dataclass(frozen=True)
class Stage:
    """One stage of a search.

    Attributes:
        candidates: how many are left in it.
        until: to which epoch each is trained.
    """

    candidates: int
    until: int


def halving_stages(candidates: int, budget: int) -> tuple[Stage, ...]:
    """The stages in which a budget is spent; each gets the same part of it, or a little less.

    Args:
        candidates: how many there are.
        budget: epochs, of all candidates together.

    Raises:
        UsageError: the budget does not give every candidate one epoch.
    """
    # The logarithm to the base 2, rounded up: so often half of them, rounded up, leaves one.
    number = max(1, (candidates - 1).bit_length())
    if budget < number * candidates:
        raise UsageError(
            f"budget: {budget} epochs are too few for {candidates} candidates in {number} stages; "
            f"{number * candidates} or more are expected"
        )
    stages, until, left = [], 0, candidates
    for _ in range(number):
        until += budget // (number * left)
        stages.append(Stage(left, until))
        left = (left + 1) // 2
    return tuple(stages)


def halved(stages: Sequence[Stage], score: Callable[[int, int], Score]) -> int:
    """The number of the best candidate; of equals the first is better.

    Args:
        stages: as ``halving_stages`` gives them.
        score: called with a candidate's number and the stage's; trains it, and says how good it is.
    """
    left = list(range(stages[0].candidates))
    for number, stage in enumerate(stages):
        asked = sorted(left[: stage.candidates])
        scores = {candidate: score(candidate, number) for candidate in asked}
        # The sort is stable, in reverse too: of equals the first stays first.
        left = sorted(asked, key=lambda candidate: scores[candidate], reverse=True)
    return left[0]
