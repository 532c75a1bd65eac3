"""Claim: what a run gives on MedMNIST: accuracy before and after, and what is certified of it.

For each data set, network and seed: ``asi-verify run``, the same runs that other benchmarks use;
then ``asi.certify`` of the corrected model for the labels of train, val and test, at several radii,
by bounds alone. The page holds every run of this kind that is finished, so that one command after
the other fills it. What was stopped goes on, in the middle of a training too.

    python benchmarks/medmnist_table.py [--set NAME ...] [--network NAME ...] [--seed N ...]
        [--radius R] [--device cpu] [--page]
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import _runs
from _medmnist_page import PICTURE, RADII, Cell, draw, full, short, with_block
from _results import write
from _runs import NETWORK, RADIUS, Cost, Wanted, keep, made, measured

import asi_verify as asi
from asi_verify._provenance import machine, versions
from asi_verify.data import find_file, medmnist_sets

NAME = "medmnist_table"
DOCS = Path(__file__).parent.parent / "docs"


def cell(wanted: Wanted, device: str) -> Cell:
    """A run and the certified shares of its model; kept, and not done again.

    Raises:
        RuntimeError: the run or its shares ended with an error; says why in one line.
    """
    kept = wanted.folder / f"{NAME}.json"
    if kept.is_file():
        found: Cell = json.loads(kept.read_text())
        return found
    cost = made(wanted)
    script = Path(__file__).with_name("_shares.py")
    ended = measured([sys.executable, script, wanted.dataset, wanted.folder, device, *RADII])
    if ended.code:
        raise RuntimeError(f"certified shares of {wanted.folder.name}: {ended.last_line}")
    found = figures(wanted, cost, ended.cost.peak_bytes)
    keep(kept, found)
    return found


def figures(wanted: Wanted, cost: Cost | None, peak_bytes: int | None) -> Cell:
    """What a finished run and the shares that lie with it say.

    Args:
        wanted: the run.
        cost: of the run, if it is known.
        peak_bytes: memory of the process that found the shares.
    """
    result = asi.load(wanted.folder)
    summary = result.summary
    shares = [json.loads(path.read_text()) for path in (wanted.folder / "shares").glob("*.json")]
    certified: dict[str, dict[str, float]] = {radius: {} for radius in RADII}
    for share in shares:
        certified[share["radius"]][share["split"]] = share["accepted"] / share["samples"]
    return {
        **asdict(wanted),
        "ceilings": result.audit["ceilings"],
        "certified": certified,
        "contradictions": summary["contradictions"],
        "corrected": summary["after"]["accuracy"],
        "machine": {**machine(), **versions()},
        "model": result.digest,
        "ordinary": summary["before"]["accuracy"],
        "run": None if cost is None else asdict(cost),
        "samples": summary["samples"],
        "shares": {
            "peak_bytes": peak_bytes,
            "processor_seconds": round(sum(share["processor_seconds"] for share in shares), 1),
            "seconds": round(sum(share["seconds"] for share in shares), 1),
        },
        "stages": [stage["name"] for stage in shares[0]["stages"]],
        "status": str(result.status),
    }


def finished() -> list[Cell]:
    """Every cell that is kept, the sets in their usual order."""
    order = {name: place for place, name in enumerate(medmnist_sets())}
    cells = [json.loads(path.read_text()) for path in _runs.RUNS.glob(f"*/{NAME}.json")]
    return sorted(
        cells,
        key=lambda one: (
            order.get(one["dataset"], len(order)),
            one["dataset"],
            one["network"],
            Fraction(one["radius"]),
            one["seed"],
        ),
    )


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--set",
        nargs="+",
        choices=list(medmnist_sets()),
        default=[name for name in medmnist_sets() if find_file(name) is not None],
        metavar="NAME",
        help="data sets; if none is named, those whose files are found. One that is named and not "
        "found is downloaded where there is a network",
    )
    parser.add_argument(
        "--network", nargs="+", default=[NETWORK], metavar="NAME", help="see 'asi-verify models'"
    )
    parser.add_argument("--seed", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument(
        "--radius", default=RADIUS, help="that networks are corrected for, such as '2/255'"
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="where bounds are proposed for the certified shares, such as 'cuda'. Training, and "
        "everything that decides what is certified, runs on the CPU whatever is given here",
    )
    parser.add_argument(
        "--page", action="store_true", help="write the page of what is finished, and run nothing"
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Fill in what is wanted and write the page; returns 1 if anything could not be made."""
    given = parsed()
    failed = 0
    wanted = itertools.product(given.set, given.network, given.seed)
    for dataset, network, seed in () if given.page else wanted:
        try:
            one = cell(Wanted(dataset, seed, network, given.radius), given.device)
        except RuntimeError as error:
            failed = 1
            print(error, file=sys.stderr)
        else:
            print(dataset, network, seed, one["status"], flush=True)
    cells = finished()
    if not cells:
        print("nothing is finished yet, so no page is written", file=sys.stderr)
        return 1
    write(NAME, "MedMNIST: accuracy, certified shares and cost", {"cells": cells}, full(cells))
    draw(cells, DOCS / "results" / PICTURE)
    page = DOCS / "results.md"
    page.write_text(with_block(page.read_text(), short(cells)))
    return failed


if __name__ == "__main__":
    sys.exit(main())
