"""The report as a value: what the run wrote, in words and counts. Nothing else is computed."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from importlib import resources
from typing import Any

from asi_verify.audit import noted_readiness
from asi_verify.bugs import closing_round
from asi_verify.core.bug import Bug
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.claims import CLAIMS_FILE, Claims
from asi_verify.core.semantics import Semantics
from asi_verify.core.status import Status, status_of
from asi_verify.errors import RunFolderError
from asi_verify.report.added import read_added
from asi_verify.report.bubbles import BUBBLES, bubbles_section
from asi_verify.report.guard import GUARD, guard_section
from asi_verify.report.never_miss import never_miss_section
from asi_verify.report.reasons import why_not_proved
from asi_verify.report.stress import STRESS, alarm_line, stress_section
from asi_verify.store import RunFolder

__all__ = ["SCHEMA", "build_report", "report_schema"]

SCHEMA = "asi-verify/report/1"

_CERTIFICATES = "certificates/"
_CHANGE = re.compile(r"rounds/[0-9]+/change\.json")
_NEVER_MISS = "never_miss/"
_ADDED = {
    "bubbles": (BUBBLES, bubbles_section),
    "guard": (GUARD, guard_section),
    "stress": (STRESS, stress_section),
}

_SEMANTICS = {
    Semantics.FLOAT32: (
        "The proof covers the rounding of the program that runs the model, in whatever order it "
        "sums in 32-bit floating point. It does not cover half precision, TF32, Winograd or "
        "Fourier convolutions, or a program that changes the file's weights before it runs them. "
        "ONNX Runtime was asked as well, on the images themselves and on the inputs of an attack."
    ),
    Semantics.REAL: (
        "The proof is about exact arithmetic on the file's weights. The rounding of the program "
        "that runs the model is not covered by it; on the images themselves, and on the inputs of "
        "an attack, ONNX Runtime was asked as well."
    ),
}


def report_schema() -> dict[str, Any]:
    """The JSON schema of ``report.json``."""
    text = resources.files("asi_verify.report").joinpath("schema/report-1.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def build_report(folder: RunFolder) -> dict[str, Any]:
    """What ``report.json`` holds.

    Raises:
        RunFolderError: the run is not finished, or a file of it is missing.
    """
    result = folder.read_json("result.json")
    if result is None:
        raise RunFolderError(f"{folder.files}: the run is not finished; start it again")
    configuration = folder.configuration
    audit = _required(folder, "audit.json")
    claims = _claims(folder, _CERTIFICATES)
    before = _required(folder, "rounds/00/examination.json")
    after = _required(folder, f"rounds/{result['round']:02d}/examination.json")
    status = status_of(result)
    contradicted = sorted({row for pair in audit["contradictions"] for row in pair["rows"]})
    rounds = _rounds(folder)
    correctors = {entry["round"]: entry["settings"]["corrector"] for entry in rounds}
    closed = {bug: correctors.get(closing_round(bug)) for bug in folder.bugs.bugs()}
    bugs = [_bug(bug, before, after, closed[bug]) for bug in closed]
    added, left_out = _added(folder, claims)
    alarm = alarm_line(added["stress"])
    headline = _headline(status, result, configuration, claims)
    return {
        "schema": SCHEMA,
        "status": str(status),
        "headline": headline if alarm is None else f"{alarm} {headline}",
        "never_miss": _never_miss(folder, result, after, audit),
        "not_proved": _not_proved(after, contradicted),
        "memorised": result.get("memorised", []),
        "handed_over": result.get("handed_over", []),
        "statements": _statements(claims, result, configuration),
        "dataset": _dataset(configuration, claims),
        "model": {
            "sha256": claims.artifact,
            "bytes": len(folder.files.require(_CERTIFICATES + "artifact.onnx")),
            "corrected": configuration["kind"] != "certify",
        },
        "claim": {
            "radius": claims.family.size,
            "region": str(claims.family),
            "family": claims.family.to_json(),
            "semantics": claims.semantics.value,
            "target": claims.dataset.target,
        },
        "before": _side(before, result["before"], contradicted),
        "after": _side(after, result.get("after", result["before"]), contradicted),
        "certificates": {
            "accepted": result["accepted"],
            "delegated": _delegated(after),
            "digest": _certificates_digest(folder, _CERTIFICATES, claims),
            "shards": len(claims.shards),
        },
        "stages": after["stages"],
        "rounds": rounds,
        "changes": _changes(folder),
        "closed_by": _closed_by(bugs),
        "bugs": bugs,
        "audit": {
            "ceilings": audit["ceilings"],
            "contradicted": result["contradicted"],
            "contradictions": audit["contradictions"],
            "duplicates": audit["duplicates"],
            "nearest_other_label": audit["nearest_other_label"],
            "suspects": _suspects(folder, configuration),
        },
        "provenance": {**claims.provenance, "configuration": _without_paths(configuration)},
        **added,
        "left_out": left_out,
    }


def _required(folder: RunFolder, name: str) -> dict[str, Any]:
    folder.files.require(name)  # None is no answer here
    found: dict[str, Any] = folder.read_json(name)
    return found


def _headline(
    status: Status, result: dict[str, Any], configuration: dict[str, Any], claims: Claims
) -> str:
    total, extent = result["samples"], claims.family.extent
    name, split = configuration["dataset"]["name"], claims.dataset.split
    besides = f" {_images(status.memorised, 'memorised')} not counted." if status.memorised else ""
    if status.open:
        return (
            f"{status.open} of {total} images of {name} ({split}) have no accepted certificate "
            f"{extent}.{besides}"
        )
    if status.contradictions == total:
        return (
            f"Nothing is proved: {extent} every image of {name} ({split}) contradicts another one."
        )
    covered = f"images of {name} ({split}) has an accepted certificate {extent}."
    others = total - status.memorised - status.contradictions
    if others == 0:
        return f"Nothing is proved but of images of {name} ({split}) that are memorised {extent}."
    excepted = " and ".join(
        _images(count, kind)
        for count, kind in (
            (status.contradictions, "contradictory"),
            (status.memorised, "memorised"),
        )
        if count
    )
    each = f"each of the other {others}" if excepted else f"each of {total}"
    excepted = f" except {excepted}" if excepted else ""
    if claims.dataset.target == "prediction":
        return (
            f"Stable answers, right or wrong{excepted}: {each} {covered} "
            f"{result['misclassified']} of {'all' if excepted else 'them'} are misclassified."
        )
    return f"Zero repeatable errors{excepted}: {each} {covered}"


def _images(count: int, kind: str) -> str:
    return f"{count} {kind} image{'' if count == 1 else 's'}"


def _statements(
    claims: Claims, result: dict[str, Any], configuration: dict[str, Any]
) -> dict[str, str]:
    """What is proved and what is not, in words."""
    decision = (
        "gives the image's label"
        if claims.dataset.target == "label"
        else "gives the same answer as for the image itself"
    )
    accuracy = result.get("after", result["before"])["accuracy"]
    unseen = (
        "A complete proof over the training images says nothing about patients who are not among "
        "them. "
    )
    if "test" in accuracy:
        unseen += f"On the test images this model is wrong on {1 - accuracy['test']:.1%}."
    else:
        unseen += "This data set has no test images, so how often it is wrong on others is unknown."
    return {
        "proved": (
            "For every image with an accepted certificate: the ONNX file named in this report "
            f"{decision}, for every picture in which {claims.family.membership}."
        ),
        "semantics": _SEMANTICS[claims.semantics],
        "unseen": unseen,
        "use": " ".join(configuration["dataset"]["notes"]),
    }


def _not_proved(after: dict[str, Any], contradicted: list[int]) -> list[dict[str, Any]]:
    """Every sample that no accepted certificate counts for, with the reason."""
    found = []
    for row, sample in enumerate(after["samples"]):
        if sample["accepted"] and row not in contradicted:
            continue
        reason = why_not_proved(sample, contradicted=row in contradicted)
        found.append({"row": row, "reason": reason})
    return found


def _dataset(configuration: dict[str, Any], claims: Claims) -> dict[str, Any]:
    noted = configuration["dataset"]
    return {
        "classes": noted["classes"],
        "images_sha256": claims.dataset.images,
        "labels_sha256": claims.dataset.labels,
        "license": noted["license"],
        "name": noted["name"],
        "samples": noted["samples"],
        "split": claims.dataset.split,
        "task": noted["task"],
    }


def _suspects(folder: RunFolder, configuration: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The suspected labels of the split, the least believed first; None if none were sought."""
    ready = noted_readiness(folder)
    found = None if ready is None else ready.suspects(configuration["split"])
    return None if found is None else [vars(suspect) for suspect in found]


def _side(
    examination: dict[str, Any], measured: dict[str, Any], contradicted: list[int]
) -> dict[str, Any]:
    verdicts = Counter(sample["verdict"] for sample in examination["samples"])
    aside = {*contradicted, *examination.get("memorised", [])}
    return {
        "accepted": sum(
            sample["accepted"] and row not in aside
            for row, sample in enumerate(examination["samples"])
        ),
        "accuracy": measured["accuracy"],
        "margins": [sample["margin"] for sample in examination["samples"]],
        "misclassified": examination["misclassified"],
        "model": examination["artifact"],
        "refuted": verdicts["refuted"],
    }


def _delegated(examination: dict[str, Any]) -> int:
    return sum(
        sample["verdict"] == "proved" and not sample["accepted"]
        for sample in examination["samples"]
    )


def _claims(folder: RunFolder, place: str) -> Claims:
    """What the certificates in a part of the folder claim."""
    name = place + CLAIMS_FILE
    return Claims.from_bytes(folder.files.require(name), f"{folder.files}/{name}")


def _never_miss(
    folder: RunFolder, result: dict[str, Any], after: dict[str, Any], audit: dict[str, Any]
) -> dict[str, Any] | None:
    """Of the classes that must never be missed; None if there are none."""
    if "never_miss" not in result:
        return None
    claims = _claims(folder, _NEVER_MISS)
    return never_miss_section(
        claims,
        result["never_miss"],
        after["never_miss"],
        audit["never_miss"]["contradictions"],
        _certificates_digest(folder, _NEVER_MISS, claims),
    )


def _added(
    folder: RunFolder, claims: Claims
) -> tuple[dict[str, dict[str, Any] | None], list[dict[str, str]]]:
    """What other commands found of these claims, None where they did not; and what is not shown."""
    digest = bytes_digest(folder.files.require(_CERTIFICATES + CLAIMS_FILE))
    sections: dict[str, dict[str, Any] | None] = dict.fromkeys(_ADDED)
    left_out = []
    for name, (added, section) in _ADDED.items():
        found = read_added(added, folder.files, claims.artifact, digest)
        if isinstance(found, str):
            left_out.append({"file": added.file, "reason": found})
        elif found is not None:
            sections[name] = section(found)
    return sections, left_out


def _certificates_digest(folder: RunFolder, prefix: str, claims: Claims) -> str:
    """One digest for all certificates: that of their digests, in order, one per line."""
    digests = [
        json.loads(line)["digest"]
        for shard in claims.shards
        for line in folder.files.require(prefix + shard.file).splitlines()
    ]
    return bytes_digest("\n".join(digests).encode())


def _rounds(folder: RunFolder) -> list[dict[str, Any]]:
    rounds = []
    for number in range(1, 1000):
        record = folder.read_json(f"rounds/{number:02d}/round.json")
        if record is None:
            break
        tried = {
            name: folder.read_json(f"rounds/{number:02d}/{name}.json")
            for name in ("last_layer", "local_patch")
        }
        rounds.append(
            {
                "accepted": record["accepted"],
                "closed": record["closed"],
                "epochs": record["epochs"],
                "history": record["history"],
                **{name: None if told is None else told["reason"] for name, told in tried.items()},
                "left": [] if tried["local_patch"] is None else tried["local_patch"]["left"],
                "lost": record["lost"],
                "open": len(record["open"]),
                "repaired": record["effect"].get("repaired", []),
                "round": number,
                "settings": record["corrector"],
            }
        )
    return rounds


def _changes(folder: RunFolder) -> list[dict[str, Any]]:
    """The record of what each round changed, as it stands in the folder."""
    names = sorted(name for name in folder.files.names() if _CHANGE.fullmatch(name))
    return [folder.read_json(name) for name in names]


def _closed_by(bugs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many errors each corrector closed that are still closed."""
    counts = Counter(bug["closed_by"] for bug in bugs if bug["closed_by"] is not None)
    return [{"closed": counts[kind], "corrector": kind} for kind in sorted(counts)]


def _bug(
    bug: Bug, before: dict[str, Any], after: dict[str, Any], closed_by: str | None
) -> dict[str, Any]:
    first, last = before["samples"][bug.row], after["samples"][bug.row]
    return {
        "category": bug.category.value,
        "closed_by": closed_by,
        "image": bug.image,
        "kind": bug.kind.value,
        "label": list(bug.label),
        "margin": bug.margin if math.isfinite(bug.margin) else None,
        "margin_after": last["margin"],
        "margin_before": first["margin"],
        "prediction": list(bug.prediction),
        "prediction_after": last["prediction"],
        "row": bug.row,
        "state": bug.state.value,
        "trace": [
            {
                "artifact": event.artifact,
                "certificate": event.certificate,
                "detail": event.detail,
                "round": event.round,
                "state": event.state.value,
            }
            for event in bug.events
        ],
    }


def _without_paths(configuration: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it may be passed on: where a file lay is nobody's business."""
    dataset = {key: value for key, value in configuration["dataset"].items() if key != "source"}
    return {**configuration, "dataset": dataset}
