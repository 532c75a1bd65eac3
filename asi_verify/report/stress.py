"""What the report says of a stress test: alarms first, and nothing claimed outside the regions."""

from __future__ import annotations

from typing import Any

from asi_verify.report.added import Added

__all__ = ["STRESS", "alarm_line", "stress_section"]

STRESS = Added("validation.json", "asi-verify/validation/1", ("model",), "validate")


def stress_section(found: dict[str, Any]) -> dict[str, Any]:
    """The section.

    Args:
        found: what ``validation.json`` holds.
    """
    return {
        "alarms": [
            {key: alarm[key] for key in ("detail", "row", "trial")} for alarm in found["alarms"]
        ],
        "attack_library": found["attack_library"],
        "attacked": found["battery"]["most"],
        "claimed": found["claimed"],
        "constant_images": found["constant_images"],
        "corruptions": found["corruptions"],
        "determinism": found["determinism"],
        "inside": _trials(found, inside=True),
        "line": _line(found),
        "outside": _trials(found, inside=False),
    }


def alarm_line(section: dict[str, Any] | None) -> str | None:
    """What a reader has to know before anything else; None without an alarm."""
    if section is None or not section["alarms"]:
        return None
    count = len(section["alarms"])
    return (
        f"ALARM: {count} finding{'' if count == 1 else 's'} of the stress test "
        f"contradict{'s' if count == 1 else ''} what is claimed."
    )


def _trials(found: dict[str, Any], *, inside: bool) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [
            {key: trial[key] for key in ("kept", "name", "tried")}
            for trial in found[kind]
            if trial["inside"] is inside
        ]
        for kind in ("attacks", "edge_cases")
    }


def _line(found: dict[str, Any]) -> str:
    if found["alarms"]:
        return (
            "Something that this report says is proved is contradicted. The model, the files, the "
            "machine or this library is broken: rely on nothing here until the cause is known."
        )
    if not found["claimed"]:
        return "Nothing is claimed, so no region was tried."
    inside = _trials(found, inside=True)
    trials = [*inside["edge_cases"], *inside["attacks"]]
    empty = [trial["name"] for trial in trials if not trial["tried"]]
    if empty:
        return (
            "There was no alarm, but no member of a region was tried by: "
            f"{'; '.join(empty)}. That is no success."
        )
    attacks = len(inside["attacks"])
    what = f"{attacks} of them attacks" if attacks else "without attacks"
    return (
        f"No alarm: {found['claimed']} claimed regions, tried in {len(trials)} ways ({what}), and "
        "every answer was kept. That proves nothing; the certificates do."
    )
