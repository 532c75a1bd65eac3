"""``compare``: which guarantees a retrained model keeps, gains and loses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asi_verify._check import check
from asi_verify.checker import CheckResult, Outcome
from asi_verify.core.claims import Claims
from asi_verify.core.never_miss import NeverMiss
from asi_verify.data import DatasetLike
from asi_verify.errors import UsageError

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """The rows of one split, by what both folders prove of them.

    A memorised row counts as not accepted.

    Attributes:
        before: SHA-256 of the first model.
        after: of the second.
        kept: accepted before and after.
        gained: accepted after, and not before.
        lost: accepted before, and not after.
        neither: accepted in neither.
        never_miss_lost: of the classes that must never be missed, accepted in their larger regions
            before, and not after in regions at least as large.
    """

    before: str
    after: str
    kept: tuple[int, ...]
    gained: tuple[int, ...]
    lost: tuple[int, ...]
    neither: tuple[int, ...]
    never_miss_lost: tuple[int, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether no guarantee was lost, of either kind."""
        return not self.lost and not self.never_miss_lost

    def to_json(self) -> dict[str, Any]:
        """Everything, rows as lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }


def compare(
    before: str | Path,
    after: str | Path,
    dataset: DatasetLike | None = None,
    *,
    data_root: str | Path | None = None,
) -> Comparison:
    """What became of the guarantees of one run in another, both checked anew from their files.

    Args:
        before: a run folder, or a folder of certificates.
        after: another one, about the same samples, regions, semantics and target.
        dataset: as for ``check``; used for both.
        data_root: where MedMNIST files are looked for first.

    Raises:
        UsageError: a folder is refused, or the two claim different things; ``CertificateError``
            where there is nothing to be read.
    """
    checked = [check(folder, dataset, data_root=data_root) for folder in (before, after)]
    claims = [
        _claims(folder, result) for folder, result in zip((before, after), checked, strict=True)
    ]
    for name in ("dataset", "family", "semantics"):
        first, second = (getattr(claim, name) for claim in claims)
        if first != second:
            raise UsageError(
                f"{before} and {after} claim different things, so no guarantee of one can be kept "
                f"in the other: {name} {_shown(first)}, and {_shown(second)}"
            )
    old, new = map(_counted, checked)
    rows = range(claims[0].dataset.samples)
    return Comparison(
        claims[0].artifact,
        claims[1].artifact,
        tuple(row for row in rows if row in old and row in new),
        tuple(row for row in rows if row in new and row not in old),
        tuple(row for row in rows if row in old and row not in new),
        tuple(row for row in rows if row not in old and row not in new),
        _never_miss_lost(before, *(result.never_miss for result in checked)),
    )


def _never_miss_lost(
    folder: str | Path, before: CheckResult | None, after: CheckResult | None
) -> tuple[int, ...]:
    """The rows of which the larger regions were certified and are not any more."""
    if before is None:
        return ()
    old = _named(_claims(folder, before))
    rows = _counted(before)
    if after is not None and after.claims is not None and not after.refused:
        new = _named(after.claims)
        if new.family.radius >= old.family.radius:
            rows -= _counted(after)
    return tuple(sorted(rows))


def _counted(result: CheckResult) -> set[int]:
    """The rows with an accepted certificate and not memorised."""
    return set(result.rows(Outcome.ACCEPTED)) - result.memorised


def _named(claims: Claims) -> NeverMiss:
    assert claims.never_miss is not None  # or the folder would have been refused
    return claims.never_miss


def _claims(folder: str | Path, result: CheckResult) -> Claims:
    if result.claims is None or result.refused:
        raise UsageError(f"{folder} is refused: {result.refused[0] if result.refused else ''}")
    return result.claims


def _shown(claimed: Any) -> str:
    return str(getattr(claimed, "to_json", lambda: claimed)())
