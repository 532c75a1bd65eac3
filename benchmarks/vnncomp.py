"""Claim: competition queries answered without an error, each ``unsat`` with a proof of its own.

Runs the 104 shared instances of the VNN-COMP benchmarks 2021-2025 with known answers, each within
its own limit or ``--most`` seconds, in one process; ``--only`` names benchmarks. Before it counts,
an ``unsat`` was accepted by the checker and a ``sat`` replayed in ONNX Runtime. The reference is
the competition's winner on the same instances, with 60 s each on two cores.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from _results import table, write

from asi_verify._vnnlib import solve_vnnlib
from asi_verify.errors import UsageError

SOLVED = ("sat", "unsat")
REFERENCE = {
    "cores": 2,
    "limit_seconds": 60,
    "median_seconds": 8.4,
    "seconds": 1415,
    "solved": 92,
    "wrong": 0,
}
"""The competition's winner on these instances, 60 s each on two cores."""


def answer(
    place: Path, row: dict[str, str], limit: float, semantics: str, cores: int
) -> dict[str, Any]:
    """One instance: what was answered, in how many seconds, and why not."""
    folder = place / row["benchmark"]
    try:
        found = solve_vnnlib(
            folder / row["onnx"],
            folder / row["vnnlib"],
            timeout=limit,
            semantics=semantics,
            cores=cores,
        )
        answered, seconds, reason = found.answer.value, found.seconds, found.reason
    except UsageError as error:
        answered, seconds, reason = "unknown", 0.0, str(error)
    if answered in SOLVED and seconds > limit:
        answered, reason = "timeout", f"{answered}, but after {seconds:.1f} s"
    return {
        "answer": answered,
        "benchmark": row["benchmark"],
        "expected": row["expected"],
        "instance": f"{Path(row['onnx']).stem} {Path(row['vnnlib']).stem}",
        "reason": reason,
        "seconds": round(seconds, 3),
    }


def main() -> None:
    """Ask and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=float, default=60.0, help="seconds for one instance")
    parser.add_argument("--only", nargs="*", help="benchmarks; all if not given")
    parser.add_argument("--semantics", default="float32", help="float32, or real as VNN-COMP")
    parser.add_argument("--cores", type=int, default=1, help="processes for long searches")
    options = parser.parse_args()
    place = Path(os.environ["ASI_VERIFY_SHARED"]) / "data" / "vnncomp"
    with (place / "instances.csv").open(newline="") as file:
        rows = [
            r for r in csv.DictReader(file) if not options.only or r["benchmark"] in options.only
        ]
    found = []
    for row in rows:
        limit = min(float(row["timeout_s"]), options.most)
        found.append(answer(place, row, limit, options.semantics, options.cores))
        print(
            *(found[-1][key] for key in ("benchmark", "instance", "expected", "answer", "seconds"))
        )
    solved = [one for one in found if one["answer"] in SOLVED]
    wrong = [one for one in solved if one["answer"] != one["expected"]]
    seconds = [one["seconds"] for one in found]
    figures = {
        "instances": found,
        "cores": options.cores,
        "limit_seconds": options.most,
        "median_seconds": statistics.median(seconds),
        "reference": REFERENCE,
        "seconds": sum(seconds),
        "semantics": options.semantics,
        "solved": len(solved) - len(wrong),
        "wrong": len(wrong),
    }
    write("vnncomp", "Competition queries (VNN-LIB) answered and checked", figures, page(figures))


def page(figures: dict[str, Any]) -> str:
    """What was found, in tables."""
    found = figures["instances"]
    lines = []
    for name in dict.fromkeys(one["benchmark"] for one in found):
        some = [one for one in found if one["benchmark"] == name]
        right = Counter(one["answer"] for one in some if one["answer"] == one["expected"])
        wanted = Counter(one["expected"] for one in some)
        lines.append(
            [
                name,
                *(f"{right[kind]} of {wanted[kind]}" for kind in SOLVED),
                f"{statistics.median(one['seconds'] for one in some):.2f}",
                f"{max(one['seconds'] for one in some):.1f}",
            ]
        )
    rest = [one for one in found if one["answer"] not in SOLVED]
    open_ = table(
        ["instance", "answer", "reason"],
        [[f"{one['benchmark']} {one['instance']}", one["answer"], one["reason"]] for one in rest],
    )
    reference = figures["reference"]
    solved = f"{figures['solved']} of {len(found)}"
    right = [one for one in found if one["answer"] == one["expected"]]
    soon = sum(one["seconds"] <= reference["limit_seconds"] for one in right)
    whole = table(
        ["", "here", "competition's winner"],
        [
            ["instances solved", solved, f"{reference['solved']} of 104"],
            [
                f"of these within {reference['limit_seconds']} s each",
                soon,
                reference["solved"],
            ],
            ["wrong answers", figures["wrong"], reference["wrong"]],
            ["seconds, median", f"{figures['median_seconds']:.2f}", reference["median_seconds"]],
            ["seconds, all", f"{figures['seconds']:.0f}", reference["seconds"]],
            [
                f"seconds, all, {reference['limit_seconds']} at most of each",
                f"{sum(min(one['seconds'], reference['limit_seconds']) for one in found):.0f}",
                reference["seconds"],
            ],
            [
                "median in the reference's",
                f"{figures['median_seconds'] / reference['median_seconds']:.3f}",
                "1",
            ],
            ["cores", figures["cores"], reference["cores"]],
            ["seconds allowed for each", figures["limit_seconds"], reference["limit_seconds"]],
        ],
    )  # fmt: skip
    by_name = table(["benchmark", "sat", "unsat", "median seconds", "longest"], lines)
    return (
        f"Semantics: {figures['semantics']}. Every `unsat` was accepted by the checker from its "
        "files, which is in the seconds; every `sat` was replayed in ONNX Runtime with tolerance "
        f"0.\n\n{whole}\n\n{by_name}\n\nNot solved:\n\n{open_ if rest else 'none.'}"
    )


if __name__ == "__main__":
    main()
