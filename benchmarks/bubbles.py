"""Claim: around every corrected training image there is a bubble, mostly larger than was asked for.

Needs the runs that ``benchmarks/zero_repeatable_errors.py`` and ``benchmarks/radius_curve.py``
leave. The largest region of each training image that intervals or CROWN-IBP prove, in steps of half
a grey level, and how many images of the other splits lie in any.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from _results import RUNS, table, write

import asi_verify as asi
from asi_verify.core.radius import Radius
from asi_verify.prove import CrownIbp, Falsify, Intervals

WANTED = {
    "breastmnist-0": "1/255",
    "breastmnist-0-radius-4-crown-ibp": "4/255",
    "pneumoniamnist-0": "1/255",
    "pneumoniamnist-0-radius-2-crown-ibp": "2/255",
}
MOST, STEP = "12/255", "0.5/255"
PICTURE = Path(__file__).parent.parent / "docs" / "results" / "bubbles.svg"


def measured(run: str) -> dict[str, Any]:
    """The bubbles of one run."""
    start = time.process_time()
    stages = (Falsify(), Intervals(), CrownIbp())
    found = asi.bubbles(RUNS / run, most=MOST, step=STEP, stages=stages)
    proved = [0.0 if r is None else float(r.value * 255) for r in found.radii.proved]
    return {
        "asked": WANTED[run],
        "others": {name: part.to_json() for name, part in found.others.items()},
        "proved": sorted(proved),
        "run": run,
        "seconds": round(time.process_time() - start, 1),
        "smallest": [{"row": row, "radius": proved[row]} for row in found.smallest(5)],
    }


def draw(runs: list[dict[str, Any]]) -> None:
    """The share of images with a bubble of at least each radius."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    steps = int(Radius.of(MOST).value / Radius.of(STEP).value)
    radii = [float(Radius.of(STEP).value * 255) * i for i in range(steps + 1)]
    for one in runs:
        counts = Counter(one["proved"])
        shares = [
            sum(n for r, n in counts.items() if r >= radius) / len(one["proved"])
            for radius in radii
        ]
        axes.plot(radii, shares, drawstyle="steps-pre", label=one["run"])
    axes.set_xlabel("radius, grey levels")
    axes.set_ylabel("training images with a bubble so large")
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    axes.set_ylim(0, 1.05)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="x-small")
    # The same bytes for the same figures.
    with mpl.rc_context({"svg.hashsalt": "bubbles", "svg.fonttype": "none"}):
        figure.savefig(PICTURE, format="svg", metadata={"Date": None})


def main() -> None:
    """Measure, draw and write the page."""
    runs = [measured(run) for run in WANTED]
    rows = []
    for one in runs:
        proved = one["proved"]
        middle = proved[len(proved) // 2]
        inside = [
            f"{part['inside']} of {part['samples']} ({part['right']} right)"
            for part in one["others"].values()
        ]
        sizes = [f"{radius:g}/255" for radius in (proved[0], middle, proved[-1])]
        rows.append([one["run"], one["asked"], *sizes, *inside, f"{one['seconds']:.0f} s"])
    header = ["run", "corrected for", "smallest bubble", "median", "largest"]
    header += [f"{name} images inside any" for name in runs[0]["others"]]
    header += ["processor"]
    text = (
        f"Radii are multiples of {STEP}, up to {MOST}; a bubble of that radius may be larger. "
        "Proved by intervals or CROWN-IBP under float32 semantics; stronger bounds would make "
        "bubbles larger. An image inside a bubble has the answer that is proved there, right or "
        "wrong: a bubble is about the training image in its middle.\n\n"
        f"![Share of training images over the radius of their bubbles]({PICTURE.name})\n\n"
        + table(header, rows)
    )
    write("bubbles", "Certainty bubbles", {"runs": runs}, text)
    draw(runs)


if __name__ == "__main__":
    main()
