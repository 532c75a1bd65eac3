"""Claim: the cascade settles all that any stage of it settles alone, sooner than branching alone.

The ordinary network of ``benchmarks/ordinary_network.py``, the first test images that it answers
right, at two radii, float32 semantics; one query after the other, with the model built before and
one image that is not counted. Each stage of the cascade alone as it stands there, branch and bound
once more without an end to its parts, and the whole cascade, in one run with the same limit.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from _results import table, write
from ordinary_network import found, trained

from asi_verify.core.linf import LInf
from asi_verify.core.properties import property_for
from asi_verify.data import Samples, load_dataset
from asi_verify.export import Artifact
from asi_verify.prove import Branch, Stage, default_stages, prove

RADII = ["1/255", "2/255"]
IMAGES = 30
SECONDS = 10.0
PICTURE = Path(__file__).parent.parent / "docs" / "results" / "cactus.svg"


def contenders() -> dict[str, tuple[Stage, ...]]:
    """What is asked, by name."""
    alone = {f"{stage.name} alone": (stage,) for stage in default_stages()}
    endless = {"branch without end": (Branch(most_leaves=100_000),)}
    return {**alone, **endless, "cascade": default_stages()}


def asked(
    artifact: Artifact, stages: tuple[Stage, ...], samples: Samples, row: int, radius: str
) -> tuple[str, float]:
    """The verdict on one image, and its seconds."""
    wanted = property_for(samples.labels[row], artifact.network.logits)
    start = time.perf_counter()
    proof = prove(
        artifact,
        LInf.of(radius),
        samples.images[[row]],
        [samples.image_digests[row]],
        [wanted],
        stages,
        per_query_s=SECONDS,
    )
    return found(proof.verdicts[0]), time.perf_counter() - start


def draw(times: dict[str, list[float]]) -> None:
    """Seconds over the number of queries settled, each within these seconds."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    markers = itertools.cycle("osv^D<>ph")
    for name, seconds in times.items():
        if seconds:
            axes.plot(
                range(1, len(seconds) + 1),
                seconds,
                label=name,
                marker=next(markers),
                markersize=4,
                linewidth=2.5 if name == "cascade" else 1.0,
            )
    axes.set_yscale("log")
    axes.set_xlim(0, IMAGES * len(RADII))
    axes.set_xlabel(f"queries settled, of {IMAGES * len(RADII)}")
    axes.set_ylabel("seconds for each")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    # The same bytes for the same figures.
    with mpl.rc_context({"svg.hashsalt": "cactus", "svg.fonttype": "none"}):
        figure.savefig(PICTURE, format="svg", metadata={"Date": None})


def main() -> None:
    """Ask, draw and write the page."""
    data = load_dataset("pneumoniamnist")
    artifact = trained(data)
    samples = data.split("test")
    answers = artifact.session.run((samples.images / 255).astype(np.float32)).argmax(axis=1)
    right = np.flatnonzero(answers == samples.labels.reshape(-1))[: IMAGES + 1].tolist()
    times: dict[str, list[float]] = {}
    figures: dict[str, Any] = {"images": right[1:], "limit": SECONDS, "radii": RADII}
    rows = []
    for name, stages in contenders().items():
        asked(artifact, stages, samples, right[0], RADII[0])
        taken = [
            asked(artifact, stages, samples, row, radius) for radius in RADII for row in right[1:]
        ]
        times[name] = sorted(seconds for verdict, seconds in taken if verdict != "undecided")
        spent = [seconds for _, seconds in taken]
        verdicts = [verdict for verdict, _ in taken]
        figures[name] = {"seconds": spent, "verdicts": verdicts}
        rows.append(
            [
                name,
                verdicts.count("proved"),
                verdicts.count("refuted"),
                verdicts.count("undecided"),
                f"{np.median(times[name]):.3f} s" if times[name] else "",
                f"{times[name][-1]:.2f} s" if times[name] else "",
                f"{sum(spent):.0f} s",
            ]
        )
        print(name, rows[-1], flush=True)
    header = ["stage", "proved", "refuted", "undecided", "settled, median", "longest", "in all"]
    text = (
        f"{artifact.network.parameters} parameters, no certified training; the first {IMAGES} test "
        f"images of PneumoniaMNIST that it answers right, at {' and '.join(RADII)}, float32 "
        f"semantics, at most {SECONDS:.0f} s a query, one at a time.\n\n"
        "![For each stage: how many queries it settles within how many seconds each]"
        f"({PICTURE.name})\n\n" + table(header, rows)
    )
    write("cactus", "What each stage settles alone, and how soon", figures, text)
    draw(times)


if __name__ == "__main__":
    main()
