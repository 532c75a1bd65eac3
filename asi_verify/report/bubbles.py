"""What the report says of certainty bubbles: how large they are, and who else lies inside."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from asi_verify.core.radius import Radius
from asi_verify.report.added import Added

__all__ = ["BUBBLES", "bubbles_section"]

BUBBLES = Added("bubbles.json", "asi-verify/bubbles/1", ("radii", "model"), "bubbles")


def bubbles_section(found: dict[str, Any]) -> dict[str, Any]:
    """The section; radii as text such as ``"1.5/255"``.

    Args:
        found: what ``bubbles.json`` holds.
    """
    radii = found["radii"]
    aside = set(radii["memorised"])
    own = Counter(r for row, r in enumerate(radii["proved"]) if row not in aside)
    apart = Counter(r for row, r in enumerate(radii["proved"]) if row in aside)
    return {
        "distribution": [
            {"images": own[radius], "memorised": apart[radius], "radius": _text(radius)}
            for radius in sorted({*own, *apart}, key=lambda r: -1 if r is None else Fraction(r))
        ],
        "line": _line(radii, own),
        "memorised": radii["memorised"],
        "most": _text(radii["most"]),
        "others": found["others"],
        "smallest": [
            {
                "label": [entry["label"]],
                "radius": _text(entry["radius"]),
                "refuted": _text(radii["refuted"][entry["row"]]),
                "row": entry["row"],
            }
            for entry in found["smallest"]
        ],
        "step": _text(radii["step"]),
    }


def _text(radius: str | None) -> str | None:
    return None if radius is None else str(Radius.of(radius))


def _line(radii: dict[str, Any], own: Counter[str | None]) -> str:
    total, known = sum(own.values()), [r for r in own if r is not None]
    aside = len(radii["memorised"])
    besides = f" {aside} memorised image{'' if aside == 1 else 's'} not counted." if aside else ""
    if not known:
        return f"No image has a bubble, of {total}.{besides}"
    smallest = min(known, key=Fraction)
    return (
        f"{total - own[None]} of {total} images have a bubble, the smallest of radius "
        f"{_text(smallest)}; {own[radii['most']]} as large as was tried, {_text(radii['most'])}."
        f"{besides}"
    )
