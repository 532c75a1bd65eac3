"""Write ``report.json`` and ``report.html`` into a run folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import jinja2

from asi_verify.audit import ceiling_text
from asi_verify.data import Dataset
from asi_verify.errors import AsiVerifyError
from asi_verify.report.build import build_report
from asi_verify.report.charts import bubble_radii, certified_over_epochs, margins_before_and_after
from asi_verify.report.pictures import picture
from asi_verify.store import RunFolder

__all__ = ["HTML_FILE", "JSON_FILE", "rewrite_report", "write_report"]

JSON_FILE = "report.json"
HTML_FILE = "report.html"

_MOST_PICTURES = 120

# Names are escaped, so nothing but the template can write it.
_HAS_PICTURES = '<meta name="asi-verify-pictures" content="shown">'

_log = logging.getLogger(__name__)


def write_report(folder: RunFolder, dataset: Dataset | None) -> dict[str, Any]:
    """Write both files; returns what ``report.json`` holds.

    Args:
        folder: of a finished run.
        dataset: the data set, for pictures; None leaves them out.

    Raises:
        RunFolderError: the run is not finished, or a file of it is missing.
    """
    report = build_report(folder)
    folder.write_json(JSON_FILE, report)
    folder.files.write(HTML_FILE, render(report, dataset).encode())
    return report


def rewrite_report(folder: RunFolder, dataset: Dataset) -> None:
    """Write both files again if the folder has a report, so that it shows what was added since.

    With pictures only if the page that lies there was written with them. What prevents it is
    logged and not raised: the caller has found something, which must not be lost over a report.

    Args:
        folder: of a finished run.
        dataset: the data set.
    """
    page = folder.files.read(HTML_FILE)
    if page is None and folder.files.read(JSON_FILE) is None:
        return
    had_pictures = page is not None and _HAS_PICTURES.encode() in page
    try:
        write_report(folder, dataset if had_pictures else None)
    except AsiVerifyError as error:
        _log.warning("the report was not written anew, and is older than what was found: %s", error)


def render(report: dict[str, Any], dataset: Dataset | None) -> str:
    """The report as one self-contained HTML page: no scripts, nothing loaded from elsewhere."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asi_verify.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["share"] = lambda value: (
        "no image" if value is None else f"{100 * value:.1f} %"
    )
    environment.filters["number"] = lambda value: (
        "not a number" if value is None else f"{value:.3f}"
    )
    environment.filters["exact"] = float.fromhex
    environment.filters["interval"] = _interval
    environment.filters["ends"] = lambda ends: f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"
    environment.filters["part"] = _part
    environment.filters["splits"] = _in_order
    environment.filters["setting"] = _setting
    environment.filters["ceiling"] = ceiling_text
    environment.filters["classes"] = lambda label: _class_names(label, report)
    environment.filters["decided"] = lambda label, decision: _decided(label, decision, report)
    charts = {
        "margins": margins_before_and_after(
            report["before"]["margins"] if report["model"]["corrected"] else [],
            report["after"]["margins"],
        )
    }
    if report["rounds"]:
        total = report["dataset"]["samples"][report["dataset"]["split"]]
        charts["epochs"] = certified_over_epochs(report["rounds"], total)
    if report["bubbles"] is not None:
        charts["bubbles"] = bubble_radii(
            [(entry["radius"], entry["images"]) for entry in report["bubbles"]["distribution"]],
            report["bubbles"]["step"],
        )
    return environment.get_template("report.html.j2").render(
        report=report,
        has_pictures=_HAS_PICTURES if dataset is not None else "",
        charts=charts,
        pictures=_pictures(report, dataset),
        most_pictures=_MOST_PICTURES,
    )


def _class_names(label: list[int], report: dict[str, Any]) -> str:
    names = report["dataset"]["classes"]
    if report["dataset"]["task"] == "multi-label":
        chosen = [names[i] for i, decision in enumerate(label) if decision]
        return ", ".join(chosen) or "none"
    (only,) = label
    return str(names[only])


def _decided(label: int, decision: int | None, report: dict[str, Any]) -> str:
    """One class; of several decisions, one of them."""
    names = report["dataset"]["classes"]
    if decision is None:
        return str(names[label])
    return f"{names[decision]}: {'yes' if label else 'no'}"


def _interval(ends: dict[str, str] | None) -> str:
    """The interval of a share, behind the count that it belongs to; nothing if there is none."""
    if ends is None:
        return ""
    low, high = (100 * float.fromhex(ends[end]) for end in ("low", "high"))
    return f" ({low:.1f} to {high:.1f} %)"


def _part(count: int, total: int) -> str:
    """A count of a total, with its share."""
    return f"{count} of {total} ({100 * count / total:.1f} %)" if total else "none"


def _in_order(splits: Iterable[str]) -> list[str]:
    """Names of splits as they are used, others behind them."""
    usual = ("train", "val", "test")
    return sorted(splits, key=lambda name: (usual.index(name) if name in usual else 3, name))


def _setting(value: Any) -> str:
    """A setting as a person writes it; in files floats are exact."""
    is_exact = isinstance(value, str) and value.lstrip("-").startswith("0x")
    return f"{float.fromhex(value):g}" if is_exact else str(value)


def _pictures(report: dict[str, Any], dataset: Dataset | None) -> dict[int, str]:
    """Pictures by row: of contradictions, suspects, the smallest bubbles and bugs.

    Not more than a page can hold.
    """
    if dataset is None:
        return {}
    images = dataset.split(report["dataset"]["split"]).images
    rows = [row for pair in report["audit"]["contradictions"] for row in pair["rows"]]
    if report["never_miss"] is not None:
        rows += [row for pair in report["never_miss"]["contradictions"] for row in pair["rows"]]
    rows += [suspect["row"] for suspect in report["audit"]["suspects"] or ()]
    if report["bubbles"] is not None:
        rows += [entry["row"] for entry in report["bubbles"]["smallest"]]
    rows += [bug["row"] for bug in report["bugs"]]
    chosen = list(dict.fromkeys(rows))[:_MOST_PICTURES]
    return {row: picture(images[row]) for row in chosen}
