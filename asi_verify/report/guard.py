"""What the report says of a guard: what was counted, and apart from it what is estimated."""

from __future__ import annotations

from typing import Any

from asi_verify.core.radius import Radius
from asi_verify.report.added import Added

__all__ = ["GUARD", "guard_section"]

GUARD = Added(
    "guard/guard.json", "asi-verify/guard/1", ("artifact",), "guard", measured="guard/guard.onnx"
)

_LAYERS = {
    "not-certified": "the label is not proved for the whole region around the image",
    "domain": "a pixel is not a number or outside [0, 1]",
    "statistics": "brightness, contrast or roughness is unlike the training images",
    "activations": "a neuron of the last hidden layer is outside what training images gave",
    "layout": "where the image is bright is far from the training images",
}


def guard_section(found: dict[str, Any]) -> dict[str, Any]:
    """The section.

    Args:
        found: what ``guard.json`` holds.
    """
    return {
        "counted": {name: _counted(name, found) for name in found["counted"]},
        "drift": _drift(found["drift"]),
        "estimated": {name: _estimated(each) for name, each in found["estimated"].items()},
        "file": found["file"],
        "line": _line(found),
        "radius": str(Radius.of(found["radius"])),
        "settings": found["settings"],
    }


def _counted(split: str, found: dict[str, Any]) -> dict[str, Any]:
    figures = found["counted"][split]
    # How large conformal sets were is a count too, although the file has it beside an interval.
    sets = found["estimated"].get(split, {}).get("conformal")
    return {
        "classes": _each(figures["classes"]),
        "conformal": sets and {key: sets[key] for key in ("mean_size", "single")},
        "counts": _refused_too(figures["counts"]),
        "groups": _each(figures["groups"]),
        "layers": [
            {"name": name, "what": what, **figures["layers"][name]}
            for name, what in _LAYERS.items()
        ],
        "second": figures["second"],
    }


def _each(counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    return [{"name": name, **_refused_too(count)} for name, count in counts.items()]


def _refused_too(count: dict[str, int]) -> dict[str, int]:
    return {
        **count,
        "refused": count["samples"] - count["answered"],
        "refused_right": count["right"] - count["answered_right"],
    }


def _estimated(each: dict[str, Any]) -> dict[str, Any]:
    """Intervals alone; what they are intervals around was counted."""
    sets, gain, second = each.get("conformal"), each["gain"], each["second"]
    return {
        "confidence": each["confidence"],
        "conformal": sets
        and {key: sets[key] for key in ("calibrated_on", "error", "holds_the_label")},
        "coverage": each["coverage"],
        "error_when_answering": each["error_when_answering"],
        "gain": None if gain is None else gain[1:],
        "second": second and {name: second[name] for name in second if name != "confidence"},
    }


def _drift(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the drift monitor said of the test images; None without one or without these."""
    if found is None or found["test"] is None:
        return None
    return {
        "alarm": found["test"]["alarm"],
        "calibrated_on": found["calibrated_on"],
        "false_alarms": found["false_alarms"],
        "seen": found["test"]["seen"],
    }


def _line(found: dict[str, Any]) -> str:
    split = "test" if "test" in found["counted"] else "val"
    count = _refused_too(found["counted"][split]["counts"])
    return (
        f"Of {count['samples']} {split} images it answered {count['answered']}, "
        f"{count['answered_right']} of them right, and refused {count['refused']}, on "
        f"{count['refused_right']} of which the model alone is right."
    )
