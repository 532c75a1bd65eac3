"""Claim: every method agrees with brute force, on thousands of random networks and properties.

For every ONNX operator, random tiny networks that use it; for each a random region (a box, an
L-infinity, L1 or L2 ball, a few changed pixels) and properties that hold or fail clearly, by a
hair, or by nothing. The smallest value over the region is found exactly, from the operator's text
in the ONNX standard: in rationals over all activation patterns, or by branch and bound and points
to 60 digits (``tests/support/agreement.py``). Then every method is asked. Wrong is a ``Proved``
where the minimum is not positive, a ``Refuted`` whose witness is outside of the region or right,
and both answers to one query.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from _results import table, write

_TESTS = Path(__file__).parent.parent / "tests"
FIRST_SEED = 1000
"""The tests use those below."""


def asked(operator: str, networks: int) -> dict[str, Any]:
    """What was found about one operator."""
    sys.path.insert(0, str(_TESTS))
    from support.agreement import answers, queries

    counts: Counter[str] = Counter()
    methods: dict[str, Counter[str]] = {}
    wrong: list[str] = []
    for seed in range(FIRST_SEED, FIRST_SEED + networks):
        some = list(queries(operator, seed))
        counts["networks"] += bool(some)
        for query in some:
            counts["queries"] += 1
            counts[query.region] += 1
            for answer in answers(query):
                method = methods.setdefault(answer.method, Counter())
                method[type(answer.verdict).__name__.lower()] += 1
                method["due"] += answer.due
                method["missed"] += answer.missed
                if answer.wrong:
                    wrong.append(f"seed {seed}, {answer.method}: {answer.wrong}")
    return {"operator": operator, "counts": counts, "methods": methods, "wrong": wrong}


def main() -> int:
    """Ask and write the page; returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=50, help="for each operator")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    sys.path.insert(0, str(_TESTS))
    from support.agreement import METHODS, OPERATORS

    start = time.perf_counter()
    found = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for one in pool.map(asked, OPERATORS, [given.networks] * len(OPERATORS)):
            print(one["operator"], dict(one["counts"]), one["wrong"], flush=True)
            found.append(one)
    found.sort(key=lambda one: one["operator"])
    total = sum((one["counts"] for one in found), Counter())
    wrong = [f"{one['operator']}, {line}" for one in found for line in one["wrong"]]
    of_methods = {
        name: sum((one["methods"].get(name, Counter()) for one in found), Counter())
        for name in METHODS
    }
    keys = ("proved", "refuted", "undecided")
    by_method = table(
        ["method", *keys, "wrong", "had to decide", "did not"],
        [
            [name, *(f"{c[key]:,}" for key in keys), _wrong(wrong, name), c["due"], c["missed"]]
            for name, c in of_methods.items()
        ],
    )
    by_operator = table(
        ["operator", "networks", "queries", *METHODS],
        [
            [o["operator"], o["counts"]["networks"], o["counts"]["queries"], *_cells(o)]
            for o in found
        ],
    )
    regions = ", ".join(
        f"{name} {total[name]:,}" for name in ("box", "linf", "l1", "l2", "k-pixel")
    )
    text = (
        f"{total['networks']:,} networks, {total['queries']:,} queries ({regions}), "
        f"{len(wrong)} wrong answers.\n\n{by_method}\n\nA method has to decide a query if it is "
        "complete for its operators and region, and the minimum is further from 0 than 1/50; SMT "
        "only where the property holds.\n\nFor each operator, how many queries each method proved "
        f"+ refuted:\n\n{by_operator}"
    )
    for line in wrong:
        text += f"\n\n**Wrong**: {line}"
    figures = {
        "operators": [{k: o[k] for k in ("operator", "counts", "methods")} for o in found],
        "methods": of_methods,
        "seconds": round(time.perf_counter() - start),
        "total": total,
        "wrong": wrong,
    }
    write("brute_force", "Every method against brute force", figures, text)
    return int(bool(wrong))


def _wrong(wrong: list[str], method: str) -> int:
    return sum(f", {method}: " in line for line in wrong)


def _cells(one: dict[str, Any]) -> list[str]:
    return [f"{c['proved']} + {c['refuted']}" for c in one["methods"].values()]


if __name__ == "__main__":
    sys.exit(main())
