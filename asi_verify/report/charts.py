"""Charts as SVG text that can stand inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from asi_verify.core.radius import Radius

__all__ = ["bubble_radii", "certified_over_epochs", "margins_before_and_after"]

_BEFORE, _AFTER, _INK = "#b4552d", "#1f6f8b", "#333a41"
_BINS = 60
_MOST_NUMBERS = 40


def margins_before_and_after(before: Sequence[float | None], after: Sequence[float | None]) -> str:
    """Histograms of the margins of all samples; what is left of 0 is an error.

    Args:
        before: of the model as it was given; empty if nothing was corrected.
        after: of the model that the report is about.
    """
    first, last = _finite(before), _finite(after)
    together = np.concatenate([first, last])
    low, high = np.percentile(together, [0.5, 99.5])
    bins = np.linspace(min(low, 0.0), max(high, 1e-6), _BINS)
    figure, axes = _figure()
    if len(first):
        inside = np.clip(first, bins[0], bins[-1])
        axes.hist(inside, bins, color=_BEFORE, alpha=0.55, label="before")
    name = "after" if len(first) else "images"
    axes.hist(np.clip(last, bins[0], bins[-1]), bins, color=_AFTER, alpha=0.55, label=name)
    axes.axvline(0, color=_INK, linewidth=1)
    axes.set_xlabel("margin: the label's logit less the largest other one")
    axes.set_ylabel("images")
    axes.legend(frameon=False)
    return _svg(figure)


def certified_over_epochs(rounds: Sequence[dict[str, Any]], samples: int) -> str:
    """How many samples the training believed to be certified, epoch by epoch."""
    figure, axes = _figure()
    offset = 0
    for record in rounds:
        epochs = [offset + entry["epoch"] for entry in record["history"]]
        axes.plot(epochs, [entry["certified"] for entry in record["history"]], color=_AFTER)
        full = [e for e, entry in zip(epochs, record["history"], strict=True) if _whole(entry)]
        if full and not offset:
            axes.axvspan(epochs[0], full[0], color=_BEFORE, alpha=0.08, label="radius rising")
        offset += record["epochs"]
    axes.axhline(samples, color=_INK, linewidth=0.8, linestyle=":")
    axes.set_xlabel("epoch")
    axes.set_ylabel("images certified (screening)")
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def bubble_radii(distribution: Sequence[tuple[str | None, int]], step: str) -> str:
    """How many images have a bubble of each radius, in grey levels; at the left those without.

    Args:
        distribution: pairs of the radius as text, None for no bubble, and the images.
        step: of the radii, likewise.
    """
    from matplotlib.ticker import MaxNLocator

    width = float(Radius.of(step).grey_levels)
    figure, axes = _figure()
    left = -2 * width
    places = [left if r is None else float(Radius.of(r).grey_levels) for r, _ in distribution]
    colors = [_BEFORE if radius is None else _AFTER for radius, _ in distribution]
    bars = axes.bar(places, [count for _, count in distribution], 0.8 * width, color=colors)
    if len(places) <= _MOST_NUMBERS:
        axes.bar_label(bars, color=_INK, fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    low, high = min(0.0, *places), max(places)
    whole = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, max(high, width))
    ticks = [tick for tick in whole if 0 <= tick <= high]
    none = [left] if left in places else []
    axes.set_xticks(none + ticks, [*("none" for _ in none), *(f"{tick:g}" for tick in ticks)])
    axes.set_xlim(low - width, high + width)
    axes.set_xlabel("largest radius proved, in grey levels (1/255 of the pixel range)")
    axes.set_ylabel("images")
    return _svg(figure)


def _whole(entry: dict[str, Any]) -> bool:
    return bool(entry["radius_share"] >= 1)


def _finite(values: Sequence[float | None]) -> Any:
    return np.array([value for value in values if value is not None], dtype=float)


def _figure() -> tuple[Any, Any]:
    # The object interface: pyplot would keep every figure and choose a window system.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    # A fixed salt and no date: the same report is the same bytes. Text stays text.
    with mpl.rc_context({"svg.hashsalt": "asi-verify", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return re.sub(r"^.*?(?=<svg)", "", text, flags=re.DOTALL)
