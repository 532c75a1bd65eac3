"""Claim: whole training sets are proved far beyond 1/255, and what that costs on test images.

For each set and radius ``asi-verify run`` from nothing, checked as in
``benchmarks/zero_repeatable_errors.py``, whose runs at 1/255 are used. A radius is given as a share
of the set's ceiling too: from there on regions of different labels meet, and no model can be right
everywhere in them. The test split is measured and selects nothing.

    python benchmarks/radius_curve.py [SET:LEVEL[:BOUNDS] ...]

``breastmnist:4:crown-ibp`` is 4/255, trained on CROWN-IBP and not on intervals.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

from _results import table, write
from _runs import BOUNDS, Wanted
from zero_repeatable_errors import run

SETS = ("breastmnist", "pneumoniamnist", "retinamnist")
WANTED = [
    "breastmnist:1",
    "breastmnist:2",
    "breastmnist:3",
    "breastmnist:4:crown-ibp",
    "pneumoniamnist:1",
    "pneumoniamnist:2:crown-ibp",
    "retinamnist:1",
    "retinamnist:2:crown-ibp",
]
SEED = "0"
PICTURE = Path(__file__).parent.parent / "docs" / "results" / "radius_curve.svg"


def point(wanted: str) -> dict[str, Any]:
    """One run, with the ceiling that its audit found."""
    dataset, level, *given = wanted.split(":")
    bounds = given[0] if given else BOUNDS
    asked = Wanted(dataset, int(SEED), radius=f"{level}/255", bounds=bounds)
    found = run(asked)
    audit = json.loads((asked.folder / "audit.json").read_text())
    ceiling = Fraction(audit["ceilings"]["outside_contradictions"])
    more = {"bounds": bounds, "ceiling": f"{float(ceiling * 255):g}/255", "level": int(level)}
    return {**found, **more, "share": float(Fraction(int(level), 255) / ceiling)}


def draw(points: list[dict[str, Any]]) -> None:
    """Test accuracy over the share of the ceiling; lines for what needs no proof of this kind."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for colour, dataset in zip(("C0", "C1", "C2"), SETS, strict=True):
        own = [p for p in points if p["dataset"] == dataset]
        if not own:
            continue
        shares = [p["share"] for p in own]
        accuracies = [p["test_accuracy"] for p in own]
        axes.plot(shares, accuracies, color=colour, label=f"{dataset}, corrected")
        for p in own:
            whole = p["status"].startswith("zero")
            face = colour if whole else "white"
            axes.plot(p["share"], p["test_accuracy"], "o", color=colour, markerfacecolor=face)
            axes.annotate(
                f"{p['level']}/255",
                (p["share"], p["test_accuracy"]),
                textcoords="offset points",
                xytext=(4, 5),
                fontsize="x-small",
            )
        ordinary, neighbour = own[0]["ordinary_accuracy"]["test"], own[0]["neighbour_accuracy"]
        axes.plot([0], [ordinary], "s", color=colour, label=f"{dataset}, ordinary network")
        axes.plot([1], [neighbour], "x", color=colour, label=f"{dataset}, nearest neighbour")
    axes.set_xlim(-0.03, 1.06)
    axes.set_xlabel("radius at which the whole training set is proved, share of the ceiling")
    axes.set_ylabel("test accuracy")
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="x-small", ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    # The same bytes for the same figures.
    with mpl.rc_context({"svg.hashsalt": "radius_curve", "svg.fonttype": "none"}):
        figure.savefig(PICTURE, format="svg", metadata={"Date": None})


def main() -> None:
    """Run what is wanted, draw, and write the page."""
    points = [point(wanted) for wanted in sys.argv[1:] or WANTED]
    rows = [
        [
            p["dataset"],
            p["radius"],
            f"{p['share']:.0%} of {p['ceiling']}",
            f"{p['accepted']} of {p['samples']}",
            p["status"],
            p["training_errors"],
            f"{p['test_accuracy']:.1%}",
            f"{p['ordinary_accuracy']['test']:.1%}",
            f"{p['neighbour_accuracy']:.1%}",
            p["bounds"],
            " + ".join(map(str, p["epochs"])),
            "" if p["processor_seconds"] is None else f"{p['processor_seconds']:.0f} s",
        ]
        for p in points
    ]
    header = ["data set", "radius", "share of the ceiling", "certificates accepted", "status"]
    header += ["training errors", "test, corrected", "test, ordinary", "test, nearest neighbour"]
    header += ["trained on", "epochs", "processor time"]
    text = (
        f"Small CNN, seed {SEED}, every run from nothing, with the default settings but for the "
        "bounds trained on. The ceiling is half the smallest distance between training images of "
        "different labels. The nearest neighbour stands at the ceiling: a look-up table is right "
        "everywhere below it. Open circles: radii at which some training images stay open.\n\n"
        "![Test accuracy over the radius at which the whole training set is proved]"
        f"({PICTURE.name})\n\n{table(header, rows)}"
    )
    write("radius_curve", "How far whole training sets are proved", {"points": points}, text)
    draw(points)


if __name__ == "__main__":
    main()
