"""The page of ``benchmarks/medmnist_table.py``: its tables and plot, from kept figures alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from _results import table

from asi_verify.data import medmnist_sets

__all__ = ["PICTURE", "RADII", "Cell", "draw", "full", "short", "with_block"]

Cell = dict[str, Any]
"""What ``medmnist_table.py`` keeps of one data set, network, radius and seed."""

Column = Callable[[Sequence[Cell]], str]
"""From the cells that a line is about, one or those of all seeds, to a text."""

RADII = ("1/255", "2/255", "4/255")
"""At which corrected models are certified."""

SPLITS = ("train", "val", "test")
PICTURE = "medmnist_table.svg"
START, END = "<!-- results: medmnist_table -->\n", "<!-- end of results: medmnist_table -->"

_LINES = (
    "Lines over all seeds give the mean, and the smallest and the largest value. The test split "
    "selected nothing."
)
_STATUS = (
    "The status is that of the training split at the radius that the network was corrected for. "
    "Contradictions: training images whose region meets one of another label. The ceiling, of all "
    "others: the radius below which no regions of different labels meet."
)
_SHARES = (
    "Images whose label is proved to hold in the whole region, of all images of the split; float32 "
    "semantics. Asked are cheap bounds alone ({stages}), so what could be certified is at least "
    "what is shown; `run` also asks CROWN, optimises slopes, branches and asks an SMT solver."
)
_COST = (
    "Each in a process of its own. A run: both trainings, proofs at the radius, report. Shares: "
    "the table above. Time is the clock's, whatever else the machine did, and of all parts where a "
    "run was stopped and went on; the processor's is not known then. Peak memory is the most that "
    "a process had resident at once, in the last part."
)


def groups(cells: Sequence[Cell]) -> Iterator[tuple[tuple[str, str, str], list[Cell]]]:
    """The cells that differ by their seed alone, with set, network and radius."""
    for key, some in itertools.groupby(
        cells, key=lambda c: (c["dataset"], c["network"], c["radius"])
    ):
        yield key, list(some)


def share(value: float) -> str:
    """In percent; what is not everything is not rounded to it."""
    return "100%" if value == 1 else f"{min(value, 0.999):.1%}"


def seconds(value: float) -> str:
    """In whole seconds."""
    return f"{value:.0f} s"


def memory(value: float) -> str:
    """Bytes in GiB."""
    return f"{value / 2**30:.2f} GiB"


def ceiling(value: str | None) -> str:
    """A radius in grey levels."""
    return "none" if value is None else f"{float(Fraction(value) * 255):g}/255"


def over_seeds(values: Sequence[float | None], form: Any) -> str:
    """The mean with the smallest and the largest; what was not measured is left out."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    if min(known) == max(known):
        return str(form(known[0]))
    return f"{form(sum(known) / len(known))} ({form(min(known))} to {form(max(known))})"


def lines(cells: Sequence[Cell], columns: dict[str, Any]) -> str:
    """A table with a line over all seeds of a set, where there are several, and one for each.

    Args:
        cells: in order.
        columns: by heading, what makes a column's text of some cells.
    """
    rows = []
    for (dataset, network, radius), some in groups(cells):
        named = [dataset, network, radius]
        if len(some) > 1:
            texts = [text(some) for text in columns.values()]
            rows.append([f"**{t}**" if t else "" for t in (*named, f"all {len(some)}", *texts)])
        rows += [[*named, one["seed"], *(text([one]) for text in columns.values())] for one in some]
    return table(["data set", "network", "corrected for", "seed", *columns], rows)


def numbers(get: Any, form: Any) -> Any:
    """A column of numbers."""
    return lambda some: over_seeds([get(one) for one in some], form)


def accuracies(which: str) -> dict[str, Any]:
    """Columns of one model's accuracy on each split."""
    return {
        f"{which}, {split}": numbers(lambda c, s=split: c[which].get(s), share) for split in SPLITS
    }


def certified(radius: str, splits: Sequence[str] = SPLITS) -> dict[str, Any]:
    """Columns of the certified share of each split at a radius."""
    return {
        f"{split}, {radius}": numbers(lambda c, s=split: c["certified"][radius].get(s), share)
        for split in splits
    }


def statuses(some: Sequence[Cell]) -> str:
    """The status of one seed, or of how many seeds each is."""
    found = [one["status"] for one in some]
    if len(found) == 1:
        return str(found[0])
    return ", ".join(f"{status}: {found.count(status)}" for status in dict.fromkeys(found))


def same(get: Any) -> Any:
    """A column that says something of the data set, not of the seed."""
    return lambda some: ", ".join(dict.fromkeys(str(get(one)) for one in some))


def cost(what: str) -> dict[str, Any]:
    """Columns of time and memory."""
    return {
        f"{what}, time": numbers(lambda c: (c[what] or {}).get("seconds"), seconds),
        f"{what}, processor": numbers(lambda c: (c[what] or {}).get("processor_seconds"), seconds),
        f"{what}, peak memory": numbers(lambda c: (c[what] or {}).get("peak_bytes"), memory),
    }


def places(cells: Sequence[Cell]) -> str:
    """The machine, or each with its cells."""
    found: dict[str, list[str]] = {}
    for one in cells:
        where = ", ".join(f"{key} {value}" for key, value in one["machine"].items())
        found.setdefault(where, []).append(f"{one['dataset']} {one['network']} {one['seed']}")
    if len(found) == 1:
        return f"All on: {next(iter(found))}."
    return "\n".join(f"- {', '.join(some)} on: {where}." for where, some in found.items())


def missing(cells: Sequence[Cell]) -> str:
    """Which of the 18 sets are not in the table."""
    sets = medmnist_sets()
    present = {one["dataset"] for one in cells}
    others = [name for name in sets if name not in present]
    text = f"{len(present & set(sets))} of the {len(sets)} sets."
    if others:
        text += f" Their files not at hand, or not asked for: {', '.join(others)}."
    return text


def picture_link(folder: str = "") -> str:
    """The plot, for a page that lies beside the folder."""
    said = "For each data set: certified share of train, validation and test over the radius"
    return f"![{said}]({folder}{PICTURE})"


def full(cells: Sequence[Cell]) -> str:
    """The page's text."""
    stages = " then ".join(dict.fromkeys(name for one in cells for name in one["stages"]))
    about = {
        "status": statuses,
        "contradictions": same(lambda c: c["contradictions"]),
        "ceiling": same(lambda c: ceiling(c["ceilings"]["outside_contradictions"])),
    }
    shares: dict[str, Any] = {}
    for radius in RADII:
        shares |= certified(radius)
    costs = {
        **cost("run"),
        "run, parts": same(lambda c: (c["run"] or {}).get("parts", "")),
        **cost("shares"),
    }
    return "\n\n".join(
        [
            missing(cells),
            _LINES,
            picture_link(),
            "## Accuracy and status",
            _STATUS,
            lines(cells, {**about, **accuracies("ordinary"), **accuracies("corrected")}),
            "## Certified shares of the corrected model",
            _SHARES.format(stages=stages),
            lines(cells, shares),
            "## Cost",
            _COST,
            lines(cells, costs),
            places(cells),
        ]
    )


def short(cells: Sequence[Cell]) -> str:
    """What ``docs/results.md`` shows."""
    columns = {
        "status": statuses,
        "test, ordinary": numbers(lambda c: c["ordinary"].get("test"), share),
        "test, corrected": numbers(lambda c: c["corrected"].get("test"), share),
    }
    for split in SPLITS:
        columns |= certified(RADII[0], [split])
    for radius in RADII[1:]:
        columns |= certified(radius, ["test"])
    columns |= cost("run")
    renamed = {
        f"certified {name}" if "/255" in name else name: text for name, text in columns.items()
    }
    return "\n\n".join(
        [missing(cells), lines(cells, renamed), picture_link("results/"), places(cells)]
    )


def with_block(page: str, text: str) -> str:
    """A page with a text between its two markers.

    Raises:
        ValueError: the page has no such markers.
    """
    before, rest = page.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{text}\n\n{END}{after}"


def draw(cells: Sequence[Cell], place: Path) -> None:
    """Certified share of each split over the radius, and at 0 the accuracy; a plot for each set."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    several = list(groups(cells))
    across = min(3, len(several))
    down = -(-len(several) // across)
    figure = Figure(figsize=(3.2 * across + 1, 3.0 * down + 0.6), layout="constrained")
    plots = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, ((dataset, network, radius), some) in zip(plots, several, strict=False):
        for split, marker, colour in zip(SPLITS, "osv", ("C0", "C1", "C2"), strict=True):
            _draw_split(axes, some, split, marker, colour)
        seeds = f"{len(some)} seeds" if len(some) > 1 else "1 seed"
        axes.set_title(f"{dataset}, {network}\nfor {radius}, {seeds}", fontsize="small")
        axes.set_xticks([0, *map(_levels, RADII)])
        axes.set_ylim(-3, 103)
        axes.grid(visible=True, alpha=0.3)
    for axes in plots[len(several) :]:
        axes.set_axis_off()
    figure.supxlabel("radius in grey levels (at 0: accuracy)", fontsize="medium")
    figure.supylabel("certified, % of the split", fontsize="medium")
    handles = [*plots[0].get_legend_handles_labels()[0], _hollow("o", "grey", "ordinary network")]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize="x-small")
    # The same bytes for the same figures.
    with mpl.rc_context({"svg.hashsalt": PICTURE, "svg.fonttype": "none"}):
        figure.savefig(place, format="svg", metadata={"Date": None})


def _draw_split(axes: Any, some: Sequence[Cell], split: str, marker: str, colour: str) -> None:
    """The mean over seeds with a band from smallest to largest; hollow: the ordinary network."""
    points = [
        [100 * one["corrected"][split] for one in some],
        *([100 * one["certified"][radius][split] for one in some] for radius in RADII),
    ]
    before = [100 * one["ordinary"][split] for one in some]
    levels = [0, *map(_levels, RADII)]
    means = [sum(values) / len(values) for values in points]
    axes.plot(levels, means, marker=marker, markersize=4, color=colour, label=split)
    low, high = [min(values) for values in points], [max(values) for values in points]
    axes.fill_between(levels, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.add_line(_hollow(marker, colour, "_", sum(before) / len(before)))


def _hollow(marker: str, colour: str, label: str, height: float = 0) -> Any:
    """A point at radius 0."""
    from matplotlib.lines import Line2D

    hollow = {"markersize": 7, "markerfacecolor": "none", "linestyle": "none"}
    return Line2D([0], [height], marker=marker, color=colour, label=label, **hollow)


def _levels(radius: str) -> float:
    """A radius in grey levels."""
    return float(Fraction(radius) * 255)
