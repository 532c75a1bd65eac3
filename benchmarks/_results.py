"""Where benchmarks leave what they found: ``docs/results/``, as JSON and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from asi_verify._provenance import machine, versions

__all__ = ["RUNS", "table", "write"]

_ROOT = Path(__file__).parent.parent
RUNS = _ROOT / "out" / "benchmarks"
"""Run folders; a benchmark that was stopped goes on in them."""


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(name: str, claim: str, figures: dict[str, Any], text: str) -> None:
    """Write the figures and a page about them, with the machine on which they were obtained."""
    where = machine()
    made = {"claim": claim, "figures": figures, "machine": where, "versions": versions()}
    place = _ROOT / "docs" / "results"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.json").write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    on = ", ".join(f"{key} {value}" for key, value in {**where, **versions()}.items())
    page = f"# {claim}\n\n{text}\n\nMade by `benchmarks/{name}.py` on: {on}.\n"
    (place / f"{name}.md").write_text(page)
    print(page)
