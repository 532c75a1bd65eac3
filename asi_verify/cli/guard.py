"""``asi-verify guard``: makes and measures a run's guard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from asi_verify.cli.options import DataRootOption, JsonOption, NamedDatasetOption, RunFolderArgument
from asi_verify.cli.printing import console, print_json

__all__ = ["guard"]


def guard(
    folder: RunFolderArgument,
    radius: Annotated[
        str | None,
        typer.Option(help="Radius of the region around each image; that of the run if not given."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Choose the radius so that this part of the images is certified."),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            help="'intervals', or 'crown-ibp': answers more, and slower; as trained if not given."
        ),
    ] = None,
    no_monitors: Annotated[
        bool, typer.Option("--no-monitors", help="Do not refuse images unlike the training images.")
    ] = False,
    membership: Annotated[
        bool,
        typer.Option(
            "--membership",
            help="Answer in accepted regions of training images too; writes these images.",
        ),
    ] = False,
    second: Annotated[
        Path | None,
        typer.Option(help="An ONNX file that is asked about what the guard refuses, measured too."),
    ] = None,
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the model's guard, which answers only what it certifies, and measure it."""
    from asi_verify._guard import GUARD_FIGURES, GUARD_FILE, build_guard
    from asi_verify.core.radius import Radius
    from asi_verify.store import RunFolder

    build_guard(
        folder,
        dataset,
        radius=radius,
        coverage=coverage,
        bounds=bounds,
        monitors=not no_monitors,
        membership=membership,
        second=second,
        data_root=data_root,
    )
    found = RunFolder.open(folder).read_json(GUARD_FIGURES)
    if as_json:
        print_json(found)
        return
    _print_guard(found)
    radius_found = Radius.of(found["radius"])
    by = found["settings"]["bounds"]
    console.print(f"guard: {folder / GUARD_FILE}, radius {radius_found}, by {by}", markup=False)


def _print_guard(found: dict[str, Any]) -> None:
    """What is counted, and in lines of its own what is estimated."""
    table = Table(
        "split", "samples", "answered", "right, of all", "of those answered", "of those refused"
    )
    counted = {name: found["counted"][name] for name in ("val", "test") if name in found["counted"]}
    for name, split in counted.items():
        count = split["counts"]
        samples, answered = count["samples"], count["answered"]
        table.add_row(
            name,
            str(samples),
            _part(answered, samples),
            _part(count["right"], samples),
            _part(count["answered_right"], answered),
            _part(count["right"] - count["answered_right"], samples - answered),
        )
    console.print(table)
    for name, split in counted.items():
        layers = (f"{layer['refuses']} by {what}" for what, layer in split["layers"].items())
        console.print(f"refused on {name}: {', '.join(layers)}")
    if found["second"] is not None:
        _print_second(counted)
    for name, estimate in found["estimated"].items():
        lower, upper = estimate["error_when_answering"]
        console.print(
            f"estimated from {name}, for images like these, at {estimate['confidence']:.0%} "
            f"confidence: wrong when answering {lower:.1%} to {upper:.1%}"
        )
        if estimate["second"] is not None:
            lower, upper = estimate["second"]["error_when_answering"]
            console.print(f"together with the second model {lower:.1%} to {upper:.1%}")
    drift = found["drift"]
    if drift is not None and drift["test"] is not None:
        alarm, seen = drift["test"]["alarm"], drift["test"]["seen"]
        said = "no alarm" if alarm is None else f"alarm at image {alarm}"
        console.print(
            f"drift, test images as a stream: {said} of {seen} (false alarms at most "
            f"{drift['false_alarms']:.1%})"
        )


def _print_second(counted: dict[str, Any]) -> None:
    """What the second model adds, counted."""
    table = Table(
        "split", "refused", "first right", "second right", "answered by either", "of those right"
    )
    for name, split in counted.items():
        count = split["second"]
        table.add_row(
            name,
            _part(count["asked"], count["samples"]),
            _part(count["first_right"], count["asked"]),
            _part(count["second_right"], count["asked"]),
            _part(count["both_answered"], count["samples"]),
            _part(count["both_right"], count["both_answered"]),
        )
    console.print(table)


def _part(count: int, of: int) -> str:
    return f"{count} ({count / of:.1%})" if of else "none"
