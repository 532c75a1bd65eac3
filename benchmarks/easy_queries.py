"""Claim: an easy competition query is answered in under 3 s, and in under 0.3 s within a list.

Of each benchmark in ``docs/results/vnncomp.json`` the instance that was answered soonest, if that
took less than a second: by the command ``asi-verify vnnlib`` in a process of its own, and by
``--batch`` with all of them in one list, three times each. The list's figures are what the command
writes for each row; what loads torch, or a model, first in the list has that in its time.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _results import table, write

REPEATS = 3
EASY = 1.0
"""Seconds."""
COMMAND_SECONDS, LISTED_SECONDS = 3.0, 0.3
"""What is aimed at."""
COMMAND = [sys.executable, "-m", "asi_verify.cli", "vnnlib"]
FOUND = Path(__file__).parent.parent / "docs" / "results" / "vnncomp.json"


def easiest() -> list[dict[str, Any]]:
    """Of each benchmark the instance that was answered soonest."""
    instances = json.loads(FOUND.read_text("utf-8"))["figures"]["instances"]
    best: dict[str, dict[str, Any]] = {}
    for one in instances:
        known = best.get(one["benchmark"])
        if one["answer"] == one["expected"] and (
            known is None or one["seconds"] < known["seconds"]
        ):
            best[one["benchmark"]] = one
    return [one for one in best.values() if one["seconds"] < EASY]


def files(place: Path, one: dict[str, Any]) -> tuple[Path, Path]:
    """The model and the property of an instance."""
    with (place / "instances.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            folder = place / row["benchmark"]
            name = f"{Path(row['onnx']).stem} {Path(row['vnnlib']).stem}"
            if (row["benchmark"], name) == (one["benchmark"], one["instance"]):
                return folder / row["onnx"], folder / row["vnnlib"]
    raise LookupError(one["instance"])


def alone(model: Path, property_: Path, expected: str) -> float:
    """Seconds of the command, until it has ended."""
    start = time.perf_counter()
    said = subprocess.run(
        [*COMMAND, str(model), str(property_)], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    assert said.stdout.split("\n", 1)[0] == expected, said
    return seconds


def listed(pairs: list[tuple[Path, Path]], expected: list[str]) -> list[float]:
    """Seconds of each row of one list."""
    with tempfile.TemporaryDirectory() as name:
        batch, results = Path(name) / "batch.csv", Path(name) / "results.csv"
        with batch.open("w", newline="") as file:
            csv.writer(file).writerows([model, property_, 60] for model, property_ in pairs)
        command = [*COMMAND, "--batch", str(batch), "--results", str(results)]
        subprocess.run(command, capture_output=True, check=False)
        with results.open(newline="") as file:
            rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == expected
    return [float(row["seconds"]) for row in rows]


def main() -> None:
    """Ask and write the page."""
    place = Path(os.environ["ASI_VERIFY_SHARED"]) / "data" / "vnncomp"
    chosen = easiest()
    pairs = [files(place, one) for one in chosen]
    expected = [one["expected"] for one in chosen]
    batches = [listed(pairs, expected) for _ in range(REPEATS)]
    lines, figures = [], []
    for number, (one, pair) in enumerate(zip(chosen, pairs, strict=True)):
        command = statistics.median(alone(*pair, one["expected"]) for _ in range(REPEATS))
        row = statistics.median(batch[number] for batch in batches)
        figures.append({"command": command, "instance": one["instance"], "listed": row})
        name = f"{one['benchmark']} {one['instance']}"
        lines.append([name, one["expected"], f"{command:.2f} s", f"{row:.3f} s"])
    commanded = sum(one["command"] < COMMAND_SECONDS for one in figures)
    quick = sum(one["listed"] < LISTED_SECONDS for one in figures)
    text = (
        f"{commanded} of {len(figures)} in under {COMMAND_SECONDS:.0f} s from the command line, "
        f"{quick} of {len(figures)} in under {LISTED_SECONDS} s within a list.\n\n"
        f"Medians of {REPEATS}; the command's time is that of its whole process; what loads torch "
        "or a model first in the list has that in its time.\n\n"
        + table(["instance", "answer", "command", "in a list"], lines)
    )
    write("easy_queries", "Easy competition queries take a moment", {"queries": figures}, text)


if __name__ == "__main__":
    main()
