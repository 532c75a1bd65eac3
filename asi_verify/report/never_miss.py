"""What the report says of classes that must never be missed."""

from __future__ import annotations

from typing import Any

from asi_verify.core.claims import Claims
from asi_verify.core.status import Status
from asi_verify.report.reasons import why_not_proved

__all__ = ["never_miss_section"]

_MEMORISED = "memorised: its certificate may rest on a local patch"


def never_miss_section(
    claims: Claims,
    figures: dict[str, Any],
    examined: dict[str, Any],
    contradictions: list[dict[str, Any]],
    digest: str,
) -> dict[str, Any]:
    """The section, with one line for people.

    Args:
        claims: of the certificates in the larger regions.
        figures: ``never_miss`` of the run's result.
        examined: the same of the final model's examination.
        contradictions: the same of the audit.
        digest: one for all of these certificates.
    """
    assert claims.never_miss is not None
    status = Status(figures["open"], figures["contradictions"])
    aside = {row for pair in contradictions for row in pair["rows"]}
    memorised = set(examined.get("memorised", []))
    before, after = figures["before"], figures.get("after", figures["before"])
    return {
        "accepted": figures["accepted"],
        "classes": figures["classes"],
        "contradictions": contradictions,
        "digest": digest,
        "labels": list(claims.never_miss.labels),
        "line": f"{_proved(claims, figures, status)} {_price(figures)}".strip(),
        "not_proved": [
            {
                "reason": (
                    _MEMORISED
                    if s["row"] in memorised
                    else why_not_proved(s, contradicted=s["row"] in aside)
                ),
                "row": s["row"],
            }
            for s in examined["samples"]
            if not s["accepted"] or s["row"] in aside | memorised
        ],
        "radius": claims.family.size,
        "region": str(claims.family),
        "samples": figures["samples"],
        "sensitivity": {"after": after["sensitivity"], "before": before["sensitivity"]},
        "specificity": {"after": after["specificity"], "before": before["specificity"]},
        "status": str(status),
    }


def _proved(claims: Claims, figures: dict[str, Any], status: Status) -> str:
    total, extent = figures["samples"], claims.family.extent
    what = f"Never miss {_names(figures)}:"
    if status.open:
        return f"{what} {status.open} of {total} images have no accepted certificate {extent}."
    if figures["accepted"] == 0:
        return f"{what} nothing is proved, {extent} every image contradicts another one."
    if status.contradictions:
        return (
            f"{what} except {status.contradictions} contradictory images, each of the other "
            f"{figures['accepted']} has an accepted certificate {extent}."
        )
    return f"{what} each of {total} images has an accepted certificate {extent}."


def _price(figures: dict[str, Any]) -> str:
    """How it does on images that nothing is proved of; empty without such."""
    sides = [figures[when] for when in ("before", "after") if when in figures]
    found = [side["sensitivity"].get("test") for side in sides]
    cleared = [side["specificity"].get("test") for side in sides]
    parts = []
    if None not in found:
        parts.append(f"{_from_to(found)} of {_names(figures)} are found")
    if None not in cleared:
        parts.append(f"{_from_to(cleared)} of the others are not taken for it")
    return (
        f"On the test images, {' and '.join(parts)}; about these nothing is proved."
        if parts
        else ""
    )


def _from_to(shares: list[float]) -> str:
    *before, after = (f"{share:.1%}" for share in shares)
    return f"{after} ({before[0]} before)" if before else after


def _names(figures: dict[str, Any]) -> str:
    return " and ".join(figures["classes"])
